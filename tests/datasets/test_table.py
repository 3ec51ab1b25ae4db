"""The table of data sets, and what the two without files hold."""

import hashlib
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from neuro_eq.datasets import DATASETS, load_data
from neuro_eq.errors import DataError


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("mnits", r"""data: no data set 'mnits'; did you mean "mnist"\?"""),
        (
            "imagenet",
            r"data: no data set 'imagenet'; known: digits, mnist, fashion-mnist, cifar10, sst2, sst2-dev, xor, "
            r"npz:PATH",
        ),
        ("digits:small", r"data: no data set 'digits:small'; did you mean .*"),
        ("", r"data: no data set ''; known: digits, .*"),
        ("npz", r"data: 'npz' names no file; write npz:PATH"),
        ("npz:", r"data: 'npz:' names no file; write npz:PATH"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(name, sentence):
    with pytest.raises(DataError) as caught:
        load_data(name)
    assert re.fullmatch(sentence, str(caught.value))


def test_every_data_set_has_a_description_of_one_line():
    for entry in DATASETS.values():
        assert entry.description
        assert "\n" not in entry.description


def test_the_table_needs_no_heavy_library():
    code = (
        "import sys, neuro_eq.datasets;"
        "print([m for m in ('sklearn', 'pooch', 'requests', 'rich', 'torch', 'numba') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_digits_are_scaled_images_with_labels():
    data = load_data("digits")
    assert (data.name, data.classes, data.outputs, data.image_shape) == ("digits", 10, 10, (8, 8))
    assert data.x_train.shape == (1437, 64)
    assert data.x_test.shape == (360, 64)
    for x in (data.x_train, data.x_test):
        assert x.dtype == np.float32
        assert (x.min(), x.max()) == (0.0, 1.0)
        # The pixels are sixteenths.
        np.testing.assert_array_equal(x * 16, np.round(x * 16))
    assert data.y_train.dtype == data.y_test.dtype == np.int64


def test_the_split_of_digits_is_stratified_and_loses_no_sample():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    data = load_data("digits")
    images, labels = sklearn_datasets.load_digits(return_X_y=True)
    for label in range(10):
        share = np.sum(data.y_test == label) / np.sum(labels == label)
        assert share == pytest.approx(0.2, abs=1 / np.sum(labels == label))
    ours = np.column_stack([np.vstack([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])])
    theirs = np.column_stack([images / 16, labels])
    np.testing.assert_array_equal(np.unique(ours, axis=0), np.unique(theirs, axis=0))
    assert len(ours) == len(theirs)


def test_the_split_of_digits_is_the_same_for_every_seed_and_on_every_machine():
    one, two = load_data("digits", seed=1), load_data("digits", seed=2)
    np.testing.assert_array_equal(one.x_train, two.x_train)
    np.testing.assert_array_equal(one.y_test, two.y_test)
    # Published accuracies are of this split: if this changes, they are no longer comparable.
    assert hashlib.md5(one.y_train.astype("<i8").tobytes()).hexdigest() == "b4bc2602988bc4ce8ce7c02f4ef3d84b"
    assert hashlib.md5(one.y_test.astype("<i8").tobytes()).hexdigest() == "1a6bdb4d5daeef11d77a1c71e47cddf4"


def test_the_first_digits_hold_all_classes():
    data = load_data("digits").subset(train=100, test=60)
    assert set(data.y_train) == set(data.y_test) == set(range(10))


def test_xor_is_the_exclusive_or():
    data = load_data("xor")
    assert (data.classes, data.image_shape, data.x_train.dtype) == (2, None, np.float32)
    assert {(a, b): y for (a, b), y in zip(data.x_train.tolist(), data.y_train.tolist(), strict=True)} == {
        (a, b): int(a) ^ int(b) for a in (0.0, 1.0) for b in (0.0, 1.0)
    }
    np.testing.assert_array_equal(data.x_train, data.x_test)
    np.testing.assert_array_equal(data.y_train, data.y_test)


def test_a_data_set_cannot_be_changed():
    data = load_data("xor")
    with pytest.raises(FrozenInstanceError):
        data.classes = 3  # type: ignore[misc]
