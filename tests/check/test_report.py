"""What a check leaves: JSON both ways, a figure, and the sentences that wrong arguments end in."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.checking import Section, Verdict
from neuro_eq.checking.report import judged, note
from neuro_eq.weights import load_weights

SPEC = ne.models.layered_hopfield([3, 4, 2], "tanh", gain=0.5)
X = np.zeros((5, 3))


@pytest.fixture(scope="module")
def report() -> ne.Report:
    return ne.check(SPEC, backends=["numba"], samples=2)


def test_json_both_ways(report):
    assert ne.Report.from_json(report.to_json()) == report
    assert json.loads(report.to_json())["network"] == "layered_hopfield"


def test_what_is_not_finite_survives_json(report):
    row = judged(Section.ENGINES, "numba", "gradient", float("nan"), 1e-5, "it blew up")
    assert row.verdict is Verdict.MISSED
    assert row.value == np.inf
    low = judged(Section.METHODS, "EqProp", "cosine", float("nan"), 0.9, "it blew up", at_least=True)
    assert low.value == -np.inf
    wrong = replace(report, rows=(*report.rows, row, low))
    assert not wrong.ok
    assert wrong.missed == (row, low)
    assert ne.Report.from_json(wrong.to_json()) == wrong


def test_a_note_judges_nothing(report):
    assert replace(report, rows=(note(Section.CONTRACTION, "", "L", 1.8, "so"),)).ok


@pytest.mark.parametrize("text", ["", "[]", '{"network": 3}', "\x00", '{"rows": [{"verdict": "fine"}]}'])
def test_another_text_is_refused_in_one_sentence(text):
    with pytest.raises(ne.FileError, match=r"^[^\n]*: not a report of neuro_eq check \([^\n]*\)$"):
        ne.Report.from_json(text)


def test_the_figure(report, tmp_path):
    drawn = report.draw(tmp_path / "figure.png")
    assert drawn.read_bytes().startswith(b"\x89PNG")
    empty = replace(report, rows=(), curves=(), traces=(), constants=None)
    assert empty.draw(tmp_path / "empty.svg").read_text().startswith("<?xml")
    with pytest.raises(ne.FileError, match=r"absent/figure\.png: cannot write the picture \(No such file"):
        report.draw(tmp_path / "absent" / "figure.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.svg", "figure.png"]


def test_it_is_the_same_twice(report):
    again = ne.check(SPEC, backends=["numba"], samples=2)
    assert replace(again, seconds=report.seconds) == report


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: ne.check(3), r"spec: expected a Network, found int; .*"),  # type: ignore[arg-type]
    (lambda: ne.check(SPEC, samples=0), r"samples: expected a whole number of at least 1, found 0"),
    (lambda: ne.check(SPEC, beta=0), r"beta: a nudge must be a real number other than 0, found 0"),
    (lambda: ne.check(SPEC, beta=np.nan), r"beta: expected a finite number, found nan"),
    (lambda: ne.check(SPEC, beta=1j), r"beta: a nudge must be a real number other than 0, found 1j"),  # type: ignore[arg-type]
    (lambda: ne.check(SPEC, seed=-1), r"seed: expected a whole number of at least 0 and below 2\*\*63, found -1"),
    (lambda: ne.check(SPEC, X), r"y: the network has a cost, so its samples need targets"),
    (lambda: ne.check(SPEC, X[:, :2], np.zeros(5, int)), r"x: expected \(batch, 3\), found \[5, 2\]"),
    (lambda: ne.check(SPEC, X, np.full(5, 7)), r"target: labels must lie in 0…1, found 7…7"),
    (lambda: ne.check(SPEC, backends=["nmba"]), r'no backend "nmba"; did you mean "numba"\?'),
    (lambda: ne.check(SPEC, parameters={}), r"input_hidden1\.weight: required, but not given"),
    (
        lambda: ne.check(SPEC, parameters={**SPEC.initial_parameters(0), "hidden1_bias.bias": [1e300] * 4}),
        r"hidden1_bias\.bias: holds values that are not finite",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_one_sentence(call, message):
    with pytest.raises(ne.NeuroEqError, match=rf"^{message}$"):
        call()


# -- weights.npz ----------------------------------------------------------------------------------------------------


def test_weights_come_back_as_they_were(tmp_path):
    wanted = SPEC.initial_parameters(3)
    np.savez(tmp_path / "weights.npz", **wanted)
    found = load_weights(tmp_path / "weights.npz", SPEC)
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value)


def _write(path: Path, **changes: Any) -> None:
    values: dict[str, Any] = {**SPEC.initial_parameters(0), **{k.replace("__", "."): v for k, v in changes.items()}}
    np.savez(path, allow_pickle=True, **{name: value for name, value in values.items() if value is not None})


WEIGHTS: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: None, r"cannot read it \(No such file or directory\)"),
    (lambda path: path.mkdir(), r"cannot read it \(Is a directory\)"),
    (lambda path: path.write_bytes(b"\x80\x04noise"), r"must be an \.npz file as numpy\.savez writes it, .*"),
    (lambda path: _write(path, output_bias__bias=None), r"output_bias\.bias: the network has this parameter, but .*"),
    (lambda path: _write(path, other__weight=np.ones(2)), r"other\.weight: the network has no such parameter; .*"),
    (lambda path: _write(path, output_bias__bias=np.ones(3)), r"output_bias\.bias: expected shape \[2\], found \[3\]"),
    (lambda path: _write(path, output_bias__bias=np.array([1, np.nan])), r"output_bias\.bias: holds values that .*"),
    (
        lambda path: _write(path, output_bias__bias=np.array(["a", "b"])),
        r"output_bias\.bias: expected real numbers, .*",
    ),
    (lambda path: _write(path, output_bias__bias=np.array([{}, 1])), r"output_bias\.bias cannot be read \(Object .*\)"),
]


@pytest.mark.parametrize(("make", "message"), WEIGHTS, ids=[message[:30] for _, message in WEIGHTS])
def test_weights_that_do_not_fit_end_in_one_sentence(tmp_path, make, message):
    path = tmp_path / "weights.npz"
    make(path)
    with pytest.raises(ne.NeuroEqError, match=rf"^[^\n]*weights\.npz: {message}$"):
        load_weights(path, SPEC)


def test_damaged_weights_end_in_one_sentence(tmp_path):
    path = tmp_path / "weights.npz"
    _write(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole[: rng.integers(1, len(whole))] if rng.random() < 0.3 else whole)
        for at in rng.integers(len(damaged), size=3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        said, found = "", None
        try:
            found = load_weights(path, SPEC)
        except ne.NeuroEqError as error:
            said = str(error)
        assert "\n" not in said
        if not said:
            assert {name: value.shape for name, value in found.items()} == SPEC.parameter_shapes
