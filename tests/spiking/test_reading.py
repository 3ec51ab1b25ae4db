"""Spiking neurons whose rates are a network's activities."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("snntorch", reason="snntorch is not installed (extra: torch)")

import neuro_eq as ne
from neuro_eq.backends.spiking.command import app
from neuro_eq.backends.spiking.reading import SpikingReading
from neuro_eq.run import RunConfig, execute


@pytest.mark.parametrize("activation", ["hard_sigmoid", "sigmoid"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_rates_settle_at_the_equilibrium(activation: str, symmetric: bool) -> None:
    """A mean of n steps of whole spikes errs by 1/n, and what feeds back amplifies that by 1/(1 − L)."""
    spec = ne.models.looped_mlp(5, 7, 3, symmetric=symmetric, activation=activation, gain=0.3)
    net = ne.compile(spec, backend="reference", seed=2)
    x = np.random.default_rng(0).random((6, 5))
    settled = net.relax(x, tol=1e-10, max_steps=2000)
    found = SpikingReading(spec, net.parameters, alpha=0.02).run(x, 3000)
    loop = np.linalg.norm(np.asarray(net.parameters["hidden_hidden.weight"]), 2)
    assert loop < 0.8
    # Beside the count, a drive wavers by α and its membrane is clipped where it wavers over an end of the line.
    within = (1 / 1500 + 0.02) / (1 - loop)
    assert np.abs(found.rates["hidden"] - settled.activities["hidden"]).max() < within


def test_a_layered_network_gives_the_same_answers() -> None:
    spec = ne.models.layered_hopfield([6, 9, 4], "hard_sigmoid", gain=0.7)
    net = ne.compile(spec, backend="reference", seed=1)
    x = np.random.default_rng(0).random((40, 6))
    settled = net.relax(x, tol=1e-10, max_steps=2000)
    a = np.sort(settled.states["output"], axis=1)
    clear = a[:, -1] - a[:, -2] > 0.1  # answers that are no close calls
    found = SpikingReading(spec, net.parameters).run(x, 600)
    wanted = np.argmax(settled.states["output"], axis=1)
    assert clear.sum() > 10
    assert (found.answers[-1] == wanted)[clear].all()


def test_a_spike_train_is_the_raster() -> None:
    spec = ne.models.layered_hopfield([6, 9, 4], "hard_sigmoid")
    net = ne.compile(spec, backend="reference", seed=1)
    found = SpikingReading(spec, net.parameters).run(np.ones((2, 6)), 50)
    for name, events in found.raster.items():
        assert len(events) == found.spikes[name][0]
        assert (np.diff(events[:, 0]) >= 0).all()
        assert events[:, 1].max(initial=0) < spec.population(name).size


def test_what_has_no_rate_is_refused_by_name() -> None:
    tanh = ne.models.layered_hopfield([4, 3, 2], "tanh")
    with pytest.raises(ne.SpecError, match=r'populations\[1\].activation: a rate lies .* "tanh"'):
        SpikingReading(tanh, tanh.initial_parameters(0))
    history = ne.models.toroidal_mlp(4, 3, 2, activation="hard_sigmoid")
    with pytest.raises(ne.SpecError, match="held back"):
        SpikingReading(history, history.initial_parameters(0))
    with pytest.raises(ne.SpecError, match="alpha"):
        SpikingReading(tanh, tanh.initial_parameters(0), alpha=0.0)


def test_the_command_leaves_spikes_and_a_figure(tmp_path: Path) -> None:
    config = RunConfig(
        network=ne.models.layered_hopfield([64, 24, 10], "hard_sigmoid", gain=0.5), method=ne.EqProp(beta=1.0),
        optimizer=ne.Adam(5e-3), epochs=6, free=ne.Relaxation(max_steps=100), options={"threads": 1},
    )  # fmt: skip
    execute(config, tmp_path / "run")
    result = CliRunner().invoke(
        app, [str(tmp_path / "run"), "--samples", "60", "--steps", "200"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    last = float(result.output.split("step   200")[1].split("%")[0])
    settled = float(result.output.split("equilibrium")[1].split("%")[0])
    assert abs(last - settled) <= 5.0  # three of sixty samples
    with h5py.File(tmp_path / "run" / "spikes" / "spikes.h5") as file:
        for name in ("hidden1", "output"):
            group = file[f"spikes/{name}"]
            assert group["timestamps"].shape == group["node_ids"].shape
            assert group.attrs["sorting"] == "by_time"
    assert (tmp_path / "run" / "spikes" / "spikes.png").stat().st_size > 10_000
