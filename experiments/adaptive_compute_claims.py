"""What the results of question 7 say: whether hard samples take more steps, and whether the others can leave early."""

from __future__ import annotations

import math

import numpy as np

from neuro_eq.experiments.machinery.experiment import Claim, Verdict
from neuro_eq.experiments.machinery.judging import Gap, judged, judged_each, judged_sides
from neuro_eq.experiments.machinery.results import Cell, Results, number
from neuro_eq.experiments.training.loop import UNEVEN

LEAST = 0.3
"""The part of the steps that leaving early must save."""

LOSS = 0.002
"""A loss of accuracy that counts as none."""

CHANCE = 0.05
"""How far from one half an area under the curve is more than chance."""


def verdict(results: Results, early: int, tol: float) -> Verdict:
    """Correlations of every row, the twin beside, and what can be saved.

    Args:
        early: steps after which the residual was taken for an uncertainty.
        tol: the residual to which steps are counted.
    """
    local = [cell for cell in results if cell.configuration.rule == "local"]
    claims = [_all_harder(local), _all_saved(local, tol)]
    pairs = [(cell, kin(results, cell, "implicit").first()) for cell in local]
    claims += [_harder(cell, twin) for cell, twin in pairs]
    claims += [_saved(cell) for cell in local]
    uneven = [(one, twin) for one, twin in pairs if twin is not None and UNEVEN in one and UNEVEN in twin]
    if any(twin is not None for _, twin in pairs):
        claims.append(_even(uneven))
    if local:
        claims.append(_knows(local, early))
    return Verdict(tuple(claims))


def _saves(cell: Cell) -> bool | None:
    """Whether the careful exit saves enough and its loss counts as none; None where a standard error decides."""
    if cell.mean("careful exit saving") < LEAST:
        return False
    error = cell.sd("careful exit loss") / math.sqrt(len(cell.runs))
    return Gap(-cell.mean("careful exit loss"), error).within(LOSS)


def _all_harder(cells: list[Cell]) -> Claim:
    says = "harder samples take more steps"
    good = [c for c in cells if np.all(c.values("rho, margin, low") > 0.0)]
    found = "networks; Spearman ρ of steps and a small margin " + ", ".join(
        f"{number(c.mean('rho, margin'), '.2f')} ({words(c)})" for c in cells
    )
    prior = "not seen: all samples took 10 steps at one tolerance for the batch"
    return judged_each(says, len(good), len(cells), found, prior)


def _all_saved(cells: list[Cell], tol: float) -> Claim:
    says = "leaving early saves 30 to 50 % of the steps at no loss"
    found = "networks; saved " + ", ".join(
        f"{number(100 * c.mean('careful exit saving'), '.0f')} % for {_points(c, 'careful exit')} points ({words(c)})"
        for c in cells
    )
    if not all("careful exit saving" in cell for cell in cells):
        return judged(says, None, "not recorded in these runs", "aim")
    why = f"steps are counted to a residual of {tol:g}, and an answer stands long before"
    return judged_sides(says, [_saves(c) for c in cells], found, "aim", why)


def _harder(cell: Cell, twin: Cell | None) -> Claim:
    says = f"{words(cell)}: samples of a smaller margin take more steps"
    low, high = (cell.values(f"rho, margin, {end}") for end in ("low", "high"))
    found = (
        f"ρ = {cell.said('rho, margin', '.2f')}, 95 % intervals {number(float(low.mean()), '.2f')} to "
        f"{number(float(high.mean()), '.2f')} on average, the lowest end {number(float(low.min()), '.2f')}"
    )
    if twin is not None:
        ends = " to ".join(number(twin.mean(f"rho, margin, {end}"), ".2f") for end in ("low", "high"))
        found += f"; DEQ twin {twin.said('rho, margin', '.2f')}, intervals {ends}; accuracies "
        found += f"{cell.said('accuracy', '.1f', 100, ' %')}, twin {twin.said('accuracy', '.1f', 100, ' %')}"
    found += f"; with the entropy {cell.said('rho, entropy', '.2f')}; {cell.said('steps', '.1f')} steps"
    return judged(says, bool(np.all(low > 0.0)), found)


def _saved(cell: Cell) -> Claim:
    says = f"{words(cell)}: leaving early saves at least {100 * LEAST:.0f} % of the steps at no loss"
    ways = (
        ("asked to save half", "careful exit"),
        ("asked to lose nothing on samples held out", "exit"),
    )
    found = "; ".join(
        f"{asked}: {cell.said(f'{way} saving', '.1f', 100, ' %')} for {cell.said(f'{way} loss', '.2f', 100)} points"
        for asked, way in ways
    )
    limit = f"{cell.said('limit steps', '.0f')} of {cell.said('steps', '.0f')} steps"
    found += f"; one limit for all, asked the same: {limit} for {cell.said('limit loss', '.2f', 100)} points"
    return judged(says, _saves(cell), found)


def _points(cell: Cell, way: str) -> str:
    """What leaving early costs; a loss that is nothing has no sign."""
    return number(round(100 * cell.mean(f"{way} loss"), 2) + 0.0, ".2f")


def _knows(cells: list[Cell], early: int) -> Claim:
    says = f"a larger residual after {early} steps goes with a wrong answer"
    found = "; ".join(
        f"{words(c)} {c.said('auroc, residual', '.2f')} (entropy {c.said('auroc, entropy', '.2f')})" for c in cells
    )
    areas = [c.values("auroc, residual") for c in cells]
    above, below = ([bool(np.all(side * (area - 0.5) > CHANCE)) for area in areas] for side in (1.0, -1.0))
    sides = [True if one else False if other else None for one, other in zip(above, below, strict=True)]
    why = f"in {sum(below)} of them it is the smaller residual that goes with a wrong answer" if any(below) else ""
    return judged_sides(says, sides, f"networks, in every run; area under the curve: {found}", "", why)


def _even(pairs: list[tuple[Cell, Cell]]) -> Claim:
    says = "the twin's exact gradient is at most twice as uneven from batch to batch as the local one"
    if not pairs:
        return judged(says, None, "not recorded in these runs")
    good = [one for one, twin in pairs if twin.mean(UNEVEN) <= 2.0 * one.mean(UNEVEN)]
    found = "networks; the largest over the median, local and twin, and their accuracies: " + "; ".join(
        f"{words(one)} {number(one.mean(UNEVEN), '.1f')} and {number(twin.mean(UNEVEN), '.1f')}, "
        f"{one.said('accuracy', '.1f', 100, ' %')} and {twin.said('accuracy', '.1f', 100, ' %')}"
        for one, twin in pairs
    )
    why = "(I − J)⁻¹ knows no bound where a sample's spectral radius nears 1; what a finite nudge moves has one"
    return judged_each(says, len(good), len(pairs), found, "", why if len(good) < len(pairs) else "")


def words(cell: Cell) -> str:
    """The network of a row, without the rule."""
    config = cell.configuration
    return f"{config.model}, {'no budget' if config.budget is None else f'‖N‖ ≤ {config.budget:g}'}"


def kin(results: Results, cell: Cell, rule: str) -> Results:
    """The row of another rule that is otherwise the same."""
    return results.where(**{**dict(cell.configuration), "rule": rule})
