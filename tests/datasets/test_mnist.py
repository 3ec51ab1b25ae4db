"""The idx files: the real ones where they are at hand, damaged ones, and what comes through the network."""

import gzip
import hashlib
import http.server
import os
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pooch
import pytest

from neuro_eq.datasets import load_data
from neuro_eq.datasets.idx import read_idx
from neuro_eq.datasets.mnist import SOURCES, TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS, Source
from neuro_eq.errors import DataError

UNPACKED_MD5 = {
    "mnist": {
        TRAIN_IMAGES: "6bbc9ace898e44ae57da46a324031adb",
        TRAIN_LABELS: "a25bea736e30d166cdddb491f175f624",
        TEST_IMAGES: "2646ac647ad5339dbf082846283269ea",
        TEST_LABELS: "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion-mnist": {
        TRAIN_IMAGES: "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        TRAIN_LABELS: "9018921c3c673c538a1fc5bad174d6f9",
        TEST_IMAGES: "8181f5470baa50b63fa0f6fddb340f0a",
        TEST_LABELS: "15d484375f8d13e6eb1aabb0c3f46965",
    },
}


def header(*shape: int, magic: bytes = b"\0\0\x08") -> bytes:
    return magic + bytes([len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)


def idx(array: np.ndarray) -> bytes:
    return gzip.compress(header(*array.shape) + array.tobytes(), mtime=0)


def write_small_set(folder: Path, train: int = 5, test: int = 3) -> Path:
    """A folder laid out as the canonical files are, with a few images of 2×3 pixels."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for count, images, labels in ((train, TRAIN_IMAGES, TRAIN_LABELS), (test, TEST_IMAGES, TEST_LABELS)):
        pixels = rng.integers(0, 256, (count, 2, 3), np.uint8)
        pixels[0, 0, :2] = 0, 255
        (folder / images).write_bytes(idx(pixels))
        (folder / labels).write_bytes(idx(np.arange(count, dtype=np.uint8)))
    return folder


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The ``mnist`` folder of a user who set ``NEURO_EQ_DATA``."""
    monkeypatch.setenv("NEURO_EQ_DATA", str(tmp_path))
    return write_small_set(tmp_path / "mnist")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_files_are_read_bit_by_bit(name):
    root = os.environ.get("NEURO_EQ_DATA")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"NEURO_EQ_DATA names no folder with {name}/ in it")
    data = load_data(name)
    assert (data.name, data.classes, data.image_shape) == (name, 10, (28, 28))
    found = {}
    for x, y, images, labels in (
        (data.x_train, data.y_train, TRAIN_IMAGES, TRAIN_LABELS),
        (data.x_test, data.y_test, TEST_IMAGES, TEST_LABELS),
    ):
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
        assert (x.min(), x.max()) == (0.0, 1.0)
        pixels = np.rint(x * 255).astype(np.uint8)
        found[images] = hashlib.md5(header(len(x), 28, 28) + pixels.tobytes()).hexdigest()
        found[labels] = hashlib.md5(header(len(y)) + y.astype(np.uint8).tobytes()).hexdigest()
    assert found == UNPACKED_MD5[name]
    assert (len(data.x_train), len(data.x_test)) == (60000, 10000)


def test_pixels_are_rows_in_the_unit_interval(own):
    data = load_data("mnist")
    assert (data.x_train.shape, data.x_test.shape, data.image_shape) == ((5, 6), (3, 6), (2, 3))
    np.testing.assert_array_equal(data.x_train[0, :2], [0.0, 1.0])
    pixels = read_idx(own / TRAIN_IMAGES, 3)
    np.testing.assert_array_equal(data.x_train, (pixels.reshape(5, 6) / 255).astype(np.float32))
    assert data.y_train.tolist() == [0, 1, 2, 3, 4]


def truncated(content: bytes) -> bytes:
    return content[:-12]


def flipped(content: bytes) -> bytes:
    return content[:-6] + bytes([content[-6] ^ 1]) + content[-5:]


def repacked(change):
    return lambda content: gzip.compress(change(gzip.decompress(content)))


@pytest.mark.parametrize(
    ("file", "damage", "sentence"),
    [
        (TRAIN_IMAGES, truncated, "ends too early, a part of the gzip file is missing"),
        (TRAIN_IMAGES, flipped, "must be a gzip file in good order, but its header or its checksum is wrong"),
        (TRAIN_IMAGES, lambda c: c[:10] + b"\xff" * 20, "must be a gzip file in good order, but its compressed bytes"),
        (TRAIN_IMAGES, gzip.decompress, "must be a gzip file in good order, but its header or its checksum is wrong"),
        (TRAIN_IMAGES, lambda _: b"", "must begin with the magic number 0x00000803, found nothing"),
        (TRAIN_IMAGES, lambda _: b"<html>", "must be a gzip file in good order, but its header"),
        (
            TRAIN_IMAGES,
            repacked(lambda c: header(5, 2, 3, magic=b"\0\0\x0d") + c[16:]),
            "must begin with the magic num",
        ),
        (TRAIN_IMAGES, lambda _: idx(np.zeros(5, np.uint8)), "number 0x00000803, found 0x00000801"),
        (TRAIN_LABELS, lambda _: idx(np.zeros((5, 2, 3), np.uint8)), "number 0x00000801, found 0x00000803"),
        (TRAIN_IMAGES, repacked(lambda c: c[:9]), "needs a header of 16 bytes, found 9"),
        (TRAIN_IMAGES, repacked(lambda c: c[:-1]), "its header promises 5×2×3 = 30 bytes, found 29 after it"),
        (TRAIN_IMAGES, repacked(lambda c: c + b"\0"), "its header promises 5×2×3 = 30 bytes, found 31 after it"),
        (TEST_LABELS, lambda _: idx(np.zeros(4, np.uint8)), f"each of the 3 images in {TEST_IMAGES}, found 4"),
        (TEST_LABELS, lambda _: idx(np.array([1, 10, 2], np.uint8)), "labels must lie in 0…9, found 10"),
        (TEST_IMAGES, lambda _: idx(np.zeros((3, 6, 1), np.uint8)), "training images' 2×3 pixels, found 6×1"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(own, file, damage, sentence):
    path = own / file
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        load_data("mnist")
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert sentence in message
    assert "\n" not in message


def test_a_folder_in_the_place_of_a_file_is_no_file(own):
    (own / TRAIN_IMAGES).unlink()
    (own / TRAIN_IMAGES).mkdir()
    with pytest.raises(DataError, match=f"^mnist: NEURO_EQ_DATA has no {TRAIN_IMAGES}; put it into "):
        load_data("mnist")


@pytest.mark.parametrize("file", [TRAIN_IMAGES, TEST_LABELS])
def test_a_file_missing_in_the_users_folder_is_not_fetched_in_secret(own, file):
    (own / file).unlink()
    with pytest.raises(DataError) as caught:
        load_data("mnist")
    assert str(caught.value) == f"mnist: NEURO_EQ_DATA has no {file}; put it into {own}"


def test_a_folder_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("NEURO_EQ_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match=r"^NEURO_EQ_DATA: must name a folder with mnist/ in it, found '.*nowhere'"):
        load_data("mnist")


class Server:
    """A folder served over HTTP on this machine, from which ``mnist`` is fetched into ``cache``."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_request(self, *_args: object) -> None:
                asked.append(self.path)

            def log_message(self, *_args: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/"

    def stop(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """No folder of the user's own, an empty cache folder, no proxy on the way to this machine, and no terminal."""
    monkeypatch.delenv("NEURO_EQ_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    folder = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", lambda project: folder / project)
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch, cache):
    served = Server(write_small_set(tmp_path / "served"), cache)
    digests = {f: hashlib.sha256((served.folder / f).read_bytes()).hexdigest() for f in SOURCES["mnist"].sha256}
    monkeypatch.setitem(SOURCES, "mnist", Source(served.url, digests))
    yield served
    served.stop()


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_the_four_files_are_fetched_once(server, capfd):
    first, second = load_data("mnist"), load_data("mnist")
    assert first.x_train.shape == (5, 6)
    np.testing.assert_array_equal(first.x_test, second.x_test)
    assert sorted(server.asked) == sorted(f"/{file}" for file in SOURCES["mnist"].sha256)
    assert files_in(server.cache) == sorted(f"neuro_eq/mnist/{file}" for file in SOURCES["mnist"].sha256)
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_a_bar_shows_the_download(server, monkeypatch, capfd):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    load_data("mnist")
    out, err = capfd.readouterr()
    assert out == ""
    assert TEST_LABELS in err


def test_a_damaged_file_in_the_cache_is_fetched_again(server):
    load_data("mnist")
    cached = server.cache / "neuro_eq" / "mnist" / TEST_LABELS
    good = cached.read_bytes()
    cached.write_bytes(good[:5])
    load_data("mnist")
    assert cached.read_bytes() == good


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"<html>a login page</html>"), "what 127.0.0.1 sent has the wrong sha256"),
        (lambda path: path.unlink(), "127.0.0.1 answers 404"),
    ],
)
def test_a_wrong_file_from_the_network_is_not_kept(server, damage, reason):
    damage(server.folder / TRAIN_LABELS)
    with pytest.raises(DataError) as caught:
        load_data("mnist")
    assert str(caught.value) == (
        f"mnist: cannot fetch {TRAIN_LABELS} ({reason}); put it into FOLDER/mnist/ and set NEURO_EQ_DATA=FOLDER"
    )
    assert files_in(server.cache) == [f"neuro_eq/mnist/{TRAIN_IMAGES}"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_offline_one_sentence_says_which_file_belongs_where(tmp_path, monkeypatch, cache, elsewhere):
    if elsewhere:
        # A folder that holds other data sets does not keep this one from the network.
        write_small_set(tmp_path / "own" / "fashion-mnist")
        monkeypatch.setenv("NEURO_EQ_DATA", str(tmp_path / "own"))
    monkeypatch.setitem(SOURCES, "mnist", Source("http://127.0.0.1:9/", SOURCES["mnist"].sha256))
    start = time.monotonic()
    with pytest.raises(DataError) as caught:
        load_data("mnist")
    assert time.monotonic() - start < 5
    assert str(caught.value) == (
        f"mnist: cannot fetch {TRAIN_IMAGES} (no connection to 127.0.0.1);"
        " put it into FOLDER/mnist/ and set NEURO_EQ_DATA=FOLDER"
    )
    assert caught.value.__suppress_context__
    assert files_in(cache) == []


def test_a_cache_folder_that_cannot_be_written_is_named(monkeypatch, cache, tmp_path):
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(DataError) as caught:
        load_data("mnist")
    assert str(caught.value).startswith(f"mnist: cannot fetch {TRAIN_IMAGES} (cannot write ")
    assert "\n" not in str(caught.value)


def test_a_download_is_pinned_by_sha256():
    for source in SOURCES.values():
        assert set(source.sha256) == {TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS}
        assert all(len(bytes.fromhex(digest)) == 32 for digest in source.sha256.values())
        assert source.url.endswith("/")
