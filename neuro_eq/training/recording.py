"""What a run puts into its trajectory file, and how the file goes on with a run that goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuro_eq.atomic import part_of
from neuro_eq.datasets import Data
from neuro_eq.engine import Engine
from neuro_eq.errors import FileError, SpecError
from neuro_eq.methods import Evidence, GradientMethod
from neuro_eq.solvers import Relaxation
from neuro_eq.training.checkpoint import Recorded
from neuro_eq.training.results import FIGURES, Epoch
from neuro_eq.trajectory import Position, Recorder

PROBES = 4
"""Test samples whose whole trajectories are recorded after every epoch."""


@dataclass(frozen=True)
class Recording:
    """A trajectory file, and what a run shows it.

    Attributes:
        recorder: the file.
        ours: whether training opened it; one that the user opened is the user's to go on with.
        net, method, data, free, nudged: with which the probes settle.
    """

    recorder: Recorder
    ours: bool
    net: Engine
    method: GradientMethod
    data: Data
    free: Relaxation | None
    nudged: Relaxation | None

    def begin(self) -> None:
        """Say what the data are."""
        shape = self.data.image_shape
        self.recorder.describe(data=self.data.name, **({} if shape is None else {"image_shape": shape}))

    def epoch(self, result: Epoch) -> None:
        """The figures of an epoch, and the trajectories of the probes in all phases."""
        x, y = self.data.x_test[:PROBES], self.data.y_test[:PROBES]
        labels = {} if self.data.classes is None else {"label": y}
        self.recorder.label(epoch=result.epoch, index=np.arange(len(x)), **labels)
        self.method.gradient(self.net, x, y, free=self.free, nudged=self.nudged, record=self.recorder)
        values = {name: getattr(result, name) for name in FIGURES if name != "epoch"}
        self.recorder.metrics("epoch", result.epoch, **values)

    def step(self, number: int, evidence: Evidence) -> None:
        """The figures of a step."""
        self.recorder.metrics(
            "step",
            number,
            cost=float(evidence.cost.sum() / evidence.free.batch),
            batch_free_steps=float(evidence.free.steps.sum() / evidence.free.batch),
            batch_residual=float(evidence.residual.max()),
        )

    def recorded(self) -> Recorded | None:
        """How far the file has come, on the disk; None for one that is the user's."""
        if not self.ours:
            return None
        recorder = self.recorder
        return Recorded(name=recorder.path.name, position=recorder.position, overwrite=recorder.overwrites)


def open_recorder(
    record: Path,
    saved: Recorded | None,
    net: Engine,
    *,
    every: int,
    overwrite: bool,
    going_on: bool,
    announce: Callable[[Recorded], None],
) -> Recorder | None:
    """A run's trajectory file, new or gone on with.

    Where the file of a run that goes on cannot be gone on with, it stays as it is, the rest of the run goes into a new
    file beside it, and a warning says so.

    Args:
        record: where the run records.
        saved: what the run's checkpoint says of its file, if it had one.
        net: whose trajectories they are.
        every: steps from one recorded state to the next.
        overwrite: replace a file that is already there.
        going_on: whether anything is still to be recorded; if not, a complete file stays untouched.
        announce: is told of a new file before that is made, so that a run that is killed then knows that it is its own.

    Returns:
        The recorder; None where nothing is left to do.
    """
    path = record
    if saved is not None:
        path, overwrite = record.with_name(saved.name), saved.overwrite
        if saved.position == Position():
            part_of(path).unlink(missing_ok=True)  # Killed while it was made: nothing is in it.
        else:
            try:
                return _gone_on_with(path, saved, net, every, going_on)
            except (FileError, SpecError) as error:
                if not going_on:
                    warnings.warn(f"{error}, so the recording of this run is not complete", stacklevel=2)
                    return None
                path, overwrite = beside(record), False
                warnings.warn(f"{error}, so the rest of the run is recorded in {path}", stacklevel=2)
    announce(Recorded(name=path.name, position=Position(), overwrite=overwrite))
    return Recorder(path, every=every, samples=PROBES, overwrite=overwrite)


def beside(path: Path) -> Path:
    """A name like this one that nothing has yet: ``run-2.h5`` beside ``run.h5``."""
    count = 2
    while True:
        other = path.with_name(f"{path.stem}-{count}{path.suffix}")
        if not os.path.lexists(other) and not os.path.lexists(part_of(other)):
            return other
        count += 1


def _gone_on_with(path: Path, saved: Recorded, net: Engine, every: int, going_on: bool) -> Recorder | None:
    part = part_of(path)
    if part.exists():
        return _reopened(path, saved, net, every, saved.overwrite)
    if not path.exists():
        raise FileError(f"{path}: is not there any more")
    # It was complete: the copy takes its place once that is complete, too.
    return _reopened_copy(path, part, saved, net, every) if going_on else None


def _reopened(path: Path, saved: Recorded, net: Engine, every: int, overwrite: bool) -> Recorder:
    recorder = Recorder(path, every=every, samples=PROBES, overwrite=overwrite, position=saved.position)
    try:
        recorder.refuse_another(net)
    except SpecError:
        recorder.abandon()
        raise
    return recorder


def _reopened_copy(path: Path, part: Path, saved: Recorded, net: Engine, every: int) -> Recorder:
    fresh = part.with_name(part.name + ".new")
    try:
        try:
            shutil.copyfile(path, fresh)
            fresh.replace(part)
        except OSError as error:
            raise FileError(f"{part}: cannot write it ({error.strerror or error})") from None
        return _reopened(path, saved, net, every, overwrite=True)
    except (FileError, SpecError):
        for left in (fresh, part):
            with contextlib.suppress(OSError):
                left.unlink(missing_ok=True)
        raise
