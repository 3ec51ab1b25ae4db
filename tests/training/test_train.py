"""The training loop: it learns, it repeats, it records, and it refuses what cannot work."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.datasets import Data, load_data
from neuro_eq.training import EVALUATION_BATCH, History, as_trained, evaluate

XOR = ne.models.layered_hopfield([2, 8, 2], "tanh", output_activation="identity")


def network(seed: int = 3) -> ReferenceEngine:
    return ReferenceEngine(XOR, seed=seed)


def train_xor(net: ReferenceEngine, epochs: int, record: Path | None = None) -> History:
    return ne.train(
        net,
        load_data("xor"),
        method=ne.EqProp(beta=0.1),
        optimizer=ne.Adam(2e-2),
        epochs=epochs,
        batch_size=4,
        record=record,
    )


def test_it_learns_xor() -> None:
    net = network()
    history = train_xor(net, 150)
    assert history.last.test_accuracy == 1.0
    # Half of it would be reached by answering ½ everywhere.
    assert history.last.test_cost < 0.05 < history.epochs[0].test_cost


def test_the_same_seed_gives_the_same_weights_to_the_bit() -> None:
    data = load_data("digits").subset(64, 16)
    spec = ne.models.layered_hopfield([64, 12, 10])
    results = []
    for net in (ReferenceEngine(spec, seed=1), ReferenceEngine(spec, seed=1)):
        ne.train(net, data, epochs=2, batch_size=20, seed=5)
        results.append(net.parameters)
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name], results[1][name])


def test_the_order_of_samples_depends_on_seed_and_epoch_alone() -> None:
    spec = ne.models.layered_hopfield([64, 12, 10])
    data = load_data("digits").subset(60, 16)
    weights = []
    for seed in (0, 0, 1):
        net = ReferenceEngine(spec, seed=1)
        ne.train(net, data, epochs=1, batch_size=20, seed=seed)
        weights.append(net.parameters["input_hidden1.weight"])
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_one_step_of_sgd_is_the_gradient() -> None:
    net = network()
    data = load_data("xor")
    before = net.parameters
    method = ne.EqProp(beta=0.1)
    # One batch holds all samples, in the order that the documented stream (seed, epoch) gives them.
    _, x, y = next(iter(data.batches(4, np.random.default_rng([0, 1]))))
    gradient, _ = method.gradient(net, x, y)
    ne.train(net, data, method=method, optimizer=ne.SGD(0.5), epochs=1, batch_size=4)
    for name, value in net.parameters.items():
        np.testing.assert_array_equal(value, before[name] - 0.5 * gradient[name])


def test_evaluation_does_not_depend_on_its_batches() -> None:
    spec = ne.models.layered_hopfield([64, 12, 10])
    net = ReferenceEngine(spec)
    data = load_data("digits")
    assert len(data.x_train) > 2 * EVALUATION_BATCH
    score = evaluate(net, data.x_train, data.y_train)
    state = net.relax(data.x_train, tol=1e-4)
    assert score.accuracy == pytest.approx(np.mean(np.argmax(net.output(state), 1) == data.y_train), abs=1e-12)
    assert score.cost == pytest.approx(np.mean(net.cost(state, data.y_train)), rel=1e-12)
    assert score.steps == pytest.approx(np.mean(state.steps), abs=1e-9)


@pytest.mark.parametrize(
    ("free", "wanted"),
    [
        (None, ne.Relaxation(tol=1e-4)),
        (ne.Relaxation(solver=ne.Picard(0.5), max_steps=40), ne.Relaxation(solver=ne.Picard(0.5), tol=1e-4)),
        (ne.Relaxation(max_steps=800), ne.Relaxation(tol=1e-4, max_steps=800)),
        (ne.Relaxation(tol=1e-3, max_steps=40), ne.Relaxation(tol=1e-3, max_steps=40)),
        (ne.Relaxation(tol=None, max_steps=3), ne.Relaxation(tol=None, max_steps=3)),
    ],
)
def test_answers_are_given_as_in_training(free: ne.Relaxation | None, wanted: ne.Relaxation) -> None:
    assert as_trained(free) == wanted
    net, data = network(), load_data("xor")
    history = ne.train(net, data, method=ne.EqProp(0.1), epochs=1, batch_size=4, free=free)
    state = net.relax(data.x_test, solver=wanted.solver, tol=wanted.tol, max_steps=wanted.max_steps)
    assert history.last.test_cost == pytest.approx(np.mean(net.cost(state, data.y_test)), rel=1e-12)


def test_metrics_and_probes_are_recorded(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    history = train_xor(network(), 3, record=path)
    with ne.open_trajectory(path) as trajectory:
        assert trajectory.complete
        epochs, accuracy = trajectory.metrics["test_accuracy"]
        np.testing.assert_array_equal(epochs, [0, 1, 2, 3])
        np.testing.assert_array_equal(accuracy, [epoch.test_accuracy for epoch in history.epochs])
        assert {name for name in asdict(history.last) if name != "epoch"} <= set(trajectory.metrics)
        steps, _ = trajectory.metrics["cost"]
        np.testing.assert_array_equal(steps, [1, 2, 3])
        np.testing.assert_array_equal(trajectory.equilibrium["epoch"], np.repeat([0, 1, 2, 3], 4))
        assert trajectory.phases == ("free", "nudged+0.1", "nudged-0.1")


def test_a_network_that_blows_up_ends_in_one_sentence_and_keeps_the_file(tmp_path: Path) -> None:
    spec = ne.models.layered_hopfield([2, 8, 2], "identity", gain=60.0)
    net = ReferenceEngine(spec)
    huge = {name: value * 1e150 for name, value in net.parameters.items()}
    net.set_parameters(huge)
    with pytest.raises(ne.TrainingError, match=r"^epoch 1, batch 1: 4 of 4 samples diverged"):
        train_xor(net, 1, record=tmp_path / "run.h5")
    with ne.open_trajectory(tmp_path / "run.h5.part") as trajectory:
        assert not trajectory.complete


@pytest.mark.parametrize("optimizer", [ne.SGD(0.1), ne.Adam(1e-2)])
@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_gradient_that_is_not_finite_is_named(monkeypatch: pytest.MonkeyPatch, optimizer: Any, bad: float) -> None:
    original = ne.EqProp.gradient

    def broken(*arguments: Any, **named: Any) -> Any:
        gradient, evidence = original(*arguments, **named)
        gradient["output_bias.bias"] = gradient["output_bias.bias"] + np.array([0.0, bad])
        return gradient, evidence

    monkeypatch.setattr(ne.EqProp, "gradient", broken)
    net = network()
    before = net.parameters
    with pytest.raises(ne.TrainingError, match=r"^epoch 1, batch 1: the gradient of output_bias\.bias is not finite; "):
        ne.train(net, load_data("xor"), optimizer=optimizer, epochs=1)
    for name, value in net.parameters.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([3, 4, 2], r'data: a sample of "xor" has 2 values, but population "input" has 3 units'),
        ([2, 4, 5], r'data: "xor" asks for 2 outputs, but the network has 5'),
    ],
)
def test_data_that_does_not_fit_is_refused_before_work(sizes: list[int], message: str, tmp_path: Path) -> None:
    net = ReferenceEngine(ne.models.layered_hopfield(sizes))
    with pytest.raises(ne.DataError, match=message):
        ne.train(net, load_data("xor"), record=tmp_path / "run.h5")
    assert not list(tmp_path.iterdir())


def test_a_method_that_does_not_apply_is_refused_before_work(tmp_path: Path) -> None:
    net = ReferenceEngine(ne.models.looped_mlp(2, 4, 2, symmetric=False))
    with pytest.raises(ne.SpecError, match=r'synapses\[1\]: "hidden_hidden" is directed .*use AsymEP'):
        ne.train(net, load_data("xor"), record=tmp_path / "run.h5")
    assert not list(tmp_path.iterdir())


def test_regression_has_a_cost_and_no_accuracy() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(40, 3)).astype(np.float32)
    y = (x @ rng.normal(size=(3, 2))).astype(np.float32)
    data = Data("plane", x[:30], y[:30], x[30:], y[30:], classes=None)
    net = ReferenceEngine(ne.models.layered_hopfield([3, 2], "identity"))
    history = ne.train(net, data, method=ne.EqProp(0.5), optimizer=ne.SGD(0.5), epochs=100, batch_size=10)
    assert np.isnan(history.last.test_accuracy)
    # One linear synapse fits a plane exactly.  The slowest mode of uniform data has a second moment of 1/12, so 300
    # steps of 0.5 leave about exp(−300·0.5/12·2) = 1e-11 of the cost; the tolerance of the phases leaves 1e-6.
    assert history.last.test_cost < 1e-5 * history.epochs[0].test_cost


TWO = ne.Network(
    populations=[
        ne.Population(name="image", shape=(2, 2), clamped=True),
        ne.Population(name="context", shape=3, clamped=True),
        ne.Population(name="hidden", shape=6, activation="tanh"),
    ],
    synapses=[
        ne.Dense(source="image", target="hidden"),
        ne.Dense(source="context", target="hidden"),
        ne.Bias(target="hidden"),
    ],
    cost={"kind": "cross_entropy", "population": "hidden", "classes": 3},
)


def several(classes: int | None = 3) -> Data:
    """Samples of which the label is told by both inputs together."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(96, 7)).astype(np.float32)
    labels = np.argmax(x[:, :3] + x[:, 4:], axis=1)
    y = labels if classes is not None else np.eye(3, dtype=np.float32)[labels] * np.float32(0.7) + np.float32(0.1)
    return Data("two", x[:64], y[:64], x[64:], y[64:], classes=classes)


def test_several_inputs_stand_side_by_side_in_the_order_of_the_spec() -> None:
    net, data = ReferenceEngine(TWO, seed=2), several()
    x = data.x_test
    together, apart = net.relax(x), net.relax({"image": x[:, :4].reshape(-1, 2, 2), "context": x[:, 4:]})
    np.testing.assert_array_equal(together.activities["hidden"], apart.activities["hidden"])
    np.testing.assert_array_equal(together.activities["image"], apart.activities["image"])
    history = ne.train(net, data, epochs=20, optimizer=ne.Adam(3e-2))
    assert history.last.test_accuracy > 0.8 > history.epochs[0].test_accuracy
    context = ne.Population(name="context", shape=2, clamped=True)
    narrow = TWO.model_copy(update={"populations": (TWO.populations[0], context, TWO.populations[2])})
    with pytest.raises(ne.DataError, match=r'7 values, but population "image" has 4 units and "context" has 2 units'):
        ne.train(ReferenceEngine(narrow), data)
    with pytest.raises(ne.DataError, match=r"\(batch, 7\) with all of them side by side; found \[5, 6\]"):
        net.relax(np.zeros((5, 6)))


def test_cross_entropy_learns_from_probabilities() -> None:
    net, data = ReferenceEngine(TWO, seed=2), several(classes=None)
    history = ne.train(net, data, epochs=20, optimizer=ne.Adam(3e-2))
    least = -np.mean(np.sum(data.y_test * np.log(data.y_test), axis=1))  # the entropy of the targets
    assert least < history.last.test_cost < least + 0.5 * (history.epochs[0].test_cost - least)
    values = Data("values", *(2 * (data.x_train, 3 * data.y_train)), classes=None)
    with pytest.raises(
        ne.DataError, match='"values" has values to fit, and cross-entropy needs labels, or rows that are'
    ):
        ne.train(net, values)
