"""From potentials to activities."""

from __future__ import annotations

import math

from neuro_eq.backends.numba.compilation import compiled, entry, fused, summing
from neuro_eq.backends.numba.elementary import logistic, tanh
from neuro_eq.backends.numba.kernels.codes import (
    ACTIVATION,
    BEGIN,
    CONSTANTS,
    HARD_SIGMOID,
    IDENTITY,
    LAYER_NORM,
    RELU,
    SIGMOID,
    SIZE,
    SOFTMAX,
    STRIDE,
    TANH,
    WIDTH,
)
from neuro_eq.backends.numba.kernels.rows import copy
from neuro_eq.backends.numba.kernels.softmax import softmax_rows


@summing
def layer_norm_rows(u, width, constants, begin, a):  # type: ignore[no-untyped-def]
    """``γ z + δ`` of ``width`` numbers at a time; the constants are ε, γ and δ.  Sums are taken in float64."""
    like = u.dtype.type
    epsilon, gamma = float(constants[begin]), float(constants[begin + 1])
    offset = constants[begin + 2 : begin + 2 + width]
    for first in range(0, u.size, width):
        row, out = u[first : first + width], a[first : first + width]
        total = 0.0
        for j in range(width):
            total += float(row[j])
        mean = like(total / width)
        total = 0.0
        for j in range(width):
            centered = row[j] - mean
            out[j] = centered
            total += float(centered) * float(centered)
        scale = like(gamma / math.sqrt(total / width + epsilon))
        for j in range(width):
            out[j] = scale * out[j] + offset[j]


@fused
def activate_row(kind, width, constants, begin, u, a):  # type: ignore[no-untyped-def]
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
    elif kind == SOFTMAX:
        copy(u, a)
        softmax_rows(a, width)
    else:
        layer_norm_rows(u, width, constants, begin, a)


@compiled
def activate_rows(populations, p, constants, u, a, first, rows):  # type: ignore[no-untyped-def]
    """``a = ρ(u)`` of one population, whose rows begin at ``first``.

    Where every number is by itself the rows are taken as one, the filling between them included: nobody reads it.
    """
    stride, size, kind = populations[STRIDE, p], populations[SIZE, p], populations[ACTIVATION, p]
    width, begin = populations[WIDTH, p], populations[CONSTANTS, p]
    if kind == SOFTMAX or kind == LAYER_NORM:
        for r in range(rows):
            row = first + r * stride
            activate_row(kind, width, constants, begin, u[row : row + size], a[row : row + size])
    else:
        end = first + rows * stride
        activate_row(kind, width, constants, begin, u[first:end], a[first:end])


@entry
def activate(populations, p, constants, u, a, capacity, rows):  # type: ignore[no-untyped-def]
    """``a = ρ(u)`` of one population."""
    activate_rows(populations, p, constants, u, a, populations[BEGIN, p] * capacity, rows)
