"""Anderson's step."""

from __future__ import annotations

import math

import numpy as np

from neuro_eq.backends.numba.compilation import compiled, summing
from neuro_eq.backends.numba.kernels.activities import activate
from neuro_eq.backends.numba.kernels.codes import BEGIN, SIZE, STRIDE

RIDGE = 1e-8
"""A fraction of the mean of the squared residuals."""

FORGOTTEN = -1.0
"""In the place of a squared residual that a step no longer counts."""


@summing
def inner(x, y):  # type: ignore[no-untyped-def]
    """``Σ x y`` in float64."""
    total = 0.0
    for j in range(x.size):
        total += float(x[j]) * float(y[j])
    return total


@compiled
def mix(  # type: ignore[no-untyped-def]
    populations, constants, u, a, drive, alpha, capacity, rows, taken, images, residuals, grams, weights
):
    """Anderson's step: each row's own combination of its last states; where its residual grew it begins again."""
    depth = images.shape[0]
    slot = taken % depth
    before = (taken - 1) % depth
    known = min(taken + 1, depth)
    count = populations.shape[1]
    for p in range(count):
        stride, size = populations[STRIDE, p], populations[SIZE, p]
        for r in range(rows):
            row = populations[BEGIN, p] * capacity + r * stride
            for j in range(row, row + size):
                f = drive[j] - u[j]
                residuals[slot, j] = f
                images[slot, j] = u[j] + alpha * f
    for r in range(rows):
        gram = grams[r * depth * depth : (r + 1) * depth * depth].reshape(depth, depth)
        for i in range(known):
            total = 0.0
            for p in range(count):
                row = populations[BEGIN, p] * capacity + r * populations[STRIDE, p]
                end = row + populations[SIZE, p]
                total += inner(residuals[slot, row:end], residuals[i, row:end])
            # On the diagonal FORGOTTEN stays until its place is taken again.
            if i == slot or gram[i, i] >= 0.0:
                gram[slot, i] = total
                gram[i, slot] = total
        if taken > 0 and gram[slot, slot] > gram[before, before]:
            for i in range(known):
                if i != slot:
                    gram[i, i] = FORGOTTEN
        usable = solve_for_ones(gram, known, weights)
        for p in range(count):
            size = populations[SIZE, p]
            row = populations[BEGIN, p] * capacity + r * populations[STRIDE, p]
            if usable:
                for j in range(row, row + size):
                    u[j] = 0
                for i in range(known):
                    w = u.dtype.type(weights[i])
                    for j in range(row, row + size):
                        u[j] += w * images[i, j]
                for j in range(row, row + size):
                    usable = usable and math.isfinite(u[j])
        if not usable:
            for p in range(count):
                row = populations[BEGIN, p] * capacity + r * populations[STRIDE, p]
                for j in range(row, row + populations[SIZE, p]):
                    u[j] = images[slot, j]
    for p in range(count):
        activate(populations, p, constants, u, a, capacity, rows)


@compiled
def solve_for_ones(gram, known, weights):  # type: ignore[no-untyped-def]
    """``w ∝ (G + λI)⁻¹ 1`` with ``Σ w = 1`` by Cholesky's elimination; False where it is singular."""
    trace = 0.0
    count = 0
    for i in range(known):
        if gram[i, i] != FORGOTTEN:
            trace += gram[i, i]
            count += 1
    ridge = RIDGE * trace / count
    left = np.empty((known, known))
    for i in range(known):
        weights[i] = 0.0 if gram[i, i] == FORGOTTEN else 1.0
        for j in range(known):
            if gram[i, i] == FORGOTTEN or gram[j, j] == FORGOTTEN:
                left[i, j] = 1.0 if i == j else 0.0
            else:
                left[i, j] = gram[i, j] + (ridge if i == j else 0.0)
    for i in range(known):
        if not left[i, i] > 0.0:
            return False
        for j in range(i + 1, known):
            factor = left[j, i] / left[i, i]
            for k in range(i, known):
                left[j, k] -= factor * left[i, k]
            weights[j] -= factor * weights[i]
    total = 0.0
    for back in range(known):
        i = known - 1 - back
        for j in range(i + 1, known):
            weights[i] -= left[i, j] * weights[j]
        weights[i] /= left[i, i]
        total += weights[i]
    if not (math.isfinite(total) and total != 0.0):
        return False
    for i in range(known):
        weights[i] /= total
    return True
