"""A bell that one thread rings and another listens for, awake for a short while before it goes to sleep.

To wake a sleeping thread takes tens of microseconds, several times in every training step, and what lies between two
pieces of work is often shorter.  Who listens keeps its core busy meanwhile, but not the interpreter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from neuro_eq.backends.numba.compilation import brief, entry

PATIENCE = 1_000_000
"""Looks at the bell before a thread goes to sleep: a few tenths of a millisecond."""
COURTESY = 40_000
"""Looks after it was rung by a thread that holds the interpreter, about ten microseconds: who asks for that too early
falls asleep over it."""


@intrinsic
def _read(typing: Any, address: Any) -> Any:
    """The number at an address, from memory every time."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(pointer, ordering="acquire", align=8)

    return types.int64(types.intp), emit


@intrinsic
def _increase(typing: Any, address: Any) -> Any:
    """Add one to the number at an address; threads that do so together add one each."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, ir.Constant(ir.IntType(64), 1), ordering="acq_rel")

    return types.int64(types.intp), emit


read: Any = _read
increase: Any = _increase


@entry
def listen(rung, heard, patience, courtesy):  # type: ignore[no-untyped-def]
    """Return when ``rung`` is no longer ``heard`` and courtesy is done, or when patience is at its end."""
    address = rung.ctypes.data
    left = patience
    while left > 0 and read(address) == heard:
        left -= 1
    if left > 0:
        # As above, one look after the other: how many looks that nobody waits for fit into a cycle depends on the core.
        left = courtesy
        while left > 0 and read(address) != heard:
            left -= 1


@entry
def ring_and_listen(other, rung, heard, patience, courtesy):  # type: ignore[no-untyped-def]
    """Ring one bell when the interpreter has been let go of, and listen for another."""
    increase(other.ctypes.data)
    listen(rung, heard, patience, courtesy)


class Bell:
    """Counts how often it was rung."""

    def __init__(self) -> None:
        self._rung = np.zeros(1, np.int64)

    @property
    def rung(self) -> int:
        """The count, by which one hears that it was rung again."""
        return int(self._rung[0])

    def ring(self) -> None:
        """Ring it, while the interpreter is held."""
        increase_once(self._rung)

    def listen(self, heard: int) -> None:
        """Wait a short while for somebody who rings and has let go of the interpreter."""
        listen(self._rung, heard, PATIENCE, 0)

    def answer(self, called: Bell, heard: int) -> None:
        """Ring it without holding the interpreter, and wait a short while for a call of somebody who holds it."""
        ring_and_listen(self._rung, called._rung, heard, PATIENCE, COURTESY)


@brief
def increase_once(rung):  # type: ignore[no-untyped-def]
    """Add one."""
    increase(rung.ctypes.data)


__all__ = ["Bell"]
