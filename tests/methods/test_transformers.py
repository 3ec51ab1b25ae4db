"""Gradients of networks of tokens, as they start, against implicit differentiation and differences of the cost."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq import comparison

SETTLED = ne.Relaxation(solver=ne.Picard(1.0), tol=1e-14, max_steps=1000)
BETA = 1e-3

IMAGE = {"shape": (4, 4), "classes": 3, "patch": 2, "width": 8, "heads": 2, "patterns": 10}
WORDS = {"shape": (5,), "classes": 2, "vocabulary": 7, "width": 6, "heads": 3, "patterns": 8}
ENERGY = {
    "softmax": lambda: ne.models.energy_transformer(**IMAGE, memory="softplus"),
    "recall": lambda: ne.models.energy_transformer(**IMAGE, memory="logsumexp", depth=2, readout="mean"),
    "words": lambda: ne.models.energy_transformer(**WORDS, memory="softplus"),
    "ring": lambda: ne.models.energy_transformer(**IMAGE, memory="softplus", depth=4, tied_pairs=True),
}
KINKED = {
    "linear": lambda: ne.models.energy_transformer(**IMAGE, attention="linear"),
    "relu": lambda: ne.models.energy_transformer(**WORDS, depth=3),
}
RING = {"hidden": 10, "feed_forward": "gelu", "attention": "softmax"}
DIRECTED = {
    "looped": lambda: ne.models.looped_transformer(**small(IMAGE), **RING),
    "looped-words": lambda: ne.models.looped_transformer(**small(WORDS), **RING, depth=3),
    "looped-dropout": lambda: ne.models.looped_transformer(**small(IMAGE), **RING, depth=2, dropout=0.3),
}
SYMMETRIC = {
    "symmetric": lambda: ne.models.looped_transformer(
        **small(IMAGE), hidden=10, attention="softmax", symmetric=True, depth=3
    ),
    "symmetric-linear": lambda: ne.models.looped_transformer(**small(WORDS), hidden=10, symmetric=True),
}
EVERY = {**ENERGY, **KINKED, **DIRECTED, **SYMMETRIC}


def small(fields):
    """The fields that looped and energy transformers share."""
    return {name: value for name, value in fields.items() if name != "patterns"}


def case(spec, samples):
    """A settled network as it starts, whose positions and layer norms have been learned a little, and data."""
    net = ne.compile(spec, backend="reference", seed=3)
    rng = np.random.default_rng(0)
    net.set_parameters({name: value + 0.05 * rng.normal(size=value.shape) for name, value in net.parameters.items()})
    return net, samples(spec, 4, 5)


@pytest.mark.parametrize("name", ENERGY)
def test_centered_eqprop_is_exact_at_a_small_nudge(samples, name):
    net, data = case(ENERGY[name](), samples)
    exact, evidence = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
    assert evidence.free.converged.all()
    found, _ = ne.EqProp(BETA).gradient(net, data.x, data.y, free=SETTLED)
    assert comparison.relative(found, exact) <= 1e-6
    for group, value in exact.items():
        assert np.linalg.norm(found[group] - value) <= 1e-5 * np.linalg.norm(value) + 1e-9, group


@pytest.mark.parametrize("name", ENERGY)
def test_holomorphic_eqprop_needs_no_small_nudge(samples, name):
    net, data = case(ENERGY[name](), samples)
    exact, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
    found, _ = ne.HolomorphicEP(0.02, 4).gradient(net, data.x, data.y, free=SETTLED)
    assert comparison.relative(found, exact) <= 1e-8


@pytest.mark.parametrize("name", DIRECTED)
def test_asymep_is_exact_at_a_small_nudge_and_the_vector_field_is_not(samples, name):
    net, data = case(DIRECTED[name](), samples)
    exact, evidence = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
    assert evidence.free.converged.all()
    found, _ = ne.AsymEP(BETA).gradient(net, data.x, data.y, free=SETTLED)
    assert comparison.relative(found, exact) <= 1e-5
    plain, _ = ne.VectorField(BETA).gradient(net, data.x, data.y, free=SETTLED)
    assert comparison.relative(plain, exact) > 1e-2


@pytest.mark.parametrize("name", EVERY)
def test_dyadic_is_exact(samples, name):
    net, data = case(EVERY[name](), samples)
    exact, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
    found, _ = ne.DyadicEP().gradient(net, data.x, data.y, free=SETTLED)
    assert comparison.relative(found, exact) <= 1e-9


@pytest.mark.parametrize("name", EVERY)
def test_implicit_differentiation_is_the_derivative_of_the_cost(samples, name):
    """Along a random direction in each parameter, by central differences of the settled cost."""
    net, data = case(EVERY[name](), samples)
    exact, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
    start, rng, step = dict(net.parameters), np.random.default_rng(1), 1e-5

    def cost(name, value):
        net.set_parameters({**start, name: value})
        at = net.relax(data.x, solver=SETTLED.solver, tol=1e-14, max_steps=1000)
        return float(np.mean(net.cost(at, data.y)))

    for group, value in start.items():
        v = rng.normal(size=value.shape)
        change = (cost(group, value + step * v) - cost(group, value - step * v)) / (2 * step)
        # Truncation h² times third derivatives along |v|² ≤ 100; a relu's response jumps where a score crosses nought.
        np.testing.assert_allclose(np.sum(exact[group] * v), change, rtol=1e-6, atol=3e-8, err_msg=group)


@pytest.mark.parametrize("name", KINKED)
def test_kinks_have_no_answer_to_a_complex_nudge(samples, name):
    with pytest.raises(ne.SpecError, match=r"^synapses\[\d\]: \"block1_\w+\" is not analytic"):
        ne.HolomorphicEP().refuse(KINKED[name]())
