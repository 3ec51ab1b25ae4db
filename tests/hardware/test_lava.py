"""Lava's models and the integer engine are the same arithmetic; in floating point, Lava and the oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.backends.lava.chip import LavaChip, LavaRun
from neuro_eq.backends.numba.integer import ChipRun, IntegerEngine
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.quantisation import Precision, quantise
from neuro_eq.hardware.real import RealNetwork, real

seeds = st.integers(0, 2**31)


def drawn(chip: ChipNetwork, seed: int, rows: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed + 1)
    p, out = chip.population("data"), chip.population(chip.output)
    data = rng.integers(p.low, p.high + 1, (rows, p.size))
    return {"data": data}, rng.integers(out.low, out.high + 1, (rows, out.size)), rng.integers(-8, 9, rows)


def assert_same_bits(found: LavaRun, chip: ChipNetwork, runs: list[ChipRun]) -> None:
    """Every register of every step, every message, every overflow."""
    for name in ("v", "sigma", "a", "messages"):
        wanted = np.concatenate([getattr(run.trace, name) for run in runs])
        np.testing.assert_array_equal(getattr(found, name), wanted, err_msg=name)
    for i, p in enumerate(chip.populations):
        at = chip.places[p.name]
        total = sum(run.overflow[:, i] for run in runs)
        for kind, name in enumerate(("wrapped", "saturated", "clipped")):
            np.testing.assert_array_equal(getattr(found, name)[-1][:, at].sum(axis=1), total[:, kind], err_msg=name)
        sent = sum(run.messages[:, i] for run in runs)
        np.testing.assert_array_equal(found.sent[-1][:, at].sum(axis=1), sent)


def both_phases(
    chip: ChipNetwork, data: dict[str, np.ndarray], target: np.ndarray, gain: np.ndarray, steps: int
) -> list[ChipRun]:
    with IntegerEngine(chip, threads=1) as engine:
        free = engine.run(engine.start(data), steps, trace=True)
        return [free, engine.run(free.state, steps, target=target, gain=gain, nudged=True, trace=True)]


@given(seeds, st.booleans())
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_process_has_the_integer_engines_bits(
    lava: LavaChip, make_chip: Callable[..., ChipNetwork], seed: int, large: bool
) -> None:
    chip = make_chip(seed, large=large)
    data, target, gain = drawn(chip, seed, 3)
    runs = both_phases(chip, data, target, gain, 6)
    found = lava.run(chip, data, [(6, False), (6, True)], target=target, gain=gain)
    assert_same_bits(found, chip, runs)


@given(seeds, st.booleans())
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_process_for_each_part_has_the_integer_engines_bits(
    lava: LavaChip, make_chip: Callable[..., ChipNetwork], seed: int, large: bool
) -> None:
    """Two presentations one after the other, in one runtime."""
    chip = make_chip(seed, large=large)
    data, target, gain = drawn(chip, seed, 2)
    runs = both_phases(chip, data, target, gain, 5)
    found = lava.run(chip, data, [(5, False), (5, True)], target=target, gain=gain, hierarchical=True)
    assert_same_bits(found, chip, runs)


def ranges(spec: ne.Network) -> dict[str, float]:
    known = {p.name: 1.0 if p.clamped else 3.0 for p in spec.populations}
    return {**known, "readout": 3.0}


MODELS = {
    "layered": ne.models.layered_hopfield([5, 6, 4], "hard_sigmoid", gain=0.5),
    "layered-readout": ne.models.layered_hopfield([5, 6, 4], "sigmoid", cost="cross_entropy", gain=0.5),
    "looped": ne.models.looped_mlp(4, 6, 3, cost="squared_error"),
    "looped-directed": ne.models.looped_mlp(4, 6, 3, symmetric=False, cost="squared_error"),
    "looped-readout": ne.models.looped_mlp(4, 6, 3),
    "toroidal": ne.models.toroidal_mlp(4, 6, 3, cost="squared_error", buffer_size=3),
    "conv": ne.models.conv_hopfield((4, 4), 3, channels=(2,), pool="average", cost="squared_error"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_quantised_have_the_same_bits(lava: LavaChip, name: str) -> None:
    spec = MODELS[name]
    chip, _ = quantise(spec, spec.initial_parameters(0), ranges(spec), Precision())
    rng = np.random.default_rng(0)
    x = {p.name: chip.encode(p.name, rng.random((3, p.size))) for p in chip.clamped}
    out = chip.population(chip.output)
    target = chip.encode(chip.output, rng.random((3, out.size)))
    gain = np.full(3, chip.nudge_gain(0.5) if chip.nudged else 0)
    runs = both_phases(chip, x, target, gain, 8)
    for hierarchical in (False, True):
        found = lava.run(chip, x, [(8, False), (8, True)], target=target, gain=gain, hierarchical=hierarchical)
        assert_same_bits(found, chip, runs)


class Delayed:
    """The oracle: the reference engine's steps, a step later.

    In its first step nothing has arrived, so ``u₁ = (1 − α) u₀ + α (b + β(y − ρ(u₀)))``; from there on every message
    is one step old when it is taken in, which is what a relaxation step does with the activities before it.
    """

    def __init__(self, spec: ne.Network, network: RealNetwork, parameters: dict[str, np.ndarray], alpha: float) -> None:
        self.spec, self.network, self.alpha = spec, network, alpha
        self.net = ne.compile(spec, backend="reference")
        self.net.set_parameters(parameters)

    def states(self, x: np.ndarray, steps: int) -> list[dict[str, np.ndarray]]:
        first = {
            p.name: self.alpha * np.tile(self.network.population(p.name).bias, (len(x), 1)) for p in self.spec.free
        }
        start = {name: value.reshape(-1, *self.spec.shapes[name]) for name, value in first.items()}
        found = [start]
        for k in range(1, steps):
            state = self.net.relax(x, solver=ne.Picard(alpha=self.alpha), tol=None, max_steps=k, start=start)
            found.append({name: np.asarray(value) for name, value in state.states.items()})
        return found

    def nudged(
        self, x: np.ndarray, y: np.ndarray, beta: float, free: dict[str, np.ndarray], steps: int
    ) -> list[dict[str, np.ndarray]]:
        """From a free state whose messages have all been sent, so that no step is lost."""
        found = []
        settled = self.net.relax(x, solver=ne.Picard(alpha=self.alpha), tol=None, max_steps=0, start=free)
        for k in range(1, steps + 1):
            state = self.net.relax(
                x, target=y, beta=beta, solver=ne.Picard(alpha=self.alpha), tol=None, max_steps=k, start=free,
                asymmetry_at=settled if self.spec.asymmetric else None,
            )  # fmt: skip
            found.append({name: np.asarray(value) for name, value in state.states.items()})
        return found


@pytest.mark.parametrize("name", [name for name in MODELS if name != "toroidal"])
@pytest.mark.parametrize("hierarchical", [False, True], ids=["one", "parts"])
@pytest.mark.parametrize("messages", ["graded", "sigma_delta"])
def test_floating_point_is_the_oracle_with_the_connections_delay(
    lava: LavaChip, name: str, hierarchical: bool, messages: Any
) -> None:
    """Step by step to 1e-6, the nudged phase too; in it an asymmetric network sends changes the other way."""
    spec, alpha, beta = MODELS[name], 0.5, 0.3
    parameters = spec.initial_parameters(1)
    network = real(spec, parameters, alpha=alpha, messages=messages)
    oracle = Delayed(spec, network, parameters, alpha)
    rng = np.random.default_rng(2)
    x = rng.random((2, *spec.given[0].shape))
    # As many steps as the network needs to come to rest: the anchor of the nudged phase is where messages stop.
    steps, more = 250, 5
    nudges = spec.cost.kind == "squared_error" and not (spec.asymmetric and messages == "graded")
    y = rng.random((2, spec.cost.outputs(spec.shapes)))
    found = lava.run(
        network, {spec.given[0].name: x}, [(steps, False), (more, True)], target=y, gain=beta if nudges else 0.0,
        hierarchical=hierarchical,
    )  # fmt: skip
    free = oracle.states(x, 12)
    for k, wanted in enumerate(free):
        for population, u in wanted.items():
            there = found.v[k][:, network.places[population]]
            np.testing.assert_allclose(
                there, u.reshape(2, -1), rtol=0, atol=1e-6, err_msg=f"{population}, step {k + 1}"
            )
    if not nudges:
        return
    rest = {p.name: found.v[steps - 1][:, network.places[p.name]].reshape(-1, *p.shape) for p in spec.free}
    for k, wanted in enumerate(oracle.nudged(x, y, beta, rest, more)):
        for population, u in wanted.items():
            there = found.v[steps + k][:, network.places[population]]
            np.testing.assert_allclose(
                there, u.reshape(2, -1), rtol=0, atol=1e-6, err_msg=f"{population}, nudged {k + 1}"
            )


def test_a_history_is_a_connection_of_each_delay(lava: LavaChip) -> None:
    """``κ Σ_k w_k a_{t−k}`` with nothing before the first step, where the engines begin with a full buffer."""
    spec = MODELS["toroidal"]
    parameters = spec.initial_parameters(1)
    network = real(spec, parameters, alpha=0.5)
    x = np.random.default_rng(0).random((2, 4))
    history = next(s for s in spec.synapses if s.kind == "history")
    found = lava.run(network, {"input": x}, [(9, False)], hierarchical=True)
    at = {name: network.places[name] for name in ("hidden", "output")}
    u = {name: np.zeros((2, network.population(name).size)) for name in at}
    sent: list[dict[str, np.ndarray]] = []
    for k in range(9):
        drive = {name: np.tile(network.population(name).bias, (2, 1)) for name in at}
        if sent:
            a, o = sent[-1]["hidden"], sent[-1]["output"]
            drive["hidden"] += x @ parameters["input_hidden.weight"].T + a @ parameters["hidden_hidden.weight"].T
            drive["hidden"] += o @ parameters["hidden_output.weight"]
            drive["output"] += a @ parameters["hidden_output.weight"].T
            for weight, past in zip(history.weights, reversed(sent), strict=False):
                drive["hidden"] += history.coupling * weight * past["hidden"]
        u = {name: u[name] + 0.5 * (drive[name] - u[name]) for name in at}
        sent.append({"hidden": np.tanh(u["hidden"]), "output": u["output"]})
        for name, place in at.items():
            np.testing.assert_allclose(found.v[k][:, place], u[name], rtol=0, atol=1e-12)


def test_without_a_trace_only_the_end_is_reported(lava: LavaChip, make_chip: Callable[..., ChipNetwork]) -> None:
    chip = make_chip(5)
    data, _, _ = drawn(chip, 5, 2)
    whole, end = (lava.run(chip, data, [(7, False)], trace=trace) for trace in (True, False))
    assert end.v.shape[0] == 1
    np.testing.assert_array_equal(end.v[0], whole.v[-1])
    np.testing.assert_array_equal(end.sent[0], whole.sent[-1])
