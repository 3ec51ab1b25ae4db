"""Anderson's weights against least squares, and what they bring: linear networks in as many steps as units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.settling.anderson import RIDGE, History, weights
from neuro_eq.synapses import SYNAPSES

EPSILON = 2.0**-53


# -- weights --------------------------------------------------------------------------------------------------------


def all_known(residuals):
    return np.ones(residuals.shape[:2], dtype=bool)


@given(st.integers(0, 2**16), st.integers(1, 6), st.integers(6, 30))
def test_the_weights_are_least_squares(seed, m, units):
    """``w`` minimises ``‖Σ w_i f_i‖² + λ‖w‖²`` under ``Σ w_i = 1``: as numpy's ``lstsq`` over ``w = e_m + N v``."""
    rng = np.random.default_rng(seed)
    residuals = rng.normal(size=(3, m, units))
    found = weights(residuals, all_known(residuals))
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=0, atol=m * EPSILON * np.abs(found).sum(axis=1).max())
    for row, w in zip(residuals, found, strict=True):
        ridge = RIDGE * np.sum(row * row) / m
        tall = np.concatenate([row.T, np.sqrt(ridge) * np.eye(m)])
        last = np.eye(m)[-1]
        null = np.eye(m)[:, :-1] - last[:, None]
        v, *_ = np.linalg.lstsq(tall @ null, -tall @ last, rcond=None)
        # The Gram matrix squares the condition of the residuals.
        np.testing.assert_allclose(w, last + null @ v, rtol=0, atol=8 * m * EPSILON * np.linalg.cond(tall) ** 2)


def test_equal_residuals_share_their_weight():
    """A singular Gram matrix: the ridge asks for the smallest weights, so twins get the same."""
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 1, 9))
    residuals = np.stack([one, one, other], axis=1)
    w = weights(residuals, all_known(residuals))[0]
    # Rounding in the Gram matrix, a few ε, over the ridge's 1e-8.
    assert abs(w[0] - w[1]) <= 10 * EPSILON / RIDGE
    both = weights(np.stack([one, other], axis=1), np.ones((1, 2), dtype=bool))[0]
    np.testing.assert_allclose([w[0] + w[1], w[2]], both, rtol=0, atol=10 * RIDGE)
    np.testing.assert_allclose(weights(np.stack([one] * 4, axis=1), np.ones((1, 4), dtype=bool)), 0.25, rtol=1e-6)


def test_unknown_residuals_count_for_nothing():
    rng = np.random.default_rng(1)
    residuals = rng.normal(size=(2, 5, 8))
    known = np.array([[True, False, True, True, False], [False, False, False, True, False]])
    found = weights(residuals, known)
    np.testing.assert_array_equal(found[~known], 0.0)
    for row, which, w in zip(residuals, known, found, strict=True):
        alone = weights(row[None, which], np.ones((1, which.sum()), dtype=bool))[0]
        np.testing.assert_allclose(w[which], alone, rtol=1e-12)
    np.testing.assert_array_equal(found[1, 3], 1.0)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_a_row_without_weights_says_so_and_leaves_the_others_alone(bad):
    rng = np.random.default_rng(2)
    residuals = rng.normal(size=(3, 4, 6))
    alone = weights(residuals, all_known(residuals))
    residuals[1] = bad
    with np.errstate(all="ignore"):
        found = weights(residuals, all_known(residuals))
    assert np.all(np.isnan(found[1]))
    np.testing.assert_array_equal(found[[0, 2]], alone[[0, 2]])


@given(st.integers(0, 2**16), st.integers(-60, 60))
def test_the_weights_do_not_depend_on_the_residuals_size(seed, exponent):
    """The trap of an absolute ridge: it outweighs small residuals, and convergence stalls where it does."""
    residuals = np.random.default_rng(seed).normal(size=(2, 4, 7))
    scaled = weights(residuals * 2.0**exponent, all_known(residuals))
    np.testing.assert_array_equal(scaled, weights(residuals, all_known(residuals)))


def test_a_row_whose_residual_grew_begins_again():
    history = History(3, np.zeros((2, 4)))
    for step, sizes in enumerate([(1.0, 1.0), (0.5, 0.5), (0.25, 0.5), (0.125, 0.75), (0.0625, 0.5)]):
        history.add(np.full((2, 4), float(step)), np.array(sizes)[:, None] * np.ones((2, 4)))
        count = history.known.sum(axis=1)
        np.testing.assert_array_equal(count, [min(step + 1, 3), (1, 2, 3, 1, 2)[step]])
        newest = history.images[history.known].max()
        assert newest == step


# -- steps ----------------------------------------------------------------------------------------------------------


def linear(radius, units=8):
    """One linear population with a symmetric synapse on itself, of known eigenvalues."""
    spec = ne.Network(
        populations=[ne.Population(name="x", shape=units, clamped=True), ne.Population(name="h", shape=units)],
        synapses=[ne.Dense(source="x", target="h"), ne.Dense(source="h", target="h")],
        cost={"kind": "squared_error", "population": "h"},
    )
    net = ne.compile(spec, backend="reference")
    rng = np.random.default_rng(4)
    vectors, _ = np.linalg.qr(rng.normal(size=(units, units)))
    W = vectors @ np.diag(np.linspace(-radius, radius, units)) @ vectors.T
    net.set_parameters({"x_h.weight": np.eye(units), "h_h.weight": W})
    return net, rng.normal(size=(5, units)), np.linalg.inv(np.eye(units) - net.parameters["h_h.weight"])


@pytest.mark.parametrize("radius", [0.97, 0.99, 0.999])
def test_a_stiff_linear_network_takes_as_many_steps_as_units(radius):
    """Who remembers one residual more than there are units takes the steps of GMRES, which ends after ``n``.  The
    ridge leaves ``√RIDGE·‖w‖ ≥ 1e-4`` of the residuals, which a few more steps take away."""
    net, x, inverse = linear(radius)
    tol = 1e-5
    found = net.relax(x, solver=ne.Anderson(m=9), tol=tol, max_steps=1000)
    picard = net.relax(x, solver=ne.Picard(alpha=1.0), tol=tol, max_steps=50_000)
    assert np.all(found.converged)
    assert np.all(picard.converged)
    assert np.all(found.steps <= 2 * 8)
    # From rest Picard's residuals are ``Wᵗ x``: along the slowest direction they fall by the radius each step.
    _, vectors = np.linalg.eigh(net.parameters["h_h.weight"])
    slowest = np.abs(x @ vectors[:, -1]) / np.sqrt(8)
    assert np.all(picard.steps >= np.log(tol / slowest) / np.log(radius))
    assert np.all(picard.steps >= 10 * found.steps)
    # ‖u − u*‖ ≤ ‖residual‖ ‖(I − W)⁻¹‖, and a residual is an RMS over 8 units.
    within = tol * np.sqrt(8) / (1 - radius)
    np.testing.assert_allclose(found.states["h"], x @ inverse.T, rtol=0, atol=within)


def test_convergence_does_not_stall(contracting, samples):
    """Down to the rounding of a drive, far below where an absolute ridge would stop it."""
    spec = ne.models.layered_hopfield([5, 6, 4, 3])
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 1, norm=0.9))
    data = samples(spec, 6, 0)
    found = net.relax(data.x, solver=ne.Anderson(), tol=1e-15, max_steps=60)
    assert np.all(found.converged)


def test_steps_scale_with_the_data():
    """A linear network's trajectory is linear in its input, so a power of two changes no digit."""
    net, x, _ = linear(0.95)
    how = {"solver": ne.Anderson(), "tol": None}
    for steps in (1, 3, 8, 15):
        found, small = (net.relax(factor * x, max_steps=steps, **how) for factor in (1.0, 2.0**-40))
        np.testing.assert_array_equal(small.states["h"], found.states["h"] * 2.0**-40)


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_a_memory_of_one_is_picard(contracting, samples, networks_of, alpha):
    """Where neither histories nor gates, which only Picard's steps know, make a step another."""
    plain = SYNAPSES.keys() - {"history", "step_gate"}

    @given(networks_of(plain, None), st.integers(0, 2**16))
    def holds(spec, seed):
        net = ne.compile(spec, backend="reference")
        net.set_parameters(contracting(spec, seed))
        data = samples(spec, 2, seed)
        how = {"start": data.start, "target": data.y, "beta": (0.1, -0.1), "tol": None, "max_steps": 4}
        found, wanted = (net.relax(data.x, solver=s, **how) for s in (ne.Anderson(1, alpha), ne.Picard(alpha)))
        for one, other in zip(found, wanted, strict=True):
            for name, value in other.states.items():
                np.testing.assert_array_equal(one.states[name], value)

    holds()


def test_the_first_step_is_picards_and_the_second_a_secant():
    """For one unit ``u = 0.9 u + x`` two residuals, ``x`` and ``0.9 x``, find the answer ``10 x``.

    The ridge shifts the weights −9 and 10 by ``λ·19/0.1²`` with λ = 0.9e-8, and the images differ by 0.9 x.
    """
    net, x, _ = linear(0.0, units=1)
    net.set_parameters({"h_h.weight": np.array([[0.9]])})
    once, twice = (net.relax(x, solver=ne.Anderson(), tol=None, max_steps=n).states["h"] for n in (1, 2))
    np.testing.assert_array_equal(once, x)
    np.testing.assert_allclose(twice, 10 * x, rtol=0.9 * 0.9e-8 * 19 / 0.1**2 / 10 * 1.01)


def test_a_sample_at_rest_stays_there(contracting, samples):
    """Its residuals are zero and its system singular; it takes Picard's step, which is none."""
    spec = ne.models.layered_hopfield([4, 5, 3], bias=False)
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 1))
    data = samples(spec, 3, 0)
    alone = net.relax(data.x, solver=ne.Anderson(), tol=None, max_steps=12)
    x = np.concatenate([data.x["input"], np.zeros((1, 4))])
    found = net.relax(x, solver=ne.Anderson(), tol=None, max_steps=12)
    np.testing.assert_array_equal(found.status, ne.Status.MAX_STEPS)
    for name, value in found.states.items():
        np.testing.assert_array_equal(value[3], 0.0)
        # Batches of three and four are summed in another order.
        np.testing.assert_allclose(value[:3], alone.states[name], rtol=0, atol=1e-12)
