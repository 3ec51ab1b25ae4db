"""CIFAR-10: from the user's file, from the published archive, and the real images where they are at hand."""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from neuro_eq.datasets import cifar10, load_data
from neuro_eq.errors import DataError

TEST_BATCH = "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"
"""SHA-256 of the published test_batch.bin."""

RED, BLUE = (255, 0, 0), (0, 0, 255)


def images(count: int) -> np.ndarray:
    """Random images whose first pixel is red and whose last one is blue."""
    found = np.random.default_rng(count).integers(0, 256, (count, 32, 32, 3), np.uint8)
    found[:, 0, 0], found[:, 31, 31] = RED, BLUE
    return found


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURO_EQ_DATA", str(tmp_path))
    return tmp_path


def save(root: Path, **arrays: np.ndarray) -> None:
    five, three = np.arange(5, dtype=np.uint8), np.arange(3, dtype=np.uint8)
    whole = {"x_train": images(5), "y_train": five, "x_test": images(3), "y_test": three, **arrays}
    np.savez(root / "cifar10.npz", **whole)


def pack(folder: Path, cut: int = 0) -> Path:
    """The published archive, with one image in each part: the label, then red, green and blue."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / cifar10.ARCHIVE
    with tarfile.open(path, "w:gz") as archive:
        for i, name in enumerate((*cifar10.TRAIN, *cifar10.TEST)):
            record = bytes([i]) + images(6)[i].transpose(2, 0, 1).tobytes()
            info = tarfile.TarInfo(name)
            info.size = len(record) - cut
            archive.addfile(info, io.BytesIO(record))
    return path


def check(data, train: int, test: int) -> None:
    assert (data.name, data.classes, data.image_shape) == ("cifar10", 10, (3, 32, 32))
    assert (len(data.x_train), len(data.x_test)) == (train, test)
    maps = data.x_train.reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(maps[:, :, 0, 0], [[1, 0, 0]] * train)
    np.testing.assert_array_equal(maps[:, :, 31, 31], [[0, 0, 1]] * train)


def test_colours_of_the_users_file_become_the_first_axis(root):
    save(root)
    data = load_data("cifar10")
    check(data, 5, 3)
    wanted = (images(5).transpose(0, 3, 1, 2) / 255).astype(np.float32).reshape(5, -1)
    np.testing.assert_array_equal(data.x_train, wanted)
    assert data.y_test.tolist() == [0, 1, 2]


def test_the_archive_holds_the_same(root):
    pack(root / "cifar10")
    data = load_data("cifar10")
    check(data, 5, 1)
    wanted = (images(6).transpose(0, 3, 1, 2) / 255).astype(np.float32).reshape(6, -1)
    np.testing.assert_array_equal(np.vstack([data.x_train, data.x_test]), wanted)
    assert [*data.y_train, *data.y_test] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x_train": images(5).transpose(0, 3, 1, 2)}, r"images must be unsigned bytes of shape \(images, 32, 32, 3\)"),
        ({"x_train": images(5) / 255}, r"images must be .*, found float64 of shape \[5, 32, 32, 3\]"),
        ({"y_test": np.array([0, 1, 10])}, r"y_test must hold whole numbers in 0…9, one for each image"),
        ({"y_train": np.zeros(5)}, r"y_train must hold whole numbers in 0…9, one for each image"),
    ],
)
def test_what_is_not_cifar10_is_refused(root, arrays, sentence):
    save(root, **arrays)
    with pytest.raises(DataError, match=rf"cifar10\.npz: {sentence}"):
        load_data("cifar10")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: path.write_bytes(b"<html>"), r"must be CIFAR-10's archive of plain bytes \(not a gzip file\)"),
        (lambda path: path.write_bytes(path.read_bytes()[:-200]), r"must be CIFAR-10's archive of plain bytes"),
        (lambda path: pack(path.parent, cut=1), r"needs records of 3073 bytes, found 15360 bytes in all"),
    ],
)
def test_a_damaged_archive_is_named(root, damage, sentence):
    damage(pack(root / "cifar10"))
    with pytest.raises(DataError, match=rf"cifar-10-binary\.tar\.gz: {sentence}"):
        load_data("cifar10")


def test_offline_one_sentence_says_which_file_belongs_where(tmp_path, monkeypatch):
    monkeypatch.delenv("NEURO_EQ_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cifar10, "URL", f"http://127.0.0.1:9/{cifar10.ARCHIVE}")
    with pytest.raises(DataError) as caught:
        load_data("cifar10")
    assert str(caught.value) == (
        "cifar10: cannot fetch cifar-10-binary.tar.gz (no connection to 127.0.0.1); put it into FOLDER/cifar10/ and "
        "set NEURO_EQ_DATA=FOLDER"
    )


def test_the_real_images_bit_by_bit():
    root = os.environ.get("NEURO_EQ_DATA")
    if not root or not (Path(root) / "cifar10.npz").is_file():
        pytest.skip("NEURO_EQ_DATA names no folder with cifar10.npz in it")
    data = load_data("cifar10")
    assert (len(data.x_train), len(data.x_test)) == (50000, 10000)
    # The published test_batch.bin, made again from what was read.
    pixels = np.rint(data.x_test * 255).astype(np.uint8)
    content = np.hstack([data.y_test.astype(np.uint8)[:, None], pixels]).tobytes()
    assert hashlib.sha256(content).hexdigest() == TEST_BATCH
