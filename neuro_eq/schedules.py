"""Schedules: how the learning rate changes over a run, as a factor on it."""

from __future__ import annotations

import math
from abc import abstractmethod
from itertools import pairwise
from typing import Literal

from pydantic import Field, field_validator

from neuro_eq.frozen import Frozen


class Schedule(Frozen):
    """Base of the schedules.

    Args:
        warmup: fraction of all steps over which the factor rises in a line from 0 to the schedule's first; the
            schedule proper runs over the steps that are left.
    """

    kind: str
    warmup: float = Field(default=0.0, ge=0.0, lt=1.0)

    def scale(self, progress: float) -> float:
        """The factor on the learning rate when this fraction of all steps, in [0, 1), has been taken."""
        if progress < self.warmup:
            return progress / self.warmup * self.shape(0.0)
        return self.shape((progress - self.warmup) / (1.0 - self.warmup))

    @abstractmethod
    def shape(self, t: float) -> float:
        """The factor when the fraction ``t`` of the steps after the warm-up has been taken."""


class Constant(Schedule):
    """The learning rate stays as it is."""

    kind: Literal["constant"] = "constant"

    def shape(self, t: float) -> float:
        return 1.0


class Cosine(Schedule):
    """``floor + (1 − floor)·½(1 + cos πt)`` (Loshchilov and Hutter, 2017): from 1 down to ``floor``."""

    kind: Literal["cosine"] = "cosine"
    floor: float = Field(default=0.0, ge=0.0, le=1.0)

    def shape(self, t: float) -> float:
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * t))


class Step(Schedule):
    """``factorᵏ`` once k of the places have been passed.

    Args:
        at: fractions of the steps after the warm-up, rising.
        factor: of each drop.
    """

    kind: Literal["step"] = "step"
    at: tuple[float, ...] = (0.5, 0.75)
    factor: float = Field(default=0.1, gt=0.0, le=1.0)

    @field_validator("at")
    @classmethod
    def _places_rise(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.0 < place < 1.0 for place in value) or any(left >= right for left, right in pairwise(value)):
            raise ValueError(f"expected rising fractions between 0 and 1, found {list(value)}")
        return value

    def shape(self, t: float) -> float:
        return self.factor ** sum(t >= place for place in self.at)


class Exponential(Schedule):
    """``lastᵗ``: from 1 down to ``last``, by the same ratio every step."""

    kind: Literal["exponential"] = "exponential"
    last: float = Field(default=0.01, gt=0.0, le=1.0)

    def shape(self, t: float) -> float:
        return self.last**t


SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "cosine": Cosine,
    "step": Step,
    "exponential": Exponential,
}
"""The schedules that a configuration can name."""
