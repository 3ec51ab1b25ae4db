"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from neuro_eq.errors import FileError

PART = ".part"
"""Ending of a file that is still being written, or whose writer did not come to its end."""


def part_of(path: Path) -> Path:
    """Where a file lies while it is written."""
    return path.with_name(path.name + PART)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write, which takes its name when the block ends: ``name.part``, brought to the disk, renamed.

    Whoever reads ``name`` sees the old file or the new one, also when the process is killed, the disk is full or
    the power fails.  A block that raises leaves the old file and no ``.part``.

    Raises:
        FileError: it cannot be written; the old file, if there is one, is as it was.
    """
    path = Path(path)
    part = part_of(path)
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            # A rename can reach the disk before the bytes of what is renamed.
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        _drop(part)
        raise FileError(f"{path}: cannot write it ({error.strerror or error})") from None
    except BaseException:
        _drop(part)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8, whole or not at all.

    Raises:
        FileError: it cannot be written.
    """
    with replacing(path) as file:
        file.write(text.encode())


def _drop(part: Path) -> None:
    with contextlib.suppress(OSError):
        part.unlink(missing_ok=True)
