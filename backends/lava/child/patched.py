"""Importing lava-nc 0.10.0 where it was not meant to run, and mending what would hang or leak there.

Private names of Lava and of the standard library are touched here and in `runtime`, nowhere else; that is
why the version is pinned.
"""

from __future__ import annotations

import functools
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from multiprocessing import shared_memory
from typing import Any

LAVA_VERSION = "0.10.0"


def import_lava() -> str:
    """Import Lava with its patches; returns its version. Raises ImportError for any other release."""
    version = metadata.version("lava-nc")
    if version != LAVA_VERSION:
        raise ImportError(f"lava-nc {LAVA_VERSION} is needed and {version} is installed")
    _forget_start_method()
    with _hashable_byte_encoder():
        import lava.magma.compiler.var_model
    import lava.magma.core.process.process  # noqa: F401
    from lava.magma.compiler.channels.pypychannel import CspRecvPort

    CspRecvPort._req_callback = _receive_requests
    return version


def name_shared_memory(prefix: str) -> None:
    """Let the name of every shared-memory segment begin with `prefix`: the parent can find leftovers."""
    # Names with the slash in front may have 31 characters on macOS; the standard library stops at 14.
    shared_memory._SHM_SAFE_NAME_LENGTH = 30  # type: ignore[attr-defined]
    shared_memory._SHM_NAME_PREFIX = f"/{prefix}"  # type: ignore[attr-defined]


def _forget_start_method() -> None:
    # Lava calls set_start_method("fork") on import, which raises where a context was already chosen.
    multiprocessing.set_start_method("fork", force=True)
    multiprocessing.set_start_method(None, force=True)


@contextmanager
def _hashable_byte_encoder() -> Iterator[None]:
    """Give Lava's `ByteEncoder` a hash while its module loads.

    Python 3.11 refuses unhashable dataclass defaults, and `ByteEncoder()` is one: a dataclass with `eq` and
    no hash. Its decorator runs in the class statement, so the hash is put in between by wrapping
    `dataclasses.dataclass`.
    """
    if sys.version_info < (3, 11):
        yield
        return
    import dataclasses

    original = dataclasses.dataclass

    @functools.wraps(original)
    def dataclass(cls: type | None = None, **options: Any) -> Any:
        if cls is not None and cls.__name__ == "ByteEncoder":
            return original(cls, unsafe_hash=True)
        return original(cls, **options) if cls is not None else original(**options)

    dataclasses.dataclass = dataclass
    try:
        yield
    finally:
        dataclasses.dataclass = original


def _receive_requests(self: Any, request: Any) -> None:
    """The loop of a receiving port's thread, without two ways in which Lava's own loses a message for ever.

    Lava reads `self.observer` twice (it may be None the second time, which ends the thread) and wakes a
    waiting selector only if the queue *was* empty before the message arrived (it may have been emptied
    since).
    """
    try:
        while request.acquire() and not self._done:
            self._queue.put_nowait(0)
            observer: Callable[[], None] | None = self.observer
            if observer is not None:
                observer()
    except EOFError:
        return
