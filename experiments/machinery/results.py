"""Results as a table: a cell for each configuration, with one run for every seed."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from neuro_eq.experiments.machinery.experiment import SCALES, Column, Experiment
from neuro_eq.experiments.machinery.provenance import Provenance


@dataclass(frozen=True)
class Run:
    """One configuration with one seed.

    ``arrays`` are read when they are asked for; where only a summary was kept there are the experiment's ``curves``.
    """

    seed: int
    numbers: Mapping[str, float]
    provenance: Provenance
    read: Callable[[], Mapping[str, np.ndarray]] = dict

    @cached_property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """Curves and the like."""
        return self.read()


@dataclass(frozen=True)
class Cell:
    """All runs of one configuration."""

    configuration: Any
    """A :class:`Configuration`, of the experiment's own type."""
    runs: tuple[Run, ...]

    def __contains__(self, name: str) -> bool:
        return any(name in run.numbers for run in self.runs)

    def values(self, name: str) -> Float64[np.ndarray, " seeds"]:
        """A number of every run, none left out; not a number where a run does not have it."""
        return np.array([run.numbers.get(name, math.nan) for run in self.runs])

    def mean(self, name: str) -> float:
        """The mean over all seeds; not a number if one of them is not."""
        values = self.values(name)
        return float(values.mean()) if values.size else math.nan

    def sd(self, name: str) -> float:
        """The standard deviation over seeds, of a sample; not a number for one seed."""
        values = self.values(name)
        return float(values.std(ddof=1)) if values.size > 1 else math.nan

    def shown(self, column: Column) -> str:
        """``mean ± sd``, or the number alone where there is one seed."""
        return spread(column.scale * self.values(column.name), column.form)

    def said(self, name: str, form: str = ".3g", scale: float = 1.0, unit: str = "") -> str:
        """As :meth:`shown`, with the unit and the number of seeds."""
        return f"{spread(scale * self.values(name), form)}{unit} (n = {len(self.runs)})"


@dataclass(frozen=True)
class Results:
    """What is there of an experiment at one scale."""

    experiment: Experiment
    scale: str
    cells: tuple[Cell, ...]

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def where(self, **fields: Any) -> Results:
        """The cells whose configurations have these entries."""
        kept = tuple(c for c in self.cells if all(getattr(c.configuration, k) == v for k, v in fields.items()))
        return Results(self.experiment, self.scale, kept)

    def first(self, **fields: Any) -> Cell | None:
        """The first cell whose configuration has these entries, if there is one."""
        found = self.where(**fields).cells
        return found[0] if found else None

    def values(self, name: str) -> Float64[np.ndarray, " runs"]:
        """A number of every run of every cell."""
        return np.concatenate([cell.values(name) for cell in self.cells]) if self.cells else np.zeros(0)

    def choices(self, field: str) -> list[Any]:
        """The different entries of a field, in their order."""
        return list(dict.fromkeys(getattr(cell.configuration, field) for cell in self.cells))

    @property
    def seeds(self) -> str:
        """How many seeds the cells have: ``5``, or ``1 to 5``."""
        counts = sorted({len(cell.runs) for cell in self.cells})
        if not counts:
            return "0"
        return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"

    @property
    def extent(self) -> str:
        """How many configurations there are, and of how many where some did not run: ``24 of 68 configurations``."""
        missing, there = len(self.not_run), len(self.cells)
        if missing:
            planned = len(self.planned)
            return f"{planned - missing} of {planned} configurations"
        return f"{there} configuration{'' if there == 1 else 's'}"

    @property
    def planned(self) -> list[Any]:
        """The configurations of the scale, whether they ran or not; none where it is not one of the experiment's."""
        return [row for scale in SCALES if scale == self.scale for row in self.experiment.configurations(scale)]

    @property
    def not_run(self) -> list[str]:
        """The labels of the configurations of the scale that did not run."""
        there = {cell.configuration.label for cell in self.cells}
        return [row.label for row in self.planned if row.label not in there]

    def settings(self) -> tuple[dict[str, Any], list[str]]:
        """The entries that all configurations share, and the names of those in which they differ."""
        dumps = [cell.configuration.model_dump(mode="json") for cell in self.cells]
        if not dumps:
            return {}, []
        shared = {k: v for k, v in dumps[0].items() if all(same(d.get(k), v) for d in dumps)}
        return shared, [name for name in dumps[0] if name not in shared]


def spread(values: Float64[np.ndarray, " seeds"], form: str) -> str:
    """``mean ± sd`` of these numbers."""
    if not values.size or np.isnan(values).all():
        return "–"
    mean = number(float(values.mean()), form)
    return mean if values.size == 1 else f"{mean} ± {number(float(values.std(ddof=1)), form)}"


def number(value: float, form: str = ".3g") -> str:
    """A number in a table."""
    if math.isnan(value):
        return "–"
    return f"{value:{form}}".replace("-", "−")


def same(left: Any, right: Any) -> bool:
    """Whether two entries are the same when they are written."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
