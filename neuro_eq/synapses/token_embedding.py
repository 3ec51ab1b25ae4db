"""Words as tokens: each id has a vector."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from array_api_compat import array_namespace
from pydantic import Field

from neuro_eq.arrays import Array, Parameters, Shape, Units, real_part
from neuro_eq.synapses.by_id import sums_by_id
from neuro_eq.synapses.embedding import Embedding
from neuro_eq.synapses.tokens import Tokens, mean_outer


class TokenEmbedding(Embedding):
    """``e = −Σ_n ⟨a_n, W[x_n] + P_n⟩``: ``x_n`` is an id and W has a row for each, ``(vocabulary, d)``.

    Args:
        source: ids 0 … vocabulary − 1, ``(tokens,)``, or one-hot rows ``(tokens, vocabulary)``; clamped.
        target, shared: the tokens.
        vocabulary: number of ids.
        positions: whether each place has a vector P of its own.
        gain: start values of W are uniform with variance ``gain²``.
    """

    kind: Literal["token_embedding"] = "token_embedding"
    vocabulary: int = Field(ge=1, le=2**24)

    def source_problem(self, source: Shape, tokens: int) -> str | None:
        if source in ((tokens,), (tokens, self.vocabulary)):
            return None
        return (
            f'"{self.source}" must hold {tokens} ids, [{tokens}], or one-hot rows, [{tokens}, {self.vocabulary}], '
            f"found {list(source)}"
        )

    def data_problem(self, a: Mapping[str, np.ndarray]) -> str | None:
        ids = a[self.source]
        xp = array_namespace(ids)
        if ids.ndim == 3 or bool(xp.all((ids == xp.round(ids)) & (ids >= 0) & (ids < self.vocabulary))):
            return None
        low, high = float(xp.min(ids)), float(xp.max(ids))
        return f'"{self.source}" must hold whole numbers in 0…{self.vocabulary - 1}, found {low:g}…{high:g}'

    def weight_shape(self, source: Shape, d: int) -> Shape:
        return (self.vocabulary, d)

    def spread(self, shape: Shape) -> float:
        return math.sqrt(3.0)

    def embedded(self, x: Units, theta: Parameters) -> Tokens:
        if x.ndim == 3:
            return x @ theta["weight"]
        xp = array_namespace(x)
        return xp.reshape(xp.take(theta["weight"], self._ids(x), axis=0), (*x.shape, -1))

    def pair(self, post: Tokens, x: Units, theta: Parameters) -> Array:
        if x.ndim == 3:
            return mean_outer(x, post)
        xp = array_namespace(post)
        return sums_by_id(xp.reshape(post, (-1, post.shape[-1])), self._ids(x), self.vocabulary) / post.shape[0]

    @staticmethod
    def _ids(x: Units) -> Array:
        xp = array_namespace(x)
        return xp.reshape(xp.astype(xp.round(real_part(x)), xp.int64), (-1,))
