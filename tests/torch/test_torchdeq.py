"""torchdeq, which knows nothing of this project, finds the same fixed points and the same gradients.

Its states are the activities, ``z = ρ(drive(z))``, and its derivatives are autograd's.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import neuro_eq as ne

SPECS = {
    "chain": lambda: ne.models.layered_hopfield([4, 6, 5, 3]),
    "readout": lambda: ne.models.layered_hopfield([4, 6, 5, 3], "sigmoid", cost="cross_entropy"),
    "directed": lambda: ne.models.looped_mlp(4, 7, 3, symmetric=False, cost="squared_error"),
    "layer norm": lambda: ne.models.modern_hopfield_mlp(4, 6, 3),
    "gated": lambda: ne.models.gated_mlp(4, 6, 3, gate="drive"),
    "words": lambda: ne.models.energy_transformer((4,), 3, vocabulary=6, depth=2, width=4, heads=2, memory="softplus"),
    "linear": lambda: ne.models.energy_transformer((2, 4), 3, patch=2, width=4, heads=2, attention="linear"),
    "symmetric": lambda: ne.models.looped_transformer((2, 4), 3, patch=2, width=4, heads=2, hidden=5, symmetric=True),
    "block": lambda: ne.models.looped_transformer(
        (4,), 3, vocabulary=6, depth=2, width=4, heads=2, hidden=5, attention="softmax", feed_forward="gelu"
    ),
    "linear block": lambda: ne.models.looped_transformer(
        (2, 4), 3, patch=2, width=4, heads=2, hidden=5, dropout=0.3, feed_forward="gelu"
    ),
    "maps": lambda: ne.models.conv_hopfield((4, 4), 3, channels=(2, 3), pool="average", activation="tanh", skips=True),
}
FREE = ne.Relaxation(solver=ne.Picard(0.9), tol=1e-14, max_steps=2000)
WITHIN = 1e-12
"""Both settle to 1e-14, and a contraction of 0.6 leaves 2.5 times that."""


@pytest.fixture(scope="module")
def get_deq(need):
    need("torch")
    with warnings.catch_warnings():
        # Its sources have escape sequences that Python warns of where they are compiled for the first time.
        warnings.simplefilter("ignore")
        torchdeq = pytest.importorskip("torchdeq", reason='torchdeq is not installed; run: pip install ".[torch,test]"')
    return torchdeq.get_deq


@pytest.fixture(params=SPECS)
def case(request, need, contracting, samples):
    need("torch")
    spec = SPECS[request.param]()
    net = ne.compile(spec, backend="torch")
    net.set_parameters(contracting(spec, 7))
    return net, samples(spec, 6, 8)


class Theirs:
    """The network as a function of one tensor, under torchdeq."""

    def __init__(self, net, data) -> None:
        import torch

        self.net, self.dynamics = net, net.dynamics
        self.free = net.spec.free
        self.leaves = {n: value.clone().requires_grad_() for n, value in net.parameters.items()}
        # Where parameters are tied (W = Wᵀ) the gradient is that along admissible changes.
        self.theta = net.spec.project(self.leaves)
        self.inputs = {n: torch.tensor(value) for n, value in data.x.items()}
        self.y = torch.tensor(data.y)
        self.zero = torch.zeros((len(data.y), net.spec.free_units), dtype=torch.float64)

    def activities(self, z):
        parts = z.split([p.size for p in self.free], dim=1)
        shaped = {p.name: part.reshape(-1, *p.shape) for p, part in zip(self.free, parts, strict=True)}
        return {**self.inputs, **shaped}

    def __call__(self, z, tau=1.0):
        import torch

        drive = self.dynamics.drive(self.activities(z), self.theta)
        a = self.dynamics.activities(drive, self.inputs, self.theta)
        return tau * torch.cat([a[p.name].flatten(1) for p in self.free], dim=1) + (1.0 - tau) * z

    def gradient(self, z):
        import torch

        cost = self.dynamics.cost(self.activities(z), self.y, self.theta).mean()
        return torch.autograd.grad(cost, list(self.leaves.values()), allow_unused=True, materialize_grads=True)


def settled(get_deq, theirs, solver, **options):
    how = {"f_max_iter": 300, "f_tol": 1e-14, "b_max_iter": 300, "b_tol": 1e-14}
    deq = get_deq(f_solver=solver, b_solver=solver, **how, **options)
    (*_, z), _ = deq(theirs, theirs.zero)
    return z


def equal(net, found, wanted):
    for (name, value), other in zip(found.items(), wanted, strict=True):
        np.testing.assert_allclose(net.to_numpy(value), other.numpy(), rtol=0, atol=WITHIN, err_msg=name)


@pytest.mark.parametrize("solver", ["fixed_point_iter", "anderson"])
def test_fixed_points(get_deq, case, solver):
    net, data = case
    theirs = Theirs(net, data)
    z = settled(get_deq, theirs, solver, ift=True).detach()
    free = net.relax(data.x, solver=FREE.solver, tol=FREE.tol, max_steps=FREE.max_steps)
    for name, value in theirs.activities(z).items():
        np.testing.assert_allclose(net.to_numpy(free.activities[name]), value.numpy(), rtol=0, atol=WITHIN)


@pytest.mark.parametrize("method", [ne.ImplicitDifferentiation(), ne.DyadicEP()], ids=["implicit", "dyadic"])
def test_implicit_gradients(get_deq, case, method):
    net, data = case
    theirs = Theirs(net, data)
    wanted = theirs.gradient(settled(get_deq, theirs, "fixed_point_iter", ift=True))
    found, _ = method.gradient(net, data.x, data.y, free=FREE)
    equal(net, found, wanted)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (ne.JFB(), {"grad": 1}),
        (ne.Phantom(4, 0.6), {"grad": 4, "tau": 0.6}),
        (ne.Phantom(3, 1.0), {"grad": 3}),
    ],
    ids=["jfb", "phantom", "undamped"],
)
def test_phantom_gradients(get_deq, case, method, options):
    net, data = case
    theirs = Theirs(net, data)
    wanted = theirs.gradient(settled(get_deq, theirs, "fixed_point_iter", **options))
    found, _ = method.gradient(net, data.x, data.y, free=FREE)
    equal(net, found, wanted)


def test_small_nudges_find_the_same_gradient(get_deq, case):
    """What local learning estimates is what differentiation through the fixed point computes."""
    net, data = case
    theirs = Theirs(net, data)
    wanted = theirs.gradient(settled(get_deq, theirs, "fixed_point_iter", ift=True))
    found, _ = ne.AsymEP(1e-3).gradient(net, data.x, data.y, free=ne.Relaxation(eta=1e-9, max_steps=3000))
    ours = np.concatenate([net.to_numpy(value).ravel() for value in found.values()])
    exact = np.concatenate([value.numpy().ravel() for value in wanted])
    assert np.linalg.norm(ours - exact) <= 1e-5 * np.linalg.norm(exact)
