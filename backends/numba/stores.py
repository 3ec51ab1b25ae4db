"""What stays the same while a network settles: packed matrices and single numbers, each in one flat array.

A plan lays out where each one lies; the arrays are filled when the parameters are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from neuro_eq.backends.numba.packing import pack_columns, pack_rows
from neuro_eq.backends.numba.tile import packed_size
from neuro_eq.backends.numba.workers import Workers


@dataclass(frozen=True)
class Factor:
    """One matrix, and where it lies once it is packed."""

    parameter: str
    transposed: bool
    begin: int
    size: int
    scale: float = 1.0

    def pack(self, theta: Mapping[str, np.ndarray], out: np.ndarray) -> None:
        """The right-hand factor of the product ``(rows, n_pre) · (n_pre, n_post)``, into its place."""
        weight, place = theta[self.parameter], out[self.begin : self.begin + self.size]
        if self.scale != 1.0:
            weight = weight * weight.dtype.type(self.scale)
        if self.transposed:
            pack_columns(weight, place)
        else:
            pack_rows(weight, place)


@dataclass
class Factors:
    """The matrices of products."""

    dtype: str
    items: list[Factor] = field(default_factory=list)

    def add(self, parameter: str, shape: tuple[int, int], *, transposed: bool, scale: float = 1.0) -> int:
        """Where a matrix ``(n_pre, n_post)`` begins."""
        begin = self.items[-1].begin + self.items[-1].size if self.items else 0
        self.items.append(Factor(parameter, transposed, begin, packed_size(*shape, self.dtype), scale))
        return begin

    def packed(self, theta: Mapping[str, np.ndarray], workers: Workers) -> np.ndarray:
        """The matrices one after the other, in the order that the products take them in."""
        out = np.empty(sum(factor.size for factor in self.items), self.dtype)
        if self.items:
            workers.run([partial(factor.pack, theta, out) for factor in self.items], out.size)
        return out


@dataclass
class Constants:
    """Single numbers and vectors: fixed ones, and parameters by name."""

    dtype: str
    items: list[tuple[float, ...] | str] = field(default_factory=list)
    size: int = 0

    def add(self, values: Sequence[float]) -> int:
        """Where fixed numbers begin; one beyond the precision's range becomes the last one inside."""
        limits = np.finfo(self.dtype)
        self.items.append(tuple(float(np.clip(value, limits.min, limits.max)) for value in values))
        return self._advance(len(values))

    def add_parameter(self, name: str, size: int) -> int:
        """Where a parameter of so many numbers begins."""
        self.items.append(name)
        return self._advance(size)

    def filled(self, theta: Mapping[str, np.ndarray]) -> np.ndarray:
        """All of them, one after the other."""
        parts = [np.ravel(theta[item]) if isinstance(item, str) else np.asarray(item) for item in self.items]
        return np.concatenate([np.zeros(0), *parts]).astype(self.dtype)

    def _advance(self, size: int) -> int:
        begin = self.size
        self.size += size
        return begin
