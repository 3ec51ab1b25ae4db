"""Messages between the two interpreters: what was sent comes back, and nothing is ever executed."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest

from neuro_eq.backends.lava.child import wire


def filled_from(data: bytes) -> Any:
    stream = io.BytesIO(data)

    def fill(view: memoryview) -> None:
        if stream.readinto(view) != len(view):
            raise EOFError

    return fill


def test_a_message_comes_back_as_it_was_sent() -> None:
    arrays = {
        "matrix": np.arange(6.0).reshape(2, 3).T,
        "empty": np.zeros((0, 4)),
        "scalar": np.array(3, dtype=np.int64),
        "flags": np.array([True, False]),
    }
    data = b"".join(wire.encode({"op": "größe", "n": 3}, arrays))
    header, received = wire.decode(filled_from(data))
    assert header == {"op": "größe", "n": 3}
    for name, array in arrays.items():
        np.testing.assert_array_equal(received[name], array)
        assert received[name].dtype == array.dtype


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (struct.pack("<Q", 2**63), "announced"),
        (struct.pack("<Q", 0), "announced"),
        (struct.pack("<Q", 3) + b"{{{", "not UTF-8 JSON"),
        (struct.pack("<Q", 2) + b"[]", "not a JSON object"),
        (b'{"arrays": [{"name": "a", "dtype": "<f8", "shape": [-1]}]}', "impossible shape"),
        (b'{"arrays": [{"name": "a", "dtype": "<f8", "shape": [4294967296, 4294967296]}]}', "limit"),
        (b'{"arrays": [{"name": "a", "dtype": "|O", "shape": [1]}]}', "does not carry"),
        (b'{"arrays": 3}', "not a list"),
    ],
)
def test_a_malformed_message_is_refused(data: bytes, problem: str) -> None:
    if data.startswith(b"{"):
        data = struct.pack("<Q", len(data)) + data
    with pytest.raises(wire.WireError, match=problem):
        wire.decode(filled_from(data))


def test_objects_do_not_go_over_the_wire() -> None:
    with pytest.raises(wire.WireError, match="dtype object"):
        wire.encode({}, {"a": np.array([None])})
