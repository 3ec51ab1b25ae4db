"""What a network refuses, and in which words; what its parameters start from."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne

GOOD = {
    "populations": [
        {"name": "input", "shape": [4], "clamped": True},
        {"name": "hidden1", "shape": [3], "activation": "tanh"},
        {"name": "output", "shape": [2]},
    ],
    "synapses": [
        {"kind": "dense", "source": "input", "target": "hidden1"},
        {"kind": "directed_dense", "source": "hidden1", "target": "output", "gain": 0.5},
        {"kind": "bias", "target": "output"},
    ],
    "cost": {"kind": "squared_error", "population": "output"},
}


def changed(*path, to):
    """The good network with one entry changed, added (a new key or one past the end) or removed (``...``)."""
    spec = copy.deepcopy(GOOD)
    *outer, last = path
    inside = spec
    for key in outer:
        inside = inside[key]
    if to is ...:
        del inside[last]
    elif isinstance(inside, list) and last == len(inside):
        inside.append(to)
    else:
        inside[last] = to
    return spec


def test_the_good_one_is_good():
    spec = ne.Network(**GOOD)
    assert [synapse.name for synapse in spec.synapses] == ["input_hidden1", "hidden1_output", "output_bias"]
    assert spec.cost.name == "squared_error"


ACTIVATIONS = "identity, relu, hard_sigmoid, sigmoid, tanh, softmax, layer_norm, group_sort"
SYNAPSES = ", ".join(ne.synapses.SYNAPSES)

WRONG = [
    # unknown names, with the nearest known one
    (
        changed("synapses", 1, "source", to="hiden1"),
        'synapses[1].source: no population "hiden1"; did you mean "hidden1"?',
    ),
    (
        changed("synapses", 0, "target", to="hiden1"),
        'synapses[0].target: no population "hiden1"; did you mean "hidden1"?',
    ),
    (
        changed("synapses", 2, "target", to="zzz"),
        'synapses[2].target: no population "zzz"; known: input, hidden1, output',
    ),
    (changed("cost", "population", to="outptu"), 'cost.population: no population "outptu"; did you mean "output"?'),
    (changed("synapses", 0, "kind", to="dence"), "synapses[0].kind: no synapse 'dence'; did you mean \"dense\"?"),
    (
        changed("cost", "kind", to="mse"),
        "cost.kind: no cost 'mse'; known: squared_error, cross_entropy, token_cross_entropy",
    ),
    (
        changed("populations", 1, "activation", to="tahn"),
        "populations[1].activation: no activation 'tahn'; did you mean \"tanh\"?",
    ),
    (
        changed("populations", 1, "activation", to={"kind": "swish"}),
        f"populations[1].activation: no activation 'swish'; known: {ACTIVATIONS}",
    ),
    # unknown keys
    (changed("populatons", to=[]), 'populatons: unknown key; did you mean "populations"?'),
    (changed("populations", 0, "clampd", to=True), 'populations[0].clampd: unknown key; did you mean "clamped"?'),
    (changed("synapses", 0, "sorce", to="input"), 'synapses[0].sorce: unknown key; did you mean "source"?'),
    (changed("cost", "populatoin", to="output"), 'cost.populatoin: unknown key; did you mean "population"?'),
    (
        changed("populations", 1, "activation", to={"kind": "tanh", "slope": 2.0}),
        "populations[1].activation.slope: unknown key; known: kind",
    ),
    # missing keys
    (changed("populations", to=...), "populations: required, but not given"),
    (changed("synapses", to=...), "synapses: required, but not given"),
    (changed("populations", 1, "shape", to=...), "populations[1].shape: required, but not given"),
    (changed("synapses", 0, "source", to=...), "synapses[0].source: required, but not given"),
    (
        changed("synapses", 0, "kind", to=...),
        f"synapses[0].kind: required, but not given; known: {SYNAPSES}",
    ),
    (changed("cost", "population", to=...), "cost.population: required, but not given"),
    # values of the wrong kind
    (changed("populations", 1, "shape", to=[]), "populations[1].shape: every axis must be at least 1, found []"),
    (
        changed("populations", 1, "shape", to=[3, 0]),
        "populations[1].shape: every axis must be at least 1, found [3, 0]",
    ),
    (changed("populations", 1, "shape", to=-2), "populations[1].shape: every axis must be at least 1, found [-2]"),
    (
        changed("synapses", 1, "gain", to=-1.0),
        "synapses[1].gain: input should be greater than or equal to 0 (found -1.0)",
    ),
    (changed("synapses", 1, "gain", to=float("nan")), "synapses[1].gain: input should be a finite number (found nan)"),
    (changed("populations", to={}), "populations: expected a list, found dict"),
    (changed("populations", to="input"), "populations: expected a list, found str"),
    (changed("populations", 1, to="hidden1"), "populations[1]: expected a table, found str"),
    (changed("synapses", 0, to=3), "synapses[0]: expected synapse, found int"),
    (changed("populations", 1, "activation", to=3), "populations[1].activation: expected activation, found int"),
    (changed("format", to=2), "format: input should be 1 (found 2)"),
    # names
    (
        changed("populations", 2, "name", to="hidden1"),
        'populations[2].name: the name "hidden1" is taken by populations[1].name; give it another',
    ),
    (
        changed("synapses", 1, "name", to="input_hidden1"),
        'synapses[1].name: the name "input_hidden1" is taken by synapses[0].name; give it another',
    ),
    (
        changed("synapses", 3, to={"kind": "bias", "target": "output"}),
        'synapses[3].name: the name "output_bias" is taken by synapses[2].name; give it another',
    ),
    (
        changed("synapses", 0, "name", to="hidden1"),
        'synapses[0].name: the name "hidden1" is taken by populations[1].name; give it another',
    ),
    (
        changed("cost", "name", to="output"),
        'cost.name: the name "output" is taken by populations[2].name; give it another',
    ),
    # what makes no sense
    (
        {"populations": GOOD["populations"][2:], "synapses": GOOD["synapses"][2:]},
        "populations: no population is clamped, so no data can enter; clamp one",
    ),
    (
        {"populations": GOOD["populations"][:1], "synapses": []},
        "populations: every population is clamped; at least one must be free to settle",
    ),
    ({**GOOD, "synapses": GOOD["synapses"][:1]}, 'populations[2]: no synapse drives "output"; connect it or clamp it'),
    (
        changed("populations", 2, "clamped", to=True),
        'synapses[1]: "hidden1_output" drives only clamped populations, so it does nothing',
    ),
    (
        changed("cost", "population", to="input"),
        'cost.population: "input" is clamped, so no nudge can move it; name a free population',
    ),
    (
        changed("populations", 0, "activation", to="tanh"),
        "populations[0].activation: a clamped population takes its activity from the data, but found 'tanh'",
    ),
    (
        {**GOOD, "cost": {"kind": "cross_entropy", "population": "output", "classes": 1}},
        "cost.classes: input should be greater than or equal to 2 (found 1)",
    ),
]


@pytest.mark.parametrize(("spec", "message"), WRONG, ids=[message.split(":")[0] for _, message in WRONG])
def test_errors_name_the_place(spec, message):
    with pytest.raises(ne.SpecError) as error:
        ne.Network(**spec)
    assert str(error.value) == message
    assert str(error.value).startswith(error.value.place)


@pytest.mark.parametrize("name", ["", "1st", "a b", "a.b", "a-b", "größe", "x\n"])
def test_names_are_words(name):
    with pytest.raises(ne.SpecError) as error:
        ne.Population(name=name, shape=2)
    assert error.value.place == "name"


def test_objects_say_the_same_as_files():
    with pytest.raises(ne.SpecError) as error:
        ne.Dense(source="a", target="b", gian=2.0)
    assert str(error.value) == 'gian: unknown key; did you mean "gain"?'
    with pytest.raises(ne.SpecError) as error:
        ne.models.layered_hopfield([3])
    assert str(error.value) == "sizes: need at least [n_in, n_out], found [3]"
    with pytest.raises(ne.SpecError) as error:
        ne.Picard(alpha=1.5)
    assert error.value.place == "alpha"


def test_everything_is_frozen():
    spec = ne.Network(**GOOD)
    for thing, field in (
        (spec, "name"), (spec.populations[0], "shape"), (spec.synapses[0], "gain"), (spec.cost, "population"),
        (spec.populations[1].activation, "kind"),
    ):  # fmt: skip
        before = getattr(thing, field)
        with pytest.raises(Exception, match="frozen"):
            setattr(thing, field, "other")
        assert getattr(thing, field) == before


def test_equal_networks_are_equal_and_can_be_keys():
    assert ne.Network(**GOOD) == ne.Network(**copy.deepcopy(GOOD))
    assert len({ne.Network(**GOOD), ne.Network(**GOOD)}) == 1


def test_what_a_network_knows(networks):
    @given(networks)
    def holds(spec):
        assert set(spec.free) | set(spec.clamped) == set(spec.populations)
        assert spec.free_units == sum(np.prod(p.shape) for p in spec.free)
        names = [p.name for p in spec.populations] + [s.name for s in spec.synapses] + [spec.cost.name]
        assert len(set(names)) == len(names)
        free = {p.name for p in spec.free}
        for synapse in spec.synapses:
            directed = isinstance(synapse, ne.synapses.DirectedSynapse)
            assert (synapse in spec.asymmetric) == (directed and synapse.source in free)

    holds()


# -- start values ---------------------------------------------------------------------------------------------------


def test_start_values_depend_on_seed_and_name_only(networks):
    @given(networks, st.integers(0, 2**31))
    def holds(spec, seed):
        values = spec.initial_parameters(seed)
        assert list(values) == list(spec.parameter_shapes)
        again = spec.initial_parameters(seed)
        more = ne.Network(
            populations=[*spec.populations, ne.Population(name="extra", shape=2)],
            synapses=[ne.Dense(source=spec.free[0].name, target="extra"), *reversed(spec.synapses)],
            cost=spec.cost,
        )
        wider = more.initial_parameters(seed)
        for name, value in values.items():
            assert value.shape == spec.parameter_shapes[name]
            assert value.dtype == np.float64
            np.testing.assert_array_equal(value, again[name])
            np.testing.assert_array_equal(value, wider[name])
        for name, value in spec.project(values).items():
            np.testing.assert_array_equal(value, values[name])

    holds()


def test_start_values_differ_between_seeds_and_between_owners():
    spec = ne.Network(
        populations=[ne.Population(name="x", shape=3, clamped=True), ne.Population(name="h", shape=3)],
        synapses=[
            ne.Dense(source="x", target="h", name="one"),
            ne.Dense(source="x", target="h", name="two"),
        ],
    )
    first, second = spec.initial_parameters(0), spec.initial_parameters(1)
    assert not np.any(first["one.weight"] == first["two.weight"])
    assert not np.any(first["one.weight"] == second["one.weight"])


def test_start_values_have_glorots_variance():
    spec = ne.models.layered_hopfield([300, 200], gain=0.5)
    weight = spec.initial_parameters(0)["input_output.weight"]
    # The mean of 60000 squares of a uniform variable is off by 0.4 % (one standard deviation).
    np.testing.assert_allclose(np.mean(weight**2), 0.5**2 * 2 / 500, rtol=0.02)
    assert np.max(np.abs(weight)) <= 0.5 * np.sqrt(6 / 500)


def test_a_recurrent_symmetric_synapse_starts_symmetric():
    weight = ne.models.looped_mlp(2, 5, 2).initial_parameters(0)["hidden_hidden.weight"]
    np.testing.assert_array_equal(weight, weight.T)


def test_a_gate_neither_drives_nor_is_enough():
    gate = {"kind": "step_gate", "source": "input", "target": "output"}
    spec = copy.deepcopy(GOOD)
    spec["synapses"] = [GOOD["synapses"][0], gate]
    with pytest.raises(ne.SpecError) as error:
        ne.Network(**spec)
    assert str(error.value) == 'populations[2]: no synapse drives "output"; connect it or clamp it'
    with pytest.raises(ne.SpecError) as error:
        ne.Network(**changed("synapses", 3, to={**gate, "target": "input"}))
    assert error.value.place == "synapses[3]"


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        ({"kind": "history", "target": "output", "coupling": 1.0}, "coupling"),
        ({"kind": "history", "target": "output", "buffer_size": 0}, "buffer_size"),
        ({"kind": "history", "target": "output", "decay": 0.0}, "decay"),
        ({"kind": "hopfield_memory", "target": "output"}, "patterns"),
        (
            {"kind": "hopfield_memory", "target": "output", "patterns": 2, "inverse_temperature": 0.0},
            "inverse_temperature",
        ),
        ({"kind": "hopfield_memory", "target": "outptu", "patterns": 2}, "target"),
        ({"kind": "step_gate", "source": "inptu", "target": "output"}, "source"),
    ],
)
def test_new_kinds_name_the_place_too(entry, place):
    with pytest.raises(ne.SpecError) as error:
        ne.Network(**changed("synapses", 3, to=entry))
    assert error.value.place == f"synapses[3].{place}"


def test_layer_norm_in_a_file():
    spec = changed("populations", 1, "activation", to={"kind": "layer_norm", "epsilon": 0.0})
    with pytest.raises(ne.SpecError) as error:
        ne.Network(**spec)
    assert error.value.place == "populations[1].activation.epsilon"
    good = ne.Network(**changed("populations", 1, "activation", to={"kind": "layer_norm", "gain": 0.3}))
    assert good.initial_parameters(0)["hidden1.gamma"] == 0.3
    kept = good.project({**good.initial_parameters(0), "hidden1.gamma": np.array(-0.2)})
    assert kept["hidden1.gamma"] == 0.0


def test_a_copy_with_a_change_is_a_network_of_its_own() -> None:
    """What was computed of the first, as its free populations, is computed anew; and it is checked."""
    spec = ne.models.layered_hopfield([3, 4, 2], "hard_sigmoid")
    assert [p.activation.kind for p in spec.free] == ["hard_sigmoid"] * 2
    tanh = tuple(p if p.clamped else p.model_copy(update={"activation": "tanh"}) for p in spec.populations)
    edited = spec.model_copy(update={"populations": tanh})
    assert [p.activation.kind for p in edited.free] == ["tanh"] * 2
    assert edited == ne.Network(populations=tanh, synapses=spec.synapses, cost=spec.cost, name=spec.name)
    assert ne.Network(**{**dict(spec), "populations": tanh}) == edited
    assert set(dict(spec)) == set(ne.Network.model_fields), "fields, and nothing that is computed of them"
    assert spec.model_copy(deep=True) == spec
    with pytest.raises(ne.SpecError, match="no activation 'tahn'"):
        spec.populations[1].model_copy(update={"activation": "tahn"})
    with pytest.raises(ne.SpecError, match='no synapse drives "output"'):
        spec.model_copy(update={"synapses": spec.synapses[:1]})


def test_who_has_an_energy() -> None:
    """A directed synapse that reads data alone leaves D symmetric, and still has no energy."""
    symmetric = ne.models.layered_hopfield([3, 4, 2])
    first, *others = symmetric.synapses
    directed = ne.DirectedDense(source=first.sources[0], target="hidden1")
    mixed = symmetric.model_copy(update={"synapses": (directed, *others)})
    assert symmetric.has_energy
    assert not mixed.has_energy
    assert not mixed.asymmetric
    net = ne.compile(mixed, backend="reference")
    with pytest.raises(ne.SpecError, match='"input_hidden1" is directed, and only symmetric synapses have an energy'):
        net.energy(net.relax(np.zeros((2, 3))))
