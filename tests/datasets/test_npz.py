"""Data sets of the user's own."""

import io
import pickle
import re
import zipfile

import numpy as np
import pytest

from neuro_eq.datasets import load_data
from neuro_eq.errors import DataError


def arrays(**change):
    rng = np.random.default_rng(0)
    whole = {
        "x_train": rng.normal(size=(6, 4)),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": rng.normal(size=(3, 4)),
        "y_test": np.array([2, 1, 0]),
    }
    whole.update(change)
    return {key: value for key, value in whole.items() if value is not None}


def save(path, **change):
    np.savez(path, **arrays(**change))
    return path


def problem(path) -> str:
    with pytest.raises(DataError) as caught:
        load_data(f"npz:{path}")
    message = str(caught.value)
    assert message.startswith((f"{path}: ", f"npz:{path}: "))
    assert "\n" not in message
    return message.split(f"{path}: ", 1)[1]


def test_a_table_of_numbers_is_kept_as_it_is(tmp_path):
    path = save(tmp_path / "own.npz")
    data = load_data(f"npz:{path}")
    assert (data.name, data.classes, data.image_shape) == (f"npz:{path}", 3, None)
    np.testing.assert_array_equal(data.x_train, arrays()["x_train"].astype(np.float32))
    np.testing.assert_array_equal(data.y_test, [2, 1, 0])
    assert (data.x_train.dtype, data.y_train.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 3)])
def test_images_are_flattened_and_their_shape_is_kept(tmp_path, shape):
    x = np.random.default_rng(1).integers(0, 256, (9, *shape)).astype(np.uint8)
    path = save(tmp_path / "own.npz", x_train=x[:6], x_test=x[6:])
    data = load_data(f"npz:{path}")
    assert data.image_shape == shape
    np.testing.assert_array_equal(data.x_train.reshape(6, *shape), (x[:6] / 255).astype(np.float32))


def test_unsigned_bytes_of_a_table_are_not_taken_for_pixels(tmp_path):
    x = np.arange(36, dtype=np.uint8).reshape(9, 4)
    data = load_data(f"npz:{save(tmp_path / 'own.npz', x_train=x[:6], x_test=x[6:])}")
    np.testing.assert_array_equal(data.x_train, x[:6])


def test_one_number_a_sample_becomes_one_column(tmp_path):
    data = load_data(f"npz:{save(tmp_path / 'own.npz', x_train=np.arange(6.0), x_test=np.arange(3.0))}")
    assert (data.x_train.shape, data.image_shape) == ((6, 1), None)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u8", ">i4"])
def test_labels_of_any_integer_type_become_int64(tmp_path, dtype):
    y = arrays()
    path = save(tmp_path / "own.npz", y_train=y["y_train"].astype(dtype), y_test=y["y_test"].astype(dtype))
    assert load_data(f"npz:{path}").y_train.dtype == np.dtype("int64")


@pytest.mark.parametrize("shape", [(), (1,), (2,), (2, 2)])
def test_floating_targets_make_a_regression(tmp_path, shape):
    y = np.random.default_rng(2).normal(size=(9, *shape))
    data = load_data(f"npz:{save(tmp_path / 'own.npz', y_train=y[:6], y_test=y[6:])}")
    assert (data.classes, data.y_train.dtype, data.outputs) == (None, np.float32, max(1, int(np.prod(shape))))
    np.testing.assert_array_equal(data.y_test, y[6:].reshape(3, -1).astype(np.float32))


def test_whole_targets_of_a_regression_are_a_column(tmp_path):
    path = save(tmp_path / "own.npz", y_train=np.arange(6.0)[:, None], y_test=np.arange(3.0)[:, None])
    assert load_data(f"npz:{path}").classes is None


NAN = np.full((6, 4), 0.5)
NAN[2, 1] = np.nan
HUGE = np.full((6, 4), 1e300)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x_train": None, "X_train": np.zeros((6, 4))}, 'has no array x_train; did you mean "X_train"?'),
        ({"x_train": None, "images": np.zeros((6, 4))}, "has no array x_train; known: images"),
        ({"y_test": None}, "has no array y_test"),
        ({"y_train": np.array([0, 1])}, "x_train has 6 samples, but y_train has 2"),
        ({"x_test": np.zeros((3, 5))}, "a sample of x_test must have the shape [4] of one of x_train, found [5]"),
        ({"x_train": NAN}, "x_train must hold numbers that are finite in float32, found 1 that are not, the first in "),
        ({"x_train": HUGE}, "x_train must hold numbers that are finite in float32, found 24 that are not"),
        ({"x_train": np.zeros((6, 4), complex)}, "x_train must hold real numbers, found the type complex128"),
        ({"x_train": np.array(["a"] * 6)}, "x_train must hold real numbers, found the type <U1"),
        ({"x_train": np.array(1.0)}, "x_train must be an array with one entry for each sample, found a single value"),
        ({"x_train": np.zeros((0, 4)), "y_train": np.zeros(0, int)}, "y_train is empty"),
        ({"x_train": np.zeros((6, 0)), "x_test": np.zeros((3, 0))}, "x_train is empty, found shape [6, 0]"),
        (
            {"x_train": np.zeros((6, 4), np.uint8)},
            "x_test must be scaled as x_train is, but one of them holds unsigned",
        ),
        ({"y_train": np.array([0, 1, -2, 0, 1, 2])}, "y_train must hold labels that count from 0, found -2"),
        ({"y_train": np.array([0, 1, 2**63, 0, 1, 2], np.uint64)}, "labels must count the classes from 0, found 9223"),
        ({"y_test": np.array([0, 1, 9])}, "labels must count the classes from 0, found 9 among 9 samples"),
        ({"y_test": np.array([0.0, 1.0, 2.0])}, "y_train and y_test must both hold integer labels or both floating"),
        (
            {"y_train": np.array([0.0, 1, 2, 0, 1, 2]), "y_test": np.array([0.0, 1.0, 2.0])},
            "y_train holds whole numbers of the type float64; labels must be of an integer type",
        ),
        ({"y_train": np.eye(6, dtype=int)}, "y_train must hold one integer label for each sample, found shape [6, 6]"),
        ({"y_train": np.array(list("abcdef"))}, "y_train must hold integer labels or floating targets, found the type"),
        (
            {"y_train": np.array([True] * 6)},
            "y_train must hold integer labels or floating targets, found the type bool",
        ),
        (
            {"y_train": np.array([0.5, np.nan] * 3), "y_test": np.array([0.5, 1.5, 2.5])},
            "y_train must hold numbers that are finite in float32, found 3 that are not, the first in sample 1",
        ),
    ],
)
def test_arrays_that_are_no_data_set_are_refused_by_name(tmp_path, change, sentence):
    assert problem(save(tmp_path / "own.npz", **change)).startswith(sentence)


class Trap:
    """Writes down that it was loaded."""

    loaded = False

    def __setstate__(self, state: object) -> None:
        Trap.loaded = True


def test_python_objects_are_refused_and_never_loaded(tmp_path):
    trap = Trap()
    trap.state = 1  # without a state pickle would not call __setstate__
    path = save(tmp_path / "own.npz", x_train=np.array([trap] * 6, dtype=object))
    assert problem(path) == (
        "x_train must hold numbers, found Python objects, which are refused because loading them can run any program"
    )
    assert not Trap.loaded


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    assert problem(tmp_path / "none.npz") == "must be an .npz file, found no such file"
    assert problem(tmp_path) == "must be an .npz file, found a folder"


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize("content", [b"", b"x_train,y_train\n1,2\n", npy(), pickle.dumps({"x_train": 1})])
def test_a_file_of_another_kind_is_no_npz(tmp_path, content):
    path = tmp_path / "own.npz"
    path.write_bytes(content)
    assert problem(path) == "must be an .npz file as numpy.savez writes it, but it is no such archive"


def test_an_archive_of_other_files_is_no_data_set(tmp_path):
    path = tmp_path / "own.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train", "1 2 3")
    assert problem(path) == "x_train must be an array, found a file of another kind"


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_archive_gives_one_sentence_or_the_right_data(tmp_path, compressed):
    path = tmp_path / "own.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays())
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused: list[str] = []
    for _ in range(150):
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(broken))
        try:
            data = load_data(f"npz:{path}")
        except DataError as error:
            refused.append(str(error))
        else:
            np.testing.assert_array_equal(data.x_train, arrays()["x_train"].astype(np.float32))
    assert len(refused) > 20
    for message in refused:
        assert re.fullmatch(rf"(npz:)?{re.escape(str(path))}: [^\n]+", message)
    path.write_bytes(whole[: len(whole) // 2])
    assert "no such archive" in problem(path)
