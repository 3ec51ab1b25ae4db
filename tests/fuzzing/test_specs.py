"""A thousand networks that somebody changed: each is one that runs, or one sentence says why it is none."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.specfile import from_toml, to_toml

MODEST = 100_000
"""Numbers of a network that is tried out."""


def test_a_thousand_changed_networks(
    specs: dict[str, Any], mutations: Callable[..., st.SearchStrategy[bytes]], many: Any,
    said: Callable[[Exception, Path], None], tmp_path: Path,
) -> None:  # fmt: skip
    path = tmp_path / "net.toml"
    runs = []

    @many
    @given(mutations(specs))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        try:
            spec = ne.load(path)
        except ne.NeuroEqError as error:
            said(error, path)
            return
        runs.append(spec)
        assert from_toml(to_toml(spec)) == spec
        numbers = sum(math.prod(shape) for shape in spec.parameter_shapes.values())
        if numbers + sum(p.size for p in spec.populations) > MODEST:
            return
        state = ReferenceEngine(spec).relax({p.name: np.zeros((1, *p.shape)) for p in spec.clamped}, max_steps=2)
        assert {name: u.shape[1:] for name, u in state.states.items()} == {p.name: p.shape for p in spec.free}

    holds()
    assert len(runs) > 20, "hardly any of the changed networks was one, so little was tried"


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("shape", [10**12], r"populations\[1\]\.shape: a population has at most 2147483648 units, found \[10+\]"),
        ("shape", [10**2000], r"populations\[1\]\.shape: a population has at most .* units, found \[10+ … 0+\]"),
        ("shape", [1] * 1000, r"populations\[1\]\.shape: a population has at most 16 axes, found 1000"),
        ("shape", [2**31], r"synapses\[0\]: its weight would have 1\d+ numbers, and at most 68719476736 are possible"),
        ("activation", "tanh\n\x1b[2J", r"populations\[1\]\.activation: no activation 'tanh\\n\\x1b\[2J'; did you .*"),
        ("name", "a\nb", r"populations\[1\]\.name: string should match pattern .* \(found 'a\\nb'\)"),
        ("a\nb", 1, r"populations\[1\]\.a\\nb: unknown key; known: name, shape, activation, clamped, drawn"),
        ("name", "n" * 100_000, r'synapses\[0\]\.target: no population "hidden1"; known: input, n+ … n+, output'),
    ],
)
def test_what_would_not_fit_is_refused_in_one_line(
    specs: dict[str, Any], written: Callable[[Any], str], said: Callable[[Exception, Path], None], tmp_path: Path,
    entry: str, value: Any, message: str,
) -> None:  # fmt: skip
    table = copy.deepcopy(specs["chain"])
    table["populations"][0]["shape"] = [64]
    table["populations"][1][entry] = value
    path = tmp_path / "net.toml"
    path.write_text(written(table))
    with pytest.raises(ne.SpecError, match=f"^{re.escape(str(path))}: {message}$") as error:
        ne.load(path)
    said(error.value, path)
