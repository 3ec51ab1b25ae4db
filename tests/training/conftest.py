"""Small runs that leave weights, a history and a trajectory, and what makes two of them the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.datasets import Data, load_data
from neuro_eq.training import Epoch, History, Tally


class KilledError(Exception):
    """Stands for a kill: nothing in the training loop knows it."""


class Stopper:
    """A reporter that ends a run after so many batches, or when an epoch is done.

    Args:
        batches: the batch, counted over all epochs of this call, after which the run ends.
        epoch: the epoch after whose end it ends.
    """

    def __init__(self, batches: int | None = None, epoch: int | None = None) -> None:
        self.left, self.last = batches, epoch

    def batch(self, epoch: int, done: int, total: int, tally: Tally) -> None:
        if self.left is not None:
            self.left -= 1
            if not self.left:
                raise KilledError

    def epoch(self, result: Epoch) -> None:
        if result.epoch == self.last:
            raise KilledError


@dataclass
class Run:
    """A training run in a folder: three batches an epoch."""

    folder: Path
    spec: ne.Network
    data: Data
    settings: dict[str, Any]

    def __call__(self, **changes: Any) -> tuple[dict[str, np.ndarray], History]:
        net = ReferenceEngine(self.spec, seed=1)
        settings: dict[str, Any] = {
            "epochs": 2, "batch_size": 8, "seed": 5, "resume": True,
            "checkpoint": self.folder / "run.ckpt", "record": self.folder / "run.h5",
            "nudged": ne.Relaxation(max_steps=20), "free": ne.Relaxation(max_steps=60),
        }  # fmt: skip
        history = ne.train(net, self.data, **{**settings, **self.settings, **changes})
        return net.parameters, history

    def trajectory(self) -> dict[str, Any]:
        return everything_in(self.folder / "run.h5")


def everything_in(path: Path) -> dict[str, Any]:
    """All that a trajectory file says, but for when it was written and how long things took."""
    found: dict[str, Any] = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[...]}) if isinstance(item, h5py.Dataset) else None)
        found |= {f"@{name}": value for name, value in file.attrs.items() if name != "created"}
    found.pop("metrics/seconds")
    return found


def assert_same(one: Any, other: Any) -> None:
    """Bit for bit, but for ``seconds``."""
    (weights, history), (weights_, history_) = one, other
    assert list(weights) == list(weights_)
    for name, value in weights.items():
        assert value.tobytes() == weights_[name].tobytes(), name
    assert len(history.epochs) == len(history_.epochs)
    for epoch, epoch_ in zip(history.epochs, history_.epochs, strict=True):
        np.testing.assert_equal({**asdict(epoch), "seconds": 0}, {**asdict(epoch_), "seconds": 0})


@pytest.fixture(scope="session")
def same() -> Callable[[Any, Any], None]:
    """``same(run, other)``: two results of a Run are the same, bit for bit."""
    return assert_same


@pytest.fixture(scope="session")
def content() -> Callable[[Path], dict[str, Any]]:
    """``content(path)``: all that a trajectory file says."""
    return everything_in


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """``run("name", **settings)``: a run in a folder of its own."""

    def make(name: str = "run", spec: ne.Network | None = None, **settings: Any) -> Run:
        folder = tmp_path / name
        folder.mkdir()
        data = load_data("digits").subset(22, 9)
        return Run(folder, spec or ne.models.layered_hopfield([64, 7, 10], "tanh"), data, settings)

    return make


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a program in an interpreter of its own: one that may be killed."""

    def go(program: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return go


@pytest.fixture
def stopper() -> type[Stopper]:
    """A reporter that ends a run."""
    return Stopper


@pytest.fixture
def killed() -> type[KilledError]:
    """What it ends a run by."""
    return KilledError
