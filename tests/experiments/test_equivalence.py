"""The gradient's experiment: nudged states are the adjoint, and the cosine goes where the residual is too large."""

from __future__ import annotations

import math

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.equivalence import NETWORKS
from neuro_eq.experiments.gradient_equivalence import BETAS, Equal, adjoint_error, against_residual, methods_of, run


@pytest.mark.parametrize("symmetric", [True, False])
def test_nudged_states_are_the_adjoint(symmetric: bool) -> None:
    """``(u_−β − u_β)/2β`` is ``(I − Dᵀρ')⁻¹ ∂C/∂a`` up to β²: a tenth of the nudge, a hundredth of the error."""
    spec = ne.models.looped_mlp(6, 8, 3, symmetric=symmetric)
    net = ne.compile(spec, "reference", seed=2)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 6)), rng.integers(0, 3, 5)
    method = ne.EqProp if symmetric else ne.AsymEP
    large, small = (adjoint_error(net, x, y, method(beta)) for beta in (0.1, 0.01))
    assert large / small == pytest.approx(100.0, rel=0.05)
    assert small < 1e-4


def test_a_loose_residual_loses_the_gradient() -> None:
    """Settled to the whole nudge nothing has moved yet; settled to a thousandth, all of it has."""
    net = ne.compile(ne.models.looped_mlp(6, 8, 3), "reference", seed=2)
    rng = np.random.default_rng(0)
    ratios, angles = against_residual(net, rng.normal(size=(5, 6)), rng.integers(0, 3, 5), ne.EqProp(0.01))
    assert np.all(np.diff(ratios) <= 0.0)
    assert angles[0] < 0.99
    assert angles[-1] > 0.9999


def test_every_rule_has_its_methods() -> None:
    directed = "`looped_mlp`, not symmetric"
    spec = NETWORKS[directed]()
    local = methods_of(Equal(network=directed, method="local"), spec)
    assert list(local.values()) == [ne.AsymEP(beta) for beta in BETAS]
    assert list(methods_of(Equal(network=directed, method="jfb"), spec).values()) == [ne.JFB()]
    assert methods_of(Equal(network="`looped_mlp`, symmetric", method="holomorphic"), spec) == {
        "": ne.HolomorphicEP(0.1, 4)
    }


def test_a_run_has_an_order_only_where_something_is_nudged() -> None:
    common = {"network": "`looped_mlp`, symmetric", "batches": 1, "size": 2}
    assert run(Equal(method="local", **common), 0).numbers["order"] == pytest.approx(2.0, abs=0.1)
    exact = run(Equal(method="dyadic", **common), 0).numbers
    assert "order" not in exact
    assert exact["error"] < 1e-9
    assert math.isfinite(exact["cosine"])
