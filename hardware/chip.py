"""A network as a chip would hold it: integers only, pure data.

One step of every population, with the messages ``m`` that the others sent ``delay`` steps before:

    ŝ = Σ_c shift(W_c m_source(c), e_c)           each connection by itself, accumulated, then shifted
    s ← wrap₂₄(s + ŝ)                             sigma: what has arrived so far (with graded messages s ← wrap₂₄(ŝ))
    v ← sat₂₄(v − leak + s + bias + g·(y − a))    ``v − leak`` = sign(v)·((|v|·(4096 − d)) >> 12), d = 4096 α
    u = sign(v)·((|v|·d) >> 12)
    a = ρ(u)                                      in integers, below
    m = a − r where |a − r| ≥ θ, else 0;  r ← r + m     delta: only changes are sent (graded: m = a)

At rest ``v = 4096/d · (s + bias)``, so ``u`` is the drive and ``α = d/4096`` the step of the relaxation: with exact
numbers this is ``u ← u + α (drive − u)``.  One unit of ``s``, ``v·d/4096`` and ``u`` is ``2^−drive_bits`` of the
network's own, one of ``a``, ``m`` and ``r`` is ``2^−activity_bits``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Int16, Int32, Integer

from neuro_eq.errors import SpecError
from neuro_eq.hardware import formats
from neuro_eq.hardware.formats import SignMode

Messages = Literal["sigma_delta", "graded"]
Phase = Literal["both", "free", "nudged"]


def _no_table() -> np.ndarray:
    return np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, eq=False)
class ChipPopulation:
    """Neurons that share a program.

    Attributes:
        name, size: as in the network.
        clamped: its activity is data; it only sends.
        activity_bits: an activity of 1 is ``2^activity_bits``.
        drive_bits: a drive of 1 is ``2^drive_bits``.
        decay: d; a step keeps ``(4096 − d)/4096`` of the potential.
        threshold: θ, the least change of an activity that is sent.
        low, high: limits of the activity.
        bias: a constant drive.
        table: ρ at the ends of ``table.size − 1`` equal stretches of ``±2^reach_bits``, linear in between; empty where
            ``ρ(u) = clip(round(u / 2^(drive_bits − activity_bits)), low, high)``.
        reach_bits: see there; potentials beyond are taken as the ends.
        unbounded: ρ has no bound of its own, so that an activity cut at ``low`` or ``high`` is an overflow.
    """

    name: str
    size: int
    clamped: bool
    activity_bits: int
    drive_bits: int
    decay: int
    threshold: int
    low: int
    high: int
    bias: Int32[np.ndarray, " size"]
    table: Int32[np.ndarray, " ends"] = field(default_factory=_no_table)
    reach_bits: int = 0
    unbounded: bool = False

    def activity(self, u: Integer[np.ndarray, "*rows size"]) -> Integer[np.ndarray, "*rows size"]:
        """``a = ρ(u)`` in integers."""
        if not self.table.size:
            return np.clip(formats.rounded(u, self.drive_bits - self.activity_bits), self.low, self.high)
        stretch = self.stretch_bits
        at = np.clip(np.asarray(u, dtype=np.int64), -(1 << self.reach_bits), (1 << self.reach_bits) - 1)
        at = at + (1 << self.reach_bits)
        left = at >> stretch
        table = self.table.astype(np.int64)
        rise = table[left + 1] - table[left]
        return table[left] + formats.rounded(rise * (at & ((1 << stretch) - 1)), stretch)

    @property
    def stretch_bits(self) -> int:
        """A stretch of the table is ``2^stretch_bits`` long."""
        return self.reach_bits + 1 - (self.table.size - 1).bit_length() + 1 if self.table.size else 0


@dataclass(frozen=True, eq=False)
class ChipConnection:
    """All synapses from one population to another; a symmetric synapse of the network becomes two of these.

    Attributes:
        name, source, target: its own name and those of the populations.
        synapse: the network's synapse that it comes from.
        transposed: whether it is the way back of a synapse, and holds its transposed matrix.
        weights: mantissas, as they stand in the synapse memory.
        mode: of their signs.
        exponent: of the shift after accumulation.
        scale: a mantissa of 1 is a weight of ``2^scale``.
        delay: steps that a message is on its way, at least 1.
        phase: whether messages take this way always, only in the free phase, or only in nudged ones.
    """

    name: str
    source: str
    target: str
    synapse: str
    transposed: bool
    weights: Int16[np.ndarray, "post pre"]
    mode: SignMode
    exponent: int
    scale: int
    delay: int = 1
    phase: Phase = "both"

    @property
    def synapses(self) -> int:
        """Synapses that memory must hold: those whose weight is not zero."""
        return int(np.count_nonzero(self.weights))


@dataclass(frozen=True, eq=False)
class ChipNetwork:
    """Populations and connections in integers, checked against the number formats.

    Attributes:
        populations: in the network's order.
        connections: each one way.
        messages: ``"sigma_delta"`` sends changes and falls silent at a fixed point, ``"graded"`` sends every activity
            in every step.
        output: the population that a nudge pulls, and whose largest activity is the answer.
        nudged: whether that population is part of the dynamics; not where it only reads out.

    Raises:
        SpecError: something has no place in its format; one sentence that names it.
    """

    populations: tuple[ChipPopulation, ...]
    connections: tuple[ChipConnection, ...]
    messages: Messages
    output: str
    nudged: bool = True

    def __post_init__(self) -> None:
        names = [p.name for p in self.populations]
        for population in self.populations:
            _check_population(population)
        for connection in self.connections:
            if connection.source not in names or connection.target not in names:
                raise SpecError(
                    f"joins {connection.source} to {connection.target}, which are not both there", _of(connection)
                )
            _check_connection(connection, self.population(connection.source), self.population(connection.target))
            if self.messages == "sigma_delta" and connection.exponent < 0:
                raise SpecError(
                    f"a shift by {connection.exponent} cuts bits of every change that arrives, and they add up; give "
                    "sigma-delta messages exponents from 0 on",
                    _of(connection),
                )
        if not self.clamped:
            raise SpecError("no population is clamped, so no data can enter", "populations")
        if self.output not in names or self.population(self.output).clamped:
            raise SpecError(f'"{self.output}" is not a free population', "output")

    @cached_property
    def _by_name(self) -> Mapping[str, ChipPopulation]:
        return {p.name: p for p in self.populations}

    def population(self, name: str) -> ChipPopulation:
        """The population of that name."""
        return self._by_name[name]

    @cached_property
    def free(self) -> tuple[ChipPopulation, ...]:
        """The populations that settle."""
        return tuple(p for p in self.populations if not p.clamped)

    @cached_property
    def clamped(self) -> tuple[ChipPopulation, ...]:
        """The populations that hold data."""
        return tuple(p for p in self.populations if p.clamped)

    @property
    def longest_delay(self) -> int:
        """Steps that the slowest message is on its way."""
        return max((c.delay for c in self.connections), default=1)

    @cached_property
    def places(self) -> Mapping[str, slice]:
        """Population to its units among all, those that are clamped first, then the free ones."""
        places: dict[str, slice] = {}
        first = 0
        for population in (*self.clamped, *self.free):
            places[population.name] = slice(first, first + population.size)
            first += population.size
        return places

    @property
    def units(self) -> int:
        """Units of all populations."""
        return sum(p.size for p in self.populations)

    @property
    def clamped_units(self) -> int:
        """Units that hold data."""
        return sum(p.size for p in self.clamped)

    def encode(self, population: str, values: np.ndarray) -> Int32[np.ndarray, "rows size"]:
        """Real activities as this population's integers, clipped to what it can send."""
        p = self.population(population)
        flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        return np.clip(np.rint(flat * 2.0**p.activity_bits), p.low, p.high).astype(np.int32)

    def decode(self, population: str, activities: np.ndarray) -> np.ndarray:
        """This population's integers as real activities."""
        return np.asarray(activities, dtype=np.float64) * 2.0 ** -self.population(population).activity_bits

    def with_weights(self, weights: Mapping[str, Integer[np.ndarray, "post pre"]]) -> ChipNetwork:
        """The same with other weights, by connection; those beyond nine bits are held within them."""
        return replace(
            self,
            connections=tuple(
                replace(c, weights=np.clip(weights[c.name], -256, 255).astype(np.int16)) for c in self.connections
            ),
        )

    @property
    def both_ways(self) -> list[tuple[str, str]]:
        """Of every synapse that has a way back, the connection forward and that one."""
        there = {c.synapse: c.name for c in self.connections if not c.transposed}
        return [(there[c.synapse], c.name) for c in self.connections if c.transposed]

    def asymmetry(self, weights: Mapping[str, Integer[np.ndarray, "post pre"]]) -> float:
        """``‖W − Wᵀ‖ / ‖W‖`` of these weights, over the synapses that have a way back."""
        pairs = [(weights[forward], weights[back].T) for forward, back in self.both_ways]
        apart = sum(float(np.sum((forward - back) ** 2)) for forward, back in pairs)
        size = sum(float(np.sum(forward**2)) for forward, _ in pairs)
        return float(np.sqrt(apart / max(size, 1.0)))

    def nudge_gain(self, beta: float) -> int:
        """``g``: a nudge ``β(y − a)`` as so many units of the drive for each unit of an activity's error."""
        p = self.population(self.output)
        return round(beta * 2.0 ** (p.drive_bits - p.activity_bits))

    def unreachable_overflow(self) -> dict[str, bool]:
        """For each free population, whether no activities whatever can bring its registers to their ends.

        ``|s| ≤ Σ_c Σ_j |W_ij| 2^e · max(|low_j|, high_j)`` and ``|v| ≤ 4096/d · (|s| + |bias|)`` once it has settled
        there, which a start at zero never exceeds.  A nudge is not counted.
        """
        held: dict[str, bool] = {}
        for p in self.free:
            most = np.abs(p.bias.astype(np.int64))
            for c in self.connections:
                if c.target == p.name:
                    source = self.population(c.source)
                    rows = np.abs(c.weights.astype(np.int64)).sum(axis=1) * max(-source.low, source.high)
                    most = most + (rows << c.exponent if c.exponent >= 0 else (rows >> -c.exponent) + 1)
            held[p.name] = bool(most.max(initial=0) * formats.DECAY_UNITY // p.decay <= formats.STATE_HIGH)
        return held


def _of(connection: ChipConnection) -> str:
    return f"connection {connection.name}"


def _check_population(p: ChipPopulation) -> None:
    place = f"population {p.name}"
    if not 1 <= p.decay <= formats.DECAY_UNITY and not p.clamped:
        raise SpecError(f"a decay lies in 1…{formats.DECAY_UNITY}, found {p.decay}", place)
    if p.threshold < 1:
        raise SpecError(f"the least change that is sent is 1 or more, found {p.threshold}", place)
    limit = 2 ** (formats.MESSAGE_BITS - 1)
    # The difference of two activities must fit as well, since that is what is sent.
    if not p.low <= 0 <= p.high or p.high - p.low >= limit:
        raise SpecError(
            f"activities lie around 0 and less than 2^{formats.MESSAGE_BITS - 1} apart, found {p.low}…{p.high}", place
        )
    if p.bias.size and np.abs(p.bias.astype(np.int64)).max() > formats.STATE_HIGH:
        raise SpecError(f"a bias has {formats.STATE_BITS} bits, found {np.abs(p.bias).max()}", place)
    stretches = p.table.size - 1
    if p.table.size and (stretches & (stretches - 1) or p.stretch_bits < 0):
        raise SpecError(f"a table has 2^k + 1 ends, and no more than potentials, found {p.table.size}", place)


def _check_connection(c: ChipConnection, source: ChipPopulation, target: ChipPopulation) -> None:
    if target.clamped:
        raise SpecError(f'"{target.name}" is clamped, so nothing arrives there', _of(c))
    if c.weights.shape != (target.size, source.size):
        raise SpecError(f"weights of shape {(target.size, source.size)} belong here, found {c.weights.shape}", _of(c))
    if not formats.LEAST_EXPONENT <= c.exponent <= formats.LARGEST_EXPONENT:
        raise SpecError(
            f"an exponent lies in {formats.LEAST_EXPONENT}…{formats.LARGEST_EXPONENT}, found {c.exponent}", _of(c)
        )
    if not 1 <= c.delay <= formats.LONGEST_DELAY + 1:
        raise SpecError(f"a message takes 1…{formats.LONGEST_DELAY + 1} steps, found {c.delay}", _of(c))
    low, high = c.mode.limits
    if c.weights.size and (c.weights.min() < low or c.weights.max() > high + c.mode.step - 1):
        raise SpecError(
            f"{c.mode.value} mantissas lie in {low}…{high}, found {c.weights.min()}…{c.weights.max()}", _of(c)
        )
