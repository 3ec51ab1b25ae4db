"""Damped steps of every population."""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import compiled, fused
from neuro_eq.backends.numba.kernels.activities import activate_rows
from neuro_eq.backends.numba.kernels.codes import BEGIN, STRIDE


@fused
def towards(u, drive, alpha):  # type: ignore[no-untyped-def]
    """``u ← u + α (drive − u)``."""
    for j in range(u.size):
        u[j] += alpha * (drive[j] - u[j])


@compiled
def picard(populations, constants, u, a, drive, alpha, capacity, rows):  # type: ignore[no-untyped-def]
    """A damped step of every population, and its new activities."""
    for p in range(populations.shape[1]):
        first = populations[BEGIN, p] * capacity
        end = first + rows * populations[STRIDE, p]
        towards(u[first:end], drive[first:end], alpha)
        activate_rows(populations, p, constants, u, a, first, rows)
