"""The chip's learning engine; :mod:`neuro_eq.hardware.learning` is its definition.

Weights and tags lie as the integer engine keeps them, ``(pre, post)``.
"""

from __future__ import annotations

import math

from neuro_eq.backends.numba.compilation import compiled

TARGET, MANTISSA, EXPONENT, CUT, HAS_X, HAS_Y1, HAS_Y2, HAS_T = range(8)
EDGE = 2**15
PRE_KEEPS, POST_KEEPS = math.exp(-1 / 2**30), math.exp(-1 / 65535)


@compiled
def faded(trace, keeps, draw):  # type: ignore[no-untyped-def]
    """What is left of a trace when the rule is evaluated."""
    left = keeps * trace
    whole = math.floor(left)
    return int(whole) + (1 if draw < left - whole else 0)


@compiled
def clipped(x, bits):  # type: ignore[no-untyped-def]
    """Within ``−2^bits … 2^bits − 1``."""
    return min(max(x, -(1 << bits)), (1 << bits) - 1)


@compiled
def changed(products, target, value, x1, y1, y2, tag, draw):  # type: ignore[no-untyped-def]
    """A variable after all products that have it as their target."""
    total = value << 7
    touched = False
    for k in range(products.shape[0]):
        product = products[k]
        if product[TARGET] != target:
            continue
        touched = True
        p = product[MANTISSA]
        if product[HAS_X] == 1:
            p *= clipped(x1, 7)
        if product[HAS_Y1] == 1:
            p *= clipped(y1, 7)
        if product[HAS_Y2] == 1:
            p *= clipped(y2, 7)
        if product[HAS_T] == 1:
            p *= clipped(tag, 9)
        change = (p >> product[CUT]) << product[EXPONENT]
        total += min(max(change, -EDGE - 1), EDGE - 1)
        total = min(max(total, -EDGE - 1), EDGE - 1)
    if not touched:
        return value
    return (total >> 7) + (1 if draw < (total & 127) / 128.0 else 0)


@compiled
def evaluate(products, weights, tags, x1, y1, y2, draws):  # type: ignore[no-untyped-def]
    """One evaluation of a rule on a whole connection, in place; a neuron whose trace is 0 has not sent.

    ``draws`` are those of variables, of presynaptic and of postsynaptic traces.
    """
    for j in range(x1.size):
        x = faded(x1[j], PRE_KEEPS, draws[1])
        if x1[j] == 0:
            continue
        for i in range(y1.size):
            y = faded(y1[i], POST_KEEPS, draws[2])
            z = faded(y2[i], POST_KEEPS, draws[2])
            if y == 0 and z == 0:
                continue
            before, tag = weights[j, i], tags[j, i]
            weights[j, i] = min(max(changed(products, 0, before, x, y, z, tag, draws[0]), -256), 255)
            tags[j, i] = min(max(changed(products, 1, tag, x, y, z, tag, draws[0]), -257), 255)
