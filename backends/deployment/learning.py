"""A network that learns on the chip, in its own integers, sample by sample: how it went and what it has learned."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np

from neuro_eq.atomic import replacing, write_text
from neuro_eq.backends.deployment.lava_training import LavaTrainer
from neuro_eq.backends.numba.chip_training import ChipTrainer
from neuro_eq.backends.numba.integer import IntegerEngine
from neuro_eq.datasets import Data
from neuro_eq.errors import DataError, FileError, SpecError, did_you_mean
from neuro_eq.figures.style import (
    BLUE,
    INK,
    MUTED,
    VERMILLION,
    EndLabel,
    dress,
    label_ends,
    page_margins,
    whole_numbers,
)
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.quantisation import Precision, quantise
from neuro_eq.hardware.schedules import SCHEDULES
from neuro_eq.models import layered_hopfield

Engine = Literal["numba", "lava"]

SCALE = -8
"""A weight of 1 is 256 units of the chip: as far as one can go."""

RANGE = 16.0
"""Potentials that must fit while weights grow; overflows are counted."""

LATE = 1 / 3
"""Share of the epochs, the last ones, in which tags are added to weights as a quarter."""


@dataclass(frozen=True)
class LearnedEpoch:
    """One pass.

    Attributes:
        epoch: from 1.
        accuracy: of the training samples, each before it was learned from.
        test_accuracy: after the pass, on the chip.
        asymmetry: ``‖W − Wᵀ‖ / ‖W‖``.
        overflow: registers that overflowed.
    """

    epoch: int
    accuracy: float
    test_accuracy: float
    asymmetry: float
    overflow: int


@dataclass(frozen=True, eq=False)
class Learned:
    """A chip that has learned.

    Attributes:
        network: what it has become.
        epochs: how it went.
        settings: what it depends on.
    """

    network: ChipNetwork
    epochs: tuple[LearnedEpoch, ...]
    settings: dict[str, Any]


def learn(
    data: Data,
    *,
    hidden: int = 96,
    schedule: str = "tags",
    epochs: int = 12,
    beta: float = 0.5,
    seed: int = 0,
    engine: Engine = "numba",
    say: Callable[[LearnedEpoch], None] = lambda _: None,
) -> Learned:
    """Train one hidden population on the chip, by its own rule.

    Args:
        data: classes.
        hidden: units.
        schedule: by name; with tags, the last third of the epochs takes a quarter of the step.
        epochs: passes.
        beta: of the nudge.
        seed: of the start values, the order of samples and the draws.
        engine: what computes phases and updates; ``"lava"`` takes a quarter of a second for a sample.  Test samples
            are answered by the integer engine either way, whose bits are Lava's.
        say: is given every epoch.

    Raises:
        SpecError: there is no such schedule or engine, the nudge is too small for the chip, or Lava does not do the
            schedule.
        BackendError: Lava is not there.
        DataError: the data are values to fit.
    """
    if schedule not in SCHEDULES:
        raise SpecError(f'no schedule "{schedule}"' + did_you_mean(schedule, SCHEDULES), "schedule")
    if engine not in get_args(Engine):
        raise SpecError(f'no engine "{engine}"' + did_you_mean(engine, get_args(Engine)), "engine")
    if data.classes is None:
        raise DataError(f'data: "{data.name}" has values to fit, but a chip learns classes')
    spec = layered_hopfield([data.features, hidden, data.outputs], "hard_sigmoid", gain=0.5, bias=False)
    ranges = {"input": float(max(np.abs(data.x_train).max(), 1.0)), "hidden1": RANGE, "output": RANGE}
    scales = {"input_hidden1": SCALE, "hidden1_output": SCALE}
    chip, _ = quantise(spec, spec.initial_parameters(seed), ranges, Precision(activity_bits=8), scales)
    chosen = SCHEDULES[schedule]
    late = epochs - round(LATE * epochs) if chosen.consolidate else epochs
    history = []
    with (
        LavaTrainer(chip, chosen, beta=beta, seed=seed)
        if engine == "lava"
        else nullcontext(ChipTrainer(chip, chosen, beta=beta, seed=seed))
    ) as trainer:
        for epoch in range(epochs):
            if epoch == late:
                trainer.use(chosen.finer(2))
            found = trainer.epoch(data.x_train, data.y_train)
            tested = accuracy(trainer.network(), data.x_test, data.y_test)
            history.append(LearnedEpoch(epoch + 1, found.accuracy, tested, found.asymmetry, found.overflow))
            say(history[-1])
    settings = {
        "data": data.name, "hidden": hidden, "schedule": schedule, "beta": beta, "seed": seed, "engine": engine,
    }  # fmt: skip
    return Learned(trainer.network(), tuple(history), settings)


def learn_in_lava(
    data: Data, folder: Path, *, hidden: int, epochs: int, beta: float, seed: int, say: Callable[[str], None]
) -> dict[str, Path]:
    """``neuro_eq run --backend lava --rule chip``: learn in Lava by the best schedule, and write what was learned.

    Raises:
        As :func:`learn` and :func:`write_learned`.
    """
    found = learn(
        data, hidden=hidden, epochs=epochs, beta=beta, seed=seed, engine="lava", say=lambda epoch: say(line(epoch))
    )
    return write_learned(found, folder)


def line(epoch: LearnedEpoch) -> str:
    """An epoch in words."""
    overflow = f"  {epoch.overflow} overflows" if epoch.overflow else ""
    return (
        f"epoch {epoch.epoch:>3}  test {100 * epoch.test_accuracy:6.2f} %  training {100 * epoch.accuracy:6.2f} %  "
        f"‖W − Wᵀ‖/‖W‖ {epoch.asymmetry:.3f}{overflow}"
    )


def accuracy(network: ChipNetwork, x: np.ndarray, labels: np.ndarray, steps: int = 100) -> float:
    """Share of right answers of a chip."""
    (source,) = network.clamped
    with IntegerEngine(network) as engine:
        return float(np.mean(engine.run(engine.start({source.name: x}), steps).answers() == labels))


def write_learned(learned: Learned, folder: Path) -> dict[str, Path]:
    """JSON of the epochs, HDF5 of both ways' weights, and a figure.

    Raises:
        FileError: something cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot make this folder ({error.strerror or error})") from None
    files = {
        name: folder / f"learning.{end}" for name, end in (("report", "json"), ("weights", "h5"), ("figure", "png"))
    }
    report = {**learned.settings, "epochs": [asdict(epoch) for epoch in learned.epochs]}
    write_text(files["report"], json.dumps(report, indent=1))
    with replacing(files["weights"]) as raw, h5py.File(raw, "w") as file:
        for c in learned.network.connections:
            stored = file.create_dataset(f"weights/{c.name}", data=c.weights, compression="gzip", compression_opts=1)
            stored.attrs.update({"scale": c.scale, "synapse": c.synapse, "transposed": c.transposed})
    _draw(learned, files["figure"])
    return files


def _draw(learned: Learned, path: Path) -> None:
    from matplotlib.figure import Figure

    width, height = 11.4, 4.8
    figure = Figure(figsize=(width, height))
    page_margins(figure, width, height)
    answers, apart = figure.subplots(1, 2)
    epochs = [epoch.epoch for epoch in learned.epochs]
    right = [100 * epoch.test_accuracy for epoch in learned.epochs]
    trained = [100 * epoch.accuracy for epoch in learned.epochs]
    dress(answers, "Answers", "in the chip's integers", "epoch", "right answers in %")
    answers.plot(epochs, trained, color=MUTED, lw=1.2)
    answers.plot(epochs, right, color=BLUE, lw=1.8, marker="o", ms=4)
    label_ends(answers, [EndLabel(right[-1], "test", BLUE), EndLabel(trained[-1], "training", MUTED)])
    dress(apart, "How far both ways are apart", "‖W − Wᵀ‖ / ‖W‖", "epoch", "")
    apart.plot(epochs, [epoch.asymmetry for epoch in learned.epochs], color=VERMILLION, lw=1.8, marker="o", ms=4)
    apart.set_ylim(bottom=0)
    for axes in (answers, apart):
        whole_numbers(axes)
    title = f"{learned.settings['data']} learned on a chip by “{learned.settings['schedule']}” · {right[-1]:.2f} %"
    figure.suptitle(title, color=INK, fontsize=15.0, x=0.8 / width, y=1 - 0.18 / height, ha="left", va="top")
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format="png")
