"""``neuro_eq deploy``: a trained network in the chip's integers answers as it did, and the report adds up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner

import neuro_eq as ne
from neuro_eq.backends.deployment.command import app
from neuro_eq.backends.deployment.deployment import deploy
from neuro_eq.backends.lava import environment
from neuro_eq.backends.numba.integer import IntegerEngine
from neuro_eq.datasets import load_data
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.loihi import LOIHI1, LOIHI2
from neuro_eq.hardware.quantisation import Precision
from neuro_eq.run import RunConfig, execute


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small run."""
    folder = tmp_path_factory.mktemp("run") / "out"
    config = RunConfig(
        network=ne.models.layered_hopfield([64, 48, 10], "hard_sigmoid", gain=0.5), method=ne.EqProp(beta=1.0),
        optimizer=ne.Adam(5e-3), epochs=12, free=ne.Relaxation(max_steps=100), options={"threads": 1},
    )  # fmt: skip
    execute(config, folder)
    return folder


def call(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_deployed_network_answers_as_it_did(trained: Path, tmp_path: Path) -> None:
    output = call(trained, "--target", "loihi1", "--out", tmp_path / "d", "--threads", "1")
    report = json.loads((tmp_path / "d" / "deployment.json").read_text())
    accuracy = report["classification_accuracy"]
    assert report["samples"] == 360
    assert accuracy["float"] > 0.9
    assert abs(accuracy["difference_in_points"]) <= 0.6  # two of 360 samples
    assert f"{100 * accuracy['chip']:.2f} %" in output
    assert report["overflow"]["wrapped"] == report["overflow"]["saturated"] == report["overflow"]["clipped"] == 0
    assert report["steps"]["samples_not_silent"] == 0
    assert report["estimated"]["joules_per_sample"] > 0
    assert "before silicon" in report["estimated"]["source"]
    assert any("payload" in sentence for sentence in report["chip"])
    with h5py.File(tmp_path / "d" / "deployment.h5") as file:
        right = np.mean(file["samples/answer"][:] == file["samples/label"][:])
        assert right == accuracy["chip"]
        for name, per_sample in report["messages"]["per_sample"].items():
            assert file[f"messages/{name}"][:].mean() == pytest.approx(per_sample)
        assert file["samples/synaptic_operations"][:].mean() == pytest.approx(
            report["synaptic_operations"]["Effective_MACs"]
        )
    assert (tmp_path / "d" / "deployment.png").stat().st_size > 10_000


def test_loihi_2_says_that_its_energy_is_not_published(trained: Path, tmp_path: Path) -> None:
    output = call(trained, "--samples", "20", "--out", tmp_path / "d")
    report = json.loads((tmp_path / "d" / "deployment.json").read_text())
    assert "no energies or times of loihi2 are published" in output
    assert set(report["estimated"]) == {"reason"}
    assert any("less certain" in sentence for sentence in report["chip"])
    for core in report["utilisation"]:
        assert core["in-axons"]["limit"] is None


def test_fewer_bits_send_fewer_messages(trained: Path) -> None:
    """A coarser threshold keeps the answers of most samples and sends less."""
    with np.load(trained / "weights.npz") as file:
        parameters = dict(file)
    spec = ne.models.layered_hopfield([64, 48, 10], "hard_sigmoid", gain=0.5)
    data = load_data("digits")
    fine, coarse = (
        deploy(spec, parameters, data, LOIHI2, precision=Precision(threshold=threshold), samples=200, threads=1)
        for threshold in (1, 8)
    )
    assert coarse.messages.sum() < fine.messages.sum()
    assert np.mean(coarse.answers == fine.answers) > 0.9


@pytest.mark.parametrize(
    "spec",
    [
        ne.models.looped_mlp(64, 20, 10),
        ne.models.looped_mlp(64, 20, 10, symmetric=False, cost="squared_error"),
        ne.models.toroidal_mlp(64, 20, 10),
        ne.models.conv_hopfield((8, 8), 10, channels=(3, 4), pool="average"),
    ],
    ids=["looped", "looped-directed", "toroidal", "conv"],
)
def test_other_models_give_the_answers_of_floating_point(spec: ne.Network) -> None:
    """Untrained answers are close calls, so a few of them may differ."""
    found = deploy(spec, spec.initial_parameters(0), load_data("digits"), LOIHI1, samples=100, threads=1)
    assert np.mean(found.answers == found.float_answers) >= 0.9
    assert found.report()["cores"] == len(found.placement.cores)


def test_some_samples_are_verified_in_lava(trained: Path, tmp_path: Path) -> None:
    status = environment.status()
    if not status.available:
        if "lava" in os.environ.get("NEURO_EQ_REQUIRE", ""):
            pytest.fail(status.detail)
        pytest.skip(status.detail)
    output = call(trained, "--samples", "20", "--verify", "lava", "--verify-samples", "5", "--out", tmp_path / "d")
    assert "5 samples verified in Lava" in output
    verified = json.loads((tmp_path / "d" / "deployment.json").read_text())["verified_in_lava"]
    assert verified["samples"] == 5
    assert verified["registers"] == 4 * 5 * verified["steps"] * (64 + 48 + 10)


@pytest.mark.parametrize("layout", ["one", "parts"])
def test_a_single_wrong_bit_is_found(
    trained: Path, tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place of Lava something that computes the same but for one register of one step."""

    class Nearly:
        def __init__(self, timeout: float) -> None:
            del timeout

        def __enter__(self) -> Nearly:
            return self

        def __exit__(self, *exception: object) -> None:
            pass

        def run(
            self, network: ChipNetwork, data: dict[str, np.ndarray], phases: list[tuple[int, bool]], *,
            hierarchical: bool = False, trace: bool = True,
        ) -> SimpleNamespace:  # fmt: skip
            with IntegerEngine(network, threads=1) as engine:
                found = engine.run(engine.start(data), phases[0][0], trace=True).trace
            assert found is not None
            v = found.v.copy()
            if hierarchical == (layout == "parts"):
                v[-1, 2, 70] ^= 1
            kept = slice(None) if trace else slice(-1, None)
            return SimpleNamespace(
                v=v[kept], sigma=found.sigma[kept], a=found.a[kept], messages=found.messages[kept], seconds=0.0
            )

    monkeypatch.setattr("neuro_eq.backends.lava.chip.LavaChip", Nearly)
    with pytest.raises(ne.BackendError, match=r"differ in v: first in step \d+ of sample 2, unit 70"):
        call(trained, "--samples", "5", "--verify", "lava", "--out", tmp_path / "d")


def refused(trained: Path, tmp_path: Path, kind: str) -> list[str | Path]:
    broken = tmp_path / "weights.npz"
    np.savez(broken, **{"input_hidden1.weight": np.zeros((3, 3))})
    ne.save(ne.models.layered_hopfield([64, 48, 10]), tmp_path / "net.toml")
    (tmp_path / "empty.npz").write_bytes(b"")
    x, y = np.zeros((3, 64), np.float32), np.zeros((3, 10), np.float32)
    np.savez(tmp_path / "values.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    cases: dict[str, list[str | Path]] = {
        "target": [trained, "--target", "loihi3"],
        "verify": [trained, "--verify", "nengo"],
        "messages": [trained, "--messages", "spikes"],
        "weights": [trained, "--weights", broken],
        "unreadable": [trained, "--weights", tmp_path / "empty.npz"],
        "no weights": [tmp_path / "net.toml"],
        "data": [trained, "--data", "xor"],
        "values": [trained, "--data", f"npz:{tmp_path / 'values.npz'}"],
        "alpha": [trained, "--alpha", "2"],
        "folder": [tmp_path / "nowhere"],
    }
    return cases[kind]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("target", 'no chip "loihi3"'),
        ("verify", '"lava" is what'),
        ("messages", "sigma_delta"),
        ("weights", "hidden1_bias.bias: the network has this parameter, but the file does not"),
        ("unreadable", "must be an .npz file"),
        ("no weights", "--weights"),
        ("data", "64 units"),
        ("values", "values to fit"),
        ("alpha", "alpha: expected"),
        ("folder", "nowhere"),
    ],
)
def test_what_cannot_be_deployed_is_one_sentence(
    trained: Path, tmp_path: Path, kind: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ne.NeuroEqError, match=words) as raised:
        CliRunner().invoke(app, [str(a) for a in refused(trained, tmp_path, kind)], catch_exceptions=False)
    assert "\n" not in str(raised.value)
