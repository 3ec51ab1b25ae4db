"""Random chips, and the definition of a step written down once more, unit by unit, in Python's own integers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from neuro_eq.backends.lava import environment
from neuro_eq.backends.lava.chip import LavaChip
from neuro_eq.hardware import formats
from neuro_eq.hardware.chip import ChipConnection, ChipNetwork, ChipPopulation
from neuro_eq.hardware.formats import SignMode


def random_chip(seed: int, messages: str | None = None, *, large: bool = False, longest: int = 3) -> ChipNetwork:
    """One clamped and two or three free populations, with every kind of activity, connection, delay and sign.

    ``large`` weights and biases make registers overflow.
    """
    rng = np.random.default_rng(seed)
    kind: Any = messages or rng.choice(["sigma_delta", "graded"])
    populations = [_population(rng, "data", clamped=True, large=large)]
    populations += [
        _population(rng, name, clamped=False, large=large) for name in ("p", "q", "r")[: rng.integers(2, 4)]
    ]
    connections = []
    for target in populations[1:]:
        for source in populations:
            if rng.random() < 0.75:
                connections.append(_connection(rng, source, target, kind, large, longest))
    return ChipNetwork(tuple(populations), tuple(connections), kind, "p")


def _population(rng: np.random.Generator, name: str, *, clamped: bool, large: bool) -> ChipPopulation:
    size = int(rng.integers(1, 7))
    bits = int(rng.integers(3, 11))
    drive_bits = int(rng.integers(bits - 2, bits + 8))
    low, high = [(0, 1 << bits), (-(1 << bits), 1 << bits), (-32767, 32767), (0, 32767)][rng.integers(4)]
    table, reach = np.zeros(0, np.int32), 0
    if rng.random() < 0.4 and not clamped:
        reach = drive_bits + int(rng.integers(0, 3))
        table = rng.integers(low, high + 1, (1 << int(rng.integers(0, min(6, reach) + 1))) + 1).astype(np.int32)
    most = formats.STATE_HIGH if large else 1 << drive_bits
    return ChipPopulation(
        name=name, size=size, clamped=clamped, activity_bits=bits, drive_bits=drive_bits,
        decay=int(rng.choice([1, 409, 2048, 4095, 4096, rng.integers(1, 4097)])), threshold=int(rng.integers(1, 9)),
        low=low, high=high, bias=rng.integers(-most, most + 1, size).astype(np.int32), table=table, reach_bits=reach,
        unbounded=abs(high) > 1 << bits,
    )  # fmt: skip


def _connection(
    rng: np.random.Generator, source: ChipPopulation, target: ChipPopulation, messages: str, large: bool, longest: int
) -> ChipConnection:
    mode = SignMode(rng.choice([m.value for m in SignMode]))
    low, high = mode.limits
    shape = (target.size, source.size)
    span = (low, high + 1) if large else (max(low, -20), min(high, 20) + 1)
    least = 0 if messages == "sigma_delta" else formats.LEAST_EXPONENT
    return ChipConnection(
        name=f"{source.name}_{target.name}", source=source.name, target=target.name, synapse="s", transposed=False,
        weights=formats.truncated(
            np.where(rng.random(shape) < rng.choice([0.3, 1.0]), rng.integers(*span, shape), 0),
            mode,
        ).astype(np.int16),
        mode=mode, exponent=int(rng.integers(least, formats.LARGEST_EXPONENT + 1 if large else 3)), scale=0,
        delay=int(rng.integers(1, longest + 1)), phase=rng.choice(["both", "both", "free", "nudged"]),
    )  # fmt: skip


class Definition:
    """The docstring of ``hardware/chip.py``, one sample, one unit and one message at a time."""

    def __init__(self, chip: ChipNetwork, data: np.ndarray) -> None:
        self.chip = chip
        self.a = {
            p.name: [int(x) for x in data] if p.clamped else [int(x) for x in p.activity(np.zeros(p.size, int))]
            for p in chip.populations
        }
        self.v = {p.name: [0] * p.size for p in chip.free}
        self.sigma = {p.name: [0] * p.size for p in chip.free}
        self.reference = {p.name: [0] * p.size for p in chip.populations}
        self.sent: list[dict[str, list[int]]] = []
        self.overflow = {p.name: [0, 0, 0] for p in chip.populations}
        self.operations = 0

    def step(self, target: list[int], gain: int, nudged: bool) -> None:
        arrived = {p.name: [0] * p.size for p in self.chip.free}
        for c in self.chip.connections:
            if c.phase == ("free" if nudged else "nudged") or len(self.sent) < c.delay:
                continue
            messages = self.sent[-c.delay][c.source]
            for i, row in enumerate(c.weights.tolist()):
                total = sum(w * m for w, m in zip(row, messages, strict=True))
                arrived[c.target][i] += total << c.exponent if c.exponent >= 0 else total >> -c.exponent
                self.operations += sum(1 for w, m in zip(row, messages, strict=True) if w and m)
        for p in self.chip.free:
            for i in range(p.size):
                self._unit(
                    p,
                    i,
                    arrived[p.name][i],
                    target[i] if p.name == self.chip.output else 0,
                    gain if p.name == self.chip.output else 0,
                )
        self.sent.append({p.name: self._messages(p) for p in self.chip.populations})

    def _unit(self, p: ChipPopulation, i: int, arrived: int, y: int, gain: int) -> None:
        s = arrived + (self.sigma[p.name][i] if self.chip.messages == "sigma_delta" else 0)
        inside = (s + 2**23) % 2**24 - 2**23
        self.overflow[p.name][0] += inside != s
        self.sigma[p.name][i] = inside
        v = self.v[p.name][i]
        kept = abs(v) * (4096 - p.decay) // 4096 * (1 if v >= 0 else -1)
        x = kept + inside + int(p.bias[i]) + gain * (y - self.a[p.name][i])
        held = max(-(2**23) + 1, min(2**23 - 1, x))
        self.overflow[p.name][1] += held != x
        self.v[p.name][i] = held
        u = abs(held) * p.decay // 4096 * (1 if held >= 0 else -1)
        self.a[p.name][i] = self._activity(p, u)

    def _activity(self, p: ChipPopulation, u: int) -> int:
        if p.table.size:
            edge = 2**p.reach_bits
            at = max(-edge, min(edge - 1, u)) + edge
            stretch = 2 * edge // (p.table.size - 1)
            left, part = divmod(at, stretch)
            rise = (int(p.table[left + 1]) - int(p.table[left])) * part
            # Halves up: ⌊x/n + 1/2⌋.
            return int(p.table[left]) + (2 * rise + stretch) // (2 * stretch)
        bits = p.drive_bits - p.activity_bits
        raw = u * 2**-bits if bits <= 0 else (2 * u + 2**bits) // 2 ** (bits + 1)
        if p.unbounded and (raw > p.high or (raw < p.low and p.low < 0)):
            self.overflow[p.name][2] += 1
        return max(p.low, min(p.high, raw))

    def _messages(self, p: ChipPopulation) -> list[int]:
        if self.chip.messages == "graded":
            return list(self.a[p.name])
        sent = []
        for i, a in enumerate(self.a[p.name]):
            change = a - self.reference[p.name][i]
            sent.append(change if abs(change) >= p.threshold else 0)
            self.reference[p.name][i] += sent[-1]
        return sent


@pytest.fixture(scope="session")
def make_chip() -> Callable[..., ChipNetwork]:
    """``make_chip(seed, messages, large=False, longest=3)``: a random chip."""
    return random_chip


@pytest.fixture(scope="session")
def definition() -> type[Definition]:
    """``definition(chip, data)``: steps of one sample in Python's own integers."""
    return Definition


@pytest.fixture(scope="module")
def lava() -> Iterator[LavaChip]:
    """Lava, for the tests that do not break it."""
    status = environment.status()
    if not status.available:
        if "lava" in os.environ.get("NEURO_EQ_REQUIRE", ""):
            pytest.fail(status.detail)
        pytest.skip(status.detail)
    with LavaChip() as chip:
        yield chip
