"""Whatever the file, the reader answers or says in one sentence why it cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.errors import FileError, NeuroEqError, SpecError
from neuro_eq.trajectory import Recorder, open_trajectory


@pytest.fixture
def path(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> Path:
    with Recorder(tmp_path / "run.h5") as rec:
        net.relax(x, record=rec)
    return tmp_path / "run.h5"


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"run\.h5: no such file$"):
        open_trajectory(tmp_path / "run.h5")


def test_a_run_that_did_not_finish_is_pointed_to_and_opens(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    rec = Recorder(tmp_path / "run.h5")
    free = net.relax(x, record=rec)
    rec.flush()
    with pytest.raises(FileError, match=r"run\.h5: is not there, but run\.h5\.part is.*open that one$"):
        open_trajectory(tmp_path / "run.h5")
    with open_trajectory(tmp_path / "run.h5.part") as run:
        assert not run.complete
        np.testing.assert_array_equal(run.fixed_states("output")[:, 0], free.states["output"])
    rec.close()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "is empty"), (b"not a file of that kind", "is not an HDF5 file"), (b"\x89HDF\r\n\x1a\n", "damaged")],
)
def test_what_is_no_hdf5(tmp_path: Path, content: bytes, complaint: str) -> None:
    (tmp_path / "run.h5").write_bytes(content)
    with pytest.raises(FileError, match=complaint):
        open_trajectory(tmp_path / "run.h5")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="cannot read it"):
        open_trajectory(tmp_path)


def test_an_hdf5_file_of_somebody_else(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["x"] = np.arange(3)
    with pytest.raises(FileError, match="but no trajectory of neuro_eq"):
        open_trajectory(tmp_path / "run.h5")


def test_another_schema_version(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = 99
    with pytest.raises(FileError, match="has schema version 99, and this neuro_eq reads version 1"):
        open_trajectory(path)


def test_a_network_that_was_changed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["spec"] = file.attrs["spec"].replace(b"tanh", b"relu")
    with open_trajectory(path) as run, pytest.raises(FileError, match="does not match its hash"):
        run.states("hidden1")


def test_a_variable_that_is_gone(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["trajectory/hidden1/state"]
    with open_trajectory(path) as run:
        with pytest.raises(FileError, match="damaged"):
            run.states("hidden1")
        assert np.isfinite(run.activities("hidden1")).all()


def test_populations_by_name(path: Path) -> None:
    with open_trajectory(path) as run:
        assert run.populations == ("input", "hidden1", "output")
        with pytest.raises(SpecError, match='no population "hiden1"; did you mean "hidden1"'):
            run.states("hiden1")
        with pytest.raises(SpecError, match='"input" is clamped'):
            run.fixed_states("input")


def test_a_closed_file(path: Path) -> None:
    run = open_trajectory(path)
    run.close()
    with pytest.raises(FileError, match="is closed"):
        run.states("hidden1")


def test_without_xarray(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with open_trajectory(path) as run, pytest.raises(NeuroEqError, match=r"to_xarray needs xarray; .*\[analysis\]"):
        run.to_xarray("hidden1")


CUT = """
import pathlib, random
from neuro_eq.errors import FileError
from neuro_eq.trajectory import open_trajectory
whole = pathlib.Path("run.h5").read_bytes()
random.seed(0)
def look(content):
    pathlib.Path("damaged.h5").write_bytes(content)
    try:
        with open_trajectory("damaged.h5") as run:
            for name in run.populations:
                run.activities(name)
            run.states("hidden1"), run.equilibrium, run.metrics, run.steps, run.phases
            return "read"
    except FileError as error:
        assert str(error).startswith("damaged.h5: ") and "\\n" not in str(error), error
        return "refused"
cuts = [look(whole[:size]) for size in range(0, len(whole), max(1, len(whole) // 150))]
assert set(cuts) == {"refused"}, cuts
print("cut", len(cuts))
"""


def test_a_file_that_was_cut_short_is_refused(
    path: Path, python: Callable[[str], subprocess.CompletedProcess[str]]
) -> None:
    done = python(CUT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("cut 15")


def test_a_sound_file_passes_its_check(path: Path, net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with open_trajectory(path) as run:
        run.check()
    rec = Recorder(tmp_path / "next.h5")
    rec.metrics("epoch", 0, accuracy=0.5)
    for at in ("only metrics", "both"):
        with open_trajectory(tmp_path / "next.h5.part") as run:
            run.check()
        if at == "only metrics":
            net.relax(x, record=rec)
            rec.flush()
    rec.close()


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("equilibrium/status", 7),
        ("equilibrium/beta", 2),
        ("settling/residual", 1 << 40),
        ("trajectory/hidden1/state", 1 << 40),
        ("trajectory/output/fixed_activity", 3),
        ("trajectory/input/activity", 5),
        ("metrics/accuracy", 9),
    ],
)
def test_parts_that_do_not_fit_together_are_found_without_reading_them(
    net: ReferenceEngine, x: np.ndarray, tmp_path: Path, name: str, length: int
) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        net.relax(x, record=rec)
        rec.metrics("epoch", 0, accuracy=0.5)
    with h5py.File(tmp_path / "run.h5", "r+") as file:
        file[name].resize(length, axis=0)
    with open_trajectory(tmp_path / "run.h5") as run, pytest.raises(FileError, match=f"damaged.*{name} has lengths"):
        run.check()
