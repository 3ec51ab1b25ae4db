"""MNIST and Fashion-MNIST: four idx files in the canonical split, from the user's folder or through pooch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuro_eq.datasets.data import Data
from neuro_eq.datasets.download import fetch
from neuro_eq.datasets.folder import FOLDER_VARIABLE, own_files
from neuro_eq.datasets.idx import read_idx
from neuro_eq.errors import DataError

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"


@dataclass(frozen=True)
class Source:
    """Where the four files of a data set come from.

    Attributes:
        url: the folder on the server, with a slash at its end.
        sha256: file name to the hash of the published ``.gz``.  Anyone may pack the same images otherwise (Debian
            does), so these hold for downloads only and never for a user's own folder.
    """

    url: str
    sha256: Mapping[str, str]


# Each hash was computed from an archive rebuilt out of the unpacked file (gzip -6, the original name and time in its
# header) until its md5 was the one that torchvision pins, and agrees with the sha256 that others publish.
SOURCES: dict[str, Source] = {
    "mnist": Source(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            TRAIN_IMAGES: "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            TRAIN_LABELS: "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            TEST_IMAGES: "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            TEST_LABELS: "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion-mnist": Source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            TRAIN_IMAGES: "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            TRAIN_LABELS: "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            TEST_IMAGES: "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            TEST_LABELS: "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
}


def load_mnist() -> Data:
    """MNIST: 60000 and 10000 digits of 28×28 pixels."""
    return _load("mnist")


def load_fashion_mnist() -> Data:
    """Fashion-MNIST: 60000 and 10000 pieces of clothing of 28×28 pixels."""
    return _load("fashion-mnist")


def _load(name: str) -> Data:
    files = _files(name)
    train, test = read_idx(files[TRAIN_IMAGES], 3), read_idx(files[TEST_IMAGES], 3)
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{files[TEST_IMAGES]}: images must have the training images' {_size(train)} pixels, found {_size(test)}"
        )
    return Data(
        name,
        x_train=_rows(train),
        y_train=_labels(files[TRAIN_LABELS], files[TRAIN_IMAGES], len(train)),
        x_test=_rows(test),
        y_test=_labels(files[TEST_LABELS], files[TEST_IMAGES], len(test)),
        classes=10,
        image_shape=train.shape[1:],
    )


def _files(name: str) -> dict[str, Path]:
    source = SOURCES[name]
    own = own_files(name, name, tuple(source.sha256))
    if own is not None:
        return own
    return {file: fetch(name, source.url + file, digest, FOLDER_VARIABLE) for file, digest in source.sha256.items()}


def _rows(images: np.ndarray) -> np.ndarray:
    # A quotient, not a product with 1/255: only so do 0 and 255 become exactly 0 and 1.
    return np.divide(images.reshape(len(images), -1), 255, dtype=np.float32)


def _labels(path: Path, images: Path, count: int) -> np.ndarray:
    labels = read_idx(path, 1)
    if len(labels) != count:
        raise DataError(f"{path}: needs a label for each of the {count} images in {images.name}, found {len(labels)}")
    if labels.size and labels.max() > 9:
        raise DataError(f"{path}: labels must lie in 0…9, found {labels.max()}")
    return labels.astype(np.int64)


def _size(images: np.ndarray) -> str:
    return "×".join(map(str, images.shape[1:]))
