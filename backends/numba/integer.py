"""The integer engine: a chip's network, bit for bit, many samples at a time.

    chip, _ = quantise(spec, parameters, ranges)
    engine = IntegerEngine(chip)
    found = engine.run(engine.start({"input": x}), steps=60)
    found.activities("output")

It computes what the ``fixed_pt`` models of the Lava engine compute, state by state and step by step.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Int, Int32, Int64

from neuro_eq.backends.numba.kernels import fixed_point as kernel
from neuro_eq.backends.numba.workers import Workers
from neuro_eq.errors import BackendError, SpecError
from neuro_eq.hardware.chip import ChipConnection, ChipNetwork, ChipPopulation

OVERFLOWS = ("wrapped", "saturated", "clipped")
"""Kinds of overflow: an accumulator went round, a potential stayed at its end, an activity without bound was cut."""

SPARSE = 0.5
"""Share of weights that are not zero below which a connection's indices are worth keeping."""

ROWS = 32
"""Samples of one task for a thread."""


@dataclass(frozen=True, eq=False)
class ChipState:
    """Everything that a chip remembers of samples between two steps; units lie as in ``chip.places``.

    Attributes:
        a: activities.
        v: potentials; those of clamped units are 0.
        sigma: what has arrived.
        reference: r, what the others know of the activities.
        inbox: messages on their way, by the step that they were sent in modulo the longest delay.
        clock: steps taken so far.
    """

    a: Int32[np.ndarray, "rows units"]
    v: Int32[np.ndarray, "rows units"]
    sigma: Int32[np.ndarray, "rows units"]
    reference: Int32[np.ndarray, "rows units"]
    inbox: Int32[np.ndarray, "rows slots units"]
    clock: int

    @property
    def rows(self) -> int:
        """Samples."""
        return len(self.a)

    def copy(self) -> ChipState:
        """A state of its own arrays."""
        return replace(self, **{name: getattr(self, name).copy() for name in ("a", "v", "sigma", "reference", "inbox")})


@dataclass(frozen=True, eq=False)
class Trace:
    """Every step of every unit."""

    v: Int32[np.ndarray, "steps rows units"]
    sigma: Int32[np.ndarray, "steps rows units"]
    a: Int32[np.ndarray, "steps rows units"]
    messages: Int32[np.ndarray, "steps rows units"]


@dataclass(frozen=True, eq=False)
class ChipRun:
    """How samples went.

    Attributes:
        chip: the network.
        state: after the last step.
        steps: that were taken.
        silent: of each sample, the step after which nothing moved and nothing was on its way any more; −1 where it
            was not reached.
        messages: that each population sent, of each sample.
        operations: additions of a weight that is not zero, of each sample.
        overflow: for each sample and population, how often each of :data:`OVERFLOWS` happened.
        trace: every step, where it was asked for.
    """

    chip: ChipNetwork
    state: ChipState
    steps: int
    silent: Int64[np.ndarray, " rows"]
    messages: Int64[np.ndarray, "rows populations"]
    operations: Int64[np.ndarray, " rows"]
    overflow: Int64[np.ndarray, "rows populations 3"]
    trace: Trace | None

    def activities(self, population: str) -> Int32[np.ndarray, "rows size"]:
        """Activities in the chip's integers."""
        return self.state.a[:, self.chip.places[population]]

    def answers(self) -> Int64[np.ndarray, " rows"]:
        """The class whose activity is largest, the first of equals."""
        return np.argmax(self.activities(self.chip.output), axis=1)

    def overflows(self) -> dict[str, int]:
        """How often each kind happened, over all samples and populations."""
        return dict(zip(OVERFLOWS, (int(n) for n in self.overflow.sum(axis=(0, 1))), strict=True))


class IntegerEngine:
    """A chip's network on the CPU.

    Args:
        chip: the network.
        strict: whether an overflow is an error; otherwise it is counted.
        threads: samples that are computed at the same time; all cores by default.  Results do not depend on it.
        plastic: weights that are 0 are kept as well, since they may change.
    """

    def __init__(
        self, chip: ChipNetwork, *, strict: bool = False, threads: int | None = None, plastic: bool = False
    ) -> None:
        if threads is not None and (type(threads) is not int or threads < 1):
            raise BackendError(f"threads: expected a whole number of at least 1, found {threads!r}")
        self.chip = chip
        self.strict = strict
        self.workers = Workers(threads or os.cpu_count() or 1)
        self._order = (*chip.clamped, *chip.free)
        self.at = {p.name: i for i, p in enumerate(self._order)}
        self._tables = np.concatenate([np.zeros(0, np.int64), *(p.table.astype(np.int64) for p in self._order)])
        self._populations = self._population_table()
        self._bias = np.concatenate([p.bias for p in self._order]).astype(np.int64)
        self.synapses = Synapses.of(chip, self.at, plastic)
        self._accumulator = np.int32 if not plastic and self._fits_in_32_bits() else np.int64

    def close(self) -> None:
        """End the threads."""
        self.workers.close()

    def __enter__(self) -> IntegerEngine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def start(self, data: Mapping[str, Any]) -> ChipState:
        """Samples with this data, real or integer, before the first step: no potential, nothing sent.

        Real numbers are encoded, integers taken as they are.

        Raises:
            SpecError: a clamped population has no data, or one of another shape.
        """
        parts = []
        for p in self.chip.clamped:
            if p.name not in data:
                raise SpecError(f'no data for "{p.name}"')
            values = np.asarray(data[p.name])
            if values.dtype.kind == "f":
                values = self.chip.encode(p.name, values)
            values = values.reshape(len(values), -1)
            if values.shape[1] != p.size:
                raise SpecError(f'"{p.name}" has {p.size} units, but its data {values.shape[1]}')
            parts.append(np.clip(values, p.low, p.high))
        rows = len(parts[0])
        a = np.zeros((rows, self.chip.units), dtype=np.int32)
        a[:, : self.chip.clamped_units] = np.concatenate(parts, axis=1)
        # Until it has taken a step, a neuron has sent nothing, whatever its activity at a potential of 0 is.
        for p in self.chip.free:
            a[:, self.chip.places[p.name]] = p.activity(np.zeros(p.size, dtype=np.int64))
        v, sigma, reference = (np.zeros_like(a) for _ in range(3))
        return ChipState(a, v, sigma, reference, np.zeros((rows, self.chip.longest_delay, a.shape[1]), np.int32), 0)

    def run(
        self,
        state: ChipState,
        steps: int,
        *,
        target: Any = None,
        gain: Any = 0,
        nudged: bool = False,
        trace: bool = False,
    ) -> ChipRun:
        """Take ``steps`` steps from a state, which stays as it is.

        Args:
            target: activities of the output that a nudge pulls to, ``(rows, size)`` in the chip's integers.
            gain: of the nudge, one number or one for each sample (:meth:`ChipNetwork.nudge_gain`).
            nudged: whether messages take the ways of nudged phases.
            trace: keep every step.

        Raises:
            BackendError: something overflowed and the engine is strict.
            SpecError: a nudge of a population that only reads out, or of another shape.
        """
        after = state.copy()
        rows = state.rows
        output = self.chip.population(self.chip.output)
        gains = np.broadcast_to(np.asarray(gain, dtype=np.int64), (rows,)).copy()
        if target is None:
            goal = np.zeros((rows, output.size), dtype=np.int64)
            if gains.any():
                raise SpecError("a nudge needs a target", "target")
        else:
            goal = np.asarray(target, dtype=np.int64)
        if goal.shape != (rows, output.size):
            raise SpecError(f"{(rows, output.size)} belongs here, found {goal.shape}", "target")
        if gains.any() and not self.chip.nudged:
            raise SpecError(f'"{output.name}" only reads out, so nothing that pulls it is felt', "gain")
        count = len(self._order)
        kept = np.zeros((4, steps if trace else 0, rows, self.chip.units), dtype=np.int32)
        messages = np.zeros((rows, count), dtype=np.int64)
        operations = np.zeros(rows, dtype=np.int64)
        silent = np.full(rows, -1, dtype=np.int64)
        overflow = np.zeros((rows, count, len(OVERFLOWS)), dtype=np.int64)

        def work(first: int, last: int) -> None:
            s = self.synapses
            kernel.run(
                self._populations, self._tables, self._bias, s.table, s.pointers, s.indices, s.weights, s.effective,
                self.at[self.chip.output], first, last, steps, state.clock, self.chip.messages == "sigma_delta",
                nudged, after.a, after.v, after.sigma, after.reference, after.inbox, goal, gains, messages, operations,
                silent, overflow, *kept, self.scratch(),
            )  # fmt: skip

        self.workers.run([partial(work, i, min(i + ROWS, rows)) for i in range(0, rows, ROWS)])
        found = ChipRun(
            self.chip, replace(after, clock=state.clock + steps), steps, silent, self._in_order(messages), operations,
            self._in_order(overflow), Trace(*kept) if trace else None,
        )  # fmt: skip
        if self.strict:
            self._refuse_overflow(overflow)
        return found

    @property
    def tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Populations, values of smooth activations, and biases, as kernels take them."""
        return self._populations, self._tables, self._bias

    @property
    def blank(self) -> Int32[np.ndarray, " units"]:
        """Activities before the first step, without data."""
        return self.start({p.name: np.zeros((1, p.size), dtype=np.int64) for p in self.chip.clamped}).a[0]

    def scratch(self) -> Int[np.ndarray, " units"]:
        """Where a connection's messages are added up, as wide as they may become."""
        return np.zeros(self.chip.units, dtype=self._accumulator)

    def _in_order(self, values: np.ndarray) -> np.ndarray:
        """Columns of populations as the chip lists them."""
        return values[:, [self.at[p.name] for p in self.chip.populations]]

    def _refuse_overflow(self, overflow: np.ndarray) -> None:
        if overflow.any():
            row, at, kind = (int(i) for i in np.argwhere(overflow)[0])
            what = ("an accumulator went round", "a potential met its end", "an activity was cut")[kind]
            raise BackendError(f'overflow: in "{self._order[at].name}", sample {row}, {what}; use a larger margin')

    def _population_table(self) -> np.ndarray:
        columns = []
        for p in self._order:
            before = sum(q.table.size for q in self._order[: self.at[p.name]])
            columns.append(
                [self.chip.places[p.name].start, p.size, p.clamped, p.drive_bits - p.activity_bits, p.decay,
                 p.threshold, p.low, p.high, before, p.table.size, p.reach_bits, p.stretch_bits, p.unbounded]
            )  # fmt: skip
        return np.array(columns, dtype=np.int64)

    def _fits_in_32_bits(self) -> bool:
        """Whether no sum over a connection's messages can need more."""
        return all(largest_sum(c, self.chip.population(c.source)) < 2**31 for c in self.chip.connections)


def largest_sum(connection: ChipConnection, source: ChipPopulation) -> int:
    """A bound on ``|Σ_j W_ij m_j|``: no change is larger than the distance between an activity's ends."""
    rows = np.abs(connection.weights.astype(np.int64)).sum(axis=1)
    return int(rows.max(initial=0)) * (source.high - source.low)


@dataclass(frozen=True, eq=False)
class Synapses:
    """All connections' weights by columns: what one unit sends is added up along one."""

    table: Int[np.ndarray, "connections 7"]
    pointers: Int64[np.ndarray, " columns"]
    indices: Int32[np.ndarray, " stored"]
    weights: Int[np.ndarray, " stored"]
    effective: Int64[np.ndarray, " columns"]

    @classmethod
    def of(cls, chip: ChipNetwork, at: Mapping[str, int], plastic: bool) -> Synapses:
        phases = {"both": kernel.BOTH, "free": kernel.FREE, "nudged": kernel.NUDGED}
        table, pointers, indices, weights, effective = [], [], [], [], []
        stored = columns = 0
        for c in chip.connections:
            there = c.weights.T != 0
            whole = plastic or there.mean() >= SPARSE
            kept = np.ones_like(there) if whole else there
            counts = kept.sum(axis=1)
            ends = stored + np.concatenate([[0], np.cumsum(counts)])
            table.append([at[c.source], at[c.target], columns, c.exponent, c.delay, phases[c.phase], whole])
            pointers.append(ends)
            weights.append(np.ascontiguousarray(c.weights.T)[kept])
            indices.append(np.zeros(0, int) if whole else np.nonzero(kept)[1])
            # Where indices are not kept the places of theirs stay empty, so that both lists have one pointer.
            if whole:
                indices[-1] = np.zeros(weights[-1].size, dtype=np.int32)
            effective.append(np.append(there.sum(axis=1), 0))
            stored = int(ends[-1])
            columns += len(ends)
        return cls(
            np.array(table, dtype=np.int64).reshape(-1, 7),
            np.concatenate([np.zeros(0, np.int64), *pointers]).astype(np.int64),
            np.concatenate([np.zeros(0, np.int32), *indices]).astype(np.int32),
            np.concatenate([np.zeros(0, np.int16), *weights]).astype(np.int16),
            np.concatenate([np.zeros(0, np.int64), *effective]).astype(np.int64),
        )
