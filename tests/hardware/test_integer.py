"""The integer engine computes what the definition says, bit for bit, and its counts are true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.backends.numba.integer import IntegerEngine
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.quantisation import Precision, quantise

seeds = st.integers(0, 2**31)


def drawn(chip: ChipNetwork, seed: int, rows: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Data, targets and gains of nudges."""
    rng = np.random.default_rng(seed + 1)
    p, out = chip.population("data"), chip.population(chip.output)
    data = rng.integers(p.low, p.high + 1, (rows, p.size))
    return {"data": data}, rng.integers(out.low, out.high + 1, (rows, out.size)), rng.integers(-8, 9, rows)


@given(seeds, st.booleans())
@settings(deadline=None, max_examples=60)
def test_every_register_of_every_step_is_the_definition(
    make_chip: Callable[..., ChipNetwork], definition: Any, seed: int, large: bool
) -> None:
    chip = make_chip(seed, large=large)
    rows, steps = 3, 5
    data, target, gain = drawn(chip, seed, rows)
    with IntegerEngine(chip, threads=1) as engine:
        first = engine.run(engine.start(data), steps, trace=True)
        second = engine.run(first.state, steps, target=target, gain=gain, nudged=True, trace=True)
    for r in range(rows):
        oracle = definition(chip, data["data"][r])
        for run, t, nudged in [(first, t, False) for t in range(steps)] + [(second, t, True) for t in range(steps)]:
            oracle.step(target[r].tolist(), int(gain[r]) if nudged else 0, nudged)
            for p in chip.populations:
                at = chip.places[p.name]
                assert run.trace.a[t, r, at].tolist() == oracle.a[p.name]
                assert run.trace.messages[t, r, at].tolist() == oracle.sent[-1][p.name]
                if not p.clamped:
                    assert run.trace.v[t, r, at].tolist() == oracle.v[p.name]
                    assert run.trace.sigma[t, r, at].tolist() == oracle.sigma[p.name]
        for i, p in enumerate(chip.populations):
            assert (first.overflow + second.overflow)[r, i].tolist() == oracle.overflow[p.name]
            assert (first.messages + second.messages)[r, i] == sum(
                np.count_nonzero(sent[p.name]) for sent in oracle.sent
            )
        assert first.operations[r] + second.operations[r] == oracle.operations


@given(seeds)
@settings(deadline=None, max_examples=25)
def test_skipping_what_is_silent_changes_nothing(make_chip: Callable[..., ChipNetwork], seed: int) -> None:
    """With a trace every step is taken; without, a silent sample is left."""
    chip = make_chip(seed, "sigma_delta")
    data, target, gain = drawn(chip, seed, 3)
    with IntegerEngine(chip, threads=2) as engine:
        start = engine.start(data)
        whole = engine.run(start, 400, target=target, gain=gain, trace=True)
        short = engine.run(start, 400, target=target, gain=gain)
        for name in ("a", "v", "sigma", "reference", "inbox"):
            np.testing.assert_array_equal(getattr(whole.state, name), getattr(short.state, name))
        np.testing.assert_array_equal(whole.silent, short.silent)
        np.testing.assert_array_equal(whole.messages, short.messages)
        np.testing.assert_array_equal(whole.overflow, short.overflow)
        # And in pieces it is the same, whatever the clock says of the inbox.
        pieces = engine.run(engine.run(start, 7, target=target, gain=gain).state, 393, target=target, gain=gain)
        np.testing.assert_array_equal(pieces.state.v, short.state.v)


@given(seeds)
@settings(deadline=None, max_examples=20)
def test_rows_and_threads_do_not_know_of_each_other(make_chip: Callable[..., ChipNetwork], seed: int) -> None:
    chip = make_chip(seed)
    data, target, gain = drawn(chip, seed, 70)
    with IntegerEngine(chip, threads=3) as engine:
        together = engine.run(engine.start(data), 9, target=target, gain=gain)
        some = [69, 3, 40]
        alone = engine.run(engine.start({"data": data["data"][some]}), 9, target=target[some], gain=gain[some])
    np.testing.assert_array_equal(together.state.v[some], alone.state.v)
    np.testing.assert_array_equal(together.state.inbox[some], alone.state.inbox)


def quantised(spec: ne.Network, precision: Precision, seed: int = 1, size: float = 2.0) -> tuple[ChipNetwork, Any]:
    """The chip, and the reference engine with the weights that the chip holds."""
    ranges = {p.name: 1.0 if p.clamped else size for p in spec.populations}
    if spec.cost is not None:
        ranges[spec.cost.name] = size
    chip, _ = quantise(spec, spec.initial_parameters(seed), ranges, precision)
    held = dict(spec.initial_parameters(seed))
    for c in chip.connections:
        if not c.transposed and f"{c.synapse}.weight" in held:
            held[f"{c.synapse}.weight"] = (c.weights * 2.0**c.scale).reshape(held[f"{c.synapse}.weight"].shape)
    net = ne.compile(spec, backend="reference")
    net.set_parameters(held)
    return chip, net


@pytest.mark.parametrize("messages", ["sigma_delta", "graded"])
@pytest.mark.parametrize("activation", ["hard_sigmoid", "tanh", "sigmoid"])
def test_the_fixed_point_is_the_networks_own(messages: Any, activation: str) -> None:
    """With the weights that the chip holds, what is left is the rounding of states.

    An activity errs by half a unit by rounding (a table by 10⁻⁴ more), by ``θ − 1`` units that are never sent, and the
    potential by one unit of the drive for the leak and one for u; through weights of joint norm L < 1 this grows to
    at most ``√n/(1 − L)`` times itself.
    """
    spec = ne.models.layered_hopfield([5, 6, 4], activation, gain=0.5)
    chip, net = quantised(spec, Precision(activity_bits=12, messages=messages))
    x = np.random.default_rng(0).random((20, 5))
    with IntegerEngine(chip, strict=True, threads=1) as engine:
        found = engine.run(engine.start({"input": x}), 300)
    wanted = net.relax(
        chip.decode("input", chip.encode("input", x)), solver=ne.Picard(alpha=0.5), tol=1e-12, max_steps=2000
    )
    weight = np.linalg.norm(np.asarray(net.parameters["hidden1_output.weight"]), 2)
    assert weight < 0.9
    bits = min(chip.population(name).activity_bits for name in ("hidden1", "output"))
    local = (
        0.5 * 2.0**-bits
        + 2 * 2.0 ** -min(p.drive_bits for p in chip.free)
        + (1e-4 if activation != "hard_sigmoid" else 0)
    )
    for name in ("hidden1", "output"):
        error = np.abs(chip.decode(name, found.activities(name)) - wanted.activities[name]).max()
        assert error <= local * np.sqrt(10) / (1 - weight), name
    if messages == "sigma_delta":
        assert (found.silent > 0).all()


def test_sigma_delta_messages_fall_silent_and_graded_ones_do_not() -> None:
    spec = ne.models.layered_hopfield([5, 6, 4], "hard_sigmoid", gain=0.5)
    x = np.random.default_rng(0).random((4, 5))
    counts = {}
    for messages in ("sigma_delta", "graded"):
        chip, _ = quantised(spec, Precision(messages=messages))
        with IntegerEngine(chip, threads=1) as engine:
            settled = engine.run(engine.start({"input": x}), 300).state
            counts[messages] = engine.run(settled, 100).messages.sum()
    assert counts["sigma_delta"] == 0
    assert counts["graded"] > 0


def test_a_directed_network_is_nudged_through_its_reverse_ways() -> None:
    """At the nudged fixed point ``u = D a* + Dᵀ(a − a*) + …``: what AsymEP asks for, up to the rounding of states."""
    spec = ne.models.looped_mlp(4, 6, 3, symmetric=False, cost="squared_error", gain=0.25, activation="hard_sigmoid")
    chip, net = quantised(spec, Precision(activity_bits=14, margin=1.5), size=1.0)
    x, y = np.random.default_rng(0).random((8, 4)), np.random.default_rng(1).random((8, 3))
    x = chip.decode("input", chip.encode("input", x))
    beta = 0.25
    with IntegerEngine(chip, strict=True, threads=1) as engine:
        free = engine.run(engine.start({"input": x}), 300)
        nudged = engine.run(free.state, 300, target=chip.encode("output", y), gain=chip.nudge_gain(beta), nudged=True)
    start = net.relax(x, tol=1e-12, max_steps=2000)
    found = net.relax(
        x, target=chip.decode("output", chip.encode("output", y)), beta=beta, start=start, tol=1e-12, max_steps=2000,
        asymmetry_at=start,
    )  # fmt: skip
    plain = net.relax(x, target=y, beta=beta, start=start, tol=1e-12, max_steps=2000)
    error = {
        name: np.abs(chip.decode(name, nudged.activities(name)) - found.activities[name]).max()
        for name in ("hidden", "output")
    }
    away = np.abs(found.activities["hidden"] - plain.activities["hidden"]).max()
    loop, out = (
        np.linalg.norm(np.asarray(net.parameters[f"hidden_{name}.weight"]), 2) for name in ("hidden", "output")
    )
    joint = float(np.linalg.norm([[loop, out], [out, beta]], 2))
    bits = min(chip.population(name).activity_bits for name in ("hidden", "output"))
    local = 0.5 * 2.0**-bits + 2 * 2.0 ** -min(p.drive_bits for p in chip.free)
    # The anchor errs like a fixed point of the free phase, and the correction counts it twice more.
    within = 3 * local * np.sqrt(9) / (1 - joint)
    # Without the correction the states would be `away` from where they have to be, and the bound would tell.
    assert max(error.values()) <= within < away


def test_strict_engines_refuse_to_overflow_and_others_count_it() -> None:
    spec = ne.models.layered_hopfield([5, 6, 4], "relu")
    parameters = {name: 40.0 * np.abs(value) for name, value in spec.initial_parameters(0).items()}
    chip, _ = quantise(spec, parameters, {"input": 1.0, "hidden1": 0.5, "output": 0.5})
    x = np.ones((2, 5))
    with IntegerEngine(chip, strict=True) as engine, pytest.raises(ne.BackendError, match='overflow: in "hidden1"'):
        engine.run(engine.start({"input": x}), 20)
    with IntegerEngine(chip) as engine:
        assert sum(engine.run(engine.start({"input": x}), 20).overflows().values()) > 0


@given(seeds)
@settings(deadline=None, max_examples=40)
def test_where_a_bound_holds_nothing_overflows(make_chip: Callable[..., ChipNetwork], seed: int) -> None:
    chip = make_chip(seed)
    data, _, _ = drawn(chip, seed, 4)
    safe = chip.unreachable_overflow()
    with IntegerEngine(chip, threads=1) as engine:
        overflow = engine.run(engine.start(data), 30).overflow
    for i, p in enumerate(chip.populations):
        if safe.get(p.name):
            assert overflow[:, i, :2].sum() == 0
