"""The HDF5 file while it grows: groups, axes, and the pieces that wait to be written.

Knows arrays and axes, and nothing of networks that settle; :mod:`neuro_eq.trajectory.recorder` knows those.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuro_eq.arrays import Shape
from neuro_eq.atomic import part_of
from neuro_eq.errors import FileError, SpecError
from neuro_eq.trajectory import schema
from neuro_eq.trajectory.position import Position, cut_back, growing, metric_axes, metric_places, nudges
from neuro_eq.trajectory.staged import StagedFile

Tail = tuple[tuple[int, int], ...]
"""Where a piece lies on the axes behind ``sample``: first and last-plus-one on each."""

_COMPRESSED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
# Not for the small tables: a chunk that is always as long as before is rewritten where it lies.


class Store:
    """A trajectory file under its ``.part`` name.

    Args:
        path: the name that the file has when it is complete.
        every: steps from one recorded state to the next.
        overwrite: replace an existing file (when this one is complete) and a left-over ``.part`` (at once).
        position: go on with the ``.part`` that is there, and forget what lies behind this position.

    Raises:
        FileError: the file exists, or cannot be made or gone on with; from every other method, it could not be
            written.  Then the ``.part`` keeps what it had at the last flush, and every later call raises the same
            error.
    """

    def __init__(self, path: Path, every: int, overwrite: bool, position: Position | None = None) -> None:
        self.path, self.part = path, part_of(path)
        self._overwrite = overwrite
        self._process = os.getpid()
        self._failure: FileError | None = None
        self.closed = False
        self._every = every
        self.samples = 0
        self.betas: list[float] = []
        self._steps = 0
        self._growing: dict[str, tuple[h5py.Dataset, tuple[str, ...]]] = {}
        self._pieces: dict[tuple[str, Tail], list[tuple[int, np.ndarray]]] = {}
        self._waiting: dict[str, int] = {}
        self._metrics: dict[str, str] = {}
        self._places: dict[str, dict[int, int]] = {axis: {} for axis in schema.METRIC_AXES}
        self._values: dict[str, dict[int, float]] = {}
        if position is None:
            self._make()
        else:
            self._go_on_from(position)

    def _make(self) -> None:
        self._refuse_existing()
        try:
            if self._overwrite:
                self.part.unlink(missing_ok=True)
            self._staged = StagedFile(self.part)
        except OSError as error:
            raise FileError(f"{self.path}: cannot write it ({_reason(error, self.path.parent)})") from None
        self._h5 = h5py.File(self._staged, "w")
        self.describe(schema=schema.VERSION, complete=False, every=self._every, created=_now())
        try:
            self.flush()
        except FileError:
            self.close(complete=False)
            self.part.unlink(missing_ok=True)  # Nothing is in it, and it would be in the way of another try.
            raise

    def _go_on_from(self, position: Position) -> None:
        with contextlib.ExitStack() as stack:
            try:
                self._staged = stack.enter_context(StagedFile(self.part, "r+"))
                self._h5 = stack.enter_context(h5py.File(self._staged, "r+"))
                cut_back(self._h5, position, self._every)
                self.samples, self._steps = position.samples, position.steps
                self.betas = nudges(self._h5)
                self._growing = growing(self._h5)
                self._metrics, self._places = metric_axes(self._h5), metric_places(self._h5)
                self._h5.attrs.modify("complete", False)
            except (FileError, OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
                # HDF5 reports damage in many ways.  Nothing has been committed, so the file is as it was.
                raise FileError(f"{self.part}: cannot go on with it ({_reason(error)})") from None
            stack.pop_all()

    def _refuse_existing(self) -> None:
        if self._overwrite:
            return
        if os.path.lexists(self.path):
            raise FileError(f"{self.path}: exists already; choose another name, or overwrite it (overwrite=True)")
        if os.path.lexists(self.part):
            raise FileError(
                f"{self.part}: is left from a run that did not finish (or still runs); move it away, or overwrite it "
                "(overwrite=True)"
            )

    @property
    def position(self) -> Position:
        """How far the file has come, with what waits."""
        places = self._places
        return Position(
            samples=self.samples,
            phases=len(self.betas),
            steps=self._steps,
            metric_epochs=len(places["epoch"]),
            metric_steps=len(places["step"]),
        )

    @property
    def overwrite(self) -> bool:
        """Whether a file of the final name is replaced at the end."""
        return self._overwrite

    def described(self) -> dict[str, Any]:
        """Attributes of the whole file."""
        return dict(self._h5.attrs)

    def recorded_steps(self, population: str) -> int:
        """Steps in a chunk of a population's states."""
        return int(self._h5[f"{schema.TRAJECTORY}/{population}/state"].chunks[2])

    # -- layout ------------------------------------------------------------------------------------------------

    def describe(self, **attributes: Any) -> None:
        """Set attributes of the whole file."""
        self._h5.attrs.update(attributes)

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
            labels = np.array(terms, dtype=object)
            group.create_dataset(schema.TERM, data=labels, dtype=h5py.string_dtype()).make_scale(schema.TERM)
            axes = (*schema.AXES, schema.TERM)
            chunks = schema.chunk_shape(samples, steps, (len(terms),), 8)
            self._grid(group, schema.ENERGY_TERM, axes, "float64", np.nan, chunks=chunks, coordinates="beta")

    def _axes(self, group: h5py.Group, axes: tuple[str, ...]) -> None:
        for axis in axes:
            dtype = h5py.string_dtype() if axis == "phase" else np.dtype(np.int64)
            chunks = (16,) if axis == "phase" else (1024,)
            scale = group.create_dataset(axis, shape=(0,), maxshape=(None,), chunks=chunks, dtype=dtype)
            scale.make_scale(axis)
            self._growing[scale.name] = (scale, (axis,))
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
        pairs = [(axis in growing, group[axis].shape[0]) for axis in axes]
        variable = group.create_dataset(
            name,
            shape=tuple(0 if free else size for free, size in pairs),
            maxshape=tuple(None if free else size for free, size in pairs),
            chunks=chunks,
            dtype=dtype,
            fillvalue=fill,
            **(_COMPRESSED if group.name.startswith(f"/{schema.TRAJECTORY}/") else {}),
        )
        for i, axis in enumerate(axes):
            variable.dims[i].attach_scale(group[axis])
        variable.attrs.update(attributes)
        self._growing[variable.name] = (variable, axes)

    # -- rows --------------------------------------------------------------------------------------------------

    def open_rows(self, count: int) -> int:
        """Lengthen the sample axis; the first of the new rows."""
        self.samples += count
        return self.samples - count

    def phase(self, beta: float) -> int:
        """The place of a nudge on the phase axis, which grows when the nudge is new."""
        if beta not in self.betas:
            self.betas.append(beta)
        return self.betas.index(beta)

    def put(self, name: str, row: int, tail: Tail, values: np.ndarray) -> None:
        """Keep a piece of a variable, which lies at ``row`` and ``tail``, until the next flush."""
        _, axes = self._growing[f"/{name}"]
        if "step" in axes:
            self._steps = max(self._steps, tail[axes.index("step") - 1][1])
        self._pieces.setdefault((name, tail), []).append((row, values))
        self._waiting[name] = self._waiting.get(name, 0) + values.nbytes

    def label(self, name: str, row: int, values: np.ndarray) -> None:
        """Keep labels of rows; a name that is new makes a variable of ``/equilibrium``."""
        group = self._h5[schema.EQUILIBRIUM]
        if name not in group:
            self._grid(group, name, ("sample",), "int64", schema.ABSENT, chunks=(1024,))
        self.put(f"{schema.EQUILIBRIUM}/{name}", row, (), values)

    @property
    def full(self) -> bool:
        """Whether a variable has about 1 MB to write."""
        return max(self._waiting.values(), default=0) >= schema.MEGABYTE

    # -- metrics -----------------------------------------------------------------------------------------------

    def metric(self, axis: str, index: int, values: Mapping[str, float]) -> None:
        """Keep metrics at an index of their axis until the next flush."""
        for name in values:
            if name not in self._metrics:
                self._add_metric(name, axis)
            elif self._metrics[name] != axis:
                raise SpecError(f'"{name}" is recorded by {self._metrics[name]}, so not also by {axis}', "metrics")
        place = self._places[axis].setdefault(index, len(self._places[axis]))
        for name, value in values.items():
            self._values.setdefault(name, {})[place] = value

    def _add_metric(self, name: str, axis: str) -> None:
        group = self._h5.require_group(schema.METRICS)
        if not len(group):
            self._axes(group, schema.METRIC_AXES)
        if name not in group:
            self._grid(group, name, (axis,), "float64", np.nan, chunks=(1024,))
        self._metrics[name] = axis

    def _write_metrics(self) -> None:
        for name, values in self._values.items():
            variable = self._h5[schema.METRICS][name]
            first, last = min(values), max(values) + 1
            block = variable[first:last]
            for place, value in values.items():
                block[place - first] = value
            variable[first:last] = block
        self._values = {}

    # -- to the disk -------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise when the file is closed or has failed before."""
        if self._failure is not None:
            raise self._failure
        if self.closed:
            raise FileError(f"{self.path}: is closed, so nothing more can be recorded in it")

    def apply(self) -> None:
        """Put what waits in its place, not yet on the disk, so that what is kept next may replace parts of it."""
        self.check()
        try:
            self._write()
        except (OSError, RuntimeError) as error:
            self._fail(error)

    def flush(self) -> None:
        """Write what waits; afterwards the ``.part`` on the disk is a whole HDF5 file."""
        self.check()
        try:
            self._write()
            self._h5.flush()
            self._staged.commit()
        except (OSError, RuntimeError) as error:
            self._fail(error)

    def abandon(self) -> None:
        """Close without writing: the file on the disk stays as the last flush left it."""
        self.closed = True
        self._h5.close()
        self._staged.close()

    def close(self, complete: bool) -> None:
        """Write what waits and close; a complete file takes its name."""
        if self.closed or os.getpid() != self._process:  # A forked child must not write its parent's file.
            return
        try:
            if self._failure is None:
                # Changed where it lies: an attribute set anew would move the others about.
                self._h5.attrs.modify("complete", complete)
                self._write()
                self._h5.close()
                self._staged.commit()
        except (OSError, RuntimeError) as error:
            self._fail(error)
        finally:
            self.closed = True
            with contextlib.suppress(OSError, RuntimeError):  # The failure itself is on its way to the user.
                self._h5.close()
            self._staged.close()
        if complete and self._failure is None:
            self._take_name()

    def _take_name(self) -> None:
        if not self._overwrite and os.path.lexists(self.path):
            raise FileError(f"{self.path}: has come into being during the run, so the recording stays in {self.part}")
        try:
            os.replace(self.part, self.path)
        except OSError as error:
            raise FileError(
                f"{self.path}: cannot be given this name ({_reason(error)}), so the recording stays in {self.part}"
            ) from None

    def _fail(self, error: Exception) -> None:
        self._failure = FileError(
            f"{self.part}: cannot write it any further ({_reason(error)}); it keeps what was recorded before"
        )
        self._pieces, self._waiting, self._values = {}, {}, {}
        raise self._failure from None

    def _write(self) -> None:
        self._grow()
        for (name, tail), pieces in self._pieces.items():
            variable = self._h5[name]
            behind = tuple(slice(*ends) for ends in tail)
            for row, values in _joined(pieces):
                variable[(slice(row, row + len(values)), *behind)] = values
        self._pieces, self._waiting = {}, {}
        self._write_metrics()

    def _grow(self) -> None:
        """Bring every variable to the present lengths of its axes, and the scales to their new entries."""
        lengths: dict[str, int] = {"sample": self.samples, "phase": len(self.betas), "step": self._steps}
        lengths_of_metrics = {axis: len(places) for axis, places in self._places.items()}
        for name, (variable, axes) in self._growing.items():
            of_metrics = name.startswith(f"/{schema.METRICS}/")
            known = lengths_of_metrics if of_metrics else lengths
            before = variable.shape
            now = tuple(known.get(axis, size) for axis, size in zip(axes, before, strict=True))
            if now == before:
                continue
            variable.resize(now)
            first, last = before[0], now[0]
            if name.endswith("/beta"):
                variable[first:last] = self.betas[first:last]
            elif not name.endswith(f"/{axes[0]}"):
                continue
            elif of_metrics:
                variable[first:last] = list(self._places[axes[0]])[first:last]
            elif axes[0] == "phase":
                labels = [schema.phase_name(beta) for beta in self.betas[first:last]]
                variable[first:last] = np.array(labels, dtype=object)
            else:
                variable[first:last] = np.arange(first, last) * (self._every if axes[0] == "step" else 1)


def _joined(pieces: list[tuple[int, np.ndarray]]) -> list[tuple[int, np.ndarray]]:
    """Pieces of adjacent rows as one, in the order in which they came: few large writes instead of many small ones."""
    runs: list[tuple[int, list[np.ndarray]]] = []
    end = -1
    for row, values in pieces:
        if row == end:
            runs[-1][1].append(values)
        else:
            runs.append((row, [values]))
        end = row + len(values)
    return [(row, run[0] if len(run) == 1 else np.concatenate(run)) for row, run in runs]


def _reason(error: Exception, folder: Path | None = None) -> str:
    """What went wrong, in the system's words."""
    if folder is not None and not folder.is_dir():
        return f"there is no folder {folder}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
