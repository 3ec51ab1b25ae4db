"""The steps of a block, whatever the solver."""

from __future__ import annotations

import math

import numpy as np

from neuro_eq.backends.numba.compilation import compiled, entry
from neuro_eq.backends.numba.kernels.activities import activate_rows
from neuro_eq.backends.numba.kernels.anderson import mix
from neuro_eq.backends.numba.kernels.codes import (
    ANDERSON,
    BEGIN,
    FROM_REST,
    FROM_ZERO,
    GAUSS_SEIDEL,
    GOING_ON,
    MAX_STEPS,
    NO_COST,
    PICARD,
)
from neuro_eq.backends.numba.kernels.drives import differences, evaluate, nudge_onto, part
from neuro_eq.backends.numba.kernels.gauss_seidel import relax_population
from neuro_eq.backends.numba.kernels.judging import judge
from neuro_eq.backends.numba.kernels.layout import gather, repeat
from neuro_eq.backends.numba.kernels.leaving import leave
from neuro_eq.backends.numba.kernels.pacing import pace
from neuro_eq.backends.numba.kernels.picard import picard
from neuro_eq.backends.numba.kernels.rows import copy


@entry
def settle_block(  # type: ignore[no-untyped-def]
    solver, alpha, populations, inlets, corrections, families, weights, constants, order, colours,
    cost, readout, readout_begin, bias, beta,
    u, a, still, drive, bare, anchor, deltas, y, logits, images, residuals, grams,
    place, tol, limit, steps, status, residual, begin_step, end_step, max_steps, moving,
    beginning, linear, rest_place, rest_u, rest_a, rest_still, rest_drive, first, batch, found,
):  # fmt: skip
    """Take the steps ``begin_step`` … ``end_step`` of one block; the last step is followed by its judgement.

    All of it is one call, as two threads that meet between calls wait for each other.  When no sample moves any more,
    the activities are gathered in ``found``.

    Returns:
        How many samples still move.
    """
    capacity = residual.size
    if beginning != GOING_ON:
        steps[:], status[:], residual[:] = 0, MAX_STEPS, math.nan
        for i in range(place.size):
            place[i] = i
    driven = begin(
        populations, constants, beginning, linear and deltas.shape[1] == 0, u, a, still, drive, beta.size, capacity,
        rest_place, rest_u, rest_a, rest_still, rest_drive,
    )  # fmt: skip
    left = take_steps(
        solver, alpha, populations, inlets, corrections, families, weights, constants, order, colours,
        cost, readout, readout_begin, bias, beta,
        u, a, still, drive, bare, anchor, deltas, y, logits, images, residuals, grams,
        place, tol, limit, steps, status, residual, begin_step, end_step, max_steps, moving, driven,
    )  # fmt: skip
    if left == 0:
        gather(populations, place, a, beta.size, first, batch, found)
    return left


@compiled
def begin(  # type: ignore[no-untyped-def]
    populations, constants, beginning, linear, u, a, still, drive, phases, capacity, rest_place, rest_u, rest_a,
    rest_still, rest_drive,
):  # fmt: skip
    """Bring a block's buffers to where it begins; whether its drive without the nudge is known there."""
    if beginning == GOING_ON:
        return False
    repeat(populations, rest_place, rest_still, still, phases)
    if beginning == FROM_REST:
        repeat(populations, rest_place, rest_u, u, phases)
        repeat(populations, rest_place, rest_a, a, phases)
        repeat(populations, rest_place, rest_drive, drive, phases)
        return True
    if beginning == FROM_ZERO:
        u[:] = 0
    for p in range(populations.shape[1]):
        activate_rows(populations, p, constants, u, a, populations[BEGIN, p] * capacity, capacity)
    if not linear:
        return False
    for i in range(a.size):
        if a[i] != 0:
            return False
    # Where no unit is active, what is still is the whole drive.
    copy(still, drive)
    return True


@compiled
def take_steps(  # type: ignore[no-untyped-def]
    solver, alpha, populations, inlets, corrections, families, weights, constants, order, colours,
    cost, readout, readout_begin, bias, beta,
    u, a, still, drive, bare, anchor, deltas, y, logits, images, residuals, grams,
    place, tol, limit, steps, status, residual, begin_step, end_step, max_steps, moving, driven,
):  # fmt: skip
    """The steps; with ``driven`` the drive without the nudge stands in ``drive`` already when the first begins."""
    phases = beta.size
    capacity = residual.size
    count = populations.shape[1]
    corrected = deltas.shape[1] > 0
    mixing = np.empty(max(images.shape[0], 1))
    # All phases begin alike, and a nudge reaches one population further with each step.
    shared, before = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    if driven and solver == PICARD and families is None:
        shared[:] = True
    last = colours[colours.size - 1] - colours[colours.size - 2]
    for step in range(begin_step, end_step + 1):
        if step == end_step and step < max_steps:
            return moving
        rows = moving * phases
        if corrected:
            for p in range(count):
                differences(populations, p, a, anchor, deltas, capacity, rows)
        # The last colour's drive from the sweep before still holds: the others have not moved since.
        holding = last if solver == GAUSS_SEIDEL and step > begin_step else 0
        if driven and step == begin_step:
            nudge_onto(populations, cost, readout, readout_begin, bias, beta, a, drive, bare, y, logits, capacity, rows)
        else:
            evaluate(
                populations, order, holding, inlets, corrections, families, weights, constants, cost, readout,
                readout_begin, bias, beta, a, still, deltas, drive, bare, y, logits, capacity, rows, shared,
            )  # fmt: skip
        judge(populations, u, drive, capacity, moving, phases, step == 0, tol, limit, steps, status, residual)
        moving = leave(
            populations, cost, families, corrected, phases, capacity, moving, u, a, still, drive, bare, anchor, deltas,
            y, images, residuals, grams, place, tol, limit, steps, status, residual,
        )  # fmt: skip
        if moving == 0 or step == max_steps:
            return 0
        rows = moving * phases
        if solver == PICARD:
            if families is not None:
                pace(populations, families, weights, constants, u, a, drive, step, capacity, rows)
            picard(populations, constants, u, a, drive, alpha, capacity, rows)
            part(inlets, corrections, cost, shared, before)
        elif solver == ANDERSON:
            mix(populations, constants, u, a, drive, alpha, capacity, rows, step, images, residuals, grams, mixing)
        else:
            for c in range(colours.size - 1):
                members = order[colours[c] : colours[c + 1]]
                if c > 0:
                    evaluate(
                        populations, members, 0, inlets, corrections, families, weights, constants, cost, readout,
                        readout_begin, bias, beta, a, still, deltas, drive, bare, y, logits, capacity, rows, shared,
                    )  # fmt: skip
                for k in range(members.size):
                    p = members[k]
                    nudged = cost[0] != NO_COST and cost[1] == p
                    relax_population(
                        populations, p, constants, nudged, cost, y, beta, u, a, drive, bare, alpha, capacity, rows
                    )
                    if corrected:
                        differences(populations, p, a, anchor, deltas, capacity, rows)
        for i in range(moving):
            steps[i] += 1
    return moving
