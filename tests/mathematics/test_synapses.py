"""Each synapse's methods are derivatives of one another, for every entry of the table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neuro_eq.synapses import SYNAPSES, SymmetricSynapse

SHAPES = {"p": (2, 3), "q": (4,), "r": (2, 3)}
STEP = 1e-5
"""Central differences of functions that are at most cubic: rounding ``2⁻⁵³·100/h`` and truncation below ``100 h²``."""
CENTRAL = 1e-8
BATCH = 4


def instances():
    """Every synapse between every choice of populations that it accepts: different ends, and one with itself."""
    made = {}
    for kind, cls in SYNAPSES.items():
        ends = [name for name in ("source", "target") if name in cls.model_fields]
        assert ends, f'"{kind}" has neither a source nor a target: say here how its populations are named'
        accepted = 0
        for chosen in itertools.product(SHAPES, repeat=len(ends)):
            synapse = cls(**dict(zip(ends, chosen, strict=True)))
            if synapse.shape_problem(SHAPES) is None:
                made[f"{kind}-{'-'.join(chosen)}"] = synapse
                accepted += 1
        assert accepted, f'"{kind}" accepts none of the shapes {SHAPES}: add one that it does'
    return made


INSTANCES = instances()


@pytest.fixture(params=INSTANCES)
def synapse(request):
    """Every synapse between every choice of populations."""
    return INSTANCES[request.param]


@pytest.fixture(params=[name for name, synapse in INSTANCES.items() if isinstance(synapse, SymmetricSynapse)])
def symmetric(request):
    """Every synapse that has an energy, between every choice of populations."""
    return INSTANCES[request.param]


def at(synapse):
    """Activities, parameters and a generator for directions."""
    rng = np.random.default_rng(7)
    a = {name: rng.normal(size=(BATCH, *SHAPES[name])) for name in synapse.populations}
    drawn = {name: rng.normal(size=shape) for name, shape in synapse.parameter_shapes(SHAPES).items()}
    return a, synapse.project(drawn), rng


def direction(a, rng):
    return {name: rng.normal(size=value.shape) for name, value in a.items()}


def along(values, step, directions):
    return {name: value + step * directions[name] for name, value in values.items()}


def inner(left, right):
    """Per sample; a population that one side leaves out has no part in it."""
    return sum(np.sum((left[name] * right[name]).reshape(BATCH, -1), axis=1) for name in left if name in right)


def test_start_values_have_their_shapes_and_are_admissible(synapse):
    start = synapse.initial(SHAPES, np.random.default_rng(0))
    assert {name: value.shape for name, value in start.items()} == synapse.parameter_shapes(SHAPES)
    for name, value in synapse.project(start).items():
        np.testing.assert_array_equal(value, start[name])


def test_projection_is_a_projection(synapse):
    _, theta, _ = at(synapse)
    for name, value in synapse.project(theta).items():
        np.testing.assert_allclose(value, theta[name], rtol=1e-15)


def test_drive_is_minus_the_gradient_of_the_energy(symmetric):
    a, theta, rng = at(symmetric)
    assert set(symmetric.driven) == set(symmetric.populations)
    drive = symmetric.drive(a, theta, symmetric.populations)
    assert set(drive) == set(symmetric.populations)
    for _ in range(3):
        v = direction(a, rng)
        change = (symmetric.energy(along(a, STEP, v), theta) - symmetric.energy(along(a, -STEP, v), theta)) / (2 * STEP)
        np.testing.assert_allclose(inner(drive, v), -change, rtol=0, atol=CENTRAL)


def test_drive_is_minus_the_gradient_of_the_energy_to_the_last_bit(symmetric):
    """By a complex step, which also shows that nothing is conjugated on the way."""
    a, theta, rng = at(symmetric)
    v = direction(a, rng)
    change = np.imag(symmetric.energy(along(a, 1e-30j, v), theta)) / 1e-30
    np.testing.assert_allclose(inner(symmetric.drive(a, theta, symmetric.populations), v), -change, rtol=0, atol=1e-12)


def test_gradient_is_the_derivative_of_the_mean_energy(symmetric):
    a, theta, rng = at(symmetric)
    gradient = symmetric.gradient(a, theta)
    assert {name: value.shape for name, value in gradient.items()} == symmetric.parameter_shapes(SHAPES)
    v = {name: rng.normal(size=value.shape) for name, value in theta.items()}
    change = np.mean(symmetric.energy(a, along(theta, STEP, v)) - symmetric.energy(a, along(theta, -STEP, v))) / (
        2 * STEP
    )
    np.testing.assert_allclose(sum(np.sum(gradient[name] * v[name]) for name in v), change, rtol=0, atol=CENTRAL)


def test_response_is_the_derivative_of_the_drive(synapse):
    a, theta, rng = at(synapse)
    delta = direction(a, rng)
    response = synapse.response(a, delta, theta, synapse.populations)
    up, down = (synapse.drive(along(a, sign * STEP, delta), theta, synapse.populations) for sign in (1, -1))
    assert set(response) <= set(up)
    for name, value in up.items():
        change = (value - down[name]) / (2 * STEP)
        np.testing.assert_allclose(response.get(name, 0.0 * change), change, rtol=0, atol=CENTRAL)


def test_transposed_is_the_adjoint_of_the_response(synapse):
    """``⟨λ, D δ⟩ = ⟨Dᵀ λ, δ⟩``, also where only some of the populations are free."""
    a, theta, rng = at(synapse)
    for size in range(1, len(synapse.populations) + 1):
        for onto in itertools.combinations(synapse.populations, size):
            zero = {name: 0.0 * value for name, value in a.items()}
            lam = {**zero, **{name: rng.normal(size=a[name].shape) for name in onto}}
            delta = {**zero, **{name: rng.normal(size=a[name].shape) for name in onto}}
            response = synapse.response(a, delta, theta, onto)
            transposed = synapse.transposed(a, lam, theta, onto)
            assert set(response) <= set(onto)
            assert set(transposed) <= set(onto)
            left, right = inner(response, lam), inner(transposed, delta)
            np.testing.assert_allclose(left + np.zeros(BATCH), right, rtol=0, atol=1e-12)


def test_a_symmetric_response_is_its_own_transpose(symmetric):
    a, theta, rng = at(symmetric)
    delta, lam = direction(a, rng), direction(a, rng)
    left = inner(symmetric.response(a, delta, theta, symmetric.populations), lam)
    right = inner(symmetric.response(a, lam, theta, symmetric.populations), delta)
    np.testing.assert_allclose(left + np.zeros(BATCH), right, rtol=0, atol=1e-12)


def test_drive_vjp_is_the_derivative_of_the_drive_by_the_parameters(synapse):
    a, theta, rng = at(synapse)
    lam = direction(a, rng)
    found = synapse.drive_vjp(a, lam, theta)
    assert {name: value.shape for name, value in found.items()} == synapse.parameter_shapes(SHAPES)
    # Along admissible directions: a symmetric self-synapse has no others.
    v = synapse.project({name: rng.normal(size=value.shape) for name, value in theta.items()})
    up, down = (synapse.drive(a, along(theta, sign * STEP, v), synapse.driven) for sign in (1, -1))
    change = np.mean(inner(lam, {name: (up[name] - down[name]) / (2 * STEP) for name in up}))
    np.testing.assert_allclose(sum(np.sum(found[name] * v[name]) for name in v), change, rtol=0, atol=CENTRAL)


def test_drive_onto_some_is_a_part_of_drive_onto_all(synapse):
    a, theta, _ = at(synapse)
    whole = synapse.drive(a, theta, synapse.driven)
    for name in synapse.driven:
        part = synapse.drive(a, theta, [name])
        np.testing.assert_array_equal(part[name], whole[name])
    assert set(whole) == set(synapse.driven)
    assert whole.keys() <= set(synapse.populations)
    for name, value in whole.items():
        assert value.shape == a[name].shape


def test_a_still_drive_does_not_depend_on_what_moves(synapse):
    a, theta, rng = at(synapse)
    for size in range(len(synapse.populations) + 1):
        for clamped in itertools.combinations(synapse.populations, size):
            free = [name for name in synapse.populations if name not in clamped]
            moved = {**a, **{name: rng.normal(size=a[name].shape) for name in free}}
            before, after = synapse.drive(a, theta, free), synapse.drive(moved, theta, free)
            same = all(np.array_equal(before[name], after[name]) for name in before)
            if synapse.still(clamped):
                assert same
            elif before:
                assert not same, "a drive that does not move may be computed once a phase"


def test_sources_are_what_the_drive_depends_on(synapse):
    a, theta, rng = at(synapse)
    for name in set(synapse.populations) - set(synapse.sources):
        moved = {**a, name: rng.normal(size=a[name].shape)}
        before, after = synapse.drive(a, theta, synapse.driven), synapse.drive(moved, theta, synapse.driven)
        for one in before:
            np.testing.assert_array_equal(before[one], after[one])
