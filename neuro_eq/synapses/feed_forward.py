"""The nonlinearity inside a feed-forward layer, and its slope."""

from __future__ import annotations

import math

from array_api_compat import array_namespace
from jaxtyping import Inexact

from neuro_eq.arrays import Array, is_complex, real_part

Hidden = Inexact[Array, "batch tokens hidden"]

STEEPEST = {"relu": 1.0, "gelu": 1.13}
"""Upper bounds of the slopes; that of gelu is 1.129, near x = 1.4."""

ROOT, CUBE = math.sqrt(2.0 / math.pi), 0.044715


def nonlinearity(kind: str, x: Hidden) -> tuple[Hidden, Hidden]:
    """``φ(x)`` and ``φ'(x)``: ``max(x, 0)``, or ``½ x (1 + tanh(√(2/π)(x + 0.044715 x³)))`` for gelu.

    The second is the usual form of ``x Φ(x)`` without an error function (Hendrycks and Gimpel, 2016).
    """
    xp = array_namespace(x)
    if kind == "relu":
        slope = xp.astype(real_part(x) > 0, x.dtype)
        # Hidden units are the most numbers of a block; a choice would hold several copies of them at a time.
        return slope * x if is_complex(x) else xp.clip(x, 0.0, None), slope
    t = xp.tanh(ROOT * (x + CUBE * x * x * x))
    inside = ROOT * (1.0 + 3.0 * CUBE * x * x)
    return 0.5 * x * (1.0 + t), 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * inside
