"""Ready-made networks: their populations and parameters, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.presets import PRESETS


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
