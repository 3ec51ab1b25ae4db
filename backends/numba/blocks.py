"""A relaxation in blocks of samples; each block stops by itself, and the threads share the blocks out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from neuro_eq.arrays import Activities, flat
from neuro_eq.backends.numba.families import FamilyTables
from neuro_eq.backends.numba.kernels import codes
from neuro_eq.backends.numba.kernels.activities import activate
from neuro_eq.backends.numba.kernels.families import Families
from neuro_eq.backends.numba.kernels.layout import add_squares_of, gather, repeat, report, spread
from neuro_eq.backends.numba.kernels.settling import settle_block
from neuro_eq.backends.numba.plan import Plan
from neuro_eq.backends.numba.still import Part, Still
from neuro_eq.equilibrium import DIVERGENCE
from neuro_eq.relaxing import Settling, Snapshot, Task
from neuro_eq.solvers import Anderson, BlockGaussSeidel, Picard, Solver
from neuro_eq.synapses import History

if TYPE_CHECKING:
    from neuro_eq.backends.numba.engine import NumbaEngine

LARGEST = 128
"""Samples in a block: the more there are, the less often the weights are read; their states shall stay in cache."""
GRAIN = 8
"""Blocks are multiples of this, so that the rows fill whole tiles."""
ORDER = np.arange(LARGEST)
"""The samples of a block, in the order of the batch."""

SOLVER_CODES: dict[type[Solver], int] = {
    Picard: codes.PICARD,
    BlockGaussSeidel: codes.GAUSS_SEIDEL,
    Anderson: codes.ANDERSON,
}


def cuts(batch: int, threads: int) -> list[slice]:
    """Blocks of a batch, as few as keep all threads at work: no sample's way depends on who is in its block."""
    size = min(LARGEST, -(-batch // (threads * GRAIN)) * GRAIN)
    return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]


@dataclass(frozen=True)
class Origin:
    """Where a block begins: its code, the buffers of one phase that it takes over, and whose rows they are."""

    code: int
    place: np.ndarray
    u: np.ndarray
    a: np.ndarray
    still: np.ndarray
    drive: np.ndarray


class Block:
    """Some samples in all their phases, laid out for the kernels."""

    def __init__(
        self,
        engine: NumbaEngine,
        layout: Plan,
        task: Task,
        samples: slice,
        targets: np.ndarray,
    ) -> None:
        self.samples = samples
        self.count = samples.stop - samples.start
        self.phases = len(task.betas)
        self.layout, self.spec, self.free = layout, engine.spec, engine.spec.free
        self.buffers = engine.buffers
        dtype = engine.dtype
        rows = self.count * self.phases
        self.u, self.a, self.still, self.drive = (self.buffers.take(rows * layout.units) for _ in range(4))
        corrected = task.anchor is not None
        self.corrections = layout.corrections if corrected else layout.corrections[:0]
        nothing = layout.nothing
        self.anchor, self.deltas = nothing, nothing.reshape(2, 0)
        if task.anchor is not None:
            self.anchor, self.deltas = np.zeros_like(self.u), np.zeros((2, self.u.size), dtype)
            self._fill(self.anchor, {p.name: flat(task.anchor[p.name][samples]) for p in self.free})
        nudged = task.target is not None
        wide = int(layout.populations[codes.STRIDE, layout.cost[1]]) if nudged else 0
        # What the kernels write before they read it is not filled: threads that make blocks wait for each other.
        self.bare = np.empty(rows * wide, dtype)
        self.logits = np.empty(rows * targets.shape[1], dtype)
        self.y = targets[samples].reshape(-1)
        self.images = self.residuals = nothing.reshape(0, 0)
        self.grams = np.zeros(0)
        if isinstance(task.solver, Anderson):
            depth = task.solver.m
            self.images, self.residuals = (np.zeros((depth, self.u.size), dtype) for _ in range(2))
            self.grams = np.zeros(rows * depth * depth)
        self.place, self.steps, self.status = np.empty((3, self.count), np.int64)
        self.residual = np.empty(rows)
        # Copies: a read-only array is another type, for which Numba would compile everything again.
        self.tol = np.full(self.count, -1.0) if task.tol is None else np.array(task.tol[samples])
        self.limit = np.full(self.count, DIVERGENCE)
        self.moving = self.count
        self.families: Families | None = None

    def begin_at(
        self, starts: Sequence[Activities], zero: Activities | None, part: Part, constants: np.ndarray
    ) -> Origin:
        """Begin with these potentials, one mapping a phase; ``zero`` is the one that needs not be read."""
        nothing = self.layout.nothing
        code = codes.FROM_ZERO if all(start is zero for start in starts) else codes.FROM_POTENTIALS
        if code == codes.FROM_POTENTIALS:
            alike = all(other is starts[0] for other in starts)
            for k, start in enumerate(starts[:1] if alike else starts):
                self._fill(self.u, {p.name: flat(start[p.name][self.samples]) for p in self.free}, -1 if alike else k)
        elif self.layout.families is not None:
            self.u[:] = 0
        if self.layout.families is not None:
            rows = self.residual.size
            for i in range(len(self.free)):
                activate(self.layout.populations, i, constants, self.u, self.a, rows, rows)
        return Origin(code, ORDER[: self.count], nothing, nothing, part.drive, nothing)

    def begin_where(self, rest: Block) -> Origin:
        """Begin where a block of the same samples, in one phase without a nudge, ended: its last drive is known."""
        if self.layout.families is not None:
            repeat(self.layout.populations, rest.place, rest.a, self.a, self.phases)
        return Origin(codes.FROM_REST, rest.place, rest.u, rest.a, rest.still, rest.drive)

    def __del__(self) -> None:
        for name in ("u", "a", "still", "drive"):
            buffer = getattr(self, name, None)  # a block that could not be made has not all of them
            if buffer is not None:
                self.buffers.give(buffer)

    def keep(
        self,
        tables: FamilyTables,
        rates: Mapping[str, np.ndarray],
        slopes: Mapping[str, tuple[np.ndarray, np.ndarray]],
    ) -> None:
        """What the synapses that are more than a product keep for these samples, which begins with their activities."""
        corrected = self.anchor.size > 0
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
                view[:, :, :size] = rates[owner][:, None, :]
        self.families = Families(
            tables.memories, tables.gated, tables.gated if corrected else tables.gated[:0], tables.histories,
            tables.gates, keepsakes, kept, np.zeros(rows * tables.scratch, self.layout.dtype),
        )  # fmt: skip

    def _fill(self, buffer: np.ndarray, values: Activities, phase: int = -1) -> None:
        """``(count, units)`` per population into one phase of a buffer, or into all."""
        for p, (begin, wide) in zip(self.free, self.layout.places, strict=True):
            spread(values[p.name], buffer, begin, wide, self.phases, phase)

    def _matrix(self, buffer: np.ndarray, i: int) -> np.ndarray:
        """One population's part of a buffer, ``(count, phases, stride)``."""
        rows = self.count * self.phases
        begin, wide = self.layout.places[i]
        return buffer[begin * rows : (begin + wide) * rows].reshape(self.count, self.phases, wide)

    def read(self, buffer: np.ndarray, found: np.ndarray, batch: int) -> None:
        """What all free populations hold, each ``(phases, batch, units)``, samples in the batch's order."""
        gather(self.layout.populations, self.place, buffer, self.phases, self.samples.start, batch, found)

    def add_squares(self, phase: int, total: np.ndarray) -> None:
        """Add ``Σ u²`` of one phase to ``total (batch)``."""
        add_squares_of(self.layout.populations, self.place, self.u, self.phases, phase, self.samples.start, total)


@dataclass(frozen=True)
class Rest:
    """Where the last free phase ended.

    A phase that starts there begins with the drive that the other ended with, and so do all nudges of it.
    """

    still: Still
    states: Activities
    activities: Activities
    blocks: list[Block]

    def starts(self, task: Task, still: Still) -> bool:
        """Whether a relaxation with the same weights and inputs begins here."""
        start = task.starts[0]
        return (
            self.still is still
            and all(other is start for other in task.starts)
            and (
                start is self.states or all(np.array_equal(start[name], values) for name, values in self.states.items())
            )
            # At the anchor there is nothing to correct.
            and (task.anchor is None or all(np.array_equal(task.anchor[n], a) for n, a in self.activities.items()))
        )


class BlockSettling(Settling):
    """A relaxation in blocks."""

    def __init__(self, engine: NumbaEngine, layout: Plan, task: Task) -> None:
        self.engine, self.layout, self.task = engine, layout, task
        # Not of the starts: potentials that nobody asks for are not read.
        self.batch = next(iter(task.inputs.values())).shape[0]
        self.phases = len(task.betas)
        dtype = np.dtype(engine.dtype)
        assert isinstance(task.solver, (Picard, BlockGaussSeidel, Anderson)), "others are refused earlier"
        self.solver = SOLVER_CODES[type(task.solver)]
        self.alpha = dtype.type(task.solver.alpha)
        self.beta = np.array(task.betas, dtype=dtype)
        self.weights, self.constants, self.readout, self.bias = engine.packed()
        nothing = np.array([codes.NO_COST, 0, 0], dtype=np.int64)
        self.cost = layout.cost if task.target is not None else nothing
        self.targets = self._targets()
        self.taken = 0
        self.slices = cuts(self.batch, engine.threads)
        self._blocks: list[Block | None] = [None] * len(self.slices)
        self.begun = False
        self.still = engine.still(task.inputs, self.slices)
        self.slopes = engine.gate_slopes(task.anchor)
        self.rest = engine.rest if engine.rest is not None and engine.rest.starts(task, self.still) else None
        # What is read later is read now, before threads would do so together.
        self.starts = [] if self.rest is not None else _as_arrays(task.starts)
        self.activities = self._room()

    def _targets(self) -> np.ndarray:
        """``(batch, stride)``, and no columns where nothing is nudged; each block's rows are its own."""
        target = self.task.target
        found = np.zeros((self.batch, 0 if target is None else int(self.cost[2])), self.engine.dtype)
        if target is not None:
            found[:, : target.shape[1]] = target
        return found

    def _block(self, i: int) -> Block:
        """A block, made by the thread that first needs it."""
        block = self._blocks[i]
        if block is None:
            block = self._blocks[i] = Block(self.engine, self.layout, self.task, self.slices[i], self.targets)
        return block

    @property
    def blocks(self) -> list[Block]:
        """All of them, once they have begun."""
        return [block for block in self._blocks if block is not None]

    def advance(self, steps: int) -> bool:
        end = min(self.taken + steps, self.task.max_steps)
        unfinished = [i for i, block in enumerate(self._blocks) if block is None or block.moving]
        self.engine.workers.run([partial(self._settle, i, end) for i in unfinished])
        self.taken, self.begun = end, True
        moves = any(block.moving for block in self.blocks)
        if end > 0 or not moves:
            # They are not begun again.
            self.rest, self.starts = None, []
        return not moves

    def _origin(self, i: int) -> Origin:
        if self.taken > 0:
            block = self._block(i)
            return Origin(codes.GOING_ON, block.place, block.u, block.a, block.still, block.drive)
        # Before the block, as this is long: another thread has the interpreter meanwhile.
        part = self.still.part(i)
        block = self._block(i)
        if self.rest is not None:
            origin = block.begin_where(self.rest.blocks[i])
        else:
            origin = block.begin_at(self.starts, self.engine.zero, part, self.constants)
        if self.layout.families is not None:
            block.keep(self.layout.families, part.rates, self.slopes)
        return origin

    def _settle(self, i: int, end: int) -> None:
        layout, origin, block = self.layout, self._origin(i), self._block(i)
        first = layout.readout.items[0].size if layout.readout.items else 0
        block.moving = settle_block(
            self.solver, self.alpha, layout.populations, layout.inlets, block.corrections, block.families,
            self.weights, self.constants, layout.order, layout.colours, self.cost, self.readout, first, self.bias,
            self.beta, block.u, block.a, block.still, block.drive, block.bare, block.anchor, block.deltas, block.y,
            block.logits, block.images, block.residuals, block.grams, block.place, block.tol, block.limit,
            block.steps, block.status, block.residual, self.taken, end, self.task.max_steps, block.moving,
            origin.code, layout.linear, origin.place, origin.u, origin.a, origin.still, origin.drive,
            block.samples.start, self.batch, self.activities,
        )  # fmt: skip

    def snapshot(self) -> Snapshot:
        if not self.begun:
            self.advance(0)
        residual = np.empty((self.phases, self.batch))
        steps, status = (np.empty(self.batch, dtype=np.int64) for _ in range(2))
        for block in self.blocks:
            report(block.place, block.residual, block.steps, block.status, block.samples.start, residual, steps, status)
        ended = not any(block.moving for block in self.blocks)
        states: tuple[Activities, ...]
        if not ended:
            states, activities = (self._named(self._read(buffer)) for buffer in ("u", "a"))
        else:
            # Few ask for potentials: what synapses learn from is activities.
            states = tuple(LaterRead(self, k) for k in range(self.phases))
            activities = self._named(self.activities)
            if self.task.target is None and self.task.anchor is None and self.phases == 1:
                self.engine.rest = Rest(self.still, states[0], activities[0], self.blocks)
        return Snapshot(states=states, residual=tuple(residual), steps=steps, status=status, activities=activities)

    def potentials(self) -> tuple[dict[str, np.ndarray], ...]:
        """Those of every phase, read from the blocks."""
        return self._named(self._read("u"))

    def _room(self) -> np.ndarray:
        """For what all free populations hold, one after the other, each ``(phases, batch, units)``."""
        return np.empty(self.phases * self.batch * self.engine.spec.free_units, self.engine.dtype)

    def _read(self, buffer: str) -> np.ndarray:
        found = self._room()
        self.engine.workers.run(
            [partial(block.read, getattr(block, buffer), found, self.batch) for block in self.blocks], found.size
        )
        return found

    def _named(self, found: np.ndarray) -> tuple[dict[str, np.ndarray], ...]:
        phases: tuple[dict[str, np.ndarray], ...] = tuple({} for _ in range(self.phases))
        begin = 0
        for p in self.engine.spec.free:
            end = begin + self.phases * self.batch * p.size
            for phase, values in zip(phases, found[begin:end].reshape(self.phases, self.batch, *p.shape), strict=True):
                phase[p.name] = values
            begin = end
        return phases


class LaterRead(Mapping[str, np.ndarray]):
    """The potentials in which one phase has ended, read from the blocks when somebody asks for them."""

    def __init__(self, settling: BlockSettling, phase: int) -> None:
        self._settling: BlockSettling | None = settling
        self._phase = phase
        self._names = tuple(p.name for p in settling.engine.spec.free)
        self._read: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if self._settling is not None:
            self._read = self._settling.potentials()[self._phase]
            # The blocks hold far more than this.
            self._settling = None
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def squares(self) -> np.ndarray | None:
        """``(batch,)`` ``Σ u²`` of each sample, unless the potentials have been read, which then answer."""
        if self._settling is None:
            return None
        total = np.zeros(self._settling.batch)
        for block in self._settling.blocks:
            block.add_squares(self._phase, total)
        return total


def _as_arrays(starts: Sequence[Activities]) -> list[Activities]:
    """Potentials of every phase; those that nobody has read yet are read, once for all phases that begin with them."""
    known = {id(start): dict(start) if isinstance(start, LaterRead) else start for start in starts}
    return [known[id(start)] for start in starts]


__all__ = ["BlockSettling", "cuts"]
