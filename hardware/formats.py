"""Number formats of the chip: what its registers hold, and how it rounds.

These functions *are* the definition.  The integer engine's kernels and the Lava models write the same arithmetic once
more for their own compilers, and the tests hold them to these, bit for bit.

Sources: the synapse, decay and saturation arithmetic is that of Lava's bit-accurate ``Dense`` and ``LIF`` models
(lava-nc 0.10.0), which follow Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE
Micro 38(1), 2018.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Integer

STATE_BITS = 24
"""Width of an accumulator and of a potential, sign included."""
WEIGHT_BITS = 8
"""Width of a weight's mantissa."""
DECAY_BITS = 12
"""Width of a decay: ``d`` stands for ``d / 4096``."""
DECAY_UNITY = 2**DECAY_BITS
MESSAGE_BITS = 24
"""Widest payload of a graded spike in Lava's models, sign included."""
LEAST_EXPONENT, LARGEST_EXPONENT = -8, 7
"""Range of a connection's weight exponent: four bits with a sign."""
LONGEST_DELAY = 63
"""Steps that a connection can hold a message back: six bits."""

STATE_LOW, STATE_HIGH = -(2 ** (STATE_BITS - 1)), 2 ** (STATE_BITS - 1) - 1

Integers: TypeAlias = Integer[np.ndarray, "..."]


class SignMode(str, Enum):
    """Whether a connection's weights may have both signs; one that has not spends no bit on it."""

    MIXED = "mixed"
    EXCITATORY = "excitatory"
    INHIBITORY = "inhibitory"

    @property
    def step(self) -> int:
        """Distance of two neighbouring mantissas: a sign costs the least significant bit."""
        return 2 if self is SignMode.MIXED else 1

    @property
    def limits(self) -> tuple[int, int]:
        """Least and largest mantissa."""
        top = 2**WEIGHT_BITS - self.step
        return {
            SignMode.MIXED: (-(2**WEIGHT_BITS), top),
            SignMode.EXCITATORY: (0, top),
            SignMode.INHIBITORY: (-top, 0),
        }[self]


def sign_mode(weights: Any) -> SignMode:
    """The narrowest mode that holds these weights."""
    values = np.asarray(weights)
    if not values.size or values.min() >= 0:
        return SignMode.EXCITATORY
    return SignMode.INHIBITORY if values.max() <= 0 else SignMode.MIXED


def truncated(mantissas: Integers, mode: SignMode) -> Integers:
    """Mantissas as the synapse memory keeps them: clipped, and without the bit that the sign takes."""
    low, high = mode.limits
    kept = np.clip(np.asarray(mantissas, dtype=np.int64), low, high + mode.step - 1)
    if mode is SignMode.INHIBITORY:
        return kept
    return (kept >> (mode.step - 1)) << (mode.step - 1)


def wrapped(x: Integers, bits: int = STATE_BITS) -> Integers:
    """``x`` modulo ``2^bits`` in two's complement: what an accumulator holds after it has overflowed."""
    half = 1 << (bits - 1)
    return ((np.asarray(x, dtype=np.int64) + half) & (2 * half - 1)) - half


def saturated(x: Integers, bits: int = STATE_BITS) -> Integers:
    """``x`` held within ``±(2^(bits − 1) − 1)``: what a potential holds."""
    limit = 2 ** (bits - 1) - 1
    return np.clip(np.asarray(x, dtype=np.int64), -limit, limit)


def decayed(x: Integers, decay: int) -> Integers:
    """``sign(x)·((|x|·(4096 − d)) >> 12)``: what a leak leaves of ``x``, rounded towards zero."""
    x = np.asarray(x, dtype=np.int64)
    return np.sign(x) * ((np.abs(x) * (DECAY_UNITY - decay)) >> DECAY_BITS)


def leaked(x: Integers, decay: int) -> Integers:
    """``sign(x)·((|x|·d) >> 12)``: the fraction ``d/4096`` of ``x``, rounded towards zero."""
    return decayed(x, DECAY_UNITY - decay)


def shifted(x: Integers, exponent: int) -> Integers:
    """``x·2^exponent``; bits that a negative exponent moves out are cut, which rounds down."""
    x = np.asarray(x, dtype=np.int64)
    return x << exponent if exponent >= 0 else x >> -exponent


def rounded(x: Integers, bits: int) -> Integers:
    """``x / 2^bits`` to the nearest integer, halves up; a negative ``bits`` multiplies."""
    return shifted(x, -bits) if bits <= 0 else (np.asarray(x, dtype=np.int64) + (1 << (bits - 1))) >> bits
