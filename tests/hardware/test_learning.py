"""The chip's learning engine: the definition, the kernel and Lava's own are one arithmetic."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import neuro_eq as ne
from neuro_eq.backends.deployment.learn_command import app
from neuro_eq.backends.deployment.learning import learn
from neuro_eq.backends.lava.chip import LavaChip, draws
from neuro_eq.backends.numba.chip_measures import measure
from neuro_eq.backends.numba.chip_training import ChipTrainer
from neuro_eq.datasets import load_data
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.learning import POST_FADES, PRE_FADES, Product, Rule, apply, faded
from neuro_eq.hardware.quantisation import Precision, quantise
from neuro_eq.hardware.schedules import CONSOLIDATING, SCHEDULES, LearningSchedule, read_outs

seeds = st.integers(0, 2**31)


def random_rule(rng: np.random.Generator) -> Rule:
    def product(factors: tuple[str, ...]) -> Product:
        return Product(int(rng.choice([-7, -4, -1, 1, 2, 4, 7])), int(rng.integers(0, 9)), factors)  # type: ignore[arg-type]

    dw = (product(("x1", "y1")),)
    if rng.random() < 0.5:
        return Rule(dw=dw)
    return Rule(dw=(product(("t", "y2")),), dt=(product(("x1", "y1")), product(("t", "y2"))))


def random_events(rng: np.random.Generator, events: int, post: int, pre: int) -> tuple[np.ndarray, ...]:
    x1 = rng.integers(0, 128, (events, pre)) * (rng.random((events, pre)) < 0.7)
    return x1, rng.integers(-128, 128, (events, post)), rng.integers(-40, 41, (events, post))


@given(seeds)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lavas_learning_engine_has_the_definitions_bits(lava: LavaChip, seed: int) -> None:
    rng = np.random.default_rng(seed)
    post, pre, events = 4, 5, 4
    rule = random_rule(rng)
    # Mixed signs: what Lava truncates to even numbers when a connection is built is even here.
    weights = 2 * rng.integers(-128, 128, (post, pre))
    tags = rng.integers(-100, 101, (post, pre))
    x1, y1, y2 = random_events(rng, events, post, pre)
    found = lava.learn(rule, weights, tags, x1, y1, y2)
    drawn = draws(events)
    for event in range(events):
        x = faded(x1[event], PRE_FADES, drawn.pre[event])
        y, z = (faded(values[event], POST_FADES, drawn.post[event]) for values in (y1, y2))
        weights, tags = apply(rule, weights, tags, x, y, z, drawn.variables[event])
    np.testing.assert_array_equal(found[0], weights)
    if rule.dt:
        np.testing.assert_array_equal(found[1], tags)


@given(seeds, st.integers(0, 4))
@settings(deadline=None, max_examples=60)
def test_a_pair_of_read_outs_drifts_by_what_the_shift_cuts(seed: int, exponent: int) -> None:
    """``E[ΔW] = −2^e/2⁷`` for every pair of opposite products that eight does not divide, and 0 for the others.

    From 2⁵ on the accumulator's fifteen bits are too few for the largest products.
    """
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 128, 6), rng.integers(0, 128, 5)
    rule = Rule(dw=(Product(1, exponent, ("x1", "y1")),))
    nothing = np.zeros((5, 6), dtype=np.int64)
    # A fraction has seven bits, so these draws tell all of them apart and their mean is the expectation.
    every = (np.arange(128) + 0.5) / 128
    total = sum(apply(rule, nothing, nothing, x, sign * y, 0 * y, draw)[0] for sign in (-1, 1) for draw in every)
    cut = np.outer(y, x) % 8 != 0
    np.testing.assert_array_equal(total, -cut.astype(int) * 2**exponent)


def test_traces_in_steps_of_four_lose_nothing() -> None:
    x, y = np.meshgrid(np.arange(0, 125, 4), np.arange(-124, 125, 4))
    assert not np.any(x * y % 8)


def network(seed: int = 0, hidden: int = 12) -> ChipNetwork:
    """Three populations whose synapses have room to learn; both ways of the second are plastic."""
    spec = ne.models.layered_hopfield([7, hidden, 4], "hard_sigmoid", bias=False)
    ranges = {"input": 1.0, "hidden1": 8.0, "output": 8.0}
    scales = {"input_hidden1": -8, "hidden1_output": -8}
    return quantise(spec, spec.initial_parameters(seed), ranges, Precision(activity_bits=8), scales)[0]


def nudged(chip: ChipNetwork, seed: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    plus = rng.integers(0, 257, (samples, chip.units))
    minus = np.clip(plus + rng.integers(-60, 61, plus.shape) * (rng.random(plus.shape) < 0.5), 0, 256)
    minus[:, : chip.clamped_units] = plus[:, : chip.clamped_units]
    return plus, minus


def by_definition(
    chip: ChipNetwork, schedule: LearningSchedule, plus: np.ndarray, minus: np.ndarray, drawn: np.ndarray
) -> dict[str, np.ndarray]:
    """Read-outs, fading and rules of :mod:`neuro_eq.hardware`, sample by sample, for one copy of the weights."""
    learned = {}
    for k, c in enumerate(chip.connections):
        pre, post = chip.places[c.source], chip.places[c.target]
        bits = (chip.population(c.source).activity_bits, chip.population(c.target).activity_bits)
        copies = [(c.weights.astype(np.int64), np.zeros(c.weights.shape, np.int64))]
        if schedule.paired:
            copies.append((np.zeros(c.weights.shape, np.int64), np.zeros(c.weights.shape, np.int64)))
        for s in range(len(plus)):
            events = read_outs(schedule, (plus[s, pre], minus[s, pre]), (plus[s, post], minus[s, post]), bits)
            calls = [(x, y, 0 * y) for x, y in events]
            at = list(range(len(events)))
            if schedule.consolidate and (s + 1) % schedule.consolidate == 0:
                n, m = c.weights.shape
                calls.append((np.full(m, 127), np.zeros(n, int), np.full(n, CONSOLIDATING)))
                at.append(schedule.events)
            for event, (x, y, z) in zip(at, calls, strict=True):
                for copy, (weights, tags) in enumerate(copies):
                    variable, before, behind = drawn[s, event, k, copy]
                    sign = -1 if copy else 1
                    copies[copy] = apply(
                        schedule.rule, weights, tags, faded(x, PRE_FADES, before), faded(sign * y, POST_FADES, behind),
                        faded(z, POST_FADES, behind), variable,
                    )  # fmt: skip
        learned[c.name] = copies[0][0] - (copies[1][0] if schedule.paired else 0)
    return learned


@pytest.mark.parametrize("name", SCHEDULES)
@given(seed=seeds)
@settings(deadline=None, max_examples=8)
def test_the_kernel_teaches_as_the_definition_says(name: str, seed: int) -> None:
    chip, schedule = network(seed % 5, hidden=5), SCHEDULES[name]
    plus, minus = nudged(chip, seed, 17)
    trainer = ChipTrainer(chip, schedule, seed=seed)
    drawn = trainer.draws(17)
    trainer.teach(plus, minus, drawn)
    wanted = by_definition(chip, schedule, plus, minus, drawn)
    for connection, weights in trainer.weights().items():
        np.testing.assert_array_equal(weights, wanted[connection], err_msg=connection)


@pytest.mark.parametrize("name", [name for name, schedule in SCHEDULES.items() if not schedule.paired])
def test_an_update_is_the_one_of_lavas_learning_engine(lava: LavaChip, name: str) -> None:
    """All connections of a network learn from a sample's nudged phases: the same weights, both ways."""
    schedule = replace(SCHEDULES[name], consolidate=min(1, SCHEDULES[name].consolidate))
    chip = network(hidden=10)
    rng = np.random.default_rng(0)
    x, labels = rng.random((1, 7)), rng.integers(0, 4, 1)
    trainer = ChipTrainer(chip, schedule, beta=1.0)
    plus, minus = trainer.nudged(x, labels)
    assert np.any(plus != minus)
    count = schedule.events + (schedule.consolidate > 0)
    theirs = draws(count)
    drawn = np.zeros((1, schedule.events + 1, len(chip.connections), 2, 3))
    for event in range(count):
        at = event if event < schedule.events else -1
        drawn[0, at] = [theirs.variables[event], theirs.pre[event], theirs.post[event]]
    before = trainer.weights()
    trainer.teach(plus, minus, drawn)
    for c in chip.connections:
        pre, post = chip.places[c.source], chip.places[c.target]
        bits = (chip.population(c.source).activity_bits, chip.population(c.target).activity_bits)
        events = read_outs(schedule, (plus[0, pre], minus[0, pre]), (plus[0, post], minus[0, post]), bits)
        x1, y1 = (np.array([event[i] for event in events]) for i in (0, 1))
        y2 = np.zeros_like(y1)
        if schedule.consolidate:
            n, m = c.weights.shape
            x1 = np.vstack([x1, np.full((1, m), 127)])
            y1 = np.vstack([y1, np.zeros((1, n), int)])
            y2 = np.vstack([y2, np.full((1, n), CONSOLIDATING)])
        weights, _ = lava.learn(schedule.rule, c.weights, 0 * c.weights, x1, y1, y2)
        np.testing.assert_array_equal(trainer.weights()[c.name], weights, err_msg=c.name)
        assert np.any(weights != before[c.name]), c.name


def test_where_nothing_is_to_be_learned() -> None:
    """Identical phases: ``contrast`` and ``tags`` drift, the pair and whole traces do not, differences do nothing."""
    chip = network(hidden=12)
    rng = np.random.default_rng(1)
    found = {name: measure(chip, s, rng.random((48, 7)), rng.integers(0, 4, 48)) for name, s in SCHEDULES.items()}
    assert found["contrast"].bias < -1e-3
    assert found["tags"].bias < -1e-3
    assert found["paired"].bias == found["whole"].bias == 0.0
    assert found["differences"].bias == found["differences"].noise == 0.0
    assert all(m.correlation_of_many > 0.9 for m in found.values())
    # One draw in eight samples, and tags that count finer.
    assert found["tags"].noise < 0.5 * found["contrast"].noise


def test_both_ways_stay_together_where_they_are_tied_or_share_their_draws() -> None:
    chip = network()
    plus, minus = nudged(chip, 2, 64)
    apart = {}
    for name, schedule, shared in (
        ("free", SCHEDULES["contrast"], False),
        ("tied", replace(SCHEDULES["contrast"], tie=8), False),
        ("shared", SCHEDULES["contrast"], True),
    ):
        trainer = ChipTrainer(chip, schedule, shared_draws=shared)
        trainer.teach(plus, minus)
        apart[name] = trainer.asymmetry()
    assert apart["tied"] == 0.0
    # A postsynaptic trace fades and a presynaptic one does not, so that even the same draws are not the same once in
    # some hundred steps.
    assert apart["shared"] < 0.1 * apart["free"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_digits_are_learned_in_the_chips_integers(seed: int) -> None:
    """The best schedule: eight epochs of ``tags``, then four in which they are added as a quarter."""
    found = learn(load_data("digits"), seed=seed)
    assert sum(epoch.overflow for epoch in found.epochs) == 0
    assert found.epochs[-1].test_accuracy >= 0.95


@pytest.mark.parametrize("name", ["tags", "differences"])
def test_the_command_leaves_what_was_learned(tmp_path: Path, name: str) -> None:
    arguments = ["--schedule", name, "--hidden", "24", "--epochs", "3", "--train-samples", "300"]
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "learning.json").read_text())
    assert [epoch["epoch"] for epoch in report["epochs"]] == [1, 2, 3]
    assert report["epochs"][-1]["test_accuracy"] > 0.7
    with h5py.File(tmp_path / "learning.h5") as file:
        forward, back = (file[f"weights/{key}"][:] for key in ("hidden1_output", "output_hidden1"))
    apart = np.linalg.norm(forward.astype(float) - back.T) / np.linalg.norm(forward.astype(float))
    assert report["epochs"][-1]["asymmetry"] == pytest.approx(apart)
    assert (tmp_path / "learning.png").stat().st_size > 10_000


def test_what_cannot_learn_on_a_chip_is_refused() -> None:
    spec = ne.models.layered_hopfield([7, 5, 4], "hard_sigmoid", cost="cross_entropy", bias=False)
    ranges = {"input": 1.0, "hidden1": 4.0, "readout": 4.0}
    with pytest.raises(ne.SpecError, match="nudges of its output"):
        ChipTrainer(quantise(spec, spec.initial_parameters(0), ranges)[0], SCHEDULES["contrast"])
    with pytest.raises(ne.SpecError, match="less than one unit"):
        ChipTrainer(network(), SCHEDULES["contrast"], beta=1e-9)
    with pytest.raises(ne.SpecError, match="difference of two"):
        ChipTrainer(network(), SCHEDULES["contrast"]).use(SCHEDULES["paired"])
    with pytest.raises(ne.SpecError, match="smallest products"):
        SCHEDULES["whole"].finer(1)
    with pytest.raises(ne.SpecError, match='did you mean "tags"'):
        learn(load_data("digits"), schedule="tag")
    with pytest.raises(ne.SpecError, match="mantissa"):
        Product(-8, 0, ("x1",))
