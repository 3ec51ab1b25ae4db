"""The training loop: a network, data, a gradient method, an optimiser.  None of them knows the others."""

from __future__ import annotations

import math
import os
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from neuro_eq.datasets import Data
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Status
from neuro_eq.errors import DataError, TrainingError
from neuro_eq.methods import EqProp, Evidence, GradientMethod
from neuro_eq.optimizers import Adam, Optimizer
from neuro_eq.schedules import Constant, Schedule
from neuro_eq.solvers import Relaxation
from neuro_eq.trajectory import Recorder

EVALUATION = Relaxation(tol=1e-4)
"""How a network settles when it is only asked for its answer."""

EVALUATION_BATCH = 512
PROBES = 4
"""Test samples whose whole trajectories are recorded after every epoch."""


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        epoch: 0 is the network before training.
        train_cost, test_cost: mean of ``C(a*, y)`` over samples.
        train_accuracy, test_accuracy: fractions; not a number for regression.  During training the train figures are
            taken as the batches go by, each before its update.
        free_steps, nudged_steps: mean steps per sample.
        residual_ratio: median of residual over nudge size.
        unsettled: fraction of samples whose residual exceeds 1 % of the nudge.
        mute: fraction of samples whose nudge is lost in rounding.
        unconverged: fraction of samples that met ``max_steps``, diverged or were not finite in some phase.
        seconds: wall time of the epoch, evaluation included.
    """

    epoch: int
    train_cost: float
    train_accuracy: float
    test_cost: float
    test_accuracy: float
    free_steps: float
    nudged_steps: float
    residual_ratio: float
    unsettled: float
    mute: float
    unconverged: float
    seconds: float


@dataclass(frozen=True)
class History:
    """Every epoch of a run, the untrained network first."""

    epochs: tuple[Epoch, ...]

    @property
    def last(self) -> Epoch:
        """The network as it is now."""
        return self.epochs[-1]


@dataclass(frozen=True)
class Score:
    """An evaluation over samples."""

    cost: float
    accuracy: float
    steps: float
    converged: float


@runtime_checkable
class Reporter(Protocol):
    """Something that shows progress."""

    def batch(self, epoch: int, done: int, total: int, tally: Tally) -> None:
        """A batch of an epoch is done."""

    def epoch(self, result: Epoch) -> None:
        """An epoch is done."""


class Tally:
    """Running sums over the batches of an epoch."""

    def __init__(self) -> None:
        self.samples = 0
        self.sums = dict.fromkeys(("cost", "correct", "free", "nudged", "unsettled", "mute", "unconverged"), 0.0)
        self.ratios: list[np.ndarray] = []

    def add(self, evidence: Evidence, correct: np.ndarray) -> None:
        """Count one batch in."""
        self.samples += evidence.free.batch
        bad = np.any([phase.status != Status.CONVERGED for phase in (evidence.free, *evidence.nudged)], axis=0)
        for name, value in (
            ("cost", float(np.sum(evidence.cost))),
            ("correct", float(np.sum(correct))),
            ("free", float(np.sum(evidence.free.steps))),
            ("nudged", float(np.sum(evidence.nudged[0].steps)) if evidence.nudged else 0.0),
            ("unsettled", evidence.unsettled),
            ("mute", evidence.mute),
            ("unconverged", float(np.sum(bad))),
        ):
            self.sums[name] += value
        moves = evidence.nudge_size > 0
        self.ratios.append(evidence.residual[moves] / evidence.nudge_size[moves])

    def mean(self, name: str) -> float:
        """A sum over samples, as a mean."""
        return self.sums[name] / self.samples if self.samples else math.nan

    @property
    def residual_ratio(self) -> float:
        """Median of residual over nudge size."""
        joined = np.concatenate(self.ratios) if self.ratios else np.zeros(0)
        return float(np.median(joined)) if joined.size else math.nan


def train(
    net: Engine,
    data: Data,
    *,
    method: GradientMethod | None = None,
    optimizer: Optimizer | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    seed: int = 0,
    schedule: Schedule | None = None,
    free: Relaxation | None = None,
    nudged: Relaxation | None = None,
    record: str | os.PathLike[str] | Recorder | None = None,
    every: int = 1,
    overwrite: bool = False,
    reporter: Reporter | None = None,
) -> History:
    """Train a network in place.

    Args:
        net: a compiled network; its parameters change.
        data: a data set (``neuro_eq.datasets.load_data``).
        method: the gradient; ``EqProp(beta=0.1)`` by default.
        optimizer: ``Adam(1e-3)`` by default.
        epochs: passes over the training samples.
        batch_size: samples in a step.
        seed: of the order of the samples; the order of epoch ``n`` depends on ``(seed, n)`` alone.
        schedule: of the learning rate; constant by default.
        free, nudged: how the phases settle.
        record: a trajectory file to write, or an open Recorder: metrics of every step and epoch, and after each
            epoch the trajectories of four test samples in all phases.
        every: record every so many relaxation steps.
        overwrite: replace a trajectory file that is already there.
        reporter: is shown every batch and epoch.

    Returns:
        One :class:`Epoch` for the untrained network and one for each epoch.

    Raises:
        DataError: the data does not fit the network.
        TrainingError: a gradient is not finite; says when, and what would help.
    """
    method = method or EqProp()
    optimizer = optimizer or Adam()
    schedule = schedule or Constant()
    if epochs < 0 or batch_size < 1:
        raise DataError(f"epochs must be at least 0 and batch_size at least 1, found {epochs} and {batch_size}")
    if not isinstance(data, Data):
        raise DataError(f"data: expected a Data, found {type(data).__name__}; neuro_eq.datasets.load_data makes one")
    check_fit(net, data)
    method.check(net)
    with ExitStack() as stack:
        recorder: Recorder | None
        if record is None or isinstance(record, Recorder):
            recorder = record
        else:
            recorder = stack.enter_context(Recorder(record, every=every, samples=PROBES, overwrite=overwrite))

        if recorder is not None:
            recorder.describe(data=data.name, **({} if data.image_shape is None else {"image_shape": data.image_shape}))

        def probe(epoch: int) -> None:
            if recorder is None:
                return
            x, y = data.x_test[:PROBES], data.y_test[:PROBES]
            recorder.label(epoch=epoch, index=np.arange(len(x)), **({} if data.classes is None else {"label": y}))
            method.gradient(net, x, y, free=free, nudged=nudged, record=recorder)

        def finish(result: Epoch) -> None:
            probe(result.epoch)
            if recorder is not None:
                values = {name: value for name, value in asdict(result).items() if name != "epoch"}
                recorder.metrics("epoch", result.epoch, **values)
            if reporter is not None:
                reporter.epoch(result)

        results = [_untrained(net, data)]
        finish(results[0])
        state = optimizer.start(net.parameters)
        total = -(-len(data.x_train) // batch_size)
        for epoch in range(1, epochs + 1):
            began = time.perf_counter()
            tally = Tally()
            rng = np.random.default_rng([seed, epoch])
            for done, (_, x, y) in enumerate(data.batches(batch_size, rng)):
                gradient, evidence = method.gradient(net, x, y, free=free, nudged=nudged)
                _refuse_what_teaches_nothing(net, gradient, evidence, epoch, done)
                tally.add(evidence, _correct(net.to_numpy(net.output(evidence.free)), y))
                progress = ((epoch - 1) * total + done) / (epochs * total)
                parameters, state = optimizer.step(net.parameters, gradient, state, schedule.scale(progress))
                net.set_parameters(parameters)
                if recorder is not None:
                    recorder.metrics(
                        "step",
                        state.steps,
                        cost=float(np.mean(evidence.cost)),
                        batch_free_steps=float(np.mean(evidence.free.steps)),
                        batch_residual=float(np.max(evidence.residual)),
                    )
                if reporter is not None:
                    reporter.batch(epoch, done + 1, total, tally)
            score = evaluate(net, data.x_test, data.y_test)
            results.append(
                Epoch(
                    epoch=epoch,
                    train_cost=tally.mean("cost"),
                    train_accuracy=tally.mean("correct"),
                    test_cost=score.cost,
                    test_accuracy=score.accuracy,
                    free_steps=tally.mean("free"),
                    nudged_steps=tally.mean("nudged"),
                    residual_ratio=tally.residual_ratio,
                    unsettled=tally.mean("unsettled"),
                    mute=tally.mean("mute"),
                    unconverged=tally.mean("unconverged"),
                    seconds=time.perf_counter() - began,
                )
            )
            finish(results[-1])
    return History(tuple(results))


def evaluate(net: Engine, x: Any, y: Any, how: Relaxation = EVALUATION) -> Score:
    """Cost and accuracy at the free fixed points of samples, in batches."""
    sums = np.zeros(4)
    tol = how.tol if not isinstance(how.tol, str) else EVALUATION.tol
    assert not isinstance(tol, str)
    for first in range(0, len(x), EVALUATION_BATCH):
        part = slice(first, first + EVALUATION_BATCH)
        state = net.relax(x[part], solver=how.solver, tol=tol, max_steps=how.max_steps)
        correct = _correct(net.to_numpy(net.output(state)), y[part])
        cost = np.sum(net.to_numpy(net.cost(state, y[part])))
        sums += [float(cost), float(np.sum(correct)), float(np.sum(state.steps)), float(np.sum(state.converged))]
    return Score(*(float(value) for value in sums / len(x)))


def _untrained(net: Engine, data: Data) -> Epoch:
    began = time.perf_counter()
    train_score = evaluate(net, data.x_train, data.y_train)
    test_score = evaluate(net, data.x_test, data.y_test)
    nothing = math.nan
    return Epoch(
        epoch=0,
        train_cost=train_score.cost,
        train_accuracy=train_score.accuracy,
        test_cost=test_score.cost,
        test_accuracy=test_score.accuracy,
        free_steps=train_score.steps,
        nudged_steps=nothing,
        residual_ratio=nothing,
        unsettled=nothing,
        mute=nothing,
        unconverged=1.0 - train_score.converged,
        seconds=time.perf_counter() - began,
    )


def _correct(output: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether each answer's largest value is at its label; not a number for regression."""
    if np.asarray(y).ndim != 1:
        return np.full(len(output), math.nan)
    return np.argmax(output, axis=1) == y


def check_fit(net: Engine, data: Data) -> None:
    """Raise one sentence when a data set cannot train this network."""
    if len(net.spec.clamped) != 1:
        raise DataError(f"data: the network has {len(net.spec.clamped)} clamped populations, a data set feeds one")
    clamped = net.spec.clamped[0]
    if clamped.size != data.features:
        raise DataError(
            f'data: a sample of "{data.name}" has {data.features} values, but population "{clamped.name}" has '
            f"{clamped.size} units"
        )
    if net.spec.cost is None:
        raise DataError("data: the network has no cost, so there is nothing to learn")
    if data.classes is None and net.spec.cost.kind == "cross_entropy":
        raise DataError(f'data: "{data.name}" has values to fit, which cross-entropy cannot; use squared_error')
    outputs = net.spec.cost.outputs(net.spec.shapes)
    if outputs != data.outputs:
        raise DataError(f'data: "{data.name}" asks for {data.outputs} outputs, but the network has {outputs}')


def _refuse_what_teaches_nothing(
    net: Engine, gradient: dict[str, Any], evidence: Evidence, epoch: int, batch: int
) -> None:
    lost = np.any([phase.status > Status.MAX_STEPS for phase in (evidence.free, *evidence.nudged)], axis=0)
    if lost.any():
        raise TrainingError(
            f"epoch {epoch}, batch {batch + 1}: {np.sum(lost)} of {lost.size} samples diverged, so their gradients "
            "mean nothing; a smaller alpha, learning rate or gain would help"
        )
    bad = [name for name, value in gradient.items() if not np.all(np.isfinite(net.to_numpy(value)))]
    if bad:
        raise TrainingError(
            f"epoch {epoch}, batch {batch + 1}: the gradient of {bad[0]} is not finite; "
            "a smaller learning rate or gain would help"
        )


__all__ = ["Epoch", "History", "Reporter", "Score", "Tally", "check_fit", "evaluate", "train"]
