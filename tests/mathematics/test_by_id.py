"""Sums by id: the three ways to them, held to the loop that one would write down."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_eq.synapses import by_id
from neuro_eq.synapses.by_id import sums_by_id

CASES = {
    "few of many": (np.array([7, 2, 7, 900, 2, 2]), 1000),
    "every one": (np.array([3, 0, 2, 1]), 4),
    "one alone": (np.array([5, 5, 5]), 6),
    "the first and the last": (np.array([0, 9]), 10),
    "nothing": (np.array([], dtype=np.int64), 3),
}


def summed(rows, ids, count):
    total = np.zeros((count, rows.shape[1]), rows.dtype)
    for row, place in zip(rows, ids, strict=True):
        total[place] += row
    return total


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("case", CASES)
def test_numpy_adds_in_order(case, dtype):
    ids, count = CASES[case]
    rows = np.random.default_rng(0).normal(size=(len(ids), 3)).astype(dtype)
    np.testing.assert_array_equal(sums_by_id(rows, ids, count), summed(rows, ids, count))


@pytest.mark.parametrize("by_a_product", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("case", CASES)
def test_torch(case, dtype, by_a_product, need, monkeypatch):
    """In order on a CPU; by a product, as on a GPU, sums of three terms may be rounded in another order."""
    need("torch")
    import torch

    if by_a_product:
        monkeypatch.setattr(by_id, "adds_in_order", lambda rows: False)
    ids, count = CASES[case]
    rows = np.random.default_rng(0).normal(size=(len(ids), 3)).astype(dtype)
    found = sums_by_id(torch.tensor(rows), torch.tensor(ids), count).numpy()
    wanted = summed(rows, ids, count)
    within = 4 * np.finfo(dtype).eps * np.max(np.abs(wanted), initial=0.0) if by_a_product else 0
    np.testing.assert_allclose(found, wanted, rtol=0, atol=within)
    absent = np.setdiff1d(np.arange(count), ids)
    assert not found[absent].any()
