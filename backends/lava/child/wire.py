"""Messages between the parent and the Lava child: a length, a JSON header, then the raw bytes of the arrays.

Never pickle: the two sides run different Pythons and NumPys. Layout of a message, little endian:

    8 bytes, unsigned    length of the header in bytes
    header               UTF-8 JSON object; header["arrays"] = [{"name", "dtype", "shape"}, …]
    arrays               C order, one after the other, in the order of the header
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_LENGTH = struct.Struct("<Q")
_MAX_HEADER_BYTES = 16 * 2**20
_MAX_ARRAY_BYTES = 16 * 2**30
_DTYPES = ("<f8", "<f4", "<i8", "<i4", "|b1")

Fill = Callable[[memoryview], None]


class WireError(Exception):
    """The bytes received are not a message."""


def encode(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> list[memoryview]:
    """The message as buffers to be written one after the other; C-ordered arrays are not copied."""
    listed = []
    buffers = []
    for name, value in (arrays or {}).items():
        array = np.asarray(value)
        array = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        if array.dtype.str not in _DTYPES:
            raise WireError(f"array {name!r} has dtype {array.dtype}, which the wire does not carry")
        listed.append({"name": name, "dtype": array.dtype.str, "shape": list(array.shape)})
        buffers.append(_bytes_of(array))
    text = json.dumps({**header, "arrays": listed}).encode()
    if len(text) > _MAX_HEADER_BYTES:
        raise WireError(f"header of {len(text)} bytes, the limit is {_MAX_HEADER_BYTES}")
    return [memoryview(_LENGTH.pack(len(text)) + text), *buffers]


def decode(fill: Fill) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read one message. `fill(view)` fills all of `view` or raises (EOFError at the end of the stream).

    Raises WireError where the bytes are no message, before anything of a senseless size is allocated.
    """
    (length,) = _LENGTH.unpack(_read(fill, _LENGTH.size))
    if not 2 <= length <= _MAX_HEADER_BYTES:
        raise WireError(f"header of {length} bytes announced, 2 to {_MAX_HEADER_BYTES} are allowed")
    try:
        header = json.loads(bytes(_read(fill, length)).decode())
    except ValueError as error:
        raise WireError(f"the header is not UTF-8 JSON: {error}") from None
    if not isinstance(header, dict):
        raise WireError("the header is not a JSON object")
    arrays: dict[str, np.ndarray] = {}
    for entry in _announced(header.pop("arrays", [])):
        array = np.empty(entry[2], dtype=entry[1])
        if array.nbytes:
            fill(_bytes_of(array))
        arrays[entry[0]] = array
    return header, arrays


def _announced(entries: Any) -> list[tuple[str, str, tuple[int, ...]]]:
    if not isinstance(entries, list):
        raise WireError('"arrays" is not a list')
    return [_checked(entry) for entry in entries]


def _checked(entry: Any) -> tuple[str, str, tuple[int, ...]]:
    if not isinstance(entry, dict):
        raise WireError("an entry of arrays is not an object")
    name, dtype, shape = entry.get("name"), entry.get("dtype"), entry.get("shape")
    if not isinstance(name, str) or dtype not in _DTYPES or not isinstance(shape, list):
        raise WireError(f"array {name!r} has dtype {dtype!r} and shape {shape!r}, which the wire does not carry")
    if len(shape) > 8 or not all(type(n) is int and n >= 0 for n in shape):
        raise WireError(f"array {name!r} has the impossible shape {shape!r}")
    size = np.dtype(dtype).itemsize
    for n in shape:
        size *= n
    if size > _MAX_ARRAY_BYTES:
        raise WireError(f"array {name!r} would have {size} bytes, the limit is {_MAX_ARRAY_BYTES}")
    return name, dtype, tuple(shape)


def _read(fill: Fill, count: int) -> bytearray:
    buffer = bytearray(count)
    fill(memoryview(buffer))
    return buffer


def _bytes_of(array: np.ndarray) -> memoryview:
    # memoryview.cast refuses a zero in the shape; a flat view of bytes takes it.
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)
