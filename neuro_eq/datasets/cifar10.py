"""CIFAR-10 (Krizhevsky, 2009): the user's own ``cifar10.npz``, or the published archive of plain bytes."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, Integer, UInt8

from neuro_eq.datasets.data import Data
from neuro_eq.datasets.download import fetch
from neuro_eq.datasets.folder import FOLDER_VARIABLE, own_files, own_place
from neuro_eq.datasets.npz import read_arrays
from neuro_eq.errors import DataError

ARCHIVE = "cifar-10-binary.tar.gz"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"

OWN = "cifar10.npz"
SHAPE = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32
"""Bytes of an image in the archive: its label, then its red, its green and its blue."""

TRAIN = tuple(f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6))
TEST = ("cifar-10-batches-bin/test_batch.bin",)


def load_cifar10() -> Data:
    """CIFAR-10: 50000 and 10000 images of 32×32 pixels, red, green and blue, in [0, 1]."""
    own = own_place("cifar10", OWN)
    if own is None:
        archives = own_files("cifar10", "cifar10", (ARCHIVE,))
        path = fetch("cifar10", URL, SHA256, FOLDER_VARIABLE) if archives is None else archives[ARCHIVE]
        (x_train, y_train), (x_test, y_test) = _unpacked(path, TRAIN), _unpacked(path, TEST)
    else:
        arrays = read_arrays(str(own))
        x_train, y_train = _images(own, arrays["x_train"]), _labels(own, "y_train", arrays["y_train"])
        x_test, y_test = _images(own, arrays["x_test"]), _labels(own, "y_test", arrays["y_test"])
    return Data(
        "cifar10",
        x_train=_rows(x_train),
        y_train=y_train,
        x_test=_rows(x_test),
        y_test=y_test,
        classes=10,
        image_shape=SHAPE,
    )


def _images(path: Path, images: np.ndarray) -> UInt8[np.ndarray, "images 3 32 32"]:
    """Images whose colours are their last axis."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (32, 32, 3):
        raise DataError(
            f"{path}: images must be unsigned bytes of shape (images, 32, 32, 3), found {images.dtype} of shape "
            f"{list(images.shape)}"
        )
    return images.transpose(0, 3, 1, 2)


def _labels(path: Path, key: str, labels: Integer[np.ndarray, ...]) -> Int64[np.ndarray, " images"]:
    if labels.dtype.kind not in "iu" or labels.ndim != 1 or (labels.size and labels.max() > 9):
        raise DataError(f"{path}: {key} must hold whole numbers in 0…9, one for each image")
    return labels.astype(np.int64)


def _unpacked(
    path: Path, members: tuple[str, ...]
) -> tuple[UInt8[np.ndarray, "images 3 32 32"], Int64[np.ndarray, " images"]]:
    parts: list[bytes] = []
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in members:
                file = archive.extractfile(member)
                if file is None:
                    raise KeyError(member)
                parts.append(file.read())
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise DataError(f"{path}: must be CIFAR-10's archive of plain bytes ({error})") from None
    records = np.frombuffer(b"".join(parts), np.uint8)
    if records.size % RECORD:
        raise DataError(f"{path}: needs records of {RECORD} bytes, found {records.size} bytes in all")
    records = records.reshape(-1, RECORD)
    return records[:, 1:].reshape(-1, *SHAPE), _labels(path, "labels", records[:, 0])


def _rows(images: UInt8[np.ndarray, "images 3 32 32"]) -> Float32[np.ndarray, "images 3072"]:
    # A quotient, as of every image here: only so do 0 and 255 become exactly 0 and 1.
    return np.divide(images.reshape(len(images), -1), 255, dtype=np.float32)
