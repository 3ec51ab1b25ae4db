"""The Numba engine's own promise."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne

METHODS = {
    "hopfield": ne.EqProp(0.1),
    "looped-directed": ne.AsymEP(0.1),
    "paced": ne.EqProp(0.1),
    "paced-directed": ne.AsymEP(0.1),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("network", METHODS)
def test_the_number_of_threads_changes_no_bit(named, contracting, samples, dtype, network):
    spec = named(network)
    parameters = contracting(spec, 1)
    # More than three blocks, the last one not full.
    data = samples(spec, 205, 40)
    results = []
    for threads in (1, 2, 5):
        net = ne.compile(spec, backend="numba", dtype=dtype, threads=threads)
        net.set_parameters(parameters)
        found = net.relax(data.x, target=data.y, beta=(0.1, -0.1), tol=1e-5)
        results.append((found, METHODS[network].gradient(net, data.x, data.y)[0]))
    first, gradient = results[0]
    for other, its_gradient in results[1:]:
        for one, two in zip(first, other, strict=True):
            np.testing.assert_array_equal(one.steps, two.steps)
            np.testing.assert_array_equal(one.residual, two.residual)
            for name in one.states:
                np.testing.assert_array_equal(one.states[name], two.states[name])
        for name, value in gradient.items():
            np.testing.assert_array_equal(value, its_gradient[name])


def test_threads_must_be_positive():
    with pytest.raises(ne.BackendError, match="threads: expected a whole number of at least 1, found 0"):
        ne.compile(ne.models.layered_hopfield([2, 2]), backend="numba", threads=0)
