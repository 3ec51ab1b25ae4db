"""Every engine equals the oracle on networks that nobody chose."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuro_eq as ne

# A step leaves the joint norm, 0.6, of an error, and a nudge of 0.1 adds 0.1: 90 steps leave 0.7⁹⁰ = 1e-14.
SETTLED = ne.Relaxation(solver=ne.Picard(alpha=1.0), tol=None, max_steps=90)
COMPARED = ne.Relaxation(solver=ne.Picard(alpha=1.0), tol=None, max_steps=40)
"""Two engines on the same schedule agree where they are, settled to rounding or not."""

BETA = 0.1


@pytest.fixture(scope="session")
def examples(backend):
    """Fewer where every new network starts a process."""
    return 4 if backend.name == "lava" else settings().max_examples


def test_trajectories_fixed_points_and_gradients(backend, examples, oracle, contracting, networks_of, samples, compare):
    @settings(max_examples=examples)
    @given(
        networks_of(backend.engine.synapse_kinds, backend.engine.activation_kinds),
        st.integers(0, 2**16),
        st.integers(1, 5),
    )
    def holds(spec, seed, batch):
        parameters = contracting(spec, seed)
        data = samples(spec, batch, seed)
        reference = oracle(spec, parameters)
        net = backend.compile(spec, parameters)
        within = backend.agreement.fixed_point
        for steps in (1, 3):
            how = {"start": data.start, "tol": None, "max_steps": steps}
            compare.states(net.relax(data.x, **how), net, reference.relax(data.x, **how), reference, within)
        found, evidence = ne.AsymEP(BETA).gradient(net, data.x, data.y, free=COMPARED)
        wanted, expected = ne.AsymEP(BETA).gradient(reference, data.x, data.y, free=COMPARED)
        for one, other in zip((evidence.free, *evidence.nudged), (expected.free, *expected.nudged), strict=True):
            compare.states(one, net, other, reference, within)
        left, right = compare.numbers(net, found), compare.numbers(reference, wanted)
        assert list(left) == list(right)
        floor = backend.agreement.noise / BETA
        for name, value in right.items():
            # A contrast of two states is known to noise/β times what it is multiplied with, here of order ten at most.
            atol = backend.agreement.gradient * np.max(np.abs(value)) + 10 * floor
            np.testing.assert_allclose(left[name], value, rtol=0, atol=atol, err_msg=name)

    holds()


def test_the_oracle_itself(networks, contracting, samples, oracle, compare):
    """EqProp's or AsymEP's error is O(β²) for smooth networks that nobody chose: halving β quarters it."""

    @given(networks, st.integers(0, 2**16))
    def holds(spec, seed):
        smooth = [
            p.model_copy(update={"activation": ne.activations.Tanh()})
            if not p.clamped and not p.activation.analytic
            else p
            for p in spec.populations
        ]
        spec = ne.Network(populations=smooth, synapses=[smoothed(s) for s in spec.synapses], cost=spec.cost)
        net = oracle(spec, contracting(spec, seed))
        data = samples(spec, 3, seed)
        exact, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
        method = ne.AsymEP if spec.asymmetric or has_directed(spec) else ne.EqProp
        coarse, fine = (
            compare.relative(method(beta).gradient(net, data.x, data.y, free=SETTLED)[0], exact)
            for beta in (2e-2, 1e-2)
        )
        # Once the error is down to rounding, 1e-15/β, it no longer falls.
        assert fine <= 0.3 * coarse + 1e-11

    holds()


def smoothed(synapse):
    """The synapse without its kinks."""
    if synapse.analytic:
        return synapse
    without = {
        "token_memory": {"form": "softplus"},
        "linear_attention": {"features": "identity"},
        "convolution": {"pool": "average"},
        "transformer_block": {"attention": "softmax", "feed_forward": "gelu"},
    }
    return synapse.model_copy(update=without[synapse.kind])


def has_directed(spec):
    return any(not isinstance(synapse, ne.synapses.SymmetricSynapse) for synapse in spec.synapses)
