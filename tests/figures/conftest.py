"""Trajectory files of every sort that a picture may be asked of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.datasets import Data, load_data

TWO_AXES = ne.Network(
    name="two_axes",
    populations=(
        {"name": "x", "shape": (4, 3), "clamped": True},
        {"name": "h", "shape": (3, 5), "activation": "tanh"},
        {"name": "o", "shape": (2, 2), "activation": "identity"},
    ),
    synapses=(
        {"kind": "dense", "source": "x", "target": "h"},
        {"kind": "dense", "source": "h", "target": "o", "gain": 0.5},
    ),
    cost={"kind": "squared_error", "population": "o"},
)


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape)


def _digits(path: Path) -> None:
    """A run on images, with its weights beside it."""
    net = ReferenceEngine(ne.models.layered_hopfield([64, 12, 10]), seed=1)
    ne.train(net, load_data("digits").subset(64, 16), epochs=2, batch_size=32, record=path)
    np.savez(path.with_name("weights.npz"), **net.parameters)


def _xor(path: Path) -> None:
    net = ReferenceEngine(ne.models.layered_hopfield([2, 4, 2], "tanh"), seed=1)
    ne.train(net, load_data("xor"), epochs=3, batch_size=4, record=path)
    np.savez(path.with_name("weights.npz"), **net.parameters)


def _regression(path: Path) -> None:
    x = _random(20, 3).astype(np.float32)
    data = Data("plane", x[:14], x[:14, :2], x[14:], x[14:, :2], classes=None)
    ne.train(ReferenceEngine(ne.models.layered_hopfield([3, 2], "identity")), data, epochs=2, record=path)


def _two_axes(path: Path) -> None:
    net = ReferenceEngine(TWO_AXES, seed=1)
    with ne.Recorder(path) as rec:
        ne.EqProp(0.2).gradient(net, _random(12, 4, 3), _random(12, 4), record=rec)
    np.savez(path.with_name("weights.npz"), **net.parameters)


def _unfinished(path: Path) -> None:
    rec = ne.Recorder(path)
    rec.metrics("epoch", 0, test_accuracy=0.1)
    ReferenceEngine(TWO_AXES).relax(_random(2, 4, 3), record=rec)
    rec.flush()
    path.with_name("run.h5.part").rename(path.with_name("stopped.h5.part"))
    path.with_name("run.h5.part").touch()
    rec.close()


def _free(path: Path) -> None:
    with ne.Recorder(path, every=2) as rec:
        ReferenceEngine(TWO_AXES).relax(_random(9, 4, 3), record=rec)


def _nudged(path: Path) -> None:
    net = ReferenceEngine(TWO_AXES)
    with ne.Recorder(path) as rec:
        net.relax(_random(1, 4, 3), target=_random(1, 4), beta=0.3, tol=None, max_steps=8, record=rec)


def _no_step(path: Path) -> None:
    with ne.Recorder(path) as rec:
        ReferenceEngine(TWO_AXES).relax(_random(2, 4, 3), max_steps=0, record=rec)


def _directed(path: Path) -> None:
    net = ReferenceEngine(ne.models.looped_mlp(6, 12, 3, symmetric=False), seed=1)
    with ne.Recorder(path) as rec:
        ne.AsymEP(0.2).gradient(net, _random(35, 6), np.arange(35) % 3, record=rec)


def _diverged(path: Path) -> None:
    net = ReferenceEngine(ne.models.layered_hopfield([2, 3, 2], activation="identity", gain=50.0))
    with ne.Recorder(path) as rec:
        net.relax(np.ones((2, 2)), record=rec)


def _metrics(path: Path) -> None:
    with ne.Recorder(path) as rec:
        for step in range(50):
            rec.metrics("step", step, cost=float(np.exp(-step / 10)))


MAKERS: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "digits": (_digits, {"learning", "residual", "energy", "pca", "phases", "weights", "steps"}),
    "xor": (_xor, {"learning", "residual", "energy", "pca", "phases", "weights", "steps"}),
    "regression": (_regression, {"learning", "residual", "energy", "pca", "phases", "steps"}),
    "two_axes": (_two_axes, {"residual", "energy", "pca", "phases", "weights"}),
    "unfinished": (_unfinished, {"learning", "residual", "energy", "pca", "phases"}),
    "free": (_free, {"residual", "energy", "pca", "phases"}),
    "nudged": (_nudged, {"residual", "energy", "pca", "phases"}),
    "no_step": (_no_step, {"residual", "energy", "pca", "phases"}),
    "directed": (_directed, {"residual", "pca", "phases"}),
    "diverged": (_diverged, {"residual", "energy", "pca", "phases"}),
    "metrics": (_metrics, {"learning"}),
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``made("digits")``: the file of that sort, written once."""
    files: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in files:
            folder = tmp_path_factory.mktemp(name)
            MAKERS[name][0](folder / "run.h5")
            files[name] = next(folder / end for end in ("stopped.h5.part", "run.h5") if (folder / end).exists())
        return files[name]

    return make


@pytest.fixture(scope="session")
def pictures_of() -> dict[str, set[str]]:
    """Sort of file to the pictures that it holds everything for."""
    return {name: pictures for name, (_, pictures) in MAKERS.items()}
