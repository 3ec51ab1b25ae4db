"""How numbers decide claims: rows vary from seed to seed, and only more than that decides what is said of them."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from neuro_eq.experiments.machinery.experiment import Claim, Standing
from neuro_eq.experiments.machinery.results import Cell, number


def judged(says: str, holds: bool | None, found: str, prior: str = "", why: str = "") -> Claim:
    """A claim with its standing; None where the results do not decide it."""
    standing = Standing.OPEN if holds is None else Standing.HOLDS if holds else Standing.FAILS
    return Claim(says, prior, found, standing, why)


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

    def within(self, limit: float) -> bool | None:
        """Whether the one is behind by no more than a limit; None where that is within the noise.

        Single seeds are taken as they are.
        """
        noise = 0.0 if math.isnan(self.noise) else self.noise
        if -self.ahead + noise <= limit:
            return True
        return False if -self.ahead - noise > limit else None


def gap(one: Cell, other: Cell, name: str = "accuracy") -> Gap:
    """Of a number of two rows."""
    return Gap(one.mean(name) - other.mean(name), float(np.hypot(one.sd(name), other.sd(name))))


@dataclass(frozen=True)
class Share:
    """How large the mean of one row is, as a share of another's.

    Attributes:
        of: the quotient of the means over seeds.
        noise: its standard deviation, as those of both rows over seeds make it; not a number where one has a single
            seed.
    """

    of: float
    noise: float

    def said(self, form: str) -> str:
        """``1.88 ± 0.36``, or the share alone where there is one seed."""
        return number(self.of, form) + ("" if math.isnan(self.noise) else f" ± {number(self.noise, form)}")

    def at_most(self, limit: float) -> bool | None:
        """Whether it is no more than a limit; None where that is within the noise, or where it is not a number.

        Single seeds are taken as they are.
        """
        return self._keeps(operator.le, limit)

    def below(self, limit: float) -> bool | None:
        """As :meth:`at_most`, and not the limit itself."""
        return self._keeps(operator.lt, limit)

    def _keeps(self, within: Callable[[float, float], bool], limit: float) -> bool | None:
        noise = 0.0 if math.isnan(self.noise) else self.noise
        if within(self.of + noise, limit):
            return True
        return None if math.isnan(self.of) or within(self.of - noise, limit) else False


def share(one: Cell, other: Cell, name: str) -> Share:
    """Of a number of two rows that is not negative; not a number where the other has none of it."""
    base = other.mean(name)
    if base == 0.0:  # as what a process grows by may be
        return Share(math.nan, math.nan)
    of = one.mean(name) / base
    return Share(of, float(np.hypot(one.sd(name), of * other.sd(name))) / base)


def all_of(sides: Iterable[bool | None]) -> bool | None:
    """True where every one is, False where one is false, None where that is not decided, or where there are none."""
    found = list(sides)
    return False if False in found else None if not found or None in found else True


def judged_sides(says: str, sides: Sequence[bool | None], found: str, prior: str = "", why: str = "") -> Claim:
    """A claim about each of several: true of all, of some, of none and false of some, or open.

    ``found`` goes on after "3 of 4", with what is counted; of how many it is not decided stands between.
    """
    those = sum(side is True for side in sides)
    if sides and those == len(sides):
        standing = Standing.HOLDS
    elif those:
        standing = Standing.PARTLY
    else:
        standing = Standing.FAILS if False in sides else Standing.OPEN
    undecided = sum(side is None for side in sides)
    count = f"{those} of {len(sides)}" + (f" ({undecided} not decided)" if undecided else "")
    return Claim(says, prior, f"{count} {found}" if sides else "not run", standing, why)


def judged_each(says: str, those: int, of: int, found: str, prior: str = "", why: str = "") -> Claim:
    """A claim about each of several that is true of ``those`` and false of the others."""
    return judged_sides(says, [i < those for i in range(of)], found, prior, why)


def judged_by_gaps(says: str, gaps: Sequence[Gap], found: str, prior: str = "", why: str = "") -> Claim:
    """A claim that one row of each of several pairs is ahead of the other."""
    return judged_sides(says, [each.decided for each in gaps], found, prior, why)


__all__ = ["Gap", "Share", "all_of", "gap", "judged", "judged_by_gaps", "judged_each", "judged_sides", "share"]
