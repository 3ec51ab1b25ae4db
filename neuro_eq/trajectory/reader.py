"""Reading a trajectory file, complete or not.  Nothing that stands in a file is executed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from neuro_eq.atomic import part_of
from neuro_eq.errors import FileError, NeuroEqError, SpecError, did_you_mean
from neuro_eq.spec import Network
from neuro_eq.specfile import digest, from_toml
from neuro_eq.trajectory import schema
from neuro_eq.trajectory.axes import axes_in
from neuro_eq.trajectory.staged import StagedFile, journal_of
from neuro_eq.trajectory.text import described, plain

if TYPE_CHECKING:
    import xarray


ALL = slice(None)

NOT_STORED = 64 << 20
"""Bytes of an axis' entries that a file may promise and not hold, as where its writer was killed."""


def open_trajectory(path: str | os.PathLike[str]) -> Trajectory:
    """Open a recorded run; a ``.part`` of a run that was killed or still goes on opens as well.

    Raises:
        FileError: the file is missing, is no trajectory file, is damaged, or is of another schema version.
    """
    return Trajectory(path)


class Trajectory:
    """A trajectory file, open for reading.  Use it in a ``with`` block, or close it.

    What was never recorded is NaN, or -1 where numbers are whole.  Every property and method raises
    :class:`~neuro_eq.errors.FileError` where the file is damaged.

    Args:
        path: the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._refuse_what_is_no_hdf5()
        try:
            self._h5 = h5py.File(self._whole(), "r")
        except (OSError, RuntimeError) as error:
            raise self._damaged(error) from None
        try:
            self._refuse_what_is_no_trajectory()
        except BaseException:
            self._h5.close()
            raise

    def _whole(self) -> Any:
        """The file; with its journal, where a writer was killed while it changed the file."""
        return StagedFile(self.path, "r") if os.path.lexists(journal_of(self.path)) else self.path

    def _refuse_what_is_no_hdf5(self) -> None:
        if not self.path.exists():
            part = part_of(self.path)
            if part.exists():
                raise FileError(
                    f"{self.path}: is not there, but {part.name} is, from a run that did not finish or still goes "
                    "on; open that one"
                )
            raise FileError(f"{self.path}: no such file")
        try:
            with open(self.path, "rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise FileError(f"{self.path}: cannot read it ({error.strerror or error})") from None
        if empty:
            raise FileError(f"{self.path}: is empty, so nothing was recorded in it")
        if not h5py.is_hdf5(self.path):
            raise FileError(f"{self.path}: is not an HDF5 file, so no trajectory")

    def _refuse_what_is_no_trajectory(self) -> None:
        version = self.attrs.get("schema")
        if version is None or "complete" not in self.attrs:
            raise FileError(f"{self.path}: is an HDF5 file, but no trajectory of neuro_eq")
        if version != schema.VERSION:
            raise FileError(
                f"{self.path}: has schema version {version}, and this neuro_eq reads version {schema.VERSION}"
            )

    def __enter__(self) -> Trajectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was read stays."""
        self._h5.close()

    def __repr__(self) -> str:
        return f"Trajectory({str(self.path)!r})"

    # -- the run -----------------------------------------------------------------------------------------------

    @cached_property
    def attrs(self) -> dict[str, Any]:
        """Attributes of the file: ``backend``, ``dtype``, ``seed``, ``created``, ``every``, ``versions`` (JSON), …"""
        with self._reading():
            return described(self._h5)

    @property
    def complete(self) -> bool:
        """Whether the run came to its end and closed the file."""
        return bool(self.attrs["complete"])

    @cached_property
    def spec(self) -> Network:
        """The network that was recorded.

        Raises:
            FileError: nothing was recorded yet, or the network does not match its hash.
        """
        if "spec" not in self.attrs:
            raise FileError(f"{self.path}: holds no relaxation, so it names no network")
        try:
            spec = from_toml(self.attrs["spec"])
        except NeuroEqError as error:
            raise self._damaged(error) from None
        if digest(spec) != self.attrs.get("spec_sha256"):
            raise FileError(f"{self.path}: the network does not match its hash, so the file was changed or is damaged")
        return spec

    @cached_property
    def populations(self) -> tuple[str, ...]:
        """Names of the recorded populations, in the network's order."""
        if "spec" not in self.attrs:
            return ()
        with self._reading():
            recorded = set(self._h5.get(schema.TRAJECTORY, ()))
        return tuple(p.name for p in self.spec.populations if p.name in recorded)

    def check(self) -> None:
        """Look at the lengths of everything, without reading it.

        Raises:
            FileError: parts of the file do not fit together, so it was changed or is damaged.
        """
        for name, shape, axes in self._lengths():
            if shape != axes:
                raise self._damaged(ValueError(f"{name} has lengths {list(shape)}, its axes have {list(axes)}"))

    def _lengths(self) -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...]]]:
        """Each variable, its shape, and what its axes say of it."""
        with self._reading():
            samples, phases, steps = len(self._table("sample")), len(self.phases), len(self.steps)
            recorded = [self.spec.population(name) for name in self.populations]
        yield f"{schema.EQUILIBRIUM}/beta", self.betas.shape, (phases,)
        for name, axes in (
            *((f"{schema.EQUILIBRIUM}/{name}", (samples, phases)) for name in schema.OUTCOMES),
            *((f"{schema.SETTLING}/{name}", (samples, phases, steps)) for name in schema.MEASURES),
            (f"{schema.SETTLING}/{schema.ENERGY_TERM}", (samples, phases, steps, len(self.energy_terms))),
        ):
            with self._reading():
                there = name in self._h5
            if there:
                yield name, self._shape(name), axes
        for p in recorded:
            group = f"{schema.TRAJECTORY}/{p.name}"
            if p.clamped:
                yield f"{group}/activity", self._shape(f"{group}/activity"), (samples, *p.shape)
                continue
            for name in ("state", "activity"):
                yield f"{group}/{name}", self._shape(f"{group}/{name}"), (samples, phases, steps, *p.shape)
                yield f"{group}/fixed_{name}", self._shape(f"{group}/fixed_{name}"), (samples, phases, *p.shape)
        with self._reading():
            metrics = {name: group.shape for name, group in self._h5.get(schema.METRICS, {}).items()}
        for name, (index, _) in self.metrics.items():
            yield f"{schema.METRICS}/{name}", metrics[name], index.shape

    # -- the axes ----------------------------------------------------------------------------------------------

    @cached_property
    def phases(self) -> tuple[str, ...]:
        """Labels of the phase axis, as ``"free"`` and ``"nudged+0.1"``."""
        return self._labels(self._table("phase"))

    @cached_property
    def betas(self) -> np.ndarray:
        """``(phase,)`` the nudge of each phase."""
        return self._table("beta")

    @cached_property
    def steps(self) -> np.ndarray:
        """``(step,)`` the steps at which states were recorded: 0, ``every``, 2·``every``, …"""
        free = [p.name for p in self.spec.free] if self.populations else []
        return self._read(f"{schema.TRAJECTORY}/{free[0]}/step") if free else np.zeros(0, dtype=np.int64)

    # -- what was recorded -------------------------------------------------------------------------------------

    def states(self, population: str, samples: slice = ALL) -> np.ndarray:
        """Potentials ``u``, ``(sample, phase, step, unit…)``; held where a sample has stopped.

        Args:
            population: its name.
            samples: which samples to read; those of one epoch are a small part of a long run.

        Raises:
            SpecError: no such population, or a clamped one.
        """
        return self._read(self._free(population) + "/state", samples)

    def activities(self, population: str, samples: slice = ALL) -> np.ndarray:
        """Activities ``a``, ``(sample, phase, step, unit…)``; of a clamped population the data, ``(sample, unit…)``."""
        return self._read(self._group(population) + "/activity", samples)

    def fixed_states(self, population: str) -> np.ndarray:
        """Potentials where each phase ended, ``(sample, phase, unit…)``.

        Raises:
            SpecError: no such population, or a clamped one.
        """
        return self._read(self._free(population) + "/fixed_state")

    def fixed_activities(self, population: str) -> np.ndarray:
        """Activities where each phase ended, ``(sample, phase, unit…)``.

        Raises:
            SpecError: no such population, or a clamped one.
        """
        return self._read(self._free(population) + "/fixed_activity")

    @cached_property
    def equilibrium(self) -> dict[str, np.ndarray]:
        """``steps``, ``residual``, ``status`` (codes of Status), ``energy``, ``tolerance`` and ``nudge_size``, each
        ``(sample, phase)``; and the labels, each ``(sample,)``."""
        axes = ("sample", "phase", "beta")
        with self._reading():
            names = [name for name in self._h5.get(schema.EQUILIBRIUM, ()) if name not in axes]
        ordered = sorted(names, key=lambda name: (name not in schema.OUTCOMES, names.index(name)))
        return {name: self._table(name) for name in ordered}

    @cached_property
    def settling(self) -> dict[str, np.ndarray]:
        """``residual``, ``energy`` and ``cost`` of every recorded state, ``(sample, phase, step)``, and
        ``energy_term``, ``(sample, phase, step, term)``.

        ``energy`` and ``energy_term`` are absent where a directed synapse leaves the network without an energy, and
        all of them in a file of an early version.
        """
        with self._reading():
            group = self._h5.get(schema.SETTLING, ())
            names = [name for name in (*schema.MEASURES, schema.ENERGY_TERM) if name in group]
        return {name: self._read(f"{schema.SETTLING}/{name}") for name in names}

    @cached_property
    def energy_terms(self) -> tuple[str, ...]:
        """Names of the terms of ``G``: free populations and synapses; empty where it is not recorded."""
        with self._reading():
            if f"{schema.SETTLING}/{schema.TERM}" not in self._h5:
                return ()
        return self._labels(self._read(f"{schema.SETTLING}/{schema.TERM}"))

    @cached_property
    def metrics(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Metric name to its index (epochs or steps) and its values."""
        with self._reading():
            group = self._h5.get(schema.METRICS, {})
            axes = axes_in(group) if len(group) else {}
        start = f"{schema.METRICS}/"
        return {
            name: (self._read(start + axis[0]), self._read(start + name))
            for name, axis in axes.items()
            if name not in schema.METRIC_AXES
        }

    def to_xarray(self, population: str) -> xarray.Dataset:
        """A population's group with named dimensions and coordinates, in memory; as xarray itself opens it.

        Raises:
            NeuroEqError: xarray is not installed.
        """
        group = self._group(population)
        try:
            import xarray as xr
        except ImportError as error:
            raise NeuroEqError(
                f'to_xarray needs {error.name}; install it by: pip install "neuro_eq[analysis]"'
            ) from None
        with self._reading():
            axes = axes_in(self._h5[group])
        variables = {name: (along, self._read(f"{group}/{name}")) for name, along in axes.items()}
        if "phase" in variables:
            variables["phase"] = (("phase",), np.array(self.phases, dtype=object))
        coordinates = {name: variables.pop(name) for name in list(axes) if axes[name] == (name,) or name == "beta"}
        with self._reading():  # xarray refuses lengths that do not fit together
            return xr.Dataset(variables, coordinates)

    def _group(self, population: str) -> str:
        if population not in self.populations:
            raise SpecError(f'no population "{population}"' + did_you_mean(population, self.populations), "population")
        return f"{schema.TRAJECTORY}/{population}"

    def _free(self, population: str) -> str:
        group = self._group(population)
        if self.spec.population(population).clamped:
            raise SpecError(f'"{population}" is clamped, so it has activities only', "population")
        return group

    def _table(self, name: str) -> np.ndarray:
        with self._reading():
            if schema.EQUILIBRIUM not in self._h5:
                return np.zeros(0)
        return self._read(f"{schema.EQUILIBRIUM}/{name}")

    def _labels(self, values: np.ndarray) -> tuple[str, ...]:
        with self._reading():
            return tuple(plain(label) for label in values)

    def _shape(self, name: str) -> tuple[int, ...]:
        with self._reading():
            return tuple(self._h5[name].shape)

    def _read(self, name: str, samples: slice = ALL) -> np.ndarray:
        with self._reading():
            variable = self._h5[name]
            if variable.ndim == 1 and variable.nbytes > variable.id.get_storage_size() + NOT_STORED:
                raise ValueError(f"{name} has a length of {len(variable)}, for which there is nothing in the file")
            return np.asarray(variable[samples])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        if not self._h5:
            raise FileError(f"{self.path}: is closed")
        try:
            yield
        except MemoryError as error:
            raise FileError(
                f"{self.path}: does not fit into this machine's memory, or is damaged ({' '.join(str(error).split())})"
            ) from None
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            # HDF5 reports damage in many ways; as it stands here, none of them is a fault of the caller.
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> FileError:
        return FileError(f"{self.path}: is damaged or cut short ({' '.join(str(error).split())})")
