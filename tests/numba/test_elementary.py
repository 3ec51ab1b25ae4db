"""The vector forms of the elementary functions against float64."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from neuro_eq.backends.numba import elementary


def _applied(function):  # type: ignore[no-untyped-def]
    @njit(fastmath={"contract"})
    def apply(x, out):  # type: ignore[no-untyped-def]
        for i in range(x.size):
            out[i] = function(x[i])

    return apply


CASES = {
    "exp": (elementary.exp, np.exp, (-87.0, 88.0)),
    "tanh": (elementary.tanh, np.tanh, (-20.0, 20.0)),
    "logistic": (elementary.logistic, lambda x: 1.0 / (1.0 + np.exp(-x)), (-80.0, 80.0)),
}

UNITS = {"exp": 3.0, "tanh": 6.0, "logistic": 3.0}


@pytest.mark.parametrize("name", CASES)
def test_float32_within_a_few_units_in_the_last_place(name: str) -> None:
    function, exact, (low, high) = CASES[name]
    small = np.geomspace(1e-30, 1.0, 20_000)
    x = np.concatenate([np.linspace(low, high, 400_000), small, -small]).astype(np.float32)
    out = np.empty_like(x)
    _applied(function)(x, out)
    wanted = exact(x.astype(np.float64))
    assert np.max(np.abs(out - wanted) / np.spacing(np.abs(wanted).astype(np.float32))) <= UNITS[name]


@pytest.mark.parametrize("name", CASES)
def test_float64_is_the_librarys(name: str) -> None:
    function, exact, _ = CASES[name]
    x = np.linspace(-20.0, 20.0, 10_001)
    out = np.empty_like(x)
    _applied(function)(x, out)
    np.testing.assert_allclose(out, exact(x), rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("name", CASES)
def test_the_ends_of_the_range(name: str) -> None:
    function, _, _ = CASES[name]
    x = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38], np.float32)
    out = np.empty_like(x)
    _applied(function)(x, out)
    assert np.isnan(out[0])
    top, bottom = {"exp": (1e38, 2e-38), "tanh": (1.0 - 2.0**-24, 2.0**-24 - 1.0), "logistic": (1.0, 1e-37)}[name]
    assert np.all(out[[1, 3]] >= top)
    assert np.all(out[[2, 4]] <= bottom)
