"""What every loader returns: the samples of one data set, split in train and test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from neuro_eq.errors import DataError

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions in the split ``(n,)`` int64, samples ``(n, features)``, targets ``(n,)`` or ``(n, values)``."""


@dataclass(frozen=True, eq=False)
class Data:
    """A data set, checked when it is made.

    Attributes:
        name: what it was loaded as.
        x_train: training samples, one row each; images lie in [0, 1].
        y_train: class labels ``(n,)`` from 0, or float32 targets ``(n, values)`` when ``classes`` is None.
        x_test: test samples, as wide as those for training.
        y_test: their labels or targets.
        classes: the number of classes; None for regression.
        image_shape: the shape of one sample before its row was made, when it had one.
        vocabulary: the words by their ids, where a sample is a row of ids; 0 means that there is no word.

    Raises:
        DataError: the arrays do not fit each other or hold what they must not.
    """

    name: str
    x_train: Float32[np.ndarray, "train features"]
    y_train: Int64[np.ndarray, " train"] | Float32[np.ndarray, "train values"]
    x_test: Float32[np.ndarray, "test features"]
    y_test: Int64[np.ndarray, " test"] | Float32[np.ndarray, "test values"]
    classes: int | None
    image_shape: tuple[int, ...] | None = None
    vocabulary: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for key in ("x_train", "y_train", "x_test", "y_test"):
            if not isinstance(getattr(self, key), np.ndarray):
                raise self._problem(f"{key} must be a NumPy array, found {type(getattr(self, key)).__name__}")
        if self.classes is not None and not _is_count(self.classes):
            raise self._problem(f"classes must be a whole number, or None for values to fit, found {self.classes!r}")
        for part in ("train", "test"):
            x, y = self._part(part)
            self._check_samples(f"x_{part}", x)
            if self.classes is None:
                self._check_values(f"y_{part}", y)
            else:
                self._check_labels(f"y_{part}", y, self.classes)
            if len(x) != len(y):
                raise self._problem(f"x_{part} has {_samples(len(x))}, but y_{part} has {len(y)}")
        for key, train, test in (("x", self.x_train, self.x_test), ("y", self.y_train, self.y_test)):
            if train.shape[1:] != test.shape[1:]:
                raise self._problem(
                    f"a sample of {key}_test must be as wide as one of {key}_train,"
                    f" found {test.shape[1]} and {train.shape[1]} values"
                )
        if self.image_shape is not None and int(np.prod(self.image_shape)) != self.features:
            raise self._problem(
                f"an image of shape {list(self.image_shape)} does not have the {self.features} values of a sample"
            )

    @property
    def features(self) -> int:
        """The width of a sample."""
        return int(self.x_train.shape[1])

    @property
    def outputs(self) -> int:
        """How many values a network has to answer with: the classes, or the width of a target."""
        return int(self.y_train.shape[1]) if self.classes is None else self.classes

    def batches(self, size: int, rng: np.random.Generator | None, train: bool = True) -> Iterator[Batch]:
        """One pass over a split, ``size`` samples at a time; the last batch may be smaller.

        Args:
            size: samples in a batch, at least 1.
            rng: shuffles the pass; None keeps the samples in their order.
            train: the training samples or those for the test.

        Returns:
            An iterator over ``(positions in the split, x, y)``; the arrays are copies.

        Raises:
            DataError: ``size`` is not a positive whole number.
        """
        # Checked here and not in the generator, which would wait for the first batch to be asked for.
        if not _is_count(size) or size < 1:
            raise self._problem(f"a batch needs a whole number of samples, at least 1, found {size!r}")
        x, y = self._part("train" if train else "test")
        order = np.arange(len(x)) if rng is None else rng.permutation(len(x))
        return _slices(order.astype(np.int64, copy=False), size, x, y)

    def subset(self, train: int | None = None, test: int | None = None) -> Data:
        """The first ``train`` and ``test`` samples; None keeps all of them.

        Raises:
            DataError: more samples are asked for than there are, or fewer than one.
        """
        counts = {}
        for part, count in (("train", train), ("test", test)):
            there = len(self._part(part)[0])
            counts[part] = there if count is None else count
            if not _is_count(counts[part]) or not 1 <= counts[part] <= there:
                raise self._problem(f"{part} samples must be a whole number in 1…{there}, found {count!r}")
        return replace(
            self,
            x_train=self.x_train[: counts["train"]],
            y_train=self.y_train[: counts["train"]],
            x_test=self.x_test[: counts["test"]],
            y_test=self.y_test[: counts["test"]],
        )

    def _part(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        return (self.x_train, self.y_train) if part == "train" else (self.x_test, self.y_test)

    def _problem(self, sentence: str) -> DataError:
        return DataError(f"{self.name}: {sentence}")

    def _check_samples(self, key: str, x: np.ndarray) -> None:
        if x.dtype != np.float32 or x.ndim != 2:
            raise self._problem(f"{key} must be float32 of shape (samples, features), found {_seen(x)}")
        if 0 in x.shape:
            raise self._problem(f"{key} is empty, found shape {list(x.shape)}")
        self._check_finite(key, x)

    def _check_labels(self, key: str, y: np.ndarray, classes: int) -> None:
        if y.dtype != np.int64 or y.ndim != 1:
            raise self._problem(f"{key} must hold int64 labels of shape (samples,), found {_seen(y)}")
        if y.size and not (y.min() >= 0 and y.max() < classes):
            wrong = y.min() if y.min() < 0 else y.max()
            raise self._problem(f"{key} must hold labels in 0…{classes - 1}, found {wrong}")

    def _check_values(self, key: str, y: np.ndarray) -> None:
        if y.dtype != np.float32 or y.ndim != 2:
            raise self._problem(f"{key} must hold float32 targets of shape (samples, values), found {_seen(y)}")
        if y.shape[1] == 0:
            raise self._problem(f"{key} has no values, found shape {list(y.shape)}")
        self._check_finite(key, y)

    def _check_finite(self, key: str, array: np.ndarray) -> None:
        finite = np.isfinite(array)
        if not finite.all():
            wrong = array.size - int(np.count_nonzero(finite))
            sample = int(np.argmin(finite.all(axis=1)))
            raise self._problem(
                f"{key} must hold numbers that are finite in float32,"
                f" found {wrong} that are not, the first in sample {sample}"
            )


def _is_count(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _samples(count: int) -> str:
    return f"{count} sample" if count == 1 else f"{count} samples"


def _seen(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {list(array.shape)}"


def _slices(order: np.ndarray, size: int, x: np.ndarray, y: np.ndarray) -> Iterator[Batch]:
    for start in range(0, len(order), size):
        index = order[start : start + size]
        yield index, x[index], y[index]
