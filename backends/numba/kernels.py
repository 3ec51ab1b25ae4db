"""The compiled loops.  One block of samples stays in cache while it settles, and samples that have stopped leave it.

A block has room for ``capacity`` rows.  The phases of a sample are neighbours, row ``i·phases + k`` is sample ``i`` in
phase ``k``, and the samples that still move are the first ones: a sample that stops changes places with the last that
moves, so that every product is as small as the number of samples that need it.  Every quantity over the free units
is one flat buffer in which population ``p`` owns a contiguous ``(capacity, stride)`` matrix; a row is filled up with
zeros to whole vector registers.  Nothing here knows of specs: a plan of integers says what to do.
"""

from __future__ import annotations

import math

import numpy as np

from neuro_eq.backends.numba.compilation import compiled, entry, fused, summing
from neuro_eq.backends.numba.elementary import exp, logistic, tanh
from neuro_eq.backends.numba.tile import multiply_add

IDENTITY, RELU, HARD_SIGMOID, SIGMOID, TANH, SOFTMAX = range(6)
NO_COST, SQUARED_ERROR, CROSS_ENTROPY = range(3)
PICARD, GAUSS_SEIDEL, ANDERSON = range(3)
CONVERGED, MAX_STEPS, DIVERGED, NONFINITE = range(4)

BEGIN, SIZE, STRIDE, ACTIVATION, WIDTH, FEEDS_BACK = range(6)
"""Rows of the table of populations; ``BEGIN`` counts the units before it, filling included."""
POST, PRE, WEIGHTS, SIGN = range(4)
"""Columns of the tables of inlets: where a product goes, where it comes from, and its packed weights."""

RIDGE = 1e-8
"""Anderson's ridge, a fraction of the mean of the squared residuals."""

FORGOTTEN = -1.0
"""In the place of a squared residual that Anderson's step no longer counts."""


@fused
def softmax_rows(x, width, out):  # type: ignore[no-untyped-def]
    """Softmax of ``width`` numbers at a time."""
    for first in range(0, x.size, width):
        top = x[first]
        for j in range(first, first + width):
            top = max(top, x[j])
        total = top * 0
        for j in range(first, first + width):
            out[j] = exp(x[j] - top)
            total += out[j]
        for j in range(first, first + width):
            out[j] /= total


@fused
def activate_row(kind, width, u, a):  # type: ignore[no-untyped-def]
    """``a = ρ(u)`` of one population in one row.

    Rows come as slices: an index that starts at zero is known not to be negative, and the loop becomes vectors.
    """
    zero = u.dtype.type(0)
    one = u.dtype.type(1)
    if kind == IDENTITY:
        for j in range(u.size):
            a[j] = u[j]
    elif kind == RELU:
        for j in range(u.size):
            # In this order, here and below, a potential that is not a number stays one.
            a[j] = zero if u[j] < zero else u[j]
    elif kind == HARD_SIGMOID:
        for j in range(u.size):
            v = u[j]
            v = zero if v < zero else v
            a[j] = one if v > one else v
    elif kind == SIGMOID:
        for j in range(u.size):
            a[j] = logistic(u[j])
    elif kind == TANH:
        for j in range(u.size):
            a[j] = tanh(u[j])
    else:
        softmax_rows(u, width, a)


@entry
def activate(populations, p, u, a, capacity, rows):  # type: ignore[no-untyped-def]
    """``a = ρ(u)`` of one population."""
    first = populations[BEGIN, p] * capacity
    stride, size = populations[STRIDE, p], populations[SIZE, p]
    for r in range(rows):
        row = first + r * stride
        activate_row(populations[ACTIVATION, p], populations[WIDTH, p], u[row : row + size], a[row : row + size])


@compiled
def copy(x, out):  # type: ignore[no-untyped-def]
    """``out = x``, without the error message of an assignment, which takes a second to compile."""
    for j in range(x.size):
        out[j] = x[j]


@compiled
def drive_onto(  # type: ignore[no-untyped-def]
    populations, p, inlets, corrections, weights, a, still, deltas, drive, capacity, rows
):
    """The drive of one population without the nudge: inputs and biases, then every synapse between free ends."""
    first = populations[BEGIN, p] * capacity
    stride = populations[STRIDE, p]
    copy(still[first : first + rows * stride], drive[first : first + rows * stride])
    for s in range(inlets.shape[0]):
        if inlets[s, POST] == p:
            pre = inlets[s, PRE]
            multiply_add(
                a, populations[BEGIN, pre] * capacity, populations[STRIDE, pre], populations[SIZE, pre],
                weights, inlets[s, WEIGHTS], drive, first, stride, rows,
            )  # fmt: skip
    for s in range(corrections.shape[0]):
        if corrections[s, POST] == p:
            # (Dᵀ − D)(a − a*): the synapse's own weights, read backwards, and itself taken away.
            pre = corrections[s, PRE]
            delta = deltas[0] if corrections[s, SIGN] > 0 else deltas[1]
            multiply_add(
                delta, populations[BEGIN, pre] * capacity, populations[STRIDE, pre], populations[SIZE, pre],
                weights, corrections[s, WEIGHTS], drive, first, stride, rows,
            )  # fmt: skip


@compiled
def differences(populations, p, a, anchor, deltas, capacity, rows):  # type: ignore[no-untyped-def]
    """``a − a*`` and its negative, of one population."""
    first = populations[BEGIN, p] * capacity
    for i in range(first, first + rows * populations[STRIDE, p]):
        deltas[0, i] = a[i] - anchor[i]
        deltas[1, i] = -deltas[0, i]


@compiled
def nudge(  # type: ignore[no-untyped-def]
    populations, cost, readout, readout_begin, bias, a, y, beta, drive, logits, capacity, rows
):
    """``drive −= β ∂C/∂a`` on the cost's population; targets have the stride of the answers."""
    p = cost[1]
    stride, size = populations[STRIDE, p], populations[SIZE, p]
    first = populations[BEGIN, p] * capacity
    phases = beta.size
    if cost[0] == SQUARED_ERROR:
        for r in range(rows):
            row, wanted = first + r * stride, (r // phases) * stride
            for j in range(size):
                drive[row + j] -= beta[r % phases] * (a[row + j] - y[wanted + j])
        return
    classes, width = bias.size, cost[2]
    for r in range(rows):
        for j in range(width):
            logits[r * width + j] = bias[j] if j < classes else bias[0] * 0
    multiply_add(a, first, stride, size, readout, 0, logits, 0, width, rows)
    for r in range(rows):
        row, wanted = r * width, (r // phases) * width
        softmax_rows(logits[row : row + classes], classes, logits[row : row + classes])
        for j in range(classes):
            logits[row + j] = -beta[r % phases] * (logits[row + j] - y[wanted + j])
    multiply_add(logits, 0, width, classes, readout, readout_begin, drive, first, stride, rows)


@summing
def squared_distance(x, y):  # type: ignore[no-untyped-def]
    """``Σ (x − y)²`` in float64."""
    total = 0.0
    for j in range(x.size):
        d = float(x[j]) - float(y[j])
        total += d * d
    return total


@summing
def inner(x, y):  # type: ignore[no-untyped-def]
    """``Σ x y`` in float64."""
    total = 0.0
    for j in range(x.size):
        total += float(x[j]) * float(y[j])
    return total


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
def judge(populations, u, drive, capacity, moving, phases, first, tol, limit, steps, status, residual):  # type: ignore[no-untyped-def]
    """Residuals of the moving samples, and how those end that stop here: their steps become ``−1 − steps``."""
    units = 0
    for p in range(populations.shape[1]):
        units += populations[SIZE, p]
    for i in range(moving):
        worst = 0.0
        finite = True
        for k in range(phases):
            r = i * phases + k
            total = 0.0
            for p in range(populations.shape[1]):
                row = populations[BEGIN, p] * capacity + r * populations[STRIDE, p]
                end = row + populations[SIZE, p]
                total += squared_distance(drive[row:end], u[row:end])
            residual[r] = math.sqrt(total / units)
            finite = finite and math.isfinite(residual[r])
            worst = max(worst, residual[r])
        if first:
            limit[i] = limit[i] * max(1.0, worst)
        stops = True
        if not finite:
            status[i] = NONFINITE
        elif worst > limit[i]:
            status[i] = DIVERGED
        elif worst <= tol[i]:
            status[i] = CONVERGED
        else:
            stops = False
        if stops:
            steps[i] = -1 - steps[i]


@fused
def towards(u, drive, alpha):  # type: ignore[no-untyped-def]
    """``u ← u + α (drive − u)``."""
    for j in range(u.size):
        u[j] += alpha * (drive[j] - u[j])


@compiled
def picard(populations, u, a, drive, alpha, capacity, rows):  # type: ignore[no-untyped-def]
    """A damped step of every population, and its new activities."""
    for p in range(populations.shape[1]):
        stride, size = populations[STRIDE, p], populations[SIZE, p]
        first = populations[BEGIN, p] * capacity
        for r in range(rows):
            row = first + r * stride
            states = u[row : row + size]
            towards(states, drive[row : row + size], alpha)
            activate_row(populations[ACTIVATION, p], populations[WIDTH, p], states, a[row : row + size])


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
    populations, p, nudged, cost, y, beta, u, a, drive, bare, alpha, capacity, rows
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
        activate_row(kind, populations[WIDTH, p], u[row : row + size], a[row : row + size])


@compiled
def mix(  # type: ignore[no-untyped-def]
    populations, u, a, drive, alpha, capacity, rows, taken, images, residuals, grams, weights
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
        activate(populations, p, u, a, capacity, rows)


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


@compiled
def remember(populations, p, drive, bare, capacity, rows, back):  # type: ignore[no-untyped-def]
    """Keep the nudged population's drive as it is without the nudge, or bring it back."""
    first = populations[BEGIN, p] * capacity
    count = rows * populations[STRIDE, p]
    if back:
        copy(bare[:count], drive[first : first + count])
    else:
        copy(drive[first : first + count], bare[:count])


@compiled
def leave(  # type: ignore[no-untyped-def]
    populations, cost, corrected, phases, capacity, moving, u, a, still, drive, bare, anchor, deltas, y,
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


@compiled
def evaluate(  # type: ignore[no-untyped-def]
    populations, members, holding, inlets, corrections, weights, cost, readout, readout_begin, bias, beta,
    a, still, deltas, drive, bare, y, logits, capacity, rows,
):  # fmt: skip
    """The drive of some populations, nudge included; that of the last ``holding`` ones stands, but for the nudge."""
    for k in range(members.size):
        p = members[k]
        holds = k >= members.size - holding and populations[FEEDS_BACK, p] == 0
        if not holds:
            drive_onto(populations, p, inlets, corrections, weights, a, still, deltas, drive, capacity, rows)
        if cost[0] != NO_COST and cost[1] == p:
            remember(populations, p, drive, bare, capacity, rows, holds)
            nudge(populations, cost, readout, readout_begin, bias, a, y, beta, drive, logits, capacity, rows)


@entry
def settle_block(  # type: ignore[no-untyped-def]
    solver, alpha, populations, inlets, corrections, weights, order, colours,
    cost, readout, readout_begin, bias, beta,
    u, a, still, drive, bare, anchor, deltas, y, logits, images, residuals, grams,
    place, tol, limit, steps, status, residual, begin_step, end_step, max_steps, moving,
):  # fmt: skip
    """Take the steps ``begin_step`` … ``end_step`` of one block; the last step is followed by its judgement.

    Returns:
        How many samples still move.
    """
    phases = beta.size
    capacity = residual.size
    count = populations.shape[1]
    corrected = corrections.shape[0] > 0
    mixing = np.empty(max(images.shape[0], 1))
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
        evaluate(
            populations, order, holding, inlets, corrections, weights, cost, readout, readout_begin, bias, beta,
            a, still, deltas, drive, bare, y, logits, capacity, rows,
        )  # fmt: skip
        judge(populations, u, drive, capacity, moving, phases, step == 0, tol, limit, steps, status, residual)
        moving = leave(
            populations, cost, corrected, phases, capacity, moving, u, a, still, drive, bare, anchor, deltas, y,
            images, residuals, grams, place, tol, limit, steps, status, residual,
        )  # fmt: skip
        if moving == 0 or step == max_steps:
            return 0
        rows = moving * phases
        if solver == PICARD:
            picard(populations, u, a, drive, alpha, capacity, rows)
        elif solver == ANDERSON:
            mix(populations, u, a, drive, alpha, capacity, rows, step, images, residuals, grams, mixing)
        else:
            for c in range(colours.size - 1):
                members = order[colours[c] : colours[c + 1]]
                if c > 0:
                    evaluate(
                        populations, members, 0, inlets, corrections, weights, cost, readout, readout_begin, bias,
                        beta, a, still, deltas, drive, bare, y, logits, capacity, rows,
                    )  # fmt: skip
                for k in range(members.size):
                    p = members[k]
                    nudged = cost[0] != NO_COST and cost[1] == p
                    relax_population(populations, p, nudged, cost, y, beta, u, a, drive, bare, alpha, capacity, rows)
                    if corrected:
                        differences(populations, p, a, anchor, deltas, capacity, rows)
        for i in range(moving):
            steps[i] += 1
    return moving
