"""A checkpoint file holds what was put in; a damaged or made-up one ends in one sentence, and nothing in it runs."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.training import Epoch, History, Tally
from neuro_eq.training.checkpoint import HEADER, Checkpoint, Header, read

NUMBERS = np.random.default_rng(0)


def epoch(number: int) -> Epoch:
    return Epoch(number, *(float(value) for value in NUMBERS.normal(size=10)), float("nan"))


def checkpoint() -> Checkpoint:
    tally = Tally.of(12, NUMBERS.normal(size=len(Tally.SUMS)), NUMBERS.normal(size=12))
    weights = {
        "a_b.weight": np.float32(NUMBERS.normal(size=(3, 4))),
        "b.bias": np.float32(NUMBERS.normal(size=3)),
        "c.scale": np.array(0.1),
        "d.none": np.zeros((0, 2)),
    }
    moments = {name: {key: value * 3 for key, value in weights.items()} for name in ("first", "second")}
    header = Header(
        run={"seed": "1"}, epochs=5, epoch=2, batch=7, seconds=0.1 + 0.2, samples=12, steps=31,
        moments=("first", "second"),
    )  # fmt: skip
    return Checkpoint(header, History((epoch(0), epoch(1))), tally, weights, moments)


ONE = checkpoint()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "run.ckpt"
    ONE.write(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzzed") / "run.ckpt"


def assert_equal(one: Checkpoint, other: Checkpoint) -> None:
    assert one.header == other.header
    np.testing.assert_equal([asdict(e) for e in one.history.epochs], [asdict(e) for e in other.history.epochs])
    assert one.tally.samples == other.tally.samples
    assert one.tally.sums == other.tally.sums
    np.testing.assert_array_equal(one.tally.joined_ratios, other.tally.joined_ratios)
    pairs = [(one.parameters, other.parameters), *((one.moments[name], other.moments[name]) for name in one.moments)]
    assert list(one.moments) == list(other.moments)
    for mine, theirs in pairs:
        assert list(mine) == list(theirs)
        for name, value in mine.items():
            assert value.dtype == theirs[name].dtype
            assert value.shape == theirs[name].shape
            assert value.tobytes() == theirs[name].tobytes()


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    ONE.write(tmp_path / "run.ckpt")
    assert_equal(read(tmp_path / "run.ckpt"), ONE)
    assert [path.name for path in tmp_path.iterdir()] == ["run.ckpt"]


def test_the_same_run_gives_the_same_bytes(good: bytes, tmp_path: Path) -> None:
    ONE.write(tmp_path / "again.ckpt")
    assert (tmp_path / "again.ckpt").read_bytes() == good


def test_numpy_reads_it(good: bytes) -> None:
    with np.load(io.BytesIO(good), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["parameters/a_b.weight"], ONE.parameters["a_b.weight"])
        assert json.loads(file[HEADER])["epoch"] == 2


def sentence(content: bytes, path: Path) -> str | None:
    """The one sentence that a file of this content ends in; None where it loads."""
    path.write_bytes(content)
    try:
        found = read(path)
    except ne.FileError as error:
        return one_sentence(str(error), path)
    assert_equal(found, ONE)
    return None


def one_sentence(words: str, path: Path) -> str:
    assert words.startswith(f"{path}: ")
    assert "\n" not in words
    return words


def test_every_cut_and_every_flipped_byte_is_noticed(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    for length in (*range(0, 200), *range(200, len(good), 97)):
        assert sentence(good[:length], path) is not None, length
    for place in range(0, len(good), 5):
        damaged = bytearray(good)
        damaged[place] ^= 1 + place % 255
        assert sentence(bytes(damaged), path) is not None, place
    assert sentence(good + b"\0", path) is not None
    assert sentence(good, path) is None


def signed(content: bytes) -> bytes:
    """With the digest that belongs to it, as somebody who means it would make it."""
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()


@settings(max_examples=500)
@given(data=st.data())
def test_made_up_bytes_with_the_right_digest(data: st.DataObject, good: bytes, place: Path) -> None:
    signature = len(b"neuro_eq checkpoint, sha256 ") + 64
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - signature - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    place.write_bytes(signed(bytes(content)))
    try:
        read(place)  # Some bytes of an archive mean nothing, and other numbers are numbers.
    except ne.FileError as error:
        one_sentence(str(error), place)


def archive(good: bytes, changes: dict[str, bytes | None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The archive with other entries, and signed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(buffer, "w", compression) as new:
        entries = {info.filename: old.read(info) for info in old.infolist()} | changes
        for name, content in entries.items():
            if content is not None:
                new.writestr(name, content)
        new.comment = old.comment
    return signed(buffer.getvalue())


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=True)
    return buffer.getvalue()


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("it was executed",))


def header(**changes: Any) -> dict[str, bytes | None]:
    table = {**ONE.header.model_dump(mode="json"), **changes}
    return {HEADER: json.dumps({name: value for name, value in table.items() if value != "absent"}).encode()}


MADE_UP: list[tuple[dict[str, bytes | None], str]] = [
    ({"parameters/b.bias.npy": npy(np.array([Bomb(), Bomb(), Bomb()], dtype=object))}, "does not hold numbers"),
    ({"parameters/b.bias.npy": pickle.dumps(np.zeros(3))}, "magic"),
    ({"parameters/b.bias.npy": npy(np.array(["a", "b", "c"]))}, "does not hold numbers"),
    ({"parameters/b.bias.npy": npy(np.zeros(3))[:-1]}, "does not have the size of its shape"),
    ({"parameters/b.bias.npy": npy(np.zeros(3)).replace(b"(3,)", b"(9,)")}, "does not have the size of its shape"),
    ({"parameters/b.bias.npy": npy(np.zeros(3)).replace(b"(3,), ", b"(-3,),")}, "shape"),
    ({"parameters/b.bias.npy": npy(np.zeros(3)).replace(b"False", b"exit()"[:5])}, "."),
    ({"history.npy": npy(np.zeros((1, 12)))}, r"\[1, 12\] where \[2, 12\]"),
    ({"history.npy": None}, "history"),
    ({"tally.sums.npy": npy(np.zeros(3))}, r"\[3\] where \[7\]"),
    ({"moments/third/b.bias.npy": npy(np.zeros(3))}, "third"),
    ({"extra": b""}, "magic|extra"),
    ({"extra.npy": npy(np.zeros(3))}, "it has an entry extra"),
    ({HEADER: b"{"}, "."),
    ({HEADER: b"[]"}, "its header is no table"),
    ({HEADER: b"[" * 100_000}, "."),
    ({HEADER: None}, "header"),
    (header(format=2), "it has format version 2, and this one reads version 1"),
    (header(epoch=-1), "epoch: .*greater than or equal to 0"),
    (header(epochs="absent"), "epochs: required, but not given"),
    (header(order="66"), "order: unknown key"),
    (header(seconds=float("nan")), "seconds"),
    (header(trajectory={"name": "../../etc/passwd", "position": {}, "overwrite": True}), "name: .*pattern"),
    (header(trajectory={"name": "..", "position": {}, "overwrite": True}), "name: .*pattern"),
]


@pytest.mark.parametrize(("changes", "words"), MADE_UP, ids=[words[:30] for _, words in MADE_UP])
def test_made_up_content_is_refused(good: bytes, changes: dict[str, bytes | None], words: str, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    path.write_bytes(archive(good, changes))
    with pytest.raises(
        ne.FileError, match=rf"run\.ckpt: is no checkpoint that this neuro_eq can read \(.*{words}.*\)$"
    ):
        read(path)


def test_an_archive_that_unpacks_to_more_is_refused(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    bomb = {"parameters/b.bias.npy": npy(np.zeros(10_000_000))}
    path.write_bytes(archive(good, bomb, zipfile.ZIP_DEFLATED))
    assert path.stat().st_size < 200_000
    with pytest.raises(ne.FileError, match="is compressed"):
        read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"cannot read it \(No such file or directory\)"),
        (b"", "is no checkpoint of neuro_eq, or one that is damaged or cut short"),
        (b"epoch = 3\n", "is no checkpoint of neuro_eq"),
        (bytes(10_000), "is no checkpoint of neuro_eq"),
    ],
)
def test_what_is_no_checkpoint(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ne.FileError, match=rf"run\.ckpt: {words}"):
        read(path)
