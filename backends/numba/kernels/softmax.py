"""Softmax, in loops that the compiler turns into vector instructions: a memory takes one of every row at every step."""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import compiled, fused, summing
from neuro_eq.backends.numba.elementary import exp


@compiled
def largest(x):  # type: ignore[no-untyped-def]
    """The largest number, in chains that need not wait for each other; what is no number may be passed over."""
    one = two = three = four = x[0]
    whole = x.size - x.size % 4
    for j in range(0, whole, 4):
        one = max(one, x[j])
        two = max(two, x[j + 1])
        three = max(three, x[j + 2])
        four = max(four, x[j + 3])
    for j in range(whole, x.size):
        one = max(one, x[j])
    return max(one, two, three, four)


@fused
def exponentials(x, top):  # type: ignore[no-untyped-def]
    """``x ← e^(x − top)``; what is no number stays none."""
    for j in range(x.size):
        x[j] = exp(x[j] - top)


@summing
def normalise(x):  # type: ignore[no-untyped-def]
    """``x ← x / Σ x``."""
    total = x[0] * 0
    for j in range(x.size):
        total += x[j]
    for j in range(x.size):
        x[j] /= total


@compiled
def softmax_rows(x, width):  # type: ignore[no-untyped-def]
    """``x ← softmax(x)``, ``width`` numbers at a time."""
    for first in range(0, x.size, width):
        row = x[first : first + width]
        exponentials(row, largest(row))
        normalise(row)
