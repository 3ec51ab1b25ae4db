"""The data sets a run can name.

    data = neuro_eq.datasets.load_data("digits")
    for index, x, y in data.batches(64, rng): ...

``mnist``, ``fashion-mnist``, ``cifar10`` and ``sst2`` come from the folder that the environment variable
``NEURO_EQ_DATA`` names, and from the network where it has none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from neuro_eq.datasets.builtin import load_digits, load_xor
from neuro_eq.datasets.cifar10 import load_cifar10
from neuro_eq.datasets.data import Batch, Data
from neuro_eq.datasets.mnist import load_fashion_mnist, load_mnist
from neuro_eq.datasets.npz import load_npz
from neuro_eq.datasets.sst2 import load_sst2, load_sst2_dev
from neuro_eq.datasets.words import Vocabulary
from neuro_eq.errors import DataError, did_you_mean

__all__ = ["DATASETS", "Batch", "Data", "DataSet", "Vocabulary", "load_data"]


@dataclass(frozen=True)
class DataSet:
    """One line of the table: what it is, and the function that loads it.

    ``load`` takes nothing, or the path where the name ends in ``:PATH``.
    """

    description: str
    load: Callable[..., Data]


DATASETS: dict[str, DataSet] = {
    "digits": DataSet(
        "1797 handwritten digits of 8×8 pixels, part of scikit-learn (1437 train, 360 test)", load_digits
    ),
    "mnist": DataSet("70000 handwritten digits of 28×28 pixels (60000 train, 10000 test)", load_mnist),
    "fashion-mnist": DataSet("70000 pieces of clothing of 28×28 pixels (60000 train, 10000 test)", load_fashion_mnist),
    "cifar10": DataSet("60000 photographs of 32×32 pixels in colour (50000 train, 10000 test)", load_cifar10),
    "sst2": DataSet("8741 sentences of film reviews, for or against (6920 train, 1821 test)", load_sst2),
    "sst2-dev": DataSet("the same to train, and the 872 sentences to choose by as the test", load_sst2_dev),
    "xor": DataSet("the exclusive or of two bits, 4 samples for both train and test", load_xor),
    "npz:PATH": DataSet("a file of your own with x_train, y_train, x_test and y_test", load_npz),
}
"""The data sets by name."""


def load_data(name: str, seed: int = 0) -> Data:
    """A data set by its name in :data:`DATASETS`, or ``npz:`` and the path of a file.

    Args:
        name: which one.
        seed: the run's seed.  Every data set here is fixed, its split too, and is the same for any seed: runs with
            different seeds are tested on the same samples.

    Raises:
        DataError: there is no such data set, or its files are missing or damaged.
    """
    del seed
    kind, colon, path = name.partition(":")
    if kind == "npz":
        if not path:
            raise DataError(f"data: {name!r} names no file; write npz:PATH")
        return DATASETS["npz:PATH"].load(path)
    if colon or name not in DATASETS:
        raise DataError(f"data: no data set {name!r}" + did_you_mean(name, DATASETS))
    return DATASETS[name].load()
