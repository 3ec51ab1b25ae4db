"""The command line as a person meets it: what it prints, what it leaves, and never a traceback."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import neuro_eq as ne
from neuro_eq import presets
from neuro_eq.backend import backends
from neuro_eq.cli.main import app
from neuro_eq.cli.progress import RichReporter
from neuro_eq.methods import METHODS
from neuro_eq.run import load_config
from neuro_eq.training import Epoch


def neuro_eq(*arguments: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as its users do, in a folder of its own."""
    return subprocess.run(
        [sys.executable, "-m", "neuro_eq", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


XOR = ("run", "--data", "xor", "--backend", "reference", "--epochs", "0")
SMALL = ("--hidden", "16", "--train-samples", "96", "--test-samples", "40", "--epochs", "2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the output of a small run."""
    cwd = tmp_path_factory.mktemp("run")
    done = neuro_eq("run", *SMALL, "--backend", "numba", "--seed", "7", "--out", "out", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "out", done.stdout


def test_a_run_ends_with_its_accuracy(finished: tuple[Path, str]) -> None:
    folder, output = finished
    accuracy = json.loads((folder / "results.json").read_text())["epochs"][-1]["test_accuracy"]
    assert output.splitlines()[-1] == f"test accuracy {100 * accuracy:.2f} %"
    assert "96 of 1437 for training" in output


@pytest.mark.parametrize(
    ("model", "method", "hidden"),
    [("energy_transformer", "eqprop", "8"), ("looped_transformer", "asymep", "8"), ("conv_hopfield", "eqprop", "4,4")],
)
def test_a_model_of_images_has_the_images_shape(model: str, method: str, hidden: str, tmp_path: Path) -> None:
    few = ("--train-samples", "32", "--test-samples", "16", "--epochs", "1")
    done = neuro_eq(
        "run", "-b", "reference", "--model", model, "--method", method, "--hidden", hidden, *few, "--out", "out",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    spec = load_config(tmp_path / "out" / "config.toml").network
    image = (1, 8, 8) if model == "conv_hopfield" else (8, 8)
    assert spec.shapes["input"] == image
    assert spec.free[0].shape == ((4, 4, 4) if model == "conv_hopfield" else (16, 8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("energy_transformer", "--data", "xor"),
            'model: energy_transformer sees images, but a sample of "xor" is a row',
        ),
        (("looped_transformer", "--hidden", "4,5"), "hidden: looped_transformer has tokens of one width, found [4, 5]"),
        (
            ("toreqprop_prior", "--hidden", "4"),
            "hidden: toreqprop_prior has a width of its own; use looped_transformer for another",
        ),
        (
            ("conv_hopfield", "-b", "numba"),
            'backend "numba" cannot run synapses[0] ("input_map1") of kind "convolution"',
        ),
    ],
)
def test_what_a_model_of_images_cannot_have(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = neuro_eq("run", "--model", *arguments, "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert not (tmp_path / "out").exists()


def test_a_preset_is_a_whole_run_that_options_change(tmp_path: Path, need: Callable[[str], None]) -> None:
    need("torch")
    images = np.random.default_rng(0).integers(256, size=(40, 28, 28), dtype=np.uint8)
    few = ("--data", "npz:few.npz", "--epochs", "1", "--threads", "1")
    np.savez(tmp_path / "few.npz", x_train=images[:32], y_train=np.arange(32) % 10, x_test=images[30:],
             y_test=np.arange(10))  # fmt: skip
    done = neuro_eq("run", "--preset", "toreqprop_prior_small", *few, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = load_config(tmp_path / "out" / "config.toml")
    assert config == presets.toreqprop_prior(small=True).model_copy(
        update={"data": "npz:few.npz", "epochs": 1, "options": {"threads": 1}}
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("toreqprop",), '--preset: no preset "toreqprop"; did you mean "toreqprop_prior"?'),
        (("toreqprop_prior", "--model", "looped_mlp"), "--preset: the configuration brings the network; change it"),
        (("toreqprop_prior", "--directed"), "--preset: the configuration brings the network; change it"),
        (("toreqprop_prior", "--config", "c.toml"), "--preset: a preset is a configuration, so --config cannot be"),
    ],
)
def test_what_a_preset_cannot_have(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = neuro_eq("run", "--preset", *arguments, "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {message}"), done.stderr
    assert not (tmp_path / "out").exists()


WORDS = ("a good film", "a bad film", "good , really good", "bad , really bad")


def test_a_transformer_looks_up_the_words_of_sst2(tmp_path: Path, need: Callable[[str], None]) -> None:
    need("torch")
    folder = tmp_path / "data" / "sst2"
    folder.mkdir(parents=True)
    for file, times in (("train.tsv", 24), ("test.tsv", 2)):
        lines = [f"{text}\t{int('good' in text)}" for text in WORDS] * times
        (folder / file).write_text("\n".join(lines), encoding="utf-8")
    at = {"NEURO_EQ_DATA": str(tmp_path / "data")}
    small = ("-b", "torch", "--model", "energy_transformer", "--data", "sst2", "--hidden", "8")
    done = neuro_eq("run", *small, "--epochs", "8", "--lr", "0.03", "--out", "out", cwd=tmp_path, **at)
    assert done.returncode == 0, done.stderr
    spec = load_config(tmp_path / "out" / "config.toml").network
    assert spec.shapes["input"] == (56,)
    words = {word for text in WORDS for word in text.split()}
    assert {s.kind: s for s in spec.synapses}["token_embedding"].vocabulary == 2 + len(words)
    assert "test accuracy 100.00 %" in done.stdout, "the words good and bad say it all"
    for model in ("layered_hopfield", "conv_hopfield"):
        refused = neuro_eq("run", "--model", model, "--data", "sst2", "--out", "no", cwd=tmp_path, **at)
        assert refused.returncode == 2
        assert refused.stderr.startswith(f'error: model: {model} sees no words, of which the samples of "sst2" are')


@pytest.mark.parametrize("solver", ["gauss-seidel", "anderson"])
def test_a_run_settles_by_the_solver_that_is_named(solver: str, tmp_path: Path) -> None:
    done = neuro_eq("run", *SMALL, "-b", "reference", "--solver", solver, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = load_config(tmp_path / "out" / "config.toml")
    kind = solver.replace("-", "_")
    assert (config.free.solver.kind, config.nudged.solver.kind) == (kind, kind)
    assert config.free.max_steps == 100, "the rest of how the phases settle stays as it was"


def test_a_solver_that_does_not_exist(tmp_path: Path) -> None:
    refused_without_a_folder(
        tmp_path, "reference", "andersen", "--solver: no solver 'andersen'; did you mean \"anderson\"?"
    )


def test_a_solver_that_the_engine_lacks(tmp_path: Path, need: Callable[[str], None]) -> None:
    need("lava")
    refused_without_a_folder(
        tmp_path, "lava", "anderson", 'backend "lava" cannot run the solver Anderson; it runs Picard'
    )


def refused_without_a_folder(cwd: Path, engine: str, solver: str, message: str) -> None:
    done = neuro_eq("run", *SMALL, "-b", engine, "--solver", solver, "--out", "out", cwd=cwd)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert message in " ".join(done.stderr.split())
    assert not (cwd / "out").exists()


def test_a_run_leaves_everything_it_names(finished: tuple[Path, str]) -> None:
    folder, output = finished
    names = {"checkpoint.ckpt", "config.toml", "figure.png", "results.json", "trajectory.h5", "weights.npz"}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "figure.png").read_bytes().startswith(b"\x89PNG")
    for name in names:
        assert f"out/{name}" in output


def test_the_same_numbers_come_again_from_the_configuration(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder, output = finished
    again = neuro_eq("run", "--config", folder / "config.toml", "--out", "again", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == output.splitlines()[-1]
    with np.load(folder / "weights.npz") as first, np.load(tmp_path / "again" / "weights.npz") as second:
        assert set(first) == set(second)
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


def test_another_thread_count_changes_no_bit(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = finished
    done = neuro_eq("run", "--config", folder / "config.toml", "--threads", "1", "--out", "one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(folder / "weights.npz") as first, np.load(tmp_path / "one" / "weights.npz") as second:
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])


def test_runs_without_a_name_do_not_meet(tmp_path: Path) -> None:
    outputs = [neuro_eq("run", *SMALL[:-1], "0", "--data", "digits", cwd=tmp_path) for _ in range(2)]
    assert [done.returncode for done in outputs] == [0, 0]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "digits-layered_hopfield-numba-seed0",
        "digits-layered_hopfield-numba-seed0-2",
    ]


def test_a_spec_of_ones_own(tmp_path: Path) -> None:
    ne.save(ne.models.looped_mlp(2, 6, 2, symmetric=False), tmp_path / "net.toml")
    done = neuro_eq(
        "run", "--spec", "net.toml", "--data", "xor", "--method", "asymep", "--beta", "0.1", "--lr", "0.05",
        "--epochs", "60", "--backend", "reference", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "test accuracy 100.00 %"


@pytest.mark.parametrize("method", METHODS)
def test_every_method_goes_by_its_name(method: str, tmp_path: Path) -> None:
    """Those that nudge do so by what is usual for the data, the others know no nudge."""
    # The torch engine has all methods: backpropagation needs one that records operations.
    shown = CliRunner().invoke(
        app, [*XOR, "-b", "torch", "--model", "looped_mlp", "--method", method, "--out", str(tmp_path / "out")]
    )
    assert shown.exit_code == 0, shown.output
    found = load_config(tmp_path / "out" / "config.toml").method
    assert found.kind == method
    assert getattr(found, "beta", 1.0) == 1.0


def test_a_network_without_an_energy_is_trained_by_asymep(tmp_path: Path) -> None:
    ne.save(ne.models.looped_mlp(2, 6, 2, symmetric=False), tmp_path / "net.toml")
    shown = CliRunner().invoke(app, [*XOR, "--spec", str(tmp_path / "net.toml"), "--out", str(tmp_path / "out")])
    assert shown.exit_code == 0, shown.output
    assert load_config(tmp_path / "out" / "config.toml").method == ne.AsymEP(1.0)


def test_a_directed_synapse_from_the_data_needs_asymep_too(tmp_path: Path) -> None:
    spec = ne.models.layered_hopfield([2, 4, 2])
    _, *others = spec.synapses
    directed = ne.DirectedDense(source="input", target="hidden1")
    ne.save(spec.model_copy(update={"synapses": (directed, *others)}), tmp_path / "net.toml")
    done = neuro_eq("run", "--spec", "net.toml", *XOR[1:], "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert load_config(tmp_path / "out" / "config.toml").method.kind == "asymep"


def test_a_module_of_ones_own_brings_its_activation(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import neuro_eq as ne\n"
        "class Mine(ne.activations.Tanh):\n"
        "    kind: str = 'mine'\n"
        "ne.activations.ACTIVATIONS['mine'] = Mine\n"
    )
    ne.save(ne.models.layered_hopfield([2, 4, 2], "tanh", gain=0.5), tmp_path / "net.toml")
    (tmp_path / "net.toml").write_text((tmp_path / "net.toml").read_text().replace('"tanh"', '"mine"'))
    without = neuro_eq("check", "--spec", "net.toml", cwd=tmp_path)
    assert without.returncode == 2
    assert "no activation 'mine'" in without.stderr
    done = neuro_eq("--import", "mine", "check", "--spec", "net.toml", "--backends", "reference", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    run = ("run", "--spec", "net.toml", *XOR[1:], "--out", "out")
    done = neuro_eq("--import", "mine", *run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (again,) = re.findall(r"^again +neuro_eq (.*)$", done.stdout, flags=re.MULTILINE)
    done = neuro_eq(*again.split(), "--out", "again", cwd=tmp_path)
    assert done.returncode == 0, "the command that it prints works\n" + done.stderr
    for name in ("", ".mine", "a b"):
        wrong = neuro_eq("--import", name, "backends", cwd=tmp_path)
        assert wrong.returncode == 2
        assert wrong.stderr.startswith("error: --import: expected the name of a module"), wrong.stderr
    missing = neuro_eq("--import", "nobody", "backends", cwd=tmp_path)
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: --import: cannot import nobody (No module named 'nobody')")


def test_inspect_and_plot(finished: tuple[Path, str], tmp_path: Path) -> None:
    folder, _ = finished
    seen = neuro_eq("inspect", folder / "trajectory.h5", cwd=tmp_path)
    assert seen.returncode == 0, seen.stderr
    for word in ("hidden1", "hard_sigmoid", "free", "nudged+1.0", "test_accuracy", "converged"):
        assert word in seen.stdout
    drawn = neuro_eq("plot", folder / "trajectory.h5", "--out", "picture.svg", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout == "picture.svg\n"
    assert "<svg" in (tmp_path / "picture.svg").read_text()[:2000]


def test_backends_lists_every_engine(tmp_path: Path) -> None:
    listed = neuro_eq("backends", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    for name in ("reference", "numba", "torch", "lava"):
        assert name in listed.stdout


@pytest.mark.parametrize("command", [(), ("run",), ("inspect",), ("plot",), ("backends",), ("backends", "install")])
def test_help_has_an_example(command: tuple[str, ...], tmp_path: Path) -> None:
    shown = neuro_eq(*command, "--help", cwd=tmp_path)
    assert shown.returncode == 0
    if command != ("backends", "install"):
        assert "Example" in shown.stdout
    assert shown.stderr == ""


WRONG = [
    (("run", "--backend", "nmba"), r'no backend "nmba"; did you mean "numba"\?'),
    (("run", "--data", "digts"), r"data: no data set 'digts'; did you mean \"digits\"\?"),
    (("run", "--data", "npz:absent.npz"), r"absent\.npz: .*no such file"),
    (("run", "--spec", "absent.toml"), r"absent\.toml: cannot read it \(No such file or directory\)"),
    (
        ("run", "--spec", "wrong.toml"),
        r'wrong\.toml: synapses\[0\]\.target: no population "hiden"; did you mean "hidden"\?',
    ),
    (("run", "--spec", "noise.toml"), r"noise\.toml: not a text file in UTF-8, so not TOML"),
    (("run", "--config", "wrong.toml"), r"wrong\.toml: populations: unknown key; .*"),
    (("run", "--hidden", "many"), r"--hidden: expected numbers of units such as 256 or 512,512, found 'many'"),
    (("run", "--model", "hopfeld"), r'model: no model "hopfeld"; .*'),
    (
        ("run", "--method", "magic"),
        r"method\.kind: no method 'magic'; known: eqprop, asymep, .*, implicit, .*",
    ),
    (("run", "--beta", "0"), r"method\.beta: a nudge must not be 0 \(found 0\.0\)"),
    (("run", "--lr", "-1"), r"lr: input should be greater than 0 \(found -1\.0\)"),
    (("run", "--dtype", "float16"), r"backend \"numba\" computes in float64 or float32, not in 'float16'"),
    (("run", "--backend", "reference", "--threads", "2"), r'backend "reference" has no option "threads"'),
    (("run", "--out", "wrong.toml"), r"wrong\.toml: is already there and not empty; name another folder with --out"),
    (
        ("run", "-b", "reference", "--epochs", "0", "--out", "wrong.toml/out"),
        r"wrong\.toml/out: cannot make this folder \(.*\)",
    ),
    (("inspect", "absent.h5"), r"absent\.h5: no such file"),
    (("inspect", "noise.toml"), r"noise\.toml: is not an HDF5 file, so no trajectory"),
    (("plot", "absent.h5"), r"absent\.h5: no such file"),
    (("backends", "install", "lva"), r'no backend "lva"; did you mean "lava"\?'),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_what_is_wrong_is_said_in_one_sentence(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text(
        'populations = [{name = "input", shape = [64], clamped = true}, {name = "hidden", shape = [4]}]\n'
        'synapses = [{kind = "dense", source = "input", target = "hiden"}]\n'
    )
    (tmp_path / "noise.toml").write_bytes(bytes(range(128, 256)))
    before = sorted(tmp_path.iterdir())
    done = neuro_eq(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(f"error: {message}\n", done.stderr), done.stderr
    assert done.stdout == ""
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("arguments", [("run", "--bckend", "numba"), ("run", "--epochs", "-1"), ("fly",)])
def test_a_wrong_option_shows_usage_and_no_traceback(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = neuro_eq(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_backend_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = neuro_eq("run", "--backend", "lava", cwd=tmp_path, NEURO_EQ_LAVA_PYTHON=str(tmp_path / "no-python"))
    assert done.returncode == 2
    assert re.fullmatch(r'error: backend "lava" cannot run here: NEURO_EQ_LAVA_PYTHON names .*\n', done.stderr)
    assert not list(tmp_path.iterdir())

    def absent(name: str) -> str:
        raise backends()["torch"].probe.__globals__["PackageNotFoundError"](name)

    monkeypatch.setitem(backends()["torch"].probe.__globals__, "version", absent)
    with pytest.raises(
        ne.BackendError, match=r'cannot run here: torch is not installed; run: pip install "neuro_eq\[torch\]"'
    ):
        ne.compile(ne.models.layered_hopfield([2, 2]), backend="torch")


def test_the_list_of_backends_keeps_its_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    """``[torch]`` is markup to the library that draws the table."""

    def absent(name: str) -> str:
        raise backends()["torch"].probe.__globals__["PackageNotFoundError"](name)

    monkeypatch.setitem(backends()["torch"].probe.__globals__, "version", absent)
    listed = CliRunner().invoke(app, ["backends"], catch_exceptions=False, env={"COLUMNS": "200"})
    assert 'pip install "neuro_eq[torch]"' in listed.output


def test_what_is_not_settled_is_said_every_time_and_its_cure_once(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = RichReporter(epochs=10)
    for epoch, unsettled in ((1, 1.0), (2, 0.0), (3, 0.0007)):
        reporter.epoch(Epoch(epoch, 1, 1, 1, 1, 5, 5, math.nan, unsettled, 0, 0, 1))
    lines = [line for line in capsys.readouterr().out.splitlines() if "settled" in line]
    assert len(lines) == 2
    assert lines[0].startswith("epoch   1  100 % of the samples were not settled to 1 % of their nudge, so")
    assert lines[1] == "epoch   3  0.07 % of the samples were not settled to 1 % of their nudge"


def test_a_bug_is_not_hidden(tmp_path: Path) -> None:
    """Only our own errors become one line; anything else keeps its traceback, or nobody could mend it."""
    program = (
        "import neuro_eq.figures as f, neuro_eq.cli.main as m, sys\n"
        "def broken(*a, **k): raise ZeroDivisionError\n"
        "f.draw = broken\n"
        "sys.argv = ['neuro_eq', 'plot', 'x.h5']\n"
        "m.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr
