"""Data that nobody hands in: clamped populations that are drawn, such as the masks of dropout.

A draw is data like any other.  Whoever trains draws once for a batch, so that all phases of it have the same; where
nobody gives any, as in an evaluation, a population has its mean.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, Literal

import numpy as np
from pydantic import Field

from neuro_eq.arrays import Shape
from neuro_eq.frozen import Frozen


class Draw(Frozen):
    """A distribution of every unit by itself."""

    kind: str

    @property
    @abstractmethod
    def mean(self) -> float:
        """Of a unit."""

    @property
    @abstractmethod
    def largest(self) -> float:
        """The largest size of a unit; infinite where there is none."""

    @abstractmethod
    def sample(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        """Units of this shape, float64."""


class Dropout(Draw):
    """``1/(1 − rate)`` with probability ``1 − rate``, and nought otherwise: a mean of one (Srivastava et al., 2014).

    Args:
        rate: how many are nought, in [0, 1).
    """

    kind: Literal["dropout"] = "dropout"
    rate: float = Field(default=0.1, ge=0.0, lt=1.0)

    def __init__(self, rate: float = 0.1, **data: Any) -> None:
        super().__init__(**{"rate": rate, **data})

    @property
    def mean(self) -> float:
        return 1.0

    @property
    def largest(self) -> float:
        return 1.0 / (1.0 - self.rate)

    def sample(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        return (rng.random(shape) >= self.rate) * self.largest


class Normal(Draw):
    """A standard normal variable."""

    kind: Literal["normal"] = "normal"

    @property
    def mean(self) -> float:
        return 0.0

    @property
    def largest(self) -> float:
        return math.inf

    def sample(self, shape: Shape, rng: np.random.Generator) -> np.ndarray:
        return rng.normal(size=shape)


DRAWS: dict[str, type[Draw]] = {"dropout": Dropout, "normal": Normal}
"""The distributions that a spec can name."""
