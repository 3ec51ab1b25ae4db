r"""Matrices in the order that the innermost product takes them in.

A packed matrix ``(depth, size)`` is cut into panels of up to ``VECTORS`` vector registers of columns; a panel holds its
part of the first row, of the second, and so on.  The filling of the last panel holds zeros.
"""

from __future__ import annotations

import numpy as np

from neuro_eq.backends.numba.compilation import entry
from neuro_eq.backends.numba.tile import BYTES, multiply, packed_size, panel_vectors, stride

TOGETHER = 16
"""Rows of a transposition that go side by side, so that a cache line is filled before it is left."""


def packed_rows(matrix: np.ndarray) -> np.ndarray:
    """``matrix (depth, size)``, in any memory order, packed."""
    depth, size = matrix.shape
    out = np.empty(packed_size(depth, size, matrix.dtype), matrix.dtype)
    if matrix.flags.c_contiguous:
        pack_rows(matrix, out)
    else:
        pack_columns(np.ascontiguousarray(matrix.T), out)
    return out


def product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``x (rows, depth) · weight (depth, size)``."""
    return _in_whole_vectors(x, weight)[:, : weight.shape[1]]


def product_with_transposed(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """``x (rows, depth) · weightᵀ``, ``weight (size, depth)``: packs the samples, as they are fewer than the units."""
    return product(weight, x.T).T


def _in_whole_vectors(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    (rows, depth), width = x.shape, stride(weight.shape[1], x.dtype)
    out = np.empty((rows, width), x.dtype)
    left = np.ascontiguousarray(x).reshape(-1)
    multiply(left, 0, depth, depth, packed_rows(weight), 0, out.reshape(-1), 0, width, rows)
    return out


@entry
def pack_rows(matrix, out):  # type: ignore[no-untyped-def]
    """``matrix (depth, size)``."""
    depth, size = matrix.shape
    lanes = BYTES // matrix.itemsize
    columns = -(-size // lanes) * lanes
    first = 0
    while first < columns:
        width = panel_vectors((columns - first) // lanes) * lanes
        inside = min(width, size - first)
        for k in range(depth):
            row = first * depth + k * width
            for j in range(inside):
                out[row + j] = matrix[k, first + j]
            for j in range(inside, width):
                out[row + j] = 0
        first += width


@entry
def pack_columns(matrix, out):  # type: ignore[no-untyped-def]
    """The transpose of ``matrix (size, depth)``."""
    size, depth = matrix.shape
    lanes = BYTES // matrix.itemsize
    columns = -(-size // lanes) * lanes
    first = 0
    while first < columns:
        width = panel_vectors((columns - first) // lanes) * lanes
        inside = min(width, size - first)
        for start in range(0, depth, TOGETHER):
            end = min(start + TOGETHER, depth)
            for j in range(inside):
                for k in range(start, end):
                    out[first * depth + k * width + j] = matrix[first + j, k]
            for k in range(start, end):
                for j in range(inside, width):
                    out[first * depth + k * width + j] = 0
        first += width


@entry
def subtract_and_sum(x, y, out, total):  # type: ignore[no-untyped-def]
    """``out = x − y``, and its rows are added to ``total``."""
    rows, size = x.shape
    for i in range(rows):
        for j in range(size):
            out[i, j] = x[i, j] - y[i, j]
            total[j] += out[i, j]


@entry
def feed(x, weight, packed, sums, out, begin, stride):  # type: ignore[no-untyped-def]
    """``x (rows, depth) · weightᵀ`` is added to rows of ``stride`` numbers that begin at ``begin`` of a flat buffer.

    Packs the samples, as they are fewer than the units, into ``packed``; ``sums (size, …)`` has room for the product.
    """
    rows, depth = x.shape
    size, width = sums.shape
    pack_columns(x, packed)
    multiply(weight, 0, depth, depth, packed, 0, sums.reshape(-1), 0, width, size)
    for start in range(0, size, TOGETHER):
        end = min(start + TOGETHER, size)
        for j in range(rows):
            row = begin + j * stride
            for i in range(start, end):
                out[row + i] += sums[i, j]


__all__ = [
    "feed",
    "pack_columns",
    "pack_rows",
    "packed_rows",
    "product",
    "product_with_transposed",
    "subtract_and_sum",
]
