"""Words as numbers: a tokenizer and its vocabulary."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from neuro_eq.errors import DataError

NOTHING, UNKNOWN = "", "<unknown>"
"""The words of the ids 0, which means that there is none, and 1."""

WORD = re.compile(
    r"``|''|[!?]+"  # quotation marks as treebanks write them, and marks that stand together
    r"|ol'|'n'|'(?:\d+s?|em|n|til)\b"  # apostrophes that are part of a word
    r"|\w+?(?=n't\b)|n't\b"  # do n't
    r"|'(?:s|re|ve|ll|d|m)\b|\w+(?='(?:s|re|ve|ll|d|m)\b)"  # it 's
    r"|\w+(?:[',]\w+)*|[^\w\s]"
)


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case and split as treebanks split them: ``it's good, isn't it`` has eight.

    Of a text that is split already it changes nothing.
    """
    return WORD.findall(text.lower())


@dataclass(frozen=True)
class Vocabulary:
    """Words by their ids.

    Attributes:
        words: the first two are :data:`NOTHING` and :data:`UNKNOWN`.
    """

    words: tuple[str, ...]

    @staticmethod
    def of(texts: Iterable[str], least: int = 2) -> Vocabulary:
        """The words that are in these texts at least so often, the most frequent first, of equally frequent ones in
        alphabetical order."""
        counts = Counter(word for text in texts for word in words_of(text))
        often = [word for word, count in counts.items() if count >= least]
        return Vocabulary((NOTHING, UNKNOWN, *sorted(often, key=lambda word: (-counts[word], word))))

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, texts: Sequence[str], length: int) -> Float32[np.ndarray, "texts {length}"]:
        """The ids of each text's first ``length`` words, then noughts.

        Raises:
            DataError: a text without a word.
        """
        ids = np.zeros((len(texts), length), dtype=np.float32)
        for row, text in zip(ids, texts, strict=True):
            found = [self._ids.get(word, 1) for word in words_of(text)[:length]]
            if not found:
                raise DataError(f"no word in the text {text!r}")
            row[: len(found)] = found
        return ids

    def decode(self, ids: Iterable[float]) -> str:
        """The words of these ids, with a space between two."""
        return " ".join(self.words[int(i)] for i in ids if i > 0)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}
