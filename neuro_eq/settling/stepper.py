"""What a solver's steps are to the driver."""

from __future__ import annotations

from abc import ABC, abstractmethod

from neuro_eq.arrays import Activities, Array
from neuro_eq.settling.drives import Drives


class Stepper(ABC):
    """How one solver moves the states of a relaxation.

    The driver calls :meth:`drive` and :meth:`step` in turn, with all rows of all phases, and keeps the rows of
    samples that have stopped as they were.  These never move again: what a stepper remembers of a row that has
    stopped, or returns for it, is of no account, and it may hold numbers that are not finite.  No step may ask a
    question whose answer a GPU would have to be waited for.
    """

    def __init__(self, drives: Drives) -> None:
        self.drives = drives

    def drive(self, u: Activities) -> dict[str, Array]:
        """The drive at ``u``, which the driver judges the residual by: the same for every solver."""
        a = self.drives.activities(u)
        return self.drives.with_nudge(a, self.drives.bare(a))

    def keep(self, rows: Array) -> None:
        """Go on with these rows alone, given by their places."""
        self.drives.keep(rows)

    @abstractmethod
    def step(self, u: Activities, drive: Activities) -> dict[str, Array]:
        """The potentials after one step from ``u``, where the drive is ``drive``."""
