"""What is done with rows of numbers, whatever they are."""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import compiled, fused


@compiled
def copy(x, out):  # type: ignore[no-untyped-def]
    """``out = x``, without the error message of an assignment, which takes a second to compile."""
    for j in range(x.size):
        out[j] = x[j]


@fused
def add(factor, x, out):  # type: ignore[no-untyped-def]
    """``out += factor · x``."""
    for j in range(x.size):
        out[j] += factor * x[j]
