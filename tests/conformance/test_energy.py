"""The free phase of an energy network goes downhill."""

from __future__ import annotations

import math

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.synapses.dense import Bilinear


def curvature(spec: ne.Network, parameters: dict[str, np.ndarray], reaches) -> float:
    """``κ = max(0, λ_max ∂²e)`` over the activities of the free populations, from the weights alone.

    A memory is concave, so it can only lower it; of attention its bound is all that is known.
    """
    starts = dict(zip([p.name for p in spec.free], np.cumsum([0, *(p.size for p in spec.free)]), strict=False))
    hessian = np.zeros((spec.free_units, spec.free_units))
    bent = dict.fromkeys(starts, 0.0)
    for synapse in spec.synapses:
        if isinstance(synapse, ne.synapses.Convolution) and {synapse.source, synapse.target} <= set(starts):
            own = {"weight": parameters[f"{synapse.name}.weight"]}
            # Each of the two ends may have this from each of its convolutions.
            for (name, _), bound in synapse.response_bound(own).items():
                bent[name] += bound
        if synapse.kind.endswith("attention"):
            own = {name: parameters[f"{synapse.name}.{name}"] for name in ("query", "key")}
            for (name, _), bound in synapse.response_bound_within(own, reaches(spec, parameters)).items():
                bent[name] += bound
        if not isinstance(synapse, Bilinear) or synapse.source not in starts or synapse.target not in starts:
            continue
        weight = parameters[f"{synapse.name}.weight"]
        if isinstance(synapse, ne.synapses.TokenDense):
            weight = np.kron(np.eye(spec.shapes[synapse.source][0]), weight)
        post = slice(starts[synapse.target], starts[synapse.target] + weight.shape[0])
        pre = slice(starts[synapse.source], starts[synapse.source] + weight.shape[1])
        hessian[post, pre] -= weight
        if not synapse.on_itself:
            hessian[pre, post] -= weight.T
    assert np.array_equal(hessian, hessian.T)
    return max(0.0, float(np.linalg.eigvalsh(hessian)[-1])) + max(bent.values())


def energies(net, data, alpha, steps, watch):
    """``G`` of every sample before the first step and after each."""
    net.relax(data.x, start=data.start, solver=ne.Picard(alpha=alpha), tol=None, max_steps=steps, record=watch)
    assert len(watch.snapshots) == steps + 1
    values = []
    for (states,) in watch.snapshots:
        at = net.relax(data.x, start=states, tol=None, max_steps=0)
        values.append(net.energy(at))
    total = np.array([np.asarray(net.to_numpy(value.total), dtype=np.float64) for value in values])
    size = max(float(np.max(np.abs(net.to_numpy(term)))) for value in values for term in value.terms.values())
    return total, size * len(values[0].terms)


@pytest.mark.parametrize("norm", [0.9, 3.0])
def test_energy_never_rises_below_the_bound(backend, contracting, reaches, symmetric_network, samples, watch, norm):
    """``α = 1/(1 + κ·sup‖ρ'‖)`` descends, also where the network is no contraction."""
    spec = symmetric_network
    if any(isinstance(synapse, ne.synapses.History) for synapse in spec.synapses):
        pytest.skip("a step that follows past activities is no step down the energy")
    parameters = stretched(spec, contracting(spec, 30), norm)
    net = backend.compile(spec, parameters)
    slope = max(
        p.activation.slope_sup(
            {name: parameters[f"{p.name}.{name}"] for name in p.activation.parameter_shapes(p.shape)}
        )
        for p in spec.free
    )
    alpha = 1.0 / (1.0 + curvature(spec, parameters, reaches) * slope)
    # Far from rest, so that there is something to descend.
    data = samples(spec, 4, 32)
    data.start = {name: 3.0 * value for name, value in data.start.items()}
    total, size = energies(net, data, alpha, 25, watch)
    # Each term is a sum of fewer than 64 products, and rounding of the state moves it as much.
    rounding = 128 * backend.epsilon * size
    assert np.all(np.diff(total, axis=0) <= rounding)
    assert np.all(total[0] - total[-1] > 100 * rounding), "there must be something to descend"


def stretched(spec, parameters, norm):
    """Weights between free populations multiplied: ``contracting`` gives 0.6, and the bound holds for any."""
    free = {p.name for p in spec.free}
    scaled = dict(parameters)
    for synapse in spec.synapses:
        if isinstance(synapse, ne.Dense) and {synapse.source, synapse.target} <= free:
            scaled[f"{synapse.name}.weight"] = np.float64(np.float32(parameters[f"{synapse.name}.weight"] * norm / 0.6))
    return scaled


def test_energy_may_rise_above_the_bound(backend, reaches, samples, watch):
    """The claim above can fail: with strong inhibition, ``κ = 6``, a whole step overshoots."""
    spec = ne.models.looped_mlp(2, 3, 2)
    parameters = spec.initial_parameters(0)
    parameters["hidden_hidden.weight"] = -6.0 * np.eye(3)
    assert math.isclose(curvature(spec, parameters, reaches), 6.0)
    net = backend.compile(spec, parameters)
    data = samples(spec, 4, 33)
    data.start = {name: 0.1 * value for name, value in data.start.items()}
    total, size = energies(net, data, 1.0, 4, watch)
    assert np.max(np.diff(total, axis=0)) > 1e-3 * size


def test_energy_is_the_sum_of_its_terms(backend, contracting, network, samples):
    net = backend.compile(network, contracting(network, 31))
    data = samples(network, 3, 34)
    state = net.relax(data.x, tol=None, max_steps=3)
    if not network.has_energy:
        with pytest.raises(ne.SpecError, match="only symmetric synapses have an energy"):
            net.energy(state)
        return
    energy = net.energy(state)
    terms = [np.asarray(net.to_numpy(term), dtype=np.float64) for term in energy.terms.values()]
    size = np.sum(np.abs(terms), axis=0)
    np.testing.assert_array_less(
        np.abs(np.sum(terms, axis=0) - net.to_numpy(energy.total)), len(terms) * backend.epsilon * size + 1e-300
    )
    assert set(energy.terms) == {p.name for p in network.free} | {s.name for s in network.synapses}
