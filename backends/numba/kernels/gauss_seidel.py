"""One population's turn in a sweep."""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import compiled
from neuro_eq.backends.numba.kernels.activities import activate_row
from neuro_eq.backends.numba.kernels.codes import (
    ACTIVATION,
    BEGIN,
    CONSTANTS,
    FEEDS_BACK,
    HARD_SIGMOID,
    IDENTITY,
    RELU,
    SIZE,
    SQUARED_ERROR,
    STRIDE,
    WIDTH,
)
from neuro_eq.backends.numba.kernels.picard import towards
from neuro_eq.backends.numba.kernels.rows import copy


@compiled
def under_nudge(kind, r, beta):  # type: ignore[no-untyped-def]
    """The ``u`` that solves ``u + βρ(u) = r`` for a ρ of straight pieces and ``1 + β > 0``."""
    one = type(r)(1)
    if kind == IDENTITY:
        return r / (one + beta)
    if r <= 0:
        return r
    if kind == RELU or r <= one + beta:
        return r / (one + beta)
    return r - beta


@compiled
def relax_population(  # type: ignore[no-untyped-def]
    populations, p, constants, nudged, cost, y, beta, u, a, drive, bare, alpha, capacity, rows
):
    """One population's turn in a sweep, given its drive, and without the nudge ``bare`` if it is the nudged one."""
    stride, size = populations[STRIDE, p], populations[SIZE, p]
    first = populations[BEGIN, p] * capacity
    kind = populations[ACTIVATION, p]
    phases = beta.size
    one = u.dtype.type(1)
    solvable = cost[0] == SQUARED_ERROR and (kind == IDENTITY or kind == RELU or kind == HARD_SIGMOID)
    for r in range(rows):
        row = first + r * stride
        if populations[FEEDS_BACK, p] != 0:
            towards(u[row : row + size], drive[row : row + size], alpha)
        elif not nudged:
            copy(drive[row : row + size], u[row : row + size])
        else:
            b = beta[r % phases]
            if b == 0:
                for j in range(size):
                    u[row + j] = bare[r * stride + j]
            elif solvable and one + b > 0:
                wanted = (r // phases) * stride
                for j in range(size):
                    u[row + j] = under_nudge(kind, bare[r * stride + j] + b * y[wanted + j], b)
            else:
                towards(u[row : row + size], drive[row : row + size], alpha)
        activate_row(
            kind, populations[WIDTH, p], constants, populations[CONSTANTS, p], u[row : row + size], a[row : row + size]
        )
