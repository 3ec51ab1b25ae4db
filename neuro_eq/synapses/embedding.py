"""How data become tokens: what all embeddings share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping

import numpy as np
from array_api_compat import array_namespace
from pydantic import Field

from neuro_eq.arrays import Activities, Array, Parameters, Samples, Shape, Units, inner
from neuro_eq.synapses.base import SymmetricSynapse
from neuro_eq.synapses.tokens import Tokens, shared_fields, shared_problem


class Embedding(SymmetricSynapse):
    """``e = −Σ_p ⟨a_p, E(x) + P⟩``: data ``x`` of a clamped population drive tokens ``a``, each place by its own ``P``.

    As ``x`` is data, nothing is driven back.

    Args:
        source: the clamped population.
        target: the tokens, ``(tokens, d)``.
        shared: further populations of the same shape that are driven alike, as in a ring of blocks.
        positions: whether each place has a vector of its own, which starts at nought.
        gain: factor on the start values of E.
    """

    source: str
    target: str
    shared: tuple[str, ...] = ()
    positions: bool = True
    gain: float = Field(default=1.0, ge=0.0, le=1e100)

    @property
    def populations(self) -> tuple[str, ...]:
        return (self.source, *self.driven)

    @property
    def driven(self) -> tuple[str, ...]:
        return (self.target, *self.shared)

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    def data(self) -> tuple[str, ...]:
        return (self.source,)

    @property
    def default_name(self) -> str:
        return f"{self.target}_embedding"

    def population_fields(self) -> dict[str, str]:
        return {**super().population_fields(), **shared_fields(self.shared)}

    def shape_problem(self, shapes: Mapping[str, Shape]) -> str | None:
        problem = shared_problem(self.populations, self.driven, shapes)
        if problem is not None:
            return problem
        if len(shapes[self.target]) != 2:
            return f'"{self.target}" must have the shape (tokens, d), found {list(shapes[self.target])}'
        return self.source_problem(shapes[self.source], shapes[self.target][0])

    @abstractmethod
    def source_problem(self, source: Shape, tokens: int) -> str | None:
        """One sentence when data of this shape are not so many tokens."""

    @abstractmethod
    def weight_shape(self, source: Shape, d: int) -> Shape:
        """Of the matrix in E."""

    @abstractmethod
    def spread(self, shape: Shape) -> float:
        """The largest start value of a matrix of this shape, for a gain of 1."""

    @abstractmethod
    def embedded(self, x: Units, theta: Parameters) -> Tokens:
        """``E(x)``."""

    @abstractmethod
    def pair(self, post: Tokens, x: Units, theta: Parameters) -> Array:
        """``∂⟨post, E(x)⟩/∂weight``, mean over the batch."""

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        weight = {"weight": self.weight_shape(shapes[self.source], shapes[self.target][-1])}
        return {**weight, "position": shapes[self.target]} if self.positions else weight

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        needed = self.parameter_shapes(shapes)
        bound = self.gain * self.spread(needed["weight"])
        start = {"weight": rng.uniform(-bound, bound, needed["weight"])}
        return {**start, "position": np.zeros(needed["position"])} if self.positions else start

    def energy(self, a: Activities, theta: Parameters) -> Samples:
        return -inner(self._together(a), self._felt(a, theta))

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        felt = self._felt(a, theta)
        return {name: felt for name in self.driven if name in onto}

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        return {}

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        return {}

    def gradient(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        return {name: -value for name, value in self.drive_vjp(a, a, theta).items()}

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        post = self._together(lam)
        found = {"weight": self.pair(post, a[self.source], theta)}
        return {**found, "position": array_namespace(post).mean(post, axis=0)} if self.positions else found

    def _together(self, values: Activities) -> Tokens:
        """The sum over the populations, which all feel the same."""
        total: Array = sum(values[name] for name in self.driven)
        return total

    def _felt(self, a: Activities, theta: Parameters) -> Tokens:
        tokens = self.embedded(a[self.source], theta)
        return tokens + theta["position"] if self.positions else tokens


def glorot(shape: Shape) -> float:
    """The largest value of a uniform variable of variance ``2/(n_post + n_pre)``."""
    return math.sqrt(6.0 / sum(shape))
