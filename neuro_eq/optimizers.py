"""Optimisers: frozen settings, and a state that the caller keeps.  They see arrays, not networks."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

from array_api_compat import array_namespace
from pydantic import Field

from neuro_eq.arrays import Array, Parameters
from neuro_eq.frozen import Frozen


@dataclass(frozen=True)
class OptimizerState:
    """What an optimiser remembers: the number of steps taken, and its moments by parameter."""

    steps: int
    moments: dict[str, dict[str, Array]]


class Optimizer(Frozen):
    """Base of the optimisers."""

    kind: str
    lr: float = Field(gt=0.0)

    def start(self, parameters: Parameters) -> OptimizerState:
        """The state before the first step."""
        return OptimizerState(0, {})

    @abstractmethod
    def step(
        self, parameters: Parameters, gradient: Parameters, state: OptimizerState, scale: float = 1.0
    ) -> tuple[dict[str, Array], OptimizerState]:
        """New parameters and new state; the arguments stay as they are.

        Args:
            scale: factor on the learning rate, from a schedule.
        """


class SGD(Optimizer):
    """``θ ← θ − lr·g``."""

    kind: Literal["sgd"] = "sgd"

    def __init__(self, lr: float = 0.1, **data: Any) -> None:
        super().__init__(lr=lr, **data)

    def step(
        self, parameters: Parameters, gradient: Parameters, state: OptimizerState, scale: float = 1.0
    ) -> tuple[dict[str, Array], OptimizerState]:
        stepped = {name: value - scale * self.lr * gradient[name] for name, value in parameters.items()}
        return stepped, OptimizerState(state.steps + 1, {})


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015) with bias correction.

    ``m ← β₁m + (1−β₁)g``, ``v ← β₂v + (1−β₂)g²``, ``θ ← θ − lr·m̂/(√v̂ + ε)``.
    """

    kind: Literal["adam"] = "adam"
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    epsilon: float = Field(default=1e-8, gt=0.0)

    def __init__(self, lr: float = 1e-3, **data: Any) -> None:
        super().__init__(lr=lr, **data)

    def start(self, parameters: Parameters) -> OptimizerState:
        def zeros() -> dict[str, Array]:
            return {name: array_namespace(value).zeros_like(value) for name, value in parameters.items()}

        return OptimizerState(0, {"first": zeros(), "second": zeros()})

    def step(
        self, parameters: Parameters, gradient: Parameters, state: OptimizerState, scale: float = 1.0
    ) -> tuple[dict[str, Array], OptimizerState]:
        t = state.steps + 1
        stepped: dict[str, Array] = {}
        first: dict[str, Array] = {}
        second: dict[str, Array] = {}
        for name, value in parameters.items():
            g = gradient[name]
            first[name] = self.beta1 * state.moments["first"][name] + (1.0 - self.beta1) * g
            second[name] = self.beta2 * state.moments["second"][name] + (1.0 - self.beta2) * g * g
            m = first[name] / (1.0 - self.beta1**t)
            v = second[name] / (1.0 - self.beta2**t)
            stepped[name] = value - scale * self.lr * m / (array_namespace(v).sqrt(v) + self.epsilon)
        return stepped, OptimizerState(t, {"first": first, "second": second})


class Schedule(Frozen):
    """How the learning rate changes over a run."""

    kind: str

    @abstractmethod
    def scale(self, progress: float) -> float:
        """The factor on the learning rate when this fraction of all steps, in [0, 1), has been taken."""


class Constant(Schedule):
    """The learning rate stays as it is."""

    kind: Literal["constant"] = "constant"

    def scale(self, progress: float) -> float:
        return 1.0


class Cosine(Schedule):
    """``½(1 + cos πt)``: from the full learning rate down to zero (Loshchilov and Hutter, 2017)."""

    kind: Literal["cosine"] = "cosine"

    def scale(self, progress: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES: dict[str, type[Schedule]] = {"constant": Constant, "cosine": Cosine}
"""The schedules that a configuration can name."""

OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}
"""The optimisers that a configuration can name."""
