"""A data set of the user's own: one ``.npz`` file with ``x_train``, ``y_train``, ``x_test`` and ``y_test``."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from neuro_eq.datasets.data import Data
from neuro_eq.errors import DataError, did_you_mean

KEYS = ("x_train", "y_train", "x_test", "y_test")
ZIP_BEGINS = (b"PK\x03\x04", b"PK\x05\x06")


def load_npz(path: str) -> Data:
    """The four arrays of an ``.npz`` file; Python objects in it are never loaded.

    ``x`` has its samples along the first axis and becomes float32 rows.  A sample of two or more axes is an image: its
    shape is kept, and unsigned bytes are scaled by 1/255.  ``y`` holds labels when its type is an integer, and the
    targets of a regression when it is floating.

    Raises:
        DataError: the file is missing or damaged, or its arrays are not a data set.
    """
    arrays = read_arrays(path)
    x_train, x_test = arrays["x_train"], arrays["x_test"]
    for key in KEYS:
        if arrays[key].ndim == 0:
            raise DataError(f"{path}: {key} must be an array with one entry for each sample, found a single value")
    for key, x in (("x_train", x_train), ("x_test", x_test)):
        if x.dtype.kind not in "biuf":
            raise DataError(f"{path}: {key} must hold real numbers, found the type {x.dtype}")
    shape = x_train.shape[1:]
    if x_test.shape[1:] != shape:
        raise DataError(
            f"{path}: a sample of x_test must have the shape {list(shape)} of one of x_train,"
            f" found {list(x_test.shape[1:])}"
        )
    if (x_train.dtype == np.uint8) != (x_test.dtype == np.uint8):
        raise DataError(
            f"{path}: x_test must be scaled as x_train is, but one of them holds unsigned bytes and the other does not,"
            f" found {x_train.dtype} and {x_test.dtype}"
        )
    y_train, y_test, classes = _targets(path, arrays["y_train"], arrays["y_test"])
    return Data(
        f"npz:{path}",
        x_train=_samples(x_train),
        y_train=y_train,
        x_test=_samples(x_test),
        y_test=y_test,
        classes=classes,
        image_shape=shape if len(shape) >= 2 else None,
    )


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """The four arrays of an ``.npz`` file.

    Raises:
        DataError: the file is missing or damaged, or an array is not in it.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        found = "a folder" if file.is_dir() else "no such file"
        raise DataError(f"{path}: must be an .npz file, found {found}")
    arrays: dict[str, np.ndarray] = {}
    key = "the archive"
    try:
        # The stream is ours to close: numpy leaves the files open that it opens and then cannot read.
        with file.open("rb") as stream:
            _check_archive(path, stream)
            with np.load(stream, allow_pickle=False) as archive:
                for key in KEYS:
                    arrays[key] = _array(path, key, archive)
    except MemoryError:
        raise DataError(f"{path}: {key} does not fit into this machine's memory") from None
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{path}: {key} must hold numbers, found Python objects, which are refused because loading them can run"
                " any program"
            ) from None
        raise DataError(f"{path}: {key} cannot be read, the file is damaged ({_one_line(error)})") from None
    return arrays


def _check_archive(path: str, stream: BinaryIO) -> None:
    # numpy goes by the first bytes alone, and takes what does not begin as an archive for a pickle.
    begins = stream.read(len(ZIP_BEGINS[0])) in ZIP_BEGINS
    if not begins or not zipfile.is_zipfile(stream):
        raise DataError(f"{path}: must be an .npz file as numpy.savez writes it, but it is no such archive")
    stream.seek(0)


def _array(path: str, key: str, archive: np.lib.npyio.NpzFile) -> np.ndarray:
    if key not in archive.files:
        others = [name for name in archive.files if name not in KEYS and name.isprintable()]
        raise DataError(f"{path}: has no array {key}" + did_you_mean(key, others))
    array = archive[key]
    # An archive's entry that is no array comes back as bytes.
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: {key} must be an array, found a file of another kind")
    return array


def _one_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _samples(x: np.ndarray) -> np.ndarray:
    rows = x.reshape(len(x), math.prod(x.shape[1:]))
    if x.dtype == np.uint8 and x.ndim >= 3:
        return np.divide(rows, 255, dtype=np.float32)
    return _float32(rows)


def _float32(values: np.ndarray) -> np.ndarray:
    # What float32 cannot hold becomes infinite, and Data refuses it by its sample.
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, np.float32)


def _targets(path: str, train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, int | None]:
    for key, y in (("y_train", train), ("y_test", test)):
        if y.dtype.kind not in "iuf":
            raise DataError(f"{path}: {key} must hold integer labels or floating targets, found the type {y.dtype}")
    if (train.dtype.kind == "f") != (test.dtype.kind == "f"):
        raise DataError(
            f"{path}: y_train and y_test must both hold integer labels or both floating targets,"
            f" found {train.dtype} and {test.dtype}"
        )
    if train.dtype.kind == "f":
        return _values(path, "y_train", train), _values(path, "y_test", test), None
    classes = 1 + max(_largest_label(path, "y_train", train), _largest_label(path, "y_test", test))
    if classes > len(train) + len(test):
        raise DataError(
            f"{path}: labels must count the classes from 0, found {classes - 1} among {len(train) + len(test)} samples"
        )
    return train.astype(np.int64), test.astype(np.int64), classes


def _largest_label(path: str, key: str, y: np.ndarray) -> int:
    if y.ndim != 1:
        raise DataError(f"{path}: {key} must hold one integer label for each sample, found shape {list(y.shape)}")
    if not y.size:
        raise DataError(f"{path}: {key} is empty")
    if y.min() < 0:
        raise DataError(f"{path}: {key} must hold labels that count from 0, found {y.min()}")
    return int(y.max())


def _values(path: str, key: str, y: np.ndarray) -> np.ndarray:
    # Labels that became floats somewhere would otherwise be trained on as numbers, without a word.
    if y.ndim == 1 and y.size and np.array_equal(y, np.floor(y)):
        raise DataError(
            f"{path}: {key} holds whole numbers of the type {y.dtype}; labels must be of an integer type,"
            f" and targets of a regression of shape ({len(y)}, 1)"
        )
    return _float32(y.reshape(len(y), math.prod(y.shape[1:])))
