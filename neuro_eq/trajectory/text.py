"""Text in a trajectory file: of fixed length, in UTF-8.

HDF5 keeps text of variable length in heaps of its own, and HDF5 itself never comes back from a heap that is damaged in
the wrong byte.  Text of fixed length lies where it belongs.  Readers in Python give the same ``str`` for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import h5py
import numpy as np

LONGEST = 60_000
"""Bytes of a text that an attribute takes; one may have 64 kB with all that belongs to it."""


def text_type(length: int) -> np.dtype:
    """Text of so many bytes; of none, HDF5 has no type, and a text of one zero is read as an empty one."""
    return h5py.string_dtype("utf-8", max(1, length))


def encoded(text: str) -> np.ndarray:
    """A text as HDF5 takes it; what is no text in one that came from the system, such as a name, is shown escaped."""
    raw = text.encode("utf-8", "backslashreplace")
    return np.array(raw, dtype=text_type(len(raw)))


def entries_as(dtype: np.dtype, entries: Iterable[Any]) -> np.ndarray:
    """Texts or numbers as a variable of this type takes them."""
    return np.array([entry.encode() if isinstance(entry, str) else entry for entry in entries], dtype=dtype)


def set_attributes(item: h5py.HLObject, **attributes: Any) -> None:
    """Set attributes of a group or variable."""
    for name, value in attributes.items():
        item.attrs[name] = encoded(value) if isinstance(value, str) else value


def describe(file: h5py.File, **attributes: Any) -> None:
    """Set attributes of the file; a text that is too long for one is a variable of that name."""
    for name, value in attributes.items():
        if name in file:
            del file[name]
        if isinstance(value, str) and encoded(value).nbytes > LONGEST:
            file.create_dataset(name, data=encoded(value))
        else:
            set_attributes(file, **{name: value})


def described(file: h5py.File) -> dict[str, Any]:
    """Attributes of the file, and the texts that are too long for one, as Python's own types."""
    found = {name: plain(value) for name, value in file.attrs.items()}
    for name, item in file.items():
        if isinstance(item, h5py.Dataset) and item.shape == () and item.dtype.kind == "S":
            found[name] = plain(item[()])
    return found


def plain(value: Any) -> Any:
    """A value as h5py reads it, as Python's own type.

    Raises:
        ValueError: bytes that are no text, so the file is damaged.
    """
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, str):
        value.encode()  # h5py keeps the bytes of a text of variable length that are none.
    return value.item() if isinstance(value, np.generic) else value
