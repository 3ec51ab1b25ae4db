r"""All-to-all synapses.

``W`` has shape ``(n_post, n_pre)`` with pre = ``source`` and post = ``target``; populations with more than one
axis are flattened in C order.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
from array_api_compat import array_namespace
from jaxtyping import Inexact
from pydantic import Field

from neuro_eq.arrays import Activities, Array, Parameters, Samples, Shape, flat, inner
from neuro_eq.synapses.base import DirectedSynapse, SymmetricSynapse, Synapse


class DenseBase(Synapse):
    """The ends, the start values and the one matrix that all dense synapses share.

    Args:
        source: the population before it.
        target: the population after it; a symmetric synapse drives both.
        gain: factor on the start values, which are uniform with variance ``gain² · 2/(n_pre + n_post)`` (Glorot).
    """

    source: str
    target: str
    gain: float = Field(default=1.0, ge=0.0, le=1e100)

    @property
    def populations(self) -> tuple[str, ...]:
        return (self.source,) if self.source == self.target else (self.source, self.target)

    @property
    def default_name(self) -> str:
        return f"{self.source}_{self.target}"

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"weight": (math.prod(shapes[self.target]), math.prod(shapes[self.source]))}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        post, pre = self.parameter_shapes(shapes)["weight"]
        bound = self.gain * math.sqrt(6.0 / (pre + post))
        return {"weight": rng.uniform(-bound, bound, (post, pre))}

    def forward(self, pre: Array, like: Array, theta: Parameters) -> Array:
        """``W a_pre`` in the target's shape."""
        xp = array_namespace(pre)
        return xp.reshape(flat(pre) @ xp.matrix_transpose(theta["weight"]), like.shape)

    def backward(self, post: Array, like: Array, theta: Parameters) -> Array:
        """``Wᵀ a_post`` in the source's shape."""
        return array_namespace(post).reshape(flat(post) @ theta["weight"], like.shape)

    def pair(self, post: Array, pre: Array) -> Array:
        """``∂⟨a_post, W a_pre⟩/∂W``, mean over the batch."""
        return outer(post, pre)


def spectral_norm(weight: Inexact[Array, "post pre"]) -> float:
    """``‖W‖₂``, from the largest eigenvalue of the smaller of ``WᵀW`` and ``WWᵀ``, in float64.

    Squaring costs half of the digits of *small* singular values, none of the largest, and saves the time of a whole
    singular value decomposition.
    """
    xp = array_namespace(weight)
    if not bool(xp.all(xp.isfinite(weight))):
        return math.inf
    w = xp.astype(weight, xp.float64)
    w = w if w.shape[0] <= w.shape[1] else xp.matrix_transpose(w)
    return math.sqrt(max(0.0, float(xp.linalg.eigvalsh(w @ xp.matrix_transpose(w))[-1])))


def outer(post: Array, pre: Array) -> Array:
    """``post ⊗ pre``, mean over the batch: the one thing that a dense synapse learns from."""
    xp = array_namespace(post)
    return xp.matrix_transpose(flat(post)) @ flat(pre) / post.shape[0]


class Bilinear(SymmetricSynapse, DenseBase):
    """``e = −⟨a_post, W a_pre⟩``, or on one population ``e = −½⟨a, W a⟩`` with ``W = Wᵀ`` kept by projection.

    What ``W a_pre`` means is said by :meth:`forward`, :meth:`backward` and :meth:`pair`.
    """

    @property
    def on_itself(self) -> bool:
        """Whether it is a self-synapse."""
        return self.source == self.target

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        return self.project(super().initial(shapes, rng))

    def project(self, theta: Parameters) -> dict[str, Array]:
        if not self.on_itself:
            return dict(theta)
        weight = theta["weight"]
        return {"weight": 0.5 * (weight + array_namespace(weight).matrix_transpose(weight))}

    def energy(self, a: Activities, theta: Parameters) -> Samples:
        post, pre = a[self.target], a[self.source]
        whole = -inner(post, self.forward(pre, post, theta))
        return 0.5 * whole if self.on_itself else whole

    def still(self, clamped: Collection[str]) -> bool:
        return self.source in clamped or self.target in clamped

    def feeds_back(self, population: str) -> bool:
        return self.on_itself and population == self.source

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        post, pre = a[self.target], a[self.source]
        felt: dict[str, Array] = {}
        if self.target in onto:
            felt[self.target] = self.forward(pre, post, theta)
        if self.source in onto and not self.on_itself:
            felt[self.source] = self.backward(post, pre, theta)
        return felt

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        return self.drive(delta, theta, onto)

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        norm = spectral_norm(theta["weight"])
        return {(self.target, self.source): norm, (self.source, self.target): norm}

    def gradient(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        whole = -self.pair(a[self.target], a[self.source])
        return {"weight": 0.5 * whole if self.on_itself else whole}

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        both = self.pair(lam[self.target], a[self.source]) + self.pair(a[self.target], lam[self.source])
        return {"weight": 0.5 * both if self.on_itself else both}


class Dense(Bilinear):
    """``e = −a_postᵀ W a_pre``, or on one population ``e = −½ aᵀ W a`` with ``W = Wᵀ`` kept by projection."""

    kind: Literal["dense"] = "dense"


class DirectedDense(DirectedSynapse, DenseBase):
    """``f = W a_pre`` onto the target alone; the reverse direction, if any, is a synapse of its own."""

    kind: Literal["directed_dense"] = "directed_dense"

    @property
    def driven(self) -> tuple[str, ...]:
        return (self.target,)

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        if self.target not in onto:
            return {}
        return {self.target: self.forward(a[self.source], a[self.target], theta)}

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        return self.drive(delta, theta, onto)

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        return {(self.target, self.source): spectral_norm(theta["weight"])}

    def transposed(self, a: Activities, lam: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        if self.source not in onto:
            return {}
        return {self.source: self.backward(lam[self.target], a[self.source], theta)}

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        return {"weight": outer(lam[self.target], a[self.source])}
