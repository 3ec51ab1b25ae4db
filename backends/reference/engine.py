"""The oracle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from neuro_eq.abilities import Ability, Agreement
from neuro_eq.arrays import Array
from neuro_eq.engine import Engine
from neuro_eq.relaxing import Settling, Task
from neuro_eq.settling import ArraySettling
from neuro_eq.solvers import Anderson, BlockGaussSeidel, Picard, Solver


class ReferenceEngine(Engine):
    """Every equation of :mod:`neuro_eq.dynamics`, evaluated by NumPy in float64."""

    name: ClassVar[str] = "reference"
    dtypes: ClassVar[tuple[str, ...]] = ("float64",)
    solvers: ClassVar[tuple[type[Solver], ...]] = (Picard, BlockGaussSeidel, Anderson)
    lacks: ClassVar[Mapping[Ability, str]] = {
        Ability.AUTOGRAD: "NumPy records no operations; the torch engine does, and equals it"
    }
    agreement: ClassVar[Mapping[str, Agreement]] = {
        "float64": Agreement(0.0, 0.0, 0.0, "it is the oracle"),
    }

    def asarray(self, values: Any) -> Array:
        array = np.asarray(values)
        return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)

    def to_numpy(self, values: Array) -> np.ndarray:
        return np.asarray(values)

    def _begin(self, task: Task) -> Settling:
        return ArraySettling(
            self.dynamics,
            self._theta,
            task,
            self.asarray,
            self.to_numpy,
            # NumPy warns where numbers overflow; here that is an outcome (a status), not a surprise.
            quiet=lambda: np.errstate(all="ignore"),
        )
