"""Damped steps of every population."""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import compiled, fused
from neuro_eq.backends.numba.kernels.activities import activate_row
from neuro_eq.backends.numba.kernels.codes import ACTIVATION, BEGIN, CONSTANTS, SIZE, STRIDE, WIDTH


@fused
def towards(u, drive, alpha):  # type: ignore[no-untyped-def]
    """``u ← u + α (drive − u)``."""
    for j in range(u.size):
        u[j] += alpha * (drive[j] - u[j])


@compiled
def picard(populations, constants, u, a, drive, alpha, capacity, rows):  # type: ignore[no-untyped-def]
    """A damped step of every population, and its new activities."""
    for p in range(populations.shape[1]):
        stride, size = populations[STRIDE, p], populations[SIZE, p]
        first = populations[BEGIN, p] * capacity
        for r in range(rows):
            row = first + r * stride
            states = u[row : row + size]
            towards(states, drive[row : row + size], alpha)
            activate_row(
                populations[ACTIVATION, p], populations[WIDTH, p], constants, populations[CONSTANTS, p],
                states, a[row : row + size],
            )  # fmt: skip
