"""What is measured is what can be computed by hand, and a bar that is missed is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.equivalence import KINKED, NETWORKS, SMOOTH, measure, measure_network
from neuro_eq.equivalence.bars import BETAS, at, is_smooth
from neuro_eq.equivalence.measuring import crossed_share, moved_start, pieces

READER = ne.Network(
    populations=[ne.Population(name="x", shape=3, clamped=True), ne.Population(name="o", shape=2)],
    synapses=[ne.Dense(source="x", target="o"), ne.Bias(target="o")],
    cost={"kind": "squared_error", "population": "o"},
)
"""``o = Wx + b``, nothing else."""


@pytest.mark.parametrize("beta", [0.5, 0.1, 0.01])
def test_the_error_of_a_linear_reader_is_known_in_closed_form(beta):
    """``a_β = (Wx + b + βy)/(1 + β)``, so the centered estimate is the true gradient over ``1 − β²``."""
    found = measure(READER, {"centered": ne.EqProp(beta)}, batches=3, size=4)
    wanted = beta * beta / (1.0 - beta * beta)
    # Phases settle to 1e-14, which a contrast divides by β.
    for group, error in found.error("centered").items():
        assert error == pytest.approx(wanted, abs=1e-12 / beta), group
    assert found.worst("centered") == pytest.approx(wanted, abs=1e-12 / beta)
    assert found.least_cosine("centered") == pytest.approx(1.0, abs=1e-12)
    assert set(found.cosine("centered")) == {"x_o.weight", "o_bias.bias", ""}


def test_a_group_without_a_true_gradient_is_compared_absolutely():
    spec = ne.models.gated_mlp(4, 5, 3)
    found = measure(spec, {"centered": ne.EqProp(0.1)}, batches=2, size=4)
    gate = [name for name in spec.parameter_shapes if "gate" in name]
    assert gate
    assert list(found.vanishing) == gate
    for name in gate:
        assert found.share[name] == 0.0
        assert found.error("centered")[name] == 0.0
        assert np.isnan(found.cosine("centered")[name])


def test_parameters_and_samples_differ_from_batch_to_batch_and_not_from_run_to_run():
    spec = ne.models.looped_mlp(4, 5, 3)
    once, again = (measure(spec, {"dyadic": ne.DyadicEP()}, batches=2, size=4) for _ in range(2))
    np.testing.assert_array_equal(once.size, again.size)
    assert once.size[0, -1] != once.size[1, -1]
    first, second = moved_start(spec, 0), moved_start(spec, 1)
    assert all(np.any(first[name] != second[name]) for name in first)


def test_a_network_that_does_not_settle_is_not_judged():
    spec = ne.models.layered_hopfield([4, 6, 5, 3], gain=0.2)
    with pytest.raises(ne.TrainingError, match=r'"layered_hopfield": \d of 4 samples of batch 0 did not settle'):
        measure(spec, {}, batches=1, size=4, settled=ne.Relaxation(tol=1e-14, max_steps=3))


def test_units_that_cross_are_counted():
    spec = ne.models.layered_hopfield([2, 4, 3], "hard_sigmoid")
    with ne.compile(spec, backend="reference") as net:
        rest = net.relax(np.zeros((1, 2)))
        low = replace(rest, states={"hidden1": np.array([[-1.0, 0.5, 0.5, 2.0]]), "output": np.array([[0.5, -1, 2.0]])})
        high = replace(
            rest, states={"hidden1": np.array([[0.5, 0.6, 1.5, 2.5]]), "output": np.array([[0.9, -2.0, -1.0]])}
        )
        assert pieces(net, low).tolist() == [0, 1, 1, 2, 1, 0, 2]
        assert crossed_share(net, (low, high)) == 3 / 7
        assert crossed_share(net, (low,)) == crossed_share(net, (low, low)) == 0.0


def test_networks_are_sorted_by_what_is_in_them():
    assert all(is_smooth(make()) for make in SMOOTH.values())
    assert not any(is_smooth(make()) for make in KINKED.values())
    names = {make().name for make in NETWORKS.values()}
    assert names == set(ne.models.MODELS) - {"toreqprop_prior"}, "the earlier network is a looped transformer"


@pytest.mark.parametrize(
    "title",
    [
        "`looped_transformer`, softmax, not symmetric",
        "`energy_transformer`, words, depth 2, memory of patterns",
        "`conv_hopfield`, max, hard sigmoid",
    ],
)
def test_the_bars_hold(title, need):
    need("torch")
    measured = measure_network(NETWORKS[title](), batches=2, size=4)
    assert list(measured.missed()) == []


def test_a_biased_method_misses_the_bars(need):
    """The plain vector field on a network without symmetry, under the name of a method that is none."""
    need("torch")
    spec = ne.models.looped_mlp(4, 6, 3, symmetric=False)
    measured = measure_network(spec, batches=2, size=4)
    assert list(measured.missed()) == []
    biased = measure(spec, {at(beta): ne.VectorField(beta) for beta in BETAS}, batches=2, size=4)
    estimates = {**measured.double.estimates, **biased.estimates}
    missed = list(replace(measured, double=replace(measured.double, estimates=estimates)).missed())
    assert any("the error of hidden_hidden.weight is" in sentence for sentence in missed)
    assert any("falls with β to the power" in sentence for sentence in missed)
