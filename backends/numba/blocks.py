"""A relaxation in blocks of samples; each block stops by itself, and the threads share the blocks out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from neuro_eq.arrays import Activities, flat
from neuro_eq.backends.numba.families import FamilyTables
from neuro_eq.backends.numba.kernels import codes
from neuro_eq.backends.numba.kernels.activities import activate
from neuro_eq.backends.numba.kernels.families import Families
from neuro_eq.backends.numba.kernels.settling import settle_block
from neuro_eq.backends.numba.plan import Plan
from neuro_eq.engine import Settling, Snapshot, Task
from neuro_eq.equilibrium import DIVERGENCE
from neuro_eq.solvers import Anderson, BlockGaussSeidel, Picard, Solver
from neuro_eq.synapses import History

if TYPE_CHECKING:
    from neuro_eq.backends.numba.engine import NumbaEngine

LARGEST = 128
"""Samples in a block: the more there are, the less often the weights are read; their states shall stay in cache."""
GRAIN = 8
"""Blocks are multiples of this, so that the rows fill whole tiles."""

SOLVER_CODES: dict[type[Solver], int] = {
    Picard: codes.PICARD,
    BlockGaussSeidel: codes.GAUSS_SEIDEL,
    Anderson: codes.ANDERSON,
}


def cuts(batch: int, threads: int) -> list[slice]:
    """Blocks of a batch, as few as keep all threads at work: no sample's way depends on who is in its block."""
    size = min(LARGEST, -(-batch // (threads * GRAIN)) * GRAIN)
    return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]


class Block:
    """Some samples in all their phases, laid out for the kernels.

    ``rest`` is a block of the same samples, in one phase without a nudge, that ended where this one starts: its
    activities and its last drive are known.
    """

    def __init__(
        self,
        engine: NumbaEngine,
        layout: Plan,
        task: Task,
        samples: slice,
        still: Activities,
        slopes: Mapping[str, tuple[np.ndarray, np.ndarray]],
        constants: np.ndarray,
        rest: Block | None = None,
    ) -> None:
        self.samples = samples
        self.count = samples.stop - samples.start
        self.phases = len(task.betas)
        self.layout, self.spec, self.free = layout, engine.spec, engine.spec.free
        self.buffers = engine.buffers
        dtype = engine.dtype
        rows = self.count * self.phases
        self.u = self._buffer([{p.name: flat(s[p.name][samples]) for p in self.free} for s in task.starts])
        self.a = self.buffers.take(self.u.size)
        self.still = self._buffer([still] * self.phases)
        self.drive = self.buffers.take(self.u.size)
        corrected = task.anchor is not None
        self.corrections = layout.corrections if corrected else layout.corrections[:0]
        self.anchor = np.zeros(0, dtype)
        if task.anchor is not None:
            anchor = {p.name: flat(task.anchor[p.name][samples]) for p in self.free}
            self.anchor = self._buffer([anchor] * self.phases)
        self.deltas = np.zeros((2, self.u.size if corrected else 0), dtype)
        nudged = task.target is not None
        wide = int(layout.populations[codes.STRIDE, layout.cost[1]]) if nudged else 0
        self.bare = np.zeros(rows * wide, dtype)
        self.y = np.zeros((self.count, int(layout.cost[2]) if nudged else 0), dtype)
        if task.target is not None:
            self.y[:, : task.target.shape[1]] = task.target[samples]
        self.y = self.y.ravel()
        self.logits = np.zeros(rows * int(layout.cost[2]) if nudged else 0, dtype)
        depth = task.solver.m if isinstance(task.solver, Anderson) else 0
        self.images = np.zeros((depth, self.u.size if depth else 0), dtype)
        self.residuals = np.zeros_like(self.images)
        self.grams = np.zeros(rows * depth * depth)
        self.place = np.arange(self.count)
        # Copies: a read-only array is another type, for which Numba would compile everything again.
        self.tol = np.full(self.count, -1.0) if task.tol is None else np.array(task.tol[samples])
        self.limit = np.full(self.count, DIVERGENCE)
        self.steps = np.zeros(self.count, dtype=np.int64)
        self.status = np.full(self.count, codes.MAX_STEPS, dtype=np.int64)
        self.residual = np.full(rows, np.nan)
        self.moving = self.count
        if rest is not None:
            for i in range(len(self.free)):
                for mine, theirs in ((self.a, rest.a), (self.drive, rest.drive)):
                    self._matrix(mine, i)[rest.place] = rest._matrix(theirs, i)
        else:
            for i in range(len(self.free)):
                activate(layout.populations, i, constants, self.u, self.a, rows, rows)
        silent = rest is None and layout.linear and not corrected and not self.a.any()
        if silent:
            # Where no unit is active, what is still is the whole drive.
            self.drive[:] = self.still
        self.driven = rest is not None or silent
        self.families = None if layout.families is None else self._families(layout.families, still, slopes, corrected)

    def __del__(self) -> None:
        for name in ("u", "a", "still", "drive"):
            buffer = getattr(self, name, None)  # a block that could not be made has not all of them
            if buffer is not None:
                self.buffers.give(buffer)

    def _families(
        self,
        tables: FamilyTables,
        still: Activities,
        slopes: Mapping[str, tuple[np.ndarray, np.ndarray]],
        corrected: bool,
    ) -> Families:
        """What the synapses that are more than a product keep for these samples."""
        rows = self.count * self.phases
        keepsakes = tables.turned_keepsakes if corrected else tables.keepsakes
        kept = np.zeros(rows * int(np.sum(keepsakes[codes.STRIDE])), self.layout.dtype)
        places = {p.name: i for i, p in enumerate(self.free)}
        begun = {s.name: places[s.target] for s in self.spec.synapses if isinstance(s, History)}
        for i, (owner, part) in enumerate(tables.owners[: keepsakes.shape[1]]):
            begin, size, wide = keepsakes[:, i]
            view = kept[begin * rows : (begin + wide) * rows].reshape(self.count, self.phases, wide)
            if owner in begun:
                view[:] = self._matrix(self.a, begun[owner])
            elif owner in slopes:
                view[:, :, :size] = slopes[owner][part][self.samples, None, :]
            else:
                view[:, :, :size] = still[owner][:, None, :]
        return Families(
            tables.memories, tables.gated, tables.gated if corrected else tables.gated[:0], tables.histories,
            tables.gates, keepsakes, kept, np.zeros(rows * tables.scratch, self.layout.dtype),
        )  # fmt: skip

    def _buffer(self, phases: list[Activities]) -> np.ndarray:
        """``(count, units)`` per population and phase, as one flat buffer of ``count · phases`` rows."""
        rows = self.count * self.phases
        buffer = self.buffers.take(rows * self.layout.units)
        for i, p in enumerate(self.free):
            view = self._matrix(buffer, i)
            for k, values in enumerate(phases):
                view[:, k, : p.size] = values[p.name]
        return buffer

    def _matrix(self, buffer: np.ndarray, i: int) -> np.ndarray:
        """One population's part of a buffer, ``(count, phases, stride)``."""
        rows = self.count * self.phases
        begin, wide = self.layout.places[i]
        return buffer[begin * rows : (begin + wide) * rows].reshape(self.count, self.phases, wide)

    def read(self, buffer: str, found: list[np.ndarray]) -> None:
        """What all free populations hold, into arrays ``(phases, batch, units)``, samples in the batch's order."""
        where: slice | np.ndarray = self.samples
        if np.any(self.place[1:] < self.place[:-1]):
            where = self.samples.start + self.place
        for i, out in enumerate(found):
            out[:, where] = self._matrix(getattr(self, buffer), i).transpose(1, 0, 2)[..., : out.shape[2]]


@dataclass(frozen=True)
class Rest:
    """Where the last free phase ended.

    A phase that starts there begins with the drive that the other ended with, and so do all nudges of it.
    """

    still: list[dict[str, np.ndarray]]
    states: Activities
    activities: Activities
    blocks: list[Block]

    def starts(self, task: Task, still: list[dict[str, np.ndarray]]) -> bool:
        """Whether a relaxation with the same weights and inputs begins here."""
        start = task.starts[0]
        return (
            self.still is still
            and all(other is start for other in task.starts)
            and all(np.array_equal(start[name], values) for name, values in self.states.items())
            # At the anchor there is nothing to correct.
            and (task.anchor is None or all(np.array_equal(task.anchor[n], a) for n, a in self.activities.items()))
        )


class BlockSettling(Settling):
    """A relaxation in blocks."""

    def __init__(self, engine: NumbaEngine, layout: Plan, task: Task) -> None:
        self.engine, self.layout, self.task = engine, layout, task
        self.batch = next(iter(task.starts[0].values())).shape[0]
        self.phases = len(task.betas)
        dtype = np.dtype(engine.dtype)
        assert isinstance(task.solver, (Picard, BlockGaussSeidel, Anderson)), "others are refused earlier"
        self.solver = SOLVER_CODES[type(task.solver)]
        self.alpha = dtype.type(task.solver.alpha)
        self.beta = np.array(task.betas, dtype=dtype)
        self.weights, self.constants, self.readout, self.bias = engine.packed()
        nothing = np.array([codes.NO_COST, 0, 0], dtype=np.int64)
        self.cost = layout.cost if task.target is not None else nothing
        self.taken = 0
        slices = cuts(self.batch, engine.threads)
        self.blocks: list[Block | None] = [None] * len(slices)

        self.slices, self.making = slices, Lock()
        self.still = engine.still_drive(task.inputs, slices)
        self.slopes = engine.gate_slopes(task.anchor)
        self.rest = engine.rest if engine.rest is not None and engine.rest.starts(task, self.still) else None

    def _block(self, i: int) -> Block:
        """A block, made by the thread that first needs it.

        One is made at a time: two threads in turns of the interpreter take longer, and the first settles its block
        while the second makes the next.
        """
        block = self.blocks[i]
        if block is None:
            rest = None if self.rest is None else self.rest.blocks[i]
            with self.making:
                block = self.blocks[i] = Block(
                    self.engine, self.layout, self.task, self.slices[i], self.still[i], self.slopes, self.constants,
                    rest,
                )  # fmt: skip
        return block

    @property
    def ready(self) -> list[Block]:
        """The blocks."""
        return [self._block(i) for i in range(len(self.slices))]

    def advance(self, steps: int) -> bool:
        end = min(self.taken + steps, self.task.max_steps)
        unfinished = [i for i, block in enumerate(self.blocks) if block is None or block.moving]
        self.engine.workers.run([partial(self._settle, i, end) for i in unfinished])
        self.taken = end
        return not any(self._block(i).moving for i in unfinished)

    def _settle(self, i: int, end: int) -> None:
        layout, block = self.layout, self._block(i)
        first = layout.readout.items[0].size if layout.readout.items else 0
        block.moving = settle_block(
            self.solver, self.alpha, layout.populations, layout.inlets, block.corrections, block.families,
            self.weights, self.constants, layout.order, layout.colours, self.cost, self.readout, first, self.bias,
            self.beta, block.u, block.a, block.still, block.drive, block.bare, block.anchor, block.deltas, block.y,
            block.logits, block.images, block.residuals, block.grams, block.place, block.tol, block.limit,
            block.steps, block.status, block.residual, self.taken, end, self.task.max_steps, block.moving,
            block.driven and self.taken == 0,
        )  # fmt: skip

    def snapshot(self) -> Snapshot:
        residual = np.empty((self.phases, self.batch))
        steps, status = (np.empty(self.batch, dtype=np.int64) for _ in range(2))
        for block in self.ready:
            where = block.samples.start + block.place
            residual[:, where] = block.residual.reshape(block.count, self.phases).T
            steps[where] = block.steps
            status[where] = block.status
        activities = self._read("a")
        free = self.task.target is None and self.task.anchor is None and self.phases == 1
        ended = not any(block.moving for block in self.ready)
        # Few ask where the nudged phases ended: what they learn from is activities.
        states = tuple(LaterRead(self, k) for k in range(self.phases)) if ended and not free else self._read("u")
        if free and ended:
            self.engine.rest = Rest(self.still, states[0], activities[0], self.ready)
        return Snapshot(states=states, residual=tuple(residual), steps=steps, status=status, activities=activities)

    @cached_property
    def ends(self) -> tuple[dict[str, np.ndarray], ...]:
        """The potentials in which the phases have ended."""
        return self._read("u")

    def _read(self, buffer: str) -> tuple[dict[str, np.ndarray], ...]:
        populations = self.engine.spec.free
        found = [np.empty((self.phases, self.batch, p.size), self.engine.dtype) for p in populations]
        numbers = sum(array.size for array in found)
        self.engine.workers.run([partial(block.read, buffer, found) for block in self.ready], numbers)
        named = list(zip(populations, found, strict=True))
        return tuple(
            {p.name: values[k].reshape(self.batch, *p.shape) for p, values in named} for k in range(self.phases)
        )


class LaterRead(Mapping[str, np.ndarray]):
    """The potentials in which one phase has ended, read from the blocks when somebody asks for them."""

    def __init__(self, settling: BlockSettling, phase: int) -> None:
        self._settling, self._phase = settling, phase

    def __getitem__(self, name: str) -> np.ndarray:
        return self._settling.ends[self._phase][name]

    def __iter__(self) -> Iterator[str]:
        return (p.name for p in self._settling.engine.spec.free)

    def __len__(self) -> int:
        return len(self._settling.engine.spec.free)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)


__all__ = ["BlockSettling", "cuts"]
