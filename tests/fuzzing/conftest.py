"""Files that somebody changed: tables with other entries, and bytes that are not what they were."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.errors import LONGEST
from neuro_eq.run import RunConfig
from neuro_eq.specfile import parse_toml, to_toml

NUMBERS: list[Any] = [
    0, -1, 1, 2, 3, 2**31, 2**63 - 1, -(2**63), 2**63, 10**12, 10**30, -0.0, 0.5, -0.5, 1.0, 1e-300, 1e300, -1e300,
    math.inf, -math.inf, math.nan, True, False,
]  # fmt: skip
WORDS: list[Any] = [
    "", "x", "h", "dense", "tanh", "eqprop", "sgd", "picard", "nudge", "fixed", "float64", "../../etc/passwd", "0",
    "__class__", "os.system('true')", "a\nb", "a" * 5000, "β", "\u2028", "name with spaces", "[", "{}", "None", "nan",
]  # fmt: skip
NAMES = [*(word for word in WORDS if word), "kind", "name", "shape", "source", "target", "clamped", "alpha", "__init__"]

_LEAVES = st.one_of(st.sampled_from(NUMBERS), st.sampled_from(WORDS), st.text(max_size=8), st.integers())
VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=5,
)  # fmt: skip
"""What may stand where something else was expected."""

Place = tuple[Any, Any]
"""A table or a list, and a key or an index in it."""


def places(table: Any) -> Iterator[Place]:
    """Every entry of a table, and of all tables and lists in it."""
    entries = table.items() if isinstance(table, dict) else enumerate(table)
    for key, value in entries:
        yield table, key
        if isinstance(value, (dict, list)):
            yield from places(value)


def deep(levels: int) -> Any:
    """A list in a list in a list …"""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@st.composite
def changed(draw: st.DrawFn, table: Mapping[str, Any]) -> dict[str, Any]:
    """A table with one to four entries deleted, renamed, doubled, moved, exchanged or replaced."""
    copy: dict[str, Any] = json.loads(json.dumps(table))
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        there = list(places(copy))
        if not there:
            break
        holder, key = draw(st.sampled_from(there))
        what = draw(st.sampled_from(["replace", "replace", "delete", "rename", "double", "exchange", "add", "nest"]))
        if what == "replace":
            holder[key] = draw(VALUES)
        elif what == "delete":
            del holder[key]
        elif what == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(NAMES))] = holder.pop(key)
        elif what == "double" and isinstance(holder, list):
            holder.append(json.loads(json.dumps(holder[key])))
        elif what == "exchange":
            other, at = draw(st.sampled_from(there))
            if at in range(len(other)) or (isinstance(other, dict) and at in other):
                holder[key] = json.loads(json.dumps(other[at]))
        elif what == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(NAMES))] = draw(VALUES)
        elif what == "nest":
            holder[key] = draw(st.sampled_from([{"kind": holder[key]}, [holder[key]], deep(40)]))
    return copy


def as_toml(value: Any) -> str:
    """A value as TOML on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {as_toml(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    return json.dumps(value)


def document(table: Mapping[str, Any]) -> str:
    """A table as the text of a TOML file."""
    return "".join(f"{json.dumps(key)} = {as_toml(value)}\n" for key, value in table.items())


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with some bytes replaced, inserted or removed, or cut short, or in another encoding."""
    how = draw(st.sampled_from(["bytes", "bytes", "bytes", "cut", "twice", "utf-16", "latin-1", "bom"]))
    if how == "cut":
        return content[: draw(st.integers(0, len(content)))]
    if how == "twice":
        return content + content[draw(st.integers(0, len(content))) :]
    if how in ("utf-16", "latin-1"):
        return content.decode("latin-1").encode(how, "replace")
    if how == "bom":
        return b"\xef\xbb\xbf" + content
    changed_bytes = bytearray(content)
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, max(0, len(changed_bytes) - 1)))
        changed_bytes[at : at + draw(st.integers(0, 3))] = draw(
            st.one_of(st.binary(max_size=3), st.sampled_from([b'"', b"[", b"]", b"\n", b"=", b"-", b"e9", b".", b"{"]))
        )
    return bytes(changed_bytes)


def every_kind() -> ne.Network:
    """A network with every kind of synapse."""
    populations = [
        {"name": "x", "shape": [3], "clamped": True},
        {"name": "h", "shape": [2, 2], "activation": {"kind": "layer_norm", "epsilon": 0.5}},
        {"name": "g", "shape": [2], "activation": "softmax"},
    ]
    synapses = [
        {"kind": "dense", "source": "x", "target": "h", "gain": 0.5},
        {"kind": "dense", "source": "h", "target": "h"},
        {"kind": "directed_dense", "source": "h", "target": "g", "name": "read"},
        {"kind": "gated_dense", "source": "g", "target": "h", "name": "gate"},
        {"kind": "bias", "target": "g"},
        {"kind": "history", "target": "h", "buffer_size": 3},
        {"kind": "hopfield_memory", "target": "h", "patterns": 2},
        {"kind": "step_gate", "source": "x", "target": "g"},
    ]
    cost = {"kind": "cross_entropy", "population": "g", "classes": 2}
    return ne.Network(name="every kind", populations=populations, synapses=synapses, cost=cost)


def table_of(model: Any) -> dict[str, Any]:
    """What its file says."""
    return parse_toml(to_toml(model))


SPECS = {"chain": table_of(ne.models.layered_hopfield([3, 4, 2])), "every kind": table_of(every_kind())}
CONFIGURATIONS = {
    "short": table_of(
        RunConfig(data="xor", backend="reference", dtype="float64", epochs=0, method=ne.EqProp(0.1),
                  network=ne.models.layered_hopfield([2, 3, 2]))
    ),
    "full": table_of(
        RunConfig(
            data="xor", backend="reference", dtype="float64", epochs=1, method=ne.AsymEP(0.1),
            optimizer=ne.SGD(0.1, momentum=0.5, nesterov=True), schedule={"kind": "step", "warmup": 0.1},
            free=ne.Relaxation(solver=ne.Anderson(3), tol=1e-3, max_steps=10),
            nudged=ne.Relaxation(solver="gauss_seidel", max_steps=5), budget=ne.NormBudget(0.8), train_samples=4,
            test_samples=4, options={}, network=ne.models.looped_mlp(2, 3, 2, symmetric=False),
        )
    ),
}  # fmt: skip


@pytest.fixture(scope="session")
def many() -> settings:
    """A thousand files of a kind, and twenty thousand where the profile is thorough."""
    return settings(max_examples=max(1000, 40 * settings.default.max_examples), database=None)


@pytest.fixture(scope="session")
def few() -> settings:
    """Some of them, for what takes long."""
    return settings(max_examples=max(12, settings.default.max_examples // 5), database=None)


@pytest.fixture(scope="session")
def specs() -> dict[str, dict[str, Any]]:
    """Networks as tables."""
    return SPECS


@pytest.fixture(scope="session")
def configurations() -> dict[str, dict[str, Any]]:
    """Configurations of runs as tables."""
    return CONFIGURATIONS


@pytest.fixture(scope="session")
def written() -> Callable[[Mapping[str, Any]], str]:
    """``written(table)``: the text of its TOML file."""
    return document


@pytest.fixture(scope="session")
def mutations() -> Callable[[Mapping[str, Mapping[str, Any]]], st.SearchStrategy[bytes]]:
    """``mutations(tables)``: files that were such a table once."""

    def strategy(tables: Mapping[str, Mapping[str, Any]]) -> st.SearchStrategy[bytes]:
        one = st.sampled_from(sorted(tables)).map(tables.__getitem__)
        structural = one.flatmap(changed).map(lambda table: document(table).encode("utf-8", "surrogatepass"))
        return st.one_of(structural, structural, one.map(lambda table: document(table).encode()).flatmap(damaged))

    return strategy


@pytest.fixture(scope="session")
def said() -> Callable[[Exception, Path], None]:
    """``said(error, path)``: an error is one sentence that names the file."""

    def check(error: Exception, path: Path) -> None:
        message = str(error)
        assert message.startswith(str(path)), message
        assert len(message.splitlines()) == 1, message
        assert message.isprintable(), message
        assert len(message) <= LONGEST + 3

    return check


@pytest.fixture
def python(tmp_path: Path) -> Callable[[str], subprocess.CompletedProcess[str]]:
    """Run a program in an interpreter of its own: one that may crash, or never come back."""

    def run(program: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    return run
