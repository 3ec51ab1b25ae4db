"""A run's configuration as a file: what comes back is what was written, whatever it says of how phases settle."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.run import RunConfig
from neuro_eq.schedules import Constant, Cosine
from neuro_eq.specfile import parse_toml, to_toml

RELAXATIONS = st.none() | st.builds(
    ne.Relaxation,
    solver=st.sampled_from([ne.Picard(0.5), ne.BlockGaussSeidel(), ne.Anderson(3)]),
    tol=st.sampled_from([None, "nudge", 1e-3]),
    max_steps=st.integers(0, 1000),
    eta=st.sampled_from([1e-3, 1e-7]),
)


def again(config: RunConfig) -> RunConfig:
    return RunConfig(**parse_toml(to_toml(config)))


@given(
    free=RELAXATIONS,
    nudged=RELAXATIONS,
    method=st.sampled_from([ne.EqProp(0.3), ne.AsymEP(), ne.BPTT(4), ne.ImplicitDifferentiation()]),
    schedule=st.sampled_from([Constant(), Cosine(warmup=0.1)]),
    samples=st.none() | st.integers(1, 100),
)
def test_it_comes_back(free, nudged, method, schedule, samples):
    config = RunConfig(
        data="xor", backend="torch", method=method, schedule=schedule, free=free, nudged=nudged, train_samples=samples,
        network=ne.models.layered_hopfield([2, 3, 2]),
    )  # fmt: skip
    assert again(config) == config


@pytest.mark.parametrize("phase", ["free", "nudged"])
def test_a_fixed_number_of_steps_is_written_down(phase):
    """None stands for no tolerance, and TOML has no null: it goes by its word."""
    config = RunConfig(
        data="xor", method=ne.EqProp(), network=ne.models.layered_hopfield([2, 3, 2]),
        **{phase: ne.Relaxation(tol=None, max_steps=7)},
    )  # fmt: skip
    assert 'tol = "fixed"' in to_toml(config)
    assert getattr(again(config), phase).tol is None
