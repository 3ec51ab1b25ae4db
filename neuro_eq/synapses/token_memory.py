r"""A Hopfield memory that every token asks for itself: the feed-forward layer of a network with an energy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from array_api_compat import array_namespace
from jaxtyping import Inexact
from pydantic import Field

from neuro_eq.activations import logsumexp, sigmoid, softmax
from neuro_eq.arrays import (
    Activities,
    Array,
    Parameters,
    Reach,
    Samples,
    Shape,
    is_complex,
    real_part,
    sides,
    sum_units,
)
from neuro_eq.synapses.dense import spectral_norm
from neuro_eq.synapses.hopfield_memory import furthest
from neuro_eq.synapses.tokens import OnTokens, Tokens, Valid, mean_outer, mean_rows

Scores = Inexact[Array, "batch tokens patterns"]

STEEPEST = 1.0 + math.exp(-3.0)
"""A bound on the slope of ``softplus(t) σ(t)``: with ``w = e^−t`` and ``softplus(t) ≤ t + w`` it is at most
``(1 + t w + w²)/(1 + w)²``, which up to t = 2 is at most 1 and beyond at most ``1 + (t − 2) w``, largest at t = 3."""


class TokenMemory(OnTokens):
    r"""``e = −γ Σ_tokens F(ξ a + c)`` over the rows of ``ξ``, the stored patterns ``(M, d)``, with one of

        relu         F(s) = ½ Σ max(s, 0)²
        softplus     F(s) = ½ Σ [softplus(b s)/b]²
        logsumexp    F(s) = (1/b) log Σ e^{b s}

    and drives each token by ``γ ξᵀ f(ξ a + c)``, ``f = ∇F``: ``max(s, 0)``, which is a feed-forward layer whose
    second matrix is the first one's transpose; ``softplus(b s) σ(b s)/b``, its smooth form; or ``softmax(b s)``, which
    recalls a pattern.  Every F is convex, so the energy is concave in the activities and never asks for a smaller
    step.  The response is at most ``γ ‖ξ‖²`` for relu, 1.05 times that for softplus, and ``γ b d²/4`` with the largest
    distance d of two patterns for logsumexp.

    A token that is padding has its own memory like any other: tokens do not meet here.

    Args:
        target, shared, padding: as of every synapse on tokens.
        patterns: M.
        form: F.
        gamma: γ, the size of the drive; fixed.
        inverse_temperature: b of softplus and logsumexp, fixed.
        bias: whether c is learned; it is nought otherwise, and at the start.
        gain: start patterns are uniform with variance ``gain²/d``.
    """

    kind: Literal["token_memory"] = "token_memory"
    patterns: int = Field(ge=1, le=2**31)
    form: Literal["relu", "softplus", "logsumexp"] = "relu"
    gamma: float = Field(default=1.0, gt=0.0, le=1e100)
    inverse_temperature: float = Field(default=1.0, gt=0.0, le=1e100)
    bias: bool = False
    gain: float = Field(default=1.0, ge=0.0, le=1e100)

    @property
    def default_name(self) -> str:
        return f"{self.target}_memory"

    @property
    def analytic(self) -> bool:
        return self.form != "relu"

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        needed: dict[str, Shape] = {"patterns": (self.patterns, shapes[self.target][-1])}
        if self.bias:
            needed["bias"] = (self.patterns,)
        return needed

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        shape = self.parameter_shapes(shapes)["patterns"]
        bound = self.gain * math.sqrt(3.0 / shape[1])
        start = {"patterns": rng.uniform(-bound, bound, shape)}
        return {**start, "bias": np.zeros(self.patterns)} if self.bias else start

    def scaled(self, theta: Parameters, factor: float) -> dict[str, Array]:
        """The bound is quadratic in the patterns, and does not depend on c."""
        return {**theta, "patterns": math.sqrt(factor) * theta["patterns"]}

    def pull_bound(self, theta: Parameters, reach: Reach) -> float:
        if self.form == "logsumexp":
            return 0.25 * self.gamma * self.inverse_temperature * furthest(theta["patterns"])
        return self.gamma * (1.0 if self.form == "relu" else STEEPEST) * spectral_norm(theta["patterns"]) ** 2

    def term(self, x: Tokens, valid: Valid | None, theta: Parameters) -> Samples:
        s, b = self._scores(x, theta), self.inverse_temperature
        if self.form == "logsumexp":
            return -self.gamma / b * sum_units(logsumexp(b * s))
        height = _relu(s) if self.form == "relu" else softplus(b * s) / b
        return -0.5 * self.gamma * sum_units(height * height)

    def pull(self, x: Tokens, valid: Valid | None, theta: Parameters) -> Tokens:
        return self.gamma * (self._answer(self._scores(x, theta)) @ theta["patterns"])

    def pull_response(self, x: Tokens, change: Tokens, valid: Valid | None, theta: Parameters) -> Tokens:
        return self.gamma * (self._shift(self._scores(x, theta), self._match(change, theta)) @ theta["patterns"])

    def term_gradient(self, x: Tokens, valid: Valid | None, theta: Parameters) -> dict[str, Array]:
        return self._outer(-self.gamma * self._answer(self._scores(x, theta)), x)

    def pull_vjp(self, x: Tokens, lam: Tokens, valid: Valid | None, theta: Parameters) -> dict[str, Array]:
        s = self._scores(x, theta)
        moved = self._outer(self.gamma * self._shift(s, self._match(lam, theta)), x)
        return {**moved, "patterns": moved["patterns"] + self.gamma * mean_outer(self._answer(s), lam)}

    def pieces(self, a: Activities, theta: Parameters) -> tuple[Array, ...]:
        if self.form != "relu":
            return ()
        return tuple(sides(self._scores(a[name], theta)) for name in self.driven)

    def _outer(self, f: Scores, x: Tokens) -> dict[str, Array]:
        gradient = {"patterns": mean_outer(f, x)}
        return {**gradient, "bias": mean_rows(f)} if self.bias else gradient

    def _match(self, x: Tokens, theta: Parameters) -> Scores:
        """``ξ a``."""
        return x @ array_namespace(x).matrix_transpose(theta["patterns"])

    def _scores(self, x: Tokens, theta: Parameters) -> Scores:
        """``ξ a + c``."""
        return self._match(x, theta) + theta["bias"] if self.bias else self._match(x, theta)

    def _answer(self, s: Scores) -> Scores:
        """``f(s) = ∇F``."""
        b = self.inverse_temperature
        if self.form == "relu":
            return _relu(s)
        return softmax(b * s) if self.form == "logsumexp" else softplus(b * s) * sigmoid(b * s) / b

    def _shift(self, s: Scores, ds: Scores) -> Scores:
        """``f'(s) ds``."""
        xp, b = array_namespace(s), self.inverse_temperature
        if self.form == "relu":
            return xp.where(real_part(s) > 0, ds, xp.zeros_like(ds))
        if self.form == "logsumexp":
            p = softmax(b * s)
            return b * p * (ds - xp.sum(p * ds, axis=-1, keepdims=True))
        p = sigmoid(b * s)
        return (p * p + softplus(b * s) * p * (1.0 - p)) * ds


def softplus(x: Scores) -> Scores:
    """``log(1 + e^x)`` without overflow, and holomorphic."""
    xp = array_namespace(x)
    above = real_part(x) > 0
    return xp.where(above, x, xp.zeros_like(x)) + xp.log1p(xp.exp(xp.where(above, -x, x)))


def _relu(s: Scores) -> Scores:
    xp = array_namespace(s)
    if is_complex(s):
        return xp.where(real_part(s) > 0, s, xp.zeros_like(s))
    # A choice by the sign of each number takes thirty times as long on some libraries.
    return xp.clip(s, 0.0, None)
