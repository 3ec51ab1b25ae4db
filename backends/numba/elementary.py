r"""``exp``, ``tanh`` and the logistic function, in a form that the compiler turns into vector instructions.

The mathematics library is called once a number, which takes longer than a product of activities with weights.  In
float32 these stay within three units in the last place (a test measures it); in float64, which is for checks, the
library's own functions are used.
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
    size = abs(x)
    # Near 0 the difference 1 − 2/(e^{2x} + 1) would cancel: Taylor's series up to x^13, the rest is below 1e-7·x.
    s = x * x
    p = types.float32(21844 / 6081075)
    p = p * s - types.float32(1382 / 155925)
    p = p * s + types.float32(62 / 2835)
    p = p * s - types.float32(17 / 315)
    p = p * s + types.float32(2 / 15)
    p = p * s - types.float32(1 / 3)
    small = x + x * s * p
    large = types.float32(1.0) - types.float32(2.0) / (_exp32(size + size) + types.float32(1.0))
    if x < types.float32(0.0):
        large = -large
    return small if size < types.float32(0.5) else large


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
