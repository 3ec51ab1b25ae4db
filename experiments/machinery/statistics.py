"""The little statistics that verdicts need."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from neuro_eq.experiments.machinery.results import number

FEWEST = 5
"""Groups that an interval wants."""


@dataclass(frozen=True)
class Correlation:
    """A rank correlation and its 95 % interval, which is not a number where too little is known."""

    rho: float
    low: float
    high: float

    @property
    def rises(self) -> bool | None:
        """Whether one side rises with the other; None where the interval has both signs."""
        return True if self.low > 0.0 else False if self.high < 0.0 else None

    def __str__(self) -> str:
        rho, low, high = (number(value, ".2f") for value in (self.rho, self.low, self.high))
        return f"Spearman ρ = {rho} " + ("(no interval)" if math.isnan(self.low) else f"({low} to {high})")


def spearman(
    left: Float64[np.ndarray, " samples"],
    right: Float64[np.ndarray, " samples"],
    draws: int = 1000,
    seed: int = 0,
    groups: Int64[np.ndarray, " samples"] | None = None,
) -> Correlation:
    """Spearman's ρ with a percentile bootstrap over samples; not a number where one side does not vary or has NaN.

    Samples that depend on each other, as the epochs of a run, are of one of ``groups``, which are drawn as a whole.
    Of fewer than :data:`FEWEST` there is no interval: a single one would be drawn again and again, and never vary.
    """
    rng = np.random.default_rng([seed, 105])
    rho = _rho(left, right)
    if math.isnan(rho):
        return Correlation(rho, math.nan, math.nan)
    if groups is None:
        rows = list(rng.integers(0, len(left), size=(draws, len(left))))
    else:
        members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
        if len(members) < FEWEST:
            return Correlation(rho, math.nan, math.nan)
        chosen = rng.integers(0, len(members), size=(draws, len(members)))
        rows = [np.concatenate([members[i] for i in each]) for each in chosen]
    drawn = np.array([_rho(left[row], right[row]) for row in rows])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if drawn.size else (math.nan, math.nan)
    return Correlation(rho, float(low), float(high))


def _rho(left: np.ndarray, right: np.ndarray) -> float:
    if not left.size or np.isnan(left).any() or np.isnan(right).any():
        return math.nan
    a, b = ranks(left), ranks(right)
    a, b = a - a.mean(), b - b.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size > 0 else math.nan


def ranks(values: Float64[np.ndarray, " samples"]) -> Float64[np.ndarray, " samples"]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse]
