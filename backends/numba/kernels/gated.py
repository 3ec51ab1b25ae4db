r"""A gated dense synapse, ``f = g ⊙ (W a_pre)`` with ``g = σ(W_g a_pre + b_g)``; ``h = (W a_pre) ⊙ g ⊙ (1 − g)``."""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import compiled, fused
from neuro_eq.backends.numba.elementary import logistic
from neuro_eq.backends.numba.kernels.codes import (
    BEGIN,
    GATE_BACK,
    GATE_BIAS,
    GATE_WEIGHTS,
    POST,
    PRE,
    SIZE,
    SLOPES,
    STRIDE,
    WEIGHTS,
    WEIGHTS_BACK,
)
from neuro_eq.backends.numba.tile import multiply, multiply_add


@fused
def let_through(content, gate, bias, out):  # type: ignore[no-untyped-def]
    """``out += σ(gate + bias) ⊙ content``."""
    for j in range(out.size):
        out[j] += logistic(gate[j] + bias[j]) * content[j]


@fused
def take_response(g, through, h, gating, out):  # type: ignore[no-untyped-def]
    """``out −= g ⊙ through + h ⊙ gating``."""
    for j in range(out.size):
        out[j] -= g[j] * through[j] + h[j] * gating[j]


@fused
def weigh(g, x, out):  # type: ignore[no-untyped-def]
    """``out = g ⊙ x``."""
    for j in range(out.size):
        out[j] = g[j] * x[j]


@compiled
def readings(populations, synapse, scratch, weights, x, capacity, rows):  # type: ignore[no-untyped-def]
    """``W x`` and ``W_g x`` of the source's rows, one below the other."""
    pre, stride = synapse[PRE], populations[STRIDE, synapse[POST]]
    first, wide, depth = populations[BEGIN, pre] * capacity, populations[STRIDE, pre], populations[SIZE, pre]
    half = rows * stride
    multiply(x, first, wide, depth, weights, synapse[WEIGHTS], scratch, 0, stride, rows)
    multiply(x, first, wide, depth, weights, synapse[GATE_WEIGHTS], scratch, half, stride, rows)


@compiled
def drive_through_gate(  # type: ignore[no-untyped-def]
    populations, synapse, scratch, weights, constants, a, drive, capacity, rows
):
    """One gated synapse on its target."""
    p = synapse[POST]
    first, stride, size = populations[BEGIN, p] * capacity, populations[STRIDE, p], populations[SIZE, p]
    readings(populations, synapse, scratch, weights, a, capacity, rows)
    bias = constants[synapse[GATE_BIAS] : synapse[GATE_BIAS] + size]
    for r in range(rows):
        content, gate, row = r * stride, (rows + r) * stride, first + r * stride
        let_through(scratch[content : content + size], scratch[gate : gate + size], bias, drive[row : row + size])


@compiled
def turn_around(  # type: ignore[no-untyped-def]
    populations, p, synapse, keepsakes, kept, scratch, weights, delta, drive, capacity, rows
):
    """``(Dᵀ − D) δ`` of one gated synapse onto a population that it drives or reads, with g and h of ``a*``.

    ``D δ = g ⊙ (W δ_pre) + h ⊙ (W_g δ_pre)`` and ``Dᵀ δ = Wᵀ(g ⊙ δ_post) + W_gᵀ(h ⊙ δ_post)``.
    """
    post, pre = synapse[POST], synapse[PRE]
    stride, size = populations[STRIDE, post], populations[SIZE, post]
    g_begin, h_begin = (keepsakes[BEGIN, synapse[SLOPES]] * capacity, keepsakes[BEGIN, synapse[SLOPES] + 1] * capacity)
    onto, wide = populations[BEGIN, pre] * capacity, populations[STRIDE, pre]
    first = populations[BEGIN, post] * capacity
    if p == post:
        readings(populations, synapse, scratch, weights, delta, capacity, rows)
        for r in range(rows):
            at, below, row = r * stride, (rows + r) * stride, first + r * stride
            take_response(
                kept[g_begin + at : g_begin + at + size], scratch[at : at + size],
                kept[h_begin + at : h_begin + at + size], scratch[below : below + size], drive[row : row + size],
            )  # fmt: skip
    if p == pre:
        count = rows * stride
        weigh(kept[g_begin : g_begin + count], delta[first : first + count], scratch[:count])
        multiply_add(scratch, 0, stride, size, weights, synapse[WEIGHTS_BACK], drive, onto, wide, rows)
        weigh(kept[h_begin : h_begin + count], delta[first : first + count], scratch[:count])
        multiply_add(scratch, 0, stride, size, weights, synapse[GATE_BACK], drive, onto, wide, rows)
