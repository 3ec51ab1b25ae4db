"""The groups and variables of a trajectory file while it is written, and their growing axes.

Knows arrays and axes, and nothing of networks that settle.
"""

from __future__ import annotations

from collections.abc import ItemsView, Mapping, Sequence
from typing import Any

import h5py
import numpy as np

from neuro_eq.arrays import Shape
from neuro_eq.trajectory import schema
from neuro_eq.trajectory.axes import axes_in, write_box
from neuro_eq.trajectory.text import entries_as, set_attributes, text_type

_COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
# Not for the small tables: a chunk that is always as long as before is rewritten where it lies.

Entries = Mapping[str, Sequence[Any]]
"""Axis to its entries; as many as it is long."""


class Variable:
    """A variable with an axis that grows.

    Attributes:
        data: the variable.
        axes: the names of its axes.
        length: of each of them; HDF5 would be asked anew for every write.
    """

    def __init__(self, data: h5py.Dataset, axes: tuple[str, ...]) -> None:
        self.data, self.axes = data, axes
        self.length: tuple[int, ...] = data.shape

    def resize(self, length: tuple[int, ...]) -> None:
        """Give it other lengths."""
        if length != self.length:
            self.data.id.set_extent(length)
            self.length = length


class Layout:
    """What is in the file.

    Args:
        file: a new file, or one whose variables grow on.
    """

    def __init__(self, file: h5py.File) -> None:
        self._h5 = file
        self._variables: dict[str, Variable] = {}
        for group in _groups(file):
            for name, axes in axes_in(group).items():
                if None in group[name].maxshape:
                    self._variables[f"{group.name[1:]}/{name}"] = Variable(group[name], axes)

    def __getitem__(self, name: str) -> Variable:
        """A variable by its path, as in ``"equilibrium/status"``."""
        return self._variables[name]

    def __contains__(self, name: str) -> bool:
        return name in self._variables

    def items(self) -> ItemsView[str, Variable]:
        """Every variable that grows, with its path."""
        return self._variables.items()

    def recorded_steps(self, population: str) -> int:
        """Steps in a chunk of a population's states."""
        return int(self._variables[f"{schema.TRAJECTORY}/{population}/state"].data.chunks[2])

    def metrics(self) -> dict[str, str]:
        """Metric to its axis."""
        start = f"{schema.METRICS}/"
        found = {name[len(start) :]: each.axes[0] for name, each in self._variables.items() if name.startswith(start)}
        return {name: axis for name, axis in found.items() if name not in schema.METRIC_AXES}

    # -- what it is made of ------------------------------------------------------------------------------------

    def add_population(self, name: str, shape: Shape, dtype: str, *, free: bool, samples: int, steps: int) -> None:
        """Make a population's group.

        Args:
            samples: samples that a relaxation records, for the chunks.
            steps: recorded steps in a chunk.
        """
        group = self._h5.create_group(f"{schema.TRAJECTORY}/{name}")
        units = schema.unit_axes(shape)
        for axis, size in zip(units, shape, strict=True):
            group.create_dataset(axis, data=np.arange(size)).make_scale(axis)
        size = np.dtype(dtype).itemsize
        if not free:
            self._axes(group, ("sample",))
            chunks = schema.chunk_shape(samples, None, shape, size)
            self._grid(group, "activity", ("sample", *units), dtype, np.nan, chunks=(chunks[0], *chunks[2:]))
            return
        self._axes(group, schema.AXES)
        for name_ in ("state", "activity"):
            chunks = schema.chunk_shape(samples, steps, shape, size)
            self._grid(group, name_, (*schema.AXES, *units), dtype, np.nan, chunks=chunks, coordinates="beta")
            chunks = schema.chunk_shape(samples, None, shape, size)
            self._grid(
                group, f"fixed_{name_}", ("sample", "phase", *units), dtype, np.nan, chunks=chunks, coordinates="beta"
            )

    def add_equilibrium(self) -> None:
        """Make the table of outcomes."""
        group = self._h5.create_group(schema.EQUILIBRIUM)
        self._axes(group, ("sample", "phase"))
        axes, chunks = ("sample", "phase"), (1024, 1)
        whole = schema.ABSENT
        self._grid(group, "steps", axes, "int64", whole, chunks=chunks, coordinates="beta")
        self._grid(group, "residual", axes, "float64", np.nan, chunks=chunks, coordinates="beta")
        codes = {"flag_values": np.array(schema.STATUS_CODES, dtype=np.int8), "flag_meanings": schema.STATUS_NAMES}
        self._grid(group, "status", axes, "int8", whole, chunks=chunks, coordinates="beta", **codes)
        for name in ("energy", "tolerance", "nudge_size"):
            self._grid(group, name, axes, "float64", np.nan, chunks=chunks, coordinates="beta")

    def add_label(self, name: str) -> None:
        """Make a variable of whole numbers, one a sample, in the table of outcomes."""
        self._grid(self._h5[schema.EQUILIBRIUM], name, ("sample",), "int64", schema.ABSENT, chunks=(1024,))

    def add_settling(self, terms: tuple[str, ...], *, samples: int, steps: int) -> None:
        """Make the group of what is measured at every recorded state.

        Args:
            terms: names of the energy's terms; none where the network has no energy.
            samples, steps: as for a population.
        """
        group = self._h5.create_group(schema.SETTLING)
        self._axes(group, schema.AXES)
        chunks = schema.chunk_shape(samples, steps, (), 8)
        for name in schema.MEASURES:
            if name != "energy" or terms:
                self._grid(group, name, schema.AXES, "float64", np.nan, chunks=chunks, coordinates="beta")
        if terms:
            dtype = text_type(max(len(term.encode()) for term in terms))
            labels = group.create_dataset(schema.TERM, data=entries_as(dtype, terms), dtype=dtype)
            set_attributes(labels, _Encoding="utf-8")
            labels.make_scale(schema.TERM)
            axes = (*schema.AXES, schema.TERM)
            chunks = schema.chunk_shape(samples, steps, (len(terms),), 8)
            self._grid(group, schema.ENERGY_TERM, axes, "float64", np.nan, chunks=chunks, coordinates="beta")

    def add_metric(self, name: str, axis: str) -> None:
        """Make a variable of a training run."""
        group = self._h5.require_group(schema.METRICS)
        if not len(group):
            self._axes(group, schema.METRIC_AXES)
        if name not in group:
            self._grid(group, name, (axis,), "float64", np.nan, chunks=(1024,))

    def _axes(self, group: h5py.Group, axes: tuple[str, ...]) -> None:
        for axis in axes:
            text = axis == "phase"
            dtype = text_type(schema.LONGEST_PHASE) if text else np.dtype(np.int64)
            scale = group.create_dataset(
                axis, shape=(0,), maxshape=(None,), chunks=(16,) if text else (1024,), dtype=dtype
            )
            if text:
                set_attributes(scale, _Encoding="utf-8")  # so that xarray, too, reads it as text
            scale.make_scale(axis)
            self._keep(scale, (axis,))
        if "phase" in axes:
            self._grid(group, "beta", ("phase",), "float64", np.nan, chunks=(16,))

    def _grid(
        self,
        group: h5py.Group,
        name: str,
        axes: tuple[str, ...],
        dtype: str,
        fill: float,
        *,
        chunks: tuple[int, ...],
        **attributes: Any,
    ) -> None:
        """A variable on named axes; those that grow may grow without limit."""
        growing = (*schema.AXES, *schema.METRIC_AXES)
        scales = [group[axis] for axis in axes]
        limits = [None if axis in growing else scale.shape[0] for axis, scale in zip(axes, scales, strict=True)]
        variable = group.create_dataset(
            name,
            shape=tuple(0 if limit is None else limit for limit in limits),
            maxshape=tuple(limits),
            chunks=chunks,
            dtype=dtype,
            fillvalue=fill,
            **(_COMPRESSED if group.name.startswith(f"/{schema.TRAJECTORY}/") else {}),
        )
        for i, scale in enumerate(scales):
            h5py.h5ds.attach_scale(variable.id, scale.id, i)
        set_attributes(variable, **attributes)
        self._keep(variable, axes)

    def _keep(self, data: h5py.Dataset, axes: tuple[str, ...]) -> None:
        self._variables[data.name[1:]] = Variable(data, axes)

    # -- how it grows ------------------------------------------------------------------------------------------

    def grow(self, entries: Entries, metrics: Entries) -> None:
        """Bring every variable to the present lengths of its axes, and the axes to their new entries.

        Args:
            entries: of the axes that the whole file shares, and of ``beta``.
            metrics: of the axes of ``/metrics``.
        """
        for name, variable in self._variables.items():
            group, _, own = name.rpartition("/")
            known = metrics if group == schema.METRICS else entries
            before = variable.length
            now = tuple(
                len(known[axis]) if axis in known else size for axis, size in zip(variable.axes, before, strict=True)
            )
            if now == before:
                continue
            variable.resize(now)
            if own in (variable.axes[0], "beta"):
                write_box(variable.data, before[:1], entries_as(variable.data.dtype, known[own][before[0] :]))


def _groups(file: h5py.File) -> list[h5py.Group]:
    """The groups that hold variables."""
    found = [file[name] for name in (schema.EQUILIBRIUM, schema.SETTLING, schema.METRICS) if name in file]
    return found + list(file.get(schema.TRAJECTORY, {}).values())
