"""What synapses on tokens share: populations ``(tokens, d)``, one set of parameters, tokens that are padding."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import TypeAlias

import numpy as np
from array_api_compat import array_namespace
from jaxtyping import Inexact

from neuro_eq.arrays import Activities, Array, Parameters, Reach, Samples, Shape, real_part
from neuro_eq.errors import SpecError
from neuro_eq.synapses.base import SymmetricSynapse

Tokens: TypeAlias = Inexact[Array, "batch tokens d"]
"""One population of tokens: a row of ``d`` numbers for each."""

Valid: TypeAlias = Inexact[Array, "batch tokens"]
"""One for a token that takes part, nought for one that does not."""


class OnTokens(SymmetricSynapse):
    """A self-synapse of a population ``(tokens, d)``: ``e = Σ_p e(a_p)`` over ``target`` and the ``shared`` ones.

    Subclasses write the energy of one population and its derivatives; all populations share the parameters.

    Args:
        target: the population.
        shared: further populations of the same shape with the same parameters, as in tied blocks.
        padding: a clamped population with one number for each token.  A token takes part where that is above ½: a
            mask of ones and noughts, or token ids where 0 means that there is none.
    """

    target: str
    shared: tuple[str, ...] = ()
    padding: str | None = None

    @property
    def driven(self) -> tuple[str, ...]:
        return (self.target, *self.shared)

    @property
    def data(self) -> tuple[str, ...]:
        return () if self.padding is None else (self.padding,)

    @property
    def populations(self) -> tuple[str, ...]:
        return (*self.driven, *self.data)

    def population_fields(self) -> dict[str, str]:
        fields = {"target": self.target, **shared_fields(self.shared)}
        return fields if self.padding is None else {**fields, "padding": self.padding}

    def shape_problem(self, shapes: Mapping[str, Shape]) -> str | None:
        wanted = shapes[self.target]
        if len(wanted) != 2:
            return f'"{self.target}" must have the shape (tokens, d), found {list(wanted)}'
        problem = shared_problem(self.populations, self.driven, shapes)
        return problem or padding_problem(self.padding, wanted[0], shapes)

    def data_problem(self, a: Mapping[str, np.ndarray]) -> str | None:
        return empty_problem(self.padding, a)

    # -- one population ----------------------------------------------------------------------------------------

    @abstractmethod
    def term(self, x: Tokens, valid: Valid | None, theta: Parameters) -> Samples:
        """``e(x)`` of one population."""

    @abstractmethod
    def pull(self, x: Tokens, valid: Valid | None, theta: Parameters) -> Tokens:
        """``−∂e/∂x``."""

    @abstractmethod
    def pull_response(self, x: Tokens, change: Tokens, valid: Valid | None, theta: Parameters) -> Tokens:
        """The derivative of :meth:`pull` along ``change``."""

    @abstractmethod
    def term_gradient(self, x: Tokens, valid: Valid | None, theta: Parameters) -> dict[str, Array]:
        """``∂e/∂θ``, mean over the batch."""

    @abstractmethod
    def pull_vjp(self, x: Tokens, lam: Tokens, valid: Valid | None, theta: Parameters) -> dict[str, Array]:
        """``(∂pull/∂θ)ᵀ λ``, mean over the batch: the derivative of ``−∂e/∂θ`` along ``λ``."""

    @abstractmethod
    def pull_bound(self, theta: Parameters, reach: Reach) -> float:
        """``sup ‖∂pull/∂x‖₂`` over tokens that go no further than ``reach``; infinite or not a number without one."""

    # -- all of them -------------------------------------------------------------------------------------------

    def energy(self, a: Activities, theta: Parameters) -> Samples:
        valid = self.valid(a)
        total: Array = sum(self.term(a[name], valid, theta) for name in self.driven)
        return total

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        valid = self.valid(a)
        return {name: self.pull(a[name], valid, theta) for name in self.driven if name in onto}

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        valid = self.valid(a)
        return {name: self.pull_response(a[name], delta[name], valid, theta) for name in self.driven if name in onto}

    def gradient(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        valid = self.valid(a)
        return _sum([self.term_gradient(a[name], valid, theta) for name in self.driven])

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        valid = self.valid(a)
        return _sum([self.pull_vjp(a[name], lam[name], valid, theta) for name in self.driven])

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        return self.response_bound_within(theta, dict.fromkeys(self.driven, Reach(1, math.inf)))

    def response_bound_within(self, theta: Parameters, reach: Mapping[str, Reach]) -> dict[tuple[str, str], float]:
        bounds = {(name, name): self.pull_bound(theta, reach[name]) for name in self.driven}
        for (name, _), bound in bounds.items():
            if not math.isfinite(bound):
                raise SpecError(
                    f'"{self.name}" of kind "{self.kind}" has no bound on its response, as the activities of "{name}" '
                    "have none, so no budget can hold it"
                )
        return bounds

    def valid(self, a: Activities) -> Valid | None:
        """Which tokens take part; None where all do."""
        return None if self.padding is None else valid_tokens(a[self.padding])


def shared_fields(shared: tuple[str, ...]) -> dict[str, str]:
    """Field name to population name of populations that share parameters."""
    return {f"shared[{i}]": name for i, name in enumerate(shared)}


def shared_problem(everyone: tuple[str, ...], driven: tuple[str, ...], shapes: Mapping[str, Shape]) -> str | None:
    """One sentence when a population stands in two places, or those that share parameters have different shapes."""
    if len(set(everyone)) < len(everyone):
        return f"every population can be named once, found {', '.join(everyone)}"
    for name in driven[1:]:
        if shapes[name] != shapes[driven[0]]:
            return (
                f'"{name}" shares the parameters of "{driven[0]}", so its shape must be {list(shapes[driven[0]])}, '
                f"found {list(shapes[name])}"
            )
    return None


def valid_tokens(padding: Array) -> Valid:
    """Ones and noughts in the activities' own type."""
    numbers = real_part(padding)
    xp = array_namespace(numbers)
    return xp.where(numbers > 0.5, xp.ones_like(numbers), xp.zeros_like(numbers))


def padding_problem(padding: str | None, tokens: int, shapes: Mapping[str, Shape]) -> str | None:
    """One sentence when the population that says which tokens take part does not have one number for each."""
    if padding is None or shapes[padding] == (tokens,):
        return None
    return f'"{padding}" must have one number for each token, [{tokens}], found {list(shapes[padding])}'


def empty_problem(padding: str | None, a: Mapping[str, np.ndarray]) -> str | None:
    """One sentence when a sample has no token that takes part."""
    if padding is None:
        return None
    numbers = a[padding]
    xp = array_namespace(numbers)
    if bool(xp.all(xp.any(numbers > 0.5, axis=1))):
        return None
    return f'"{padding}" says of a sample that none of its tokens takes part'


def mean_outer(post: Array, pre: Array) -> Array:
    """``Σ post ⊗ pre`` over all axes but the first and the last, mean over the batch."""
    xp = array_namespace(post)
    rows = [xp.reshape(one, (-1, one.shape[-1])) for one in (post, pre)]
    return xp.matrix_transpose(rows[0]) @ rows[1] / post.shape[0]


def mean_rows(x: Array) -> Array:
    """Sum over all axes but the first and the last, mean over the batch."""
    xp = array_namespace(x)
    return xp.sum(xp.reshape(x, (-1, x.shape[-1])), axis=0) / x.shape[0]


def _sum(parts: list[dict[str, Array]]) -> dict[str, Array]:
    total = parts[0]
    for part in parts[1:]:
        total = {name: total[name] + value for name, value in part.items()}
    return total
