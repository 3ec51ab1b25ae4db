"""How the error falls with β, at the tolerance that the tables of equivalence use."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne

BETAS = np.array([0.1, 0.03, 0.01, 0.003])
TABLE = ne.Relaxation(solver=ne.Picard(0.9), eta=1e-7, max_steps=2000)
NETWORKS = {
    "chain": ne.models.layered_hopfield([5, 8, 6, 3]),
    "readout": ne.models.layered_hopfield([5, 8, 6, 3], "sigmoid", cost="cross_entropy"),
    "looped": ne.models.looped_mlp(5, 9, 3),
    "directed": ne.models.looped_mlp(5, 9, 3, symmetric=False),
    "directed-output": ne.models.looped_mlp(5, 9, 3, symmetric=False, cost="squared_error"),
}
CASES = [
    ("chain", ne.EqProp, 2), ("readout", ne.EqProp, 2), ("looped", ne.EqProp, 2),
    ("chain", ne.VectorField, 2), ("looped", ne.VectorField, 2),
    ("chain", ne.AsymEP, 2), ("directed", ne.AsymEP, 2), ("directed-output", ne.AsymEP, 2),
]  # fmt: skip


@pytest.mark.parametrize(("name", "method", "expected"), CASES)
def test_the_error_falls_with_the_square_of_beta(name, method, expected, contracting, samples):
    spec = NETWORKS[name]
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 30))
    data = samples(spec, 8, 30)
    exact, evidence = ne.ImplicitDifferentiation().gradient(net, data.x, data.y)
    assert np.all(evidence.adjoint_residual <= 1e-13)

    def error(beta):
        found, evidence = method(beta).gradient(net, data.x, data.y, free=TABLE)
        assert evidence.unsettled == 0
        away = sum(float(np.sum((found[key] - exact[key]) ** 2)) for key in exact)
        return np.sqrt(away / sum(float(np.sum(value**2)) for value in exact.values()))

    found = [error(beta) for beta in BETAS]
    # η leaves about 1e-7 times a few of the nudge, 1 % of the smallest of these errors; the next order is β² of it.
    slope = np.polyfit(np.log(BETAS), np.log(found), 1)[0]
    assert abs(slope - expected) <= 0.1, (slope, found)
    assert error(1e-3) <= 1e-5
