"""Which arrays are finite, on both kinds of arrays."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_eq.arrays import all_finite

LARGE = np.full(1000, np.finfo(np.float32).max)
"""Whose sum is not finite."""


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_found(bad: float) -> None:
    torch = pytest.importorskip("torch")
    for place in (0, 511, 999):
        values = LARGE.copy()
        values[place] = bad
        assert not all_finite(values)
        assert not all_finite(values + 1j)
        assert not all_finite(torch.tensor(values))


def test_large_numbers_whole_numbers_and_none_are_finite() -> None:
    torch = pytest.importorskip("torch")
    for values in (LARGE, LARGE + 1j * LARGE, np.arange(5), np.zeros((0, 3)), np.array([True])):
        with np.errstate(all="raise"):
            assert all_finite(values)
        assert all_finite(torch.tensor(values))
