"""``neuro_eq check`` as a person meets it: what it prints, what it leaves, and how it exits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neuro_eq as ne


def check(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as its users do, in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "neuro_eq", "check", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a small network and its weights."""
    spec = ne.models.layered_hopfield([3, 4, 2], "tanh", gain=0.5)
    ne.save(spec, tmp_path / "net.toml")
    np.savez(tmp_path / "weights.npz", **spec.initial_parameters(5))
    return tmp_path


def test_a_right_network_exits_0_and_leaves_its_report(home: Path) -> None:
    options = ("--weights", "weights.npz", "--backends", "numba", "--samples", "2", "--out", "out")
    done = check("--spec", "net.toml", *options, cwd=home)
    assert done.returncode == 0, done.stdout + done.stderr
    report = ne.Report.from_json((home / "out" / "report.json").read_text())
    assert report.ok
    assert report.samples == 2
    assert (home / "out" / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in (home / "out").iterdir()} == {"report.json", "figure.png"}
    assert re.fullmatch(
        rf"all {report.judged} checks are within their tolerances \(\d+ s\)", done.stdout.splitlines()[-1]
    )
    for word in (
        "fixed points",
        "numba float32: 6 checks, the nearest",
        "order in β",
        "spectral radius",
        "out/figure.png",
    ):
        assert word in done.stdout
    # A reason that holds for several things is given once.
    assert done.stdout.count("its states are real numbers") == 1


def test_a_schedule_that_does_not_settle_exits_1_and_says_what_to_do(home: Path) -> None:
    before = sorted(home.iterdir())
    done = check("--spec", "net.toml", "--backends", "reference", "--max-steps", "3", "--all", cwd=home)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^missed  .*residual / nudge, ≤ 3 steps: .* raise max_steps", done.stdout, re.MULTILINE)
    assert re.search(r"\d+ of \d+ checks are beyond their tolerance \(\d+ s\)\n$", done.stdout)
    assert sorted(home.iterdir()) == before


def test_samples_of_a_data_set(tmp_path: Path) -> None:
    done = check("--data", "xor", "--model", "looped_mlp", "--hidden", "6", "--backends", "reference", cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    assert "4 samples, xor" in done.stdout


def test_help_has_an_example(tmp_path: Path) -> None:
    shown = check("--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "Example" in shown.stdout


WRONG = [
    (("--spec", "absent.toml"), r"absent\.toml: cannot read it \(No such file or directory\)"),
    (("--spec", "wrong.toml"), r'wrong\.toml: synapses\[0\]\.target: no population "hiden"; did you mean "hidden"\?'),
    (
        ("--spec", "net.toml", "--hidden", "3"),
        r"--spec: --spec brings the network, so --hidden cannot be given with it",
    ),
    (
        ("--spec", "net.toml", "--directed"),
        r"--spec: --spec brings the network, so --directed cannot be given with it",
    ),
    (
        ("--model", "gated_mlp", "--symmetric"),
        r"symmetric: gated_mlp has no choice of synapses within a loop; looped_mlp, toroidal_mlp, .* have",
    ),
    (("--spec", "net.toml", "--backends", "nmba"), r'no backend "nmba"; did you mean "numba"\?'),
    (("--spec", "net.toml", "--weights", "absent.npz"), r"absent\.npz: cannot read it \(No such file or directory\)"),
    (("--spec", "net.toml", "--data", "digits"), r"x: expected \(batch, 3\), found \[8, 64\]"),
    (("--spec", "net.toml", "--beta", "0"), r"beta: a nudge must be a real number other than 0, found 0\.0"),
    (("--spec", "net.toml", "--alpha", "2"), r"alpha: input should be less than or equal to 1 \(found 2\.0\)"),
    (("--spec", "net.toml", "--out", "."), r"\.: is already there and not empty; name another folder with --out"),
    (("--hidden", "many"), r"--hidden: expected numbers of units such as 256 or 512,512, found 'many'"),
    (("--model", "hopfeld"), r'model: no model "hopfeld"; .*'),
    (("--data", "digts"), r"data: no data set 'digts'; did you mean \"digits\"\?"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_what_is_wrong_is_said_in_one_sentence(arguments: tuple[str, ...], message: str, home: Path) -> None:
    (home / "wrong.toml").write_text(
        'populations = [{name = "input", shape = [64], clamped = true}, {name = "hidden", shape = [4]}]\n'
        'synapses = [{kind = "dense", source = "input", target = "hiden"}]\n'
    )
    before = sorted(home.iterdir())
    done = check(*arguments, cwd=home)
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.fullmatch(f"error: {message}\n", done.stderr), done.stderr
    assert done.stdout == ""
    assert sorted(home.iterdir()) == before
