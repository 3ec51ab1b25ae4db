"""What may be said of a difference: rows vary from seed to seed, and only more than that decides a claim about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neuro_eq.experiments.machinery.experiment import Claim, Standing
from neuro_eq.experiments.machinery.results import Cell


@dataclass(frozen=True)
class Gap:
    """How far the mean of one row is ahead of another's.

    Attributes:
        ahead: the difference of the means over seeds.
        noise: the standard deviations of both over seeds, together; not a number where one has a single seed.
    """

    ahead: float
    noise: float

    @property
    def decided(self) -> bool | None:
        """True where the one is ahead by more than the noise, False where the other is, None where neither."""
        if abs(self.ahead) > self.noise:
            return self.ahead > 0.0
        return None


def gap(one: Cell, other: Cell, name: str = "accuracy") -> Gap:
    """Of a number of two rows."""
    return Gap(one.mean(name) - other.mean(name), float(np.hypot(one.sd(name), other.sd(name))))


def judged_by_gaps(says: str, gaps: Sequence[Gap], found: str, prior: str = "", why: str = "") -> Claim:
    """A claim that one row of each of several pairs is ahead: of all, of some, of none and behind in some, or open.

    ``found`` goes on after "3 of 4", with what is counted.
    """
    ahead, behind = (sum(each.decided is side for each in gaps) for side in (True, False))
    if gaps and ahead == len(gaps):
        standing = Standing.HOLDS
    elif ahead:
        standing = Standing.PARTLY
    else:
        standing = Standing.FAILS if behind else Standing.OPEN
    return Claim(says, prior, f"{ahead} of {len(gaps)} {found}" if gaps else "not run", standing, why)


__all__ = ["Gap", "gap", "judged_by_gaps"]
