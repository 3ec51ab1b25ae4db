"""A batch goes through attention, blocks and memories a few rows at a time, which changes nothing but the memory."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne

SPECS = {
    "energy": lambda: ne.models.energy_transformer((4, 4), 3, patch=2, width=8, heads=2, depth=2),
    "directed": lambda: ne.models.looped_transformer((5,), 3, vocabulary=7, width=8, heads=2, hidden=6, dropout=0.2),
    "maps": lambda: ne.models.conv_hopfield((6, 6), 3, channels=(3, 4), gain=0.5),
}
BATCH = 7
FREE = ne.Relaxation(tol=None, max_steps=12)


@pytest.fixture(params=SPECS)
def case(request, need, samples):
    need("torch")
    spec = SPECS[request.param]()
    return ne.compile(spec, backend="torch"), samples(spec, BATCH, 3)


def gradient(net, data):
    method = ne.AsymEP(0.1) if net.spec.asymmetric else ne.EqProp(0.1)
    found, evidence = method.gradient(net, data.x, data.y, free=FREE)
    return {name: net.to_numpy(value) for name, value in found.items()}, evidence


@pytest.mark.parametrize("rows", [1, 3, 5])
def test_nothing_depends_on_how_many_rows_there_are(case, monkeypatch, rows):
    from neuro_eq.backends.torch import drives

    net, data = case
    whole, seen = gradient(net, data)
    largest = max(population.size for population in net.spec.free)
    monkeypatch.setattr(drives, "AT_ONCE", rows * largest)
    asked = []
    for kind in {type(synapse) for synapse in net.dynamics.moving}:
        monkeypatch.setattr(kind, "drive", watched(kind.drive, net.dynamics.moving, asked))
    parts, found = gradient(net, data)
    assert max(asked) == rows
    for name, value in whole.items():
        # A contrast divides what products of other sizes round by β.
        np.testing.assert_allclose(parts[name], value, rtol=0, atol=1e-13, err_msg=name)
    for phase, other in zip(found.nudged, seen.nudged, strict=True):
        for name in phase.states:
            np.testing.assert_allclose(net.to_numpy(phase.states[name]), net.to_numpy(other.states[name]), atol=1e-14)


def watched(drive, moving, asked):
    def watching(self, a, theta, onto):
        if self in moving:  # what data drive is asked for once a batch
            asked.append(a[self.driven[0]].shape[0])
        return drive(self, a, theta, onto)

    return watching
