"""The data sets that need no file: scikit-learn's digits and the exclusive or."""

from __future__ import annotations

import math

import numpy as np

from neuro_eq.datasets.data import Data

DIGITS_SPLIT_SEED = 0
"""Which digits are test samples.  No run can choose it, so that accuracies of different runs can be compared."""

DIGITS_TEST_SHARE = 0.2


def load_digits() -> Data:
    """scikit-learn's 1797 digits of 8×8 pixels, scaled by 1/16: 1437 for training and 360 for the test.

    The split is stratified, shuffled, and always the same one.
    """
    from sklearn import datasets

    images, labels = datasets.load_digits(return_X_y=True)
    train, test = stratified_split(labels, DIGITS_TEST_SHARE, DIGITS_SPLIT_SEED)
    x = (images / 16.0).astype(np.float32)
    y = labels.astype(np.int64)
    return Data("digits", x[train], y[train], x[test], y[test], classes=10, image_shape=(8, 8))


def load_xor() -> Data:
    """The exclusive or of two bits; its four samples are both training and test."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([0, 1, 1, 0], np.int64)
    return Data("xor", x, y, x.copy(), y.copy(), classes=2)


def stratified_split(labels: np.ndarray, test_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the test samples, both shuffled.

    Each class gives its share to the test, rounded so that the shares add up to ``test_share · n``, itself rounded up.
    """
    # RandomState's numbers are frozen, a Generator's may change with NumPy; scikit-learn's splitter takes seconds to
    # import.
    rng = np.random.RandomState(seed)
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * test_share
    take = np.floor(exact).astype(int)
    missing = math.ceil(test_share * len(labels)) - int(take.sum())
    take[np.argsort(take - exact, kind="stable")[:missing]] += 1
    test = np.concatenate(
        [rng.permutation(np.flatnonzero(labels == label))[:n] for label, n in zip(classes, take, strict=True)]
    )
    train = np.setdiff1d(np.arange(len(labels)), test)
    return rng.permutation(train), rng.permutation(test)
