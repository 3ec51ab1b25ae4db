"""The penalty on the response, against sums over all signs, differences, and what it does to a network in training."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq import comparison
from neuro_eq.penalty import JacobianPenalty, probes

NETWORKS = {
    "chain": lambda: ne.models.layered_hopfield([4, 5, 3], gain=0.5),
    "directed": lambda: ne.models.looped_mlp(4, 5, 3, symmetric=False),
    "memory": lambda: ne.models.modern_hopfield_mlp(4, 5, 3),
    "gated": lambda: ne.models.gated_mlp(4, 5, 3, gate="drive"),
    "hard sigmoid": lambda: ne.models.layered_hopfield([4, 5, 3], "hard_sigmoid", gain=0.5),
    "maps": lambda: ne.models.conv_hopfield((4, 4), 3, channels=(2, 3), gain=0.5),
    "average": lambda: ne.models.conv_hopfield((4, 4), 3, channels=(2, 3), gain=0.5, pool="average", activation="tanh"),
    "energy": lambda: ne.models.energy_transformer((4,), 3, vocabulary=6, depth=2, width=4, heads=2, patterns=5),
    "linear": lambda: ne.models.energy_transformer((2, 4), 3, patch=2, width=4, heads=2, attention="linear"),
    "recall": lambda: ne.models.energy_transformer((2, 4), 3, patch=2, width=4, heads=2, memory="logsumexp"),
    "block": lambda: ne.models.looped_transformer((2, 4), 3, patch=2, width=4, heads=2, hidden=5, dropout=0.3),
    "symmetric": lambda: ne.models.looped_transformer(
        (4,), 3, vocabulary=6, width=4, heads=2, hidden=5, attention="softmax", symmetric=True, depth=3
    ),
}
PENALTY, SEED = JacobianPenalty(0.7), [3, 1, 4]


def settled(spec, samples, backend="reference", dtype="float64", batch=3):
    net = ne.compile(spec, backend=backend, dtype=dtype, seed=2)
    rng = np.random.default_rng(0)
    start = spec.initial_parameters(2)
    net.set_parameters({name: value + 0.05 * rng.normal(size=value.shape) for name, value in start.items()})
    return net, net.relax(samples(spec, batch, 5).x, tol=1e-12 if dtype == "float64" else 1e-6, max_steps=2000)


@pytest.mark.parametrize("name", NETWORKS)
def test_its_gradient_is_the_derivative_of_its_value_at_a_constant_state(name, samples):
    """Along a random direction in each parameter, by central differences; activities and potentials stay."""
    net, state = settled(NETWORKS[name](), samples)
    found, rng, step = PENALTY.gradient(net, state, SEED), np.random.default_rng(1), 1e-5
    start = dict(net.parameters)
    readout = {name for name in start if name.startswith("readout.")}
    assert set(found) == set(start) - readout
    size = max(float(np.max(np.abs(value))) for value in found.values())
    for group, value in found.items():
        direction = (
            net.spec.project({**start, group: start[group] + rng.normal(size=value.shape)})[group] - start[group]
        )
        values = []
        for sign in (1.0, -1.0):
            net.set_parameters({**start, group: start[group] + sign * step * direction})
            values.append(np.mean(PENALTY.value(net, state, SEED)))
        # Truncation 1e-10 times third derivatives; on the scale of the largest gradient.
        wanted = (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(np.sum(value * direction), wanted, rtol=1e-6, atol=1e-7 * size, err_msg=group)


def test_over_all_signs_it_is_the_squared_frobenius_norm(samples, monkeypatch):
    from neuro_eq import penalty

    net, state = settled(ne.models.looped_mlp(4, 5, 3, symmetric=False), samples, batch=1)
    matrix = np.asarray(net.parameters["hidden_hidden.weight"]) @ np.diag(1.0 - state.activities["hidden"][0] ** 2)
    values = []
    for signs in product([-1.0, 1.0], repeat=5):
        monkeypatch.setattr(penalty, "probes", lambda *_, signs=signs: {"hidden": np.array([signs])})
        values.append(float(PENALTY.value(net, state, SEED)[0]))
    assert np.mean(values) == pytest.approx(0.5 * 0.7 * np.sum(matrix**2) / 5, rel=1e-12)


def test_the_signs_are_those_of_the_seed_and_the_population(samples):
    net, state = settled(NETWORKS["chain"](), samples, batch=64)
    signs = probes(net, state, [1, 2])
    assert {name: value.shape for name, value in signs.items()} == {"hidden1": (64, 5), "output": (64, 3)}
    for name, value in signs.items():
        assert set(np.unique(value)) == {-1.0, 1.0}
        np.testing.assert_array_equal(value, probes(net, state, [1, 2])[name])
        assert np.any(value != probes(net, state, [1, 3])[name])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["chain", "maps", "energy", "block"])
def test_engines_agree(name, dtype, samples, need):
    need("torch")
    net, state = settled(NETWORKS[name](), samples)
    other, found = settled(NETWORKS[name](), samples, "torch", dtype)
    wanted = PENALTY.gradient(net, state, SEED)
    values = comparison.numbers(other, PENALTY.gradient(other, found, SEED))
    assert comparison.relative(values, wanted) <= (1e-10 if dtype == "float64" else 1e-4)


def test_training_with_it_keeps_the_response_small(samples):
    data = ne.datasets.load_data("digits").subset(train=256, test=32)
    spec = ne.models.looped_mlp(64, 16, 10, symmetric=False)

    def trained(penalty):
        net = ne.compile(spec, backend="reference")
        ne.train(net, data, method=ne.DyadicEP(), epochs=12, batch_size=32, optimizer=ne.Adam(1e-2), penalty=penalty,
                 free=ne.Relaxation(tol=1e-6))  # fmt: skip
        state = net.relax(data.x_test, max_steps=2000)
        return ne.lipschitz(net, data.x_test, state=state).response.mean(), net.predict(data.x_train)

    free, _ = trained(None)
    held, output = trained(JacobianPenalty(5.0))
    assert held < 0.5 * free, (held, free)
    assert np.mean(np.argmax(output, axis=1) == data.y_train) > 0.9


def test_a_run_names_it_in_its_configuration(tmp_path):
    from neuro_eq.run import RunConfig, load_config
    from neuro_eq.specfile import to_toml

    config = RunConfig(method="eqprop", network=NETWORKS["chain"](), penalty={"strength": 0.3})
    assert config.penalty == JacobianPenalty(0.3)
    (tmp_path / "config.toml").write_text(to_toml(config), encoding="utf-8")
    assert load_config(tmp_path / "config.toml") == config
    with pytest.raises(ne.SpecError, match=r"^penalty\.strength: "):
        RunConfig(method="eqprop", network=NETWORKS["chain"](), penalty={"strength": 0})


def test_an_engine_without_the_linear_response_is_refused(need):
    need("lava")
    data, spec = ne.datasets.load_data("xor"), ne.models.layered_hopfield([2, 3, 2], gain=0.3)
    sentence = r'^JacobianPenalty needs backend "lava" to apply the linear response'
    with ne.compile(spec, backend="lava") as net, pytest.raises(ne.BackendError, match=sentence):
        ne.train(net, data, epochs=1, penalty=PENALTY)
