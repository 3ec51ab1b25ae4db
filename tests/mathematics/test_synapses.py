"""Each synapse's methods are derivatives of one another, for every entry of the table."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neuro_eq.synapses import (
    SYNAPSES,
    DirectedDense,
    GatedDense,
    History,
    HopfieldMemory,
    StepGate,
    SymmetricSynapse,
)

SHAPES = {
    "p": (2, 3), "q": (4,), "r": (2, 3), "s": (3, 4), "t": (3, 4), "wide": (3, 2), "mask": (3,), "ids": (3,),
    "image": (4, 6), "hot": (3, 5), "masks": (2, 3, 4),
    "maps": (2, 6, 4), "same": (3, 6, 4), "half": (2, 3, 2), "tall": (3, 2, 3), "strided": (3, 3, 2),
}  # fmt: skip
REQUIRED = {"hopfield_memory": {"patterns": 3}}
"""Fields beside the ends that a kind cannot do without."""
ENDS = ("p", "q", "r")
"""The populations between which every other synapse is tried."""
CASES = {
    "softmax_attention": {
        "plain": {"target": "s", "heads": 2},
        "causal": {"target": "s", "causal": True, "width": 3, "inverse_temperature": 0.7, "gamma": 0.4},
        "padded": {"target": "s", "shared": ("t",), "heads": 2, "width": 1, "padding": "mask"},
        "padded-causal": {"target": "s", "padding": "mask", "causal": True},
    },
    "linear_attention": {
        "plain": {"target": "s", "heads": 2, "gamma": 0.5},
        "identity": {"target": "s", "shared": ("t",), "features": "identity", "gamma": 0.5},
        "padded": {"target": "s", "padding": "mask", "width": 3, "gamma": 0.5},
    },
    "token_memory": {
        "relu": {"target": "s", "patterns": 5, "gamma": 0.8},
        "softplus": {"target": "s", "patterns": 3, "form": "softplus", "inverse_temperature": 2.0, "bias": True},
        "logsumexp": {"target": "s", "shared": ("t",), "patterns": 3, "form": "logsumexp", "bias": True},
        "padded": {"target": "s", "patterns": 3, "padding": "mask"},
    },
    "token_dense": {
        "between": {"source": "s", "target": "wide"},
        "itself": {"source": "s", "target": "s", "diagonal": 0.5},
    },
    "token_embedding": {
        "ids": {"source": "ids", "target": "s", "vocabulary": 5},
        "one-hot": {"source": "hot", "target": "s", "shared": ("t",), "vocabulary": 5, "positions": False},
    },
    "convolution": {
        "plain": {"source": "maps", "target": "same", "padding": 1},
        "strided": {"source": "maps", "target": "strided", "stride": 2, "padding": 1},
        "kernel": {"source": "maps", "target": "tall", "kernel": (5, 2), "bias": False},
        "average": {"source": "maps", "target": "strided", "padding": 1, "pool": "average"},
        "max": {"source": "maps", "target": "strided", "padding": 1, "pool": "max"},
        "ones": {"source": "same", "target": "maps", "kernel": 1, "pool": None},
    },
    "pooling": {
        "average": {"source": "maps", "target": "half"},
        "max": {"source": "maps", "target": "half", "pool": "max"},
    },
    "transformer_block": {
        "plain": {"source": "s", "target": "t", "hidden": 5, "heads": 2, "feed_forward": "gelu"},
        "relu": {"source": "s", "target": "s", "hidden": 5, "causal": True},
        "linear": {"source": "s", "target": "t", "hidden": 3, "heads": 2, "attention": "linear", "masks": "masks"},
        "padded": {"source": "s", "target": "t", "hidden": 3, "padding": "mask", "masks": "masks"},
        "linear-padded": {
            "source": "s",
            "target": "s",
            "hidden": 3,
            "heads": 4,
            "attention": "linear",
            "padding": "mask",
            "causal": True,
            "feed_forward": "gelu",
        },
    },
    "patch_embedding": {
        "patches": {"source": "image", "target": "s", "patch": (4, 2)},
        "shared": {"source": "image", "target": "s", "shared": ("t",), "patch": (4, 2), "positions": False},
    },
}
"""Synapses that accept few shapes only, or whose options change what they compute."""
STEP = 1e-5
"""Central differences: rounding ``2⁻⁵³·100/h``; third derivatives of order 100 make a truncation below ``100 h²``."""
CENTRAL = 1e-8
BATCH = 4


def instances():
    """Every synapse between every choice of populations that it accepts: different ends, and one with itself."""
    made = {}
    for kind, cls in SYNAPSES.items():
        if kind in CASES:
            made.update({f"{kind}-{case}": cls(**fields) for case, fields in CASES[kind].items()})
            continue
        ends = [name for name in ("source", "target") if name in cls.model_fields]
        assert ends, f'"{kind}" has neither a source nor a target: say here how its populations are named'
        accepted = 0
        for chosen in itertools.product(ENDS, repeat=len(ends)):
            synapse = cls(**dict(zip(ends, chosen, strict=True)), **REQUIRED.get(kind, {}))
            if synapse.shape_problem(SHAPES) is None:
                made[f"{kind}-{'-'.join(chosen)}"] = synapse
                accepted += 1
        assert accepted, f'"{kind}" accepts none of the shapes {SHAPES}: add one that it does'
    for name, synapse in made.items():
        assert synapse.shape_problem(SHAPES) is None, name
    return made


INSTANCES = instances()


@pytest.fixture(params=INSTANCES)
def synapse(request):
    """Every synapse between every choice of populations."""
    return INSTANCES[request.param]


@pytest.fixture(params=[name for name, synapse in INSTANCES.items() if isinstance(synapse, SymmetricSynapse)])
def symmetric(request):
    """Every synapse that has an energy, between every choice of populations."""
    return INSTANCES[request.param]


DATA = {
    "mask": np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0], [0, 1, 0]], dtype=float),
    "ids": np.array([[0, 4, 2], [1, 1, 1], [3, 0, 3], [2, 4, 4]], dtype=float),
}
STILL = {*DATA, "image", "hot", "masks"}
"""Populations that synapses take as data."""


def at(synapse):
    """Activities, parameters and a generator for directions."""
    rng = np.random.default_rng(7)
    a = {name: DATA[name] if name in DATA else rng.normal(size=(BATCH, *SHAPES[name])) for name in synapse.populations}
    drawn = {name: rng.normal(size=shape) for name, shape in synapse.parameter_shapes(SHAPES).items()}
    if synapse.kind in CASES:
        # Several matrices follow one another: with half of the size higher derivatives are what STEP allows for.
        drawn = {name: 0.5 * value for name, value in drawn.items()}
    return a, synapse.project(drawn), rng


def direction(a, rng):
    """Data do not move."""
    return {name: (0.0 if name in STILL else 1.0) * rng.normal(size=value.shape) for name, value in a.items()}


def along(values, step, directions):
    return {name: value + step * directions[name] for name, value in values.items()}


def inner(left, right):
    """Per sample; a population that one side leaves out has no part in it."""
    return sum(np.sum((left[name] * right[name]).reshape(BATCH, -1), axis=1) for name in left if name in right)


def test_start_values_have_their_shapes_and_are_admissible(synapse):
    start = synapse.initial(SHAPES, np.random.default_rng(0))
    assert {name: value.shape for name, value in start.items()} == synapse.parameter_shapes(SHAPES)
    for name, value in synapse.project(start).items():
        np.testing.assert_array_equal(value, start[name])


def test_projection_is_a_projection(synapse):
    _, theta, _ = at(synapse)
    for name, value in synapse.project(theta).items():
        np.testing.assert_allclose(value, theta[name], rtol=1e-15)


def test_drive_is_minus_the_gradient_of_the_energy(symmetric):
    a, theta, rng = at(symmetric)
    drive = symmetric.drive(a, theta, symmetric.populations)
    assert set(drive) == set(symmetric.driven)
    for _ in range(3):
        v = direction(a, rng)
        change = (symmetric.energy(along(a, STEP, v), theta) - symmetric.energy(along(a, -STEP, v), theta)) / (2 * STEP)
        np.testing.assert_allclose(inner(drive, v), -change, rtol=0, atol=CENTRAL)


def test_drive_is_minus_the_gradient_of_the_energy_to_the_last_bit(symmetric):
    """By a complex step, which also shows that nothing is conjugated on the way."""
    a, theta, rng = at(symmetric)
    v = direction(a, rng)
    change = np.imag(symmetric.energy(along(a, 1e-30j, v), theta)) / 1e-30
    np.testing.assert_allclose(inner(symmetric.drive(a, theta, symmetric.populations), v), -change, rtol=0, atol=1e-12)


def test_gradient_is_the_derivative_of_the_mean_energy(symmetric):
    a, theta, rng = at(symmetric)
    gradient = symmetric.gradient(a, theta)
    assert {name: value.shape for name, value in gradient.items()} == symmetric.parameter_shapes(SHAPES)
    v = {name: rng.normal(size=value.shape) for name, value in theta.items()}
    change = np.mean(symmetric.energy(a, along(theta, STEP, v)) - symmetric.energy(a, along(theta, -STEP, v))) / (
        2 * STEP
    )
    np.testing.assert_allclose(sum(np.sum(gradient[name] * v[name]) for name in v), change, rtol=0, atol=CENTRAL)


def test_response_is_the_derivative_of_the_drive(synapse):
    a, theta, rng = at(synapse)
    delta = direction(a, rng)
    response = synapse.response(a, delta, theta, synapse.populations)
    up, down = (synapse.drive(along(a, sign * STEP, delta), theta, synapse.populations) for sign in (1, -1))
    assert set(response) <= set(up)
    for name, value in up.items():
        change = (value - down[name]) / (2 * STEP)
        np.testing.assert_allclose(response.get(name, 0.0 * change), change, rtol=0, atol=CENTRAL)


def test_transposed_is_the_adjoint_of_the_response(synapse):
    """``⟨λ, D δ⟩ = ⟨Dᵀ λ, δ⟩``, also where only some of the populations are free."""
    a, theta, rng = at(synapse)
    for size in range(1, len(synapse.populations) + 1):
        for onto in itertools.combinations([name for name in synapse.populations if name not in synapse.data], size):
            zero = {name: 0.0 * value for name, value in a.items()}
            lam = {**zero, **{name: rng.normal(size=a[name].shape) for name in onto}}
            delta = {**zero, **{name: rng.normal(size=a[name].shape) for name in onto}}
            response = synapse.response(a, delta, theta, onto)
            transposed = synapse.transposed(a, lam, theta, onto)
            assert set(response) <= set(onto)
            assert set(transposed) <= set(onto)
            left, right = inner(response, lam), inner(transposed, delta)
            np.testing.assert_allclose(left + np.zeros(BATCH), right, rtol=0, atol=1e-12)


def test_a_symmetric_response_is_its_own_transpose(symmetric):
    a, theta, rng = at(symmetric)
    delta, lam = direction(a, rng), direction(a, rng)
    left = inner(symmetric.response(a, delta, theta, symmetric.populations), lam)
    right = inner(symmetric.response(a, lam, theta, symmetric.populations), delta)
    np.testing.assert_allclose(left + np.zeros(BATCH), right, rtol=0, atol=1e-12)


def test_drive_vjp_is_the_derivative_of_the_drive_by_the_parameters(synapse):
    a, theta, rng = at(synapse)
    lam = direction(a, rng)
    found = synapse.drive_vjp(a, lam, theta)
    assert {name: value.shape for name, value in found.items()} == synapse.parameter_shapes(SHAPES)
    # Along admissible directions: a symmetric self-synapse has no others.
    v = synapse.project({name: rng.normal(size=value.shape) for name, value in theta.items()})
    up, down = (synapse.drive(a, along(theta, sign * STEP, v), synapse.driven) for sign in (1, -1))
    change = np.mean(inner(lam, {name: (up[name] - down[name]) / (2 * STEP) for name in up}))
    np.testing.assert_allclose(sum(np.sum(found[name] * v[name]) for name in v), change, rtol=0, atol=CENTRAL)


def test_drive_onto_some_is_a_part_of_drive_onto_all(synapse):
    a, theta, _ = at(synapse)
    whole = synapse.drive(a, theta, synapse.driven)
    for name in synapse.driven:
        part = synapse.drive(a, theta, [name])
        np.testing.assert_array_equal(part[name], whole[name])
    assert set(whole) == set(synapse.driven)
    assert whole.keys() <= set(synapse.populations)
    for name, value in whole.items():
        assert value.shape == a[name].shape


def test_a_still_drive_does_not_depend_on_what_moves(synapse):
    a, theta, rng = at(synapse)
    for size in range(len(synapse.populations) + 1):
        for clamped in itertools.combinations(synapse.populations, size):
            if not set(synapse.data) <= set(clamped):
                continue
            free = [name for name in synapse.populations if name not in clamped]
            moved = {**a, **{name: rng.normal(size=a[name].shape) for name in free}}
            before, after = synapse.drive(a, theta, free), synapse.drive(moved, theta, free)
            same = all(np.array_equal(before[name], after[name]) for name in before)
            if synapse.still(clamped):
                assert same
            elif before:
                assert not same, "a drive that does not move may be computed once a phase"


def test_sources_are_what_the_drive_depends_on(synapse):
    a, theta, rng = at(synapse)
    for name in set(synapse.populations) - {*synapse.sources, *synapse.data}:
        moved = {**a, name: rng.normal(size=a[name].shape)}
        before, after = synapse.drive(a, theta, synapse.driven), synapse.drive(moved, theta, synapse.driven)
        for one in before:
            np.testing.assert_array_equal(before[one], after[one])


# -- each kind's own claims -------------------------------------------------------------------------------------------


def test_a_memory_by_hand():
    """Two patterns and one unit: ``p`` is a sigmoid of the difference of the scores."""
    memory = HopfieldMemory(target="p", patterns=2, gamma=0.7, inverse_temperature=1.5)
    theta, a = {"patterns": np.array([[2.0], [-1.0]])}, {"p": np.array([[0.4]])}
    scores = 1.5 * np.array([0.8, -0.4])
    p = 1 / (1 + np.exp(scores[1] - scores[0]))
    np.testing.assert_allclose(memory.energy(a, theta), [-0.7 / 1.5 * np.log(np.sum(np.exp(scores)))], rtol=1e-15)
    np.testing.assert_allclose(memory.drive(a, theta, ["p"])["p"], [[0.7 * (2.0 * p - (1 - p))]], rtol=1e-15)
    response = memory.response(a, {"p": np.array([[1.0]])}, theta, ["p"])["p"]
    np.testing.assert_allclose(response, [[0.7 * 1.5 * p * (1 - p) * 9.0]], rtol=1e-15)


def test_a_sharp_memory_recalls_the_nearest_pattern():
    memory = HopfieldMemory(target="p", patterns=3, gamma=1.0, inverse_temperature=200.0)
    xi = np.eye(6)[:3]
    cue = xi[[1]] + 0.3 * np.random.default_rng(0).uniform(size=(1, 6))
    # Scores differ by at least 200·0.7, so the others weigh less than e⁻¹⁴⁰.
    found = memory.drive({"p": cue}, {"patterns": xi}, ["p"])["p"]
    np.testing.assert_allclose(found, xi[[1]], rtol=0, atol=1e-15)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_a_memorys_response_is_a_covariance_within_its_bound(scale):
    """Positive, so the energy is concave, and at most ``γ b d²/4``, which two patterns with equal scores reach."""
    memory = HopfieldMemory(target="p", patterns=4, gamma=0.7, inverse_temperature=1.5)
    rng = np.random.default_rng(3)
    for _ in range(20):
        theta = {"patterns": rng.normal(size=(4, 6))}
        a, v = ({"p": size * rng.normal(size=(BATCH, 6))} for size in (scale, 1.0))
        response = memory.response(a, v, theta, ["p"])
        assert np.all(inner(v, response) >= -1e-13)
        bound = memory.response_bound(theta)["p", "p"] * np.sqrt(inner(v, v))
        assert np.all(np.sqrt(inner(response, response)) <= bound * (1 + 1e-12))
    pair = HopfieldMemory(target="p", patterns=2, gamma=0.7, inverse_temperature=1.5)
    theta = {"patterns": np.array([[1.0, 2.0], [-1.0, 0.0]])}
    along_it = {"p": np.array([[1.0, 1.0]])}
    reached = pair.response({"p": np.zeros((1, 2))}, along_it, theta, ["p"])["p"]
    np.testing.assert_allclose(reached, pair.response_bound(theta)["p", "p"] * along_it["p"], rtol=1e-15)


def test_start_patterns_have_norm_one():
    xi = HopfieldMemory(target="p", patterns=500).initial({"p": (20, 20)}, np.random.default_rng(0))["patterns"]
    # Of 400 squares of a uniform variable each, so a norm is off by 2 %, and their mean by far less.
    np.testing.assert_allclose(np.mean(np.linalg.norm(xi, axis=1)), 1.0, rtol=0.01)


def test_what_a_history_recalls():
    history = History(target="p", coupling=0.5, buffer_size=3, decay=0.5)
    past = [np.array([[1.0]]), np.array([[10.0]]), np.array([[100.0]])]
    np.testing.assert_allclose(history.recall(past), [[0.5 * (4 * 1.0 + 2 * 10.0 + 100.0) / 7]], rtol=1e-15)


@pytest.mark.parametrize("buffer_size", [1, 2, 5, 40])
@pytest.mark.parametrize("decay", [0.1, 0.9, 1.0])
def test_a_history_of_nothing_new_is_its_static_drive(buffer_size, decay):
    history = History(target="p", coupling=-0.3, buffer_size=buffer_size, decay=decay)
    a = np.random.default_rng(1).normal(size=(BATCH, 4))
    # The weights sum to one up to one rounding each.
    np.testing.assert_allclose(
        history.recall([a] * buffer_size), history.drive({"p": a}, {}, ["p"])["p"], rtol=2.0**-52 * (buffer_size + 2)
    )
    assert all(
        later == pytest.approx(decay * sooner, rel=1e-14) for sooner, later in itertools.pairwise(history.weights)
    )


def test_a_step_gate_has_no_part_in_the_energy():
    gate = StepGate(source="q", target="p")
    a, theta, rng = at(gate)
    np.testing.assert_array_equal(gate.energy(a, theta), np.zeros(BATCH))
    assert gate.drive(a, theta, ["p", "q"]) == {}
    for found in (gate.gradient(a, theta), gate.drive_vjp(a, direction(a, rng), theta)):
        assert found.keys() == theta.keys()
        assert not any(np.any(value) for value in found.values())


def test_the_rate_of_a_step_gate_by_hand():
    gate = StepGate(source="q", target="p")
    shapes = {"p": (1, 2), "q": (2,)}
    theta = {"weight": np.array([[1.0, 0.0], [2.0, -1.0]]), "bias": np.array([0.5, 0.0])}
    rate = gate.rate({"q": np.array([[0.25, 3.0]]), "p": np.zeros((1, 1, 2))}, theta)
    np.testing.assert_allclose(rate, [[[1 / (1 + np.exp(-0.75)), 1 / (1 + np.exp(2.5))]]], rtol=1e-15)
    mostly_open = gate.rate(
        {"q": np.zeros((1, 2)), "p": np.zeros((1, 1, 2))}, gate.initial(shapes, np.random.default_rng(0))
    )
    np.testing.assert_allclose(mostly_open, np.full((1, 1, 2), 1 / (1 + np.exp(-2.0))), rtol=1e-15)


def test_a_gated_synapse_by_hand():
    synapse = GatedDense(source="q", target="p")
    theta = {
        "weight": np.array([[1.0, 2.0]]), "gate_weight": np.array([[-1.0, 0.5]]), "gate_bias": np.array([0.25]),
    }  # fmt: skip
    a = {"q": np.array([[3.0, -1.0]]), "p": np.zeros((1, 1))}
    np.testing.assert_allclose(synapse.drive(a, theta, ["p"])["p"], [[1.0 / (1 + np.exp(3.25))]], rtol=1e-15)


def test_an_open_gate_is_a_directed_dense_synapse():
    synapse, plain = GatedDense(source="q", target="p"), DirectedDense(source="q", target="p")
    a, theta, rng = at(synapse)
    # σ(60) differs from one by e⁻⁶⁰: nothing, in float64.
    theta = {**theta, "gate_bias": np.full_like(theta["gate_bias"], 60.0), "gate_weight": 0.0 * theta["gate_weight"]}
    v = direction(a, rng)
    for ask in ("response", "transposed"):
        found, wanted = (getattr(one, ask)(a, v, theta, ["p", "q"]) for one in (synapse, plain))
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-14)
