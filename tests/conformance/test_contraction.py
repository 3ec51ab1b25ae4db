"""Lipschitz constants on every engine that has the linear response, and the refusal of the others."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.abilities import Ability


def test_lipschitz_constants(backend, oracle, contracting, network, samples):
    net = backend.compile(network, contracting(network, 40))
    data = samples(network, 5, 40)
    if not backend.can(Ability.LINEAR_RESPONSE):
        with pytest.raises(
            ne.BackendError, match=rf'^lipschitz needs backend "{backend.name}" to apply the linear resp'
        ):
            ne.lipschitz(net, data.x)
        return
    reference = oracle(network, contracting(network, 40))
    # The same states, as a kink may put a unit on one side here and on the other side there.
    start = {"start": data.start, "tol": None, "max_steps": 0}
    found = ne.lipschitz(net, data.x, state=net.relax(data.x, **start), solver=ne.Picard(0.7))
    wanted = ne.lipschitz(reference, data.x, state=reference.relax(data.x, **start), solver=ne.Picard(0.7))
    assert found.converged.all()
    assert wanted.converged.all()
    # Products are known to fewer than 64 roundings; of the radius that is what its eigenvalue's condition makes of it.
    within = max(1e-8, 64 * backend.epsilon)
    np.testing.assert_allclose(found.response, wanted.response, rtol=within)
    np.testing.assert_allclose(found.step, wanted.step, rtol=within)
    np.testing.assert_allclose(found.radius, wanted.radius, rtol=0, atol=100 * max(1e-8, 100 * backend.epsilon))
    assert np.all(found.response <= 0.6 * (1 + within))


def test_within_the_budget_every_engine_settles(backend, network, samples):
    """Norms that no network could hold, projected on the engine's own arrays."""
    net = backend.compile(network)
    rng = np.random.default_rng(41)
    drawn = {name: 4.0 * rng.normal(size=shape) for name, shape in network.parameter_shapes.items()}
    # A layer norm whose gain is not above nought has none, and the network has nothing to hold.
    gains = [f"{p.name}.gamma" for p in network.free if p.activation.kind == "layer_norm"]
    net.set_parameters({**drawn, **{name: np.abs(drawn[name]) for name in gains}})
    budget = ne.NormBudget(0.7)
    kinds = {synapse.kind for synapse in network.synapses}
    if "gated_dense" in kinds:
        with pytest.raises(
            ne.SpecError, match=r'^synapses\[\d+\]: "\w+" of kind "gated_dense" has no bound on its resp'
        ):
            budget.project(network, net.parameters)
        return
    assert budget.value(network, net.parameters) > 1.0
    net.set_parameters(budget.project(network, net.parameters))
    assert budget.value(network, net.parameters) <= 0.7
    x = samples(network, 5, 41).x
    # 0.7 a step leaves 0.7⁶⁰ = 5e-10 of a start that is a few tens away.
    found = net.relax(x, solver=ne.Picard(1.0), tol=max(1e-6, 64 * backend.epsilon), max_steps=60)
    # A gate on the step may hold it back by any factor, so a number of steps is promised without one only.
    assert found.converged.all() or "step_gate" in kinds
    if backend.can(Ability.LINEAR_RESPONSE):
        assert np.all(ne.lipschitz(net, x, state=found).response <= 0.7 * (1 + 64 * backend.epsilon))
