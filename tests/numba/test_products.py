"""The innermost product against NumPy, for every shape that leaves a part of a tile over."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_eq.backends.numba import packing, tile

SHAPES = [(1, 1, 1), (1, 3, 5), (2, 7, 17), (7, 33, 10), (9, 64, 48), (13, 513, 49), (17, 1100, 100), (24, 40, 96)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("rows", "depth", "size"), SHAPES)
def test_it_adds_the_product_and_leaves_the_filling_alone(dtype: str, rows: int, depth: int, size: int) -> None:
    rng = np.random.default_rng(depth)
    wide, deep = tile.stride(size, dtype), tile.stride(depth, dtype)
    x = np.zeros((rows, deep), dtype)
    x[:, :depth] = rng.normal(size=(rows, depth))
    weight = rng.normal(size=(size, depth)).astype(dtype)
    packed = packing.packed_rows(weight.T)
    np.testing.assert_array_equal(packed, packing.packed_rows(np.ascontiguousarray(weight.T)))
    before = np.zeros((rows, wide), dtype)
    before[:, :size] = rng.normal(size=(rows, size))
    out = before.copy()
    tile.multiply_add(x.ravel(), 0, deep, depth, packed, 0, out.reshape(-1), 0, wide, rows)
    exact = before[:, :size].astype(np.float64) + x[:, :depth].astype(np.float64) @ weight.T.astype(np.float64)
    # A sum of n terms in any order: |error| ≤ n·u·Σ|terms|, u half the machine epsilon, and one more for the sum.
    bound = (depth + 1) * np.finfo(dtype).eps / 2
    size_of_terms = np.abs(before[:, :size]) + np.abs(x[:, :depth]) @ np.abs(weight.T)
    assert np.all(np.abs(out[:, :size] - exact) <= bound * size_of_terms)
    np.testing.assert_array_equal(out[:, size:], 0)


def test_a_row_does_not_depend_on_the_others() -> None:
    """What makes a sample's way independent of the samples that it settles with, to the last bit."""
    rng = np.random.default_rng(3)
    deep, wide = tile.stride(70, "float32"), tile.stride(50, "float32")
    x = rng.normal(size=(23, deep)).astype(np.float32)
    packed = packing.packed_rows(rng.normal(size=(70, 50)).astype(np.float32))

    def product(rows: np.ndarray) -> np.ndarray:
        out = np.zeros((len(rows), wide), np.float32)
        tile.multiply_add(rows.ravel(), 0, deep, 70, packed, 0, out.reshape(-1), 0, wide, len(rows))
        return out

    together = product(x)
    for i in range(len(x)):
        np.testing.assert_array_equal(product(x[i : i + 1])[0], together[i])
