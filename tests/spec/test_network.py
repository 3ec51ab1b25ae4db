"""What a network refuses, and in which words; what its parameters start from."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.presets import PRESETS

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


# -- ready-made networks ---------------------------------------------------------------------------------------------


def test_layered_hopfield():
    spec = ne.models.layered_hopfield([7, 5, 4, 3], activation="sigmoid", output_activation="identity")
    assert spec.shapes == {"input": (7,), "hidden1": (5,), "hidden2": (4,), "output": (3,)}
    assert [p.activation.kind for p in spec.free] == ["sigmoid", "sigmoid", "identity"]
    assert spec.parameter_shapes == {
        "input_hidden1.weight": (5, 7), "hidden1_bias.bias": (5,), "hidden1_hidden2.weight": (4, 5),
        "hidden2_bias.bias": (4,), "hidden2_output.weight": (3, 4), "output_bias.bias": (3,),
    }  # fmt: skip
    assert not spec.asymmetric


def test_layered_hopfield_with_a_readout():
    spec = ne.models.layered_hopfield([7, 5, 3], cost="cross_entropy", bias=False)
    assert spec.shapes == {"input": (7,), "hidden1": (5,)}
    assert spec.parameter_shapes == {
        "input_hidden1.weight": (5, 7), "readout.weight": (3, 5), "readout.bias": (3,),
    }  # fmt: skip


@pytest.mark.parametrize("cost", ["squared_error", "cross_entropy"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_looped_mlp(cost, symmetric):
    spec = ne.models.looped_mlp(4, 6, 3, symmetric=symmetric, cost=cost)
    assert [s.name for s in spec.asymmetric] == ([] if symmetric else ["hidden_hidden"])
    assert spec.cost.outputs(spec.shapes) == 3
    assert spec.parameter_shapes["hidden_hidden.weight"] == (6, 6)


def kinds(spec):
    return {s.name: s.kind for s in spec.synapses if s.kind != "bias"}


@pytest.mark.parametrize("cost", ["squared_error", "cross_entropy"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_toroidal_mlp(cost, symmetric):
    spec = ne.models.toroidal_mlp(4, 6, 3, symmetric=symmetric, cost=cost, buffer_size=7, decay=0.8, coupling=-0.1)
    assert [s.name for s in spec.asymmetric] == ([] if symmetric else ["hidden_hidden"])
    history = next(s for s in spec.synapses if s.kind == "history")
    assert (history.target, history.buffer_size, history.decay, history.coupling) == ("hidden", 7, 0.8, -0.1)
    assert spec.cost.outputs(spec.shapes) == 3


def test_modern_hopfield_mlp():
    spec = ne.models.modern_hopfield_mlp(4, 6, 3, patterns=5)
    assert kinds(spec) == {"input_hidden": "dense", "hidden_memory": "hopfield_memory"}
    assert spec.population("hidden").activation.kind == "layer_norm"
    assert not spec.asymmetric
    assert spec.parameter_shapes == {
        "input_hidden.weight": (6, 4), "hidden_memory.patterns": (5, 6), "hidden_bias.bias": (6,),
        "hidden.gamma": (), "hidden.delta": (6,), "readout.weight": (3, 6), "readout.bias": (3,),
    }  # fmt: skip
    assert ne.models.modern_hopfield_mlp(4, 6, 3).parameter_shapes["hidden_memory.patterns"] == (6, 6)


def test_gated_mlp():
    step, drive = ne.models.gated_mlp(4, 6, 3), ne.models.gated_mlp(4, 6, 3, gate="drive")
    assert kinds(step) == {
        "input_hidden": "dense", "hidden_hidden": "dense", "hidden_hidden_gate": "step_gate",
    }  # fmt: skip
    assert not step.asymmetric
    assert kinds(drive) == {"input_hidden": "dense", "hidden_hidden": "gated_dense"}
    assert [s.name for s in drive.asymmetric] == ["hidden_hidden"]
    with pytest.raises(ne.SpecError) as error:
        ne.models.gated_mlp(4, 6, 3, gate="stpe")
    assert str(error.value) == "gate: no gate 'stpe'; did you mean \"step\"?"


def test_energy_transformer():
    spec = ne.models.energy_transformer((8, 12), 5, patch=(4, 6), depth=2, width=8, heads=2)
    assert spec.shapes == {"input": (8, 12), "block1": (4, 8), "block2": (4, 8)}
    assert kinds(spec) == {
        "embedding": "patch_embedding", "block1_attention": "softmax_attention", "block1_memory": "token_memory",
        "block2_attention": "softmax_attention", "block2_memory": "token_memory", "block1_block2": "token_dense",
    }  # fmt: skip
    assert spec.parameter_shapes["block1_memory.patterns"] == (32, 8)
    assert spec.parameter_shapes["readout.weight"] == (5, 32)
    assert not spec.asymmetric


def test_tied_pairs_and_words():
    spec = ne.models.energy_transformer(
        (6,), 2, vocabulary=9, depth=4, width=8, heads=2, attention="linear", tied_pairs=True
    )
    assert [s.shared for s in spec.synapses if s.kind == "linear_attention"] == [("block2",), ("block4",)]
    links = [(s.source, s.target) for s in spec.synapses if s.kind == "token_dense"]
    assert links == [("block1", "block2"), ("block2", "block3"), ("block3", "block4"), ("block4", "block1")]
    assert {s.padding for s in spec.synapses if s.kind in ("linear_attention", "token_memory")} == {"input"}
    assert (spec.cost.kind, spec.cost.padding) == ("token_cross_entropy", "input")
    assert spec.parameter_shapes["readout.weight"] == (2, 8)


def test_looped_transformer():
    spec = ne.models.looped_transformer((8, 8), 5, patch=4, depth=2, width=8, heads=2, dropout=0.1)
    assert [(s.source, s.target) for s in spec.asymmetric] == [("block1", "block2"), ("block2", "block1")]
    assert spec.shapes["block1_dropout"] == (2, 4, 8)
    assert [p.name for p in spec.given] == ["input"]
    alone = ne.models.looped_transformer((8, 8), 5, patch=4, width=8, heads=2)
    assert [(s.source, s.target) for s in alone.asymmetric] == [("block1", "block1")]
    symmetric = ne.models.looped_transformer((8, 8), 5, patch=4, depth=3, width=8, heads=2, symmetric=True, gamma=0.4)
    assert not symmetric.asymmetric
    start = symmetric.initial_parameters(0)
    # Two neighbours, each with half of the residual.
    np.testing.assert_array_equal(start["block3_coupling.weight"], 0.2 * np.eye(8))


def test_toreqprop_prior():
    """What EXPERIMENTS says of it, and the run of that name."""
    spec, small = ne.models.toreqprop_prior(), ne.models.toreqprop_prior(small=True)
    (block,) = spec.asymmetric
    assert (block.attention, block.heads, block.hidden) == ("linear", 8, 1024)
    assert spec.shapes["block1"][1] == 256
    assert spec.population("block1_dropout").drawn.rate == 0.1
    (block,) = small.asymmetric
    assert (block.attention, block.heads, block.hidden, block.masks) == ("linear", 4, 512, None)
    assert small.shapes["block1"][1] == 128
    run = PRESETS["toreqprop_prior"]()
    assert (run.method, run.epochs) == (ne.VectorField(0.22, "one-sided"), 15)
    assert (run.optimizer, run.free.solver) == (ne.Adam(2e-3), ne.Picard(0.8))
    assert run.network == spec
    assert PRESETS["toreqprop_prior_small"]().method.beta == 0.2
    assert PRESETS["toreqprop_prior_small"]().network == small


@pytest.mark.parametrize(
    ("model", "fields", "message"),
    [
        (
            "energy_transformer", {},
            "patch: give the side of an image's patches, or the vocabulary of token ids, not both",
        ),
        ("energy_transformer", {"patch": 3}, "shape: [8, 8] is no image that divides into patches of [3, 3]"),
        ("energy_transformer", {"vocabulary": 5}, "shape: ids come in one row, [tokens], found [8, 8]"),
        ("energy_transformer", {"patch": 4, "depth": 0}, "depth: need at least one block, found 0"),
        (
            "energy_transformer", {"patch": 4, "depth": 3, "tied_pairs": True},
            "tied_pairs: pairs need an even number of blocks, found 3",
        ),
        (
            "energy_transformer", {"shape": (4,), "vocabulary": 5, "readout": "all"},
            "readout: some places hold no word, so read the mean of those that do",
        ),
        (
            "looped_transformer", {"patch": 4, "symmetric": True, "dropout": 0.1},
            "dropout: blocks with an energy have no dropout",
        ),
        (
            "looped_transformer", {"patch": 4, "symmetric": True, "feed_forward": "gelu"},
            "feed_forward: the energy of a feed-forward layer is that of ReLU",
        ),
    ],
)  # fmt: skip
def test_models_of_tokens_that_cannot_be(model, fields, message):
    with pytest.raises(ne.SpecError) as error:
        ne.models.MODELS[model](**{"shape": (8, 8), "classes": 3, **fields})
    assert str(error.value) == message


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
