"""A staged file is a file: what is read is what was written, and the disk sees it at a commit and not before."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_eq.trajectory import staged
from neuro_eq.trajectory.staged import StagedFile

OFFSETS = st.integers(0, 20_000)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), OFFSETS, st.integers(1, 9_000)),
        st.tuples(st.just("read"), OFFSETS, st.integers(1, 9_000)),
        st.tuples(st.just("truncate"), OFFSETS, st.just(0)),
        st.tuples(st.just("commit"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@pytest.mark.parametrize("small", [0, 10_000, staged.SMALL])
@given(actions=ACTIONS, seed=st.integers(0, 255))
def test_it_holds_what_a_file_in_memory_would(small: int, actions: list[tuple[str, int, int]], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(staged, "SMALL", small)
        path, model, committed = Path(folder) / "file", io.BytesIO(), b""
        file = StagedFile(path)
        for number, (action, offset, size) in enumerate(actions):
            if action == "write":
                data = bytes((seed + number + i) % 251 for i in range(size))
                for each in (file, model):
                    each.seek(offset)
                    each.write(data)
            elif action == "read":
                file.seek(offset)
                model.seek(offset)
                assert file.read(size) == model.read(size)
            elif action == "truncate":
                # Never shorter: HDF5 gives no meaning to what lies beyond the end that it has set.
                length = max(offset, len(model.getvalue()))
                file.truncate(length)
                model.seek(0, io.SEEK_END)
                model.write(bytes(length - model.tell()))
            else:
                file.commit()
                committed = model.getvalue()
            assert path.read_bytes() == committed
        file.commit()
        assert path.read_bytes() == model.getvalue()
        file.close()


@pytest.mark.parametrize("small", [0, staged.SMALL])
def test_a_file_may_shrink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: int) -> None:
    monkeypatch.setattr(staged, "SMALL", small)
    file = StagedFile(tmp_path / "file")
    file.write(b"a" * 10_000)
    file.commit()
    file.truncate(5_000)
    file.commit()
    assert (tmp_path / "file").read_bytes() == b"a" * 5_000
    file.close()


def test_it_makes_a_new_file_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(FileExistsError):
        StagedFile(tmp_path / "file")


def test_what_was_not_committed_is_dropped(tmp_path: Path) -> None:
    file = StagedFile(tmp_path / "file")
    file.write(b"one")
    file.commit()
    file.write(b"two")
    file.close()
    assert (tmp_path / "file").read_bytes() == b"one"
