"""Lipschitz constants against dense matrices built column by column, and the budget that bounds them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.activations import Activation
from neuro_eq.solvers import Solver
from neuro_eq.synapses import SymmetricSynapse


def dense(net, at):
    """``M = Dρ'`` of each sample, ``(batch, n, n)``, from the products with the unit vectors."""
    names = [p.name for p in net.spec.free]
    sizes = [p.size for p in net.spec.free]
    columns = []
    for unit in np.eye(net.spec.free_units):
        parts = np.split(np.tile(unit, (at.batch, 1)), np.cumsum(sizes)[:-1], axis=1)
        v = {p.name: part.reshape(at.batch, *p.shape) for p, part in zip(net.spec.free, parts, strict=True)}
        answer = net.response(at, net.slope(at, v))
        columns.append(np.concatenate([answer[name].reshape(at.batch, -1) for name in names], axis=1))
    return np.stack(columns, axis=2)


def random_state(net, data):
    """A state that is no fixed point: the constants are asked for where the network is, wherever that is."""
    return net.relax(data.x, start=data.start, tol=None, max_steps=0)


def test_the_constants_are_those_of_the_dense_matrix(networks, samples):
    @given(networks, st.integers(0, 2**16), st.sampled_from([0.3, 0.5, 1.0]))
    def holds(spec, seed, alpha):
        net = ne.compile(spec, backend="reference", seed=seed)
        data = samples(spec, 3, seed)
        at = random_state(net, data)
        found = ne.lipschitz(net, data.x, state=at, solver=ne.Picard(alpha))
        M = dense(net, at)
        norm = np.linalg.norm(M, 2, axis=(1, 2))
        assert found.converged.all()
        np.testing.assert_allclose(found.response, norm, rtol=1e-8, atol=1e-15)
        step = (1 - alpha) * np.eye(M.shape[1]) + alpha * M
        np.testing.assert_allclose(found.step, np.linalg.norm(step, 2, axis=(1, 2)), rtol=1e-8, atol=1e-15)
        # An eigenvalue that n ≤ 36 others meet may move by the n-th root of what its matrix is known to; where the
        # dense solver itself is that far from certain there is nothing to compare.
        eigenvalues, vectors = np.linalg.eig(M)
        for i in range(at.batch):
            condition = np.linalg.cond(vectors[i])
            if condition <= 1e4:
                wanted = np.max(np.abs(eigenvalues[i]))
                assert abs(found.radius[i] - wanted) <= condition * 1e-8 * max(norm[i], 1e-300)
        assert found.alpha == alpha

    holds()


def test_a_linear_chain_by_hand():
    """All weights w in a chain of n units: the eigenvalues are ``2w cos(kπ/(n+1))``, whatever the state."""
    spec = ne.models.layered_hopfield([1, 1, 1, 1, 1], activation="identity", bias=False)
    net = ne.compile(spec, backend="reference")
    net.set_parameters({name: np.full(shape, 0.5) for name, shape in spec.parameter_shapes.items()})
    found = ne.lipschitz(net, np.ones((2, 1)), solver=ne.Picard(0.25))
    largest = 2 * 0.5 * np.cos(np.pi / 5)
    np.testing.assert_allclose(found.response, largest, rtol=1e-12)
    np.testing.assert_allclose(found.radius, largest, rtol=1e-12)
    np.testing.assert_allclose(found.step, 0.75 + 0.25 * largest, rtol=1e-12)


def test_the_radius_is_the_rate_at_which_the_free_phase_settles(contracting, samples):
    """At α = 1 the residual shrinks by the spectral radius a step, in the long run."""
    spec = ne.models.layered_hopfield([4, 6, 5, 3], bias=False)
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 2, 0.9))
    x = {name: 0.1 * value for name, value in samples(spec, 4, 2).x.items()}
    at = net.relax(x, solver=ne.Picard(1.0), tol=1e-14, max_steps=2000)
    found = ne.lipschitz(net, x, state=at)
    early, late = (net.relax(x, solver=ne.Picard(1.0), tol=None, max_steps=steps).residual for steps in (20, 60))
    measured = (late / early) ** (1 / 40)
    # Over 40 steps what is left of the other modes counts for a factor of a few.
    np.testing.assert_allclose(measured, found.radius, rtol=np.log(4.0) / 40)


def test_without_a_state_it_is_the_fixed_points(contracting, samples):
    spec = ne.models.layered_hopfield([4, 6, 3])
    net = ne.compile(spec, backend="reference")
    net.set_parameters(contracting(spec, 3))
    x = samples(spec, 4, 3).x
    solver = ne.Picard(0.8)
    here = ne.lipschitz(net, x, solver=solver, tol=1e-12)
    there = ne.lipschitz(net, x, state=net.relax(x, solver=solver, tol=1e-12), solver=solver)
    for one, other in ((here.response, there.response), (here.step, there.step), (here.radius, there.radius)):
        np.testing.assert_array_equal(one, other)


def test_a_state_that_is_not_finite_has_no_constants():
    spec = ne.models.layered_hopfield([2, 3, 2])
    net = ne.compile(spec, backend="reference")
    start = {"hidden1": np.array([[0.0] * 3, [np.nan] * 3]), "output": np.zeros((2, 2))}
    at = net.relax(np.ones((2, 2)), start=start, tol=None, max_steps=0)
    found = ne.lipschitz(net, None, state=at)
    np.testing.assert_array_equal(np.isnan(found.response), [False, True])
    np.testing.assert_array_equal(found.converged, [True, False])


class Other(Solver):
    """A solver without an α."""

    kind: str = "other"


def test_a_solver_without_an_alpha_is_refused():
    net = ne.compile(ne.models.layered_hopfield([2, 2]), backend="reference")
    with pytest.raises(ne.SpecError, match=r"^solver: expected Picard, whose α the step has, found Other$"):
        ne.lipschitz(net, np.ones((1, 2)), solver=Other())


# -- the budget -----------------------------------------------------------------------------------------------------


def test_a_chain_uses_what_its_matrix_of_norms_says():
    """Three free populations with norms of 1 between them: ``2cos(π/4) = √2``, not 1."""
    spec = ne.models.layered_hopfield([2, 3, 3, 3])
    parameters = {
        name: 7.0 * np.ones(shape)
        if name.startswith("input")
        else np.eye(*shape)
        if len(shape) == 2
        else np.ones(shape)
        for name, shape in spec.parameter_shapes.items()
    }
    budget = ne.NormBudget(0.9)
    np.testing.assert_allclose(budget.value(spec, parameters), np.sqrt(2.0), rtol=1e-14)
    projected = budget.project(spec, parameters)
    np.testing.assert_allclose(projected["hidden1_hidden2.weight"], 0.9 / np.sqrt(2) * np.eye(3), rtol=1e-13)
    for name in ("input_hidden1.weight", "hidden1_bias.bias", "output_bias.bias"):
        assert projected[name] is parameters[name]


@pytest.mark.parametrize(("activation", "slope"), [("tanh", 1.0), ("sigmoid", 0.25), ("softmax", 0.5)])
def test_the_slope_of_the_sending_population_counts(activation, slope):
    """``w`` from one population onto itself, symmetric: the drive answers by ``w``, the activity by ``sup ρ'``."""
    spec = ne.Network(
        populations=[
            ne.Population(name="x", shape=2, clamped=True),
            ne.Population(name="h", shape=2, activation=activation),
        ],
        synapses=[ne.Dense(source="x", target="h"), ne.Dense(name="w", source="h", target="h")],
    )
    parameters = {"x_h.weight": np.eye(2), "w.weight": np.diag([3.0, -4.0])}
    assert ne.NormBudget().value(spec, parameters) == pytest.approx(4.0 * slope, rel=1e-14)


def scaled_up(spec, seed, size):
    """Random parameters whose norms are about ``size``."""
    rng = np.random.default_rng([seed, 3])
    return spec.project({name: size * rng.normal(size=shape) for name, shape in spec.parameter_shapes.items()})


def test_within_the_budget_every_response_is_a_contraction(networks, samples):
    """After projection ``‖Dρ'‖₂ ≤ c`` for any parameters, inputs and states, and projecting again changes no bit."""

    @given(
        networks,
        st.integers(0, 2**16),
        st.sampled_from([0.01, 0.3, 1.0, 30.0]),
        st.sampled_from([0.5, 0.9, 0.99]),
        st.sampled_from(["float64", "float32"]),
    )
    def holds(spec, seed, size, c, dtype):
        budget = ne.NormBudget(c)
        raw = {name: value.astype(dtype) for name, value in scaled_up(spec, seed, size).items()}
        before = {name: value.copy() for name, value in raw.items()}
        inside = [s for s in spec.synapses if s.kind == "gated_dense" and not spec.population(s.source).clamped]
        if inside:
            # Its gate multiplies what its source sends, which may be anything.
            with pytest.raises(ne.SpecError, match="has no bound on its response, so no budget can hold it"):
                budget.project(spec, raw)
            return
        owners = {synapse.name for synapse in spec.synapses}
        unlearned = {k: 0.0 * v if k.partition(".")[0] in owners else v for k, v in raw.items()}
        if budget.value(spec, unlearned) >= c:
            # A history's coupling belongs to the spec: there is nothing to scale.
            with pytest.raises(ne.SpecError, match=r"^couplings that are not learned use .* of the budget of"):
                budget.project(spec, raw)
            return
        projected = budget.project(spec, raw)
        assert list(projected) == list(raw)
        for name, value in raw.items():
            np.testing.assert_array_equal(value, before[name])
            assert projected[name].dtype == dtype
        assert budget.value(spec, projected) <= c
        again = budget.project(spec, projected)
        assert all(again[name] is projected[name] for name in projected)
        if budget.value(spec, raw) <= c:
            assert all(projected[name] is raw[name] for name in raw)
        net = ne.compile(spec, backend="reference")
        net.set_parameters(projected)
        data = samples(spec, 3, seed)
        for at in (random_state(net, data), net.relax(data.x)):
            found = ne.lipschitz(net, data.x, state=at)
            # A norm from below, so only rounding may lift it over the bound: sums of fewer than 64 terms.
            assert np.all(found.response <= c * (1 + 64 * 2.0**-52))

    holds()


def test_a_random_network_needs_it_and_settles_with_it(samples):
    """With norms of 3 the free phase runs into a cycle at α = 1; within the budget it settles at the promised rate."""
    spec = ne.models.looped_mlp(4, 30, 3, symmetric=False)
    net = ne.compile(spec, backend="reference")
    net.set_parameters(scaled_up(spec, 0, 0.6))
    x = samples(spec, 8, 0).x
    assert not net.relax(x, solver=ne.Picard(1.0), tol=1e-10, max_steps=300).converged.any()
    net.set_parameters(ne.NormBudget(0.9).project(spec, net.parameters))
    # 0.9³⁰⁰ = 2e-14 of the distance that the start has.
    assert net.relax(x, solver=ne.Picard(1.0), tol=1e-10, max_steps=300).converged.all()


class Pull(SymmetricSynapse):
    """A synapse that says nothing of its response."""

    kind: str = "pull"
    source: str
    target: str

    populations = property(lambda self: (self.source, self.target))
    default_name = property(lambda self: "pull")

    def parameter_shapes(self, shapes):
        return {}

    def initial(self, shapes, rng):
        return {}

    def energy(self, a, theta):
        raise AssertionError

    drive = response = drive_vjp = gradient = energy


class Steep(Activation):
    """An activation whose slope has no bound."""

    kind: str = "steep"
    slope_bound = float("inf")

    def lagrangian(self, u, theta):
        raise AssertionError

    activity = slope = lagrangian


def test_what_has_no_bound_is_refused_by_name():
    populations = [ne.Population(name="x", shape=2, clamped=True), ne.Population(name="h", shape=2)]
    entry = ne.Dense(source="x", target="h")
    spec = ne.Network(populations=populations, synapses=[entry, Pull(source="h", target="h")])
    parameters = {"x_h.weight": np.eye(2)}
    with pytest.raises(ne.SpecError, match=r'^synapses\[1\]: "pull" of kind "pull" has no bound on its response, .*'):
        ne.NormBudget().value(spec, parameters)
    loop = ne.DirectedDense(name="w", source="h", target="h")
    steep = [populations[0], ne.Population(name="h", shape=2, activation=Steep())]
    spec = ne.Network(populations=steep, synapses=[entry, loop])
    with pytest.raises(ne.SpecError, match=r'^populations\[1\]\.activation: the slope of "steep" has no bound, .*'):
        ne.NormBudget().project(spec, {**parameters, "w.weight": np.eye(2)})
    spec = ne.Network(populations=populations, synapses=[entry, loop])
    with pytest.raises(ne.SpecError, match=r'^synapses\[1\]: the norm of "w" is not finite, .*'):
        ne.NormBudget().project(spec, {**parameters, "w.weight": np.full((2, 2), np.inf)})


@pytest.mark.parametrize("c", [0.0, 1.0, -0.5, float("nan")])
def test_a_budget_lies_between_nought_and_one(c):
    with pytest.raises(ne.SpecError, match=r"^c: "):
        ne.NormBudget(c)


def test_torchs_parameters_are_projected_alike(need):
    need("torch")
    spec = ne.models.layered_hopfield([3, 5, 4, 2])
    raw = {name: value.astype(np.float32) for name, value in scaled_up(spec, 1, 2.0).items()}
    net = ne.compile(spec, backend="torch", dtype="float32")
    net.set_parameters(raw)
    found = ne.NormBudget(0.8).project(spec, net.parameters)
    for name, value in ne.NormBudget(0.8).project(spec, raw).items():
        np.testing.assert_allclose(net.to_numpy(found[name]), value, rtol=4 * 2.0**-23)
