r"""Attention without a softmax, whose energy is a quartic: its cost grows with the number of tokens, not its square."""

from __future__ import annotations

import math
from typing import Literal

from array_api_compat import array_namespace

from neuro_eq.arrays import Activities, Array, Parameters, Reach, Samples, real_part, sides, sum_units
from neuro_eq.synapses.attention import Attention, Heads, queries_of
from neuro_eq.synapses.features import elu_plus_one
from neuro_eq.synapses.tokens import Valid


class LinearAttention(Attention):
    r"""``e = −(γ/2N) Σ_heads ‖φ(Q) φ(K)ᵀ‖²_F`` over N tokens, ``φ`` = elu + 1 or the identity.

    With ``P = φ(Q)`` and ``R = φ(K)``, a row for each token, it drives the token n by

        (γ/N) W_Qᵀ [φ'(q_n) ⊙ (RᵀR) p_n]  +  (γ/N) W_Kᵀ [φ'(k_n) ⊙ (PᵀP) r_n] ,

    in which all other tokens appear as two sums of outer products.  Tokens that are padding are in neither, and N
    counts the others.  The energy has no lower bound, so the activities need one: a layer norm, or a tanh.

    With norms ``w_Q``, ``w_K`` of a head's matrices and r of a token, ``p ≤ [√width] + w_Q r`` and ``r' ≤ [√width] +
    w_K r`` bound its features (the root with elu + 1 only), and its response is at most

        γ Σ_h [(r' w_Q + p w_K)² + 2 p r' w_Q w_K + [p r'² w_Q² + r' p² w_K²]] ,

    where the last bracket is that of φ'', which is between 0 and 1 for elu + 1 and nought for the identity.

    elu + 1 has a kink in its slope, and no continuation to complex numbers.

    Args:
        target, shared, padding, heads, width, gamma, gain: as of every attention.
        features: φ.
    """

    kind: Literal["linear_attention"] = "linear_attention"
    features: Literal["elu", "identity"] = "elu"

    @property
    def analytic(self) -> bool:
        return self.features == "identity"

    def match(self, q: Heads, k: Heads, valid: Valid | None) -> Samples:
        (p, _), (r, _) = self._features(q, valid), self._features(k, valid)
        return -0.5 * sum_units(_gram(p) * _gram(r)) / self._count(q, valid)[:, 0, 0, 0]

    def forces(self, q: Heads, k: Heads, valid: Valid | None) -> tuple[Heads, Heads]:
        (p, slope_p), (r, slope_r) = self._features(q, valid), self._features(k, valid)
        count = self._count(q, valid)
        return slope_p * (p @ _gram(r)) / count, slope_r * (r @ _gram(p)) / count

    def force_changes(self, q: Heads, k: Heads, dq: Heads, dk: Heads, valid: Valid | None) -> tuple[Heads, Heads]:
        (p, slope_p), (r, slope_r) = self._features(q, valid), self._features(k, valid)
        bend_p, bend_r = self._bend(q, slope_p), self._bend(k, slope_r)
        dp, dr = slope_p * dq, slope_r * dk
        gram_p, gram_r = _gram(p), _gram(r)
        dc = slope_p * (dp @ gram_r + p @ _gram_change(r, dr)) + bend_p * dq * (p @ gram_r)
        dg = slope_r * (dr @ gram_p + r @ _gram_change(p, dp)) + bend_r * dk * (r @ gram_p)
        count = self._count(q, valid)
        return dc / count, dg / count

    def pull_bound(self, theta: Parameters, reach: Reach) -> float:
        least = 0.0 if self.features == "identity" else math.sqrt(theta["query"].shape[0] // self.heads)
        bend = 0.0 if self.features == "identity" else 1.0
        bound = 0.0
        for query, key, _ in self.head_norms(theta):
            p, r = least + query * reach.norm, least + key * reach.norm
            bound += (r * query + p * key) ** 2 + 2.0 * p * r * query * key
            bound += bend * (p * (r * query) ** 2 + r * (p * key) ** 2)
        return self.gamma * bound

    def pieces(self, a: Activities, theta: Parameters) -> tuple[Array, ...]:
        if self.features == "identity":
            return ()
        return tuple(sides(x) for name in self.driven for x in self._project(a[name], theta))

    def _features(self, x: Heads, valid: Valid | None) -> tuple[Heads, Heads]:
        """``φ`` and ``φ'``, nought for tokens that take no part."""
        taking_part = queries_of(valid)
        if self.features == "identity":
            return taking_part * x, taking_part * array_namespace(x).ones_like(x)
        value, slope = elu_plus_one(x)
        return taking_part * value, taking_part * slope

    def _bend(self, x: Heads, slope: Heads) -> Heads:
        """``φ''``, where ``φ'`` is this."""
        xp = array_namespace(x)
        if self.features == "identity":
            return xp.zeros_like(x)
        return xp.where(real_part(x) > 0, xp.zeros_like(x), slope)

    @staticmethod
    def _count(q: Heads, valid: Valid | None) -> Array:
        """N, ``(batch or 1, 1, 1, 1)``."""
        xp = array_namespace(q)
        if valid is None:
            return xp.full_like(q[:1, :1, :1, :1], q.shape[2])
        return xp.sum(valid, axis=1)[:, None, None, None]


def _gram(x: Heads) -> Array:
    """``Σ_n x_n x_nᵀ``, ``(batch, heads, width, width)``."""
    return array_namespace(x).matrix_transpose(x) @ x


def _gram_change(x: Heads, dx: Heads) -> Array:
    transpose = array_namespace(x).matrix_transpose
    return transpose(dx) @ x + transpose(x) @ dx
