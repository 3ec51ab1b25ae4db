r"""Pooling felt at both of its ends, as in convolutional networks that settle (Ernoult et al., 2019)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias

import numpy as np
from array_api_compat import array_namespace, device
from jaxtyping import Inexact
from pydantic import Field

from neuro_eq.arrays import Activities, Array, Parameters, Samples, Shape, inner, real_part
from neuro_eq.synapses.base import SymmetricSynapse

Maps: TypeAlias = Inexact[Array, "batch channels height width"]
"""One population of feature maps."""

Mapped: TypeAlias = Inexact[Array, "batch mapped rows columns"]
"""What a linear map makes of them, before it is pooled."""

Above: TypeAlias = Inexact[Array, "batch above upright across"]
"""The maps of the target."""

Windows: TypeAlias = Inexact[Array, "batch channels tall wide inside"]
"""The same numbers, those of a window along the last axis."""


class Pooled(SymmetricSynapse):
    r"""``e = −⟨a_post, pool(L a_pre)⟩`` with a linear map L, and windows that do not overlap.

    Both kinds of pooling weight the units of a window by ``S``: the average by ``1/size²``, the maximum by one where
    it is taken and nought elsewhere.  With ``S`` at the present activities

        onto the target   S ⊙ L a_pre, summed over each window
        onto the source   Lᵀ (S ⊙ a_post of each window)

    are the drives, and for changes of the activities the response as well, as ``S`` does not change, or jumps.  Where
    another unit takes over, the target is driven by a maximum that has a kink there, but a free source by a drive that
    jumps.  No norm bounds a jump: what is said of the response holds between them, and so does a norm budget.

    Args:
        source, target: populations ``(channels, height, width)``.
        pool: how windows are pooled; None where they are not.
        size: of the side of a window.
    """

    source: str
    target: str
    pool: Literal["average", "max"] | None = None
    size: int = Field(default=2, ge=1, le=2**15)

    @property
    def populations(self) -> tuple[str, ...]:
        return (self.source, self.target)

    @property
    def default_name(self) -> str:
        return f"{self.source}_{self.target}"

    @property
    def analytic(self) -> bool:
        return self.pool != "max"

    def still(self, clamped: Collection[str]) -> bool:
        # Where a maximum is taken depends on the source.
        return self.source in clamped or (self.target in clamped and self.pool != "max")

    def feeds_back(self, population: str) -> bool:
        return self.pool == "max" and population == self.source

    def shape_problem(self, shapes: Mapping[str, Shape]) -> str | None:
        if self.source == self.target:
            return f'it has two ends, but both are "{self.source}"'
        for name in (self.source, self.target):
            if len(shapes[name]) != 3:
                return f'"{name}" must have the shape (channels, height, width), found {list(shapes[name])}'
        unpooled = self.mapped_shape(shapes[self.source], shapes[self.target])
        if min(unpooled) < 1:
            return f'nothing is left of "{self.source}" of {list(shapes[self.source])}'
        if unpooled[1] % self._side or unpooled[2] % self._side:
            return f"maps of {unpooled[1]}×{unpooled[2]} do not divide into windows of {self._side}×{self._side}"
        wanted = (unpooled[0], unpooled[1] // self._side, unpooled[2] // self._side)
        if shapes[self.target] != wanted:
            return f'"{self.target}" must have the shape {list(wanted)}, found {list(shapes[self.target])}'
        return None

    # -- the linear map: the identity, where it is not another ---------------------------------------------------

    def mapped_shape(self, source: Shape, target: Shape) -> Shape:
        """The shape of ``L a_pre``."""
        return source

    def mapped(self, pre: Maps, theta: Parameters) -> Mapped:
        """``L a_pre``."""
        return pre

    def mapped_back(self, post: Mapped, like: Maps, theta: Parameters) -> Maps:
        """``Lᵀ`` of maps, in the source's shape."""
        return post

    def pair(self, post: Mapped, pre: Maps, theta: Parameters) -> dict[str, Array]:
        """``∂⟨post, L a_pre⟩/∂θ``, mean over the batch."""
        return {}

    def offset(self, theta: Parameters) -> Array | None:
        """What is added to every unit of a channel of the target, or nothing."""
        return None

    def offset_gradient(self, post: Above) -> dict[str, Array]:
        """``∂⟨a_post, offset⟩/∂θ``, mean over the batch."""
        return {}

    def map_bound(self, theta: Parameters) -> float:
        """At least ``‖L‖₂``."""
        return 1.0

    # -- energy and drives -------------------------------------------------------------------------------------

    def energy(self, a: Activities, theta: Parameters) -> Samples:
        return -inner(a[self.target], self._up(a, theta))

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        felt: dict[str, Array] = {}
        if self.target in onto:
            felt[self.target] = self._up(a, theta)
        if self.source in onto:
            felt[self.source] = self._down(a, a[self.target], theta)
        return felt

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        felt: dict[str, Array] = {}
        if self.target in onto:
            mapped = self.windows(self.mapped(delta[self.source], theta))
            felt[self.target] = array_namespace(mapped).sum(self._share(a, theta) * mapped, axis=-1)
        if self.source in onto:
            felt[self.source] = self._down(a, delta[self.target], theta)
        return felt

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        norm = self.map_bound(theta) / (self._side if self.pool == "average" else 1)
        return {(self.target, self.source): norm, (self.source, self.target): norm}

    def gradient(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        post = a[self.target]
        found = {**self.pair(self._unpooled(a, post, theta), a[self.source], theta), **self.offset_gradient(post)}
        return {name: -value for name, value in found.items()}

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        up = self.pair(self._unpooled(a, lam[self.target], theta), a[self.source], theta)
        down = self.pair(self._unpooled(a, a[self.target], theta), lam[self.source], theta)
        return {**{name: up[name] + down[name] for name in up}, **self.offset_gradient(lam[self.target])}

    def pieces(self, a: Activities, theta: Parameters) -> tuple[Array, ...]:
        if self.pool != "max":
            return ()
        mapped = self.windows(self.mapped(a[self.source], theta))
        return (array_namespace(mapped).argmax(real_part(mapped), axis=-1),)

    def _up(self, a: Activities, theta: Parameters) -> Above:
        mapped = self.windows(self.mapped(a[self.source], theta))
        pooled = array_namespace(mapped).sum(self._share_of(mapped) * mapped, axis=-1)
        offset = self.offset(theta)
        return pooled if offset is None else pooled + offset

    def _down(self, a: Activities, post: Above, theta: Parameters) -> Maps:
        return self.mapped_back(self._unpooled(a, post, theta), a[self.source], theta)

    def _unpooled(self, a: Activities, post: Above, theta: Parameters) -> Mapped:
        """``S ⊙ post`` of each window."""
        return self.from_windows(self._share(a, theta) * post[..., None])

    def _share(self, a: Activities, theta: Parameters) -> Array:
        """``S`` at these activities."""
        if self.pool == "max":
            return self._share_of(self.windows(self.mapped(a[self.source], theta)))
        return self._share_of(a[self.target][..., None])

    def _share_of(self, mapped: Array) -> Array:
        """``S`` of windows, in a shape that meets theirs; of an average all that is asked of them is their type."""
        xp = array_namespace(mapped)
        inside = self._side * self._side
        if self.pool != "max":
            return xp.full((1, 1, 1, 1, inside), 1.0 / inside, dtype=mapped.dtype, device=device(mapped))
        first = xp.argmax(real_part(mapped), axis=-1, keepdims=True)
        return xp.astype(first == xp.arange(inside, device=device(mapped)), mapped.dtype)

    def windows(self, maps: Mapped) -> Windows:
        """Maps cut into windows."""
        xp, side = array_namespace(maps), self._side
        batch, channels, height, width = maps.shape
        cut = xp.reshape(maps, (batch, channels, height // side, side, width // side, side))
        together = xp.permute_dims(cut, (0, 1, 2, 4, 3, 5))
        return xp.reshape(together, (batch, channels, height // side, width // side, side * side))

    def from_windows(self, windows: Windows) -> Mapped:
        """The way back."""
        xp, side = array_namespace(windows), self._side
        batch, channels, tall, wide, _ = windows.shape
        cut = xp.reshape(windows, (batch, channels, tall, wide, side, side))
        return xp.reshape(xp.permute_dims(cut, (0, 1, 2, 4, 3, 5)), (batch, channels, tall * side, wide * side))

    @property
    def _side(self) -> int:
        return 1 if self.pool is None else self.size


class Pooling(Pooled):
    """``e = −⟨a_post, pool(a_pre)⟩``: windows of the source, pooled, drive the target, and the target drives them.

    It has no parameters.

    Args:
        source, target: populations ``(channels, height, width)``.
        pool: ``"average"`` or ``"max"``.
        size: of the side of a window.
    """

    kind: Literal["pooling"] = "pooling"
    pool: Literal["average", "max"] = "average"

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {}
