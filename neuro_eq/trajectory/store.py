"""The HDF5 file while it grows: made, gone on with, written, failed, closed and named.

Knows arrays and axes, and nothing of networks that settle; :mod:`neuro_eq.trajectory.recorder` knows those.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuro_eq.atomic import part_of
from neuro_eq.errors import FileError
from neuro_eq.trajectory import schema
from neuro_eq.trajectory.layout import Layout
from neuro_eq.trajectory.metrics import Metrics
from neuro_eq.trajectory.pieces import Piece, Pieces, Tail
from neuro_eq.trajectory.position import Position, cut_back, entries_of_metrics, nudges
from neuro_eq.trajectory.reader import open_trajectory
from neuro_eq.trajectory.staged import StagedFile
from neuro_eq.trajectory.text import describe, described

_DAMAGE = (OSError, RuntimeError, KeyError, ValueError)
"""How HDF5 says that it cannot write, or that a file that is gone on with is damaged where it did not look before."""


class Store:
    """A trajectory file under its ``.part`` name.

    Args:
        path: the name that the file has when it is complete.
        every: steps from one recorded state to the next.
        overwrite: replace an existing file (when this one is complete) and a left-over ``.part`` (at once).
        position: go on with the ``.part`` that is there, and forget what lies behind this position.

    Raises:
        FileError: the file exists, or cannot be made or gone on with; from every other method, it could not be
            written.  Then the ``.part`` keeps what it had at the last flush, and every later call raises the same
            error.
    """

    def __init__(self, path: Path, every: int, overwrite: bool, position: Position | None = None) -> None:
        self.path, self.part = path, part_of(path)
        self._overwrite = overwrite
        self._process = os.getpid()
        self._failure: FileError | None = None
        self.closed = False
        self._every = every
        self.samples = 0
        self.betas: list[float] = []
        self._steps = 0
        self._written = 0  # Rows that the file itself has.
        self._pieces = Pieces()
        self.described: dict[str, Any] = {}  # What the file that is gone on with says of itself.
        if position is None:
            self._make()
        else:
            self._go_on_from(position)

    def _make(self) -> None:
        self._refuse_existing()
        try:
            if self._overwrite:
                self.part.unlink(missing_ok=True)
            self._staged = StagedFile(self.part)
        except OSError as error:
            raise FileError(f"{self.path}: cannot write it ({_reason(error, self.path.parent)})") from None
        self._h5 = h5py.File(self._staged, "w")
        self.layout, self._metrics = Layout(self._h5), Metrics({}, {})
        self.describe(schema=schema.VERSION, complete=False, every=self._every, created=_now())
        try:
            self.flush()
        except FileError:
            self.close(complete=False)
            self.part.unlink(missing_ok=True)  # Nothing is in it, and it would be in the way of another try.
            raise

    def _go_on_from(self, position: Position) -> None:
        with contextlib.ExitStack() as stack:
            try:
                with open_trajectory(self.part) as run:
                    run.check()  # HDF5 is at its best with a damaged file that it need not write.
                self._staged = stack.enter_context(StagedFile(self.part, "r+"))
                self._h5 = stack.enter_context(h5py.File(self._staged, "r+"))
                self.layout = Layout(self._h5)
                cut_back(self._h5, self.layout, position, self._every)
                self.samples, self._written, self._steps = position.samples, position.samples, position.steps
                self.betas = nudges(self._h5)
                self._metrics = Metrics(self.layout.metrics(), entries_of_metrics(self._h5))
                self.described = described(self._h5)
                self._h5.attrs.modify("complete", False)
            except (FileError, MemoryError, TypeError, AttributeError, *_DAMAGE) as error:
                # HDF5 reports damage in many ways.  Nothing has been committed, so the file is as it was.
                raise FileError(f"{self.part}: cannot go on with it ({_reason(error)})") from None
            stack.pop_all()

    def _refuse_existing(self) -> None:
        if self._overwrite:
            return
        if os.path.lexists(self.path):
            raise FileError(f"{self.path}: exists already; choose another name, or overwrite it (overwrite=True)")
        if os.path.lexists(self.part):
            raise FileError(
                f"{self.part}: is left from a run that did not finish (or still runs); move it away, or overwrite it "
                "(overwrite=True)"
            )

    @property
    def position(self) -> Position:
        """How far the file has come, with what waits."""
        entries = self._metrics.entries
        return Position(
            samples=self.samples,
            phases=len(self.betas),
            steps=self._steps,
            metric_epochs=len(entries["epoch"]),
            metric_steps=len(entries["step"]),
        )

    @property
    def overwrite(self) -> bool:
        """Whether a file of the final name is replaced at the end."""
        return self._overwrite

    def describe(self, **attributes: Any) -> None:
        """Set attributes of the whole file."""
        describe(self._h5, **attributes)

    # -- rows --------------------------------------------------------------------------------------------------

    def open_rows(self, count: int) -> int:
        """Lengthen the sample axis; the first of the new rows."""
        self.samples += count
        return self.samples - count

    def phase(self, beta: float) -> int:
        """The place of a nudge on the phase axis, which grows when the nudge is new."""
        if beta not in self.betas:
            self.betas.append(beta)
        return self.betas.index(beta)

    def put(self, name: str, row: int, tail: Tail, values: np.ndarray) -> None:
        """Keep a piece of a variable, which lies at ``row`` and ``tail``, until the next flush."""
        axes = self.layout[name].axes
        if "step" in axes:
            self._steps = max(self._steps, tail[axes.index("step") - 1][1])
        self._pieces.put(name, Piece(row, tail, values))

    def label(self, name: str, row: int, values: np.ndarray) -> None:
        """Keep labels of rows; a name that is new makes a variable of ``/equilibrium``."""
        path = f"{schema.EQUILIBRIUM}/{name}"
        if path not in self.layout:
            with self._writing():
                self.layout.add_label(name)
        self.put(path, row, (), values)

    @property
    def full(self) -> bool:
        """Whether a variable has about 1 MB to write."""
        return self._pieces.most >= schema.MEGABYTE

    def metric(self, axis: str, index: int, values: Mapping[str, float]) -> None:
        """Keep metrics at an index of their axis until the next flush."""
        with self._writing():
            self._metrics.put(self.layout, axis, index, values)

    def has_metrics(self, axis: str, names: Iterable[str]) -> bool:
        """Whether these are known as metrics of this axis."""
        return all(self._metrics.axis(name) == axis for name in names)

    # -- to the disk -------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise when the file is closed or has failed before."""
        if self._failure is not None:
            raise self._failure
        if self.closed:
            raise FileError(f"{self.path}: is closed, so nothing more can be recorded in it")

    def flush(self) -> None:
        """Write what waits; afterwards the ``.part`` on the disk is a whole HDF5 file."""
        self.check()
        with self._writing():
            self._write()
            self._h5.flush()
            self._staged.commit()

    def abandon(self) -> None:
        """Close without writing: the file on the disk stays as the last flush left it."""
        self.closed = True
        self._h5.close()
        self._staged.close()

    def close(self, complete: bool) -> None:
        """Write what waits and close; a complete file takes its name."""
        if self.closed or os.getpid() != self._process:  # A forked child must not write its parent's file.
            return
        try:
            if self._failure is None:
                with self._writing():
                    # Changed where it lies: an attribute set anew would move the others about.
                    self._h5.attrs.modify("complete", complete)
                    self._write()
                    self._h5.close()
                    self._staged.commit()
        finally:
            self.closed = True
            with contextlib.suppress(*_DAMAGE):  # The failure itself is on its way to the user.
                self._h5.close()
            self._staged.close()
        if complete and self._failure is None:
            self._take_name()

    def _take_name(self) -> None:
        if not self._overwrite and os.path.lexists(self.path):
            raise FileError(f"{self.path}: has come into being during the run, so the recording stays in {self.part}")
        try:
            os.replace(self.part, self.path)
        except OSError as error:
            raise FileError(
                f"{self.path}: cannot be given this name ({_reason(error)}), so the recording stays in {self.part}"
            ) from None

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except _DAMAGE as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._failure = FileError(
            f"{self.part}: cannot write it any further ({_reason(error)}); it keeps what was recorded before"
        )
        self._pieces.clear()
        self._metrics.clear()
        raise self._failure from None

    def _write(self) -> None:
        entries: dict[str, Sequence[Any]] = {
            "sample": range(self.samples),
            "phase": [schema.phase_name(beta) for beta in self.betas],
            "beta": self.betas,
            "step": range(0, self._steps * self._every, self._every),
        }
        self.layout.grow(entries, self._metrics.entries)
        self._pieces.write(self.layout, self._written)
        self._written = self.samples
        self._metrics.write(self.layout)


def _reason(error: Exception, folder: Path | None = None) -> str:
    """What went wrong, in the system's words."""
    if folder is not None and not folder.is_dir():
        return f"there is no folder {folder}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
