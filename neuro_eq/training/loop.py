"""The training loop: a network, data, a gradient method, an optimiser.  None of them knows the others."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from array_api_compat import is_numpy_array

from neuro_eq.arguments import expect, whole_number
from neuro_eq.arrays import Array, Parameters
from neuro_eq.atomic import replacing
from neuro_eq.datasets import Data
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium, Status
from neuro_eq.errors import DataError, FileError, NeuroEqError, SpecError, TrainingError
from neuro_eq.methods import EqProp, Evidence, GradientMethod
from neuro_eq.optimizers import Adam, Optimizer, OptimizerState
from neuro_eq.schedules import Constant, Schedule
from neuro_eq.solvers import Relaxation
from neuro_eq.spec import Network
from neuro_eq.training import checkpoint as files
from neuro_eq.training.checkpoint import Checkpoint, Header, Recorded
from neuro_eq.training.drawing import with_draws
from neuro_eq.training.evaluation import as_trained, check_fit, correct, evaluate
from neuro_eq.training.identity import identity, refuse_another_run
from neuro_eq.training.interruption import Interruption
from neuro_eq.training.recording import Recording, open_recorder
from neuro_eq.training.results import Epoch, History, Reporter, Tally
from neuro_eq.trajectory import Recorder

CHECKPOINT_EVERY = 30.0
"""Seconds of an epoch after which a checkpoint is written in the middle of it."""


@runtime_checkable
class Budget(Protocol):
    """A bound that parameters are brought back to after every step, such as one on norms."""

    def project(self, spec: Network, parameters: Parameters) -> Parameters:
        """The parameters within the bound; the arguments stay as they are."""


@runtime_checkable
class Penalty(Protocol):
    """Something that training lowers beside the cost, at the free state of every batch."""

    def check(self, net: Engine) -> None:
        """Raise, before any work, when an engine cannot give what it needs."""

    def gradient(self, net: Engine, state: Equilibrium, seed: Sequence[int]) -> Mapping[str, Array]:
        """Its gradient by some or all parameters, mean over the batch; what is random in it is the seed's."""


def penalised(
    gradient: dict[str, Array], penalty: Penalty | None, net: Engine, free: Equilibrium, seed: Sequence[int]
) -> dict[str, Array]:
    """The gradient of the cost and of a penalty at the free state together."""
    if penalty is None:
        return gradient
    more = penalty.gradient(net, free, seed)
    return {name: value + more[name] if name in more else value for name, value in gradient.items()}


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
    budget: Budget | None = None,
    penalty: Penalty | None = None,
    free: Relaxation | None = None,
    nudged: Relaxation | None = None,
    record: str | os.PathLike[str] | Recorder | None = None,
    every: int = 1,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_every: float = CHECKPOINT_EVERY,
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
        budget: parameters are projected onto it before the first step and after every one.
        penalty: is added to the cost, such as one on the response at the free state.
        free, nudged: how the phases settle.
        record: a trajectory file to write, or an open Recorder: metrics of every step and epoch, and after each
            epoch the trajectories of four test samples in all phases.
        every: record every so many relaxation steps.
        checkpoint: a file that always holds a recent state of the run, written after each epoch, within a long one,
            and when Ctrl-C or SIGTERM ends the run.
        resume: go on from the checkpoint, if there is one.  The run then ends with the same parameters, history (but
            for ``seconds``) and recorded trajectories, bit for bit, as if it had never stopped.  The run of a
            checkpoint that is finished is not run again; with a constant schedule it goes on to more ``epochs``.
        checkpoint_every: seconds of an epoch between two checkpoints.
        overwrite: replace a trajectory file and a checkpoint that are already there.
        reporter: is shown every batch and epoch.

    Returns:
        One :class:`Epoch` for the untrained network and one for each epoch.

    Raises:
        DataError: the data does not fit the network.
        TrainingError: a gradient is not finite; says when, and what would help.
        FileError: a file cannot be written, or the checkpoint is damaged or of another run.  What had been written
            before is still there.
    """
    if not isinstance(data, Data):
        raise DataError(f"data: expected a Data, found {type(data).__name__}; neuro_eq.datasets.load_data makes one")
    expect(net, Engine, "net", "ne.compile(spec)")
    expect(method, GradientMethod, "method", "ne.EqProp(beta=0.1)")
    expect(optimizer, Optimizer, "optimizer", "ne.Adam(1e-3)")
    expect(schedule, Schedule, "schedule", "ne.Cosine()")
    expect(budget, Budget, "budget", "ne.NormBudget(0.9)")
    expect(penalty, Penalty, "penalty", "ne.JacobianPenalty(1.0)")
    for name, how in (("free", free), ("nudged", nudged)):
        expect(how, Relaxation, name, "ne.Relaxation(tol=1e-3)")
    for name, count, least in (("epochs", epochs, 0), ("batch_size", batch_size, 1), ("seed", seed, 0)):
        whole_number(count, name, least)
    if not checkpoint_every >= 0:
        raise DataError(f"checkpoint_every: expected seconds, at least 0, found {checkpoint_every!r}")
    if resume and checkpoint is None:
        raise DataError("resume: there is no checkpoint to go on from; name its file (checkpoint=…)")
    run = _Run(
        net, data, method or EqProp(), optimizer or Adam(), schedule or Constant(), budget, penalty, epochs,
        batch_size, seed, free, nudged, None if checkpoint is None else Path(checkpoint), checkpoint_every, reporter,
    )  # fmt: skip
    check_fit(net, data)
    run.method.check(net, run.free)
    if penalty is not None:
        penalty.check(net)
    with Interruption(active=checkpoint is not None) as interruption, ExitStack() as stack:
        run.begin(interruption, record, every, resume, overwrite, stack)
        try:
            run.to_its_end(interruption)
        except (KeyboardInterrupt, SystemExit):
            if not interruption.torn:
                run.save()
            raise
    return History(tuple(run.results))


@dataclass
class _Run:
    """A run under way: what it was asked for, and how far it is.

    Between two batches ``epoch``, ``batch``, ``results``, ``tally``, ``state`` and the network's parameters are all
    of it; a checkpoint is taken there and nowhere else.
    """

    net: Engine
    data: Data
    method: GradientMethod
    optimizer: Optimizer
    schedule: Schedule
    budget: Budget | None
    penalty: Penalty | None
    epochs: int
    batch_size: int
    seed: int
    free: Relaxation | None
    nudged: Relaxation | None
    checkpoint: Path | None
    checkpoint_every: float
    reporter: Reporter | None

    settings: dict[str, str] = field(default_factory=dict)
    epoch: int = 0
    batch: int = 0
    results: list[Epoch] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    state: OptimizerState = field(default_factory=lambda: OptimizerState(0, {}))
    recording: Recording | None = None
    recorded: Recorded | None = None
    began: float = field(default_factory=time.perf_counter)
    saved: float = field(default_factory=time.perf_counter)

    @property
    def batches(self) -> int:
        """In an epoch."""
        return -(-len(self.data.x_train) // self.batch_size)

    # -- where it begins ---------------------------------------------------------------------------------------

    def begin(
        self,
        interruption: Interruption,
        record: str | os.PathLike[str] | Recorder | None,
        every: int,
        going_on: bool,
        overwrite: bool,
        stack: ExitStack,
    ) -> None:
        """At the first batch or where the checkpoint says; afterwards checkpoint and recording stand on the disk.

        The first checkpoint comes before the recording: then no recording is left of a run that cannot go on.
        """
        saved = self._found(going_on, overwrite)
        if saved is None:
            self._fresh()
        else:
            self._restore(saved)
        with self._as_it_was(saved is None), interruption.held():
            if saved is None:
                self.save()
            if isinstance(record, Recorder):
                self.recording = self._recording(record, ours=False)
            elif record is not None:
                recorder = open_recorder(
                    Path(record), self.recorded, self.net, every=every, overwrite=overwrite,
                    going_on=self.epoch <= self.epochs, announce=self._announce,
                )  # fmt: skip
                if recorder is not None:
                    self.recording = self._recording(stack.enter_context(recorder), ours=True)

    @contextmanager
    def _as_it_was(self, fresh: bool) -> Iterator[None]:
        """A run that cannot even begin leaves the checkpoint, or its absence, as it was."""
        before = None
        if self.checkpoint is not None and fresh and self.checkpoint.exists():
            before = self.checkpoint.read_bytes()
        try:
            yield
        except NeuroEqError:
            if self.checkpoint is not None and fresh:
                if before is None:
                    self.checkpoint.unlink(missing_ok=True)
                else:
                    with replacing(self.checkpoint) as file:
                        file.write(before)
            raise

    def _recording(self, recorder: Recorder, ours: bool) -> Recording:
        recording = Recording(recorder, ours, self.net, self.method, self.data, self.free, self.nudged)
        recording.begin()
        return recording

    def _announce(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.save()

    def _found(self, going_on: bool, overwrite: bool) -> Checkpoint | None:
        if self.checkpoint is None:
            return None
        self.settings = identity(
            self.net, self.data, seed=self.seed, batch_size=self.batch_size, method=self.method,
            optimizer=self.optimizer, schedule=self.schedule, budget=self.budget, penalty=self.penalty, free=self.free,
            nudged=self.nudged,
        )  # fmt: skip
        if not os.path.lexists(self.checkpoint) or (overwrite and not going_on):
            return None
        if not going_on:
            raise FileError(
                f"{self.checkpoint}: exists already; go on from it (resume=True), name another, or overwrite it "
                "(overwrite=True)"
            )
        saved = files.read(self.checkpoint)
        refuse_another_run(saved, self.settings, self.epochs, self.batches, self.schedule, self.checkpoint)
        files.refuse_what_does_not_fit(saved, self.net.spec.parameter_shapes, self.optimizer.moments, self.checkpoint)
        return saved

    def _fresh(self) -> None:
        self._take(self.net.parameters)
        self.state = self.optimizer.start(self.net.parameters)

    def _restore(self, saved: Checkpoint) -> None:
        header, asarray = saved.header, self.net.asarray
        self.net.set_parameters(saved.parameters)
        moments = {
            moment: {name: asarray(values[name]) for name in self.net.parameters}
            for moment, values in saved.moments.items()
        }
        self.state = OptimizerState(header.steps, moments)
        self.epoch, self.batch = header.epoch, header.batch
        self.results, self.tally = list(saved.history.epochs), saved.tally
        self.began = time.perf_counter() - header.seconds
        self.recorded = header.trajectory

    # -- how it goes on ----------------------------------------------------------------------------------------

    def to_its_end(self, interruption: Interruption) -> None:
        """All batches of all epochs that are still to come."""
        if self.epoch == 0:
            self._end_epoch(_untrained(self.net, self.data, as_trained(self.free)), interruption)
        while self.epoch <= self.epochs:
            rng = np.random.default_rng([self.seed, self.epoch])
            for _, given, y in islice(self.data.batches(self.batch_size, rng), self.batch, None):
                seed = [self.seed, self.epoch, self.batch + 1]
                x = with_draws(self.net.spec, given, seed)
                gradient, evidence = self.method.gradient(self.net, x, y, free=self.free, nudged=self.nudged)
                gradient = penalised(gradient, self.penalty, self.net, evidence.free, seed)
                output = self.net.to_numpy(self.net.output(evidence.free))
                with interruption.held():
                    self._step(gradient, evidence, correct(output, y))
                    if self.checkpoint is not None and time.perf_counter() - self.saved >= self.checkpoint_every:
                        self.save()
                if self.reporter is not None:
                    self.reporter.batch(self.epoch, self.batch, self.batches, self.tally)
            self._end_epoch(self._result(), interruption)

    def _step(self, gradient: Parameters, evidence: Evidence, right: np.ndarray) -> None:
        self._refuse_what_diverged(evidence)
        progress = ((self.epoch - 1) * self.batches + self.batch) / (self.epochs * self.batches)
        parameters, state = self.net.stepped(self.optimizer, gradient, self.state, self.schedule.scale(progress))
        try:
            self._take(parameters)
        except SpecError:
            # A number that is not finite anywhere in the gradient is one in the parameters, which are looked at anyway.
            self._refuse_what_is_not_finite(gradient)
            raise
        self.state = state
        self.tally.add(evidence, right)
        self.batch += 1
        if self.recording is not None:
            self.recording.step(state.steps, evidence)

    def _take(self, parameters: Parameters) -> None:
        if self.budget is not None:
            projected = self.budget.project(self.net.spec, parameters)
            # A product of matrices may round otherwise where its factors lie otherwise in memory, as they would after
            # a checkpoint, which keeps the numbers alone.
            parameters = {name: _in_rows(value) for name, value in projected.items()}
        self.net.set_parameters(parameters, adopt=True)

    def _end_epoch(self, result: Epoch, interruption: Interruption) -> None:
        with interruption.held():
            if self.recording is not None:
                self.recording.epoch(result)
            self.results.append(result)
            self.epoch, self.batch, self.tally = self.epoch + 1, 0, Tally()
            self.began = time.perf_counter()
            self.save()
        if self.reporter is not None:
            self.reporter.epoch(result)

    def _result(self) -> Epoch:
        score = evaluate(self.net, self.data.x_test, self.data.y_test, as_trained(self.free))
        return Epoch(
            epoch=self.epoch,
            train_cost=self.tally.mean("cost"),
            train_accuracy=self.tally.mean("correct"),
            test_cost=score.cost,
            test_accuracy=score.accuracy,
            free_steps=self.tally.mean("free"),
            nudged_steps=self.tally.mean("nudged"),
            residual_ratio=self.tally.residual_ratio,
            unsettled=self.tally.mean("unsettled"),
            mute=self.tally.mean("mute"),
            unconverged=self.tally.mean("unconverged"),
            seconds=time.perf_counter() - self.began,
        )

    # -- what survives it --------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint; the recording, flushed first, never stands behind it."""
        if self.checkpoint is None:
            return
        to_numpy = self.net.to_numpy
        if self.recording is not None:
            self.recorded = self.recording.recorded()
        header = Header(
            run=self.settings,
            epochs=self.epochs,
            epoch=self.epoch,
            batch=self.batch,
            seconds=time.perf_counter() - self.began,
            samples=self.tally.samples,
            steps=self.state.steps,
            moments=tuple(self.state.moments),
            trajectory=self.recorded,
        )
        Checkpoint(
            header=header,
            history=History(tuple(self.results)),
            tally=self.tally,
            parameters={name: to_numpy(value) for name, value in self.net.parameters.items()},
            moments={
                moment: {name: to_numpy(value) for name, value in values.items()}
                for moment, values in self.state.moments.items()
            },
        ).write(self.checkpoint)
        self.saved = time.perf_counter()

    # -- what ends it ------------------------------------------------------------------------------------------

    def _refuse_what_diverged(self, evidence: Evidence) -> None:
        lost = np.any([phase.status > Status.MAX_STEPS for phase in (evidence.free, *evidence.nudged)], axis=0)
        if lost.any():
            raise TrainingError(
                f"epoch {self.epoch}, batch {self.batch + 1}: {np.sum(lost)} of {lost.size} samples diverged, so their "
                "gradients mean nothing; a smaller alpha, learning rate or gain would help"
            )

    def _refuse_what_is_not_finite(self, gradient: Parameters) -> None:
        for name, value in gradient.items():
            if not np.all(np.isfinite(self.net.to_numpy(value))):
                raise TrainingError(
                    f"epoch {self.epoch}, batch {self.batch + 1}: the gradient of {name} is not finite; "
                    "a smaller learning rate or gain would help"
                ) from None


def _untrained(net: Engine, data: Data, how: Relaxation) -> Epoch:
    began = time.perf_counter()
    train_score = evaluate(net, data.x_train, data.y_train, how)
    test_score = evaluate(net, data.x_test, data.y_test, how)
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


def _in_rows(value: Array) -> Array:
    return np.asarray(value, order="C") if is_numpy_array(value) else value.contiguous()


__all__ = ["Budget", "Penalty", "train"]
