"""Text in a trajectory file: of fixed length, the same for every reader, and files of the older kind still open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.errors import FileError
from neuro_eq.methods.eqprop import EqProp
from neuro_eq.models import layered_hopfield
from neuro_eq.trajectory import Recorder, layout, open_trajectory, text


def record(path: Path, net: ReferenceEngine, x: np.ndarray, y: np.ndarray, **describes: Any) -> None:
    with Recorder(path, note="a remark") as rec:
        rec.describe(**describes)
        rec.label(epoch=1)
        EqProp(0.1).gradient(net, x, y, record=rec)
        rec.metrics("epoch", 1, accuracy=0.5)
        rec.metrics("step", 3, cost=0.25)


def texts_of_variable_length(path: Path) -> set[str]:
    """Where HDF5 keeps text in a heap."""
    found = set()

    def look(name: str, item: Any) -> None:
        for attribute in item.attrs:
            kind = item.attrs.get_id(attribute).get_type()
            if kind.get_class() == h5py.h5t.STRING and kind.is_variable_str():
                found.add(f"{name}@{attribute}")
        if isinstance(item, h5py.Dataset) and h5py.check_string_dtype(item.dtype) and item.dtype.kind == "O":
            found.add(name)

    with h5py.File(path) as file:
        look("", file)
        file.visititems(look)
    return found


@pytest.fixture
def of_variable_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorders write text as those of an earlier version did."""
    monkeypatch.setattr(layout, "text_type", lambda length: h5py.string_dtype())
    monkeypatch.setattr(text, "encoded", lambda words: np.array(words.encode(), dtype=h5py.string_dtype()))


def test_no_text_lies_in_a_heap(net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    record(tmp_path / "run.h5", net, x, y, data="digits")
    assert texts_of_variable_length(tmp_path / "run.h5") == set()


def test_every_reader_sees_the_same_text(net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    words = {"data": "digits", "empty": "", "greek": "β → 0", "one": "x"}
    record(tmp_path / "run.h5", net, x, y, **words)
    with open_trajectory(tmp_path / "run.h5") as run, xr.open_dataset(tmp_path / "run.h5", engine="h5netcdf") as root:
        for name, value in {**words, "note": "a remark", "backend": "reference"}.items():
            for found in (run.attrs[name], root.attrs[name]):
                assert (type(found), found) == (str, value)
    with xr.open_dataset(tmp_path / "run.h5", group="settling", engine="h5netcdf") as settling:
        assert settling.phase.values.tolist() == ["free", "nudged+0.1", "nudged-0.1"]
        assert settling.term.values.tolist()[:2] == ["hidden1", "output"]
        assert {type(label) for axis in ("phase", "term") for label in settling[axis].values.tolist()} == {str}
    with xr.open_dataset(tmp_path / "run.h5", group="equilibrium", engine="h5netcdf") as table:
        assert table.status.attrs["flag_meanings"].split()[1] == "converged"


def test_a_file_of_an_earlier_version_is_read_and_gone_on_with(
    net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path, of_variable_length: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    record(tmp_path / "old.h5", net, x, y, data="digits")
    rec = Recorder(tmp_path / "run.h5")
    EqProp(0.1).gradient(net, x, y, record=rec)
    rec.metrics("epoch", 1, accuracy=0.5)
    position = rec.position
    rec.abandon()
    monkeypatch.undo()
    assert {"@spec", "equilibrium/phase", "settling/term"} <= texts_of_variable_length(tmp_path / "old.h5")
    record(tmp_path / "new.h5", net, x, y, data="digits")
    with open_trajectory(tmp_path / "old.h5") as old, open_trajectory(tmp_path / "new.h5") as new:
        old.check()
        assert {**old.attrs, "created": ""} == {**new.attrs, "created": ""}
        assert (old.phases, old.energy_terms, list(old.metrics)) == (new.phases, new.energy_terms, list(new.metrics))
        np.testing.assert_equal(old.metrics, new.metrics)
        np.testing.assert_array_equal(old.states("hidden1"), new.states("hidden1"))
    with Recorder(tmp_path / "run.h5", position=position) as rec:
        EqProp(0.2).gradient(net, x, y, record=rec)
        rec.metrics("epoch", 2, accuracy=0.75)
    with open_trajectory(tmp_path / "run.h5") as run:
        run.check()
        assert run.phases == ("free", "nudged+0.1", "nudged-0.1", "nudged+0.2", "nudged-0.2")
        assert run.metrics["accuracy"][1].tolist() == [0.5, 0.75]


def test_a_network_too_large_for_an_attribute(tmp_path: Path) -> None:
    """An attribute has at most 64 kB, and a network may have more to say."""
    spec = layered_hopfield([2, 2]).model_copy(update={"name": "many populations " * 4000})
    net = ReferenceEngine(spec)
    with Recorder(tmp_path / "run.h5", note="β" * 40_000) as rec:
        net.relax(np.ones((1, 2)), max_steps=1, record=rec)
        position = rec.position
        rec.abandon()
    with Recorder(tmp_path / "run.h5", position=position) as rec:
        net.relax(np.ones((1, 2)), max_steps=1, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert len(run.attrs["spec"]) > text.LONGEST
        assert run.spec == net.spec
        assert run.attrs["note"] == "β" * 40_000
        assert len(run.fixed_states("output")) == 2
    assert texts_of_variable_length(tmp_path / "run.h5") == set()


@given(words=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30))
def test_any_text_comes_back(words: str) -> None:
    with h5py.File("any.h5", "w", driver="core", backing_store=False) as file:
        text.describe(file, words=words)
        text.describe(file, words=words)
        assert text.described(file) == {"words": words}


def test_bytes_that_are_no_text(net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    record(tmp_path / "run.h5", net, x, y, data="name\udcff")
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.attrs["data"] == "name\\udcff"
    for name, value in (("equilibrium/phase", b"\xfe"), ("settling/term", b"\xfe"), ("data", b"\xff")):
        with h5py.File(tmp_path / "run.h5", "r+") as file:
            if name == "data":
                file.attrs[name] = np.bytes_(value)
            else:
                file[name][0] = value
        with pytest.raises(FileError, match=r"run\.h5: is damaged"), open_trajectory(tmp_path / "run.h5") as run:
            assert run.phases if "phase" in name else run.energy_terms
