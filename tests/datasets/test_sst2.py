"""SST-2: the real sentences where they are at hand, damaged files, and what comes through the network."""

import os
from pathlib import Path

import numpy as np
import pytest

from neuro_eq.datasets import Vocabulary, load_data, sst2
from neuro_eq.datasets.words import words_of
from neuro_eq.errors import DataError


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The ``sst2`` folder of a user who set ``NEURO_EQ_DATA``."""
    monkeypatch.setenv("NEURO_EQ_DATA", str(tmp_path))
    folder = tmp_path / "sst2"
    folder.mkdir()
    (folder / "train.tsv").write_text("a good film\t1\na bad film\t0\ngood , good\t1", encoding="utf-8")
    (folder / "dev.tsv").write_text("bad\t0\n", encoding="utf-8")
    (folder / "test.tsv").write_text("a splendid film\t1\nit 's bad\t0\n", encoding="utf-8")
    return folder


def test_sentences_become_ids_of_words_that_are_in_the_training_twice(own):
    data = load_data("sst2")
    assert data.vocabulary == ("", "<unknown>", "good", "a", "film")
    assert (data.classes, data.image_shape, data.features) == (2, None, sst2.LENGTH)
    np.testing.assert_array_equal(data.x_train[:, :4], [[3, 2, 4, 0], [3, 1, 4, 0], [2, 1, 2, 0]])
    np.testing.assert_array_equal(data.x_test[:, :4], [[3, 1, 4, 0], [1, 1, 1, 0]])
    assert not data.x_train[:, 4:].any()
    assert data.y_train.tolist() == [1, 0, 1]
    assert data.y_test.tolist() == [1, 0]
    assert load_data("sst2-dev").y_test.tolist() == [0]
    np.testing.assert_array_equal(load_data("sst2-dev").x_train, data.x_train)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a film\t2\n", r"line 1 must be a sentence, a tab, and 0 or 1, found 'a film\\t2'"),
        (b"a film\t1\n\t0\n", r"line 2 must be a sentence, a tab, and 0 or 1, found '\\t0'"),
        (b"a film 1\n", r"line 1 must be a sentence, a tab, and 0 or 1, found 'a film 1'"),
        (b"\xff\t1\n", r"must be text in UTF-8"),
    ],
)
def test_a_damaged_file_is_named(own, content, sentence):
    (own / "train.tsv").write_bytes(content)
    with pytest.raises(DataError, match=rf"train\.tsv: {sentence}$"):
        load_data("sst2")


def test_a_missing_file_is_named(own):
    (own / "test.tsv").unlink()
    with pytest.raises(DataError, match=r"^sst2: NEURO_EQ_DATA has no test\.tsv; put it into .*sst2$"):
        load_data("sst2")


def test_offline_one_sentence_says_which_file_belongs_where(tmp_path, monkeypatch):
    monkeypatch.delenv("NEURO_EQ_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sst2, "URL", "http://127.0.0.1:9/")
    with pytest.raises(DataError) as caught:
        load_data("sst2-dev")
    assert str(caught.value) == (
        "sst2: cannot fetch train.tsv (no connection to 127.0.0.1); put it into FOLDER/sst2/ and set "
        "NEURO_EQ_DATA=FOLDER"
    )


def test_a_download_is_pinned_by_sha256():
    assert set(sst2.SHA256) == {sst2.TRAIN, sst2.DEV, sst2.TEST}
    assert all(len(bytes.fromhex(digest)) == 32 for digest in sst2.SHA256.values())


def test_the_real_sentences():
    root = os.environ.get("NEURO_EQ_DATA")
    if not root or not (Path(root) / "sst2").is_dir():
        pytest.skip("NEURO_EQ_DATA names no folder with sst2/ in it")
    data, dev = load_data("sst2"), load_data("sst2-dev")
    assert (len(data.x_train), len(dev.x_test), len(data.x_test)) == (6920, 872, 1821)
    vocabulary = Vocabulary(data.vocabulary)
    assert len(vocabulary) == 7206
    for name, ids in (("train", data.x_train), ("dev", dev.x_test), ("test", data.x_test)):
        lines = (Path(root) / "sst2" / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        for line, row in zip(lines, ids, strict=True):
            sentence = line.rpartition("\t")[0]
            # The file is split already, no sentence is cut off, and every known word comes back.
            assert words_of(sentence) == sentence.split()
            words = [word if word in vocabulary._ids else "<unknown>" for word in sentence.split()]
            assert vocabulary.decode(row) == " ".join(words)
