"""What an engine cannot do is refused before any work, by name, in one sentence; the ledger is honest."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.abilities import Ability
from neuro_eq.activations import Activation, Tanh
from neuro_eq.backend import backends
from neuro_eq.methods import METHODS
from neuro_eq.solvers import Picard, Solver

SPEC = ne.models.layered_hopfield([3, 4, 2])


def refused(error, *words):
    """The message is one sentence that holds these words."""
    message = str(error.value)
    assert "\n" not in message
    assert not message.endswith(".")
    for word in words:
        assert word in message, message


def test_every_engine_in_every_precision_is_tested(cases):
    assert {name for name, _ in cases} == set(backends())
    for name in {name for name, _ in cases}:
        announced = backends()[name]
        if announced.probe().available:
            assert {dtype for one, dtype in cases if one == name} == set(announced.load().dtypes)


def test_every_precision_declares_its_agreement_and_why(backend):
    assert set(backend.engine.agreement) == set(backend.engine.dtypes)
    assert backend.agreement.because.strip()
    assert backend.agreement.fixed_point <= (1e-10 if backend.dtype == "float64" else 1e-5)
    # DESIGN's tolerance of gradients: max(1e-10, …) in float64, max(1e-5, 8·ε₃₂/β) in float32.
    for beta in (1.0, 0.1, 1e-3):
        bound = 1e-10 if backend.dtype == "float64" else max(1e-5, 8 * backend.epsilon / beta)
        assert backend.agreement.gradient_at(beta) <= bound * (1 + 1e-12)


def test_every_entry_of_the_ledger_has_a_reason(backend):
    assert set(backend.engine.lacks) <= set(Ability)
    for reason in backend.engine.lacks.values():
        assert len(reason.split()) >= 4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "complex128", "", "double"])
def test_an_unknown_precision(backend, dtype):
    with pytest.raises(ne.BackendError) as error:
        ne.compile(SPEC, backend=backend.name, dtype=dtype)
    refused(error, f'"{backend.name}"', repr(dtype), *backend.engine.dtypes)


def test_a_precision_of_other_engines(backend):
    if "float32" in backend.engine.dtypes:
        assert ne.compile(SPEC, backend=backend.name, dtype="float32").dtype == "float32"
        return
    with pytest.raises(ne.BackendError) as error:
        ne.compile(SPEC, backend=backend.name, dtype="float32")
    refused(error, f'"{backend.name}"', "float32")


def test_a_complex_nudge(backend, oracle):
    net = backend.compile(SPEC)
    x, y = np.ones((2, 3)), np.zeros((2, 2))
    if backend.can(Ability.COMPLEX_NUDGE):
        found = net.relax(x, target=y, beta=0.1j, tol=None, max_steps=5)
        assert all(np.iscomplexobj(net.to_numpy(u)) for u in found.states.values())
        return
    with pytest.raises(ne.BackendError) as error:
        net.relax(x, target=y, beta=0.1j)
    refused(error, "complex", backend.name, backend.engine.lacks[Ability.COMPLEX_NUDGE])


@pytest.mark.parametrize("kind", METHODS)
def test_a_method_that_needs_what_the_engine_lacks(backend, kind):
    method = METHODS[kind]()
    missing = [need for need in method.needs if not backend.can(need)]
    net = backend.compile(SPEC)
    x, y = np.ones((2, 3)), np.zeros((2, 2))
    if not missing:
        method.gradient(net, x, y)
        return
    with pytest.raises(ne.BackendError) as error:
        method.gradient(net, x, y)
    refused(error, type(method).__name__, backend.name, backend.engine.lacks[missing[0]])


def test_eqprop_refuses_a_directed_synapse(backend, named):
    spec = named("looped-directed")
    with pytest.raises(ne.SpecError) as error:
        ne.EqProp(0.1).gradient(backend.compile(spec), np.ones((2, 4)), np.array([0, 1]))
    refused(error, "synapses[1]", '"hidden_hidden"', "AsymEP")


class Newton(Solver):
    """A solver of which no engine knows."""

    kind: Literal["newton"] = "newton"


def test_an_unknown_solver(backend):
    with pytest.raises(ne.BackendError) as error:
        backend.compile(SPEC).relax(np.ones((1, 3)), solver=Newton())
    refused(error, f'"{backend.name}"', "Newton", Picard.__name__)


class Twice(ne.DirectedDense):
    """A synapse of a kind that is in no table."""

    kind: Literal["twice"] = "twice"


class Swish(Tanh):
    """An activation of a kind that is in no table."""

    kind: Literal["swish"] = "swish"


def test_a_synapse_of_an_unknown_kind(backend):
    extra = Twice(source="hidden1", target="output", name="extra")
    spec = ne.Network(populations=SPEC.populations, synapses=[*SPEC.synapses, extra])
    if backend.engine.synapse_kinds is None:
        assert backend.supports(spec)
        return
    assert not backend.supports(spec)
    with pytest.raises(ne.BackendError) as error:
        ne.compile(spec, backend=backend.name, dtype=backend.dtype)
    refused(error, f'"{backend.name}"', "synapses[4]", '"extra"', '"twice"', *backend.engine.synapse_kinds)


def test_an_activation_of_an_unknown_kind(backend):
    unknown: Activation = Swish()
    spec = ne.models.layered_hopfield([3, 4, 2], activation=unknown)
    if backend.engine.activation_kinds is None:
        assert backend.supports(spec)
        return
    assert not backend.supports(spec)
    with pytest.raises(ne.BackendError) as error:
        ne.compile(spec, backend=backend.name, dtype=backend.dtype)
    refused(error, f'"{backend.name}"', '"swish"', '"hidden1"', *backend.engine.activation_kinds)


def test_an_unknown_option(backend):
    with pytest.raises(ne.BackendError) as error:
        ne.compile(SPEC, backend=backend.name, dtype=backend.dtype, treads=2)
    refused(error, f'"{backend.name}"', '"treads"')


def test_an_unknown_backend():
    with pytest.raises(ne.BackendError) as error:
        ne.compile(SPEC, backend="nunba")
    refused(error, '"nunba"', 'did you mean "numba"?')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.ones((2, 4))}, "x: expected (batch, 3), found [2, 4]"),
        ({"x": np.ones((0, 3))}, "x: holds no samples"),
        ({"x": np.full((2, 3), np.nan)}, "x: holds values that are not finite"),
        ({"x": np.full((2, 3), "a")}, "x: expected real numbers, found dtype <U1"),
        ({"x": {"imput": np.ones((2, 3))}}, 'x["imput"]: no clamped population; did you mean "input"?'),
        ({"x": {}}, 'x: no data for the clamped population "input"'),
        ({"beta": 0.1}, "target: a nudged phase (beta ≠ 0) needs a target"),
        ({"beta": 0.1, "target": np.array([0, 2])}, "target: labels must lie in 0…1, found 0…2"),
        (
            {"beta": 0.1, "target": np.ones((3, 2))},
            "target: expected (2, 2) values or 2 integer labels, found float64 of shape [3, 2]",
        ),
        ({"tol": np.full(3, 1e-3)}, "tol: expected one number or (2,), found [3]"),
        ({"start": {"hidden1": np.zeros((2, 4))}}, 'start: no potentials for population "output"'),
        (
            {"start": {"hidden1": np.zeros((2, 4)), "output": np.zeros((1, 2))}},
            'start["output"]: expected shape [2, 2], found [1, 2]',
        ),
    ],
)
def test_data_that_does_not_fit(backend, arguments, message):
    with pytest.raises(ne.DataError) as error:
        backend.compile(SPEC).relax(**{"x": np.ones((2, 3)), **arguments})
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"input_hiden1.weight": np.ones((4, 3))},
            'input_hiden1.weight: no such parameter; did you mean "input_hidden1.weight"?',
        ),
        ({"input_hidden1.weight": np.ones((3, 4))}, "input_hidden1.weight: expected shape [4, 3], found [3, 4]"),
        ({"output_bias.bias": np.array([0.0, np.inf])}, "output_bias.bias: holds values that are not finite"),
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit(backend, values, message):
    net = backend.compile(SPEC)
    before = {name: np.array(net.to_numpy(value)) for name, value in net.parameters.items()}
    with pytest.raises(ne.SpecError) as error:
        net.set_parameters(values)
    assert str(error.value) == message
    for name, value in before.items():
        np.testing.assert_array_equal(net.to_numpy(net.parameters[name]), value)


def test_a_network_without_a_cost_has_nothing_to_nudge(backend):
    spec = ne.Network(populations=SPEC.populations, synapses=SPEC.synapses)
    net = backend.compile(spec)
    assert np.all(net.relax(np.ones((2, 3))).converged)
    with pytest.raises(ne.SpecError) as error:
        net.relax(np.ones((2, 3)), target=np.zeros((2, 2)), beta=0.1)
    refused(error, "cost")
    with pytest.raises(ne.SpecError) as error:
        ne.AsymEP(0.1).gradient(net, np.ones((2, 3)), np.zeros((2, 2)))
    refused(error, "cost")


def test_closing_is_idempotent_and_engines_are_context_managers(backend):
    with ne.compile(SPEC, backend=backend.name, dtype=backend.dtype) as net:
        net.close()
    net.close()
