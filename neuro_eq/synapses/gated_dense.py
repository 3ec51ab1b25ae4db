r"""A dense synapse that another reading of the same population lets through."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
from array_api_compat import array_namespace

from neuro_eq.activations import sigmoid
from neuro_eq.arrays import Activities, Array, Parameters, Shape, Units, flat
from neuro_eq.synapses.base import DirectedSynapse
from neuro_eq.synapses.dense import DenseBase, outer


class GatedDense(DirectedSynapse, DenseBase):
    r"""``f = g ⊙ (W a_pre)`` with ``g = σ(W_g a_pre + b_g)``, onto the target alone.

    With ``h = (W a_pre) ⊙ g ⊙ (1 − g)`` its response is ``δ ↦ g ⊙ (W δ) + h ⊙ (W_g δ)`` and the transposed one
    ``λ ↦ Wᵀ(g ⊙ λ) + W_gᵀ(h ⊙ λ)``.  It has no energy, so a network with it is trained by AsymEP.

    Both matrices start as that of a dense synapse with this ``gain``; b_g starts at 0, half open.
    """

    kind: Literal["gated_dense"] = "gated_dense"

    @property
    def driven(self) -> tuple[str, ...]:
        return (self.target,)

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        weight = super().parameter_shapes(shapes)["weight"]
        return {"weight": weight, "gate_weight": weight, "gate_bias": (math.prod(shapes[self.target]),)}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        weight = super().initial(shapes, rng)["weight"]
        gate = super().initial(shapes, rng)["weight"]
        return {"weight": weight, "gate_weight": gate, "gate_bias": np.zeros(gate.shape[0])}

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        if self.target not in onto:
            return {}
        g, content = self._parts(a, theta)
        return {self.target: self._shaped(g * content, a[self.target])}

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        if self.target not in onto:
            return {}
        xp = array_namespace(a[self.source])
        g, h = self._slopes(a, theta)
        change = flat(delta[self.source])
        through = g * (change @ xp.matrix_transpose(theta["weight"]))
        gating = h * (change @ xp.matrix_transpose(theta["gate_weight"]))
        return {self.target: self._shaped(through + gating, a[self.target])}

    def transposed(self, a: Activities, lam: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        if self.source not in onto:
            return {}
        g, h = self._slopes(a, theta)
        post = flat(lam[self.target])
        back = (g * post) @ theta["weight"] + (h * post) @ theta["gate_weight"]
        return {self.source: self._shaped(back, a[self.source])}

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        g, h = self._slopes(a, theta)
        post, pre = flat(lam[self.target]), a[self.source]
        gating = h * post
        return {
            "weight": outer(g * post, pre),
            "gate_weight": outer(gating, pre),
            "gate_bias": array_namespace(gating).mean(gating, axis=0),
        }

    def _parts(self, a: Activities, theta: Parameters) -> tuple[Array, Array]:
        """``g`` and ``W a_pre``, each ``(batch, n_post)``."""
        pre = flat(a[self.source])
        xp = array_namespace(pre)
        g = sigmoid(pre @ xp.matrix_transpose(theta["gate_weight"]) + theta["gate_bias"])
        return g, pre @ xp.matrix_transpose(theta["weight"])

    def _slopes(self, a: Activities, theta: Parameters) -> tuple[Array, Array]:
        """``g`` and ``h``: the derivatives of the drive by ``W a_pre`` and by the gate's potential."""
        g, content = self._parts(a, theta)
        return g, content * g * (1.0 - g)

    @staticmethod
    def _shaped(x: Array, like: Units) -> Units:
        return array_namespace(x).reshape(x, like.shape)
