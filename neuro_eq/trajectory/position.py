"""How far a recording has come, and a file that is brought back to there to go on."""

from __future__ import annotations

import h5py
from pydantic import Field

from neuro_eq.errors import FileError
from neuro_eq.frozen import Frozen
from neuro_eq.trajectory import schema
from neuro_eq.trajectory.layout import Layout


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
        """The length of a growing axis of the variable at a path such as ``metrics/cost``."""
        if variable.startswith(f"{schema.METRICS}/"):
            return {"epoch": self.metric_epochs, "step": self.metric_steps}[axis]
        return {"sample": self.samples, "phase": self.phases, "step": self.steps}[axis]


def cut_back(file: h5py.File, layout: Layout, position: Position, every: int) -> None:
    """Forget everything that was recorded behind a position.

    Raises:
        FileError: the file is of another kind, or does not reach to the position.
    """
    if file.attrs.get("schema") != schema.VERSION or "complete" not in file.attrs:
        raise FileError(f"it is no trajectory of schema version {schema.VERSION}")
    if file.attrs.get("every") != every:
        raise FileError(f"it holds every {file.attrs.get('every')}. step and not every {every}.")
    for name, variable in layout.items():
        free = [size is None for size in variable.data.maxshape]
        shape = tuple(
            position.length(name, axis) if grows else size
            for axis, size, grows in zip(variable.axes, variable.length, free, strict=True)
        )
        if any(now < then for now, then in zip(variable.length, shape, strict=True)):
            raise FileError("it ends before the place from which the run goes on")
        variable.resize(shape)


def entries_of_metrics(file: h5py.File) -> dict[str, list[int]]:
    """Metric axis to the indices on it."""
    group = file.get(schema.METRICS, {})
    return {axis: [int(index) for index in group[axis][...]] for axis in schema.METRIC_AXES if axis in group}


def nudges(file: h5py.File) -> list[float]:
    """The nudges on the phase axis."""
    group = file.get(schema.EQUILIBRIUM, {})
    return [float(beta) for beta in group["beta"][...]] if "beta" in group else []
