r"""A modern Hopfield memory (Ramsauer et al., 2020; Krotov and Hopfield, 2021): patterns that a population recalls."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
from array_api_compat import array_namespace
from jaxtyping import Inexact
from pydantic import Field

from neuro_eq.activations import logsumexp, softmax
from neuro_eq.arrays import Activities, Array, Parameters, Samples, Shape, Units, flat, sum_units
from neuro_eq.synapses.base import SymmetricSynapse
from neuro_eq.synapses.dense import outer


class HopfieldMemory(SymmetricSynapse):
    r"""``e = −(γ/b) logsumexp(b ξ a)`` over the rows of ``ξ``, the stored patterns ``(M, n)``.

    Its drive is the recalled pattern ``γ ξᵀ p``, ``p = softmax(b ξ a)``.  The energy is concave, so it never asks
    for a smaller step.  Its response ``γ b ξᵀ(diag p − p pᵀ) ξ`` is ``γ b`` times the covariance of the patterns
    under ``p``; that of points with pairwise distances up to d is at most d²/4 (Popoviciu).

    A population with more than one axis is one long vector, flattened in C order.

    Args:
        target: the population.
        patterns: M.
        gamma: γ, the size of the drive; fixed.
        inverse_temperature: b, fixed.  Start patterns have norm about 1, so for activities of order one the scores
            ``ξ a`` are of order one, and with b = 1 the recall starts neither uniform nor decided.
        gain: start patterns are uniform with variance ``gain²/n``.
    """

    kind: Literal["hopfield_memory"] = "hopfield_memory"
    target: str
    patterns: int = Field(ge=1, le=2**31)
    gamma: float = Field(default=0.5, gt=0.0, le=1e100)
    inverse_temperature: float = Field(default=1.0, gt=0.0, le=1e100)
    gain: float = Field(default=1.0, ge=0.0, le=1e100)

    @property
    def populations(self) -> tuple[str, ...]:
        return (self.target,)

    @property
    def default_name(self) -> str:
        return f"{self.target}_memory"

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"patterns": (self.patterns, math.prod(shapes[self.target]))}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        shape = self.parameter_shapes(shapes)["patterns"]
        bound = self.gain * math.sqrt(3.0 / shape[1])
        return {"patterns": rng.uniform(-bound, bound, shape)}

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        """``γ b d²/4``, d the largest distance of two patterns; two patterns with equal scores reach it."""
        bound = 0.25 * self.gamma * self.inverse_temperature * furthest(theta["patterns"])
        return {(self.target, self.target): bound}

    def scaled(self, theta: Parameters, factor: float) -> dict[str, Array]:
        """The bound is quadratic in the patterns."""
        return {"patterns": math.sqrt(factor) * theta["patterns"]}

    def energy(self, a: Activities, theta: Parameters) -> Samples:
        scores = self.inverse_temperature * self._match(a[self.target], theta)
        return -self.gamma / self.inverse_temperature * sum_units(logsumexp(scores))

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        if self.target not in onto:
            return {}
        return {self.target: self._recall(self._retrieved(a, theta), a, theta)}

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        if self.target not in onto:
            return {}
        p = self._retrieved(a, theta)
        return {self.target: self._recall(self._shift(p, self._match(delta[self.target], theta)), a, theta)}

    def gradient(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        return {"patterns": -self.gamma * outer(self._retrieved(a, theta), a[self.target])}

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        p = self._retrieved(a, theta)
        shift = self._shift(p, self._match(lam[self.target], theta))
        return {"patterns": self.gamma * (outer(p, lam[self.target]) + outer(shift, a[self.target]))}

    def _match(self, a: Units, theta: Parameters) -> Array:
        """``ξ a``, ``(batch, M)``."""
        return flat(a) @ array_namespace(a).matrix_transpose(theta["patterns"])

    def _retrieved(self, a: Activities, theta: Parameters) -> Array:
        """``p = softmax(b ξ a)``, ``(batch, M)``."""
        return softmax(self.inverse_temperature * self._match(a[self.target], theta))

    def _shift(self, p: Array, match: Array) -> Array:
        """``b (diag p − p pᵀ) match``: how ``p`` moves when the matches do."""
        xp = array_namespace(p)
        return self.inverse_temperature * p * (match - xp.sum(p * match, axis=-1, keepdims=True))

    def _recall(self, p: Array, a: Activities, theta: Parameters) -> Units:
        """``γ ξᵀ p`` in the population's shape."""
        return array_namespace(p).reshape(self.gamma * (p @ theta["patterns"]), a[self.target].shape)


def furthest(patterns: Inexact[Array, "patterns n"]) -> float:
    """The largest squared distance of two patterns, in float64."""
    xp = array_namespace(patterns)
    xi = xp.astype(patterns, xp.float64)
    squares = xp.sum(xi * xi, axis=1)
    # The largest one is not a difference of nearly equal numbers, so this form loses nothing.
    distances = squares[:, None] + squares[None, :] - 2.0 * (xi @ xp.matrix_transpose(xi))
    return max(0.0, float(xp.max(distances)))
