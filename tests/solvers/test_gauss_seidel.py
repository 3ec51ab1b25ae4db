"""Sweeps: what they solve, what they never raise, and how far one goes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.activations import ACTIVATIONS
from neuro_eq.colouring import colours, exact, feeds_back

SWEEP = ne.BlockGaussSeidel()
EPSILON = 2.0**-53


# -- the nudged population ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind, activation in ACTIVATIONS.items() if activation.piecewise_linear])
@given(
    r=st.floats(-1e3, 1e3) | st.sampled_from([0.0, 1.0, -0.0]),
    beta=st.floats(-0.99, 10.0) | st.just(0.0),
)
def test_the_closed_form_solves_its_equation(kind, r, beta):
    rho = ACTIVATIONS[kind]()
    u = rho.under_nudge(np.array([r]), np.array([beta]))
    # u comes from one or two roundings of numbers no larger than |u| + |β|; the equation multiplies by at most 1 + |β|.
    size = (1 + abs(beta)) * (np.abs(u) + abs(beta)) + abs(r)
    np.testing.assert_array_less(np.abs(u + beta * rho.activity(u, {}) - r), 4 * EPSILON * size + 1e-300)


@pytest.mark.parametrize("kind", ["relu", "hard_sigmoid"])
def test_where_the_pieces_meet(kind):
    """At r = 0 and r = 1 + β the pieces give the same u, 0 and 1, as the left-hand side is continuous."""
    rho = ACTIVATIONS[kind]()
    for beta in (-0.5, 0.0, 0.5, 3.0):
        for r, u in ((0.0, 0.0), (1.0 + beta, 1.0)):
            for near in (np.nextafter(r, -np.inf), r, np.nextafter(r, np.inf)):
                found = rho.under_nudge(np.array([near]), np.array([beta]))
                np.testing.assert_allclose(found, u, rtol=0, atol=8 * EPSILON * (1 + beta) / min(1, 1 + beta))


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "softmax"])
def test_a_smooth_activation_has_no_closed_form(kind):
    with pytest.raises(ne.SpecError, match=kind):
        ACTIVATIONS[kind]().under_nudge(np.zeros(1), np.zeros(1))


@pytest.mark.parametrize("activation", ["identity", "relu", "hard_sigmoid"])
@pytest.mark.parametrize("beta", [2.0, -0.9])
def test_one_sweep_settles_a_single_population(activation, beta, samples):
    """With nothing but its input and a nudge a population is at its fixed point after one sweep."""
    spec = ne.models.layered_hopfield([3, 5], activation)
    net = ne.compile(spec, backend="reference", seed=3)
    data = samples(spec, 20, 0)
    found = net.relax(data.x, target=data.y, beta=beta, start=data.start, solver=SWEEP, tol=None, max_steps=1)
    # A drive of three terms of order one, divided by 1 + β ≥ 0.1.
    assert np.all(found.residual <= 100 * EPSILON)
    if activation == "identity":
        drive = data.x["input"] @ net.parameters["input_output.weight"].T
        np.testing.assert_allclose(found.states["output"], (drive + beta * data.y) / (1 + beta), atol=1e-14)


def test_a_nudge_that_is_not_convex_takes_damped_steps(samples):
    """At β = −3 the block ``u − 3u = …`` has a solution that no descent finds; the steps leave it, as Picard's do."""
    spec = ne.models.layered_hopfield([3, 5], "identity")
    net = ne.compile(spec, backend="reference", seed=3)
    data = samples(spec, 4, 0)
    how = {"target": data.y, "beta": -3.0, "start": data.start, "tol": None, "max_steps": 4}
    swept = net.relax(data.x, solver=ne.BlockGaussSeidel(alpha=0.25), **how)
    stepped = net.relax(data.x, solver=ne.Picard(alpha=0.25), **how)
    np.testing.assert_array_equal(swept.states["output"], stepped.states["output"])


def test_each_phase_of_a_group_is_solved_as_its_own_nudge_allows(samples):
    spec = ne.models.layered_hopfield([3, 4, 5], "hard_sigmoid")
    net = ne.compile(spec, backend="reference", seed=3)
    data = samples(spec, 4, 0)
    how = {"target": data.y, "start": data.start, "solver": SWEEP, "tol": None, "max_steps": 3}
    betas = (0.5, -2.0, 0.0)
    for together, beta in zip(net.relax(data.x, beta=betas, **how), betas, strict=True):
        alone = net.relax(data.x, beta=beta, **how)
        for name, value in alone.states.items():
            np.testing.assert_allclose(together.states[name], value, rtol=0, atol=1e-13)


# -- descent --------------------------------------------------------------------------------------------------------


def with_energy(spec: ne.Network) -> ne.Network:
    """The network without directed synapses and those on one population; who loses its last drive gets a bias.

    Where a Lagrangian is not convex an exact solution is no minimum, so tanh stands in its place.
    """
    clamped = {p.name for p in spec.clamped}
    kept = [
        s
        for s in spec.synapses
        if isinstance(s, ne.synapses.SymmetricSynapse)
        and (s.still(clamped) or not any(s.feeds_back(name) for name in s.populations))
    ]
    driven = {name for synapse in kept for name in synapse.driven}
    kept += [ne.Bias(target=p.name) for p in spec.free if p.name not in driven]
    convex = [
        p if p.activation.convex else p.model_copy(update={"activation": ne.activations.Tanh()})
        for p in spec.populations
    ]
    return ne.Network(populations=convex, synapses=kept, cost=spec.cost)


@given(data=st.data(), seed=st.integers(0, 2**16), beta=st.sampled_from([0.0, 0.3, 2.0, -0.5]))
def test_no_sweep_raises_the_energy(networks, samples, data, seed, beta):
    """``F_β = G + βC`` after every sweep, with weights far beyond any contraction."""
    spec = with_energy(data.draw(networks))
    assert all(exact(spec, p.name) for p in spec.free)
    assume(beta == 0.0 or exact(spec, spec.cost.population, beta))
    net = ne.compile(spec, backend="reference")
    rng = np.random.default_rng(seed)
    net.set_parameters({name: 3.0 * rng.normal(size=shape) for name, shape in spec.parameter_shapes.items()})
    values = samples(spec, 3, seed)
    found = net.relax(values.x, start=values.start, tol=None, max_steps=0)
    before, size = free_energy(net, found, values.y, beta)
    for _ in range(6):
        found = net.relax(values.x, target=values.y, beta=beta, start=found, solver=SWEEP, tol=None, max_steps=1)
        after, new_size = free_energy(net, found, values.y, beta)
        # Sums of fewer than 64 terms.
        assert np.all(after <= before + 64 * EPSILON * (size + new_size))
        before, size = after, new_size


def free_energy(net, found, y, beta):
    """``F_β``, and how large the numbers are that it is the sum of."""
    energy, cost = net.energy(found), net.cost(found, y)
    size = sum(np.abs(term) for term in energy.terms.values()) + abs(beta) * cost
    for p in net.spec.free:
        u, a = found.states[p.name].reshape(len(y), -1), found.activities[p.name].reshape(len(y), -1)
        size = size + np.sum(np.abs(u) * (1 + np.abs(a)), axis=1)
    return energy.total + beta * cost, size


# -- how far a sweep goes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("sizes", [[3, 4, 5], [3, 4, 5, 3, 2], [3, 6, 5, 4, 3, 2]])
def test_a_sweep_of_a_chain_is_two_steps_of_picard(activation, sizes, samples, contracting):
    """The odd populations of a chain see only the even ones: after k sweeps they stand where step 2k − 1 of
    ``Picard(1)`` brings them, and the even ones where step 2k does."""
    spec = ne.models.layered_hopfield(sizes, activation)
    net = ne.compile(spec, backend="reference", seed=1)
    net.set_parameters(contracting(spec, 1, norm=0.9))
    data = samples(spec, 3, 0)
    odd, even = colours(spec)
    for sweeps in (1, 2, 3, 7):
        how = {"start": data.start, "tol": None}
        swept = net.relax(data.x, solver=SWEEP, max_steps=sweeps, **how)
        for group, steps in ((odd, 2 * sweeps - 1), (even, 2 * sweeps)):
            stepped = net.relax(data.x, solver=ne.Picard(alpha=1.0), max_steps=steps, **how)
            for name in group:
                # ``u + (drive − u)`` is rounded twice; 14 steps that do not expand add up sums of 64 terms at most.
                np.testing.assert_allclose(swept.states[name], stepped.states[name], rtol=0, atol=14 * 64 * EPSILON)


def test_the_rate_of_a_linear_chain_is_the_square_of_picards(samples, contracting):
    spec = ne.models.layered_hopfield([3, 4, 5, 4, 2], "identity")
    parameters = contracting(spec, 5, norm=0.9)
    net = ne.compile(spec, backend="reference")
    net.set_parameters(parameters)
    sizes = [p.size for p in spec.free]
    ends = np.cumsum([0, *sizes])
    J = np.zeros((ends[-1], ends[-1]))
    for i, (pre, post) in enumerate(zip(spec.free, spec.free[1:], strict=False)):
        J[ends[i + 1] : ends[i + 2], ends[i] : ends[i + 1]] = parameters[f"{pre.name}_{post.name}.weight"]
    radius = float(np.max(np.abs(np.linalg.eigvalsh(J + J.T))))
    data = samples(spec, 2, 0)

    def rate(solver, steps):
        first, second = (
            net.relax(data.x, start=data.start, solver=solver, tol=None, max_steps=n) for n in (steps, steps + 10)
        )
        return (second.residual / first.residual) ** 0.1

    # After 60 steps the next eigenvalue (0.81 of the largest here) has fallen to 0.81⁶⁰ = 3e-6 of it.
    np.testing.assert_allclose(rate(ne.Picard(alpha=1.0), 60), radius, rtol=1e-4)
    np.testing.assert_allclose(rate(SWEEP, 30), radius**2, rtol=1e-4)


def test_the_last_colour_is_settled_after_its_sweep(networks, contracting, samples):
    """And the residual that a sample is judged by is the one of the states that it has, not of an earlier drive."""

    @given(networks, st.integers(0, 2**16))
    def holds(spec, seed):
        net = ne.compile(spec, backend="reference")
        net.set_parameters(contracting(spec, seed))
        data = samples(spec, 3, seed)
        how = {"target": data.y, "beta": (0.1, -0.1), "tol": None}
        swept = net.relax(data.x, start=data.start, solver=SWEEP, max_steps=3, **how)
        for phase in swept:
            again = net.relax(
                data.x, target=data.y, beta=phase.beta, start=phase, solver=ne.Picard(1.0), tol=None, max_steps=0
            )
            np.testing.assert_allclose(phase.residual, again.residual, rtol=1e-13, atol=8 * EPSILON)
            step = net.relax(
                data.x, target=data.y, beta=phase.beta, start=phase, solver=ne.Picard(1.0), tol=None, max_steps=1
            )
            for name in colours(spec)[-1]:
                if exact(spec, name, phase.beta):
                    assert not feeds_back(spec, name)
                    # A drive is a sum of fewer than 64 terms of order one.
                    np.testing.assert_allclose(step.states[name], phase.states[name], rtol=0, atol=64 * EPSILON)

    holds()
