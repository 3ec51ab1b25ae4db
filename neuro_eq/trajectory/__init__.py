"""Recorded runs: one HDF5 file of trajectories, fixed points and metrics, written by Recorder and read by anyone."""

from neuro_eq.trajectory.position import Position
from neuro_eq.trajectory.reader import Trajectory, open_trajectory
from neuro_eq.trajectory.recorder import Recorder

__all__ = ["Position", "Recorder", "Trajectory", "open_trajectory"]
