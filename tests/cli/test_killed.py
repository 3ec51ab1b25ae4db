"""A run that is killed leaves a trajectory that opens, as far as it was written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.errors import FileError


def epochs_in(part: Path) -> int:
    """Epochs that can be read now; the file may not be there yet, or its first block not be written."""
    try:
        with ne.open_trajectory(part) as trajectory:
            return len(trajectory.metrics.get("test_accuracy", ((), ()))[0])
    except FileError:
        return 0


def test_killed_in_the_middle(tmp_path: Path) -> None:
    run = subprocess.Popen(
        [
            sys.executable, "-m", "neuro_eq", "run", "--backend", "reference", "--hidden", "16",
            "--train-samples", "64", "--test-samples", "32", "--epochs", "100000", "--out", "out",
        ],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    part = tmp_path / "out" / "trajectory.h5.part"
    try:
        deadline = time.monotonic() + 120
        while epochs_in(part) < 4:
            assert run.poll() is None, "the run ended by itself"
            assert time.monotonic() < deadline, "four epochs never appeared in the file"
            time.sleep(0.05)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert not (tmp_path / "out" / "trajectory.h5").exists()
    with ne.open_trajectory(part) as trajectory:
        assert not trajectory.complete
        epochs, accuracy = trajectory.metrics["test_accuracy"]
        assert len(epochs) >= 4
        assert np.isfinite(accuracy).all()
        assert trajectory.spec.name == "layered_hopfield"
        # What one epoch recorded is whole: the start of the first sample's free phase, and where it ended.
        assert np.isfinite(trajectory.states("hidden1")[0, 0, 0]).all()
        assert np.isfinite(trajectory.fixed_states("hidden1")[0, 0]).all()
    xarray = pytest.importorskip("xarray", reason="xarray is not installed (extra: analysis)")
    pytest.importorskip("h5netcdf", reason="h5netcdf is not installed (extra: analysis)")
    with xarray.open_dataset(part, group="/trajectory/hidden1", engine="h5netcdf") as dataset:
        assert dataset["state"].dims == ("sample", "phase", "step", "unit")
