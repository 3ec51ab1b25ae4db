r"""A population that feels what it was: a self-synapse whose reach back in time only the stepping knows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import Field

from neuro_eq.arrays import Activities, Array, Parameters, Samples, Shape, Units, inner
from neuro_eq.synapses.base import SymmetricSynapse


class History(SymmetricSynapse):
    r"""``e = −½κ‖a‖²``: its drive is ``κ a``, and a Picard step takes ``κ Σ_k w_k a_{t−k}`` in its place.

    k runs from 0, the present, to ``buffer_size − 1``; ``w_k ∝ decay^k`` with ``Σ w = 1``.  Where nothing moves the
    two are equal, so the fixed point, its energy, its linear response and every gradient are those of the static
    self-synapse; the buffer changes the way there.  Each phase begins with a buffer full of its start's activity.
    Solvers other than Picard settle the static network.

    Args:
        target: the population.
        coupling: κ, fixed.
        buffer_size: how many activities are kept, the present one among them; with 1 the step is the plain one.
        decay: ratio of the weights of an activity and of the one a step later.
    """

    kind: Literal["history"] = "history"
    target: str
    coupling: float = Field(default=0.2, gt=-1.0, lt=1.0)
    buffer_size: int = Field(default=5, ge=1, le=1000)
    decay: float = Field(default=0.9, gt=0.0, le=1.0)

    @property
    def populations(self) -> tuple[str, ...]:
        return (self.target,)

    @property
    def default_name(self) -> str:
        return f"{self.target}_history"

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """``w_k``, the present first."""
        powers = self.decay ** np.arange(self.buffer_size)
        return tuple(float(w) for w in powers / np.sum(powers))

    def recall(self, past: Sequence[Units]) -> Units:
        """``κ Σ_k w_k a_{t−k}`` of ``buffer_size`` activities, the present first."""
        total: Array = sum(w * a for w, a in zip(self.weights, past, strict=True))
        return self.coupling * total

    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        return {}

    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {}

    def energy(self, a: Activities, theta: Parameters) -> Samples:
        return -0.5 * self.coupling * inner(a[self.target], a[self.target])

    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        return {self.target: self.coupling * a[self.target]} if self.target in onto else {}

    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        return self.drive(delta, theta, onto)

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        return {(self.target, self.target): abs(self.coupling)}

    def gradient(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        return {}

    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        return {}
