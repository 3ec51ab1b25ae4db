r"""Attention as transformers have it: values of their own, weighted, with forward and transposed derivatives.

    o_m = Σ_n w_mn v_n,      w = softmax_n(q_m·k_n/√width)     or     w_mn = φ(q_m)·φ(k_n) / Σ_l φ(q_m)·φ(k_l),

the second with φ = elu + 1.  It is computed as it stands here, by all pairs of tokens, which for the few tokens of an
image is less work than its sums of outer products.

Everything is of the shape ``(batch, heads, tokens, width)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from neuro_eq.activations import softmax
from neuro_eq.arrays import Array, real_part
from neuro_eq.synapses.attention import Heads, allowed_scores, queries_of
from neuro_eq.synapses.features import elu_plus_one
from neuro_eq.synapses.tokens import Valid


@dataclass(frozen=True)
class Weights:
    """The weights ``w`` of queries and keys, and how they answer to them.

    Attributes:
        values: ``w``, ``(batch, heads, queries, keys)``; rows of queries that take no part are nought.
        q, k: queries and keys; of linear attention ``φ(q)`` and ``φ(k)``.
        slope_q, slope_k: of linear attention φ' there, None of softmax.
        total: of linear attention the sums that the weights are divided by, None of softmax.
        allowed: of linear attention one where a query may look at a key and nought where not, None of softmax.
    """

    values: Array
    q: Heads
    k: Heads
    slope_q: Heads | None = None
    slope_k: Heads | None = None
    total: Array | None = None
    allowed: Array | None = None

    def change(self, dq: Heads, dk: Heads) -> Array:
        """``dw`` along changes of queries and keys."""
        transpose = array_namespace(dq).matrix_transpose
        if self.slope_q is not None:
            dq, dk = self.slope_q * dq, self.slope_k * dk
        return self._centered(dq @ transpose(self.k) + self.q @ transpose(dk))

    def pull_back(self, dw: Array) -> tuple[Heads, Heads]:
        """``(∂w/∂q)ᵀ`` and ``(∂w/∂k)ᵀ`` of ``dw``."""
        scores = self._uncentered(dw)
        on_q, on_k = scores @ self.k, array_namespace(dw).matrix_transpose(scores) @ self.q
        if self.slope_q is None:
            return on_q, on_k
        return self.slope_q * on_q, self.slope_k * on_k

    def _centered(self, products: Array) -> Array:
        """``dw`` along changes of the products ``q·k``."""
        xp = array_namespace(products)
        if self.total is None:
            scores = products / math.sqrt(self.q.shape[-1])
            return self.values * (scores - xp.sum(self.values * scores, axis=-1, keepdims=True))
        products = self.allowed * products / self.total
        return products - self.values * xp.sum(products, axis=-1, keepdims=True)

    def _uncentered(self, dw: Array) -> Array:
        """The transposed map."""
        xp = array_namespace(dw)
        rest = dw - xp.sum(self.values * dw, axis=-1, keepdims=True)
        if self.total is None:
            return self.values * rest / math.sqrt(self.q.shape[-1])
        return self.allowed * rest / self.total


def softmax_weights(q: Heads, k: Heads, valid: Valid | None, causal: bool) -> Weights:
    """``softmax_n(q_m·k_n/√width)``."""
    scores = q @ array_namespace(q).matrix_transpose(k) / math.sqrt(q.shape[-1])
    allowed = allowed_scores(q, valid, causal)
    values = softmax(scores if allowed is None else scores + allowed)
    return Weights(queries_of(valid) * values, q, k)


def linear_weights(q: Heads, k: Heads, valid: Valid | None, causal: bool) -> Weights:
    """``φ(q_m)·φ(k_n)`` over their sum, φ = elu + 1."""
    xp = array_namespace(q)
    (p, slope_p), (r, slope_r) = elu_plus_one(q), elu_plus_one(k)
    scores = allowed_scores(q, valid, causal)
    # A query that takes no part is left out here, once, and not where its weights are used.
    allowed = xp.ones_like(q[:1, :1, :1, :1]) if scores is None else queries_of(valid) * xp.exp(scores)
    products = allowed * (p @ xp.matrix_transpose(r))
    total = xp.sum(products, axis=-1, keepdims=True)
    total = xp.where(real_part(total) > 0, total, xp.ones_like(total))
    return Weights(products / total, p, r, slope_p, slope_r, total, allowed)
