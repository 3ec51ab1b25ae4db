"""From a trained network to integers: scales, exponents and widths, each chosen for its own synapse or population.

A weight ``w`` becomes a mantissa ``m`` with ``w ≈ m·2^scale``, one scale a synapse, which both of its directions
share: the way back holds the same mantissas.  A population counts its drive in units of ``2^−drive_bits``, so that a
message in units of ``2^−activity_bits`` that arrives over a connection is shifted by

    exponent = scale − activity_bits(source) + drive_bits(target)   ∈ 0…7.

``drive_bits`` is as large as the finest incoming synapse asks for, and no larger than what calibration says its 24
bits of potential can hold.  Where that, or the range of exponents, is too small, a synapse takes a coarser scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int16

from neuro_eq.activations import Activation
from neuro_eq.costs import CrossEntropy, SquaredError
from neuro_eq.errors import SpecError
from neuro_eq.hardware import formats
from neuro_eq.hardware.chip import ChipConnection, ChipNetwork, ChipPopulation, Messages
from neuro_eq.hardware.formats import SignMode, sign_mode
from neuro_eq.hardware.ways import Way, refuse_what_no_chip_runs, ways
from neuro_eq.spec import Network, Population

STRETCHES_BITS = 9
"""A table of ρ has 2⁹ stretches of ``±TABLE_REACH``: linear interpolation errs by less than 10⁻⁴."""
TABLE_REACH_BITS = 3
LEAST_ACTIVITY_BITS = 7
"""An activity has no fewer, whatever that costs the weights."""
WIDE_BITS = 15
"""Activities without a bound of their own have 15 bits and a sign."""


@dataclass(frozen=True)
class Precision:
    """How finely a chip is to count.

    Args:
        activity_bits: an activity of 1 is ``2^activity_bits``; a message costs the chip the same at any width.
        alpha: step of the relaxation; a chip's decay has twelve bits.
        threshold: the least change that is sent, in units of ``2^−activity_bits``.
        messages: ``"sigma_delta"`` or ``"graded"``.
        margin: how many times the largest potential that calibration has seen must fit.
    """

    activity_bits: int = 10
    alpha: float = 0.5
    threshold: int = 1
    messages: Messages = "sigma_delta"
    margin: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.activity_bits <= WIDE_BITS - 1:
            raise SpecError(f"expected 1…{WIDE_BITS - 1}, found {self.activity_bits}", "activity_bits")
        if not 1 <= round(self.alpha * formats.DECAY_UNITY) <= formats.DECAY_UNITY:
            raise SpecError(f"expected 1/{formats.DECAY_UNITY}…1, found {self.alpha}", "alpha")
        if not self.margin >= 1.0:
            raise SpecError(f"expected at least 1, found {self.margin}", "margin")

    @property
    def decay(self) -> int:
        """d, the step in units of 1/4096."""
        return round(self.alpha * formats.DECAY_UNITY)


@dataclass(frozen=True)
class SynapseReport:
    """What became of a synapse's weights.

    Attributes:
        synapse: its name.
        scale: a mantissa of 1 is ``2^scale``.
        mode: of the signs.
        largest_error: of a weight.
        relative_error: ``‖w − m·2^scale‖ / ‖w‖``.
        clipped: weights beyond the largest mantissa.
    """

    synapse: str
    scale: int
    mode: str
    largest_error: float
    relative_error: float
    clipped: int


def quantise(
    spec: Network,
    parameters: Mapping[str, Any],
    ranges: Mapping[str, float],
    precision: Precision = Precision(),
    scales: Mapping[str, int] | None = None,
) -> tuple[ChipNetwork, tuple[SynapseReport, ...]]:
    """The network in integers, and what that did to its weights.

    Args:
        spec: the network.
        parameters: as ``net.parameters``; float.
        ranges: population to the largest size that its potential takes, or its data where it is clamped.
        scales: of synapses, where they are to have room for more than their weights; those weights have both signs.

    Raises:
        SpecError: the network has something that no chip runs, or that has no place in the chip's formats.
    """
    refuse_what_no_chip_runs(spec)
    theta = {name: np.asarray(value, dtype=np.float64) for name, value in parameters.items()}
    directions, constants = ways(spec, theta, precision.messages)
    given = dict(scales or {})
    modes = {key: SignMode.MIXED if key in given else sign_mode(way.matrix) for key, (way, *_) in directions.items()}
    scales = {key: given.get(key, best_scale(way.matrix, modes[key])) for key, (way, *_) in directions.items()}
    rooms = _rooms(spec, ranges, precision)
    fine = {p.name: _activity_bits(p.name, directions, scales, rooms, precision) for p in spec.populations}
    populations = [_population(p, ranges, fine[p.name], precision) for p in spec.populations]
    output = spec.cost.population if isinstance(spec.cost, SquaredError) else ""
    if isinstance(spec.cost, CrossEntropy):
        output = spec.cost.name
        populations.append(_readout(spec.cost, ranges, precision))
    by_name = {p.name: p for p in populations}
    bits = _agree(by_name, directions, scales, rooms)
    connections = []
    reports = []
    for key, there in directions.items():
        mantissas = to_mantissas(there[0].matrix, scales[key], modes[key])
        reports.append(_report(key, there[0].matrix, mantissas, scales[key], modes[key]))
        for way in there:
            connections.append(
                ChipConnection(
                    name=way.name,
                    source=way.source,
                    target=way.target,
                    synapse=key,
                    transposed=way.transposed,
                    weights=np.ascontiguousarray(mantissas.T if way.transposed else mantissas),
                    mode=modes[key],
                    exponent=scales[key] - by_name[way.source].activity_bits + bits[way.target],
                    scale=scales[key],
                    delay=way.delay,
                    phase=way.phase,
                )
            )
    placed = []
    for p in populations:
        drive_bits = bits.get(p.name, p.drive_bits)
        bias = np.rint(constants.get(p.name, np.zeros(p.size)) * 2.0**drive_bits)
        bias = np.clip(bias, formats.STATE_LOW, formats.STATE_HIGH).astype(np.int32)
        placed.append(_with_table(replace(p, drive_bits=drive_bits, bias=bias), spec))
    network = ChipNetwork(
        tuple(placed), tuple(connections), precision.messages, output, isinstance(spec.cost, SquaredError)
    )
    return network, tuple(reports)


def best_scale(weights: Float[np.ndarray, "post pre"], mode: SignMode) -> int:
    """The scale whose mantissas are nearest to the weights, in the sum of squares.

    A few large weights may cost more in the bits of all the others than they are worth, so some may be clipped.
    """
    largest = float(np.max(np.abs(weights), initial=0.0))
    if largest < 2.0**-100:
        return -formats.WEIGHT_BITS
    coarsest = math.frexp(largest)[1] - formats.WEIGHT_BITS + 1  # at which mantissas stay below 2⁷

    def error(scale: int) -> float:
        return float(np.sum((weights - to_mantissas(weights, scale, mode) * 2.0**scale) ** 2))

    return min(range(coarsest, coarsest - 4, -1), key=error)


def to_mantissas(weights: Float[np.ndarray, "post pre"], scale: int, mode: SignMode) -> Int16[np.ndarray, "post pre"]:
    """The nearest mantissas that this mode holds."""
    low, high = mode.limits
    nearest = mode.step * np.rint(np.asarray(weights) * 2.0**-scale / mode.step)
    return np.clip(nearest, low, high).astype(np.int16)


def _rooms(spec: Network, ranges: Mapping[str, float], precision: Precision) -> dict[str, int]:
    """The most bits behind the point for which every free population's potential has room."""
    rooms = {p.name: _room(_range(p.name, ranges), precision.decay, precision.margin) for p in spec.free}
    if isinstance(spec.cost, CrossEntropy):
        rooms[spec.cost.name] = _room(_range(spec.cost.name, ranges), formats.DECAY_UNITY, precision.margin)
    return rooms


def _activity_bits(
    name: str,
    ways: Mapping[str, list[Way]],
    scales: Mapping[str, int],
    rooms: Mapping[str, int],
    precision: Precision,
) -> int:
    """As many as asked for, or fewer where the last ones would cost the weights on the way bits of theirs.

    A product counts in units of ``2^(scale − activity_bits)``, which its target must have room for.
    """
    allowed = [rooms[w.target] + scales[key] for key, there in ways.items() for w in there if w.source == name]
    return max(min([precision.activity_bits, *allowed]), min(precision.activity_bits, LEAST_ACTIVITY_BITS))


def _population(p: Population, ranges: Mapping[str, float], activity_bits: int, precision: Precision) -> ChipPopulation:
    size = _range(p.name, ranges)
    one = 1 << activity_bits
    low, high = -(1 << WIDE_BITS) + 1, (1 << WIDE_BITS) - 1
    if p.clamped:
        high = min(high, one << max(0, math.ceil(math.log2(size))))
        low = -high
    elif p.activation.within_one:
        low, high = (-one if p.activation.kind == "tanh" else 0), one
    elif p.activation.kind == "relu":
        low = 0
    return ChipPopulation(
        name=p.name, size=p.size, clamped=p.clamped, activity_bits=activity_bits, drive_bits=0, decay=precision.decay,
        threshold=precision.threshold, low=low, high=high, bias=np.zeros(p.size, dtype=np.int32),
        unbounded=not p.clamped and not p.activation.within_one,
    )  # fmt: skip


def _readout(cost: CrossEntropy, ranges: Mapping[str, float], precision: Precision) -> ChipPopulation:
    """The readout as a population that nobody hears: it takes its whole drive in one step."""
    size = _range(cost.name, ranges)
    reach = (1 << WIDE_BITS) - 1
    bits = min(precision.activity_bits, WIDE_BITS - math.ceil(math.log2(precision.margin * size)))
    return ChipPopulation(
        name=cost.name, size=cost.classes, clamped=False, activity_bits=bits, drive_bits=0, decay=formats.DECAY_UNITY,
        threshold=precision.threshold, low=-reach, high=reach, bias=np.zeros(cost.classes, dtype=np.int32),
        unbounded=True,
    )  # fmt: skip


def _range(name: str, ranges: Mapping[str, float]) -> float:
    size = ranges.get(name)
    if size is None or not math.isfinite(size):
        raise SpecError(f'no range of "{name}" is known; calibrate on data', "ranges")
    return max(size, 2.0**-formats.WEIGHT_BITS)


def _room(size: float, decay: int, margin: float) -> int:
    """The most bits behind the point with which ``margin`` times this drive has room in a potential."""
    return math.floor(math.log2(formats.STATE_HIGH / (margin * size * formats.DECAY_UNITY / decay)))


def _agree(
    populations: Mapping[str, ChipPopulation],
    ways: Mapping[str, list[Way]],
    scales: dict[str, int],
    rooms: Mapping[str, int],
) -> dict[str, int]:
    """``drive_bits`` of every free population; raises a synapse's scale where no exponent in 0…7 would do.

    Scales only rise and bits only fall, so it comes to an end.
    """
    bits = dict(rooms)
    while True:
        before = (dict(bits), dict(scales))
        for name, room in rooms.items():
            wanted = [
                populations[w.source].activity_bits - scales[k]
                for k, there in ways.items()
                for w in there
                if w.target == name
            ]
            if wanted:
                bits[name] = min(room, max(wanted), min(wanted) + formats.LARGEST_EXPONENT)
        for key, there in ways.items():
            for way in there:
                scales[key] = max(scales[key], populations[way.source].activity_bits - bits[way.target])
        if before == (bits, scales):
            return bits


def _with_table(p: ChipPopulation, spec: Network) -> ChipPopulation:
    """The same with the values of a smooth ρ."""
    rho = next((q.activation for q in spec.free if q.name == p.name), None)
    if rho is None or rho.kind not in ("sigmoid", "tanh"):
        return p
    reach = p.drive_bits + TABLE_REACH_BITS
    stretches = 1 << min(STRETCHES_BITS, reach + 1)
    ends = np.linspace(-(2.0**TABLE_REACH_BITS), 2.0**TABLE_REACH_BITS, stretches + 1)
    return replace(p, table=_values(rho, ends, p.activity_bits), reach_bits=reach)


def _values(rho: Activation, ends: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(np.asarray(rho.activity(ends[None], {}))[0] * 2.0**bits).astype(np.int32)


def _report(name: str, weights: np.ndarray, mantissas: np.ndarray, scale: int, mode: SignMode) -> SynapseReport:
    error = np.abs(weights - mantissas * 2.0**scale)
    size = float(np.linalg.norm(weights))
    low, high = mode.limits
    half = 2.0**scale * mode.step / 2
    return SynapseReport(
        synapse=name,
        scale=scale,
        mode=mode.value,
        largest_error=float(error.max(initial=0.0)),
        relative_error=float(np.linalg.norm(error)) / size if size else 0.0,
        clipped=int(np.sum((weights > high * 2.0**scale + half) | (weights < low * 2.0**scale - half))),
    )
