"""Metrics of a training run on their way into the file: numbers by name and by place on one of two axes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neuro_eq.errors import SpecError
from neuro_eq.trajectory import schema
from neuro_eq.trajectory.axes import write_box
from neuro_eq.trajectory.layout import Layout


class Metrics:
    """What is known of the metrics of a file, and their values that wait.

    Args:
        axes: metric to its axis, of those that the file has.
        entries: metric axis to the indices on it.
    """

    def __init__(self, axes: Mapping[str, str], entries: Mapping[str, list[int]]) -> None:
        self._axes = dict(axes)
        self.entries = {axis: list(entries.get(axis, ())) for axis in schema.METRIC_AXES}
        self._places = {axis: {index: place for place, index in enumerate(e)} for axis, e in self.entries.items()}
        self._values: dict[str, dict[int, float]] = {}

    def axis(self, name: str) -> str | None:
        """The axis of a metric; None of one that is new."""
        return self._axes.get(name)

    def put(self, layout: Layout, axis: str, index: int, values: Mapping[str, float]) -> None:
        """Keep metrics at an index of their axis.

        Raises:
            SpecError: one of them is recorded by the other axis.
        """
        for name in values:
            known = self._axes.get(name)
            if known is None:
                layout.add_metric(name, axis)
                self._axes[name] = axis
            elif known != axis:
                raise SpecError(f'"{name}" is recorded by {known}, so not also by {axis}', "metrics")
        places = self._places[axis]
        place = places.get(index)
        if place is None:
            place = places[index] = len(places)
            self.entries[axis].append(index)
        for name, value in values.items():
            self._values.setdefault(name, {})[place] = value

    def clear(self) -> None:
        """Forget the values that wait."""
        self._values = {}

    def write(self, layout: Layout) -> None:
        """Bring the values to their places."""
        for name, values in self._values.items():
            variable = layout[f"{schema.METRICS}/{name}"].data
            first, last = min(values), max(values) + 1
            block = np.empty(last - first) if len(values) == last - first else variable[first:last]
            block[[place - first for place in values]] = list(values.values())
            write_box(variable, (first,), block)
        self.clear()
