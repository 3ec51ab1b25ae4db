"""Wrong arguments in Python: one sentence that names the argument, what was found and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import neuro_eq as ne

SPEC = ne.models.layered_hopfield([3, 4, 2])
X = np.zeros((5, 3))
Y = np.zeros(5, dtype=int)
DATA = ne.datasets.Data("mine", *(2 * (X.astype(np.float32), Y)), classes=2)


def net() -> Any:
    return ne.compile(SPEC, backend="reference")


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: net().relax([[1, 2], [3]]), r"x: expected an array, found rows of different lengths"),
    (lambda: net().relax("a"), r"x: expected real numbers, found dtype <U1"),
    (lambda: net().relax(None), r"x: expected real numbers, found dtype object"),
    (lambda: net().relax(X[0]), r"x: expected \(batch, 3\), found \[3\]"),
    (lambda: net().relax(X[:0]), r"x: holds no samples"),
    (lambda: net().relax(X[:, :2]), r"x: expected \(batch, 3\), found \[5, 2\]"),
    (lambda: net().relax(X + np.nan), r"x: holds values that are not finite"),
    (lambda: net().relax({"inpt": X}), r'x\["inpt"\]: no clamped population; did you mean "input"\?'),
    (lambda: net().relax({}), r'x: no data for the clamped population "input"'),
    (lambda: net().relax(X, beta=0.1), r"target: a nudged phase \(beta ≠ 0\) needs a target"),
    (lambda: net().relax(X, target=Y, beta="a"), r"beta: expected a finite number, found 'a'"),
    (lambda: net().relax(X, target=Y, beta=[]), r"beta: a group of phases needs at least one nudge"),
    (lambda: net().relax(X, target=Y, beta=np.nan), r"beta: expected a finite number, found nan"),
    (lambda: net().relax(X, target=Y + 7, beta=0.1), r"target: labels must lie in 0…1, found 7…7"),
    (
        lambda: net().relax(X, target=Y[:4], beta=0.1),
        r"target: expected \(5, 2\) values or 5 integer labels, found int64 of shape \[4\]",
    ),
    (
        lambda: net().relax(X, target=3, beta=0.1),
        r"target: expected \(5, 2\) values or 5 integer labels, found int64 of shape \[\]",
    ),
    (
        lambda: net().relax(X, target=Y.astype(float), beta=0.1),
        r"target: expected \(5, 2\) values or 5 integer labels, found float64 of shape \[5\]",
    ),
    (
        lambda: net().relax(X, record="run.h5"),
        r"record: expected an Observer, such as ne\.Recorder\(PATH\), found 'run\.h5'",
    ),
    (lambda: net().relax(X, tol=-1), r"tol: expected residuals of at least 0, found -1"),
    (lambda: net().relax(X, tol=np.nan), r"tol: expected residuals of at least 0, found nan"),
    (lambda: net().relax(X, tol="nudge"), r"tol: expected numbers or None, found 'nudge'"),
    (lambda: net().relax(X, tol=np.ones(3)), r"tol: expected one number or \(5,\), found \[3\]"),
    (lambda: net().relax(X, max_steps=-1), r"max_steps: expected a whole number of at least 0, found -1"),
    (lambda: net().relax(X, max_steps=1.5), r"max_steps: expected a whole number of at least 0, found 1\.5"),
    (lambda: net().relax(X, start={}), r'start: no potentials for population "hidden1"'),
    (lambda: net().relax(X[:2], start=net().relax(X)), r'start\["hidden1"\]: expected shape \[2, 4\], found \[5, 4\]'),
    (
        lambda: net().relax(X, solver="picard"),
        r'backend "reference" cannot run the solver str; it runs Picard, BlockGaussSeidel, Anderson',
    ),
    (lambda: ne.Picard(alpha=0), r"alpha: input should be greater than 0 \(found 0\)"),
    (lambda: ne.Relaxation(tol=-1), r"tol: a tolerance must be positive; .*"),
    (lambda: ne.Relaxation(solver="picrd"), r'.*no solver \'picrd\'; did you mean "picard"\?'),
    (lambda: ne.EqProp(0), r"beta: a nudge must not be 0 \(found 0\)"),
    (lambda: ne.EqProp(phases="both"), r"phases: input should be 'centered' or 'one-sided' \(found 'both'\)"),
    (
        lambda: ne.models.energy_transformer((8, 8), 3, patch=4, attention="hard"),
        r"attention: no attention 'hard'; known: softmax, linear",
    ),
    (
        lambda: ne.models.energy_transformer((8, 8), 3, patch=4, readout="al"),
        r"readout: no readout 'al'; did you mean \"all\"\?",
    ),
    (
        lambda: ne.models.conv_hopfield((8, 8), 3, pool="mean"),
        r"pool: no pooling 'mean'; known: max, average",
    ),
    (lambda: net().set_parameters({"foo": 1}), r"foo: no such parameter; known: .*"),
    (
        lambda: net().set_parameters({"output_bias.bias": "a"}),
        r"output_bias\.bias: expected an array of numbers, found str",
    ),
    (lambda: net().set_parameters({"output_bias.bias": [1]}), r"output_bias\.bias: expected shape \[2\], found \[1\]"),
    (
        lambda: net().set_parameters({"output_bias.bias": [1, np.inf]}),
        r"output_bias\.bias: holds values that are not finite",
    ),
    (lambda: ne.compile(3), r"spec: expected a Network, found int; .*"),
    (lambda: ne.compile(SPEC, seed=-1), r"seed: expected a whole number of at least 0 and below 2\*\*63, found -1"),
    (lambda: ne.compile(SPEC, threads=0), r"threads: expected a whole number of at least 1, found 0"),
    (lambda: ne.compile(SPEC, thread=1), r'backend "numba" has no option "thread"; did you mean "threads"\?'),
    (lambda: ne.train(net(), 3), r"data: expected a Data, found int; .*"),
    (lambda: ne.train(SPEC, DATA), r"net: expected an Engine, such as ne\.compile\(spec\), found Network\(.*"),
    (lambda: ne.train(net(), DATA, method="eqprop"), r"method: expected a GradientMethod, such as .*, found 'eqprop'"),
    (lambda: ne.train(net(), DATA, method=ne.EqProp), r"method: expected a GradientMethod, .* the class EqProp itself"),
    (lambda: ne.train(net(), DATA, optimizer="adam"), r"optimizer: expected an Optimizer, such as .*, found 'adam'"),
    (lambda: ne.train(net(), DATA, schedule="cosine"), r"schedule: expected a Schedule, such as .*, found 'cosine'"),
    (
        lambda: ne.train(net(), DATA, budget=0.9),
        r"budget: expected a Budget, such as ne\.NormBudget.*, found 0\.9",
    ),
    (lambda: ne.train(net(), DATA, penalty=3.0), r"penalty: expected a Penalty, such as .*, found 3\.0"),
    (lambda: ne.train(net(), DATA, free={"tol": 1e-3}), r"free: expected a Relaxation, such as .*, found {'tol': .*"),
    (lambda: ne.train(net(), DATA, nudged=ne.Picard()), r"nudged: expected a Relaxation, .*"),
    (lambda: ne.train(net(), DATA, epochs=1.5), r"epochs: expected a whole number of at least 0, found 1\.5"),
    (lambda: ne.train(net(), DATA, batch_size=0), r"batch_size: expected a whole number of at least 1, found 0"),
    (lambda: ne.train(net(), DATA, seed=-1), r"seed: expected a whole number of at least 0, found -1"),
    (lambda: ne.EqProp().gradient(net(), X, Y, free=ne.Picard()), r"free: expected a Relaxation, .*"),
    (lambda: ne.lipschitz(SPEC, X), r"net: expected an Engine, such as ne\.compile\(spec\), found Network\(.*"),
    (lambda: replace(DATA, x_train=[[1.0]]), r"mine: x_train must be a NumPy array, found list"),
    (lambda: replace(DATA, classes="2"), r"mine: classes must be a whole number, or None .*, found '2'"),
    (lambda: ne.models.layered_hopfield([3]), r"sizes: need at least \[n_in, n_out\], found \[3\]"),
    (lambda: ne.models.layered_hopfield([3, 0, 2]), r"shape: every axis must be at least 1, found \[0\]"),
    (
        lambda: ne.Network(populations=[], synapses=[]),
        r"populations: no population is clamped, so no data can enter; .*",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_one_sentence(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ne.NeuroEqError, match=rf"^{message}$"):
        call()
