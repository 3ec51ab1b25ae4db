"""The Numba engine: blocks of samples that settle in cache, and updates that see a synapse's two ends only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from neuro_eq.abilities import Agreement
from neuro_eq.arrays import Activities, Array, Parameters, flat
from neuro_eq.backends.numba.blocks import BlockSettling, LaterRead, Rest
from neuro_eq.backends.numba.buffers import Buffers
from neuro_eq.backends.numba.compilation import compile_once
from neuro_eq.backends.numba.descent import Descent
from neuro_eq.backends.numba.kernels.judging import add_squares
from neuro_eq.backends.numba.learning import Hebbian
from neuro_eq.backends.numba.plan import ACTIVATION_CODES, plan
from neuro_eq.backends.numba.remaining import Remaining, gate_slopes
from neuro_eq.backends.numba.still import Still
from neuro_eq.backends.numba.workers import Workers
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import BackendError
from neuro_eq.optimizers import Optimizer, OptimizerState
from neuro_eq.relaxing import Settling, Task
from neuro_eq.solvers import Anderson, BlockGaussSeidel, Picard, Solver
from neuro_eq.spec import Network
from neuro_eq.synapses import GatedDense


class NumbaEngine(Engine):
    """Compiled for the CPU.

    Args:
        threads: blocks that settle at the same time; all cores by default.  Results are bit-identical for any number.
    """

    name: ClassVar[str] = "numba"
    solvers: ClassVar[tuple[type[Solver], ...]] = (Picard, BlockGaussSeidel, Anderson)
    synapse_kinds: ClassVar[tuple[str, ...] | None] = (
        "dense", "directed_dense", "bias", "hopfield_memory", "history", "step_gate", "gated_dense",
    )  # fmt: skip
    cost_kinds: ClassVar[tuple[str, ...] | None] = ("squared_error", "cross_entropy")
    activation_kinds: ClassVar[tuple[str, ...] | None] = tuple(ACTIVATION_CODES)
    agreement: ClassVar[Mapping[str, Agreement]] = {
        "float64": Agreement(
            1e-10, 1e-10, 1e-13, "sums are ordered differently: a few hundred terms of 2⁻⁵³ each, over 1 − L"
        ),
        "float32": Agreement(
            1e-5, 1e-5, 8 * 2.0**-23, "a state is known to about 10·2⁻²⁴; a contrast divides that by β"
        ),
    }

    def __init__(self, spec: Network, dtype: str = "float64", seed: int = 0, threads: int | None = None) -> None:
        if threads is not None and (type(threads) is not int or threads < 1):
            raise BackendError(f"threads: expected a whole number of at least 1, found {threads!r}")
        self.refuse_what_it_cannot_run(spec, dtype)
        self.threads = threads or os.cpu_count() or 1
        self.workers = Workers(self.threads)
        self.plan = plan(spec, dtype)
        self.hebbian, self.descent = Hebbian(spec, self.workers), Descent(self.workers)
        self._packed: tuple[Mapping[str, Array], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] | None = None
        self._still: Still | None = None
        self.rest: Rest | None = None
        self.zero: Activities | None = None
        self.buffers = Buffers(dtype)
        super().__init__(spec, dtype, seed)
        self.remaining = Remaining(self.dynamics, self.workers, dtype)
        nothing = {p.name: np.zeros((1, *p.shape)) for p in spec.clamped}
        variant = "" if self.plan.families is None else "memories and gates"
        compile_once(dtype, lambda: self.relax(nothing, max_steps=0), variant)

    def close(self) -> None:
        self.workers.close()

    def stepped(
        self, optimizer: Optimizer, gradient: Parameters, state: OptimizerState, scale: float = 1.0
    ) -> tuple[dict[str, Array], OptimizerState]:
        return self.descent.stepped(optimizer, self._theta, gradient, state, scale)

    def _not_finite(self, arrays: Parameters) -> str | None:
        return self.descent.not_finite(arrays)

    def asarray(self, values: Any) -> Array:
        return np.array(values, dtype=self.dtype, order="C")

    def own(self, values: Any) -> Array:
        array = np.asarray(values, dtype=self.dtype, order="C")
        # A read-only array is another type, for which Numba would compile everything again.
        return array if array.flags.writeable else array.copy()

    def to_numpy(self, values: Array) -> np.ndarray:
        return np.asarray(values)

    def _begin(self, task: Task) -> Settling:
        return BlockSettling(self, self.plan, task)

    def packed(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Weights and constants of free populations as the kernels take them, the readout's weights and its bias."""
        theta = self._theta
        if self._packed is None or self._packed[0] is not theta:
            bias = np.zeros(0, self.dtype)
            if self.plan.readout.items and self.spec.cost is not None:
                bias = theta[f"{self.spec.cost.name}.bias"]
            plan = self.plan
            weights, readout = (factors.packed(theta, self.workers) for factors in (plan.factors, plan.readout))
            found = (weights, plan.constants.filled(theta), readout, bias)
            self._packed = (theta, found)
        return self._packed[1]

    def still(self, inputs: Activities, slices: list[slice]) -> Still:
        """The drive that stays, of so many slices of the samples.

        The nudged phases of a batch follow its free phase with the same data and weights, so the last one is kept.
        """
        if self._still is None or not self._still.of(self._theta, inputs):
            self._still = Still(self.plan, self.dynamics, self._theta, inputs, slices)
        return self._still

    def gate_slopes(self, anchor: Activities | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """g and h of the gated synapses between free populations at ``a*``, which the asymmetric correction takes."""
        slopes: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if anchor is not None:
            for synapse in self.spec.asymmetric:
                if isinstance(synapse, GatedDense):
                    slopes[synapse.name] = gate_slopes(synapse, anchor, self._theta)
        return slopes

    def _start(self, start: Equilibrium | Activities | None, batch: int) -> Activities:
        # Where the last free phase ended the blocks know; nothing needs to be read from them.
        rest = self.rest
        if rest is not None and isinstance(start, Equilibrium) and start.states is rest.states and start.batch == batch:
            return rest.states
        if start is not None:
            return super()._start(start, batch)
        if self.zero is None or next(iter(self.zero.values())).shape[0] != batch:
            self.zero = super()._start(None, batch)
        return self.zero

    def rms(self, x: Activities) -> np.ndarray:
        known = x.squares() if isinstance(x, LaterRead) else None
        if known is not None:
            return np.asarray(np.sqrt(known / self.spec.free_units))
        total = np.zeros(next(iter(x.values())).shape[0])
        for p in self.spec.free:
            if p.name in x:
                add_squares(np.ascontiguousarray(flat(x[p.name])), total)
        return np.asarray(np.sqrt(total / self.spec.free_units))

    def energy_gradient(self, state: Equilibrium) -> dict[str, Array]:
        return {**self.hebbian.energy_gradient(state.activities), **self.remaining.energy_gradient(state, self._theta)}

    def contrast(self, above: Equilibrium, below: Equilibrium, width: float) -> dict[str, Array]:
        return {
            **self.hebbian.contrast(above.activities, below.activities, width),
            **self.remaining.contrast(above, below, width, self._theta),
        }

    def drive_vjp(self, state: Equilibrium, lam: Activities, mu: Activities) -> dict[str, Array]:
        return {
            **self.hebbian.drive_gradient(state.activities, lam),
            **self.remaining.drive_vjp(state, lam, mu, self._theta),
        }
