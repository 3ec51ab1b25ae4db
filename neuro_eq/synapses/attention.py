r"""What attention energies share: heads of queries ``q = W_Q a`` and keys ``k = W_K a``, and the two terms of a drive.

An energy ``e(q, k)`` of a head drives the token n by

    W_Qᵀ c_n + W_Kᵀ g_n,      c = −∂e/∂q,   g = −∂e/∂k:

a query term, which is what attention usually computes, and a key term, without which there is no energy.  There is
neither a value nor an output matrix: both are fixed by the energy.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from array_api_compat import array_namespace, device
from jaxtyping import Inexact
from pydantic import Field

from neuro_eq.arrays import Array, Parameters, Samples, Shape, real_part
from neuro_eq.synapses.dense import spectral_norm
from neuro_eq.synapses.tokens import OnTokens, Tokens, Valid, mean_outer

Heads: TypeAlias = Inexact[Array, "batch heads tokens width"]
"""Queries or keys, one row for each head and token."""

Merged: TypeAlias = Inexact[Array, "batch tokens whole"]
"""The same, the heads of a token one after another."""


class Attention(OnTokens):
    """An energy ``γ Σ_heads e(q, k)`` of one population's tokens.

    Args:
        target, shared, padding: as of every synapse on tokens.
        heads: number of heads.
        width: of a head's queries and keys; ``d/heads`` when it is not given.
        gamma: γ, the size of the drive; fixed.
        gain: start values are uniform with variance ``gain²/d``, so that tokens of norm ``√d`` have queries and keys
            of order ``gain``.
    """

    heads: int = Field(default=1, ge=1, le=2**15)
    width: int | None = Field(default=None, ge=1, le=2**31)
    gamma: float = Field(default=1.0, gt=0.0, le=1e100)
    gain: float = Field(default=1.0, ge=0.0, le=1e100)

    @property
    def default_name(self) -> str:
        return f"{self.target}_attention"

    def shape_problem(self, shapes: Mapping[str, Shape]) -> str | None:
        problem = super().shape_problem(shapes)
        if problem is None and self.width is None and shapes[self.target][-1] % self.heads:
            return f"{shapes[self.target][-1]} numbers a token do not divide into {self.heads} heads; give a width"
        return problem

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        d = shapes[self.target][-1]
        whole = self.heads * (d // self.heads if self.width is None else self.width)
        return {"query": (whole, d), "key": (whole, d)}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        bound = self.gain * math.sqrt(3.0 / shapes[self.target][-1])
        return {name: rng.uniform(-bound, bound, shape) for name, shape in self.parameter_shapes(shapes).items()}

    def scaled(self, theta: Parameters, factor: float) -> dict[str, Array]:
        """Every term of the bound is at least quadratic in the two matrices."""
        return {name: math.sqrt(factor) * value for name, value in theta.items()}

    # -- one head's energy -------------------------------------------------------------------------------------

    @abstractmethod
    def match(self, q: Heads, k: Heads, valid: Valid | None) -> Samples:
        """``Σ_heads e(q, k)``."""

    @abstractmethod
    def forces(self, q: Heads, k: Heads, valid: Valid | None) -> tuple[Heads, Heads]:
        """``c = −∂e/∂q`` and ``g = −∂e/∂k``."""

    @abstractmethod
    def force_changes(self, q: Heads, k: Heads, dq: Heads, dk: Heads, valid: Valid | None) -> tuple[Heads, Heads]:
        """The derivatives of ``c`` and ``g`` along ``dq`` and ``dk``."""

    # -- one population ----------------------------------------------------------------------------------------

    def term(self, x: Tokens, valid: Valid | None, theta: Parameters) -> Samples:
        q, k = self._project(x, theta)
        return self.gamma * self.match(q, k, valid)

    def pull(self, x: Tokens, valid: Valid | None, theta: Parameters) -> Tokens:
        c, g = self._forces(x, valid, theta)
        return c @ theta["query"] + g @ theta["key"]

    def pull_response(self, x: Tokens, change: Tokens, valid: Valid | None, theta: Parameters) -> Tokens:
        dc, dg = self._changes(x, change, valid, theta)
        return dc @ theta["query"] + dg @ theta["key"]

    def term_gradient(self, x: Tokens, valid: Valid | None, theta: Parameters) -> dict[str, Array]:
        c, g = self._forces(x, valid, theta)
        return {"query": -mean_outer(c, x), "key": -mean_outer(g, x)}

    def pull_vjp(self, x: Tokens, lam: Tokens, valid: Valid | None, theta: Parameters) -> dict[str, Array]:
        c, g = self._forces(x, valid, theta)
        dc, dg = self._changes(x, lam, valid, theta)
        return {
            "query": mean_outer(dc, x) + mean_outer(c, lam),
            "key": mean_outer(dg, x) + mean_outer(g, lam),
        }

    def head_norms(self, theta: Parameters) -> list[tuple[float, float, float]]:
        """``‖W_Q‖₂``, ``‖W_K‖₂`` and ``‖W_Qᵀ W_K‖₂`` of each head."""
        found: list[tuple[float, float, float]] = []
        width = theta["query"].shape[0] // self.heads
        for h in range(self.heads):
            query, key = (theta[name][h * width : (h + 1) * width, :] for name in ("query", "key"))
            product = array_namespace(query).matrix_transpose(query) @ key
            found.append((spectral_norm(query), spectral_norm(key), spectral_norm(product)))
        return found

    def _project(self, x: Tokens, theta: Parameters) -> tuple[Heads, Heads]:
        transpose = array_namespace(x).matrix_transpose
        return split(x @ transpose(theta["query"]), self.heads), split(x @ transpose(theta["key"]), self.heads)

    def _forces(self, x: Tokens, valid: Valid | None, theta: Parameters) -> tuple[Merged, Merged]:
        c, g = self.forces(*self._project(x, theta), valid)
        return self.gamma * merge(c), self.gamma * merge(g)

    def _changes(self, x: Tokens, change: Tokens, valid: Valid | None, theta: Parameters) -> tuple[Merged, Merged]:
        dc, dg = self.force_changes(*self._project(x, theta), *self._project(change, theta), valid)
        return self.gamma * merge(dc), self.gamma * merge(dg)


def allowed_scores(like: Heads, valid: Valid | None, causal: bool) -> Array | None:
    """Nought where a query may look at a key and −∞ where not; None where all may.

    The shape is ``(batch or 1, 1, tokens, tokens)``.  A query that takes no part may look at itself, so that no row is
    empty; whoever asks leaves that query out.
    """
    if valid is None and not causal:
        return None
    real = real_part(like)
    xp = array_namespace(real)
    place = xp.arange(real.shape[2], device=device(real))
    itself = xp.reshape(place[:, None] == place[None, :], (1, 1, real.shape[2], real.shape[2]))
    may = place[:, None] >= place[None, :] if causal else xp.ones_like(itself[0, 0, ...])
    may = xp.reshape(may, itself.shape)
    if valid is not None:
        may = (may & (valid > 0)[:, None, None, :]) | itself
    nought = xp.zeros((1, 1, 1, 1), dtype=real.dtype, device=device(real))
    return xp.where(may, nought, nought - float("inf"))


def queries_of(valid: Valid | None) -> Array:
    """What the rows of queries count: one, or nought for tokens that take no part, ``(batch, 1, tokens, 1)``."""
    return 1.0 if valid is None else valid[:, None, :, None]


def split(x: Merged, heads: int) -> Heads:
    """One token's row cut into heads."""
    xp = array_namespace(x)
    batch, tokens, whole = x.shape
    return xp.permute_dims(xp.reshape(x, (batch, tokens, heads, whole // heads)), (0, 2, 1, 3))


def merge(x: Heads) -> Merged:
    """The way back."""
    xp = array_namespace(x)
    batch, heads, tokens, width = x.shape
    return xp.reshape(xp.permute_dims(x, (0, 2, 1, 3)), (batch, tokens, heads * width))
