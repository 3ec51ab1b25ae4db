"""What a run is made of where the user does not say: by the data, and for some models by the model."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import neuro_eq as ne
from neuro_eq.cli.main import app
from neuro_eq.recipes import OF_MODELS, recipe
from neuro_eq.run import default_network, load_config


def test_a_model_may_have_a_recipe_of_its_own():
    of_model = recipe("mnist", "energy_transformer")
    assert of_model is OF_MODELS["mnist", "energy_transformer"]
    assert recipe("mnist") is recipe("mnist", "layered_hopfield") is not of_model
    assert recipe("digits", "energy_transformer") is recipe("digits")


@pytest.mark.parametrize("data", ["mnist", "fashion-mnist"])
@pytest.mark.parametrize("model", ["energy_transformer", "looped_transformer"])
def test_its_network_is_of_the_recipe_but_for_what_the_user_says(data, model):
    usual = recipe(data, model)
    images = ne.datasets.load_data("digits")
    # The recipe is for images of 28×28, of which patches of 14 make four tokens; the digits are as many of 4.
    small = type(usual)(**{**vars(usual), "network": {**usual.network, "patch": 4}})
    net, other = (default_network(model, images, hidden, small) for hidden in (None, (24,)))
    assert net.population("block1").shape == (4, *usual.hidden)
    assert other.population("block1").shape == (4, 24)
    assert net.population("block1").activation.epsilon == usual.network["epsilon"]


def run(folder, *options):
    """A run of no steps; what it is made of."""
    arguments = ["run", "--backend", "torch", "--train-samples", "8", "--test-samples", "8", "--epochs", "0"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(folder), *options])
    assert done.exit_code == 0, done.output
    return load_config(folder / "config.toml")


@pytest.mark.parametrize("model", ["looped_mlp", "toroidal_mlp", "looped_transformer"])
def test_a_loop_is_symmetric_where_the_user_says_so(model, tmp_path):
    """And directed synapses, which have no energy, are trained by AsymEP where no method is given."""
    options = ["--backend", "reference", "--model", model, "--hidden", "8"]
    for flag, directed, method in (("--symmetric", False, "eqprop"), ("--directed", True, "asymep")):
        found = run(tmp_path / flag.strip("-"), *options, flag)
        assert bool(found.network.asymmetric) == directed
        assert found.method.kind == method


def test_loops_of_words_are_symmetric_where_the_user_says_so():
    samples = (np.ones((2, 5), np.float32), np.zeros(2, np.int64))
    data = ne.datasets.Data("words", *samples, *samples, classes=2, vocabulary=("", "good"))
    for symmetric in (True, False):
        net = default_network("looped_transformer", data, (8,), recipe("sst2"), symmetric)
        assert bool(net.asymmetric) != symmetric


def test_what_unrolls_steps_takes_as_many_as_the_free_phase(need, tmp_path, monkeypatch):
    """A twin is the same network at the same state."""
    need("torch")
    usual = recipe("mnist", "energy_transformer")
    small = type(usual)(**{**vars(usual), "hidden": (8,), "network": {**usual.network, "patch": 4, "patterns": 6}})
    monkeypatch.setitem(OF_MODELS, ("digits", "energy_transformer"), small)
    model = ["--model", "energy_transformer"]
    ours, twin = run(tmp_path / "a", *model), run(tmp_path / "b", *model, "--method", "bptt")
    assert (ours.free, ours.nudged, ours.schedule) == (usual.free, usual.nudged, usual.schedule)
    assert twin.method == ne.BPTT(usual.free.max_steps)
    assert twin.network == ours.network
    # Where a phase settles to a tolerance there is no such number.
    assert run(tmp_path / "c", *model, "--method", "bptt", "--data", "digits").method == twin.method
    monkeypatch.undo()
    assert run(tmp_path / "d", *model, "--method", "bptt").method == ne.BPTT()
