"""The committed table has every network and every group, and its figures meet the bars."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from neuro_eq.equivalence import KINKED, NETWORKS, SMOOTH
from neuro_eq.equivalence.bars import CENTERED, DYADIC, EXACT, KINKED_COSINE, OFF, ORDER, SINGLE_COSINE
from neuro_eq.equivalence.table import COMMAND, header

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "equivalence.md"
AGAIN = f"run: {COMMAND}"
COUNTED = re.compile(r"looked at (\d+) times, .*? and (\d+) other samples", re.DOTALL)


@pytest.fixture(scope="module")
def text():
    return COMMITTED.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def tables(text):
    """Title of each section to its table: the first cell of a row to its other cells by their column."""
    found = {}
    for section in re.split(r"^#{2,3} ", text, flags=re.MULTILINE)[1:]:
        title, _, body = section.partition("\n")
        lines = [line.strip("| ").split(" | ") for line in body.splitlines() if line.startswith("|")]
        if lines:
            columns = lines[0][1:]
            found[title] = {cells[0]: dict(zip(columns, cells[1:], strict=True)) for cells in lines[2:]}
    return found


def number(cell):
    return float(cell.removesuffix(" abs.").removesuffix(" %"))


def test_the_table_is_of_these_networks(text, tables):
    batches, size = (int(count) for count in COUNTED.search(text).groups())
    assert batches >= 20
    assert size >= 16
    assert text.startswith(header(batches, size)), AGAIN
    assert list(tables["Smooth networks"]) == list(SMOOTH), AGAIN
    assert list(tables["Networks with kinks"]) == list(KINKED), AGAIN
    assert list(tables["What is biased"]) == list(NETWORKS), AGAIN
    for title, make in NETWORKS.items():
        assert list(tables[title]) == [*(f"`{group}`" for group in make().parameter_shapes), "all"], AGAIN


@pytest.mark.parametrize("title", SMOOTH)
def test_a_smooth_network_meets_its_bars(tables, title):
    whole = tables["Smooth networks"][title]
    assert number(whole["β = 0.001"]) <= CENTERED
    assert abs(number(whole["order"]) - 2) <= ORDER
    assert number(whole["dyadic"]) <= DYADIC
    assert number(whole["BPTT"]) <= EXACT
    assert number(whole["float32, cosine"]) > SINGLE_COSINE
    if whole["method"] == "EqProp":
        assert number(whole["holomorphic"]) < number(whole["β = 0.1"])
    for group, cells in tables[title].items():
        absolute = cells["β = 0.001"].endswith(" abs.")
        assert number(cells["β = 0.001"]) <= (OFF if absolute else CENTERED), group
        assert number(cells["dyadic"]) <= DYADIC, group
        assert number(cells["BPTT"]) <= EXACT, group
        if cells["order"] != "–":
            assert abs(number(cells["order"]) - 2) <= ORDER, group
        else:
            # Nothing that a nudge has an effect on.
            assert number(cells["β = 0.1"]) <= OFF, group


@pytest.mark.parametrize("title", KINKED)
def test_a_network_with_kinks_meets_its_bars(tables, title):
    whole = tables["Networks with kinks"][title]
    assert number(whole["β = 0.0001: cosine"]) > KINKED_COSINE
    assert number(whole["dyadic"]) <= DYADIC
    assert number(whole["BPTT"]) <= EXACT
    assert number(whole["float32, cosine"]) > KINKED_COSINE
    assert number(whole["β = 0.1: cross"]) > 0, "it crosses no kink, so nothing is shown of kinks"
    for group, cells in tables[title].items():
        assert number(cells["dyadic"]) <= DYADIC, group
        assert number(cells["BPTT"]) <= EXACT, group


def test_without_symmetry_asymep_is_right_where_the_vector_field_is_not(tables):
    for title in ("`looped_transformer`, softmax, not symmetric", "`looped_mlp`, not symmetric"):
        assert tables["Smooth networks"][title]["method"] == "AsymEP"
        assert number(tables["What is biased"][title]["vector field"]) < 0.9999
