"""A step on all parameters at once finds the numbers that a step on each finds."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.optimizers import SGD, Adam


class Halving(SGD):
    """Not elementwise over a whole row: a norm of each array for itself."""

    def step(self, parameters, gradient, state, scale=1.0):
        gradient = {name: value / (1.0 + (value**2).sum()) for name, value in gradient.items()}
        return super().step(parameters, gradient, state, scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "optimizer",
    [SGD(0.1), SGD(0.1, momentum=0.9, weight_decay=0.1), Adam(1e-2), Adam(1e-2, weight_decay=0.3), Halving(0.1)],
    ids=["sgd", "momentum", "adam", "adamw", "own"],
)
def test_the_same_numbers_as_one_by_one(need, samples, optimizer, dtype):
    need("torch")
    spec = ne.models.energy_transformer((2, 4), 3, patch=2, depth=2, width=4, heads=2, patterns=5)
    from neuro_eq.backends.torch.descent import stepped

    net, data = ne.compile(spec, backend="torch", dtype=dtype, seed=3), samples(spec, 8, 1)
    theirs = {name: value.clone() for name, value in net.parameters.items()}
    state = before = optimizer.start(net.parameters)
    for scale in (1.0, 0.5, 0.25):
        gradient = ne.EqProp(0.5).gradient(net, data.x, data.y)[0]
        theirs, before = optimizer.step(theirs, gradient, before, scale)
        ours, state = stepped(optimizer, net.parameters, gradient, state, scale)
        net.set_parameters(ours, adopt=True)
        assert list(ours) == list(theirs)
        assert state.steps == before.steps
        for name, value in theirs.items():
            np.testing.assert_array_equal(net.to_numpy(ours[name]), net.to_numpy(value), err_msg=name)
            for moment, values in before.moments.items():
                np.testing.assert_array_equal(state.moments[moment][name], values[name], err_msg=name)


def test_what_is_not_finite_is_named(need):
    need("torch")
    net = ne.compile(ne.models.layered_hopfield([4, 3, 2]), backend="torch")
    bad = np.full((3, 4), 0.5)
    bad[1, 2] = np.inf
    with pytest.raises(ne.SpecError, match=r"input_hidden1\.weight: holds values that are not finite"):
        net.set_parameters({"input_hidden1.weight": bad, "hidden1_bias.bias": np.zeros(3)})
