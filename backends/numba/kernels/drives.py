"""What drives the populations: inputs, each other, the asymmetric correction, the nudge."""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import compiled
from neuro_eq.backends.numba.kernels.codes import (
    BEGIN,
    FEEDS_BACK,
    NO_COST,
    POST,
    PRE,
    SIGN,
    SIZE,
    SQUARED_ERROR,
    STRIDE,
    WEIGHTS,
)
from neuro_eq.backends.numba.kernels.families import drive_by_families
from neuro_eq.backends.numba.kernels.rows import copy
from neuro_eq.backends.numba.kernels.softmax import softmax_rows
from neuro_eq.backends.numba.tile import add_product, multiply_add


@compiled
def alike(p, inlets, corrections, shared):  # type: ignore[no-untyped-def]
    """Whether all that drives a population is the same in all phases."""
    for table in (inlets, corrections):
        for s in range(table.shape[0]):
            if table[s, POST] == p and not shared[table[s, PRE]]:
                return False
    return True


@compiled
def drive_onto(  # type: ignore[no-untyped-def]
    populations, p, inlets, corrections, families, weights, constants, a, still, deltas, drive, capacity, rows, every
):
    """The drive of one population without the nudge: inputs and biases, then every synapse between free ends.

    Of ``every`` so many rows, which are the phases of a sample, one is computed and the others are like it.
    """
    first = populations[BEGIN, p] * capacity
    stride = populations[STRIDE, p]
    base, begun = still, False
    for s in range(inlets.shape[0]):
        if inlets[s, POST] == p:
            pre = inlets[s, PRE]
            add_product(
                a, populations[BEGIN, pre] * capacity, populations[STRIDE, pre] * every, populations[SIZE, pre],
                weights, inlets[s, WEIGHTS], base, drive, first, stride * every, stride, rows // every,
            )  # fmt: skip
            base, begun = drive, True
    if not begun:
        copy(still[first : first + rows * stride], drive[first : first + rows * stride])
    for s in range(corrections.shape[0]):
        if corrections[s, POST] == p:
            # (Dᵀ − D)(a − a*): the synapse's own weights, read backwards, and itself taken away.
            pre = corrections[s, PRE]
            delta = deltas[0] if corrections[s, SIGN] > 0 else deltas[1]
            add_product(
                delta, populations[BEGIN, pre] * capacity, populations[STRIDE, pre] * every, populations[SIZE, pre],
                weights, corrections[s, WEIGHTS], drive, drive, first, stride * every, stride, rows // every,
            )  # fmt: skip
    if families is not None:
        drive_by_families(populations, p, families, weights, constants, a, deltas, drive, capacity, rows)
    for r in range(rows):
        if r % every != 0:
            row, source = first + r * stride, first + (r - r % every) * stride
            copy(drive[source : source + stride], drive[row : row + stride])


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
        softmax_rows(logits[row : row + classes], classes)
        for j in range(classes):
            logits[row + j] = -beta[r % phases] * (logits[row + j] - y[wanted + j])
    multiply_add(logits, 0, width, classes, readout, readout_begin, drive, first, stride, rows)


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
def evaluate(  # type: ignore[no-untyped-def]
    populations, members, holding, inlets, corrections, families, weights, constants, cost, readout, readout_begin,
    bias, beta, a, still, deltas, drive, bare, y, logits, capacity, rows, shared,
):  # fmt: skip
    """The drive of some populations, nudge included; that of the last ``holding`` ones stands, but for the nudge.

    Populations of which ``shared`` says that all phases are alike, and that are driven alike, remain so.  Families are
    never shared: what they do in a phase is not in the tables of inlets.
    """
    phases = beta.size
    for k in range(members.size):
        p = members[k]
        holds = k >= members.size - holding and populations[FEEDS_BACK, p] == 0
        if not holds:
            drive_onto(
                populations, p, inlets, corrections, families, weights, constants, a, still, deltas, drive,
                capacity, rows, phases if families is None and alike(p, inlets, corrections, shared) else 1,
            )  # fmt: skip
        if cost[0] != NO_COST and cost[1] == p:
            remember(populations, p, drive, bare, capacity, rows, holds)
            nudge(populations, cost, readout, readout_begin, bias, a, y, beta, drive, logits, capacity, rows)


@compiled
def part(inlets, corrections, cost, shared, before):  # type: ignore[no-untyped-def]
    """Say of which populations the phases will still be alike after a step; ``before`` is room to work in."""
    copy(shared, before)
    for p in range(shared.size):
        nudged = cost[0] != NO_COST and cost[1] == p
        shared[p] = before[p] and not nudged and alike(p, inlets, corrections, before)


@compiled
def nudge_onto(  # type: ignore[no-untyped-def]
    populations, cost, readout, readout_begin, bias, beta, a, drive, bare, y, logits, capacity, rows
):
    """The nudge, on a drive that was there without it."""
    if cost[0] != NO_COST:
        remember(populations, cost[1], drive, bare, capacity, rows, False)
        nudge(populations, cost, readout, readout_begin, bias, a, y, beta, drive, logits, capacity, rows)
