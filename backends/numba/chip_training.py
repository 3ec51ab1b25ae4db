"""Learning on the chip, in its own integers: the three-factor rule with all that it cuts and draws.

trainer = ChipTrainer(chip, SCHEDULES["differences"], beta=0.5)
for epoch in range(20):
    trainer.epoch(x, labels)
trainer.network()          # the chip with what it has learned
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Integer

from neuro_eq.backends.numba.integer import IntegerEngine
from neuro_eq.backends.numba.kernels import chip_training as kernel
from neuro_eq.errors import SpecError
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.formats import SignMode
from neuro_eq.hardware.schedules import LearningSchedule

TRACE_BITS = 7


@dataclass(frozen=True, eq=False)
class Epoch:
    """One pass.

    Attributes:
        accuracy: of the free phases, each before its sample was learned from.
        overflow: registers that overflowed.
        asymmetry: ``‖W − Wᵀ‖ / ‖W‖`` over the synapses that have a way back, at the end.
    """

    accuracy: float
    overflow: int
    asymmetry: float


class ChipTrainer:
    """A chip that learns, one sample after the other.

    Args:
        chip: the network; its sigma-delta messages, its mixed weights.
        schedule: how it is taught.
        beta: of the nudge.
        steps, nudged_steps: of the phases.
        seed: of the draws and of the order of samples.
        shared_draws: whether both ways of a synapse are rounded by the same draws, which a chip cannot promise.

    Raises:
        SpecError: the chip cannot be nudged, or a connection cannot learn.
    """

    def __init__(
        self,
        chip: ChipNetwork,
        schedule: LearningSchedule,
        *,
        beta: float = 0.5,
        steps: int = 60,
        nudged_steps: int = 30,
        seed: int = 0,
        shared_draws: bool = False,
    ) -> None:
        if not chip.nudged or chip.messages != "sigma_delta":
            raise SpecError("a chip learns by nudges of its output, with sigma-delta messages")
        if any(c.delay != 1 or c.phase != "both" or c.mode is not SignMode.MIXED for c in chip.connections):
            raise SpecError("what learns are connections of delay 1 and mixed signs whose way is open in all phases")
        self.chip, self.schedule = chip, schedule
        self.gain = chip.nudge_gain(beta)
        if self.gain == 0:
            raise SpecError("the nudge is less than one unit of the drive", "beta")
        self.steps, self.nudged_steps, self.shared_draws = steps, nudged_steps, shared_draws
        self.rng = np.random.default_rng(seed)
        self.engine = IntegerEngine(chip, threads=1, plastic=True)
        self.counted = 0
        stored = self.engine.synapses.weights
        # One copy or two whose difference is the weight; the kernel writes it into the engine's own.
        self.copies = np.zeros((2, stored.size), dtype=np.int64)
        self.copies[0] = stored
        self.tags = np.zeros_like(self.copies)
        self.ways, self.ties = self._tables()
        self.use(schedule)

    def use(self, schedule: LearningSchedule) -> None:
        """Go on by another schedule, from the weights and tags that are there.

        Raises:
            SpecError: one of the two keeps each weight as a pair.
        """
        if schedule.paired != self.schedule.paired:
            raise SpecError("a weight is either one number or the difference of two, from the start", "paired")
        self.schedule = schedule
        self._schedule = np.array(
            [schedule.kind == "differences", schedule.paired, schedule.multiple.bit_length() - 1, schedule.amplify,
             schedule.consolidate, schedule.tie],
            dtype=np.int64,
        )  # fmt: skip
        self._products = schedule.rule.table()

    def epoch(self, x: Any, labels: Any) -> Epoch:
        """Learn from samples in a new order.

        Args:
            x: real data, ``(samples, units)``.
            labels: ``(samples,)``.
        """
        (clamped,) = self.chip.clamped
        order = self.rng.permutation(len(x))
        data = self.chip.encode(clamped.name, np.asarray(x))[order]
        output = self.chip.population(self.chip.output)
        wanted = np.eye(output.size)[np.asarray(labels)[order]]
        targets = self.chip.encode(output.name, wanted).astype(np.int64)
        overflow = np.zeros((1, len(self.chip.populations), 3), dtype=np.int64)
        settled = np.zeros((len(x), output.size), dtype=np.int32)
        e = self.engine
        s = e.synapses
        kernel.train(
            *e.tables, s.table, s.pointers, s.indices, s.weights, s.effective, e.at[output.name], self.steps,
            self.nudged_steps, self.gain, e.blank, data, targets, self.ways, self.ties, self._products, self._schedule,
            self.copies, self.tags, self.draws(len(x)), self.counted, overflow, settled, e.scratch(),
        )  # fmt: skip
        self.counted += len(x)
        answers = np.argmax(settled, axis=1)
        return Epoch(float(np.mean(answers == np.asarray(labels)[order])), int(overflow.sum()), self.asymmetry())

    def teach(
        self,
        plus: Integer[np.ndarray, "samples units"],
        minus: Integer[np.ndarray, "samples units"],
        draws: Float[np.ndarray, "samples events ways 2 3"] | None = None,
    ) -> None:
        """Learn from nudged activities that are given, in the chip's integers, and by draws that may be."""
        kernel.teach_all(
            self.ways, self.ties, self._products, self._schedule, plus.astype(np.int64), minus.astype(np.int64),
            self.copies, self.tags, self.draws(len(plus)) if draws is None else draws, self.counted,
        )  # fmt: skip
        self.counted += len(plus)
        self.engine.synapses.weights[:] = self.copies[0] - self.copies[1] * self.schedule.paired

    def nudged(
        self, x: Any, labels: Any
    ) -> tuple[Integer[np.ndarray, "samples units"], Integer[np.ndarray, "samples units"]]:
        """Activities at +β and −β with the weights as they are; nothing is learned."""
        (clamped,) = self.chip.clamped
        output = self.chip.population(self.chip.output)
        target = self.chip.encode(output.name, np.eye(output.size)[np.asarray(labels)])
        free = self.engine.run(self.engine.start({clamped.name: np.asarray(x, dtype=np.float64)}), self.steps).state
        plus, minus = (
            self.engine.run(free, self.nudged_steps, target=target, gain=gain, nudged=True).state.a
            for gain in (self.gain, -self.gain)
        )
        return plus, minus

    def weights(self) -> Mapping[str, Integer[np.ndarray, "post pre"]]:
        """What each connection has learned, in units of its scale."""
        found = {}
        for c, way in zip(self.chip.connections, self.ways, strict=True):
            first, (post, pre) = int(way[kernel.FIRST]), c.weights.shape
            stored = self.engine.synapses.weights[first : first + post * pre]
            found[c.name] = stored.reshape(pre, post).T.astype(np.int64)
        return found

    def forget(self) -> None:
        """All weights and tags are 0."""
        self.copies[:] = 0
        self.tags[:] = 0
        self.engine.synapses.weights[:] = 0

    def network(self) -> ChipNetwork:
        """The chip as it is now, to be run; a pair of weights beyond nine bits is held within them."""
        return self.chip.with_weights(self.weights())

    def asymmetry(self) -> float:
        """``‖W − Wᵀ‖ / ‖W‖`` over the synapses that have a way back."""
        return self.chip.asymmetry(self.weights())

    def draws(self, samples: int) -> Float[np.ndarray, "samples events ways 2 3"]:
        """By sample and event (the last is consolidation's), by way, by copy: of variables, pre- and post-traces."""
        shape = (samples, self.schedule.events + 1, len(self.ways), 2, 3)
        drawn = self.rng.random(shape)
        if self.shared_draws:
            drawn[:] = drawn[:, :, :1]
        return drawn

    def _tables(self) -> tuple[np.ndarray, np.ndarray]:
        rows = []
        first = 0
        for c in self.chip.connections:
            pre, post = self.chip.population(c.source), self.chip.population(c.target)
            rows.append(
                [self.chip.places[pre.name].start, pre.size, self.chip.places[post.name].start, post.size, first,
                 pre.activity_bits - TRACE_BITS, post.activity_bits - TRACE_BITS]
            )  # fmt: skip
            first += c.weights.size
        names = [c.name for c in self.chip.connections]
        ties = [[names.index(forward), names.index(back)] for forward, back in self.chip.both_ways]
        return np.array(rows, dtype=np.int64).reshape(-1, 7), np.array(ties, dtype=np.int64).reshape(-1, 2)
