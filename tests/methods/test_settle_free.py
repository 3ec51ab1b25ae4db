"""The free phase at a tolerance that fits the nudge is one walk, though it is taken in passes."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.methods.base import nudge_size, settle_free, tolerance

SPEC = ne.models.layered_hopfield([6, 14, 3])


@pytest.mark.parametrize("max_steps", [500, 60, 35, 20, 3, 0])
def test_passes_are_one_walk_to_each_samples_own_tolerance(max_steps: int) -> None:
    net = ReferenceEngine(SPEC, seed=2)
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(16, 6)) * np.linspace(0.05, 3.0, 16)[:, None]
    # Targets near the network's own answers make nudges of very different sizes.
    y = net.predict(x) + rng.normal(size=(16, 3)) * np.logspace(-6, 0, 16)[:, None]
    how = ne.Relaxation(solver=ne.Picard(alpha=0.4), max_steps=max_steps)
    state, size = settle_free(net, x, net.target(y, 16), how, 0.1, None)
    np.testing.assert_array_equal(size, nudge_size(net, state, net.target(y, 16), 0.1))
    # The tolerance is the rule's at the state that is returned, and the status says whether it was met.
    met = state.residual <= tolerance(net, state, size, how)
    np.testing.assert_array_equal(state.converged, met)
    assert (state.status[~met] == ne.Status.MAX_STEPS).all()
    assert (state.steps[~met] == max_steps).all()
    assert (state.steps <= max_steps).all()
    for i, steps in enumerate(state.steps):
        alone = net.relax(x[i : i + 1], solver=how.solver, tol=None, max_steps=int(steps))
        for name in alone.states:
            # A sample alone is multiplied in another order than in its batch.
            np.testing.assert_allclose(state.states[name][i], alone.states[name][0], rtol=0, atol=1e-12)


def test_a_slow_sample_does_not_hold_the_others_back() -> None:
    """The budget of steps is each sample's own."""
    net = ReferenceEngine(SPEC, seed=2)
    x = np.random.default_rng(3).uniform(size=(8, 6)) * np.linspace(0.05, 3.0, 8)[:, None]
    y = np.full((8, 3), 0.25)
    for max_steps in (40, 80, 120):
        how = ne.Relaxation(max_steps=max_steps)
        together, _ = settle_free(net, x, net.target(y, 8), how, 0.1, None)
        for i in range(8):
            alone, _ = settle_free(net, x[i : i + 1], net.target(y[i : i + 1], 1), how, 0.1, None)
            assert together.status[i] == alone.status[0]
            assert together.steps[i] == alone.steps[0]


def test_in_float32_a_tolerance_below_rounding_is_not_chased() -> None:
    net = ne.compile(SPEC, backend="numba", dtype="float32", seed=2)
    x = np.random.default_rng(3).uniform(size=(8, 6))
    state, _ = settle_free(net, x, net.target(np.full((8, 3), 0.25), 8), ne.Relaxation(eta=1e-9), 0.1, None)
    assert state.converged.all()
    assert (state.steps < 500).all()


def test_evidence_counts_what_is_not_settled_and_what_is_mute() -> None:
    net = ReferenceEngine(SPEC, seed=2)
    x = np.random.default_rng(1).uniform(size=(4, 6))
    exact = net.output(net.relax(x, tol=1e-15, max_steps=5000))
    y = exact + np.array([[1.0], [1.0], [1.0], [0.0]])
    method = ne.EqProp(0.1)
    _, rough = method.gradient(net, x, y, free=ne.Relaxation(tol=None, max_steps=2))
    _, fine = method.gradient(net, x, y, free=ne.Relaxation(tol=1e-14, max_steps=5000))
    assert (rough.unsettled, fine.unsettled) == (4, 0)
    # The last sample is fitted: its nudge is rounding.
    assert (rough.mute, fine.mute) == (0, 1)
