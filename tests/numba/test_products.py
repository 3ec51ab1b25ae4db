"""The innermost product against NumPy, for every shape that leaves a part of a tile over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from neuro_eq.backends.numba import outer, packing, tile

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


ENDS = [(1, 1, 1), (3, 17, 5), (128, 10, 49), (129, 9, 64), (300, 33, 112), (40, 100, 7)]


def _summed(post: np.ndarray, pre: np.ndarray, factor: float, threads: int, twice: bool = False) -> np.ndarray:
    out = np.full((post.shape[1], tile.stride(pre.shape[1], post.dtype)), np.nan, post.dtype)
    for share in outer.shares(out.shape[0], out.shape[1] // tile.LANES[post.dtype], threads):
        for added in (False, True) if twice else (False,):
            outer.outer_sums(post, pre, post.dtype.type(factor), out, added, *share)
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("batch", "n_post", "n_pre"), ENDS)
@pytest.mark.parametrize("twice", [False, True])
def test_outer_products_are_summed_over_a_batch(dtype: str, batch: int, n_post: int, n_pre: int, twice: bool) -> None:
    rng = np.random.default_rng(batch)
    post, pre = (rng.normal(size=(batch, n)).astype(dtype) for n in (n_post, n_pre))
    found = _summed(post, pre, 0.3, 1, twice)
    times = (2 if twice else 1) * float(np.dtype(dtype).type(0.3))
    exact = times * post.astype(np.float64).T @ pre.astype(np.float64)
    # Each term is rounded once where it is scaled, then a sum of n terms in any order.
    bound = (2 * batch + 2) * np.finfo(dtype).eps / 2 * times * (np.abs(post).T @ np.abs(pre))
    assert np.all(np.abs(found[:, :n_pre] - exact) <= bound)
    np.testing.assert_array_equal(found[:, n_pre:], 0)


@pytest.mark.parametrize(("batch", "n_post", "n_pre"), ENDS)
def test_no_sum_depends_on_how_it_is_shared_out(batch: int, n_post: int, n_pre: int) -> None:
    rng = np.random.default_rng(n_pre)
    post, pre = (rng.normal(size=(batch, n)).astype(np.float32) for n in (n_post, n_pre))
    alone = _summed(post, pre, 0.7, 1, twice=True)
    for threads in (2, 3, 16):
        np.testing.assert_array_equal(_summed(post, pre, 0.7, threads, twice=True), alone)


COMPILED = """
import numba.core.funcdesc as descriptions
import numpy as np
from neuro_eq.backends.numba import outer, packing, tile

meant, make = {}, descriptions.PythonFunctionDescriptor.from_specialized_function.__func__

def noted(cls, code, *args, **options):
    made, function = make(cls, code, *args, **options), code.func_id.func
    held = [cell.cell_contents for cell in function.__closure__ or ()]
    meant.setdefault((made.modname, made.qualname, made.argtypes), []).append((function.__code__, held))
    return made

descriptions.PythonFunctionDescriptor.from_specialized_function = classmethod(noted)
for dtype in ("float32", "float64"):
    x, w = np.ones((9, 40), dtype), np.ones((40, 80), dtype)
    out = np.empty((9, 80), dtype)
    tile.multiply(x.ravel(), 0, 40, 40, packing.packed_rows(w), 0, out.reshape(-1), 0, 80, 9)
    outer.outer_sums(x.T.copy(), w, x.dtype.type(1), out, False, *outer.shares(9, 80 // tile.LANES[dtype], 1)[0])
ours = {name: found for name, found in meant.items() if name[0].startswith("neuro_eq")}
print(len(ours), *(name[1] for name, found in ours.items() if any(other != found[0] for other in found)))
"""


@pytest.mark.slow
def test_of_two_kernels_of_one_name_and_types_both_do_the_same(tmp_path: Path) -> None:
    """Numba tells them apart by a count of its own that begins anew in every process: out of a cache that several have
    filled, one would be called for the other."""
    where = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", COMPILED], env=where, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, *doubtful = done.stdout.split()
    assert doubtful == []
    assert int(count) > 30


def test_shares_are_all_of_a_matrix_once() -> None:
    for rows, columns in ((1, 1), (7, 4), (512, 49), (1000, 2), (10, 100)):
        panels = -(-columns // tile.VECTORS)
        for threads in (1, 2, 5, 64):
            covered = np.zeros((rows, panels), int)
            shares = outer.shares(rows, columns, threads)
            for first_row, end_row, first_panel, end_panel in shares:
                assert first_row < end_row
                assert first_panel < end_panel
                covered[first_row:end_row, first_panel:end_panel] += 1
            assert np.all(covered == 1)
            # Nobody is left without work while there is a tile for each.
            assert len(shares) >= min(threads, panels * (-(-rows // tile.ROWS)))
