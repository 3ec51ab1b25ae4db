"""The training loop of experiments: as :func:`neuro_eq.train`, with a nudge that may change on the way.

With a constant nudge it takes the same steps, bit for bit.  It keeps no checkpoint, as a run that is lost is run again,
and a run that diverges is a result: it ends there, and says so.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from neuro_eq.arrays import Parameters
from neuro_eq.datasets import Data
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Status
from neuro_eq.errors import SpecError
from neuro_eq.experiments.training.lessons import Lessons
from neuro_eq.experiments.training.nudging import Nudging
from neuro_eq.methods import Evidence
from neuro_eq.training import Epoch, Tally, as_trained, check_fit, evaluate, penalised
from neuro_eq.training.drawing import with_draws
from neuro_eq.training.evaluation import correct
from neuro_eq.training.results import FIGURES

Watch = Callable[[Engine, int, float], None]
"""Is shown the network before the first epoch (0) and after each, with the nudge that it is at."""


@dataclass(frozen=True)
class Learned:
    """What training came to.

    Attributes:
        epochs: the untrained network first; where training ended before its time the last one is what it left.
        ended: an empty text, or why it ended before its time.
        gradients: ``(batches,)`` the norm of the whole gradient of the cost, of every batch.
    """

    epochs: tuple[Epoch, ...]
    ended: str = ""
    gradients: tuple[float, ...] = ()

    @property
    def last(self) -> Epoch:
        """The network as it is now."""
        return self.epochs[-1]

    @property
    def unevenness(self) -> float:
        """The largest gradient over the median one."""
        return float(np.max(self.gradients) / np.median(self.gradients)) if self.gradients else math.nan

    def curves(self) -> dict[str, Float64[np.ndarray, " epochs"]]:
        """Every figure over the epochs, and the gradient's norm over the batches, as arrays for a results file."""
        found = {f"history/{name}": np.array([getattr(e, name) for e in self.epochs], dtype=float) for name in FIGURES}
        return {**found, "gradient/norm": np.array(self.gradients, dtype=float)}


TEST_ACCURACY = "history/test_accuracy"
"""The curve that most figures and verdicts are of."""

UNEVEN = "largest gradient over median"
"""The number that :attr:`Learned.unevenness` is kept as."""


def learn(net: Engine, data: Data, how: Lessons, seed: int, watch: Watch = lambda net, epoch, beta: None) -> Learned:
    """Train a network in place.

    Args:
        seed: of the order of the samples and of what is drawn.
        watch: is shown the network before the first epoch and after each.
    """
    check_fit(net, data)
    optimizer, rate, norms, penalty = how.optimizer, how.rate, how.norms, how.on_the_response

    def take(parameters: Parameters) -> None:
        if norms is not None:
            parameters = norms.project(net.spec, parameters)
        net.set_parameters(parameters)

    take(net.parameters)
    state, nudging = optimizer.start(net.parameters), Nudging(how)
    epochs = [_before(net, data, how)]
    sizes: list[float] = []
    watch(net, 0, nudging.beta(1))
    batches = -(-len(data.x_train) // how.batch_size)

    def left(epoch: int, tally: Tally, began: float, why: str) -> Learned:
        """The network as it stands when training cannot go on: what a diverged run has come to."""
        epochs.append(_after(net, data, how, epoch, tally, began))
        return Learned(tuple(epochs), f"epoch {epoch}: {why}", tuple(sizes))

    for epoch in range(1, how.epochs + 1):
        began, tally = time.perf_counter(), Tally()
        order = data.batches(how.batch_size, np.random.default_rng([seed, epoch]))
        for batch, (_, given, y) in enumerate(order):
            drawn = [seed, epoch, batch + 1]
            x = with_draws(net.spec, given, drawn)
            method = nudging.method(net.spec, epoch)
            gradient, evidence = method.gradient(net, x, y, free=how.free, nudged=how.nudged)
            nudging.saw(evidence)
            sizes.append(float(np.linalg.norm([np.linalg.norm(net.to_numpy(part)) for part in gradient.values()])))
            gradient = penalised(gradient, penalty, net, evidence.free, drawn)
            if lost := _lost(evidence):
                return left(epoch, tally, began, f"{lost} of {len(y)} samples diverged")
            right = correct(net.to_numpy(net.output(evidence.free)), y)
            progress = ((epoch - 1) * batches + batch) / (how.epochs * batches)
            parameters, state = net.stepped(optimizer, gradient, state, rate.scale(progress))
            try:
                take(parameters)
            except SpecError as error:
                return left(epoch, tally, began, str(error))
            tally.add(evidence, right)
        epochs.append(_after(net, data, how, epoch, tally, began))
        watch(net, epoch, nudging.beta(epoch))
    return Learned(tuple(epochs), gradients=tuple(sizes))


def _lost(evidence: Evidence) -> int:
    phases = (evidence.free, *evidence.nudged)
    return int(np.sum(np.any([phase.status > Status.MAX_STEPS for phase in phases], axis=0)))


def _before(net: Engine, data: Data, how: Lessons) -> Epoch:
    began, answers = time.perf_counter(), as_trained(how.free)
    train = evaluate(net, data.x_train, data.y_train, answers)
    test = evaluate(net, data.x_test, data.y_test, answers)
    nothing = math.nan
    return Epoch(
        0, train.cost, train.accuracy, test.cost, test.accuracy, train.steps, nothing, nothing, nothing, nothing,
        1.0 - train.converged, time.perf_counter() - began,
    )  # fmt: skip


def _after(net: Engine, data: Data, how: Lessons, epoch: int, tally: Tally, began: float) -> Epoch:
    test = evaluate(net, data.x_test, data.y_test, as_trained(how.free))
    return Epoch(
        epoch, tally.mean("cost"), tally.mean("correct"), test.cost, test.accuracy, tally.mean("free"),
        tally.mean("nudged"), tally.residual_ratio, tally.mean("unsettled"), tally.mean("mute"),
        tally.mean("unconverged"), time.perf_counter() - began,
    )  # fmt: skip
