"""Where in the file a relaxation belongs: its rows and phases, and how a later one is known to continue them."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neuro_eq.arrays import Activities
from neuro_eq.equilibrium import Equilibrium

REMEMBERED = 16
"""Equilibria that a later relaxation may start from and be recognised."""


@dataclass
class Rows:
    """Rows that one relaxation opened and others may fill."""

    first: int
    count: int
    data: bytes
    """Digest of the clamped activities: another batch that starts from these states belongs elsewhere."""
    ends: dict[int, int] = field(default_factory=dict)
    """Phase to the number of recorded steps."""
    outcomes: dict[int, dict[str, np.ndarray]] = field(default_factory=dict)


@dataclass
class Place:
    """Where a relaxation is written: rows, phases, and the place on the step axis; or a phase that goes on."""

    rows: Rows
    phases: tuple[int, ...]
    begin: int
    goes_on: bool
    nudge_size: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """``(sample, phase)``, known once the first states are."""


class Known:
    """A recorded equilibrium, recognised by its very arrays, which are not kept alive for that.

    A method may wrap the arrays anew, as ``dataclasses.replace`` does; then they are still the same.
    """

    def __init__(self, states: Activities, rows: Rows, phase: int, end: int) -> None:
        self.arrays = {name: weakref.ref(values) for name, values in states.items()}
        self.rows, self.phase, self.end = rows, phase, end

    def is_at(self, states: Mapping[str, Any]) -> bool:
        return all(values() is not None and values() is states.get(name) for name, values in self.arrays.items())


class Memory:
    """The latest equilibria that were recorded."""

    def __init__(self) -> None:
        self._known: deque[Known] = deque(maxlen=REMEMBERED)

    def keep(self, state: Equilibrium, rows: Rows, phase: int) -> None:
        """Remember where an equilibrium was recorded."""
        self._known.append(Known(state.states, rows, phase, rows.ends[phase]))

    def find(self, start: Equilibrium | Activities | None) -> Known | None:
        """What a relaxation starts from, if it was recorded here."""
        if start is None:
            return None
        states = start.states if isinstance(start, Equilibrium) else start
        return next((known for known in reversed(self._known) if known.is_at(states)), None)
