"""How far a recording has come, and a file that is brought back to there to go on."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
from pydantic import Field

from neuro_eq.errors import FileError
from neuro_eq.frozen import Frozen
from neuro_eq.trajectory import schema


class Position(Frozen):
    """The lengths of a trajectory file's growing axes: what stands before them is recorded for good.

    Attributes:
        samples, phases, steps: of ``/trajectory`` and ``/equilibrium``.
        metric_epochs, metric_steps: of ``/metrics``.
    """

    samples: int = Field(default=0, ge=0)
    phases: int = Field(default=0, ge=0)
    steps: int = Field(default=0, ge=0)
    metric_epochs: int = Field(default=0, ge=0)
    metric_steps: int = Field(default=0, ge=0)

    def length(self, variable: str, axis: str) -> int:
        """The length of a growing axis of the variable at a full path such as ``/metrics/cost``."""
        if variable.startswith(f"/{schema.METRICS}/"):
            return {"epoch": self.metric_epochs, "step": self.metric_steps}[axis]
        return {"sample": self.samples, "phase": self.phases, "step": self.steps}[axis]


def axes_of(variable: h5py.Dataset) -> tuple[str, ...]:
    """Names of a variable's axes; a dimension scale is its own."""
    if variable.is_scale:
        return (_last(variable.name),)
    return tuple(_last(dimension[0].name) for dimension in variable.dims)


def growing(file: h5py.File) -> dict[str, tuple[h5py.Dataset, tuple[str, ...]]]:
    """Every variable with an axis that grows, by its full path, in the order in which the groups list them."""
    found: list[h5py.Dataset] = []

    def visit(_: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and None in (item.maxshape or ()):
            found.append(item)

    file.visititems(visit)
    return {variable.name: (variable, axes_of(variable)) for variable in found}


def cut_back(file: h5py.File, position: Position, every: int) -> None:
    """Forget everything that was recorded behind a position.

    Raises:
        FileError: the file is of another kind, or does not reach to the position.
    """
    if file.attrs.get("schema") != schema.VERSION or "complete" not in file.attrs:
        raise FileError(f"it is no trajectory of schema version {schema.VERSION}")
    if file.attrs.get("every") != every:
        raise FileError(f"it holds every {file.attrs.get('every')}. step and not every {every}.")
    for name, (variable, axes) in growing(file).items():
        free = [size is None for size in variable.maxshape]
        shape = tuple(
            position.length(name, axis) if grows else size
            for axis, size, grows in zip(axes, variable.shape, free, strict=True)
        )
        if any(now < then for now, then in zip(variable.shape, shape, strict=True)):
            raise FileError("it ends before the place from which the run goes on")
        variable.resize(shape)


def metric_places(file: h5py.File) -> dict[str, dict[int, int]]:
    """Metric axis to index to place on it."""
    group = file.get(schema.METRICS, {})
    return {
        axis: {int(index): place for place, index in enumerate(np.asarray(group[axis][...]))} if axis in group else {}
        for axis in schema.METRIC_AXES
    }


def metric_axes(file: h5py.File) -> dict[str, str]:
    """Metric to its axis."""
    group = file.get(schema.METRICS, {})
    return {name: axes_of(group[name])[0] for name in group if name not in schema.METRIC_AXES}


def nudges(file: h5py.File) -> list[float]:
    """The nudges on the phase axis."""
    group = file.get(schema.EQUILIBRIUM, {})
    return [float(beta) for beta in group["beta"][...]] if "beta" in group else []


def _last(path: str) -> str:
    return path.rsplit("/", 1)[-1]
