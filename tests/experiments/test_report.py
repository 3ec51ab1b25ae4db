"""A page that needs nothing else, and a summary that says the same."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from neuro_eq.errors import FileError
from neuro_eq.experiments.commands import app
from neuro_eq.experiments.machinery.catalogue import find
from neuro_eq.experiments.machinery.experiment import Column
from neuro_eq.experiments.machinery.provenance import Provenance
from neuro_eq.experiments.machinery.publication import load, published, refusal
from neuro_eq.experiments.machinery.report import page
from neuro_eq.experiments.machinery.results import Cell, Run, spread
from neuro_eq.experiments.machinery.statistics import ranks, spearman
from neuro_eq.experiments.machinery.store import found_in

NAME = "squares:EXPERIMENT"


@pytest.fixture(params=["medium"])
def folder(square: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    scale = request.param
    done = CliRunner().invoke(app, ["run", NAME, "--scale", scale, "--workers", "0", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert square.exists()
    return tmp_path / "out"


def test_the_page_holds_everything_and_fetches_nothing(folder: Path) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed (extra: experiments)")
    done = CliRunner().invoke(app, ["report", str(folder)])
    assert done.exit_code == 0, done.output
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?!data:)', page), "nothing outside is referred to"
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert picture is not None
    assert base64.b64decode(picture[1]).startswith(b"\x89PNG")
    for words in ("What is x²?", "x² &amp; no more", "squares are &lt;positive&gt;", "holds", "said so", "x = 1", "n"):
        assert words in page
    # 1² + 0 and 1² + 1: the mean and the sample's standard deviation of two seeds.
    assert "1.5 ± 0.7" in page
    assert "not there" not in page, "a column without a number is left out"
    assert "holds: squares are <positive>" in done.output
    assert "3 configurations" in page


def test_what_did_not_run_of_a_table_is_missed(folder: Path) -> None:
    (results,) = found_in(folder)
    assert (results.extent, results.not_run) == ("3 configurations", [])
    some = results.where(x=2.0)
    assert some.extent == "1 of 3 configurations"
    assert some.not_run == [cell.configuration.label for cell in results if cell.configuration.x != 2.0]
    (cell,) = some
    elsewhere = Cell(cell.configuration.model_copy(update={"backend": "numba"}), cell.runs)
    twice = replace(some, cells=(cell, elsewhere))
    assert twice.extent == "1 of 3 configurations", "the same row on two engines"
    other = replace(some, scale="of one's own")
    assert (other.extent, other.not_run) == ("1 configuration", [])


def test_a_page_names_the_rows_that_did_not_run(folder: Path) -> None:
    pytest.importorskip("jinja2", reason="jinja2 is not installed (extra: experiments)")
    (results,) = found_in(folder)
    assert "Not run" not in page([results])
    assert "Not run: x = 1; x = 3." in page([results.where(x=2.0)])


def test_a_summary_keeps_the_numbers_and_the_verdict(folder: Path, tmp_path: Path) -> None:
    (results,) = found_in(folder)
    paths = published(results, tmp_path / "kept")
    assert [path.suffix for path in paths] == [".json", ".png"]
    assert paths[0].read_text().count("\n") == 7, "three lines of rows, one of where they come from, three around"
    loaded = load(results.experiment, tmp_path / "kept")
    assert loaded is not None
    kept, summary = loaded
    assert kept.values("square").tolist() == results.values("square").tolist()
    assert results.experiment.verdict(kept) == results.experiment.verdict(results)
    assert summary.scale == "medium"
    assert len(summary.made) == 1
    assert load(find("contraction"), tmp_path / "kept") is None


def test_a_summary_keeps_the_curves_that_a_verdict_needs(folder: Path, tmp_path: Path) -> None:
    """And no others; a run that has none has an empty one."""
    (results,) = found_in(folder)
    experiment = replace(results.experiment, curves=("curve/powers", "curve/other"))
    published(replace(results, experiment=experiment), tmp_path / "kept")
    loaded = load(experiment, tmp_path / "kept")
    assert loaded is not None
    for cell, kept in zip(results, loaded[0], strict=True):
        assert [run.seed for run in kept.runs] == [0, 1]
        for run, again in zip(cell.runs, kept.runs, strict=True):
            assert sorted(again.arrays) == ["curve/other", "curve/powers"]
            np.testing.assert_array_equal(again.arrays["curve/powers"], run.arrays["curve/powers"])
            assert again.arrays["curve/other"].size == 0


def test_less_does_not_replace_more(folder: Path, tmp_path: Path) -> None:
    """Neither a smaller scale a larger one, nor a part of the runs all of them; unless one says so."""
    (results,) = found_in(folder)
    assert refusal(results, tmp_path / "kept") is None
    (path, _) = published(results, tmp_path / "kept")
    assert refusal(results, tmp_path / "kept") is None, "as many as before"
    assert refusal(results.where(x=2.0), tmp_path / "kept") == f"{path} holds 6 runs, and these are 2"
    before = path.read_text().replace('"medium"', '"full"')
    path.write_text(before)
    assert refusal(results, tmp_path / "kept") == f"{path} holds the full results"
    command = ["report", str(folder), "--publish", str(tmp_path / "kept")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "not published" in done.output
    assert path.read_text() == before
    done = CliRunner().invoke(app, [*command, "--replace"])
    assert done.exit_code == 0, done.output
    assert '"medium"' in path.read_text()


def test_what_may_not_be_published_does_not_keep_the_rest_back(folder: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["run", NAME, "--scale", "quick", "--workers", "0", "--out", str(folder)])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(app, ["report", str(folder), "--publish", str(tmp_path / "kept")])
    assert done.exit_code == 0, done.output
    assert "has medium results as well" in done.output
    assert '"medium"' in (tmp_path / "kept" / "square.json").read_text()
    (tmp_path / "kept" / "square.json").write_text("damaged")
    done = CliRunner().invoke(app, ["report", str(folder), "--publish", str(tmp_path / "kept"), "--replace"])
    assert done.exit_code == 0, done.output
    assert '"medium"' in (tmp_path / "kept" / "square.json").read_text(), "the larger of both, and instead of what was"


@pytest.mark.parametrize("folder", ["quick"], indirect=True)
def test_quick_results_are_no_evidence(folder: Path, tmp_path: Path) -> None:
    (results,) = found_in(folder)
    assert results.scale == "quick"
    done = CliRunner().invoke(app, ["report", str(folder), "--publish", str(tmp_path / "kept"), "--replace"])
    assert done.exit_code == 1
    assert not (tmp_path / "kept").exists()
    assert "is no evidence" in (folder / "report.html").read_text(encoding="utf-8")


def test_nothing_that_ran_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there are no results"):
        found_in(tmp_path)


def test_means_leave_no_seed_out() -> None:
    """A run without the number makes the mean no number: nobody is dropped in silence."""
    runs = [Run(seed, {"a": float(seed)} if seed else {}, Provenance(code="")) for seed in range(3)]
    cell = Cell(find("contraction").configurations("quick")[0], tuple(runs))
    assert np.isnan(cell.mean("a"))
    whole = Cell(cell.configuration, tuple(runs[1:]))
    assert whole.said("a", ".2f") == "1.50 ± 0.71 (n = 2)"
    assert whole.shown(Column("a", "A", ".0f", 100.0)) == "150 ± 71"
    assert spread(np.array([-0.5]), ".1f") == "−0.5"


def test_rank_correlation_is_scipy_s() -> None:
    rng = np.random.default_rng(0)
    left = np.round(rng.normal(size=200), 1)
    right = left + rng.normal(size=200)
    found = spearman(left, right)
    assert found.rho == pytest.approx(stats.spearmanr(left, right).statistic)
    assert found.low < found.rho < found.high
    np.testing.assert_allclose(ranks(left), stats.rankdata(left))
    assert np.isnan(spearman(left, np.ones(200)).rho)


def test_samples_that_depend_on_each_other_are_drawn_together() -> None:
    """Twenty copies of each sample say no more than one: the interval stays as wide, and would else be far narrower."""
    rng = np.random.default_rng(2)
    left = rng.normal(size=30)
    right = left + rng.normal(size=30)
    alone = spearman(left, right)
    together = spearman(np.repeat(left, 20), np.repeat(right, 20), groups=np.repeat(np.arange(30), 20))
    width = alone.high - alone.low
    assert together.rho == pytest.approx(alone.rho)
    assert together.high - together.low == pytest.approx(width, rel=0.15)
    apart = spearman(np.repeat(left, 20), np.repeat(right, 20))
    assert apart.high - apart.low < 0.5 * width


def test_the_interval_covers() -> None:
    """Of independent samples a 95 % interval holds nought in about 95 % of draws; 80 of 100 would be far off."""
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng([seed, 1])
        found = spearman(rng.normal(size=60), rng.normal(size=60), draws=200, seed=seed)
        covered += found.low <= 0.0 <= found.high
    assert covered >= 88
