"""Pieces of variables that wait in memory, and how few writes they become.

A relaxation is recorded in many small pieces: each phase of each variable, a few steps at a time.  A write costs HDF5
the same whether it is small or large.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from neuro_eq.trajectory.axes import write_box
from neuro_eq.trajectory.layout import Layout, Variable

Tail = tuple[tuple[int, int], ...]
"""Where a piece lies on the axes behind ``sample``: first and last-plus-one on each."""


@dataclass
class Piece:
    """Values, and where they belong: the first row, and the tail."""

    row: int
    tail: Tail
    values: np.ndarray

    @property
    def start(self) -> tuple[int, ...]:
        """The first place on each axis."""
        return (self.row, *(first for first, _ in self.tail))

    @property
    def stop(self) -> tuple[int, ...]:
        """Behind the last place on each axis."""
        return (self.row + len(self.values), *(last for _, last in self.tail))


class Pieces:
    """What waits for each variable, in the order in which it came: a later piece replaces an earlier one."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Piece]] = {}
        self._bytes: dict[str, int] = {}

    def put(self, name: str, piece: Piece) -> None:
        """Keep a piece of a variable."""
        self._waiting.setdefault(name, []).append(piece)
        self._bytes[name] = self._bytes.get(name, 0) + piece.values.nbytes

    @property
    def most(self) -> int:
        """Bytes that wait for the variable for which most do."""
        return max(self._bytes.values(), default=0)

    def clear(self) -> None:
        """Forget everything."""
        self._waiting, self._bytes = {}, {}

    def write(self, layout: Layout, written: int) -> None:
        """Bring everything to its place.

        Args:
            written: rows that the file had before; what lies behind them is as HDF5 fills it.
        """
        for name, pieces in self._waiting.items():
            variable = layout[name]
            old = [piece for piece in pieces if piece.row < written]
            new = [piece for piece in pieces if piece.row >= written]
            for piece in (*_joined(old), *_boxed(new, variable)):
                write_box(variable.data, piece.start, piece.values)
        self.clear()


def _boxed(pieces: list[Piece], variable: Variable) -> list[Piece]:
    """Pieces of new rows as one, with the variable's fill between them, where they fill at least half of it."""
    if len(pieces) < 2:
        return pieces
    start = np.min([piece.start for piece in pieces], axis=0)
    stop = np.max([piece.stop for piece in pieces], axis=0)
    shape = tuple(int(size) for size in stop - start)
    if prod(shape) > 2 * sum(piece.values.size for piece in pieces):
        return _joined(pieces)
    box = np.full(shape, variable.data.fillvalue, dtype=variable.data.dtype)
    for piece in pieces:
        ends = zip(piece.start, piece.stop, start, strict=True)
        box[tuple(slice(first - least, last - least) for first, last, least in ends)] = piece.values
    tail = tuple((int(first), int(last)) for first, last in zip(start[1:], stop[1:], strict=True))
    return [Piece(int(start[0]), tail, box)]


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Pieces of adjacent rows as one, in the order in which they came."""
    runs: list[list[Piece]] = []
    for piece in pieces:
        last = runs[-1][-1] if runs else None
        if last is not None and last.tail == piece.tail and last.stop[0] == piece.row:
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return [
        run[0] if len(run) == 1 else Piece(run[0].row, run[0].tail, np.concatenate([piece.values for piece in run]))
        for run in runs
    ]
