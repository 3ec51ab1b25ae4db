"""What may be said of a difference between rows that vary from seed to seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from neuro_eq.experiments.machinery.experiment import Standing
from neuro_eq.experiments.machinery.judging import Gap, Share, all_of, gap, judged_by_gaps, share
from neuro_eq.experiments.machinery.provenance import Provenance
from neuro_eq.experiments.machinery.results import Cell, Run
from neuro_eq.experiments.machinery.statistics import Correlation, spearman

AHEAD, BEHIND, NEITHER = Gap(2.0, 1.0), Gap(-2.0, 1.0), Gap(0.5, 1.0)


def row(*values: float) -> Cell:
    return Cell(None, tuple(Run(i, {"accuracy": value}, Provenance(code="c")) for i, value in enumerate(values)))


def test_a_gap_is_decided_by_more_than_both_standard_deviations() -> None:
    """Means 0.9 and 0.6, sd 0.1 each: 0.3 against 0.1 √2."""
    found = gap(row(0.8, 0.9, 1.0), row(0.5, 0.6, 0.7))
    assert found.ahead == pytest.approx(0.3)
    assert found.noise == pytest.approx(0.1 * math.sqrt(2.0))
    assert found.decided is True
    assert gap(row(0.5, 0.6, 0.7), row(0.8, 0.9, 1.0)).decided is False
    assert gap(row(0.8, 0.9, 1.0), row(0.7, 0.8, 0.9)).decided is None
    assert gap(row(0.9), row(0.1)).decided is None, "of one seed nobody knows how it varies"
    assert gap(row(1.0, 1.0), row(1.0, 1.0)).decided is None, "no difference at all"


@pytest.mark.parametrize(
    ("gaps", "standing"),
    [
        ([AHEAD, AHEAD], Standing.HOLDS),
        ([AHEAD, NEITHER], Standing.PARTLY),
        ([AHEAD, BEHIND], Standing.PARTLY),
        ([NEITHER, BEHIND], Standing.FAILS),
        ([NEITHER, NEITHER], Standing.OPEN),
        ([], Standing.OPEN),
    ],
)
def test_a_claim_about_pairs(gaps: list[Gap], standing: Standing) -> None:
    claim = judged_by_gaps("better", gaps, "pairs")
    assert claim.standing is standing
    undecided = f" ({gaps.count(NEITHER)} not decided)" if NEITHER in gaps else ""
    assert claim.found == (f"{gaps.count(AHEAD)} of {len(gaps)}{undecided} pairs" if gaps else "not run")


def test_a_correlation_whose_interval_has_both_signs_decides_nothing() -> None:
    signs = [Correlation(0.5, *interval).rises for interval in ((0.1, 0.9), (-0.9, -0.1), (-0.1, 0.9))]
    assert signs == [True, False, None]
    assert Correlation(math.nan, math.nan, math.nan).rises is None


def test_a_number_that_is_missing_has_no_rank() -> None:
    left = np.arange(9.0)
    assert spearman(left, left).rho == pytest.approx(1.0)
    left[3] = np.nan
    assert math.isnan(spearman(left, np.arange(9.0)).rho)
    assert math.isnan(spearman(np.arange(9.0), left).rho)


@pytest.mark.parametrize(
    ("found", "within"),
    [
        (Gap(-0.1, 0.1), True),
        (Gap(-0.5, 0.1), False),
        (Gap(-0.3, 0.1), None),
        (Gap(0.5, 0.1), True),
        (Gap(-0.2, math.nan), True),
        (Gap(-0.4, math.nan), False),
    ],
)
def test_being_close_is_decided_by_more_than_the_noise(found: Gap, within: bool | None) -> None:
    assert found.within(0.3) is within


def test_a_share_varies_as_both_rows_do() -> None:
    """Means 1.0 and 0.5, sd 0.1 and 0.1: 2 with relative deviations of 0.1 and 0.2."""
    found = share(row(0.9, 1.0, 1.1), row(0.4, 0.5, 0.6), "accuracy")
    assert found.of == pytest.approx(2.0)
    assert found.noise == pytest.approx(2.0 * math.hypot(0.1, 0.2))
    assert found.said(".2f") == "2.00 ± 0.45"
    assert share(row(1.0), row(0.5), "accuracy").said(".2f") == "2.00"
    assert share(row(0.0, 0.0), row(0.5, 0.5), "accuracy") == Share(0.0, 0.0)
    assert share(row(0.5), row(0.0), "accuracy").at_most(1.0) is None


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (Share(1.9, 0.1), True),
        (Share(1.9, 0.2), None),
        (Share(2.1, 0.2), None),
        (Share(2.3, 0.2), False),
        (Share(2.0, 0.0), True),
        (Share(1.9, math.nan), True),
        (Share(2.1, math.nan), False),
        (Share(math.nan, math.nan), None),
    ],
)
def test_a_limit_is_kept_by_more_than_the_noise(found: Share, holds: bool | None) -> None:
    assert found.at_most(2.0) is holds


def test_below_a_limit_is_not_at_it() -> None:
    assert Share(2.0, 0.0).below(2.0) is False
    assert Share(1.5, 0.25).below(2.0) is True
    assert Share(1.5, 0.5).below(2.0) is None
    assert Share(math.nan, math.nan).below(2.0) is None


def test_one_that_is_false_is_enough_against_all() -> None:
    assert all_of([True, True]) is True
    assert all_of([True, None]) is None
    assert all_of([True, None, False]) is False
    assert all_of([]) is None
