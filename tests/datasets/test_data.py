"""Batches, subsets, and the arrays that make no data set."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_eq.datasets import Data
from neuro_eq.errors import DataError


def numbered(train: int = 7, test: int = 3) -> Data:
    """Samples that tell their own position."""
    x = [np.repeat(np.arange(n, dtype=np.float32)[:, None], 4, axis=1) for n in (train, test)]
    return Data("numbered", x[0], np.arange(train) % 3, x[1], np.arange(test) % 3, classes=3, image_shape=(2, 2))


@given(samples=st.integers(1, 40), size=st.integers(1, 50), seed=st.integers(0, 2**32), train=st.booleans())
def test_a_pass_meets_every_sample_once_and_only_its_last_batch_is_smaller(samples, size, seed, train):
    data = numbered(train=samples, test=samples + 1)
    split = (data.x_train, data.y_train) if train else (data.x_test, data.y_test)
    count = len(split[0])
    batches = list(data.batches(size, np.random.default_rng(seed), train=train))
    assert [len(index) for index, _, _ in batches[:-1]] == [size] * (len(batches) - 1)
    assert 1 <= len(batches[-1][0]) <= size
    assert sorted(np.concatenate([index for index, _, _ in batches])) == list(range(count))
    for index, x, y in batches:
        assert index.dtype == np.int64
        np.testing.assert_array_equal(x, split[0][index])
        np.testing.assert_array_equal(y, split[1][index])


def test_the_order_is_the_generators_and_new_in_each_pass():
    data = numbered(train=50)
    rng = np.random.default_rng(3)
    first, second = ([index.tolist() for index, _, _ in data.batches(8, rng)] for _ in range(2))
    again = [index.tolist() for index, _, _ in data.batches(8, np.random.default_rng(3))]
    assert first == again
    assert first != second


def test_without_a_generator_the_order_stays():
    assert [index.tolist() for index, _, _ in numbered().batches(3, None)] == [[0, 1, 2], [3, 4, 5], [6]]


def test_a_batch_is_a_copy():
    data = numbered()
    _, x, y = next(data.batches(7, None))
    x[:] = -1
    y[:] = -1
    np.testing.assert_array_equal(data.x_train[:, 0], np.arange(7))
    assert data.y_train.min() == 0


@pytest.mark.parametrize("size", [0, -1, 2.0, True, None])
def test_a_batch_size_that_is_none_is_refused_before_the_first_batch(size):
    with pytest.raises(DataError, match=r"^numbered: a batch needs a whole number of samples, at least 1, found "):
        numbered().batches(size, None)


def test_a_subset_is_the_first_of_each():
    data = numbered().subset(train=2, test=1)
    assert (data.x_train.shape, data.x_test.shape, data.classes, data.name) == ((2, 4), (1, 4), 3, "numbered")
    np.testing.assert_array_equal(data.x_train[:, 0], [0, 1])
    whole = numbered().subset(test=2)
    assert (len(whole.x_train), len(whole.x_test)) == (7, 2)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"train": 8}, "numbered: train samples must be a whole number in 1…7, found 8"),
        ({"train": 0}, "numbered: train samples must be a whole number in 1…7, found 0"),
        ({"test": -1}, "numbered: test samples must be a whole number in 1…3, found -1"),
        ({"test": 1.5}, "numbered: test samples must be a whole number in 1…3, found 1.5"),
    ],
)
def test_a_subset_of_what_is_not_there_is_refused(asked, sentence):
    with pytest.raises(DataError, match=f"^{re.escape(sentence)}$"):
        numbered().subset(**asked)


NAN = np.full((7, 4), np.nan, np.float32)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x_train": np.zeros((7, 4))}, "x_train must be float32 of shape (samples, features), found float64 of"),
        ({"x_train": np.zeros((7, 2, 2), np.float32)}, "x_train must be float32 of shape (samples, features), found"),
        ({"x_train": np.zeros((0, 4), np.float32)}, "x_train is empty, found shape [0, 4]"),
        ({"x_train": NAN}, "x_train must hold numbers that are finite in float32, found 28 that are not, the first in"),
        ({"x_train": np.zeros((1, 4), np.float32)}, "x_train has 1 sample, but y_train has 7"),
        ({"x_test": np.zeros((3, 5), np.float32)}, "a sample of x_test must be as wide as one of x_train, found 5 and"),
        ({"y_test": np.array([0, 1, 3])}, "y_test must hold labels in 0…2, found 3"),
        ({"y_test": np.array([0, -1, 1])}, "y_test must hold labels in 0…2, found -1"),
        ({"y_test": np.zeros(3)}, "y_test must hold int64 labels of shape (samples,), found float64 of shape [3]"),
        ({"classes": None}, "y_train must hold float32 targets of shape (samples, values), found int64 of shape [7]"),
        ({"image_shape": (3, 3)}, "an image of shape [3, 3] does not have the 4 values of a sample"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, sentence):
    with pytest.raises(DataError) as caught:
        replace(numbered(), **change)
    assert str(caught.value).startswith(f"numbered: {sentence}")


def test_the_first_sample_that_is_not_finite_is_named():
    x = numbered().x_train.copy()
    x[5, 1] = np.inf
    with pytest.raises(DataError, match="found 1 that are not, the first in sample 5"):
        replace(numbered(), x_train=x)
