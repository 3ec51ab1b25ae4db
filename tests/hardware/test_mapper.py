"""Placing on cores and estimating costs: sums that must come out, and limits that must be named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.energy import Activity, estimate
from neuro_eq.hardware.loihi import CHIPS, LOIHI1, LOIHI2, Limit, chip_named
from neuro_eq.hardware.mapper import place, synapse_bits
from neuro_eq.hardware.quantisation import Precision, quantise


def chip_of(sizes: list[int]) -> ChipNetwork:
    spec = ne.models.layered_hopfield(sizes)
    ranges = {p.name: 2.0 for p in spec.populations}
    return quantise(spec, spec.initial_parameters(0), ranges, Precision())[0]


@given(st.integers(0, 2**31))
@settings(deadline=None, max_examples=40)
def test_every_neuron_stands_on_one_core_and_no_limit_is_exceeded(
    make_chip: Callable[..., ChipNetwork], seed: int
) -> None:
    network = make_chip(seed)
    small = replace(
        LOIHI1, neurons=Limit(3, "test"), synapse_bits=Limit(8 * 3 * 24, "test"), out_axons=Limit(40, "test")
    )
    placed = place(network, small)
    for p in network.free:
        held = [i for core in placed.cores if core.population == p.name for i in range(core.first, core.last)]
        assert held == list(range(p.size))
    for core in placed.cores:
        for name, limit in small.per_core.items():
            assert limit.value is None or core.used[name] <= limit.value
    assert sum(core.used["neurons"] for core in placed.cores) == sum(p.size for p in network.free)


def test_a_dense_network_uses_what_its_shape_says() -> None:
    network = chip_of([20, 30, 10])
    (hidden, output) = place(network, LOIHI1).cores
    assert hidden.used == {"neurons": 30, "in-axons": 30, "out-axons": 30, "synapse bits": 8 * (20 * 30 + 30 * 10)}
    assert output.used == {"neurons": 10, "in-axons": 30, "out-axons": 10, "synapse bits": 8 * 300}


def test_sparse_synapses_are_kept_with_the_place_where_they_end() -> None:
    connection = replace(chip_of([20, 16, 10]).connections[0], weights=np.eye(16, 20, dtype=np.int16))
    assert synapse_bits(connection) == 16 * (8 + 4)


def test_a_population_that_is_too_large_is_split() -> None:
    placed = place(chip_of([784, 512, 10]), LOIHI1)
    # 512 · (784 + 10) bytes of synapses on cores of 128 KB each.
    assert placed.of("hidden1") == 4
    assert placed.of("output") == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in_axons": Limit(19, "test")}, "in-axons"),
        ({"out_axons": Limit(0, "test"), "synapse_bits": Limit(10**6, "test")}, "out-axons"),
        ({"synapse_bits": Limit(8 * 11, "test")}, "synapse bits"),
        ({"cores": Limit(1, "test")}, "needs 2 cores"),
    ],
)
def test_what_does_not_fit_is_refused_by_the_limits_name(changes: dict[str, Limit], words: str) -> None:
    network = chip_of([20, 12, 4])
    with pytest.raises(ne.SpecError, match=words):
        place(network, replace(LOIHI1, **changes))


def test_an_estimate_is_the_sum_of_the_table() -> None:
    placed = place(chip_of([20, 30, 10]), LOIHI1)
    nothing = Activity(0, 0, 0, 0, 40)
    found = estimate(nothing, placed)
    assert found is not None
    assert found.joules == found.seconds == 0.0
    work = estimate(replace(nothing, operations=1000), placed)
    assert work is not None
    assert work.joules == pytest.approx(1000 * 23.6e-12)
    idle = estimate(replace(nothing, steps=1), placed)
    assert idle is not None
    assert idle.joules == pytest.approx(40 * 52e-12)
    assert idle.seconds == pytest.approx(30 * 5.3e-9 + 113e-9)


def test_loihi_2_has_no_published_costs_and_is_less_certain() -> None:
    assert estimate(Activity(1, 1, 1, 1, 40), place(chip_of([20, 30, 10]), LOIHI2)) is None
    assert not LOIHI2.neurons.certain
    assert all(limit.certain for limit in LOIHI1.per_core.values())


def test_an_unknown_chip_is_refused() -> None:
    assert set(CHIPS) == {"loihi1", "loihi2"}
    with pytest.raises(ne.SpecError, match='did you mean "loihi1"'):
        chip_named("loihi_1")
