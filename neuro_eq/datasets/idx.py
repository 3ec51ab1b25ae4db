"""The idx format of MNIST: a magic number, the sizes, then bytes; gzipped.

The magic number is two zero bytes, the type of an element (8: unsigned byte) and the number of dimensions; every size
is a big-endian 32-bit number.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from neuro_eq.errors import DataError

UNSIGNED_BYTE = 8


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The array of bytes in a gzipped idx file.

    Args:
        path: the file.
        dimensions: how many it must have: 3 for images, 1 for labels.

    Returns:
        A read-only uint8 array.

    Raises:
        DataError: the file cannot be read or is damaged.
    """
    content = _unpack(path)
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        found = f"0x{content[:4].hex()}" if content else "nothing"
        raise DataError(f"{path}: must begin with the magic number 0x{magic.hex()}, found {found}")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path}: needs a header of {start} bytes, found {len(content)}")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, 4))
    if len(content) - start != math.prod(shape):
        sizes = "×".join(map(str, shape))
        raise DataError(
            f"{path}: its header promises {sizes} = {math.prod(shape)} bytes, found {len(content) - start} after it"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _unpack(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes())
    except gzip.BadGzipFile:
        raise DataError(f"{path}: must be a gzip file in good order, but its header or its checksum is wrong") from None
    except EOFError:
        raise DataError(f"{path}: ends too early, a part of the gzip file is missing") from None
    except zlib.error:
        raise DataError(f"{path}: must be a gzip file in good order, but its compressed bytes are damaged") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None
