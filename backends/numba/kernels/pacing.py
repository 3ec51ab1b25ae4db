r"""What a Picard step does beyond the fixed-point equation: histories reach back in time, gates hold units back.

    u ← u + α g ⊙ (drive(a_t) + κ (Σ_k w_k a_{t−k} − a_t) − u)

When the residual has been taken the drive is changed to what a plain step makes this of: no step knows of it.
"""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import compiled, fused
from neuro_eq.backends.numba.elementary import logistic
from neuro_eq.backends.numba.kernels.codes import (
    BEGIN,
    COUPLING,
    LENGTH,
    PAST,
    POST,
    PRE,
    RATE,
    RATE_BIAS,
    SIZE,
    STRIDE,
    WEIGHTS,
)
from neuro_eq.backends.numba.kernels.rows import add, copy
from neuro_eq.backends.numba.tile import multiply


@fused
def hold_back(rate, u, drive):  # type: ignore[no-untyped-def]
    """``drive ← u + g ⊙ (drive − u)``, so that a step towards it is g times as long."""
    for j in range(u.size):
        drive[j] = u[j] + rate[j] * (drive[j] - u[j])


@fused
def open_gate(bias, rate):  # type: ignore[no-untyped-def]
    """``rate ← σ(rate + bias)``."""
    for j in range(bias.size):
        rate[j] = logistic(rate[j] + bias[j])


@compiled
def remember_and_recall(  # type: ignore[no-untyped-def]
    populations, history, keepsakes, kept, constants, a, drive, step, capacity, rows
):
    """The newest activity takes the oldest's place, and ``κ (Σ_k w_k a_{t−k} − a_t)`` is added to the drive."""
    p = history[POST]
    first, stride = populations[BEGIN, p] * capacity, populations[STRIDE, p]
    length, begin = history[LENGTH], history[COUPLING]
    now = keepsakes[BEGIN, history[PAST] + step % length] * capacity
    copy(a[first : first + rows * stride], kept[now : now + rows * stride])
    for r in range(rows):
        row = first + r * stride
        felt = drive[row : row + stride]
        add(-constants[begin], a[row : row + stride], felt)
        for k in range(length):
            slot = (step + length - k) % length
            past = keepsakes[BEGIN, history[PAST] + slot] * capacity + r * stride
            add(constants[begin + 1 + k], kept[past : past + stride], felt)


@compiled
def pass_gate(  # type: ignore[no-untyped-def]
    populations, gate, keepsakes, kept, scratch, weights, constants, u, a, drive, capacity, rows
):
    """One gate on its target; that of data was opened when the phase began."""
    p, pre = gate[POST], gate[PRE]
    first, stride, size = populations[BEGIN, p] * capacity, populations[STRIDE, p], populations[SIZE, p]
    if pre >= 0:
        multiply(
            a, populations[BEGIN, pre] * capacity, populations[STRIDE, pre], populations[SIZE, pre],
            weights, gate[WEIGHTS], scratch, 0, stride, rows,
        )  # fmt: skip
    bias = constants[gate[RATE_BIAS] : gate[RATE_BIAS] + size]
    for r in range(rows):
        row = first + r * stride
        if pre >= 0:
            rate = scratch[r * stride : r * stride + size]
            open_gate(bias, rate)
        else:
            begin = keepsakes[BEGIN, gate[RATE]] * capacity + r * stride
            rate = kept[begin : begin + size]
        hold_back(rate, u[row : row + size], drive[row : row + size])


@compiled
def pace(populations, families, weights, constants, u, a, drive, step, capacity, rows):  # type: ignore[no-untyped-def]
    """All histories and gates, before any population has moved."""
    for s in range(families.histories.shape[0]):
        remember_and_recall(
            populations, families.histories[s], families.keepsakes, families.kept, constants, a, drive, step,
            capacity, rows,
        )  # fmt: skip
    for s in range(families.gates.shape[0]):
        pass_gate(
            populations, families.gates[s], families.keepsakes, families.kept, families.scratch, weights, constants,
            u, a, drive, capacity, rows,
        )  # fmt: skip
