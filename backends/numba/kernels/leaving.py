"""Samples that have stopped leave the rows that the kernels work on."""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import compiled
from neuro_eq.backends.numba.kernels.codes import BEGIN, NO_COST, STRIDE


@compiled
def swap_rows(populations, x, capacity, one, other, phases):  # type: ignore[no-untyped-def]
    """Exchange two samples' rows in a buffer over the free units."""
    for p in range(populations.shape[1]):
        width = populations[STRIDE, p] * phases
        first = populations[BEGIN, p] * capacity + one * width
        second = populations[BEGIN, p] * capacity + other * width
        for j in range(width):
            held = x[first + j]
            x[first + j] = x[second + j]
            x[second + j] = held


@compiled
def swap(x, one, other):  # type: ignore[no-untyped-def]
    """Exchange two entries."""
    held = x[one]
    x[one] = x[other]
    x[other] = held


@compiled
def leave(  # type: ignore[no-untyped-def]
    populations, cost, families, corrected, phases, capacity, moving, u, a, still, drive, bare, anchor, deltas, y,
    images, residuals, grams, place, tol, limit, steps, status, residual,
):  # fmt: skip
    """Samples that have stopped change places with the last ones that move.  Returns how many still move."""
    depth = images.shape[0]
    answers = y.size // (capacity // phases)
    wide = populations[STRIDE, cost[1]] * phases if cost[0] != NO_COST else 0
    i = 0
    while i < moving:
        if steps[i] >= 0:
            i += 1
            continue
        steps[i] = -1 - steps[i]
        moving -= 1
        if i == moving:
            continue
        for x in (u, a, still, drive):
            swap_rows(populations, x, capacity, i, moving, phases)
        if corrected:
            for x in (anchor, deltas[0], deltas[1]):
                swap_rows(populations, x, capacity, i, moving, phases)
        if families is not None:
            swap_rows(families.keepsakes, families.kept, capacity, i, moving, phases)
        for j in range(wide):
            swap(bare, i * wide + j, moving * wide + j)
        for j in range(answers):
            swap(y, i * answers + j, moving * answers + j)
        for h in range(depth):
            swap_rows(populations, images[h], capacity, i, moving, phases)
            swap_rows(populations, residuals[h], capacity, i, moving, phases)
        for k in range(phases * depth * depth):
            swap(grams, i * phases * depth * depth + k, moving * phases * depth * depth + k)
        for k in range(phases):
            swap(residual, i * phases + k, moving * phases + k)
        swap(place, i, moving)
        swap(tol, i, moving)
        swap(limit, i, moving)
        swap(steps, i, moving)
        swap(status, i, moving)
    return moving
