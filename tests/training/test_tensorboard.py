"""What TensorBoard is given is what the run came to, read back by TensorBoard's own reader."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.training.results import FIGURES
from neuro_eq.training.tensorboard import SHOWN, TensorBoard

RUN = ("--backend", "reference", "--hidden", "4", "--train-samples", "40", "--test-samples", "8", "--batch-size", "16")


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "neuro_eq", "run", *arguments]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def written(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar: its steps and values."""
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator",
        reason='tensorboard is not installed; run: pip install "neuro_eq[tensorboard]"',
    ).EventAccumulator(str(folder))
    reader.Reload()
    return {
        tag: [(event.step, float(event.tensor_proto.float_val[0])) for event in reader.Tensors(tag)]
        for tag in reader.Tags()["tensors"]
    }


class Costs:
    """A reporter that keeps the sums of every batch."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, float]] = []

    def batch(self, epoch, done, total, tally) -> None:
        self.seen.append((epoch, tally.samples, tally.sums["cost"]))

    def epoch(self, result) -> None:
        pass


def test_figures_of_batches_and_epochs(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    data = ne.datasets.load_data("digits").subset(train=40, test=8)
    net = ne.compile(ne.models.layered_hopfield([64, 4, 10], gain=0.3), backend="reference")
    costs = Costs()
    with TensorBoard(tmp_path / "board", costs) as board:
        history = ne.train(net, data, epochs=2, batch_size=16, reporter=board)
    found = written(tmp_path / "board")
    for name in FIGURES[1:]:
        wanted = [(epoch.epoch, getattr(epoch, name)) for epoch in history.epochs]
        wanted = [(step, value) for step, value in wanted if np.isfinite(value)]
        assert [step for step, _ in found[f"epoch/{name}"]] == [step for step, _ in wanted]
        np.testing.assert_allclose([v for _, v in found[f"epoch/{name}"]], [v for _, v in wanted], rtol=1e-6)
    assert [step for step, _ in found["batch/cost"]] == [1, 2, 3, 4, 5, 6]
    # The last batch of an epoch has 8 samples, and a mean over them alone.
    sums = np.array([cost for _, _, cost in costs.seen]).reshape(2, 3)
    means = np.diff(sums, axis=1, prepend=0.0) / [16, 16, 8]
    np.testing.assert_allclose([value for _, value in found["batch/cost"]], means.ravel(), rtol=1e-6)
    assert {f"batch/{name}" for name in SHOWN} <= set(found)


def test_a_run_writes_them_on_request_and_goes_on_with_them(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    done = command(*RUN, "--epochs", "2", "--tensorboard", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = written(tmp_path / "out" / "tensorboard")
    results = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    wanted = [epoch["test_accuracy"] for epoch in results["epochs"]]
    np.testing.assert_allclose([value for _, value in found["epoch/test_accuracy"]], wanted, rtol=1e-6)
    again = command("--resume", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert written(tmp_path / "out" / "tensorboard") == found, "nothing was left to do"


def test_without_a_request_nothing_is_written(tmp_path):
    done = command(*RUN, "--epochs", "1", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out" / "tensorboard").exists()


def test_a_run_that_is_refused_leaves_no_folder(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    done = command(*RUN, "--solver", "picard", "--data", "xor", "--hidden", "2", "--train-samples", "9",
                   "--tensorboard", "--out", "out", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2
    assert not (tmp_path / "out").exists()


def test_without_the_library_one_sentence_says_what_to_install(tmp_path):
    # A module that says it is not there, as a missing one does.
    (tmp_path / "tensorboard.py").write_text(
        "raise ModuleNotFoundError('No module named tensorboard', name='tensorboard')", encoding="utf-8"
    )
    done = command(*RUN, "--tensorboard", "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == 'error: TensorBoard needs tensorboard; install it by: pip install "neuro_eq[tensorboard]"\n'
    assert not (tmp_path / "out").exists()


def test_it_goes_on_by_itself_and_cannot_be_asked_for_then(tmp_path):
    done = command("--resume", "out", "--tensorboard", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.endswith("so --tensorboard cannot be given with it\n")
