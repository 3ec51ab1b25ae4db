"""Images as tokens: one for each patch (Dosovitskiy et al., 2021)."""

from __future__ import annotations

import math
from typing import Any, Literal

from array_api_compat import array_namespace
from pydantic import field_validator

from neuro_eq.arrays import Array, Parameters, Shape, Units
from neuro_eq.synapses.embedding import Embedding, glorot
from neuro_eq.synapses.tokens import Tokens, mean_outer


class PatchEmbedding(Embedding):
    """``e = −Σ_n ⟨a_n, W x_n + P_n⟩``: ``x_n`` is the n-th patch of an image, row by row.

    Args:
        source: the image, ``(height, width)`` or ``(channels, height, width)``; clamped.
        target, shared: the tokens, one for each patch.
        patch: height and width of a patch; one number for both.
        positions: whether each place has a vector P of its own.
        gain: factor on the Glorot start values of W.
    """

    kind: Literal["patch_embedding"] = "patch_embedding"
    patch: tuple[int, int]

    @field_validator("patch", mode="before")
    @classmethod
    def _one_number_for_both(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("patch")
    @classmethod
    def _patch_is_positive(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 1:
            raise ValueError(f"every side must be at least 1, found {list(value)}")
        return value

    def source_problem(self, source: Shape, tokens: int) -> str | None:
        if len(source) not in (2, 3):
            return f'"{self.source}" must have the shape ([channels,] height, width), found {list(source)}'
        if source[-2] % self.patch[0] or source[-1] % self.patch[1]:
            return f"an image of {source[-2]}×{source[-1]} does not divide into patches of {list(self.patch)}"
        patches = (source[-2] // self.patch[0]) * (source[-1] // self.patch[1])
        if patches != tokens:
            return f'"{self.target}" has {tokens} tokens, but an image has {patches} patches'
        return None

    def weight_shape(self, source: Shape, d: int) -> Shape:
        return (d, (source[0] if len(source) == 3 else 1) * math.prod(self.patch))

    def spread(self, shape: Shape) -> float:
        return glorot(shape)

    def embedded(self, x: Units, theta: Parameters) -> Tokens:
        return self.patches(x) @ array_namespace(x).matrix_transpose(theta["weight"])

    def pair(self, post: Tokens, x: Units, theta: Parameters) -> Array:
        return mean_outer(post, self.patches(x))

    def patches(self, x: Units) -> Tokens:
        """``(batch, patches, channels · height · width of a patch)``."""
        xp = array_namespace(x)
        (tall, wide), (height, width) = self.patch, x.shape[-2:]
        cut = xp.reshape(x, (x.shape[0], -1, height // tall, tall, width // wide, wide))
        moved = xp.permute_dims(cut, (0, 2, 4, 1, 3, 5))
        return xp.reshape(moved, (x.shape[0], (height // tall) * (width // wide), -1))
