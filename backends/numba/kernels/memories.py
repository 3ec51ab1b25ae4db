r"""A modern Hopfield memory: ``drive += γ ξᵀ softmax(b ξ a)``."""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import compiled
from neuro_eq.backends.numba.kernels.codes import BACK, BEGIN, PATTERNS, POST, SIZE, STRIDE, THERE, WIDE
from neuro_eq.backends.numba.kernels.softmax import softmax_rows
from neuro_eq.backends.numba.tile import multiply, multiply_add


@compiled
def recall(populations, memory, scores, weights, a, drive, capacity, rows):  # type: ignore[no-untyped-def]
    """One memory on the population that it drives; γ and b are in the packed patterns."""
    p = memory[POST]
    first, stride = populations[BEGIN, p] * capacity, populations[STRIDE, p]
    patterns, wide = memory[PATTERNS], memory[WIDE]
    multiply(a, first, stride, populations[SIZE, p], weights, memory[THERE], scores, 0, wide, rows)
    for r in range(rows):
        softmax_rows(scores[r * wide : r * wide + patterns], patterns)
    multiply_add(scores, 0, wide, patterns, weights, memory[BACK], drive, first, stride, rows)
