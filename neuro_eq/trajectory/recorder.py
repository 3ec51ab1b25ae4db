"""The recorder: what an engine and a training loop tell it becomes rows of a trajectory file."""

from __future__ import annotations

import hashlib
import json
import os
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from neuro_eq.arrays import Activities
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import BackendError, DataError, FileError, SpecError
from neuro_eq.relaxing import Settling, Task
from neuro_eq.specfile import digest
from neuro_eq.trajectory import schema
from neuro_eq.trajectory.measures import Measures, energy_terms
from neuro_eq.trajectory.origin import OF_A_NETWORK, of_network, versions
from neuro_eq.trajectory.outcomes import outcome
from neuro_eq.trajectory.places import Memory, Place, Rows
from neuro_eq.trajectory.position import Position
from neuro_eq.trajectory.snapshots import Block
from neuro_eq.trajectory.store import Store

LATEST = 5.0
"""Seconds after which what was recorded goes to the disk even if it is little."""


class Recorder:
    """Writes trajectories, fixed points and metrics into one HDF5 file (the layout: :mod:`neuro_eq.trajectory.schema`).

        with ne.Recorder("run.h5", every=1, samples=4) as rec:
            free = net.relax(x, record=rec)
            net.relax(x, target=y, beta=(0.1, -0.1), start=free, record=rec)

    A free relaxation from no start opens new rows on the sample axis.  One that starts from an equilibrium recorded
    here, with the same data, goes into the same rows: as another phase by its β, or, where it goes on at the β at
    which that equilibrium was found, as the continuation of that phase.  What has been recorded is never
    overwritten: any other relaxation opens new rows.

    The file is ``name.h5.part`` until :meth:`close`.  It is written when a variable has about 1 MB waiting, every
    few seconds, and at :meth:`flush`; killed in between, the ``.part`` opens with what was there at the last write.

    Args:
        path: the file to make.
        every: record every so many steps.
        samples: record only the first so many samples of each relaxation; all when not given.
        note: a remark, kept as an attribute.
        overwrite: replace an existing file; the old one stays until the new one is complete.
        position: go on with the ``.part`` that an earlier recorder left, from a :attr:`position` that it had told;
            what it recorded later is forgotten.

    Raises:
        FileError: the file exists, cannot be made or cannot be gone on with; from every method, it cannot be written.
            The ``.part`` then keeps what it had at the last write.
        SpecError: ``every`` or ``samples`` is less than 1.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: int = 1,
        samples: int | None = None,
        note: str | None = None,
        *,
        overwrite: bool = False,
        position: Position | None = None,
    ) -> None:
        for name, value in (("every", every), ("samples", 1 if samples is None else samples)):
            if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 1:
                raise SpecError(f"expected a whole number of at least 1, found {value!r}", name)
        self.path = Path(path)
        self.every = int(every)
        self.samples = samples
        self._store = Store(self.path, self.every, overwrite, position)
        if note is not None:
            self._store.describe(note=str(note))
        # A recorder that is forgotten, or whose program ends early, still leaves a whole file behind.
        self._ending = weakref.finalize(self, self._store.close, complete=False)
        self._net: Engine | None = None
        self._theirs: dict[str, Any] = {}
        self._block_steps = 1
        self._labels: dict[str, np.ndarray] = {}
        self._memory = Memory()
        self._current: Place | None = None
        self._written = time.monotonic()
        if position is not None:
            described = self._store.described
            self._theirs = {name: described.get(name) for name in OF_A_NETWORK} if "spec" in described else {}

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        self._ending.detach()
        try:
            self._store.close(complete=False)
        except FileError:
            # The error that ended the block says more than a file that could not be closed because of it.
            return

    def close(self) -> None:
        """Write what waits, and give the file its name.  Closing twice does nothing."""
        self._ending.detach()
        self._store.close(complete=True)

    def abandon(self) -> None:
        """Close without writing what waits: the file stays as the last flush left it."""
        self._ending.detach()
        self._store.abandon()

    def flush(self) -> None:
        """Write what waits: a process that is killed from here on has lost nothing up to here."""
        self._store.flush()
        self._written = time.monotonic()

    @property
    def position(self) -> Position:
        """How far the file has come; everything up to here is on the disk."""
        self.flush()
        return self._store.position

    def refuse_another(self, net: Engine) -> dict[str, Any]:
        """What a file says of this network.

        Raises:
            SpecError: the file says it of another one.
        """
        theirs = of_network(net)
        different = [name for name, value in theirs.items() if self._theirs and self._theirs[name] != value]
        if different:
            raise SpecError(
                f"{self.path.name} records one network, and this one has another {different[0]}; "
                "use another Recorder for it",
                "record",
            )
        return theirs

    @property
    def overwrites(self) -> bool:
        """Whether a file of the final name is replaced at the end."""
        return self._store.overwrite

    # -- what a training loop says -----------------------------------------------------------------------------

    def describe(self, **attributes: str | float | Sequence[int]) -> None:
        """Attributes of the whole file, as in ``describe(data="digits", image_shape=(8, 8))``.

        Args:
            attributes: name to text, number or row of whole numbers.  ``image_shape`` tells the figures that the
                data are images.

        Raises:
            SpecError: a name that the file uses itself.
        """
        self._store.check()
        for name in attributes:
            if name in schema.ATTRIBUTES or not name.isidentifier():
                raise SpecError("is no name for an attribute: the file uses it itself, or it is no identifier", name)
        self._store.describe(**attributes)

    def label(self, **values: Any) -> None:
        """Whole numbers that say what the next rows are, as in ``label(epoch=3, index=[17, 4, 52])``.

        Args:
            values: name to one number for all samples of the next relaxation that opens rows, or ``(batch,)``.

        Raises:
            SpecError: a name that the file uses itself.
            DataError: values that are not whole numbers.
        """
        self._store.check()
        for name, value in values.items():
            if name in (*schema.OUTCOMES, "sample", "phase", "beta") or not name.isidentifier():
                raise SpecError("is no name for a label: the file uses it itself, or it is no identifier", name)
            array = np.asarray(value)
            if array.dtype.kind not in "iu" or array.ndim > 1:
                raise DataError(f"label {name}: expected a whole number or a row of them, found {value!r}")
            self._labels[name] = array.astype(np.int64)

    def metrics(self, axis: Literal["epoch", "step"], index: int, **values: float) -> None:
        """Numbers of a training run, as in ``metrics("epoch", 3, accuracy=0.97)``.

        Args:
            axis: what the index counts; a metric keeps to the axis of its first time.
            index: its place on that axis; what is given for a later time at the same place replaces the earlier.
            values: metric name to number.  A metric that appears late is NaN before.

        Raises:
            SpecError: another axis, or a name that cannot be a metric's.
        """
        self._store.check()
        if not self._store.has_metrics(axis, values):
            if axis not in schema.METRIC_AXES:
                raise SpecError(f'expected "epoch" or "step", found {axis!r}', "axis")
            for name in values:
                if name in schema.METRIC_AXES or not name.isidentifier():
                    raise SpecError("is no name for a metric: it is an axis, or no identifier", name)
        self._store.metric(axis, int(index), {name: float(value) for name, value in values.items()})
        if axis == "epoch":
            self.flush()

    # -- what an engine says -----------------------------------------------------------------------------------

    def relaxation(self, net: Engine, task: Task, settling: Settling, resumed: Equilibrium | Activities | None) -> None:
        """Drive a relaxation to its end and keep its trajectory.

        Args:
            net: the engine that relaxes.
            task: what it relaxes.
            settling: the relaxation, not yet advanced.
            resumed: what the user gave as its start.

        Raises:
            BackendError: a complex nudge, which the file cannot hold.
            SpecError: another network than the file's, or a nudge that is listed twice.
        """
        self._store.check()
        betas = _real(task.betas)
        self._describe(net, task)
        place = self._current = self._place(net, task, betas, resumed)
        block = Block(net, place, Measures(net, task, place.rows.count))
        block.take(settling.snapshot())
        place.nudge_size = block.nudge_size()
        if place.goes_on:
            self._go_on(settling, block)
            while not settling.advance(max(task.max_steps, 1)):
                pass
            return
        reached = 0
        finished = False
        try:
            while not finished:
                finished = settling.advance(self.every)
                snapshot = settling.snapshot()
                if snapshot.steps[: place.rows.count].max(initial=0) <= reached * self.every:
                    # None of the recorded samples moved, so none ever will.
                    break
                reached += 1
                block.take(snapshot)
                if (place.begin + len(block)) % self._block_steps == 0:
                    self._keep(block)
        finally:
            self._keep(block)
        while not finished:
            finished = settling.advance(max(task.max_steps, 1))

    def _go_on(self, settling: Settling, block: Block) -> None:
        """Record a phase that goes on, each sample from the step at which it had stopped.

        Samples stopped at different steps, so every step is looked at, and each sample's own are put on the grid;
        they replace the entries in which it was held.
        """
        place, every = block.place, self.every
        rows, phase = place.rows, place.phases[0]
        finished = False
        while not finished:
            finished = settling.advance(1)
            snapshot = settling.snapshot()
            moved = snapshot.steps[: rows.count]
            if moved.max(initial=0) < len(block):
                break
            block.take(snapshot)
        before = rows.outcomes[phase]["steps"]
        end = max(rows.ends[phase], 1 + int(np.max(-(-(before + moved) // every))))
        for name, values in block.stacked():
            units = tuple((0, size) for size in values.shape[3:])
            for i, had in enumerate(before):
                begin = int(had) // every + 1
                own = np.minimum(np.arange(begin, end) * every - had, len(block) - 1)
                tail = ((phase, phase + 1), (begin, end), *units)
                self._store.put(name, rows.first + i, tail, values[i : i + 1, :, own])
        rows.ends[phase] = end

    def settled(self, net: Engine, task: Task, found: tuple[Equilibrium, ...]) -> None:
        """Keep the equilibria in which the relaxation that was just driven ended."""
        place, self._current = self._current, None
        assert place is not None, "an engine reports a relaxation before its end"
        rows, count = place.rows, place.rows.count
        for k, (phase, state) in enumerate(zip(place.phases, found, strict=True)):
            here = (phase, phase + 1)
            for p in net.spec.free:
                name = f"{schema.TRAJECTORY}/{p.name}/fixed_"
                tail = (here, *((0, size) for size in p.shape))
                for kind, arrays in (("state", state.states), ("activity", state.activities)):
                    self._store.put(name + kind, rows.first, tail, _copy(net, arrays[p.name], count)[:, None])
            rows.outcomes[phase] = outcome(net, task, state, place, k)
            for name, values in rows.outcomes[phase].items():
                self._store.put(f"{schema.EQUILIBRIUM}/{name}", rows.first, (here,), values[:, None])
            self._memory.keep(state, rows, phase)
        if self._store.full or time.monotonic() - self._written > LATEST:
            self.flush()

    def _describe(self, net: Engine, task: Task) -> None:
        """Lay the file out for the first network, and refuse every other."""
        if net is self._net:
            return
        theirs = self.refuse_another(net)
        if self._theirs:
            self._net = net
            self._block_steps = self._store.layout.recorded_steps(net.spec.free[0].name)
            return
        self._store.describe(**theirs, spec_sha256=digest(net.spec), versions=json.dumps(versions(net)))
        count = _count(task, self.samples)
        width = np.dtype(net.dtype).itemsize
        widest = max(p.size for p in net.spec.free) * width
        self._block_steps = schema.steps_per_chunk(widest, count, 1 + -(-task.max_steps // self.every))
        for p in net.spec.populations:
            self._store.layout.add_population(
                p.name, p.shape, net.dtype, free=not p.clamped, samples=count, steps=self._block_steps
            )
        self._store.layout.add_equilibrium()
        self._store.layout.add_settling(energy_terms(net.spec), samples=count, steps=self._block_steps)
        self._theirs, self._net = theirs, net
        self.flush()

    def _place(
        self, net: Engine, task: Task, betas: tuple[float, ...], resumed: Equilibrium | Activities | None
    ) -> Place:
        """Where a relaxation is written."""
        count = _count(task, self.samples)
        inputs = {name: _copy(net, values, count) for name, values in task.inputs.items()}
        data = hashlib.blake2b()
        for values in inputs.values():
            data.update(values.tobytes())
        known = self._memory.find(resumed)
        phases = tuple(self._store.phase(beta) for beta in betas)
        if known is not None and known.rows.data == data.digest() and known.rows.count == count:
            rows = known.rows
            if phases == (known.phase,) and rows.ends[known.phase] == known.end:
                return Place(rows, phases, begin=known.end, goes_on=True)
            if not any(phase in rows.ends for phase in phases):
                return Place(rows, phases, begin=0, goes_on=False)
        labels = self._take_labels(_count(task, None), count)
        rows = Rows(self._store.open_rows(count), count, data.digest())
        for name, values in inputs.items():
            tail = tuple((0, size) for size in values.shape[1:])
            self._store.put(f"{schema.TRAJECTORY}/{name}/activity", rows.first, tail, values)
        for name, values in labels.items():
            self._store.label(name, rows.first, values)
        return Place(rows, phases, begin=0, goes_on=False)

    def _take_labels(self, batch: int, count: int) -> dict[str, np.ndarray]:
        labels, self._labels = self._labels, {}
        for name, values in labels.items():
            if values.ndim and len(values) not in (batch, count):
                raise DataError(f"label {name}: expected {batch} numbers, one a sample, found {len(values)}")
        return {
            name: values[:count] if values.ndim else np.full(count, values, dtype=np.int64)
            for name, values in labels.items()
        }

    def _keep(self, block: Block) -> None:
        """Hand the block's states and activities over to the file."""
        if not len(block):
            return
        place = block.place
        begin, end = place.begin, place.begin + len(block)
        for name, values in block.stacked():
            units = tuple((0, size) for size in values.shape[3:])
            for k, phase in enumerate(place.phases):
                tail = ((phase, phase + 1), (begin, end), *units)
                self._store.put(name, place.rows.first, tail, values[:, k : k + 1])
        for phase in place.phases:
            place.rows.ends[phase] = end
        place.begin = end
        block.clear()
        if self._store.full:
            self.flush()


def _real(betas: tuple[complex, ...]) -> tuple[float, ...]:
    if any(isinstance(beta, (complex, np.complexfloating)) for beta in betas):
        raise BackendError("a trajectory file holds real nudges only; relax with a complex beta without record")
    real = tuple(float(beta.real) + 0.0 for beta in betas)
    if len(set(real)) < len(real):
        raise SpecError("a recorded group of phases must have different nudges", "beta")
    return real


def _count(task: Task, samples: int | None) -> int:
    """Samples of a relaxation that are recorded."""
    batch = int(next(iter(task.starts[0].values())).shape[0])
    return batch if samples is None else min(batch, int(samples))


def _copy(net: Engine, values: Any, count: int) -> np.ndarray:
    """The first samples, in memory of their own: an engine may go on writing into its arrays."""
    return np.array(net.to_numpy(values[:count]))
