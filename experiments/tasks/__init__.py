"""The tasks of the experiments, drawn anew for every seed."""

from neuro_eq.experiments.tasks.algorithmic import ALGORITHMS, Algorithmic, Split, addition, copying, parity, sorting
from neuro_eq.experiments.tasks.small import attractor, memorisation, xor

__all__ = [
    "ALGORITHMS", "Algorithmic", "Split", "addition", "attractor", "copying", "memorisation", "parity", "sorting",
    "xor",
]  # fmt: skip
