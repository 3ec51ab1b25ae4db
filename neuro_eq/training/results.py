"""What a run comes to: figures of a batch, of an epoch, of all epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from neuro_eq.equilibrium import Status
from neuro_eq.methods import Evidence


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        epoch: 0 is the network before training.
        train_cost, test_cost: mean of ``C(a*, y)`` over samples.
        train_accuracy, test_accuracy: fractions; not a number for regression.  During training the train figures are
            taken as the batches go by, each before its update.
        free_steps, nudged_steps: mean steps per sample.
        residual_ratio: median of residual over nudge size.
        unsettled: fraction of samples whose residual exceeds 1 % of the nudge.
        mute: fraction of samples whose nudge is lost in rounding.
        unconverged: fraction of samples that met ``max_steps``, diverged or were not finite in some phase.
        seconds: wall time of the epoch, evaluation included; of a run that was resumed, the time of its parts.
    """

    epoch: int
    train_cost: float
    train_accuracy: float
    test_cost: float
    test_accuracy: float
    free_steps: float
    nudged_steps: float
    residual_ratio: float
    unsettled: float
    mute: float
    unconverged: float
    seconds: float


@dataclass(frozen=True)
class History:
    """Every epoch of a run, the untrained network first."""

    epochs: tuple[Epoch, ...]

    @property
    def last(self) -> Epoch:
        """The network as it is now."""
        return self.epochs[-1]

    def table(self) -> Float[np.ndarray, "epochs fields"]:
        """One row an epoch, its figures in the order of :class:`Epoch`."""
        rows = [[float(getattr(epoch, name)) for name in FIGURES] for epoch in self.epochs]
        return np.array(rows).reshape(-1, len(FIGURES))

    @staticmethod
    def of(table: Float[np.ndarray, "epochs fields"]) -> History:
        """The history that :meth:`table` was made from."""
        return History(tuple(Epoch(int(epoch), *(float(value) for value in rest)) for epoch, *rest in table))


FIGURES = tuple(field.name for field in fields(Epoch))


@dataclass(frozen=True)
class Score:
    """An evaluation over samples."""

    cost: float
    accuracy: float
    steps: float
    converged: float


@runtime_checkable
class Reporter(Protocol):
    """Something that shows progress."""

    def batch(self, epoch: int, done: int, total: int, tally: Tally) -> None:
        """A batch of an epoch is done."""

    def epoch(self, result: Epoch) -> None:
        """An epoch is done."""


class Tally:
    """Running sums over the batches of an epoch."""

    SUMS = ("cost", "correct", "free", "nudged", "unsettled", "mute", "unconverged")

    def __init__(self) -> None:
        self.samples = 0
        self.sums = dict.fromkeys(self.SUMS, 0.0)
        self.ratios: list[np.ndarray] = []

    @classmethod
    def of(cls, samples: int, sums: Float[np.ndarray, " sums"], ratios: Float[np.ndarray, " moved"]) -> Tally:
        """A tally that goes on from what another had come to."""
        tally = cls()
        tally.samples = samples
        tally.sums = {name: float(value) for name, value in zip(cls.SUMS, sums, strict=True)}
        tally.ratios = [ratios]
        return tally

    def add(self, evidence: Evidence, correct: np.ndarray) -> None:
        """Count one batch in."""
        self.samples += evidence.free.batch
        phases = (evidence.free, *evidence.nudged)
        bad = np.any([phase.status != Status.CONVERGED for phase in phases], axis=0)
        sums = self.sums
        sums["cost"] += float(evidence.cost.sum(dtype=np.float64))
        sums["correct"] += float(correct.sum())
        sums["free"] += float(evidence.free.steps.sum())
        sums["nudged"] += float(evidence.nudged[0].steps.sum()) if evidence.nudged else 0.0
        sums["unsettled"] += evidence.unsettled
        sums["mute"] += evidence.mute
        sums["unconverged"] += float(bad.sum())
        moves = evidence.nudge_size > 0
        self.ratios.append(evidence.residual[moves] / evidence.nudge_size[moves])

    def mean(self, name: str) -> float:
        """A sum over samples, as a mean."""
        return self.sums[name] / self.samples if self.samples else math.nan

    @property
    def joined_ratios(self) -> Float[np.ndarray, " moved"]:
        """Residual over nudge size, of every sample that is nudged at all."""
        if len(self.ratios) != 1:
            self.ratios = [np.concatenate(self.ratios) if self.ratios else np.zeros(0)]
        return self.ratios[0]

    @property
    def residual_ratio(self) -> float:
        """Median of residual over nudge size.  It sorts all samples so far: not for every batch."""
        ratios = self.joined_ratios
        return float(np.median(ratios)) if ratios.size else math.nan


__all__ = ["FIGURES", "Epoch", "History", "Reporter", "Score", "Tally"]
