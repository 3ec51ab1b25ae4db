"""The arithmetic of a chip's network in NumPy, and the schedule that all of its processes follow.

It is that of `neuro_eq/hardware/chip.py`, written once more for where nothing of neuro_eq can be imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

CHANNELS = ("v", "sigma", "a", "message", "sent", "wrapped", "saturated", "clipped")
"""What is reported of every unit; from `sent` on they are counts since the presentation began."""

Array = np.ndarray[Any, np.dtype[Any]]
Table = dict[str, Any]
Arrived = Any
"""An array, or 0 where there is nothing."""


class Moment(NamedTuple):
    """Where in the schedule a time step is."""

    presentation: int
    step: int
    """Of the presentation, from 0."""
    nudged: bool
    last: bool
    """Whether it is the last of its presentation."""


class Schedule:
    """`presentations` one after the other, each with `phases` of (steps, nudged)."""

    def __init__(self, presentations: int, phases: list[list[int]]) -> None:
        self.presentations = presentations
        self._phases = phases
        self.steps = sum(steps for steps, _ in phases)

    def at(self, time_step: int) -> Moment:
        """Lava counts its time steps from 1."""
        presentation, step = divmod(time_step - 1, self.steps)
        first = 0
        for steps, nudged in self._phases:
            first += steps
            if step < first:
                return Moment(presentation, step, bool(nudged), step == self.steps - 1)
        raise AssertionError("a step lies in one of the phases")


class FixedUnits:
    """A population's registers, (rows, size), in the chip's integers."""

    def __init__(self, population: Table, arrays: dict[str, Array], sigma_delta: bool) -> None:
        self._p = population
        self._bias = arrays[f"bias.{population['name']}"]
        self._table = arrays[f"table.{population['name']}"]
        self._sigma_delta = sigma_delta

    def reset(self, rows: int, data: Array | None) -> None:
        """Before the first step: no potential, nothing sent; a clamped population has its data."""
        shape = (rows, self._p["size"])
        self.v, self.sigma, self.reference, self.message = (np.zeros(shape, np.int64) for _ in range(4))
        self.counts = np.zeros((4, *shape), np.int64)
        self.a = self._activity(self.v) if data is None else data.astype(np.int64)
        self.counts[3] = 0

    def step(self, arrived: Arrived, target: Arrived, gain: Arrived) -> None:
        """Take in what has arrived, move, and form a message."""
        if not self._p["clamped"]:
            s = arrived + (self.sigma if self._sigma_delta else 0)
            self.sigma = ((s + 2**23) & (2**24 - 1)) - 2**23
            self.counts[1] += self.sigma != s
            stays = np.sign(self.v) * ((np.abs(self.v) * (4096 - self._p["decay"])) >> 12)
            x = stays + self.sigma + self._bias + gain * (target - self.a)
            self.v = np.clip(x, -(2**23) + 1, 2**23 - 1)
            self.counts[2] += self.v != x
            self.a = self._activity(np.sign(self.v) * ((np.abs(self.v) * self._p["decay"]) >> 12))
        if not self._sigma_delta:
            self.message = self.a
        else:
            change = self.a - self.reference
            self.message = np.where(np.abs(change) >= self._p["threshold"], change, 0)
            self.reference = self.reference + self.message
        self.counts[0] += self.message != 0

    def _activity(self, u: Array) -> Array:
        if self._table.size:
            edge, stretch = 1 << self._p["reach"], self._p["stretch"]
            at = np.clip(u, -edge, edge - 1) + edge
            left = at >> stretch
            rise = self._table[left + 1] - self._table[left]
            return self._table[left] + _rounded(rise * (at & ((1 << stretch) - 1)), stretch)
        raw = _rounded(u, self._p["shift"])
        low, high = self._p["low"], self._p["high"]
        if self._p["unbounded"]:
            self.counts[3] += (raw > high) | ((raw < low) & (low < 0))
        return np.clip(raw, low, high)


class FloatUnits:
    """The same in float64: u ← u + α(s + b + β(y − a) − u), reported as v."""

    def __init__(self, population: Table, arrays: dict[str, Array], sigma_delta: bool) -> None:
        self._p = population
        self._bias = arrays[f"bias.{population['name']}"]
        self._sigma_delta = sigma_delta
        self._rho = activation(population["activation"])

    def reset(self, rows: int, data: Array | None) -> None:
        """Before the first step: no potential, nothing sent; a clamped population has its data."""
        shape = (rows, self._p["size"])
        self.v, self.sigma, self.reference, self.message = (np.zeros(shape) for _ in range(4))
        self.counts = np.zeros((4, *shape))
        self.a = self._rho(self.v) if data is None else data.astype(np.float64)

    def step(self, arrived: Arrived, target: Arrived, gain: Arrived) -> None:
        """Take in what has arrived, move, and form a message."""
        if not self._p["clamped"]:
            self.sigma = arrived + (self.sigma if self._sigma_delta else 0.0)
            drive = self.sigma + self._bias + gain * (target - self.a)
            self.v = self.v + self._p["alpha"] * (drive - self.v)
            self.a = self._rho(self.v)
        if not self._sigma_delta:
            self.message = self.a
        else:
            change = self.a - self.reference
            self.message = np.where(np.abs(change) >= self._p["threshold"], change, 0.0)
            self.reference = self.reference + self.message
        self.counts[0] += self.message != 0


class Way:
    """A connection: what was sent `delay` steps ago, through the weights."""

    def __init__(self, connection: Table, arrays: dict[str, Array], fixed: bool) -> None:
        self._c = connection
        self._weights = arrays[f"weights.{connection['name']}"].T
        self._fixed = fixed

    def reset(self) -> None:
        """Nothing is on its way."""
        self._held: list[Array] = []

    def arriving(self, nudged: bool) -> Arrived:
        """What comes out in this step; nothing where this phase does not go this way."""
        if len(self._held) < self._c["delay"] or self._c["phase"] == ("free" if nudged else "nudged"):
            return 0
        total = self._held[0] @ self._weights
        if not self._fixed:
            return total
        exponent = self._c["exponent"]
        return total << exponent if exponent >= 0 else total >> -exponent

    def take(self, message: Array) -> None:
        """What goes in, at the end of a step."""
        self._held = [*self._held[-self._c["delay"] + 1 :], message] if self._c["delay"] > 1 else [message]


def report_shape(structure: Table) -> tuple[int, int, int, int]:
    """(steps that are kept, presentations, channels, units)."""
    steps = sum(steps for steps, _ in structure["phases"]) if structure["trace"] else 1
    return steps, structure["presentations"], len(CHANNELS), structure["units"]


class Report:
    """The table that is filled step by step and sent once."""

    def __init__(self, structure: Table, dtype: type[np.generic]) -> None:
        self.values = np.zeros(report_shape(structure), dtype=dtype)
        self._trace = structure["trace"]

    def note(self, moment: Moment, rows: slice, population: Table, units: FixedUnits | FloatUnits) -> None:
        """Write down what a population has come to."""
        if not self._trace and not moment.last:
            return
        place = slice(population["place"], population["place"] + population["size"])
        channels = (units.v, units.sigma, units.a, units.message, *units.counts)
        for channel, values in enumerate(channels):
            self.values[moment.step if self._trace else 0, rows, channel, place] = values


def data_of(population: Table, arrays: dict[str, Array]) -> Array | None:
    """(presentations, size) for a clamped population, whose places are the first of all."""
    if not population["clamped"]:
        return None
    return arrays["data"][:, population["place"] : population["place"] + population["size"]]


def _rounded(x: Array, bits: int) -> Array:
    return x << -bits if bits <= 0 else (x + (1 << (bits - 1))) >> bits


def activation(name: str) -> Callable[[Array], Array]:
    """ρ by its name in the spec; ValueError for one that no neuron computes by itself."""
    known: dict[str, Callable[[Array], Array]] = {
        "identity": np.copy,
        "relu": lambda u: np.maximum(u, 0.0),
        "hard_sigmoid": lambda u: np.clip(u, 0.0, 1.0),
        "sigmoid": lambda u: 0.5 * (1.0 + np.tanh(0.5 * u)),
        "tanh": np.tanh,
    }
    if name not in known:
        raise ValueError(f"activation {name!r} is not one of {', '.join(known)}")
    return known[name]
