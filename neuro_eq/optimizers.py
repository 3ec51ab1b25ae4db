r"""Optimisers: frozen settings, and a state that the caller keeps.  They see arrays, not networks.

A step is elementwise, so it is taken in blocks that stay in a CPU's cache: every parameter, gradient and moment is
read from memory once, every result is written once, and nothing else is allocated.  Each result has the precision of
its parameter.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from array_api_compat import array_namespace, device
from jaxtyping import Inexact
from pydantic import Field, model_validator

from neuro_eq.arrays import Array, Parameters
from neuro_eq.errors import SpecError
from neuro_eq.frozen import Frozen

BLOCK = 65536
"""Numbers in a block: a few of them in float32 fill half of a common second-level cache."""

Block = Inexact[Array, " block"]


@dataclass(frozen=True)
class OptimizerState:
    """What an optimiser remembers: the number of steps taken, and its moments by parameter."""

    steps: int
    moments: dict[str, dict[str, Array]]


class Optimizer(Frozen):
    """Base of the optimisers: ``θ ← (1 − lr·weight_decay) θ − lr·move``.

    Args:
        lr: the learning rate.
        weight_decay: of weights, decoupled from the gradient (Loshchilov and Hutter, 2019): it acts on parameters of
            two axes or more, so that biases, gains and the like are left alone; so is a ``bias`` of any shape.
    """

    kind: str
    lr: float = Field(gt=0.0)
    weight_decay: float = Field(default=0.0, ge=0.0)

    @property
    @abstractmethod
    def moments(self) -> tuple[str, ...]:
        """Names of what it remembers of each parameter."""

    @abstractmethod
    def _move(self, g: Block, old: Sequence[Block], new: Sequence[Block], move: Block, rate: float, steps: int) -> None:
        """Write the new moments into ``new``, and ``rate`` times the move of step ``steps`` into ``move``."""

    def start(self, parameters: Parameters) -> OptimizerState:
        """The state before the first step."""
        moments = {
            moment: {name: array_namespace(value).zeros_like(value) for name, value in parameters.items()}
            for moment in self.moments
        }
        return OptimizerState(0, moments)

    def step(
        self,
        parameters: Parameters,
        gradient: Parameters,
        state: OptimizerState,
        scale: float = 1.0,
    ) -> tuple[dict[str, Array], OptimizerState]:
        """New parameters and new state, in arrays of their own; the arguments stay as they are.

        Args:
            scale: factor on the learning rate, from a schedule.
        """
        rate, steps = float(scale) * self.lr, state.steps + 1
        stepped: dict[str, Array] = {}
        moments: dict[str, dict[str, Array]] = {moment: {} for moment in self.moments}
        for name, theta in parameters.items():
            xp = array_namespace(theta)
            decay = self.decay(name, theta, rate)
            old = [xp.reshape(theta, (-1,)), xp.reshape(gradient[name], (-1,))]
            old += [xp.reshape(state.moments[moment][name], (-1,)) for moment in self.moments]
            new = [xp.empty(old[0].shape, dtype=theta.dtype, device=device(theta)) for _ in (name, *self.moments)]
            for part in _blocks(theta):
                self._step_block([array[part] for array in old], [array[part] for array in new], rate, decay, steps)
            stepped[name] = xp.reshape(new[0], theta.shape)
            for moment, array in zip(self.moments, new[1:], strict=True):
                moments[moment][name] = xp.reshape(array, theta.shape)
        return stepped, OptimizerState(steps, moments)

    def decay(self, name: str, theta: Array, rate: float) -> float:
        """What a step at this rate takes away of each number of a parameter."""
        return rate * self.weight_decay if _is_weight(name, theta) else 0.0

    def _step_block(self, old: list[Block], new: list[Block], rate: float, decay: float, steps: int) -> None:
        value, g, *before = old
        move, *after = new
        if g.dtype != value.dtype:
            g = array_namespace(g).astype(g, value.dtype)
        # What overflows is refused where parameters are set; NumPy's own warnings are each thread's.
        with np.errstate(all="ignore"):
            self._move(g, before, after, move, -rate, steps)
            move += value
            if decay:
                move -= decay * value


class SGD(Optimizer):
    """Gradient descent; with momentum ``v ← momentum·v + g`` the move is v, or ``g + momentum·v`` if ``nesterov``."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    nesterov: bool = False

    def __init__(self, lr: float = 0.1, **data: Any) -> None:
        super().__init__(lr=lr, **data)

    @model_validator(mode="after")
    def _nesterov_looks_along_a_momentum(self) -> SGD:
        if self.nesterov and self.momentum == 0.0:
            raise SpecError("needs a momentum above 0", "nesterov")
        return self

    @property
    def moments(self) -> tuple[str, ...]:
        return ("velocity",) if self.momentum else ()

    def _move(self, g: Block, old: Sequence[Block], new: Sequence[Block], move: Block, rate: float, steps: int) -> None:
        xp = array_namespace(g)
        if not new:
            xp.multiply(g, rate, out=move)
            return
        velocity = new[0]
        xp.multiply(old[0], self.momentum, out=velocity)
        velocity += g
        if self.nesterov:
            xp.multiply(velocity, self.momentum, out=move)
            move += g
            move *= rate
        else:
            xp.multiply(velocity, rate, out=move)


class Adam(Optimizer):
    """Adam (Kingma and Ba, 2015) with bias correction; with a weight decay it is AdamW.

    ``m ← β₁m + (1−β₁)g``, ``v ← β₂v + (1−β₂)g²``, and the move is ``m̂/(√v̂ + ε)``.  What is kept are the sums
    ``first = m/(1−β₁)`` and ``second = v/(1−β₂)``, which take fewer operations; the factors go into the step.
    """

    kind: Literal["adam"] = "adam"
    beta1: float = Field(default=0.9, ge=0.0, lt=1.0)
    beta2: float = Field(default=0.999, ge=0.0, lt=1.0)
    epsilon: float = Field(default=1e-8, gt=0.0)

    moments: ClassVar[tuple[str, ...]] = ("first", "second")

    def __init__(self, lr: float = 1e-3, **data: Any) -> None:
        super().__init__(lr=lr, **data)

    def _move(self, g: Block, old: Sequence[Block], new: Sequence[Block], move: Block, rate: float, steps: int) -> None:
        xp = array_namespace(g)
        first, second = new
        xp.multiply(old[0], self.beta1, out=first)
        first += g
        xp.multiply(old[1], self.beta2, out=second)
        xp.multiply(g, g, out=move)
        second += move
        root, factor = self.corrections(steps)
        xp.sqrt(second, out=move)
        move += self.epsilon * root
        xp.divide(first, move, out=move)
        move *= rate * factor

    def corrections(self, steps: int) -> tuple[float, float]:
        """``root`` and ``factor`` with which ``m̂/(√v̂ + ε)`` is ``factor · first/(√second + root·ε)``.

        ``m̂ = first·(1−β₁)/(1−β₁ᵗ)`` and ``√v̂ = √second/root``.
        """
        root = math.sqrt((1.0 - self.beta2**steps) / (1.0 - self.beta2))
        return root, root * (1.0 - self.beta1) / (1.0 - self.beta1**steps)


def _is_weight(name: str, theta: Array) -> bool:
    return theta.ndim >= 2 and name.rpartition(".")[2] != "bias"


def _blocks(theta: Array) -> Iterator[slice]:
    """Slices over the numbers of an array; other arrays than NumPy's are taken whole, as their devices like it."""
    size = math.prod(theta.shape)
    width = BLOCK if isinstance(theta, np.ndarray) else max(size, 1)
    for first in range(0, size, width):
        yield slice(first, first + width)


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}
"""The optimisers that a configuration can name."""
