r"""Costs ``C(a, y)`` per sample.  Nudging subtracts ``β ∂C/∂a`` from the drive, so β > 0 lowers the cost."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

import numpy as np
from array_api_compat import array_namespace
from pydantic import Field

from neuro_eq.activations import log_softmax, softmax
from neuro_eq.arrays import Activities, Array, Parameters, Samples, Shape, flat, sum_units
from neuro_eq.frozen import Frozen
from neuro_eq.synapses.dense import outer
from neuro_eq.synapses.tokens import empty_problem, padding_problem, valid_tokens


class Cost(Frozen):
    """A cost on one free population; a cost with parameters is a readout outside the dynamics."""

    kind: str
    population: str
    name: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")

    @property
    @abstractmethod
    def default_name(self) -> str:
        """The name under which its parameters appear."""

    @property
    def data(self) -> tuple[str, ...]:
        """Further populations that it reads as they are given: they must be clamped."""
        return ()

    def data_fields(self) -> dict[str, str]:
        """Field name to population name of ``data``."""
        return {}

    def shape_problem(self, shapes: Mapping[str, Shape]) -> str | None:
        """One sentence when the shapes of its populations do not fit it."""
        return None

    def data_problem(self, a: Mapping[str, np.ndarray]) -> str | None:
        """One sentence when what the populations of ``data`` are given is not what it is defined for."""
        return None

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Name and shape of each parameter."""
        return {}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Start values of the parameters, float64."""
        return {}

    @abstractmethod
    def outputs(self, shapes: Mapping[str, Shape]) -> int:
        """Number of values that the network answers with."""

    def target_problem(self, y: np.ndarray) -> str | None:
        """One sentence when targets ``(batch, n_out)`` are not what the cost is defined for."""
        return None

    @abstractmethod
    def output(self, a: Activities, theta: Parameters) -> Array:
        """The network's answer, ``(batch, n_out)``."""

    @abstractmethod
    def value(self, a: Activities, y: Array, theta: Parameters) -> Samples:
        """``C(a, y)`` of each sample."""

    @abstractmethod
    def activity_gradient(self, a: Activities, y: Array, theta: Parameters) -> Array:
        """``∂C/∂a`` on the cost's population, in its shape."""

    def parameter_gradient(self, a: Activities, y: Array, theta: Parameters) -> dict[str, Array]:
        """``∂C/∂θ`` of the readout's own parameters at fixed activities, mean over the batch."""
        return {}


class SquaredError(Cost):
    """``C = ½‖o − y‖²`` on an output population ``o``."""

    kind: Literal["squared_error"] = "squared_error"

    @property
    def default_name(self) -> str:
        return "squared_error"

    def outputs(self, shapes: Mapping[str, Shape]) -> int:
        return math.prod(shapes[self.population])

    def output(self, a: Activities, theta: Parameters) -> Array:
        return flat(a[self.population])

    def value(self, a: Activities, y: Array, theta: Parameters) -> Samples:
        error = flat(a[self.population]) - y
        return 0.5 * sum_units(error * error)

    def activity_gradient(self, a: Activities, y: Array, theta: Parameters) -> Array:
        o = a[self.population]
        return o - array_namespace(o).reshape(y, o.shape)


class Readout(Cost):
    """``C = −Σ y log softmax(W_out r + b)`` of what it reads of a population, ``r``: outside the dynamics.

    Its own gradient is taken at the free state: ``(softmax(·) − y) ⊗ r*``.
    """

    classes: int = Field(ge=2)
    gain: float = Field(default=1.0, ge=0.0, le=1e100)

    @property
    def default_name(self) -> str:
        return "readout"

    @abstractmethod
    def width(self, shape: Shape) -> int:
        """Number of values that it reads of a population of this shape."""

    @abstractmethod
    def read(self, a: Activities) -> Array:
        """``r``, ``(batch, width)``."""

    @abstractmethod
    def unread(self, slope: Array, a: Activities) -> Array:
        """``(∂r/∂a)ᵀ`` of ``slope``, in the population's shape."""

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"weight": (self.classes, self.width(shapes[self.population])), "bias": (self.classes,)}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        post, pre = self.parameter_shapes(shapes)["weight"]
        bound = self.gain * math.sqrt(6.0 / (pre + post))
        return {"weight": rng.uniform(-bound, bound, (post, pre)), "bias": np.zeros(post)}

    def outputs(self, shapes: Mapping[str, Shape]) -> int:
        return self.classes

    def target_problem(self, y: np.ndarray) -> str | None:
        # The slope softmax − y holds for distributions only; one-hot rows of float32 are exact.
        if np.all(y >= 0) and np.all(np.abs(y.sum(axis=1) - 1.0) <= 1e-6):
            return None
        return "cross-entropy needs labels, or rows that are probabilities and sum to 1"

    def logits(self, a: Activities, theta: Parameters) -> Array:
        """``W_out r + b``, ``(batch, classes)``."""
        top = self.read(a)
        return top @ array_namespace(top).matrix_transpose(theta["weight"]) + theta["bias"]

    def output(self, a: Activities, theta: Parameters) -> Array:
        return softmax(self.logits(a, theta))

    def value(self, a: Activities, y: Array, theta: Parameters) -> Samples:
        return -sum_units(y * log_softmax(self.logits(a, theta)))

    def activity_gradient(self, a: Activities, y: Array, theta: Parameters) -> Array:
        error = self.output(a, theta) - y
        return self.unread(error @ theta["weight"], a)

    def parameter_gradient(self, a: Activities, y: Array, theta: Parameters) -> dict[str, Array]:
        error = self.output(a, theta) - y
        return {
            "weight": outer(error, self.read(a)),
            "bias": array_namespace(error).mean(error, axis=0),
        }


class CrossEntropy(Readout):
    """``C = −Σ y log softmax(W_out a + b)``: a readout of all units of a population, outside the dynamics.

    Its own gradient is taken at the free state: ``(softmax(·) − y) ⊗ a*``.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"

    def width(self, shape: Shape) -> int:
        return math.prod(shape)

    def read(self, a: Activities) -> Array:
        return flat(a[self.population])

    def unread(self, slope: Array, a: Activities) -> Array:
        top = a[self.population]
        return array_namespace(top).reshape(slope, top.shape)


class TokenCrossEntropy(Readout):
    """``C = −Σ y log softmax(W_out ā + b)`` of the mean ``ā`` over a population's tokens ``(tokens, d)``.

    The mean, rather than a token of its own for the class, nudges every token directly, each by its share.

    Args:
        population: the tokens.
        classes: number of answers.
        padding: as of synapses on tokens: a clamped population that says which tokens the mean is over.
        gain: factor on the Glorot start values of W_out.
    """

    kind: Literal["token_cross_entropy"] = "token_cross_entropy"
    padding: str | None = None

    @property
    def data(self) -> tuple[str, ...]:
        return () if self.padding is None else (self.padding,)

    def data_fields(self) -> dict[str, str]:
        return {} if self.padding is None else {"padding": self.padding}

    def shape_problem(self, shapes: Mapping[str, Shape]) -> str | None:
        shape = shapes[self.population]
        if len(shape) != 2:
            return f'"{self.population}" must have the shape (tokens, d), found {list(shape)}'
        return padding_problem(self.padding, shape[0], shapes)

    def data_problem(self, a: Mapping[str, np.ndarray]) -> str | None:
        return empty_problem(self.padding, a)

    def width(self, shape: Shape) -> int:
        return shape[-1]

    def read(self, a: Activities) -> Array:
        tokens = a[self.population]
        return array_namespace(tokens).sum(self._share(a) * tokens, axis=1)

    def unread(self, slope: Array, a: Activities) -> Array:
        tokens = a[self.population]
        return array_namespace(tokens).broadcast_to(self._share(a) * slope[:, None, :], tokens.shape)

    def _share(self, a: Activities) -> Array:
        """What each token counts in the mean, ``(batch or 1, tokens or 1, 1)``."""
        tokens = a[self.population]
        xp = array_namespace(tokens)
        if self.padding is None:
            return xp.full_like(tokens[:1, :1, :1], 1.0 / tokens.shape[1])
        valid = valid_tokens(a[self.padding])
        return (valid / xp.sum(valid, axis=1, keepdims=True))[:, :, None]


COSTS: dict[str, type[Cost]] = {
    "squared_error": SquaredError,
    "cross_entropy": CrossEntropy,
    "token_cross_entropy": TokenCrossEntropy,
}
"""The costs a spec can name."""
