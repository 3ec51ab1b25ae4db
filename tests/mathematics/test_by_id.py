"""Sums by id: every way to them, held to the loop that one would write down."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_eq.synapses import by_id
from neuro_eq.synapses.by_id import sums_by_id

CASES = {
    "few of many": (np.array([7, 2, 7, 900, 2, 2]), 1000),
    "many of few": (np.array([1, 0, 1, 1, 2, 2, 0]), 4),
    "every one": (np.array([3, 0, 2, 1]), 4),
    "one alone": (np.array([5, 5, 5]), 6),
    "the first and the last": (np.array([0, 9]), 10),
    "nothing": (np.array([], dtype=np.int64), 3),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=["float32", "float64", "complex128"])
def rows(request, case):
    return np.random.default_rng(0).normal(size=(len(case[0]), 3)).astype(request.param)


def summed(rows, ids, count):
    total = np.zeros((count, rows.shape[1]), rows.dtype)
    for row, place in zip(rows, ids, strict=True):
        total[place] += row
    return total


def equal(found, rows, ids, count):
    """Sums of up to three terms may be rounded in another order, and what nobody has is nought."""
    wanted = summed(rows, ids, count)
    within = 4 * np.finfo(rows.dtype).eps * np.max(np.abs(rows), initial=0.0)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=within)
    assert not found[np.setdiff1d(np.arange(count), ids)].any()


def test_numpy(rows, case):
    equal(sums_by_id(rows, *case), rows, *case)


def test_torch_on_a_cpu_adds_in_order(rows, case, need):
    need("torch")
    import torch

    ids, count = case
    found = sums_by_id(torch.tensor(rows), torch.tensor(ids), count).numpy()
    np.testing.assert_array_equal(found, summed(rows, ids, count))


@pytest.mark.parametrize("at_once", [by_id.AT_ONCE, 10])
def test_torch_as_on_a_gpu(rows, case, at_once, need, monkeypatch):
    """By products, whole and in parts."""
    need("torch")
    import torch

    monkeypatch.setattr(by_id, "adds_in_order", lambda rows: False)
    monkeypatch.setattr(by_id, "AT_ONCE", at_once)
    ids, count = case
    equal(sums_by_id(torch.tensor(rows), torch.tensor(ids), count).numpy(), rows, *case)
