"""The nudge from batch to batch."""

from __future__ import annotations

import math

import numpy as np

from neuro_eq.experiments.training.lessons import Lessons
from neuro_eq.methods import Evidence, GradientMethod
from neuro_eq.spec import Network


class Nudging:
    """The nudge that the lessons have for an epoch, or one that follows the cost's slope.

    As a network learns ``∂C/∂a`` shrinks, and with it all that a nudge moves.  A nudge that follows has as its size
    ``r₀ = β·RMS(∂C/∂a)`` what the lessons' own had on the first batch, so far as ``follow`` lets it grow: the slope of
    the batch before is what it goes by.

    Args:
        how: the lessons.
    """

    def __init__(self, how: Lessons) -> None:
        self.how = how
        self.first: float | None = None
        self.slope = math.nan

    def method(self, spec: Network, epoch: int) -> GradientMethod:
        """The gradient of the next batch."""
        return self.how.method(spec, self.beta(epoch))

    def beta(self, epoch: int) -> float:
        """β of the next batch; epochs are counted from 1."""
        usual = self.how.nudge(epoch)
        if self.how.follow is None or self.first is None:
            return usual
        return min(usual * self.first / self.slope, self.how.follow) if self.slope > 0.0 else self.how.follow

    def saw(self, evidence: Evidence) -> None:
        """Take the cost's slope from a batch."""
        if self.how.follow is None:
            return
        beta = evidence.nudged[0].beta if evidence.nudged else 1.0
        slope = float(np.mean(evidence.nudge_size)) / abs(beta)
        if math.isfinite(slope):
            # Where there is nothing to follow yet, a later batch is the first.
            self.first = slope if self.first is None and slope > 0.0 else self.first
            self.slope = slope


__all__ = ["Nudging"]
