"""The algorithmic tasks: every answer, length and difficulty recomputed from the sample itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from neuro_eq.experiments.tasks import ALGORITHMS, Algorithmic, Split
from neuro_eq.experiments.tasks.algorithmic import FEW

ALTERNATIVES = {"parity": 2, "addition": 4, "copying": 4, "sorting": 5}
"""What may stand at a place."""


def number(digits: list[int]) -> int:
    return sum((digit - 1) << place for place, digit in enumerate(digits))


def expected(name: str, given: list[int]) -> tuple[list[int], int, int]:
    """Answer, length and difficulty, computed in another way than the task does."""
    if name == "parity":
        return [given.count(2) % 2], len(given), given.count(2)
    if name == "addition":
        a, b = given[0::2], given[1::2]
        total = number(a) + number(b)
        # A place carries where the numbers up to it overflow.
        carries = [(number(a[: i + 1]) + number(b[: i + 1])) >> (i + 1) for i in range(len(a))]
        runs = [len(list(group)) for carry, group in itertools.groupby(carries) if carry]
        return [(total >> i) % 2 + 1 for i in range(len(a) + 1)], len(a), max(runs, default=0)
    if name == "copying":
        return given, len(given), len(set(given))
    swaps, row = 0, list(given)
    for end in range(len(row), 0, -1):
        for i in range(end - 1):
            if row[i] > row[i + 1]:
                row[i], row[i + 1], swaps = row[i + 1], row[i], swaps + 1
    return row, len(given), swaps


def splits(task: Algorithmic) -> list[tuple[str, Split]]:
    return [("train", task.train), ("test", task.test), ("longer", task.longer)]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_answers_lengths_and_difficulties(name: str) -> None:
    task = ALGORITHMS[name](train=200, test=80, seed=4)
    for _, split in splits(task):
        for row, answer, length, hard in zip(split.x, split.y, split.length, split.difficulty, strict=True):
            given = [int(symbol) for symbol in row if symbol]
            assert not row[len(given) :].any(), "the padding stands at the end"
            wanted, long, difficulty = expected(name, given)
            found = [int(answer)] if task.one_label else [int(symbol) for symbol in answer if symbol]
            assert (found, int(length), int(hard)) == (wanted, long, difficulty)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_splits_keep_apart(name: str) -> None:
    """Longer samples are longer than all that is trained; the test's inputs are not trained unless a length has few."""
    task = ALGORITHMS[name](train=400, test=80, seed=5)
    assert task.longer.length.min() > task.train.length.max() == task.test.length.max()
    trained = {tuple(row) for row in task.train.x}
    inputs = ALTERNATIVES[name] ** task.test.length
    own = [tuple(row) for row, count in zip(task.test.x, inputs, strict=True) if count >= FEW]
    assert len(own) > 20, "most lengths have many inputs"
    assert not trained & set(own)
    assert len(set(own)) > 0.8 * len(own), "and the test is not of a few that come again and again"
    for length in range(1, int(task.test.length.max()) + 1):
        there = {tuple(row) for row in task.test.x[task.test.length == length]}
        assert 2 * len(there) <= ALTERNATIVES[name] ** length + 1
    assert len(task.train.x) == 400
    assert len(np.unique(task.test.length)) > 3
    assert np.unique(task.test.difficulty[task.test.length == task.test.length.max()]).size > 1, "it varies in a length"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_right_answer_is_exactly_right(name: str) -> None:
    task = ALGORITHMS[name](train=50, test=20, seed=6)
    data = task.data()
    output = np.eye(2)[data.y_test] if task.one_label else data.y_test
    assert task.exact(np.asarray(output, np.float32), task.test).all()
    wrong = np.roll(output, 1, axis=1)
    assert not task.exact(np.asarray(wrong, np.float32), task.test).any()
    assert task.data(longer=True, signs=True).x_test.min() >= -1.0
    assert np.array_equal(ALGORITHMS[name](train=50, test=20, seed=6).train.x, task.train.x)
