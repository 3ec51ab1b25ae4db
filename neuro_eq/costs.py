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


class Cost(Frozen):
    """A cost on one free population; a cost with parameters is a readout outside the dynamics."""

    kind: str
    population: str
    name: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")

    @property
    @abstractmethod
    def default_name(self) -> str:
        """The name under which its parameters appear."""

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


class CrossEntropy(Cost):
    """``C = −Σ y log softmax(W_out a + b)``: a readout outside the dynamics.

    Its own gradient is taken at the free state: ``(softmax(·) − y) ⊗ a*``.
    """

    kind: Literal["cross_entropy"] = "cross_entropy"
    classes: int = Field(ge=2)
    gain: float = Field(default=1.0, ge=0.0, le=1e100)

    @property
    def default_name(self) -> str:
        return "readout"

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"weight": (self.classes, math.prod(shapes[self.population])), "bias": (self.classes,)}

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
        """``W_out a + b``, ``(batch, classes)``."""
        top = flat(a[self.population])
        return top @ array_namespace(top).matrix_transpose(theta["weight"]) + theta["bias"]

    def output(self, a: Activities, theta: Parameters) -> Array:
        return softmax(self.logits(a, theta))

    def value(self, a: Activities, y: Array, theta: Parameters) -> Samples:
        return -sum_units(y * log_softmax(self.logits(a, theta)))

    def activity_gradient(self, a: Activities, y: Array, theta: Parameters) -> Array:
        top = a[self.population]
        error = self.output(a, theta) - y
        return array_namespace(top).reshape(error @ theta["weight"], top.shape)

    def parameter_gradient(self, a: Activities, y: Array, theta: Parameters) -> dict[str, Array]:
        error = self.output(a, theta) - y
        return {
            "weight": outer(error, a[self.population]),
            "bias": array_namespace(error).mean(error, axis=0),
        }


COSTS: dict[str, type[Cost]] = {"squared_error": SquaredError, "cross_entropy": CrossEntropy}
"""The costs a spec can name."""
