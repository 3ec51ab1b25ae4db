"""The pages of results say what the published numbers say, and "not run" where there are none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neuro_eq.experiments.commands import app
from neuro_eq.experiments.machinery import claims
from neuro_eq.experiments.machinery.catalogue import EXPERIMENTS, OPEN, find
from neuro_eq.experiments.machinery.experiment import Claim, Standing, Verdict
from neuro_eq.experiments.machinery.publication import load

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "docs" / "results"
NAME = "squares:EXPERIMENT"


@pytest.fixture
def published(square: Path, tmp_path: Path) -> Path:
    """A folder with the summary of the small experiment."""
    pytest.importorskip("jinja2", reason="jinja2 is not installed (extra: experiments)")
    out, kept = tmp_path / "out", tmp_path / "kept"
    runner = CliRunner()
    for arguments in (
        ["run", NAME, "--scale", "medium", "--workers", "0", "--out", str(out)],
        ["report", str(out), "--publish", str(kept)],
    ):
        done = runner.invoke(app, arguments)
        assert done.exit_code == 0, done.output
    assert square.exists()
    return kept


def test_a_claim_has_its_earlier_figure_and_ours(published: Path) -> None:
    experiment = find(NAME)
    (line,) = claims.claims(published, [experiment]).splitlines()[2:]
    assert "**holds**" in line
    assert "said so" in line
    assert "all of them" in line
    assert "medium, n = 2" in line
    assert line.count("|") == 6
    page = claims.experiments(published, [experiment])
    assert "| x = 1 | 2 | 1.5 ± 0.7 |" in page
    assert "![The figure of square](results/square.png)" in page
    assert "squares are &lt;positive>" in page
    assert re.search(r"Code `[0-9a-f]{16}`, reference float64", page)


def test_a_long_finding_is_told_by_its_first_parts() -> None:
    """Whole parts only, at least one of them, and a sign where some are left out."""
    assert claims.brief("all of them") == "all of them"
    long = "; ".join(f"{i} of 9 {'x' * 40}" for i in range(9))
    assert claims.brief(long) == "; ".join(long.split("; ")[:2]) + "; …"
    assert claims.brief("x" * 500) == "x" * 500


def test_a_long_table_is_folded(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = find(NAME)
    shown = claims.experiments(published, [experiment])
    monkeypatch.setattr(claims, "AT_ONCE", 0)
    folded = claims.experiments(published, [experiment])
    assert "???" not in shown
    rows = sum(line.startswith("| x = ") for line in shown.splitlines())
    assert f'??? note "All {rows} configurations"' in folded
    for line in ("| configuration | n | x² |", "| x = 1 | 2 | 1.5 ± 0.7 |"):
        assert f"\n{line}" in shown
        assert f"\n    {line}" in folded


def test_what_did_not_run_says_so(published: Path) -> None:
    other = replace(find(NAME), name="cube", number=-1)
    table = claims.claims(published, [find(NAME), other]).splitlines()
    assert table[2].startswith("| not run | What is x²?"), "in the order of the questions"
    assert "Not run." in claims.experiments(published, [other])
    assert "±" not in claims.experiments(published, [other])


def test_rows_that_did_not_run_say_so(published: Path) -> None:
    path = published / "square.json"
    lines = path.read_text().splitlines(keepends=True)
    (row,) = (i for i, line in enumerate(lines) if '"x": 2.0' in line)
    assert "Not run: x" not in claims.experiments(published, [find(NAME)])
    path.write_text("".join(lines[:row] + lines[row + 1 :]))
    page = claims.experiments(published, [find(NAME)])
    assert "Not run: x = 2." in page
    assert "of 3 configurations" in page
    assert "Not run: 1 configuration of the scale full, as x = 4." in page


def test_claims_that_nothing_was_run_for_share_a_line(published: Path) -> None:
    """As far as they have the same earlier figure."""
    missing = [Claim(f"cubes are {word}", prior, claims.NOT_RUN, Standing.OPEN) for word, prior in
               (("odd", "so it is"), ("even", "so it is"), ("whole", "sure"))]  # fmt: skip
    experiment = find(NAME)
    more = replace(experiment, verdict=lambda results: Verdict((*missing, *experiment.verdict(results).claims)))
    there, together, apart = claims.claims(published, [more]).splitlines()[2:]
    assert "**holds**" in there
    assert together.startswith("| not run | cubes are odd; cubes are even | so it is | – | [0](")
    assert apart.startswith("| not run | cubes are whole | sure | – | [0](")


def test_an_edited_number_changes_the_verdict(published: Path) -> None:
    """Nothing that is shown is kept: it is computed from the numbers."""
    path = published / "square.json"
    path.write_text(path.read_text().replace('"square": [1.0, 2.0]', '"square": [-1.0, 2.0]'))
    assert "**does not hold**" in claims.claims(published, [find(NAME)])
    assert "0.5 ± 2.1" in claims.experiments(published, [find(NAME)])


def test_every_experiment_is_on_the_pages() -> None:
    table, page = claims.claims(COMMITTED), claims.experiments(COMMITTED)
    for name in EXPERIMENTS:
        assert f"experiments.md#{name}" in table
        assert f"## {name} " in page
    numbers = {find(name).number for name in EXPERIMENTS}
    assert not numbers & set(OPEN)
    assert numbers | set(OPEN) == set(range(1, 16)), "every question is there, run or not"
    assert table.splitlines()[-1].rstrip(" |").endswith(", ".join(str(number) for number in OPEN))
    later = page[page.index("{#later}") :]
    assert all(f"- {number}. {question}" in later for number, question in OPEN.items())
    for name, marker in (("claims", "claims"), ("experiments", "experiments")):
        assert f"<!-- generated: {marker} -->" in (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def test_what_is_committed_belongs_to_an_experiment() -> None:
    for path in COMMITTED.glob("*.json"):
        found = load(find(path.stem), COMMITTED)
        assert found is not None
        results, _ = found
        assert results.scale != "quick"
        assert path.with_suffix(".png").exists()
        assert results.experiment.verdict(results).claims
