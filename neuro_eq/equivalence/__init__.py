"""Whether local learning finds the true gradient: measured over random batches, for every group of parameters."""

from __future__ import annotations

from neuro_eq.equivalence.bars import Measured, measure_network
from neuro_eq.equivalence.measuring import Equivalence, Estimate, measure
from neuro_eq.equivalence.networks import KINKED, NETWORKS, SMOOTH
from neuro_eq.equivalence.table import page

__all__ = ["KINKED", "NETWORKS", "SMOOTH", "Equivalence", "Estimate", "Measured", "measure", "measure_network", "page"]
