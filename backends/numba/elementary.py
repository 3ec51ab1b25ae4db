r"""``exp``, ``tanh`` and the logistic function, in a form that the compiler turns into vector instructions.

The mathematics library is called once a number, which takes longer than a product of activities with weights.  In
float32 ``exp`` stays within three units in the last place and ``tanh`` within six (a test measures it); in float64,
which is for checks, the library's own functions are used.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba import types as numba_types
from numba.extending import intrinsic, overload

types: Any = numba_types  # inside kernels these make numbers, of which their own annotations say nothing

LOG2_E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440054690583e-4
"""``ln 2`` in two parts: the first has so few digits that its product with a small whole number is exact."""


@intrinsic
def _reinterpreted(typing: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""
    return types.float32(types.int32), lambda context, builder, signature, args: builder.bitcast(
        args[0], ir.FloatType()
    )


_as_float: Any = _reinterpreted


@njit(inline="always")
def _exp32(x):  # type: ignore[no-untyped-def]
    # Cut off where float32 ends; a comparison with what is not a number is false, so that it stays one.
    if x > types.float32(88.0):
        x = types.float32(88.0)
    if x < types.float32(-87.0):
        x = types.float32(-87.0)
    n = np.floor(x * types.float32(LOG2_E) + types.float32(0.5))
    r = x - n * types.float32(LN2_HIGH) - n * types.float32(LN2_LOW)
    # Taylor's series for |r| ≤ ½ ln 2: the first term left out is 5e-9 of the sum.
    p = types.float32(1 / 5040)
    p = p * r + types.float32(1 / 720)
    p = p * r + types.float32(1 / 120)
    p = p * r + types.float32(1 / 24)
    p = p * r + types.float32(1 / 6)
    p = p * r + types.float32(0.5)
    p = p * r + types.float32(1.0)
    p = p * r + types.float32(1.0)
    whole = types.int32(n if n == n else types.float32(0.0))
    return p * _as_float(types.int32((whole + types.int32(127)) << types.int32(23)))


@njit(inline="always")
def _tanh32(x):  # type: ignore[no-untyped-def]
    # x P(x²)/Q(x²), the best of its degrees for |x| ≤ 9.02, beyond which float32 knows no number between tanh x and 1.
    # It is wrong by 2e-8 of the value; P, Q, x P and the quotient round, which makes five times 2⁻²⁴.
    one = types.float32(1.0)
    c = x
    if c > types.float32(9.02):
        c = types.float32(9.02)
    if c < types.float32(-9.02):
        c = types.float32(-9.02)
    s = c * c
    p = types.float32(1.331684614e-8)
    p = p * s + types.float32(2.058209791e-5)
    p = p * s + types.float32(0.003493962321)
    p = p * s + types.float32(0.1337966188)
    p = p * s + types.float32(0.9999999797)
    q = types.float32(7.761170952e-7)
    q = q * s + types.float32(0.0003282965905)
    q = q * s + types.float32(0.02587081262)
    q = q * s + types.float32(0.4671297741)
    q = q * s + one
    t = c * p / q
    if t > one:
        t = one
    if t < -one:
        t = -one
    return t


@njit(inline="always")
def _logistic32(x):  # type: ignore[no-untyped-def]
    return types.float32(1.0) / (types.float32(1.0) + _exp32(-x))


def exp(x: Any) -> Any:
    """``e^x``, inside kernels."""


def tanh(x: Any) -> Any:
    """``tanh x``, inside kernels."""


def logistic(x: Any) -> Any:
    """``1/(1 + e^{−x})``, inside kernels."""


@overload(exp, inline="always")
def _exp(x):  # type: ignore[no-untyped-def]
    if x == types.float32:
        return lambda x: _exp32(x)
    return lambda x: math.exp(x)


@overload(tanh, inline="always")
def _tanh(x):  # type: ignore[no-untyped-def]
    if x == types.float32:
        return lambda x: _tanh32(x)
    return lambda x: math.tanh(x)


@overload(logistic, inline="always")
def _logistic(x):  # type: ignore[no-untyped-def]
    if x == types.float32:
        return lambda x: _logistic32(x)
    # This form cannot overflow.
    return lambda x: 0.5 * (1.0 + math.tanh(0.5 * x))
