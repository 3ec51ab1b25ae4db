"""The tokenizer and its vocabulary."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_eq.datasets import Vocabulary
from neuro_eq.datasets.words import words_of
from neuro_eq.errors import DataError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's good, isn't it?", "it 's good , is n't it ?"),
        ("They'd've loved the '70s!", "they 'd 've loved the '70s !"),
        ("``Amélie'' won 10,000 hearts ...", "`` amélie '' won 10,000 hearts . . ."),
        ("rock 'n' roll o'clock can't", "rock 'n' roll o'clock ca n't"),
        ("what?!", "what ?!"),
    ],
)
def test_texts_are_split_as_treebanks_split_them(text, words):
    assert words_of(text) == words.split()


@given(st.text())
def test_nothing_but_space_is_lost_and_a_split_text_stays_as_it_is(text):
    words = words_of(text)
    assert "".join(words) == "".join(text.lower().split())
    assert all(word and not word.isspace() for word in words)


TEXTS = ["b a a", "c b a", "d"]


def test_ids_go_by_frequency_then_by_the_alphabet():
    assert Vocabulary.of(TEXTS, least=1).words == ("", "<unknown>", "a", "b", "c", "d")
    assert Vocabulary.of(TEXTS).words == ("", "<unknown>", "a", "b")
    assert Vocabulary.of(TEXTS).words == Vocabulary.of(reversed(TEXTS)).words


def test_ids_say_the_text_again_but_for_what_is_unknown_or_too_long():
    vocabulary = Vocabulary.of(TEXTS)
    ids = vocabulary.encode(["a b", "d a b a"], 3)
    assert ids.dtype == np.float32
    np.testing.assert_array_equal(ids, [[2, 3, 0], [1, 2, 3]])
    assert [vocabulary.decode(row) for row in ids] == ["a b", "<unknown> a b"]
    assert len(vocabulary) == 4


def test_a_text_without_a_word_is_refused():
    with pytest.raises(DataError, match=r"^no word in the text ' '$"):
        Vocabulary.of(TEXTS).encode(["a", " "], 3)
