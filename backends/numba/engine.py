"""The Numba engine: blocks of samples that settle in cache, and updates that see a synapse's two ends only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from neuro_eq.arrays import Activities, Array, flat
from neuro_eq.backends.numba.blocks import BlockSettling, Rest
from neuro_eq.backends.numba.buffers import Buffers
from neuro_eq.backends.numba.compilation import compile_once
from neuro_eq.backends.numba.kernels.judging import add_squares
from neuro_eq.backends.numba.learning import Hebbian
from neuro_eq.backends.numba.packing import add_product_with_transposed, product
from neuro_eq.backends.numba.plan import ACTIVATION_CODES, plan
from neuro_eq.backends.numba.remaining import Remaining, gate_slopes
from neuro_eq.backends.numba.workers import Workers
from neuro_eq.engine import Agreement, Engine, Settling, Task
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import BackendError
from neuro_eq.solvers import Anderson, BlockGaussSeidel, Picard, Solver
from neuro_eq.spec import Network
from neuro_eq.synapses import Bias, Dense, DirectedDense, GatedDense, StepGate


@dataclass(frozen=True)
class Still:
    """The drive by inputs and biases of one batch, with what it was computed from."""

    theta: Mapping[str, Array]
    inputs: Mapping[str, np.ndarray]
    drive: list[dict[str, np.ndarray]]

    def same(self, inputs: Activities) -> bool:
        """Whether these are the same data; far cheaper to see than the drive is to compute."""
        kept = self.inputs
        return all(kept[name] is values or np.array_equal(kept[name], values) for name, values in inputs.items())


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
        self.hebbian = Hebbian(spec, self.workers)
        self._packed: tuple[Mapping[str, Array], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] | None = None
        self._still: Still | None = None
        self.rest: Rest | None = None
        self.buffers = Buffers(dtype)
        super().__init__(spec, dtype, seed)
        self.remaining = Remaining(self.dynamics, self.workers, dtype)
        nothing = {p.name: np.zeros((1, *p.shape)) for p in spec.clamped}
        variant = "" if self.plan.families is None else "memories and gates"
        compile_once(dtype, lambda: self.relax(nothing, max_steps=0), variant)

    def close(self) -> None:
        self.workers.close()

    def share(self, tasks: Sequence[Callable[[], object]], numbers: int) -> None:
        self.workers.run(tasks, numbers)

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

    def still_drive(self, inputs: Activities, slices: Sequence[slice]) -> list[dict[str, np.ndarray]]:
        """The part of the drive that stays while samples settle, ``(samples, units)`` for each slice of them.

        Beside it, by their own names, the rates of the gates on steps that data alone open.

        The nudged phases of a batch follow its free phase with the same data and weights, so the last one is kept.
        """
        theta = self._theta
        kept = self._still
        if kept is not None and kept.theta is theta and kept.same(inputs):
            return kept.drive
        drive: list[dict[str, np.ndarray]] = [{} for _ in slices]

        def work(i: int) -> None:
            drive[i] = self._still_drive(inputs, slices[i])

        self.workers.run([partial(work, i) for i in range(len(slices))])
        self._still = Still(theta, dict(inputs), drive)
        return drive

    def _still_drive(self, inputs: Activities, samples: slice) -> dict[str, np.ndarray]:
        theta = self._theta
        clamped = {name: flat(values[samples]) for name, values in inputs.items()}
        count = samples.stop - samples.start
        total = {p.name: np.zeros((count, p.size), self.dtype) for p in self.spec.free}
        rates: dict[str, np.ndarray] = {}
        for synapse in self.dynamics.still:
            if isinstance(synapse, Bias):
                if synapse.target in total:
                    total[synapse.target] += theta[f"{synapse.name}.bias"].ravel()
            elif isinstance(synapse, (Dense, DirectedDense)):
                weight = theta[f"{synapse.name}.weight"]
                if synapse.source in clamped and synapse.target in total:
                    add_product_with_transposed(total[synapse.target], clamped[synapse.source], weight)
                elif isinstance(synapse, Dense) and synapse.target in clamped and synapse.source in total:
                    total[synapse.source] += product(clamped[synapse.target], weight)
            elif isinstance(synapse, GatedDense):
                own = self.dynamics.own(theta, synapse.name)
                total[synapse.target] += synapse.drive({**clamped, **total}, own, total)[synapse.target]
            elif isinstance(synapse, StepGate) and synapse.source in clamped:
                rates[synapse.name] = synapse.rate({**clamped, **total}, self.dynamics.own(theta, synapse.name))
        return {**total, **rates}

    def gate_slopes(self, anchor: Activities | None) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """g and h of the gated synapses between free populations at ``a*``, which the asymmetric correction takes."""
        slopes: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        if anchor is not None:
            for synapse in self.spec.asymmetric:
                if isinstance(synapse, GatedDense):
                    slopes[synapse.name] = gate_slopes(synapse, anchor, self._theta)
        return slopes

    def rms(self, x: Activities) -> np.ndarray:
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
