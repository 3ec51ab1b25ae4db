"""The Numba engine: blocks of samples that settle in cache, and updates that see a synapse's two ends only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np
from threadpoolctl import ThreadpoolController

from neuro_eq.arrays import Activities, Array, flat
from neuro_eq.backends.numba import kernels
from neuro_eq.backends.numba.plan import ACTIVATION_CODES, Plan, plan
from neuro_eq.engine import Agreement, Engine, Settling, Snapshot, Task
from neuro_eq.equilibrium import DIVERGENCE, Equilibrium
from neuro_eq.errors import BackendError
from neuro_eq.solvers import Picard
from neuro_eq.spec import Network
from neuro_eq.synapses import Bias, Dense, DirectedDense

BLOCK = 32
"""Samples in a block: fixed, so that neither the batch nor the number of threads changes a bit of a result."""


class NumbaEngine(Engine):
    """Compiled for the CPU.

    Args:
        threads: blocks that settle at the same time; all cores by default.  Results are bit-identical for any number.
    """

    name: ClassVar[str] = "numba"
    synapse_kinds: ClassVar[tuple[str, ...] | None] = ("dense", "directed_dense", "bias")
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
        self.threads = threads or os.cpu_count() or 1
        self.blas = ThreadpoolController()
        self.plan = plan(spec) if self._can_run(spec, dtype) else None
        super().__init__(spec, dtype, seed)

    @classmethod
    def _can_run(cls, spec: Network, dtype: str) -> bool:
        cls.refuse_what_it_cannot_run(spec, dtype)
        return True

    def asarray(self, values: Any) -> Array:
        return np.array(values, dtype=self.dtype, order="C")

    def to_numpy(self, values: Array) -> np.ndarray:
        return np.asarray(values)

    def _begin(self, task: Task) -> Settling:
        assert self.plan is not None
        with self.single_blas():
            return BlockSettling(self, self.plan, task)

    def single_blas(self) -> AbstractContextManager[Any]:
        """BLAS on one thread: a second costs more than it brings to small products, and sums keep their order."""
        return self.blas.limit(limits=1, user_api="blas")

    def energy_gradient(self, state: Equilibrium) -> dict[str, Array]:
        with self.single_blas():
            return self._energy_gradient(state)

    def drive_vjp(self, state: Equilibrium, lam: Activities, mu: Activities) -> dict[str, Array]:
        with self.single_blas():
            return self._drive_vjp(state, lam)

    def _energy_gradient(self, state: Equilibrium) -> dict[str, Array]:
        gradient: dict[str, Array] = {}
        a = state.activities
        for synapse in self.spec.synapses:
            if isinstance(synapse, Dense):
                scale = -0.5 if synapse.on_itself else -1.0
                gradient[f"{synapse.name}.weight"] = scale * self._hebbian(a[synapse.target], a[synapse.source])
            elif isinstance(synapse, Bias):
                gradient[f"{synapse.name}.bias"] = -np.mean(a[synapse.target], axis=0)
        return gradient

    def _drive_vjp(self, state: Equilibrium, lam: Activities) -> dict[str, Array]:
        gradient: dict[str, Array] = {}
        a = state.activities
        for synapse in self.spec.synapses:
            if isinstance(synapse, Bias):
                gradient[f"{synapse.name}.bias"] = np.mean(lam[synapse.target], axis=0)
            elif isinstance(synapse, DirectedDense):
                gradient[f"{synapse.name}.weight"] = self._hebbian(lam[synapse.target], a[synapse.source])
            elif isinstance(synapse, Dense):
                gradient[f"{synapse.name}.weight"] = self._both_ends(synapse, a, lam)
        return gradient

    def _both_ends(self, synapse: Dense, a: Activities, lam: Activities) -> Array:
        """``λ_post ⊗ a_pre + a_post ⊗ λ_pre``; data does not respond, so a clamped end has no λ."""
        ends = [
            self._hebbian(post, pre)
            for post, pre in (
                (lam.get(synapse.target), a[synapse.source]),
                (a[synapse.target], lam.get(synapse.source)),
            )
            if post is not None and pre is not None
        ]
        total = ends[0] if len(ends) == 1 else ends[0] + ends[1]
        return 0.5 * total if synapse.on_itself else total

    def _hebbian(self, post: Array, pre: Array) -> Array:
        return kernels.hebbian(np.ascontiguousarray(flat(post)), np.ascontiguousarray(flat(pre)))


class Block:
    """Some samples in all their phases, laid out for the kernels."""

    def __init__(self, engine: NumbaEngine, task: Task, samples: slice, still: np.ndarray) -> None:
        self.count = samples.stop - samples.start
        self.rows = self.count * len(task.betas)
        dtype = engine.dtype
        free = engine.spec.free
        self.u = np.concatenate(
            [np.concatenate([flat(s[p.name][samples]) for s in task.starts]).ravel() for p in free]
        ).astype(dtype, copy=False)
        self.a = np.empty_like(self.u)
        self.still = still
        self.corrected = task.anchor is not None
        self.anchor = np.empty(0, dtype)
        if task.anchor is not None:
            parts = [np.tile(flat(task.anchor[p.name][samples]), (len(task.betas), 1)).ravel() for p in free]
            self.anchor = np.concatenate(parts).astype(dtype, copy=False)
        self.y = np.zeros((0, 0), dtype) if task.target is None else np.ascontiguousarray(task.target[samples])
        # A copy: a read-only array is another type, for which Numba would compile everything again.
        self.tol = np.full(self.count, -1.0) if task.tol is None else np.array(task.tol[samples])
        self.limit = np.full(self.count, DIVERGENCE)
        self.active = np.ones(self.count, dtype=np.bool_)
        self.steps = np.zeros(self.count, dtype=np.int64)
        self.status = np.full(self.count, kernels.MAX_STEPS, dtype=np.int64)
        self.residual = np.full(self.rows, np.nan)


class BlockSettling(Settling):
    """A relaxation in blocks; each block stops by itself, and the threads share the blocks out."""

    def __init__(self, engine: NumbaEngine, layout: Plan, task: Task) -> None:
        assert isinstance(task.solver, Picard), "refused earlier"
        self.engine, self.plan, self.task = engine, layout, task
        self.batch = next(iter(task.starts[0].values())).shape[0]
        self.phases = len(task.betas)
        theta = engine.parameters
        dtype = np.dtype(engine.dtype)
        self.alpha = dtype.type(task.solver.alpha)
        self.beta = np.array(task.betas, dtype=dtype)
        self.weights = layout.weights(theta, engine.dtype)
        cost = engine.spec.cost
        self.readout, self.bias = np.zeros((0, 0), dtype), np.zeros(0, dtype)
        self.cost = layout.cost if task.target is not None else np.array([kernels.NO_COST, 0], dtype=np.int64)
        if cost is not None and self.cost[0] == kernels.CROSS_ENTROPY:
            self.readout, self.bias = theta[f"{cost.name}.weight"], theta[f"{cost.name}.bias"]
        self.transposed = np.ascontiguousarray(self.readout.T)
        a = engine.dynamics.activities(task.starts[0], task.inputs, theta)
        still = engine.dynamics.still_drive(a, theta)
        self.blocks = []
        for first in range(0, self.batch, BLOCK):
            samples = slice(first, min(first + BLOCK, self.batch))
            parts = [np.tile(flat(still[p.name][samples]), (self.phases, 1)).ravel() for p in engine.spec.free]
            self.blocks.append(Block(engine, task, samples, np.concatenate(parts).astype(dtype, copy=False)))
        self.taken = 0

    def advance(self, steps: int) -> bool:
        end = min(self.taken + steps, self.task.max_steps)
        unfinished = [block for block in self.blocks if block.active.any()]
        with self.engine.single_blas():
            if self.engine.threads == 1 or len(unfinished) <= 1:
                for block in unfinished:
                    self._settle(block, end)
            else:
                with ThreadPoolExecutor(min(self.engine.threads, len(unfinished))) as pool:
                    list(pool.map(lambda block: self._settle(block, end), unfinished))
        self.taken = end
        return not any(block.active.any() for block in self.blocks)

    def _settle(self, block: Block, end: int) -> None:
        kernels.settle_block(
            self.plan.populations, self.plan.synapses, self.weights,
            self.cost, self.readout, self.transposed, self.bias,
            block.u, block.a, block.still, block.y, self.beta, block.anchor, block.corrected,
            self.alpha, block.tol, block.limit, block.active, block.steps, block.status, block.residual,
            self.taken, end, self.task.max_steps,
        )  # fmt: skip

    def snapshot(self) -> Snapshot:
        phases = range(self.phases)
        return Snapshot(
            states=tuple(self._states(k) for k in phases),
            residual=tuple(
                np.concatenate([b.residual[k * b.count : (k + 1) * b.count] for b in self.blocks]) for k in phases
            ),
            steps=np.concatenate([block.steps for block in self.blocks]),
            status=np.concatenate([block.status for block in self.blocks]),
        )

    def _states(self, k: int) -> dict[str, np.ndarray]:
        begins, sizes = self.plan.populations[:2]
        states: dict[str, np.ndarray] = {}
        for p, begin, size in zip(self.engine.spec.free, begins, sizes, strict=True):
            rows = [
                b.u[begin * b.rows : (begin + size) * b.rows].reshape(b.rows, size)[k * b.count : (k + 1) * b.count]
                for b in self.blocks
            ]
            states[p.name] = np.concatenate(rows).reshape(self.batch, *p.shape)
        return states
