"""One matrix for every token: how tokens of one population drive the same tokens of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from array_api_compat import array_namespace
from pydantic import Field

from neuro_eq.arrays import Array, Parameters, Shape
from neuro_eq.synapses.dense import Bilinear
from neuro_eq.synapses.tokens import mean_outer


class TokenDense(Bilinear):
    """``e = −Σ_n ⟨a_post,n , J a_pre,n⟩`` over the tokens n, or on one population half of that with ``J = Jᵀ``.

    Args:
        source, target: populations ``(tokens, d_pre)`` and ``(tokens, d_post)``; one population for a self-synapse.
        gain: factor on the Glorot start values of J.
        diagonal: added to the diagonal of J at the start: a residual connection of this strength.
    """

    kind: Literal["token_dense"] = "token_dense"
    diagonal: float = Field(default=0.0, ge=-1e100, le=1e100)

    def shape_problem(self, shapes: Mapping[str, Shape]) -> str | None:
        for name in self.populations:
            if len(shapes[name]) != 2:
                return f'"{name}" must have the shape (tokens, d), found {list(shapes[name])}'
        if shapes[self.source][0] != shapes[self.target][0]:
            return (
                f'"{self.source}" and "{self.target}" must have the same tokens, found {shapes[self.source][0]} and '
                f"{shapes[self.target][0]}"
            )
        return None

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"weight": (shapes[self.target][-1], shapes[self.source][-1])}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        weight = super().initial(shapes, rng)["weight"]
        return {"weight": weight + self.diagonal * np.eye(*weight.shape)}

    def forward(self, pre: Array, like: Array, theta: Parameters) -> Array:
        return pre @ array_namespace(pre).matrix_transpose(theta["weight"])

    def backward(self, post: Array, like: Array, theta: Parameters) -> Array:
        return post @ theta["weight"]

    def pair(self, post: Array, pre: Array) -> Array:
        return mean_outer(post, pre)
