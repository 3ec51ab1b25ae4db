"""Costs and their derivatives, for every entry of the table."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_eq.costs import COSTS

SHAPES = {"p": (2, 3), "q": (4,)}
CASES = [
    (kind, population) for kind in COSTS for population in SHAPES if (kind, population) != ("token_cross_entropy", "q")
]
"""Every cost on every shape that it accepts."""
BATCH = 4
STEP = 1e-5
"""Central differences: truncation ``h²`` times third derivatives of order one, rounding ``2⁻⁵³·100/h``."""
CENTRAL = 1e-8


@pytest.fixture(params=CASES, ids=str)
def case(request):
    """Every cost on every shape, with activities, targets, parameters and directions."""
    kind, population = request.param
    cls = COSTS[kind]
    extra = {"classes": 3} if "classes" in cls.model_fields else {}
    cost = cls(population=population, **extra)
    rng = np.random.default_rng(3)
    a = {name: rng.normal(size=(BATCH, *shape)) for name, shape in SHAPES.items()}
    outputs = cost.outputs(SHAPES)
    # Targets that are distributions suit every cost.
    y = rng.dirichlet(np.ones(outputs), size=BATCH)
    theta = {name: rng.normal(size=shape) for name, shape in cost.parameter_shapes(SHAPES).items()}
    return cost, a, y, theta, rng


def test_activity_gradient(case):
    cost, a, y, theta, rng = case
    gradient = cost.activity_gradient(a, y, theta)
    assert gradient.shape == a[cost.population].shape
    v = rng.normal(size=gradient.shape)
    up, down = ({**a, cost.population: a[cost.population] + sign * STEP * v} for sign in (1, -1))
    change = (cost.value(up, y, theta) - cost.value(down, y, theta)) / (2 * STEP)
    np.testing.assert_allclose(np.sum((gradient * v).reshape(BATCH, -1), axis=1), change, rtol=0, atol=CENTRAL)


def test_parameter_gradient(case):
    cost, a, y, theta, rng = case
    gradient = cost.parameter_gradient(a, y, theta)
    assert {name: value.shape for name, value in gradient.items()} == cost.parameter_shapes(SHAPES)
    for name, value in theta.items():
        v = rng.normal(size=value.shape)
        up, down = ({**theta, name: value + sign * STEP * v} for sign in (1, -1))
        change = np.mean(cost.value(a, y, up) - cost.value(a, y, down)) / (2 * STEP)
        np.testing.assert_allclose(np.sum(gradient[name] * v), change, rtol=0, atol=CENTRAL)


def test_start_values_have_their_shapes(case):
    cost = case[0]
    start = cost.initial(SHAPES, np.random.default_rng(0))
    assert {name: value.shape for name, value in start.items()} == cost.parameter_shapes(SHAPES)


def test_output_has_its_shape_and_a_met_target_has_no_gradient(case):
    cost, a, _, theta, _ = case
    met = cost.output(a, theta)
    assert met.shape == (BATCH, cost.outputs(SHAPES))
    # A sum of fewer than 64 roundings.
    np.testing.assert_allclose(cost.activity_gradient(a, met, theta), 0.0, atol=64 * 2.0**-53)
    worse = cost.value(a, np.roll(met, 1, axis=1), theta)
    assert np.all(cost.value(a, met, theta) <= worse)


def test_squared_error_has_its_half():
    cost = COSTS["squared_error"](population="q")
    a = {"q": np.array([[1.0, 2.0, 0.0, 0.0]])}
    np.testing.assert_array_equal(cost.value(a, np.zeros((1, 4)), {}), [2.5])


def test_cross_entropy_far_from_its_target_is_finite():
    cost = COSTS["cross_entropy"](population="q", classes=2)
    theta = {"weight": np.array([[1e3, 0, 0, 0], [-1e3, 0, 0, 0]]), "bias": np.zeros(2)}
    value = cost.value({"q": np.array([[1.0, 0, 0, 0]])}, np.array([[0.0, 1.0]]), theta)
    np.testing.assert_allclose(value, [2000.0])
