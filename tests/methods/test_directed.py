"""Forty tanh units with independent ``W_ij`` and ``W_ji``: who finds the gradient, and who cannot."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne

UNITS, INPUTS, BATCH = 40, 5, 16
SETTLED = ne.Relaxation(eta=1e-9, max_steps=3000)
"""Far below the error of a finite β, so that the bias is β's and the method's own."""

SPEC = ne.Network(
    populations=[
        ne.Population(name="x", shape=INPUTS, clamped=True),
        ne.Population(name="h", shape=UNITS, activation="tanh"),
    ],
    synapses=[ne.DirectedDense(source="x", target="h"), ne.DirectedDense(name="loop", source="h", target="h")],
    cost={"kind": "squared_error", "population": "h"},
)


@pytest.fixture(params=["reference", "numba"])
def case(request):
    """The network on an engine, data, and the exact gradient as one vector."""
    rng = np.random.default_rng(7)
    net = ne.compile(SPEC, backend=request.param)
    net.set_parameters(
        {
            "x_h.weight": rng.normal(size=(UNITS, INPUTS)) / np.sqrt(INPUTS),
            "loop.weight": 0.7 * rng.normal(size=(UNITS, UNITS)) / np.sqrt(UNITS),
        }
    )
    x, y = rng.normal(size=(BATCH, INPUTS)), np.tanh(rng.normal(size=(BATCH, UNITS)))
    exact, evidence = ne.ImplicitDifferentiation().gradient(net, x, y)
    assert evidence.free.converged.all()
    return net, x, y, vector(exact)


def vector(gradient):
    return np.concatenate([np.ravel(value) for value in gradient.values()])


def cosine(case, method):
    net, x, y, exact = case
    found = vector(method.gradient(net, x, y, free=SETTLED)[0])
    return float(found @ exact / np.linalg.norm(found) / np.linalg.norm(exact))


def test_the_vector_field_stays_beside_it_however_small_beta_is(case):
    betas = [0.1, 1e-2, 1e-3]
    found = [cosine(case, ne.VectorField(beta)) for beta in betas]
    # No error of β is left, and the angle is still there: a bias, not an error of the size of the nudge.
    assert 0.75 <= found[-1] <= 0.85
    assert abs(found[-1] - found[-2]) <= 1e-4
    assert abs(cosine(case, ne.VectorField(1e-3, "one-sided")) - found[-1]) <= 1e-3


def test_asymep_becomes_exact(case):
    net, x, y, exact = case
    found = [1.0 - cosine(case, ne.AsymEP(beta)) for beta in (0.1, 1e-2, 1e-3)]
    # A relative error ε ∝ β² costs ε²/2 ∝ β⁴ of a cosine.
    assert found[0] <= 1e-2
    assert found[1] <= 2e-4 * found[0]
    assert found[2] <= 1e-10
    error = vector(ne.AsymEP(1e-3).gradient(net, x, y, free=SETTLED)[0]) - exact
    assert np.linalg.norm(error) <= 1e-5 * np.linalg.norm(exact)


def test_dyadic_is_exact(case):
    net, x, y, exact = case
    found, evidence = ne.DyadicEP().gradient(net, x, y)
    assert np.all(evidence.adjoint_status == ne.Status.CONVERGED)
    assert np.linalg.norm(vector(found) - exact) <= 1e-9 * np.linalg.norm(exact)
