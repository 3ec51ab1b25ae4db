"""Optimisers against their equations."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuro_eq.errors import SpecError
from neuro_eq.optimizers import SGD, Adam, Constant, Cosine


def test_sgd_is_its_equation() -> None:
    theta = {"w": np.array([1.0, -2.0])}
    stepped, state = SGD(0.5).step(theta, {"w": np.array([0.2, -0.4])}, SGD(0.5).start(theta))
    np.testing.assert_array_equal(stepped["w"], [0.9, -1.8])
    assert state.steps == 1
    np.testing.assert_array_equal(theta["w"], [1.0, -2.0])


def test_adams_first_step_has_the_length_of_the_learning_rate() -> None:
    """With bias correction m̂ = g and v̂ = g², so the first step is lr·g/(|g| + ε): its sign times the rate."""
    theta = {"w": np.array([3.0, 3.0, 3.0])}
    gradient = {"w": np.array([1e-3, -5.0, 1e3])}
    stepped, _ = Adam(1e-2).step(theta, gradient, Adam(1e-2).start(theta))
    np.testing.assert_allclose(stepped["w"] - 3.0, [-1e-2, 1e-2, -1e-2], rtol=2e-5)


def test_adam_under_a_constant_gradient_keeps_its_pace() -> None:
    """Both corrected moments stay g and g² for ever, so n steps move by n·lr."""
    adam = Adam(1e-2)
    theta = {"w": np.array([0.0])}
    state = adam.start(theta)
    for _ in range(50):
        theta, state = adam.step(theta, {"w": np.array([4.0])}, state)
    np.testing.assert_allclose(theta["w"], -0.5, rtol=1e-6)


def test_the_schedule_scales_the_step() -> None:
    theta = {"w": np.array([1.0])}
    stepped, _ = SGD(1.0).step(theta, {"w": np.array([1.0])}, SGD(1.0).start(theta), scale=0.25)
    np.testing.assert_array_equal(stepped["w"], [0.75])


@pytest.mark.parametrize(("progress", "scale"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0), (1 / 3, 0.75)])
def test_cosine_falls_from_one_to_zero(progress: float, scale: float) -> None:
    assert math.isclose(Cosine().scale(progress), scale, abs_tol=1e-15)
    assert Constant().scale(progress) == 1.0


def test_a_learning_rate_must_be_positive() -> None:
    with pytest.raises(SpecError, match=r"^lr: .*greater than 0 \(found 0.0\)$"):
        Adam(0.0)
