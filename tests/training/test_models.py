"""Every ready-made network with one hidden population learns from its defaults, and goes on settling."""

from __future__ import annotations

import pytest

import neuro_eq as ne
from neuro_eq.datasets import load_data

MODELS = {
    "looped": (lambda: ne.models.looped_mlp(64, 32, 10), ne.EqProp(0.2)),
    "toroidal": (lambda: ne.models.toroidal_mlp(64, 32, 10), ne.EqProp(0.2)),
    "toroidal-directed": (lambda: ne.models.toroidal_mlp(64, 32, 10, symmetric=False), ne.AsymEP(0.2)),
    "modern-hopfield": (lambda: ne.models.modern_hopfield_mlp(64, 32, 10), ne.EqProp(0.2)),
    "gated-step": (lambda: ne.models.gated_mlp(64, 32, 10), ne.EqProp(0.2)),
    "gated-drive": (lambda: ne.models.gated_mlp(64, 32, 10, gate="drive"), ne.AsymEP(0.2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_some_digits(name):
    """Ten classes, so a guess is right once in ten; no sample diverges, which training would refuse."""
    make, method = MODELS[name]
    net = ne.compile(make(), backend="reference")
    gates = {key: net.to_numpy(value).copy() for key, value in net.parameters.items() if "_gate." in key}
    data = load_data("digits", 0).subset(320, 200)
    history = ne.train(net, data, method=method, optimizer=ne.Adam(5e-3), epochs=4)
    assert history.last.test_accuracy > 0.75
    assert history.last.unconverged < 0.05
    for key, value in gates.items():
        assert (net.to_numpy(net.parameters[key]) == value).all(), "a gate on steps does not learn"


IMAGES = {
    "energy-transformer": (lambda: ne.models.energy_transformer((8, 8), 10, patch=4, width=8), ne.EqProp(0.5)),
    "looped-transformer": (
        lambda: ne.models.looped_transformer((8, 8), 10, patch=4, width=8, hidden=16, dropout=0.1), ne.AsymEP(0.5)
    ),
    "looped-transformer-symmetric": (
        lambda: ne.models.looped_transformer((8, 8), 10, patch=4, width=8, symmetric=True), ne.EqProp(0.5)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", IMAGES)
def test_images_in_forty_steps(name):
    """Small ones and few steps, as these are slow on the reference engine: four times as good as a guess."""
    make, method = IMAGES[name]
    net = ne.compile(make(), backend="reference")
    data = load_data("digits", 0).subset(160, 200)
    settled = ne.Relaxation(max_steps=200)
    history = ne.train(
        net, data, method=method, optimizer=ne.Adam(5e-3), epochs=4, batch_size=16, free=settled, nudged=settled
    )
    assert history.last.test_accuracy > 0.4
    assert history.last.test_cost < 0.8 * history.epochs[0].test_cost
    assert history.last.unconverged < 0.05


def test_maps_learn_some_digits():
    net = ne.compile(ne.models.conv_hopfield((8, 8), 10, channels=(6, 12)), backend="reference")
    data = load_data("digits", 0).subset(160, 200)
    settled = ne.Relaxation(max_steps=150)
    history = ne.train(
        net, data, method=ne.EqProp(0.5), optimizer=ne.Adam(5e-3), epochs=4, batch_size=16, free=settled, nudged=settled
    )
    assert history.last.test_accuracy > 0.25
    assert history.last.unsettled < 0.1
