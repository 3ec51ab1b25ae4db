"""The axes of variables, as HDF5 keeps them, and variables that grow along them."""

from __future__ import annotations

import h5py
import numpy as np

from neuro_eq.trajectory.text import plain

_LISTED = "REFERENCE_LIST"
"""Attribute of a dimension scale: the variables that it is an axis of, and which one.

What a variable says of its axes (``DIMENSION_LIST``) would lie in a heap: see :mod:`neuro_eq.trajectory.text`.
"""


def axes_in(group: h5py.Group) -> dict[str, tuple[str, ...]]:
    """Variable to the names of its axes; a dimension scale is its own.

    Raises:
        ValueError: an axis is missing, so the file is damaged.
    """
    variables = {name: item for name, item in group.items() if isinstance(item, h5py.Dataset)}
    scales = {name: item for name, item in variables.items() if _is_scale(item)}
    found: dict[str, dict[int, str]] = {}
    for name, scale in scales.items():
        for reference, axis in scale.attrs.get(_LISTED, ()):
            variable = group.file[reference].name.rpartition("/")[2]
            found.setdefault(variable, {})[int(axis)] = name
    named: dict[str, tuple[str, ...]] = {}
    for name, item in variables.items():
        axes = found.get(name, {})
        if name in scales:
            named[name] = (name,)
        elif sorted(axes) == list(range(item.ndim)):
            named[name] = tuple(axes[i] for i in range(item.ndim))
        else:
            raise ValueError(f"{item.name} lacks an axis")
    return named


def _is_scale(variable: h5py.Dataset) -> bool:
    """As ``variable.is_scale``, in which HDF5 2.0 frees memory twice where the file is damaged, and aborts."""
    return plain(variable.attrs.get("CLASS")) == "DIMENSION_SCALE"


def write_box(variable: h5py.Dataset, start: tuple[int, ...], values: np.ndarray) -> None:
    """``variable[start:start + shape] = values``, without h5py's reading of a selection, which takes most of a small
    write."""
    target = variable.id.get_space()
    target.select_hyperslab(start, values.shape)
    variable.id.write(h5py.h5s.create_simple(values.shape), target, np.ascontiguousarray(values))
