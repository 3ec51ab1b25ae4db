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


CHANGES = st.lists(st.tuples(st.integers(0, 40_000), st.integers(1, 9_000)), min_size=2, max_size=8)


@given(changes=CHANGES, killed=st.integers(0, 30), half=st.booleans())
def test_killed_between_two_pages_the_journal_has_the_rest(
    changes: list[tuple[int, int]], killed: int, half: bool
) -> None:
    """A reader and a writer that goes on see the file as before the change, or as after it, and nothing between."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(staged, "SMALL", 0)
        path = Path(folder) / "file"
        before = bytes(range(250)) * 80
        file = StagedFile(path)
        file.write(before)
        file.commit()
        model = io.BytesIO(before)
        for number, (offset, size) in enumerate(changes):
            for each in (file, model):
                each.seek(offset)
                each.write(bytes([number + 1]) * size)
        puts, put = iter(range(100)), StagedFile._put

        def dying(self: StagedFile, to: int, offset: int, data: bytearray) -> None:
            if next(puts) == killed:
                put(self, to, offset, data[: len(data) // 2 if half else 0])
                raise KeyboardInterrupt
            put(self, to, offset, data)

        patch.setattr(StagedFile, "_put", dying)
        try:
            file.commit()
        except KeyboardInterrupt:
            pass
        else:
            assert not Path(staged.journal_of(path)).exists()
        patch.setattr(StagedFile, "_put", put)
        with StagedFile(path, "r") as reader:
            seen = reader.read()
        with StagedFile(path, "r+") as writer:
            assert writer.read() == seen
        assert path.read_bytes() == seen
        assert seen[: len(before)] == before or seen == model.getvalue()
        assert sorted(each.name for each in Path(folder).iterdir()) == ["file"]


def test_a_journal_that_was_not_finished_is_no_journal(tmp_path: Path) -> None:
    file = StagedFile(tmp_path / "file")
    file.write(b"a" * 10_000)
    file.commit()
    file.close()
    for content in (b"", b"neuroeqJ", b"neuroeqJ" + bytes(5_000), bytes(5_000)):
        Path(staged.journal_of(tmp_path / "file")).write_bytes(content)
        with StagedFile(tmp_path / "file", "r") as reader:
            assert reader.read() == b"a" * 10_000


def test_a_new_file_has_no_journal_of_an_old_one(tmp_path: Path) -> None:
    Path(staged.journal_of(tmp_path / "file")).write_bytes(b"old")
    StagedFile(tmp_path / "file").close()
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
