"""Ctrl-C and ``kill``, which must not tear a step of training in two."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interruption:
    """Within its block SIGINT raises KeyboardInterrupt and SIGTERM raises SystemExit(143); while held, afterwards.

    A second signal does not wait.  It takes signals that nobody else has taken, and only in the main thread, where
    Python lets them be taken; where it does not, everything stays as it was.

    Args:
        active: whether to take them at all.

    Attributes:
        torn: whether an exception has come out of a held block, so that what it did may be half done.
    """

    def __init__(self, active: bool = True) -> None:
        self.torn = False
        self._active = active and threading.current_thread() is threading.main_thread()
        self._holding = False
        self._waiting: int | None = None
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        if self._active:
            for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
                if signal.getsignal(number) is usual or signal.getsignal(number) == usual:
                    self._before[number] = signal.signal(number, self._arrived)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # it was the handler before
        self._before = {}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold a signal that comes within this block until the block is done."""
        self._holding = True
        try:
            yield
        except BaseException:
            self.torn = True
            raise
        finally:
            self._holding = False
        if self._waiting is not None:
            number, self._waiting = self._waiting, None
            raise _as_exception(number)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if self._holding and self._waiting is None:
            self._waiting = number
            return
        raise _as_exception(number)


def _as_exception(number: int) -> BaseException:
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)
