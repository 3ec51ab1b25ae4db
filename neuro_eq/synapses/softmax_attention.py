r"""Attention whose drive comes from an energy (Hoover et al., 2023, the Energy Transformer)."""

from __future__ import annotations

import math
from typing import Literal

from array_api_compat import array_namespace
from pydantic import Field

from neuro_eq.activations import logsumexp, softmax
from neuro_eq.arrays import Array, Parameters, Reach, Samples, sum_units
from neuro_eq.synapses.attention import Attention, Heads, allowed_scores, queries_of
from neuro_eq.synapses.tokens import Valid


class SoftmaxAttention(Attention):
    r"""``e = −(γ/b) Σ_heads Σ_m logsumexp_n(b q_m·k_n)``: m runs over queries, n over the keys that m may look at.

    With ``A_mn = softmax_n(b q_m·k_n)`` it drives the token n by

        γ W_Qᵀ Σ_m A_nm k_m  +  γ W_Kᵀ Σ_m A_mn q_m ,

    and for changes ``dA = A ⊙ (ds − Σ_n A ds)`` of its scores ``s = b q·k`` the response follows by the product rule.

    Masks set scores to −∞ before the logsumexp.  Tokens that are padding are neither queries nor keys: they feel
    nothing, and nobody feels them.

    Its response on tokens of norm at most r is, with N tokens and ``M_h = W_Qᵀ W_K`` of a head, at most

        γ Σ_h [2 √N ‖M_h‖ + b r² ‖M_h‖² (1 + √N)²] ,

    as a matrix of weights whose rows sum to one has a norm of at most √N, and a variance of scores is at most the
    mean of their squares.  √N is reached where all look at one token.

    Args:
        target, shared, padding, heads, width, gamma, gain: as of every attention.
        inverse_temperature: b, fixed; ``1/√width`` when it is not given.
        causal: a token looks at itself and at those before it only.
    """

    kind: Literal["softmax_attention"] = "softmax_attention"
    inverse_temperature: float | None = Field(default=None, gt=0.0, le=1e100)
    causal: bool = False

    def match(self, q: Heads, k: Heads, valid: Valid | None) -> Samples:
        b = self._b(q.shape[-1])
        return -sum_units(queries_of(valid) * logsumexp(self._scores(q, k, valid))) / b

    def forces(self, q: Heads, k: Heads, valid: Valid | None) -> tuple[Heads, Heads]:
        weights = self._weights(q, k, valid)
        return weights @ k, array_namespace(weights).matrix_transpose(weights) @ q

    def force_changes(self, q: Heads, k: Heads, dq: Heads, dk: Heads, valid: Valid | None) -> tuple[Heads, Heads]:
        xp = array_namespace(q)
        transpose = xp.matrix_transpose
        weights = self._weights(q, k, valid)
        scores = self._b(q.shape[-1]) * (dq @ transpose(k) + q @ transpose(dk))
        change = weights * (scores - xp.sum(weights * scores, axis=-1, keepdims=True))
        return change @ k + weights @ dk, transpose(change) @ q + transpose(weights) @ dq

    def pull_bound(self, theta: Parameters, reach: Reach) -> float:
        b, bound = self._b(theta["query"].shape[0] // self.heads), 0.0
        for _, _, both in self.head_norms(theta):
            spread = reach.norm * both * (1.0 + math.sqrt(reach.rows))
            bound += 2.0 * math.sqrt(reach.rows) * both + b * spread * spread
        return self.gamma * bound

    def _b(self, width: int) -> float:
        return 1.0 / math.sqrt(width) if self.inverse_temperature is None else self.inverse_temperature

    def _scores(self, q: Heads, k: Heads, valid: Valid | None) -> Array:
        scores = self._b(q.shape[-1]) * (q @ array_namespace(q).matrix_transpose(k))
        allowed = allowed_scores(q, valid, self.causal)
        return scores if allowed is None else scores + allowed

    def _weights(self, q: Heads, k: Heads, valid: Valid | None) -> Array:
        """``A``, ``(batch, heads, queries, keys)``; rows of queries that take no part are nought."""
        return queries_of(valid) * softmax(self._scores(q, k, valid))
