"""Quantisation: what a network's numbers become, and how far they may be from what they were."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.hardware import formats
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.formats import SignMode
from neuro_eq.hardware.quantisation import Precision, best_scale, quantise, to_mantissas


def ranges(spec: ne.Network, size: float = 4.0) -> dict[str, float]:
    known = {p.name: 1.0 if p.clamped else size for p in spec.populations}
    if spec.cost is not None:
        known[spec.cost.name] = size
    return known


def chip_of(spec: ne.Network, precision: Precision = Precision(), size: float = 4.0, seed: int = 0) -> ChipNetwork:
    return quantise(spec, spec.initial_parameters(seed), ranges(spec, size), precision)[0]


@given(st.integers(0, 2**31), st.floats(1e-4, 1e3), st.sampled_from(list(SignMode)))
def test_a_weight_errs_by_half_a_step_where_it_is_not_clipped(seed: int, size: float, mode: SignMode) -> None:
    weights = size * np.random.default_rng(seed).normal(size=(5, 7))
    if mode is not SignMode.MIXED:
        weights = np.abs(weights) * (1 if mode is SignMode.EXCITATORY else -1)
    scale = best_scale(weights, mode)
    mantissas = to_mantissas(weights, scale, mode)
    low, high = mode.limits
    np.testing.assert_array_equal(formats.truncated(mantissas, mode), mantissas)
    inside = (weights >= low * 2.0**scale) & (weights <= high * 2.0**scale)
    error = np.abs(weights - mantissas * 2.0**scale)
    assert (error[inside] <= 2.0**scale * mode.step / 2).all()
    # The scale at which nothing is clipped is among those tried, so the whole error is no larger than there.
    safe = math.frexp(np.abs(weights).max())[1] - 7
    bound = 2.0**safe * mode.step / 2
    assert np.sqrt(np.mean(error**2)) <= bound


def test_powers_of_two_are_exact() -> None:
    weights = np.array([[0.5, -0.25], [0.125, 0.0]])
    scale = best_scale(weights, SignMode.MIXED)
    np.testing.assert_array_equal(to_mantissas(weights, scale, SignMode.MIXED) * 2.0**scale, weights)


@pytest.mark.parametrize(
    "spec",
    [
        ne.models.layered_hopfield([5, 6, 4, 3], "hard_sigmoid"),
        ne.models.layered_hopfield([5, 6, 3], "tanh", cost="cross_entropy"),
        ne.models.looped_mlp(4, 6, 3),
        ne.models.looped_mlp(4, 6, 3, symmetric=False),
        ne.models.toroidal_mlp(4, 6, 3, cost="squared_error"),
        ne.models.conv_hopfield((4, 4), 3, channels=(2, 3), pool="average"),
    ],
    ids=lambda spec: spec.name,
)
def test_every_shift_puts_a_message_where_its_weight_belongs(spec: ne.Network) -> None:
    """``m·a`` in units of ``2^(scale − activity_bits)``, shifted, is in units of the target's drive."""
    chip = chip_of(spec)
    for c in chip.connections:
        source, target = chip.population(c.source), chip.population(c.target)
        assert c.scale - source.activity_bits + target.drive_bits == c.exponent
        assert 0 <= c.exponent <= formats.LARGEST_EXPONENT


def test_both_ways_of_a_synapse_hold_the_same_mantissas() -> None:
    chip = chip_of(ne.models.layered_hopfield([5, 6, 4, 3]))
    there = {c.synapse: c for c in chip.connections if not c.transposed}
    back = [c for c in chip.connections if c.transposed]
    assert {c.synapse for c in back} == {"hidden1_hidden2", "hidden2_output"}
    for c in back:
        np.testing.assert_array_equal(c.weights, there[c.synapse].weights.T)
        assert c.scale == there[c.synapse].scale


@given(st.floats(0.01, 1000.0), st.sampled_from([0.05, 0.25, 0.5, 1.0]), st.floats(1.0, 4.0))
def test_the_range_that_was_calibrated_fits_its_margin(size: float, alpha: float, margin: float) -> None:
    chip = chip_of(ne.models.layered_hopfield([5, 6, 3]), Precision(alpha=alpha, margin=margin), size)
    for p in chip.free:
        assert margin * size * 2.0**p.drive_bits * formats.DECAY_UNITY / p.decay <= formats.STATE_HIGH


@pytest.mark.parametrize("kind", ["tanh", "sigmoid"])
def test_a_table_is_the_function_to_its_bits(kind: str) -> None:
    """Linear interpolation over stretches h errs by ``h²/8·max|ρ''|``, rounding by one and a half units."""
    spec = ne.models.layered_hopfield([5, 6, 3], kind)
    p = chip_of(spec).population("hidden1")
    real = np.linspace(-8, 8 - 1e-6, 20_001)
    u = np.rint(real * 2.0**p.drive_bits).astype(np.int64)
    rho = np.tanh(real) if kind == "tanh" else 1 / (1 + np.exp(-real))
    stretch = 16 / (p.table.size - 1)
    curvature = 0.77 if kind == "tanh" else 0.097
    within = stretch**2 / 8 * curvature + 1.5 * 2.0**-p.activity_bits + 2.0**-p.drive_bits
    assert np.abs(p.activity(u) * 2.0**-p.activity_bits - rho).max() <= within
    far = p.activity(np.array([-(2**23), 2**23 - 1]))
    np.testing.assert_allclose(far * 2.0**-p.activity_bits, [rho[0], rho[-1]], atol=2.0**-p.activity_bits)


def test_piecewise_linear_activities_are_rounded_only() -> None:
    p = chip_of(ne.models.layered_hopfield([5, 6, 3], "hard_sigmoid")).population("hidden1")
    u = np.arange(-(2**20), 2**20, 997)
    exact = np.clip(u * 2.0**-p.drive_bits, 0, 1) * 2.0**p.activity_bits
    np.testing.assert_allclose(p.activity(u), exact, rtol=0, atol=0.5)


def test_a_convolution_is_unrolled_to_the_matrix_that_it_is() -> None:
    spec = ne.models.conv_hopfield((4, 4), 3, channels=(2,), pool="average", cost="squared_error")
    parameters = spec.initial_parameters(3)
    chip, (report, *_) = quantise(spec, parameters, ranges(spec))
    net = ne.compile(spec, backend="reference")
    net.set_parameters(parameters)
    x = np.random.default_rng(0).random((1, 1, 4, 4))
    connection = next(c for c in chip.connections if c.target == "map1" and not c.transposed)
    drive = net.relax(
        x,
        solver=ne.Picard(alpha=1.0),
        tol=None,
        max_steps=1,
        start={"map1": -1.0 * np.ones((1, 2, 2, 2)), "output": -np.ones((1, 3))},
    ).states["map1"]
    bias = chip.population("map1").bias * 2.0 ** -chip.population("map1").drive_bits
    found = connection.weights @ x.ravel() * 2.0**connection.scale + bias
    # The output is silent at u < 0, so all of the drive is the convolution's.
    np.testing.assert_allclose(found, np.asarray(drive).ravel(), atol=16 * report.largest_error + 2.0**-15)


def test_a_directed_synapse_is_taken_the_other_way_in_nudged_phases() -> None:
    chip = chip_of(ne.models.looped_mlp(4, 6, 3, symmetric=False, cost="squared_error"))
    loop = {c.phase: c for c in chip.connections if c.source == c.target == "hidden"}
    assert set(loop) == {"free", "nudged"}
    np.testing.assert_array_equal(loop["nudged"].weights, loop["free"].weights.T)


def test_what_no_chip_runs_is_refused_by_name() -> None:
    cases = {
        "softmax": ne.models.layered_hopfield([4, 3, 2], "softmax"),
        "largest value": ne.models.conv_hopfield((4, 4), 3, channels=(2,), pool="max"),
        "gated_dense": ne.models.gated_mlp(4, 3, 2, gate="drive"),
        "hopfield_memory": ne.models.modern_hopfield_mlp(4, 3, 2),
    }
    for words, spec in cases.items():
        with pytest.raises(ne.SpecError, match=words):
            chip_of(spec)


def test_a_range_that_nobody_knows_is_asked_for() -> None:
    spec = ne.models.layered_hopfield([4, 3, 2])
    with pytest.raises(ne.SpecError, match='no range of "hidden1"'):
        quantise(spec, spec.initial_parameters(0), {"input": 1.0})
