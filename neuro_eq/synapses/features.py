"""The features of linear attention, ``φ = elu + 1`` (Katharopoulos et al., 2020)."""

from __future__ import annotations

from array_api_compat import array_namespace

from neuro_eq.arrays import Array, is_complex, real_part


def elu_plus_one(x: Array) -> tuple[Array, Array]:
    """``elu(x) + 1 = e^min(x, 0) + x − min(x, 0)`` and its slope, which is the first term."""
    xp = array_namespace(x)
    if is_complex(x):
        low = xp.where(real_part(x) > 0, xp.zeros_like(x), x)
    else:
        # A choice takes several times as long and holds more copies.
        low = xp.clip(x, None, 0.0)
    slope = xp.exp(low)
    return slope + (x - low), slope
