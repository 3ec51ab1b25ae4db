"""Backpropagation through time against differences of the cost, and what it keeps in memory."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne

ALPHA = 0.7


@pytest.fixture
def case(need, samples, mixture, drawn):
    """A history and a gate on the step, too."""
    need("torch")
    make = ne.synapses
    spec = mixture(make.History(target="h", coupling=0.3, buffer_size=3), make.StepGate(source="x", target="o"))
    return drawn(spec, 0.6), samples(spec, 4, 5)


def how(**changes):
    return ne.Relaxation(solver=ne.Picard(ALPHA), **changes)


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("method", [ne.BPTT, ne.CheckpointedBPTT])
def test_it_is_the_derivative_of_the_cost_after_so_many_steps(case, differences, steps, method):
    """Long before anything has settled; the differences come from the reference engine."""
    net, data = case
    found, evidence = method(steps).gradient(net, data.x, data.y, free=how())
    oracle = ne.compile(net.spec, backend="reference")
    theta = {name: net.to_numpy(value) for name, value in net.parameters.items()}

    def cost(changed):
        oracle.set_parameters({**theta, **changed})
        end = oracle.relax(data.x, solver=ne.Picard(ALPHA), tol=None, max_steps=steps)
        return float(np.mean(oracle.cost(end, data.y)))

    np.testing.assert_allclose(evidence.cost.mean(), cost({}), rtol=0, atol=1e-13)
    differences(net, found, cost)


@pytest.mark.parametrize("every", [None, 1, 3, 7, 20])
def test_checkpoints_change_no_bit(case, every):
    net, data = case
    plain, one = ne.BPTT(7).gradient(net, data.x, data.y, free=how())
    found, other = ne.CheckpointedBPTT(7, every).gradient(net, data.x, data.y, free=how())
    for name, value in plain.items():
        np.testing.assert_array_equal(net.to_numpy(found[name]), net.to_numpy(value))
    for name, value in one.free.states.items():
        np.testing.assert_array_equal(net.to_numpy(other.free.states[name]), net.to_numpy(value))


def test_the_evidence_is_where_the_steps_end(case):
    net, data = case
    wanted = net.relax(data.x, solver=ne.Picard(ALPHA), tol=None, max_steps=6)
    _, evidence = ne.BPTT(6).gradient(net, data.x, data.y, free=how())
    np.testing.assert_array_equal(evidence.free.steps, 6)
    np.testing.assert_array_equal(evidence.free.status, ne.Status.MAX_STEPS)
    np.testing.assert_allclose(evidence.free.residual, wanted.residual, rtol=0, atol=1e-14)
    for name, value in wanted.states.items():
        np.testing.assert_allclose(net.to_numpy(evidence.free.states[name]), net.to_numpy(value), rtol=0, atol=1e-14)


class Kept:
    """Numbers that autograd keeps for the way back, outside of what it will compute again."""

    def __init__(self, net, data) -> None:
        self.net, self.data = net, data

    def __call__(self, method) -> int:
        import torch

        kept: dict[int, int] = {}

        def keep(tensor):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            method.gradient(self.net, self.data.x, self.data.y, free=how())
        return sum(kept.values())


def test_memory_grows_with_the_steps_unless_they_are_taken_again(case):
    kept = Kept(*case)
    short, long = kept(ne.BPTT(10)), kept(ne.BPTT(40))
    assert 3 * short <= long <= 4 * short
    assert kept(ne.CheckpointedBPTT(40)) <= 0.1 * long


def test_nothing_of_it_stays(case):
    net, data = case
    gradient, evidence = ne.BPTT(3).gradient(net, data.x, data.y)
    assert not any(value.requires_grad for value in (*gradient.values(), *evidence.free.states.values()))
    assert not any(value.requires_grad for value in net.parameters.values())


def test_other_solvers_are_refused(case):
    net, data = case
    with pytest.raises(ne.SpecError, match=r"^free\.solver: BPTT unrolls Picard steps, found Anderson; give free="):
        ne.BPTT(3).gradient(net, data.x, data.y, free=ne.Relaxation(solver=ne.Anderson()))


def test_only_torch_can(samples):
    spec = ne.models.layered_hopfield([3, 4, 2])
    net, data = ne.compile(spec, backend="reference"), samples(spec, 2, 0)
    with pytest.raises(ne.BackendError) as error:
        ne.BPTT(3).gradient(net, data.x, data.y)
    assert str(error.value) == (
        'BPTT needs backend "reference" to differentiate through the steps of a relaxation, which it cannot: '
        "NumPy records no operations; the torch engine does, and equals it"
    )


def test_the_memory_ends(case, monkeypatch):
    import torch

    from neuro_eq.backends.torch import unrolled

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    net, data = case
    monkeypatch.setattr(unrolled, "PicardStepper", full)
    with pytest.raises(ne.BackendError, match=r"for a batch of 4 samples; take .* fewer steps or CheckpointedBPTT, "):
        ne.BPTT(3).gradient(net, data.x, data.y)
