r"""A gate on how fast a population moves."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
from array_api_compat import array_namespace
from pydantic import Field

from neuro_eq.activations import sigmoid
from neuro_eq.arrays import Activities, Array, Parameters, Samples, Shape, Units, sum_units
from neuro_eq.synapses.base import SymmetricSynapse
from neuro_eq.synapses.dense import DenseBase


class StepGate(SymmetricSynapse, DenseBase):
    r"""``u ← u + α g ⊙ (drive − u)`` with ``g = σ(W_g a_source + b_g)``, on the target.

    It has neither an energy (``e = 0``) nor a drive: the fixed point does not depend on it, so the gradient of its
    parameters is zero.  It changes how a Picard step gets there, and other solvers take no notice of it.  As g > 0,
    nothing but a fixed point stands still.

    Args:
        source: the population that opens and closes the gate.
        target: the population that it holds back.
        start_bias: b_g at the start; σ(2) = 0.88, mostly open.
        gain: of W_g at the start, as of a dense synapse.
    """

    kind: Literal["step_gate"] = "step_gate"
    start_bias: float = Field(default=2.0, ge=-100.0, le=100.0)

    @property
    def driven(self) -> tuple[str, ...]:
        return ()

    @property
    def sources(self) -> tuple[str, ...]:
        return ()

    @property
    def moved(self) -> tuple[str, ...]:
        return (self.target,)

    @property
    def default_name(self) -> str:
        return f"{self.source}_{self.target}_gate"

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {**super().parameter_shapes(shapes), "bias": (math.prod(shapes[self.target]),)}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        bias = np.full(self.parameter_shapes(shapes)["bias"], self.start_bias)
        return {**super().initial(shapes, rng), "bias": bias}

    def rate(self, a: Activities, theta: Parameters) -> Units:
        """``g``, in the target's shape: what the step of each unit is multiplied with."""
        post = a[self.target]
        bias = array_namespace(post).reshape(theta["bias"], post.shape[1:])
        return sigmoid(self.forward(a[self.source], post, theta) + bias)

    def energy(self, a: Activities, theta: Parameters) -> Samples:
        return array_namespace(a[self.target]).zeros_like(sum_units(a[self.target]))

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        return {}

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        return {}

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        return {}

    def gradient(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        return {name: array_namespace(value).zeros_like(value) for name, value in theta.items()}

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        return self.gradient(a, theta)
