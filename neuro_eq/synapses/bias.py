"""A constant drive, learned like any synapse."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
from array_api_compat import array_namespace

from neuro_eq.arrays import Activities, Array, Parameters, Samples, Shape, sum_units
from neuro_eq.synapses.base import SymmetricSynapse


class Bias(SymmetricSynapse):
    """``e = −⟨b, a⟩`` on one population; its drive is ``b``, in the population's shape."""

    kind: Literal["bias"] = "bias"
    target: str

    @property
    def populations(self) -> tuple[str, ...]:
        return (self.target,)

    @property
    def default_name(self) -> str:
        return f"{self.target}_bias"

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {"bias": shapes[self.target]}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"bias": np.zeros(shapes[self.target])}

    def energy(self, a: Activities, theta: Parameters) -> Samples:
        return -sum_units(a[self.target] * theta["bias"])

    def still(self, clamped: Collection[str]) -> bool:
        return True

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        post = a[self.target]
        return {self.target: array_namespace(post).broadcast_to(theta["bias"], post.shape)}

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        return {}

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        return {}

    def gradient(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        post = a[self.target]
        return {"bias": -array_namespace(post).mean(post, axis=0)}

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        return {"bias": array_namespace(lam[self.target]).mean(lam[self.target], axis=0)}
