"""Snapshots of a relaxation on their way to the file: stacked into one array for each variable."""

from __future__ import annotations

import numpy as np

from neuro_eq.engine import Engine
from neuro_eq.relaxing import Snapshot
from neuro_eq.trajectory import schema
from neuro_eq.trajectory.measures import Measures
from neuro_eq.trajectory.places import Place


class Block:
    """Snapshots that wait to become one array; activities and measures are computed for all of them at once."""

    def __init__(self, net: Engine, place: Place, measures: Measures) -> None:
        self.net, self.place, self.measures = net, place, measures
        self._taken: dict[str, list[np.ndarray]] = {p.name: [] for p in net.spec.free}

    def __len__(self) -> int:
        return len(next(iter(self._taken.values())))

    def take(self, snapshot: Snapshot) -> None:
        count = self.place.rows.count
        for name, taken in self._taken.items():
            taken.append(np.stack([self.net.to_numpy(states[name][:count]) for states in snapshot.states], axis=1))

    def clear(self) -> None:
        for taken in self._taken.values():
            taken.clear()

    def nudge_size(self) -> np.ndarray:
        """``(sample, phase)`` at the first snapshot."""
        return self.measures.nudge_size({name: taken[0] for name, taken in self._taken.items()})

    def stacked(self) -> list[tuple[str, np.ndarray]]:
        """Every variable that has a step axis, by its name in the file: ``(sample, phase, step, …)``."""
        net = self.net
        states = {name: np.stack(taken, axis=2) for name, taken in self._taken.items()}
        rows = {name: net.asarray(u.reshape(-1, *u.shape[3:])) for name, u in states.items()}
        with np.errstate(all="ignore"):  # A diverging state may overflow; its status says so.
            a = net.dynamics.activities(rows, {}, net.parameters)
        stacked: list[tuple[str, np.ndarray]] = []
        for name, u in states.items():
            group = f"{schema.TRAJECTORY}/{name}"
            stacked += [(f"{group}/state", u), (f"{group}/activity", net.to_numpy(a[name]).reshape(u.shape))]
        measured = self.measures.along(states)
        return stacked + [(f"{schema.SETTLING}/{name}", values) for name, values in measured.items()]
