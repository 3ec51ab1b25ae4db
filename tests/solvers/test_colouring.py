"""Populations of one colour do not feel one another, and an exact one does not feel itself: by finite changes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.arrays import inner, sum_units
from neuro_eq.colouring import colours, exact, feeds_back
from neuro_eq.dynamics import Dynamics
from neuro_eq.synapses import SymmetricSynapse


class Triple(SymmetricSynapse):
    """``e = −s Σ(a_p a_q a_r)`` on three populations of one shape: linear in each of them by itself."""

    kind: Literal["triple"] = "triple"
    ends: tuple[str, str, str]

    @property
    def populations(self) -> tuple[str, ...]:
        return self.ends

    @property
    def default_name(self) -> str:
        return "_".join(self.ends)

    def population_fields(self) -> dict[str, str]:
        return {f"ends[{i}]": name for i, name in enumerate(self.ends)}

    def parameter_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        return {"scale": (1,)}

    def initial(self, shapes, rng):
        return {"scale": np.array([0.3])}

    def energy(self, a, theta):
        one, two, three = (a[name] for name in self.ends)
        return -theta["scale"] * sum_units(one * two * three)

    def drive(self, a, theta, onto):
        return {
            name: theta["scale"] * math.prod(a[other] for other in self.ends if other != name)
            for name in self.ends
            if name in onto
        }

    def response(self, a, delta, theta, onto):
        felt = {}
        for name in self.ends:
            if name in onto:
                one, two = (other for other in self.ends if other != name)
                felt[name] = theta["scale"] * (a[one] * delta[two] + a[two] * delta[one])
        return felt

    def gradient(self, a, theta):
        return {"scale": -np.mean(inner(a[self.ends[0]], a[self.ends[1]] * a[self.ends[2]]), keepdims=True)}

    def drive_vjp(self, a, lam, theta):
        return {
            "scale": sum(np.mean(inner(lam[p], d), keepdims=True) for p, d in self.drive(a, theta, self.ends).items())
        }


class Multilinear(Triple):
    """The same, and it says that it is linear in each."""

    kind: Literal["multilinear"] = "multilinear"

    def feeds_back(self, population: str) -> bool:
        return False


def network(free: str, synapses: Collection[ne.synapses.Synapse], cost: str | None = None) -> ne.Network:
    """Populations of one letter and two units each, all of them with a bias; ``x`` is the input."""
    return ne.Network(
        populations=[
            ne.Population(name="x", shape=2, clamped=True),
            *(ne.Population(name=name, shape=2) for name in free),
        ],
        synapses=[*synapses, *(ne.Bias(target=name) for name in free)],
        cost=None if cost is None else {"kind": "squared_error", "population": cost},
    )


def dense(pairs: str) -> list[ne.Dense]:
    return [ne.Dense(source=pair[0], target=pair[1]) for pair in pairs.split()]


@pytest.mark.parametrize(
    ("free", "synapses", "wanted"),
    [
        ("abcde", dense("xa ab bc cd de"), ("ace", "bd")),
        ("abc", dense("ab bc ca"), ("a", "b", "c")),
        ("abc", dense("ac"), ("ab", "c")),
        ("abc", dense("xa xb xc aa"), ("abc",)),
        ("abcd", [Triple(ends=("a", "b", "c")), *dense("cd")], ("ad", "b", "c")),
        ("abc", [Triple(ends=("a", "x", "c"))], ("ab", "c")),
        ("ab", [ne.DirectedDense(source="b", target="a")], ("a", "b")),
    ],
    ids=["chain", "triangle", "spec order", "input and itself", "hyper-edge", "through the input", "directed"],
)
def test_colours(free, synapses, wanted):
    assert colours(network(free, synapses)) == tuple(tuple(colour) for colour in wanted)


def changes(net, spec, data, moved, seed):
    """Which populations' drives, the asymmetric correction included, change when one population's activity does."""
    dynamics, theta = Dynamics(spec), net.parameters
    rng = np.random.default_rng(seed)
    a = {**data.x, **data.start}
    anchor = {name: rng.normal(size=value.shape) for name, value in a.items()}
    other = {**a, moved: a[moved] + rng.normal(size=a[moved].shape)}

    def felt(at):
        drive, correction = dynamics.drive(at, theta), dynamics.asymmetry(anchor, at, theta)
        return {name: (drive[name], correction[name]) for name in drive}

    before, after = felt(a), felt(other)
    return {
        name
        for name in before
        if any(not np.array_equal(one, two) for one, two in zip(before[name], after[name], strict=True))
    }


def test_one_colour_does_not_feel_itself(networks, contracting, samples):
    @given(networks, st.integers(0, 2**16))
    def holds(spec, seed):
        net = ne.compile(spec, backend="reference")
        net.set_parameters(contracting(spec, seed))
        data = samples(spec, 2, seed)
        found = colours(spec)
        assert sorted(name for colour in found for name in colour) == sorted(p.name for p in spec.free)
        for colour in found:
            for name in colour:
                feels = changes(net, spec, data, name, seed)
                assert not feels & (set(colour) - {name})
                assert (name in feels) <= feeds_back(spec, name)

    holds()


def test_a_sum_over_the_network_is_the_sum_over_its_colours(networks, contracting, samples):
    """What a sweep evaluates, colour by colour, is the whole drive where nothing moves."""

    @given(networks, st.integers(0, 2**16))
    def holds(spec, seed):
        dynamics, theta = Dynamics(spec), contracting(spec, seed)
        data = samples(spec, 2, seed)
        a, anchor = {**data.x, **data.start}, {**data.x, **samples(spec, 2, seed + 1).start}
        for whole, part in (
            (dynamics.moving_drive(a, theta), lambda onto: dynamics.moving_drive(a, theta, onto)),
            (dynamics.asymmetry(anchor, a, theta), lambda onto: dynamics.asymmetry(anchor, a, theta, onto)),
        ):
            joined = {}
            for colour in colours(spec):
                joined.update(part(colour))
            assert joined.keys() == whole.keys()
            for name, value in whole.items():
                np.testing.assert_array_equal(joined[name], value)

    holds()


def test_which_populations_are_exact():
    spec = network("abc", dense("xa ab bc bb"), cost="c")
    assert [exact(spec, name) for name in "abc"] == [True, False, True]
    assert [exact(spec, "c", beta) for beta in (0.1, -0.1, -0.999, -1.0, -5.0, 0.1j)] == [True] * 3 + [False] * 3
    assert exact(spec, "a", -5.0), "only the cost's population feels the nudge"


@pytest.mark.parametrize(
    ("activation", "cost", "under_a_nudge"),
    [
        ("identity", "squared_error", True),
        ("relu", "squared_error", True),
        ("hard_sigmoid", "squared_error", True),
        ("tanh", "squared_error", False),
        ("softmax", "squared_error", False),
        ("identity", "cross_entropy", False),
    ],
)
def test_what_is_exact_under_a_nudge(activation, cost, under_a_nudge):
    spec = ne.models.layered_hopfield([2, 3, 4, 2], activation, cost=cost)
    nudged = spec.cost.population
    assert exact(spec, nudged)
    assert exact(spec, nudged, 0.5) == under_a_nudge


def test_a_synapse_is_taken_to_feed_back_unless_it_says_otherwise():
    ends = ("a", "b", "c")
    assert not exact(network("abc", [Triple(ends=ends)]), "a")
    assert exact(network("abc", [Multilinear(ends=ends)]), "a")
