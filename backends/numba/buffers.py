"""Buffers that blocks have done with, for the next ones: memory that is fresh costs more than filling it."""

from __future__ import annotations

import numpy as np

MOST = 32
"""Buffers that are kept: enough for the free and the nudged phases of a batch in four blocks."""


class Buffers:
    """Buffers over all free units of some rows.  What is between the units' numbers was zero when they were made."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        # Blocks that live until the interpreter ends give theirs back when this module's names are gone.
        self.most = MOST
        self._kept: list[np.ndarray] = []

    def take(self, size: int) -> np.ndarray:
        """One of ``size`` numbers; what its units hold is left from before."""
        # Threads take and give at the same time: each of these is one step of the interpreter.
        for _ in range(len(self._kept)):
            try:
                buffer = self._kept.pop()
            except IndexError:
                break
            if buffer.size == size:
                return buffer
            self._kept.insert(0, buffer)
        return np.zeros(size, self.dtype)

    def give(self, buffer: np.ndarray) -> None:
        """Take one back, which nobody else holds."""
        self._kept.append(buffer)
        del self._kept[: -self.most]


__all__ = ["Buffers"]
