"""Names for arrays in signatures, and the two reductions that every energy needs.

The mathematics is written once against the Python array API, so an ``Array`` here is a NumPy array on the
reference, Numba and Lava engines and a torch tensor on the torch engine.  The first axis is always the sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from array_api_compat import array_namespace
from jaxtyping import Inexact

Array: TypeAlias = Any
"""A NumPy array or a torch tensor (anything the array API speaks of)."""

Samples: TypeAlias = Inexact[Array, " batch"]
"""One number per sample."""

Units: TypeAlias = Inexact[Array, "batch *units"]
"""One population: a sample axis, then the population's own shape."""

Activities: TypeAlias = Mapping[str, Inexact[Array, "batch ..."]]
"""Population name to activities (or potentials), all with the same sample axis."""

Parameters: TypeAlias = Mapping[str, Inexact[Array, "..."]]
"""Parameter name to array."""

Shape: TypeAlias = tuple[int, ...]


class Reach(NamedTuple):
    """How far the activities of a population can go: its rows of the last axis, and the largest norm of one."""

    rows: int
    norm: float


def flat(x: Units) -> Inexact[Array, "batch flat"]:
    """One row per sample, the population's own axes flattened in C order."""
    if x.ndim == 2:
        return x
    xp = array_namespace(x)
    return xp.reshape(x, (x.shape[0], -1))


def sum_units(x: Units) -> Samples:
    """Sum over every axis but the sample's."""
    return array_namespace(x).sum(flat(x), axis=1)


def inner(x: Units, y: Units) -> Samples:
    """Per-sample inner product over a population's units (no complex conjugation: energies stay holomorphic)."""
    return sum_units(x * y)


def sides(x: Array) -> Array:
    """On which side of nought each number lies: one above it, nought elsewhere."""
    xp = array_namespace(x)
    return xp.astype(real_part(x) > 0, xp.int64)


def all_finite(x: Inexact[Array, ...]) -> bool:
    """Whether every number of an array is finite."""
    if isinstance(x, np.ndarray):
        return x.dtype.kind not in "fc" or bool(np.isfinite(x).all())
    xp = array_namespace(x)
    # A tensor's sum is finite only if all its terms are, and takes a fraction of the time; finite terms may overflow.
    return bool(xp.isfinite(xp.sum(x))) or bool(xp.all(xp.isfinite(x)))


def real_part(x: Array) -> Array:
    """The real part; of an array that is real, itself."""
    return array_namespace(x).real(x) if is_complex(x) else x


def is_complex(x: Array) -> bool:
    """Whether an array holds complex numbers, as in a holomorphic nudge."""
    if isinstance(x, np.ndarray):
        return x.dtype.kind == "c"
    return bool(array_namespace(x).isdtype(x.dtype, "complex floating"))
