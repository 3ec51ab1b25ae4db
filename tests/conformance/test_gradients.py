"""Gradients of every method on every engine: against the oracle, against the truth, and against each other."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.abilities import Ability

# With a joint norm of 0.6 and α = 0.9 a step leaves at most 0.64 of an error, a nudge of 0.2 adds at most 0.18:
# 150 steps leave 0.82¹⁵⁰ = 1e-13 of a nudged phase's start, which is itself within β of the end.
SETTLED = ne.Relaxation(solver=ne.Picard(alpha=0.9), tol=None, max_steps=150)
COMPARED = ne.Relaxation(solver=ne.Picard(alpha=0.9), tol=None, max_steps=50)
"""Two engines on the same schedule agree where they are, settled to rounding or not."""

BETA = 0.1


def unsupported(backend, method):
    """Skip a method that the engine's ledger refuses; another test holds the refusal to its words."""
    for need in method.needs:
        if not backend.can(need):
            pytest.skip(f"{backend.name} cannot {need.value}: {backend.engine.lacks[need]}")


@pytest.fixture(scope="session")
def truth(oracle):
    """The gradient of the cost at the free fixed point, in float64."""

    def gradient(spec, parameters, data):
        net = oracle(spec, parameters)
        found, evidence = ne.ImplicitDifferentiation().gradient(net, data.x, data.y, free=SETTLED)
        assert np.all(evidence.adjoint_residual <= 1e-12)
        return found

    return gradient


def on_both(backend, oracle, spec, parameters, method, data):
    """The method's gradient on the engine and on the oracle."""
    net, reference = backend.compile(spec, parameters), oracle(spec, parameters)
    found, evidence = method.gradient(net, data.x, data.y, free=COMPARED)
    wanted, expected = method.gradient(reference, data.x, data.y, free=COMPARED)
    return net, found, evidence, reference, wanted, expected


@pytest.mark.parametrize("phases", ["centered", "one-sided"])
def test_eqprop(backend, oracle, contracting, symmetric_network, samples, compare, phases):
    method = ne.EqProp(BETA, phases)
    unsupported(backend, method)
    spec = symmetric_network
    data = samples(spec, 6, 20)
    net, found, evidence, reference, wanted, expected = on_both(
        backend, oracle, spec, contracting(spec, 3), method, data
    )
    compare.gradients(found, net, wanted, reference, backend.agreement, BETA)
    assert [phase.beta for phase in evidence.nudged] == ([BETA, -BETA] if phases == "centered" else [BETA])
    # Costs and sizes of nudges are sums over fewer than 64 units.
    within = 64 * backend.agreement.fixed_point
    np.testing.assert_allclose(evidence.cost, expected.cost, rtol=0, atol=within)
    np.testing.assert_allclose(evidence.nudge_size, expected.nudge_size, rtol=0, atol=within)


def test_asymep(backend, oracle, contracting, network, samples, compare):
    method = ne.AsymEP(BETA)
    unsupported(backend, method)
    data = samples(network, 6, 21)
    net, found, _, reference, wanted, _ = on_both(backend, oracle, network, contracting(network, 4), method, data)
    compare.gradients(found, net, wanted, reference, backend.agreement, BETA)


@pytest.mark.parametrize("phases", ["centered", "one-sided"])
def test_vector_field(backend, oracle, contracting, network, samples, compare, phases):
    method = ne.VectorField(BETA, phases)
    unsupported(backend, method)
    data = samples(network, 6, 33)
    net, found, evidence, reference, wanted, _ = on_both(
        backend, oracle, network, contracting(network, 15), method, data
    )
    compare.gradients(found, net, wanted, reference, backend.agreement, BETA)
    assert [phase.beta for phase in evidence.nudged] == ([BETA, -BETA] if phases == "centered" else [BETA])


def test_dyadic(backend, oracle, contracting, network, samples, compare):
    """On a schedule that leaves the error states on their way, so that the walk is compared and not its end only."""
    method = ne.DyadicEP()
    unsupported(backend, method)
    data = samples(network, 6, 34)
    for steps in (3, 50):
        how = ne.Relaxation(solver=COMPARED.solver, tol=None, max_steps=steps)
        net, reference = backend.compile(network, contracting(network, 16)), oracle(network, contracting(network, 16))
        found, evidence = method.gradient(net, data.x, data.y, free=COMPARED, nudged=how)
        wanted, _ = method.gradient(reference, data.x, data.y, free=COMPARED, nudged=how)
        compare.gradients(found, net, wanted, reference, backend.agreement)
        np.testing.assert_array_equal(evidence.adjoint_steps, steps)
        np.testing.assert_array_equal(evidence.adjoint_status, ne.Status.MAX_STEPS)


def test_dyadic_is_implicit_differentiation(backend, contracting, truth, network, samples, compare):
    """Both are exact at the free state, whatever the network: they differ by what both adjoints leave."""
    method = ne.DyadicEP()
    unsupported(backend, method)
    parameters = contracting(network, 17)
    data = samples(network, 6, 35)
    net = backend.compile(network, parameters)
    found, evidence = method.gradient(net, data.x, data.y)
    assert np.all(evidence.adjoint_status == ne.Status.CONVERGED)
    assert evidence.unsettled == 0
    within = 1e-9 if backend.dtype == "float64" else backend.agreement.gradient_at(1.0)
    assert compare.relative(compare.numbers(net, found), truth(network, parameters, data)) <= within


@pytest.mark.parametrize("name", ["hopfield", "hopfield-readout", "toroidal", "modern-hopfield", "paced"])
def test_holomorphic(backend, oracle, named, contracting, samples, compare, name):
    method = ne.HolomorphicEP(BETA, 4)
    unsupported(backend, method)
    spec = named(name)
    data = samples(spec, 6, 42)
    net, found, evidence, reference, wanted, _ = on_both(backend, oracle, spec, contracting(spec, 24), method, data)
    compare.gradients(found, net, wanted, reference, backend.agreement, BETA)
    assert any(np.iscomplexobj(net.to_numpy(u)) for u in evidence.nudged[1].states.values())


@pytest.mark.parametrize("method", [ne.JFB(), ne.Phantom(3, 0.7)], ids=["jfb", "phantom"])
def test_truncated_adjoints(backend, oracle, contracting, network, samples, compare, method):
    unsupported(backend, method)
    data = samples(network, 6, 39)
    net, found, evidence, reference, wanted, _ = on_both(
        backend, oracle, network, contracting(network, 21), method, data
    )
    compare.gradients(found, net, wanted, reference, backend.agreement)
    assert evidence.nudged == ()


@pytest.mark.parametrize("rate", [0.0, 1e-3])
def test_continual(backend, oracle, contracting, symmetric_network, samples, compare, rate):
    method = ne.ContinualEP(BETA, rate)
    unsupported(backend, method)
    spec = symmetric_network
    data = samples(spec, 6, 40)
    parameters = contracting(spec, 22)
    how = ne.Relaxation(solver=COMPARED.solver, tol=None, max_steps=6)
    net, reference = backend.compile(spec, parameters), oracle(spec, parameters)
    found, evidence = method.gradient(net, data.x, data.y, free=COMPARED, nudged=how)
    wanted, _ = method.gradient(reference, data.x, data.y, free=COMPARED, nudged=how)
    # A sum of six contrasts, each of which divides its own rounding by β.
    compare.gradients(found, net, wanted, reference, backend.agreement, BETA / 6)
    np.testing.assert_array_equal(evidence.nudged[0].steps, 6)


@pytest.mark.parametrize("method", [ne.BPTT(150), ne.CheckpointedBPTT(150)], ids=["bptt", "checkpointed"])
def test_backpropagation_through_time_is_implicit_differentiation(
    backend, contracting, truth, network, samples, compare, method
):
    """Once settled, whatever the way there: histories and gates too."""
    unsupported(backend, method)
    parameters = contracting(network, 23)
    data = samples(network, 6, 41)
    net = backend.compile(network, parameters)
    found, evidence = method.gradient(net, data.x, data.y, free=SETTLED)
    np.testing.assert_array_equal(evidence.free.steps, 150)
    assert list(found) == list(network.parameter_shapes)
    # What 150 steps leave, 1e-13 of the start, is far below; states are known to the engine's rounding.
    within = 1e-8 if backend.dtype == "float64" else backend.agreement.gradient_at(1.0)
    assert compare.relative(compare.numbers(net, found), truth(network, parameters, data)) <= within


def test_implicit_differentiation(backend, oracle, contracting, network, samples, compare):
    method = ne.ImplicitDifferentiation()
    unsupported(backend, method)
    data = samples(network, 6, 22)
    net, found, evidence, reference, wanted, _ = on_both(
        backend, oracle, network, contracting(network, 5), method, data
    )
    compare.gradients(found, net, wanted, reference, backend.agreement)
    # The adjoint is solved to 10 epsilons or 1e-14 for the whole batch, in which each sample's right side has norm one;
    # the residual is measured with the engine's own rounding, of fewer than 64 terms.
    assert np.all(evidence.adjoint_residual <= max(10 * backend.epsilon, 1e-14) * np.sqrt(6) + 64 * backend.epsilon)


def test_a_met_target_gives_no_gradient(backend, contracting, samples, compare):
    spec = ne.models.layered_hopfield([4, 5, 3])
    net = backend.compile(spec, contracting(spec, 6))
    data = samples(spec, 3, 23)
    free = net.relax(data.x, solver=SETTLED.solver, tol=None, max_steps=SETTLED.max_steps)
    met = net.to_numpy(net.output(free))
    methods = [ne.EqProp(BETA), ne.EqProp(BETA, "one-sided"), ne.AsymEP(BETA), ne.VectorField(BETA), ne.DyadicEP()]
    for method in methods:
        if any(not backend.can(need) for need in method.needs):
            continue
        found, _ = method.gradient(net, data.x, met, free=SETTLED)
        for value in compare.numbers(net, found).values():
            assert np.max(np.abs(value)) <= backend.agreement.gradient_at(BETA)


def test_the_default_tolerance_is_good_enough(backend, contracting, truth, network, samples, compare):
    """Without any settings the gradient is as good as η and β allow."""
    method = ne.AsymEP(BETA)
    unsupported(backend, method)
    parameters = contracting(network, 7, 0.5)
    data = samples(network, 6, 24)
    found, evidence = method.gradient(backend.compile(network, parameters), data.x, data.y)
    assert evidence.unsettled == 0
    assert all(np.all(phase.converged) for phase in (evidence.free, *evidence.nudged))
    net = backend.compile(network, parameters)
    exact = method.gradient(net, data.x, data.y, free=SETTLED)[0]
    # (1+L)/(1−L)·η with L = 0.5 + β; the residual may be this large in the free phase and in both nudged ones.
    bound = 3 * (1.6 / 0.4) * 1e-3
    assert compare.relative(compare.numbers(net, found), compare.numbers(net, exact)) <= bound


# -- β → 0 ----------------------------------------------------------------------------------------------------------

SMOOTH_SYMMETRIC = [
    "hopfield", "hopfield-readout", "looped", "toroidal", "modern-hopfield", "gated-step", "energy-transformer",
    "conv-hopfield",
    "paced",
]  # fmt: skip
SMOOTH_DIRECTED = [
    "looped-directed",
    "looped-directed-output",
    "toroidal-directed",
    "gated-drive",
    "looped-transformer",
    "paced-directed",
]


def errors(net, method_at, betas, data, exact, compare):
    """Relative error of the whole gradient at each β."""
    return [
        compare.relative(compare.numbers(net, method_at(beta).gradient(net, data.x, data.y, free=SETTLED)[0]), exact)
        for beta in betas
    ]


def order(betas, found):
    """Exponent p of ``error ∝ β^p``, fitted."""
    return np.polyfit(np.log(betas), np.log(found), 1)[0]


@pytest.mark.parametrize("name", SMOOTH_SYMMETRIC)
@pytest.mark.parametrize(("phases", "expected"), [("centered", 2), ("one-sided", 1)])
def test_eqprop_becomes_exact(backend, named, contracting, truth, samples, compare, name, phases, expected):
    spec = named(name)
    parameters = contracting(spec, 8)
    data = samples(spec, 6, 25)
    exact = truth(spec, parameters, data)
    net = backend.compile(spec, parameters)
    if backend.dtype == "float32":
        # Rounding, ∝ 1/β, is all that is left of the error of a centered nudge at 0.025.
        error = errors(net, lambda beta: ne.EqProp(beta, phases), [0.1, 0.025], data, exact, compare)
        assert error[1] <= error[0] / 2 + backend.agreement.gradient_at(0.025)
        return
    betas = [0.1, 0.05, 0.025, 0.0125]
    error = errors(net, lambda beta: ne.EqProp(beta, phases), betas, data, exact, compare)
    # error = Aβ^p + Bβ^(p+1 or p+2): with |B/A|·β ≤ 0.2 at the largest β the slope stays within log₂(1.2/1.1) < 0.2.
    assert abs(order(betas, error) - expected) <= 0.2, error
    if phases == "centered":
        small = errors(net, ne.EqProp, [1e-3], data, exact, compare)
        assert small[0] <= 1e-5


@pytest.mark.parametrize("name", SMOOTH_SYMMETRIC)
@pytest.mark.parametrize(("phases", "expected"), [("centered", 2), ("one-sided", 1)])
def test_the_vector_field_becomes_exact_where_everything_is_symmetric(
    backend, named, contracting, truth, samples, compare, name, phases, expected
):
    spec = named(name)
    parameters = contracting(spec, 18)
    data = samples(spec, 6, 36)
    exact = truth(spec, parameters, data)
    net = backend.compile(spec, parameters)
    if backend.dtype == "float32":
        error = errors(net, lambda beta: ne.VectorField(beta, phases), [0.1, 0.025], data, exact, compare)
        assert error[1] <= error[0] / 2 + backend.agreement.gradient_at(0.025)
        return
    # One-sided, the second order is next to the first: it is small against it a few octaves further down.
    betas = np.array([0.1, 0.05, 0.025, 0.0125]) / (1 if phases == "centered" else 8)
    error = errors(net, lambda beta: ne.VectorField(beta, phases), betas, data, exact, compare)
    assert abs(order(betas, error) - expected) <= 0.2, error


@pytest.mark.parametrize("name", SMOOTH_SYMMETRIC)
def test_holomorphic_falls_with_the_power_that_is_chosen(
    backend, oracle, named, contracting, truth, samples, compare, name
):
    unsupported(backend, ne.HolomorphicEP())
    spec = named(name)
    parameters = contracting(spec, 19)
    data = samples(spec, 6, 37)
    exact = truth(spec, parameters, data)
    net = backend.compile(spec, parameters)
    if backend.dtype == "float32":
        # Four points at a radius of 0.1 leave 1e-5 or so of themselves, and rounding ∝ 1/β.
        error = errors(net, lambda beta: ne.HolomorphicEP(beta, 4), [0.1], data, exact, compare)
        left = errors(oracle(spec, parameters), lambda beta: ne.HolomorphicEP(beta, 4), [0.1], data, exact, compare)
        assert error[0] <= left[0] + backend.agreement.gradient_at(0.1)
        return
    for points in (2, 3, 4, 6):
        # Rounding leaves 2⁻⁵³ of a few units over β; the radii keep every error a hundred times above.
        betas = [0.2, 0.14, 0.1] if points > 4 else [0.1, 0.05, 0.025]
        error = errors(net, lambda beta, points=points: ne.HolomorphicEP(beta, points), betas, data, exact, compare)
        assert abs(order(betas, error) - points) <= 0.1 * points, (points, error)
    assert errors(net, lambda beta: ne.HolomorphicEP(beta, 4), [0.01], data, exact, compare)[0] <= 1e-7


@pytest.mark.parametrize("name", SMOOTH_DIRECTED)
def test_asymep_becomes_exact(backend, named, contracting, truth, samples, compare, name):
    unsupported(backend, ne.AsymEP())
    spec = named(name)
    parameters = contracting(spec, 9)
    data = samples(spec, 6, 26)
    exact = truth(spec, parameters, data)
    net = backend.compile(spec, parameters)
    if backend.dtype == "float32":
        error = errors(net, ne.AsymEP, [0.1, 0.025], data, exact, compare)
        assert error[1] <= error[0] / 2 + backend.agreement.gradient_at(0.025)
        return
    betas = [0.1, 0.05, 0.025, 0.0125]
    error = errors(net, ne.AsymEP, betas, data, exact, compare)
    assert abs(order(betas, error) - 2) <= 0.2, error
    assert errors(net, ne.AsymEP, [1e-3], data, exact, compare)[0] <= 1e-5


def test_without_its_correction_asymep_is_biased(backend, contracting, truth, samples, compare):
    """Independent ``W_ij`` and ``W_ji``: the plain vector field points elsewhere, however small β is."""
    unsupported(backend, ne.AsymEP())
    spec = ne.models.looped_mlp(4, 20, 3, symmetric=False)
    # The bias is of second order in the norm, so the network has to be near the end of its budget.
    parameters = contracting(spec, 9, norm=0.9)
    data = samples(spec, 6, 26)
    exact = truth(spec, parameters, data)
    net = backend.compile(spec, parameters)
    inside = ["hidden_hidden.weight", "input_hidden.weight"]
    truly = {name: exact[name] for name in inside}
    beta = 1e-3 if backend.dtype == "float64" else 0.05

    def cosine(gradient):
        found = compare.numbers(net, gradient)
        return compare.cosine({name: found[name] for name in inside}, truly)

    corrected = cosine(ne.AsymEP(beta).gradient(net, data.x, data.y, free=SETTLED)[0])
    plain = cosine(ne.VectorField(beta).gradient(net, data.x, data.y, free=SETTLED)[0])
    # A relative error ε costs at most ε²/2 of a cosine.
    assert corrected >= 1 - 1e-4
    assert plain < 0.97


# -- identities -----------------------------------------------------------------------------------------------------


def test_asymep_is_eqprop_where_everything_is_symmetric(backend, contracting, symmetric_network, samples, compare):
    spec = symmetric_network
    net = backend.compile(spec, contracting(spec, 10))
    data = samples(spec, 5, 27)
    _, plain = ne.EqProp(BETA).gradient(net, data.x, data.y, free=COMPARED)
    _, corrected = ne.AsymEP(BETA).gradient(net, data.x, data.y, free=COMPARED)
    for one, other in zip(plain.nudged, corrected.nudged, strict=True):
        for name in one.states:
            np.testing.assert_array_equal(net.to_numpy(one.states[name]), net.to_numpy(other.states[name]))


def test_asymep_is_the_vector_field_where_everything_is_symmetric(
    backend, contracting, symmetric_network, samples, compare
):
    """Nothing is left to correct, to the last bit."""
    spec = symmetric_network
    net = backend.compile(spec, contracting(spec, 20))
    data = samples(spec, 5, 38)
    plain = compare.numbers(net, ne.VectorField(BETA).gradient(net, data.x, data.y, free=COMPARED)[0])
    corrected = compare.numbers(net, ne.AsymEP(BETA).gradient(net, data.x, data.y, free=COMPARED)[0])
    for name, value in plain.items():
        np.testing.assert_array_equal(corrected[name], value)


def test_two_holomorphic_points_are_the_centered_difference(backend, contracting, symmetric_network, samples, compare):
    method = ne.HolomorphicEP(BETA, 2)
    unsupported(backend, method)
    spec = ne.models.layered_hopfield([4, 5, 3])
    net = backend.compile(spec, contracting(spec, 21))
    data = samples(spec, 5, 39)
    found, _ = method.gradient(net, data.x, data.y, free=COMPARED)
    wanted, _ = ne.EqProp(BETA).gradient(net, data.x, data.y, free=COMPARED)
    for name, value in wanted.items():
        assert not np.iscomplexobj(net.to_numpy(found[name]))
        np.testing.assert_allclose(
            net.to_numpy(found[name]), net.to_numpy(value), rtol=0, atol=64 * backend.epsilon / BETA
        )


def test_a_symmetric_pair_of_directed_synapses_needs_no_correction(backend, oracle, contracting, samples, compare):
    """``W`` one way and ``Wᵀ`` the other is the symmetric synapse: the correction must cancel, not just be skipped."""
    whole = ne.models.layered_hopfield([4, 5, 3], bias=False)
    halves = ne.Network(
        populations=whole.populations,
        synapses=[
            whole.synapses[0],
            ne.DirectedDense(name="up", source="hidden1", target="output"),
            ne.DirectedDense(name="down", source="output", target="hidden1"),
        ],
        cost=whole.cost,
    )
    parameters = contracting(whole, 11)
    weight = parameters["hidden1_output.weight"]
    split = {"input_hidden1.weight": parameters["input_hidden1.weight"], "up.weight": weight, "down.weight": weight.T}
    data = samples(whole, 5, 28)
    net, reference = backend.compile(halves, split), oracle(whole, parameters)
    found, evidence = ne.AsymEP(BETA).gradient(net, data.x, data.y, free=SETTLED)
    wanted, expected = ne.AsymEP(BETA).gradient(reference, data.x, data.y, free=SETTLED)
    # The oracle's own agreement is 0, but here it computes other sums: fewer than 64 roundings of order one.
    within = max(backend.agreement.fixed_point, 64 * backend.epsilon)
    for one, other in zip(evidence.nudged, expected.nudged, strict=True):
        compare.states(one, net, other, reference, within)
    found = compare.numbers(net, found)
    total = found["up.weight"] + found["down.weight"].T
    np.testing.assert_allclose(
        total, wanted["hidden1_output.weight"], rtol=0,
        atol=max(backend.agreement.gradient_at(BETA), 64 * backend.epsilon / BETA) * np.max(np.abs(total)),
    )  # fmt: skip


def test_centered_eqprop_is_the_contrastive_hebbian_rule(backend, contracting, samples, compare):
    """``(a_post⁻ ⊗ a_pre⁻ − a_post⁺ ⊗ a_pre⁺)/2β``, mean over the batch: a synapse sees its two ends only."""
    spec = ne.models.layered_hopfield([4, 5, 3])
    net = backend.compile(spec, contracting(spec, 12))
    data = samples(spec, 5, 29)
    found, evidence = ne.EqProp(BETA).gradient(net, data.x, data.y, free=COMPARED)
    above, below = (compare.numbers(net, phase.activities) for phase in evidence.nudged)
    rule = (below["output"].T @ below["hidden1"] - above["output"].T @ above["hidden1"]) / (2 * BETA * 5)
    np.testing.assert_allclose(
        net.to_numpy(found["hidden1_output.weight"]), rule, rtol=0, atol=16 * backend.epsilon / BETA
    )


def test_a_batch_gives_the_mean_of_its_samples(backend, contracting, network, samples, compare):
    method = ne.AsymEP(BETA)
    unsupported(backend, method)
    net = backend.compile(network, contracting(network, 13))
    data = samples(network, 3, 30)
    together = compare.numbers(net, method.gradient(net, data.x, data.y, free=COMPARED)[0])
    parts = [data.take([i]) for i in range(3)]
    single = [compare.numbers(net, method.gradient(net, part.x, part.y, free=COMPARED)[0]) for part in parts]
    mean = {name: np.mean([one[name] for one in single], axis=0) for name in together}
    # Each sample's states are independent of its batch to DESIGN's 1e-12 or 1e-5; a contrast divides that by β.
    within = (1e-12 if backend.dtype == "float64" else 1e-5) / BETA
    for name, value in together.items():
        np.testing.assert_allclose(value, mean[name], rtol=0, atol=within)


def test_linear_response_where_the_engine_has_it(backend, oracle, contracting, network, samples, compare):
    if not backend.can(Ability.LINEAR_RESPONSE):
        pytest.skip(backend.engine.lacks[Ability.LINEAR_RESPONSE])
    parameters = contracting(network, 14)
    net, reference = backend.compile(network, parameters), oracle(network, parameters)
    data = samples(network, 4, 31)
    at, wanted_at = net.relax(data.x), reference.relax(data.x)
    direction = {name: net.asarray(value) for name, value in data.start.items()}
    for ask in ("transposed", "response", "slope"):
        found = compare.numbers(net, getattr(net, ask)(at, direction))
        wanted = getattr(reference, ask)(wanted_at, data.start)
        for name, value in wanted.items():
            # Sums of fewer than 64 terms of order one.
            np.testing.assert_allclose(found[name], value, rtol=0, atol=64 * backend.agreement.fixed_point)
