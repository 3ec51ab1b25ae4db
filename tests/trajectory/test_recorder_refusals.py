"""What a recorder refuses, before any work and without touching what is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.errors import BackendError, FileError, SpecError
from neuro_eq.models import layered_hopfield
from neuro_eq.trajectory import Recorder, open_trajectory


def test_an_existing_file_is_refused_before_any_work(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    path.write_text("precious")
    with pytest.raises(FileError, match=r"run\.h5: exists already"):
        Recorder(path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]
    with Recorder(path, overwrite=True) as rec:
        net.relax(x, record=rec)
        assert path.read_text() == "precious", "the old file stays until the new one is complete"
    with open_trajectory(path) as run:
        assert run.complete
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]


def test_the_part_of_another_run_is_refused(tmp_path: Path) -> None:
    first = Recorder(tmp_path / "run.h5")
    with pytest.raises(FileError, match=r"run\.h5\.part: is left from a run that did not finish"):
        Recorder(tmp_path / "run.h5")
    first.close()


def test_a_file_that_came_into_being_meanwhile_is_kept(tmp_path: Path) -> None:
    rec = Recorder(tmp_path / "run.h5")
    (tmp_path / "run.h5").write_text("precious")
    with pytest.raises(FileError, match=r"stays in .*run\.h5\.part"):
        rec.close()
    assert (tmp_path / "run.h5").read_text() == "precious"
    with open_trajectory(tmp_path / "run.h5.part") as run:
        assert run.complete


def test_a_folder_that_is_missing_or_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"there is no folder .*nowhere"):
        Recorder(tmp_path / "nowhere" / "run.h5")
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="there is no folder"):
        Recorder(tmp_path / "file" / "run.h5")


@pytest.mark.parametrize(("name", "value"), [("every", 0), ("every", 1.5), ("samples", 0), ("samples", True)])
def test_counts_below_one_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"{name}: expected a whole number of at least 1"):
        Recorder(tmp_path / "run.h5", **{name: value})
    assert not list(tmp_path.iterdir())


def test_nudges_that_a_file_cannot_hold(net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        with pytest.raises(BackendError, match="real nudges only"):
            net.relax(x, target=y, beta=0.1j, record=rec)
        with pytest.raises(SpecError, match="must have different nudges"):
            net.relax(x, target=y, beta=(0.1, 0.1), record=rec)
        net.relax(x, record=rec)


def test_another_network_is_refused(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        net.relax(x, record=rec)
        with pytest.raises(SpecError, match=r"run\.h5 records one network, and this one has another spec"):
            ReferenceEngine(layered_hopfield([6, 4, 3]), seed=1).relax(x, record=rec)
        with pytest.raises(SpecError, match="another seed"):
            ReferenceEngine(net.spec, seed=2).relax(x, record=rec)
        ReferenceEngine(net.spec, seed=1).relax(x, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert len(run.states("output")) == 8


def test_nothing_is_recorded_after_closing(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    rec = Recorder(tmp_path / "run.h5")
    rec.close()
    rec.close()
    for call in (lambda: net.relax(x, record=rec), lambda: rec.metrics("epoch", 0, a=1.0), lambda: rec.label(epoch=1)):
        with pytest.raises(FileError, match=r"run\.h5: is closed"):
            call()


def test_relaxations_without_a_step(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        first = net.relax(x, max_steps=0, record=rec)
        net.relax(x, start=first, max_steps=0, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.states("hidden1").shape == (4, 1, 1, 5)
        assert (run.states("hidden1") == 0).all()
