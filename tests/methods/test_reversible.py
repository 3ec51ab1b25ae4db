"""Backpropagation through steps that are taken back, against differences of the cost after the same steps."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.dynamics import Dynamics
from neuro_eq.experiments.training.footprint import allocated

ALPHA = 0.4


@pytest.fixture
def case(need, samples, mixture, drawn):
    """And a gate on the drive by data."""
    need("torch")
    spec = mixture(ne.synapses.GatedDense(source="x", target="o", name="gated_data"))
    return drawn(spec, 0.4), samples(spec, 4, 5)


def how(alpha=ALPHA):
    return ne.Relaxation(solver=ne.Picard(alpha))


def tracks(spec, theta, x, batch, steps, alpha):
    """Both tracks after so many steps, written down as the equations stand."""
    dynamics = Dynamics(spec)
    v, u = ({p.name: np.zeros((batch, *p.shape)) for p in spec.free} for _ in range(2))

    def towards(one, other):
        a = dynamics.activities(other, x, theta)
        still, moving = dynamics.still_drive(a, theta), dynamics.moving_drive(a, theta)
        return {n: (1 - alpha) * value + alpha * (still[n] + moving[n]) for n, value in one.items()}

    for _ in range(steps):
        v = towards(v, u)
        u = towards(u, v)
    return v, u


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_it_is_the_derivative_of_the_cost_after_so_many_steps(case, differences, steps):
    net, data = case
    spec, batch = net.spec, len(data.y)
    found, evidence = ne.Reversible(steps).gradient(net, data.x, data.y, free=how())
    theta = {name: net.to_numpy(value) for name, value in net.parameters.items()}
    dynamics = Dynamics(spec)

    def cost(changed):
        values = {**theta, **changed}
        _, u = tracks(spec, values, data.x, batch, steps, ALPHA)
        return float(np.mean(dynamics.cost(dynamics.activities(u, data.x, values), data.y, values)))

    np.testing.assert_allclose(evidence.cost.mean(), cost({}), rtol=0, atol=1e-13)
    differences(net, found, cost)


def test_where_it_has_settled_it_is_the_implicit_gradient(need, contracting, samples):
    need("torch")
    spec = ne.models.looped_mlp(4, 6, 3, symmetric=False)
    net = ne.compile(spec, backend="torch")
    net.set_parameters(contracting(spec, 3, 0.3))
    data = samples(spec, 4, 0)
    found, _ = ne.Reversible(25).gradient(net, data.x, data.y, free=how(0.5))
    wanted, _ = ne.ImplicitDifferentiation().gradient(net, data.x, data.y)
    size = max(float(value.norm()) for value in wanted.values())
    for name, value in wanted.items():
        # A step leaves at most 0.5 + 0.5·0.3 of one track's error and, with the other's, less of both: 0.65²⁵ = 2e-5.
        np.testing.assert_allclose(net.to_numpy(found[name]), net.to_numpy(value), rtol=0, atol=2e-5 * size)


def test_single_precision_is_as_good_as_its_drives(case):
    """The tracks are kept in float64, so that what is taken back is what was there."""
    net, data = case
    single = ne.compile(net.spec, backend="torch", dtype="float32")
    single.set_parameters({name: net.to_numpy(value) for name, value in net.parameters.items()})
    wanted, _ = ne.Reversible(20).gradient(net, data.x, data.y, free=how())
    found, _ = ne.Reversible(20).gradient(single, data.x, data.y, free=how())
    size = max(float(np.linalg.norm(net.to_numpy(value))) for value in wanted.values())
    for name, value in wanted.items():
        np.testing.assert_allclose(single.to_numpy(found[name]), net.to_numpy(value), rtol=0, atol=1e-5 * size)


def test_memory_does_not_grow_with_the_steps(case):
    """All that torch's allocator gives, potentials included."""
    net, data = case

    def most(steps):
        method = ne.Reversible(steps)
        return allocated(lambda: method.gradient(net, data.x, data.y, free=how(0.2))[0])

    most(2)
    assert most(40) <= 1.01 * most(10)


def test_single_precision_at_its_default_on_a_transformer(need, samples):
    """A last bit of a drive that is not found again grows as rounding does; the method lets a thousandth pass."""
    need("torch")
    spec = ne.models.energy_transformer((8, 8), 10, patch=4, width=16, heads=4)
    net = ne.compile(spec, backend="torch", dtype="float32")
    data = samples(spec, 8, 0)
    found, _ = ne.Reversible().gradient(net, data.x, data.y, free=how(0.5))
    double = ne.compile(spec, backend="torch")
    double.set_parameters({name: net.to_numpy(value) for name, value in net.parameters.items()})
    wanted, _ = ne.Reversible().gradient(double, data.x, data.y, free=how(0.5))
    size = max(float(value.norm()) for value in wanted.values())
    for name, value in wanted.items():
        np.testing.assert_allclose(net.to_numpy(found[name]), net.to_numpy(value), rtol=0, atol=1e-3 * size)


@pytest.mark.parametrize("method", [ne.Reversible(5), ne.BPTT(5)], ids=["reversible", "bptt"])
def test_a_recorder_changes_no_evidence(case, method):
    net, data = case

    class Watching:
        def relaxation(self, net, task, settling, resumed):
            while not settling.advance(1):
                pass

        def settled(self, net, task, found):
            pass

    _, alone = method.gradient(net, data.x, data.y, free=how())
    _, watched = method.gradient(net, data.x, data.y, free=how(), record=Watching())
    np.testing.assert_array_equal(alone.cost, watched.cost)
    np.testing.assert_array_equal(alone.free.residual, watched.free.residual)


def test_what_cannot_be_taken_back_is_no_gradient(case):
    net, data = case
    with pytest.raises(ne.BackendError) as error:
        ne.Reversible(200).gradient(net, data.x, data.y, free=how())
    assert str(error.value).startswith("200 steps with α = 0.4 could not be taken back: the way back ended ")


def test_nothing_of_it_stays(case):
    net, data = case
    gradient, evidence = ne.Reversible(3).gradient(net, data.x, data.y, free=how())
    assert not any(value.requires_grad for value in (*gradient.values(), *evidence.free.states.values()))
    assert not any(value.requires_grad for value in net.parameters.values())
    np.testing.assert_array_equal(evidence.free.steps, 3)
    _, u = tracks(net.spec, {n: net.to_numpy(v) for n, v in net.parameters.items()}, data.x, 4, 3, ALPHA)
    for name, value in u.items():
        np.testing.assert_allclose(net.to_numpy(evidence.free.states[name]), value, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (ne.synapses.History(target="h", coupling=0.1), 'synapses[8]: "h_history" makes a step depend on more than'),
        (ne.synapses.StepGate(source="x", target="o"), 'synapses[8]: "x_o_gate" makes a step depend on more than t'),
    ],
)
def test_steps_that_depend_on_more_are_refused(case, change, message):
    net, data = case
    spec = ne.Network(populations=net.spec.populations, synapses=(*net.spec.synapses, change), cost=net.spec.cost)
    with pytest.raises(ne.SpecError) as error:
        ne.Reversible(3).gradient(ne.compile(spec, backend="torch"), data.x, data.y, free=how())
    assert str(error.value).startswith(message)


def test_a_step_that_forgets_is_refused(case):
    net, data = case
    with pytest.raises(ne.SpecError, match=r"^free\.solver\.alpha: a step with α = 1 forgets where it began"):
        ne.Reversible(3).gradient(net, data.x, data.y, free=how(1.0))


def test_tracks_that_diverge(need, samples):
    need("torch")
    spec = ne.models.layered_hopfield([3, 4, 2], activation="identity")
    net, data = ne.compile(spec, backend="torch"), samples(spec, 2, 0)
    net.set_parameters({"hidden1_output.weight": 1e30 * np.ones((2, 4))})
    with pytest.raises(ne.BackendError, match=r"^the potentials diverged within 20 steps with α = 0\.5; take a"):
        ne.Reversible().gradient(net, data.x, data.y, free=how(0.5))


def test_only_torch_can(samples):
    spec = ne.models.layered_hopfield([3, 4, 2])
    net, data = ne.compile(spec, backend="reference"), samples(spec, 2, 0)
    with pytest.raises(ne.BackendError, match=r"^Reversible needs backend \"reference\" to differentiate through "):
        ne.Reversible(3).gradient(net, data.x, data.y)
