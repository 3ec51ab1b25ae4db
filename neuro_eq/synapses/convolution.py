"""A convolution felt at both of its ends, with pooling behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from array_api_compat import array_namespace, device
from jaxtyping import Inexact
from pydantic import Field, field_validator

from neuro_eq.arrays import Array, Parameters, Shape
from neuro_eq.synapses.dense import spectral_norm
from neuro_eq.synapses.pooling import Above, Mapped, Maps, Pooled

MOST = 2**31
"""Numbers that one sample of a convolution may take on the way."""

Columns = Inexact[Array, "batch weights places"]


class Convolution(Pooled):
    """``e = −⟨a_post, pool(W * a_pre) + b⟩``: what drives the source is the exact transpose of what drives the target.

    A kernel that moves by ``stride`` over ``kernel`` places covers a unit of the source at most ``⌈kernel/stride⌉``
    times along each axis, so the norm of the convolution is at most that of W, as a matrix from what a kernel sees,
    times the root of how often a unit is seen.

    Args:
        source, target: populations ``(channels, height, width)``.
        kernel: height and width of the kernel; one number for both.
        stride: places by which the kernel moves.
        padding: rows and columns of noughts around the source.
        pool: how windows of the convolution's answer are pooled, ``"average"`` or ``"max"``; None where they are not.
        size: of the side of a window.
        bias: whether each channel of the target has a b of its own, which starts at nought.
        gain: factor on the Glorot start values of W.
    """

    kind: Literal["convolution"] = "convolution"
    kernel: tuple[int, int] = (3, 3)
    stride: int = Field(default=1, ge=1, le=2**15)
    padding: int = Field(default=0, ge=0, le=2**15)
    bias: bool = True
    gain: float = Field(default=1.0, ge=0.0, le=1e100)

    @field_validator("kernel", mode="before")
    @classmethod
    def _one_number_for_both(cls, value: Any) -> Any:
        return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("kernel")
    @classmethod
    def _kernel_is_positive(cls, value: tuple[int, int]) -> tuple[int, int]:
        if min(value) < 1:
            raise ValueError(f"every side must be at least 1, found {list(value)}")
        return value

    def shape_problem(self, shapes: Mapping[str, Shape]) -> str | None:
        problem = super().shape_problem(shapes)
        if problem is None:
            channels, height, width = shapes[self.source]
            seen = math.prod(self.kernel) * math.prod(self._places((height, width)))
            widened = (height + 2 * self.padding) * (width + 2 * self.padding)
            if channels * max(seen, widened) > MOST:
                return f"at all of its places the kernel sees {channels * max(seen, widened)} numbers, more than {MOST}"
        return problem

    def mapped_shape(self, source: Shape, target: Shape) -> Shape:
        return (target[0], *self._places(source[1:]))

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        post, pre = shapes[self.target][0], shapes[self.source][0]
        needed: dict[str, Shape] = {"weight": (post, pre, *self.kernel)}
        if self.bias:
            needed["bias"] = (post,)
        return needed

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        shape = self.parameter_shapes(shapes)["weight"]
        bound = self.gain * math.sqrt(6.0 / ((shape[0] + shape[1]) * math.prod(self.kernel)))
        start = {"weight": rng.uniform(-bound, bound, shape)}
        return {**start, "bias": np.zeros(shape[0])} if self.bias else start

    def scaled(self, theta: Parameters, factor: float) -> dict[str, Array]:
        """What is constant has no part in the response."""
        return {**theta, "weight": factor * theta["weight"]}

    def mapped(self, pre: Maps, theta: Parameters) -> Mapped:
        xp = array_namespace(pre)
        seen = _matrix(theta["weight"]) @ self._seen(pre)
        return xp.reshape(seen, (pre.shape[0], -1, *self._places(pre.shape[2:])))

    def mapped_back(self, post: Mapped, like: Maps, theta: Parameters) -> Maps:
        xp = array_namespace(post)
        flat = xp.reshape(post, (post.shape[0], post.shape[1], -1))
        return self._unseen(xp.matrix_transpose(_matrix(theta["weight"])) @ flat, like)

    def pair(self, post: Mapped, pre: Maps, theta: Parameters) -> dict[str, Array]:
        xp = array_namespace(post)
        rows = xp.reshape(xp.permute_dims(post, (1, 0, 2, 3)), (post.shape[1], -1))
        seen = xp.permute_dims(self._seen(pre), (0, 2, 1))
        product = rows @ xp.reshape(seen, (-1, seen.shape[2])) / post.shape[0]
        return {"weight": xp.reshape(product, theta["weight"].shape)}

    def offset(self, theta: Parameters) -> Array | None:
        return theta["bias"][:, None, None] if self.bias else None

    def offset_gradient(self, post: Above) -> dict[str, Array]:
        xp = array_namespace(post)
        return {"bias": xp.sum(post, axis=(0, 2, 3)) / post.shape[0]} if self.bias else {}

    def map_bound(self, theta: Parameters) -> float:
        often = math.prod(-(-side // self.stride) for side in self.kernel)
        return spectral_norm(_matrix(theta["weight"])) * math.sqrt(often)

    def _places(self, image: tuple[int, ...]) -> tuple[int, int]:
        """Where the kernel stops, along each axis."""
        tall, wide = (
            (length + 2 * self.padding - side) // self.stride + 1
            for length, side in zip(image, self.kernel, strict=True)
        )
        return tall, wide

    def _seen(self, pre: Maps) -> Columns:
        """What the kernel sees at each place: ``(batch, channels · kernel, places)``."""
        xp = array_namespace(pre)
        padded = self._padded(pre)
        parts = [padded[:, :, rows, columns] for rows, columns in self._offsets(pre)]
        stacked = xp.stack(parts, axis=2)
        return xp.reshape(stacked, (pre.shape[0], pre.shape[1] * len(parts), -1))

    def _unseen(self, columns: Columns, like: Maps) -> Maps:
        """The transpose of :meth:`_seen`: every unit gets back what the kernel made of it, wherever it was seen."""
        xp = array_namespace(columns)
        batch, channels, height, width = like.shape
        shape = (batch, channels, math.prod(self.kernel), *self._places((height, width)))
        parts = xp.reshape(columns, shape)
        edge = self.padding
        padded = xp.zeros(
            (batch, channels, height + 2 * edge, width + 2 * edge), dtype=columns.dtype, device=device(columns)
        )
        for i, (rows, columns_) in enumerate(self._offsets(like)):
            padded[:, :, rows, columns_] += parts[:, :, i, :, :]
        return padded[:, :, edge : edge + height, edge : edge + width]

    def _padded(self, maps: Maps) -> Inexact[Array, "batch channels tall wide"]:
        if not self.padding:
            return maps
        xp, edge = array_namespace(maps), self.padding
        batch, channels, height, width = maps.shape
        side = xp.zeros((batch, channels, height, edge), dtype=maps.dtype, device=device(maps))
        end = xp.zeros((batch, channels, edge, width + 2 * edge), dtype=maps.dtype, device=device(maps))
        return xp.concat([end, xp.concat([side, maps, side], axis=3), end], axis=2)

    def _offsets(self, maps: Maps) -> list[tuple[slice, slice]]:
        """For each weight of the kernel the units that it meets, in padded maps."""
        tall, wide = self._places(maps.shape[2:])
        step = self.stride
        return [
            (slice(i, i + step * (tall - 1) + 1, step), slice(j, j + step * (wide - 1) + 1, step))
            for i in range(self.kernel[0])
            for j in range(self.kernel[1])
        ]


def _matrix(weight: Inexact[Array, "post pre tall wide"]) -> Inexact[Array, "post seen"]:
    """The kernel as a matrix from what it sees."""
    return array_namespace(weight).reshape(weight, (weight.shape[0], -1))
