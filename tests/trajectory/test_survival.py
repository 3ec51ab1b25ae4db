"""A run that is killed, fails or meets a full disk leaves a file that opens with what was recorded before."""

from __future__ import annotations

import gc
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.errors import FileError
from neuro_eq.methods.eqprop import EqProp
from neuro_eq.models import layered_hopfield
from neuro_eq.trajectory import Recorder, open_trajectory, staged

Python = Callable[[str], "subprocess.CompletedProcess[str]"]


def test_an_error_in_the_block_leaves_the_part(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    def fail() -> None:
        with Recorder(tmp_path / "run.h5") as rec:
            net.relax(x, record=rec)
            rec.metrics("step", 0, cost=1.0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5.part"]
    with open_trajectory(tmp_path / "run.h5.part") as run:
        assert not run.complete
        assert len(run.states("hidden1")) == 4
        assert "cost" in run.metrics


def test_an_error_while_relaxing_keeps_the_steps_before_it(
    net: ReferenceEngine, x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = net._begin

    def interrupted(task):  # type: ignore[no-untyped-def]
        settling = begin(task)
        advance, taken = settling.advance, iter(range(5))

        def once_more(steps: int) -> bool:
            if next(taken, None) is None:
                raise KeyboardInterrupt
            return advance(steps)

        settling.advance = once_more  # type: ignore[method-assign]
        return settling

    monkeypatch.setattr(net, "_begin", interrupted)
    with pytest.raises(KeyboardInterrupt), Recorder(tmp_path / "run.h5") as rec:
        net.relax(x, record=rec)
    with open_trajectory(tmp_path / "run.h5.part") as run:
        assert run.steps.tolist() == [0, 1, 2, 3, 4, 5]
        assert np.isfinite(run.states("hidden1")).all()
        assert np.isnan(run.fixed_states("hidden1")).all()


def test_a_recorder_that_is_forgotten(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    rec = Recorder(tmp_path / "run.h5")
    net.relax(x, record=rec)
    del rec
    gc.collect()
    with open_trajectory(tmp_path / "run.h5.part") as run:
        assert not run.complete
        assert len(run.states("hidden1")) == 4


def test_a_program_that_ends_without_closing(python: Python, tmp_path: Path) -> None:
    done = python(
        """
import numpy as np
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.models import layered_hopfield
from neuro_eq.trajectory import Recorder
rec = Recorder("run.h5")
ReferenceEngine(layered_hopfield([6, 5, 3])).relax(np.ones((2, 6)), record=rec)
raise SystemExit(3)
"""
    )
    assert (done.returncode, done.stderr) == (3, "")
    with open_trajectory(tmp_path / "run.h5.part") as run:
        assert len(run.states("hidden1")) == 2


@pytest.mark.parametrize("small", [8 << 20, 200_000])
def test_the_file_opens_after_every_single_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    """Each write that reaches the disk could be the last: a copy is read after each of them.

    With its journal it has everything that was flushed; without, an index of which half is written may hide some.
    """
    monkeypatch.setattr(staged, "SMALL", small)
    net = ReferenceEngine(layered_hopfield([20, 40, 3]), seed=1)
    numbers = np.random.default_rng(0)
    path, part, torn = (tmp_path / name for name in ("run.h5", "run.h5.part", "torn.h5"))
    names = ("input", "hidden1", "output")
    copies: list[tuple[dict[str, np.ndarray], bool]] = []
    flushed = 3
    put = staged.StagedFile._put

    def content(of: Path) -> dict[str, np.ndarray]:
        with open_trajectory(of) as run:
            assert run.populations == names
            found = {name: run.activities(name) for name in names}
            found["states"], found["fixed"] = run.states("hidden1"), run.fixed_states("hidden1")
            found |= run.equilibrium
            assert len(run.metrics["cost"][0]) == len(run.metrics["cost"][1]) >= flushed // 3
            return found

    def put_and_look(self: staged.StagedFile, *args: Any) -> None:
        put(self, *args)
        shutil.copyfile(part, torn)
        journal = Path(staged.journal_of(part))
        journaled = journal.exists()
        for whole in (False, True) if journaled and len(copies) % 10 == 0 else (not journaled,):
            if whole and journaled:
                shutil.copyfile(journal, staged.journal_of(torn))
            found = content(torn)
            assert min(map(len, found.values())) >= flushed
            copies.append(({name: values[:flushed] for name, values in found.items()}, whole))
        Path(staged.journal_of(torn)).unlink(missing_ok=True)

    def gradient(i: int) -> None:
        rec.label(epoch=i)
        EqProp(0.1).gradient(net, numbers.normal(size=(4, 20)), np.array([0, 1, 2, 0]), record=rec)
        rec.metrics("step", i, cost=0.5)

    with Recorder(path, samples=3) as rec:
        gradient(0)
        rec.metrics("epoch", 0, accuracy=0.5)
        monkeypatch.setattr(staged.StagedFile, "_put", put_and_look)
        for i in range(1, 5):
            gradient(i)
            rec.flush()
            flushed = 3 * i + 3
            rec.metrics("epoch", i, accuracy=0.5)
    assert len(copies) >= 8
    assert all(whole for _, whole in copies) == (small > 200_000)
    final = content(path)
    for copy, complete in copies:
        for name, values in copy.items():
            grid = name in ("states", "hidden1", "output")
            whole = final[name][:, :, : values.shape[2]] if grid else final[name]
            same = (values == whole[: len(values)]) | (np.isnan(values) & np.isnan(whole[: len(values)]))
            hidden = (np.isnan(values) | (values == -1)) & (not complete)
            assert (same | hidden).all(), name


KILLS = 25
KILL = f"""
import os, random, signal, time
import numpy as np
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.methods.eqprop import EqProp
from neuro_eq.models import layered_hopfield
from neuro_eq.trajectory import Recorder, open_trajectory, staged

def record(path, size, flushed):
    net = ReferenceEngine(layered_hopfield([20, size, 3]))
    numbers = np.random.default_rng(0)
    rec = Recorder(path, samples=3)
    for i in range(1_000_000):
        EqProp(0.1).gradient(net, numbers.normal(size=(4, 20)), np.array([0, 1, 2, 0]), record=rec)
        rec.metrics("epoch", i, cost=0.5)
        os.write(flushed, b".")

random.seed(0)
rows = []
for k in range({KILLS}):
    staged.SMALL = (4 << 20, 100_000)[k % 2]
    path, (reading, writing) = f"{{k}}.h5", os.pipe()
    child = os.fork()
    if child == 0:
        try:
            record(path, random.choice([5, 40, 300]), writing)
        finally:
            os._exit(1)
    os.close(writing)
    os.read(reading, 1)
    time.sleep(random.uniform(0.0, 0.2))
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    flushed = 1 + len(os.read(reading, 1_000_000))
    os.close(reading)
    with open_trajectory(path + ".part") as run:
        assert not run.complete
        states = run.states("hidden1")
        assert len(run.metrics["cost"][0]) >= flushed
        assert len(states) >= 3 * flushed
        assert np.isfinite(states[: 3 * flushed, :, 0]).all()
        assert np.isfinite(run.fixed_activities("output")[: 3 * flushed]).all()
        rows.append(len(states))
    os.unlink(path + ".part")
print("opened", len(rows), rows)
"""


def test_killed_at_any_moment_the_file_opens_with_all_that_was_flushed(python: Python) -> None:
    done = python(KILL)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"opened {KILLS}"), done.stdout


FULL = """
import resource
import numpy as np
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.errors import FileError
from neuro_eq.models import layered_hopfield
from neuro_eq.trajectory import Recorder, open_trajectory
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
net = ReferenceEngine(layered_hopfield([20, 200, 3]))
numbers = np.random.default_rng(0)
rec = Recorder("run.h5")
flushed = 0
try:
    for _ in range(100):
        net.relax(numbers.normal(size=(4, 20)), record=rec)
        rec.flush()
        flushed += 4
except FileError as error:
    print(error)
for again in (rec.flush, lambda: rec.metrics("epoch", 0, cost=1.0), lambda: net.relax(np.ones((1, 20)), record=rec)):
    try:
        again()
    except FileError as error:
        assert "run.h5.part: cannot write it any further" in str(error)
    else:
        raise AssertionError("a failed recorder took more")
rec.close()
with open_trajectory("run.h5.part") as run:
    assert not run.complete
    assert len(run.states("hidden1")) == flushed > 0, (len(run.states("hidden1")), flushed)
    assert np.isfinite(run.fixed_states("hidden1")).all()
print("kept", flushed)
"""


@pytest.mark.parametrize("limit", [1 << 20, 6 << 20])
def test_a_disk_that_fills_up(python: Python, tmp_path: Path, limit: int) -> None:
    done = python(FULL.format(limit=limit))
    assert (done.returncode, done.stderr) == (0, "")
    complaint, kept = done.stdout.splitlines()
    assert complaint == "run.h5.part: cannot write it any further (File too large); it keeps what was recorded before"
    assert kept.startswith("kept ")
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5.part"]


def test_a_disk_that_is_full_from_the_start(python: Python, tmp_path: Path) -> None:
    done = python(
        """
import resource
from neuro_eq.errors import FileError
from neuro_eq.trajectory import Recorder
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    Recorder("run.h5")
except FileError as error:
    print(error)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "run.h5.part: cannot write it" in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_block_that_swallows_the_failure_does_not_claim_to_be_complete(
    net: ReferenceEngine, x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    with Recorder(tmp_path / "run.h5") as rec:
        net.relax(x, record=rec)
        monkeypatch.setattr(staged.StagedFile, "_put", full)
        with pytest.raises(FileError, match=r"\(No space left on device\)"):
            rec.flush()
        monkeypatch.undo()
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5.part"]
