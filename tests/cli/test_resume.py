"""A run that is stopped says how to go on, and going on leaves what it would have left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.errors import FileError

RUN = (
    "--backend", "reference", "--hidden", "8", "--train-samples", "64", "--test-samples", "16", "--epochs", "24",
    "--method", "implicit",
)  # fmt: skip


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "neuro_eq", "run", *arguments]


def finished(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def epochs_in(part: Path) -> int:
    try:
        with ne.open_trajectory(part) as trajectory:
            return len(trajectory.metrics.get("test_accuracy", ((), ()))[0])
    except FileError:
        return 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was never stopped."""
    cwd = tmp_path_factory.mktemp("whole")
    done = finished(*RUN, "--out", "out", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "out"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_stopped_and_gone_on(whole: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    run = subprocess.Popen(
        command(*RUN, "--out", "o ut"), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 120
        while epochs_in(tmp_path / "o ut" / "trajectory.h5.part") < 3:
            assert run.poll() is None, "the run ended by itself"
            assert time.monotonic() < deadline, "three epochs never appeared in the file"
            time.sleep(0.02)
        run.send_signal(number)
        _, complaint = run.communicate(timeout=60)
    finally:
        run.kill()
        run.wait()
    assert run.returncode == code
    if number != signal.SIGKILL:
        assert complaint == "stopped; go on with: neuro_eq run --resume 'o ut'\n"
        assert sorted(path.name for path in (tmp_path / "o ut").iterdir()) == [
            "checkpoint.ckpt", "config.toml", "trajectory.h5.part",
        ]  # fmt: skip
    done = finished("--resume", "o ut", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "o ut").iterdir()} == {path.name for path in whole.iterdir()}
    with np.load(tmp_path / "o ut" / "weights.npz") as part, np.load(whole / "weights.npz") as wanted:
        assert {key: value.tobytes() for key, value in part.items()} == {
            key: value.tobytes() for key, value in wanted.items()
        }
    results = [json.loads((folder / "results.json").read_text()) for folder in (tmp_path / "o ut", whole)]
    for result in results:
        for epoch in result["epochs"]:
            del epoch["seconds"]
    assert results[0] == results[1]
    assert done.stdout.splitlines()[-1].startswith("test accuracy ")


def test_a_finished_run_shows_what_it_came_to(whole: Path) -> None:
    before = {name: (whole / name).read_bytes() for name in ("weights.npz", "trajectory.h5", "config.toml")}
    done = finished("--resume", str(whole), cwd=whole.parent)
    assert done.returncode == 0, done.stderr
    assert {name: (whole / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (("--batch-size", "4"), "--batch-size"),
        (("--out", "other"), "--out"),
        (("-b", "numba"), "--backend"),
        (("--symmetric",), "--symmetric"),
        (("--directed",), "--directed"),
    ],
)
def test_going_on_takes_no_other_options(options: tuple[str, ...], name: str, tmp_path: Path) -> None:
    done = finished("--resume", "out", *options, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: --resume: it goes on as the folder's config.toml says, so {name} cannot be given with it\n"
    )


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    done = finished("--resume", "absent", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: absent/config.toml: cannot read it (No such file or directory)\n"
    assert not list(tmp_path.iterdir())


def test_a_configuration_that_was_changed_is_another_run(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name in ("config.toml", "checkpoint.ckpt"):
        (folder / name).write_bytes((whole / name).read_bytes())
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("batch_size = 32", "batch_size = 16"))
    done = finished("--resume", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: out/checkpoint.ckpt: belongs to a run with another batch_size, 32 there and 16 here; name another "
        "checkpoint, or overwrite it (overwrite=True)\n"
    )
    assert sorted(os.listdir(folder)) == ["checkpoint.ckpt", "config.toml"]
