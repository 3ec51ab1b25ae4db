"""SST-2, whole sentences: reviews of films that are for or against (Socher et al., 2013)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int64

from neuro_eq.datasets.data import Data
from neuro_eq.datasets.download import fetch
from neuro_eq.datasets.folder import FOLDER_VARIABLE, own_files
from neuro_eq.datasets.words import Vocabulary
from neuro_eq.errors import DataError

TRAIN, DEV, TEST = "train.tsv", "dev.tsv", "test.tsv"

URL = "https://github.com/clairett/pytorch-sentiment-classification/raw/master/data/SST2/"
"""The folder on the server: the sentences of the treebank, split, in lower case, one and its label on a line."""

SHA256 = {
    TRAIN: "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
    DEV: "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
    TEST: "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
}

LENGTH = 56
"""Words of a sample; the longest sentence has 53."""


def load_sst2() -> Data:
    """SST-2: 6920 sentences for training and 1821 for the test, 56 ids each; what is once in the former is unknown."""
    return _load("sst2", TEST)


def load_sst2_dev() -> Data:
    """SST-2 for choosing: the same for training, and tested on the 872 sentences that are meant for it."""
    return _load("sst2-dev", DEV)


def _load(name: str, tested: str) -> Data:
    files = own_files(name, "sst2", (TRAIN, tested))
    if files is None:
        files = {file: fetch("sst2", URL + file, SHA256[file], FOLDER_VARIABLE) for file in (TRAIN, tested)}
    train, y_train = _read(files[TRAIN])
    test, y_test = _read(files[tested])
    vocabulary = Vocabulary.of(train)
    return Data(
        name,
        x_train=vocabulary.encode(train, LENGTH),
        y_train=y_train,
        x_test=vocabulary.encode(test, LENGTH),
        y_test=y_test,
        classes=2,
        vocabulary=vocabulary.words,
    )


def _read(path: Path) -> tuple[list[str], Int64[np.ndarray, " sentences"]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: must be text in UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
    sentences: list[str] = []
    labels: list[int] = []
    for number, line in enumerate(lines, start=1):
        sentence, _, label = line.rpartition("\t")
        if not sentence.strip() or label not in ("0", "1"):
            raise DataError(f"{path}: line {number} must be a sentence, a tab, and 0 or 1, found {line[:40]!r}")
        sentences.append(sentence)
        labels.append(int(label))
    return sentences, np.array(labels, dtype=np.int64)
