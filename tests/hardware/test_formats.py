"""The chip's number formats: identities that hold for every integer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_eq.hardware import formats
from neuro_eq.hardware.formats import SignMode

states = st.integers(formats.STATE_LOW, formats.STATE_HIGH)
decays = st.integers(0, formats.DECAY_UNITY)


def one(function: Callable[..., np.ndarray], x: int, *arguments: int) -> int:
    """The function of one number."""
    return int(function(np.array([x]), *arguments)[0])


@given(states, decays)
def test_what_leaks_and_what_stays_is_all_but_the_last_bit(x: int, d: int) -> None:
    """``⌊|x|(1−δ)⌋ + ⌊|x|δ⌋`` is ``|x|``, or one less where neither is whole."""
    whole = abs(x) * d % formats.DECAY_UNITY == 0
    assert abs(one(formats.decayed, x, d)) + abs(one(formats.leaked, x, d)) == abs(x) - (not whole)


@given(states, decays)
def test_decay_is_odd_and_never_grows(x: int, d: int) -> None:
    assert one(formats.decayed, -x, d) == -one(formats.decayed, x, d)
    assert abs(one(formats.decayed, x, d)) <= abs(x)


def test_decay_at_its_ends_forgets_all_or_nothing() -> None:
    x = np.array([-5, 0, 7, formats.STATE_HIGH])
    np.testing.assert_array_equal(formats.decayed(x, formats.DECAY_UNITY), 0)
    np.testing.assert_array_equal(formats.decayed(x, 0), x)


@given(st.integers(-(2**40), 2**40), st.integers(2, 30))
def test_wrapping_is_the_remainder_nearest_zero(x: int, bits: int) -> None:
    found = one(formats.wrapped, x, bits)
    assert (found - x) % 2**bits == 0
    assert -(2 ** (bits - 1)) <= found < 2 ** (bits - 1)


@given(st.integers(-(2**40), 2**40), st.integers(-(2**40), 2**40))
def test_sums_may_wrap_on_the_way_without_harm(x: int, y: int) -> None:
    """Wrapping once at the end is wrapping after every term."""
    assert one(formats.wrapped, one(formats.wrapped, x) + y) == one(formats.wrapped, x + y)


@given(st.integers(-(2**40), 2**40))
def test_saturation_is_the_nearest_potential(x: int) -> None:
    limit = formats.STATE_HIGH
    assert one(formats.saturated, x) == max(-limit, min(limit, x))


@given(st.integers(-(2**30), 2**30), st.integers(0, 8))
def test_a_negative_exponent_cuts_what_a_positive_one_keeps(x: int, e: int) -> None:
    assert one(formats.shifted, x, e) == x * 2**e
    assert one(formats.shifted, x, -e) == x // 2**e
    assert one(formats.shifted, one(formats.shifted, x, e), -e) == x


@given(st.integers(-(2**30), 2**30), st.integers(1, 12))
def test_rounding_errs_by_half_at_most(x: int, k: int) -> None:
    error = one(formats.rounded, x, k) * 2**k - x
    assert -(2 ** (k - 1)) < error <= 2 ** (k - 1)


@pytest.mark.parametrize("mode", SignMode)
def test_every_mantissa_of_a_mode_is_kept_and_there_are_256_of_them(mode: SignMode) -> None:
    low, high = mode.limits
    kept = np.arange(low, high + 1, mode.step)
    assert kept.size == 256
    np.testing.assert_array_equal(formats.truncated(kept, mode), kept)
    every = np.arange(-1000, 1000)
    assert set(formats.truncated(every, mode).tolist()) == set(kept.tolist())


def test_modes_follow_signs() -> None:
    assert formats.sign_mode(np.array([0.0, 1.0])) is SignMode.EXCITATORY
    assert formats.sign_mode(np.array([-2.0, 0.0])) is SignMode.INHIBITORY
    assert formats.sign_mode(np.array([-2.0, 1.0])) is SignMode.MIXED
