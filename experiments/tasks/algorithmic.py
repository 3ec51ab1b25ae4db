"""Tasks with an algorithm behind them: parity, addition, copy, sort.

Every sample has a length and, within a length, a difficulty that is known.  Training and test have the lengths up to
one, and a third split has longer ones.  A sample is a row of ids as token models read them, 0 where it has ended;
``as_signs`` is the same for networks that read numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from neuro_eq.datasets import Data

EMPTY = 0
"""The id where a sample has ended."""

FEW = 32
"""A length with fewer different inputs has them in training and test alike; of others, the test's are its own."""


@dataclass(frozen=True)
class Split:
    """Some samples.

    Attributes:
        x: ids, one row a sample.
        y: labels ``(n,)``, or the answer's symbols as ids ``(n, places)``.
        length: of each sample.
        difficulty: of each sample; compare samples of one length.
    """

    x: Int64[np.ndarray, "samples places"]
    y: Int64[np.ndarray, " samples"] | Int64[np.ndarray, "samples answer"]
    length: Int64[np.ndarray, " samples"]
    difficulty: Int64[np.ndarray, " samples"]

    def take(self, count: int) -> Split:
        """The first so many."""
        return Split(self.x[:count], self.y[:count], self.length[:count], self.difficulty[:count])


@dataclass(frozen=True)
class Algorithmic:
    """A task with its three splits.

    Attributes:
        vocabulary: number of ids, 0 among them.
        train, test: lengths up to the longest that is trained.
        longer: lengths beyond it.
        counts: what the difficulty counts.
    """

    name: str
    vocabulary: int
    train: Split
    test: Split
    longer: Split
    counts: str

    @property
    def one_label(self) -> bool:
        """Whether the answer is one label rather than a sequence."""
        return self.train.y.ndim == 1

    def data(self, longer: bool = False, signs: bool = False) -> Data:
        """As a data set: sequences to answer become one-hot values, place by place.

        Args:
            longer: test on the longer samples.
            signs: numbers in place of ids, see :func:`as_signs`.
        """
        tested = self.longer if longer else self.test
        x = [as_signs(s.x, self.vocabulary) if signs else s.x.astype(np.float32) for s in (self.train, tested)]
        if self.one_label:
            return Data(self.name, x[0], self.train.y, x[1], tested.y, classes=2)
        y = [_one_hot(s.y, self.vocabulary) for s in (self.train, tested)]
        return Data(self.name, x[0], y[0], x[1], y[1], classes=None)

    def exact(self, output: Float32[np.ndarray, "samples values"], split: Split) -> np.ndarray:
        """Whether each answer is right in every place, ``(samples,)``."""
        if self.one_label:
            return np.argmax(output, axis=1) == split.y
        symbols = np.argmax(output.reshape(len(output), -1, self.vocabulary), axis=2)
        return np.all(symbols == split.y, axis=1)


def parity(longest: int = 8, further: int = 12, train: int = 1024, test: int = 256, seed: int = 0) -> Algorithmic:
    """Is the number of ones odd?  Ids 1 and 2 stand for nought and one; the difficulty is the number of ones."""

    def sample(rng: np.random.Generator, length: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        bits = rng.integers(0, 2, length)
        return tuple(int(bit) + 1 for bit in bits), (int(bits.sum() % 2),), int(bits.sum())

    return _task("parity", 3, sample, 2, longest, further, (train, test), seed, "ones", places=further, answer=0)


def addition(longest: int = 4, further: int = 6, train: int = 1024, test: int = 256, seed: int = 0) -> Algorithmic:
    """The sum of two binary numbers, lowest digit first; the difficulty is the longest run of carries."""

    def sample(rng: np.random.Generator, length: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        a, b = rng.integers(0, 2, length), rng.integers(0, 2, length)
        total, carry, run, most = [], 0, 0, 0
        for left, right in zip(a, b, strict=True):
            here = int(left + right) + carry
            total.append(here % 2 + 1)
            carry = here // 2
            run = run + 1 if carry else 0
            most = max(most, run)
        # Digits of the same place stand side by side.
        pairs = tuple(int(bit) + 1 for pair in zip(a, b, strict=True) for bit in pair)
        return pairs, (*total, carry + 1), most

    return _task(
        "addition", 3, sample, 4, longest, further, (train, test), seed, "places that the longest carry runs through",
        places=2 * further, answer=further + 1,
    )  # fmt: skip


def copying(
    longest: int = 5, further: int = 8, symbols: int = 4, train: int = 1024, test: int = 256, seed: int = 0
) -> Algorithmic:
    """The same again; the difficulty is the number of different symbols."""

    def sample(rng: np.random.Generator, length: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        drawn = tuple(int(symbol) for symbol in rng.integers(1, symbols + 1, length))
        return drawn, drawn, len(set(drawn))

    return _task(
        "copying", symbols + 1, sample, symbols, longest, further, (train, test), seed, "different symbols", further,
        further,
    )  # fmt: skip


def sorting(
    longest: int = 5, further: int = 8, symbols: int = 5, train: int = 1024, test: int = 256, seed: int = 0
) -> Algorithmic:
    """The symbols in order; the difficulty is the number of pairs that stand the wrong way round."""

    def sample(rng: np.random.Generator, length: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        drawn = tuple(int(symbol) for symbol in rng.integers(1, symbols + 1, length))
        return drawn, tuple(sorted(drawn)), sum(a > b for i, a in enumerate(drawn) for b in drawn[i + 1 :])

    return _task(
        "sorting", symbols + 1, sample, symbols, longest, further, (train, test), seed, "pairs the wrong way round",
        further, further,
    )  # fmt: skip


ALGORITHMS: dict[str, Callable[..., Algorithmic]] = {
    "parity": parity,
    "addition": addition,
    "copying": copying,
    "sorting": sorting,
}
"""The tasks by name."""


def as_signs(x: Int64[np.ndarray, "samples places"], vocabulary: int) -> Float32[np.ndarray, "samples values"]:
    """Ids as numbers between −1 and 1, nought where a sample has ended."""
    symbols = vocabulary - 1
    spread = 2.0 * (x - 1) / max(symbols - 1, 1) - 1.0
    return np.where(x == EMPTY, 0.0, spread).astype(np.float32)


class Row(NamedTuple):
    """A sample: its symbols, the answer's, how hard it is, and its length."""

    given: tuple[int, ...]
    wanted: tuple[int, ...]
    difficulty: int
    length: int


Sample = Callable[[np.random.Generator, int], "tuple[tuple[int, ...], tuple[int, ...], int]"]


def _task(
    name: str,
    vocabulary: int,
    sample: Sample,
    alternatives: int,
    longest: int,
    further: int,
    counts: tuple[int, int],
    seed: int,
    difficulty: str,
    places: int,
    answer: int,
) -> Algorithmic:
    """The splits, with lengths drawn evenly and the answer padded as the input is.

    Args:
        alternatives: what may stand at a place, so that ``alternatives ** length`` inputs have a length.
    """
    rng = np.random.default_rng([seed, 103, *name.encode()])
    held: dict[int, set[tuple[int, ...]]] = {}

    def drawn(shortest: int, most: int) -> Row:
        length = int(rng.integers(shortest, most + 1))
        return Row(*sample(rng, length), length)

    def for_the_test(count: int, shortest: int, most: int) -> list[Row]:
        rows: list[Row] = []
        while len(rows) < count:
            row = drawn(shortest, most)
            own = held.setdefault(row.length, set())
            # Half of a length's inputs at most: the others are for training.
            if row.given not in own and 2 * len(own) >= alternatives**row.length:
                continue
            own.add(row.given)
            rows.append(row)
        return rows

    def for_training(count: int) -> list[Row]:
        rows: list[Row] = []
        while len(rows) < count:
            row = drawn(1, longest)
            if alternatives**row.length < FEW or row.given not in held.get(row.length, set()):
                rows.append(row)
        return rows

    def split(rows: list[Row]) -> Split:
        x = np.array([_padded(row.given, places) for row in rows], np.int64)
        y = [row.wanted[0] if answer == 0 else _padded(row.wanted, answer) for row in rows]
        lengths, hard = [row.length for row in rows], [row.difficulty for row in rows]
        return Split(x, np.array(y, np.int64), np.array(lengths, np.int64), np.array(hard, np.int64))

    test = split(for_the_test(counts[1], 1, longest))
    longer = split(for_the_test(counts[1], longest + 1, further))
    return Algorithmic(name, vocabulary, split(for_training(counts[0])), test, longer, difficulty)


def _padded(row: tuple[int, ...], places: int) -> list[int]:
    return [*row, *[EMPTY] * (places - len(row))]


def _one_hot(y: Int64[np.ndarray, "samples answer"], vocabulary: int) -> Float32[np.ndarray, "samples values"]:
    return np.eye(vocabulary, dtype=np.float32)[y].reshape(len(y), -1)
