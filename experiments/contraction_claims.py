"""What the results of question 4 say: which networks settle and solve their tasks, and how strongly they contract."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from neuro_eq.experiments.machinery.experiment import Claim, Criterion, Verdict
from neuro_eq.experiments.machinery.judging import all_of, gap, judged, judged_each
from neuro_eq.experiments.machinery.results import Cell, Results, number
from neuro_eq.experiments.machinery.statistics import Correlation, spearman

SOLVED = {"xor": 1.0, "memorisation": 1.0, "attractor": 0.95}
"""The accuracy from which a task counts as solved."""

APART = 1e-4
"""Fixed points whose potentials differ by less, root mean square, are the same one."""


def verdict(results: Results, steps: int) -> Verdict:
    """Judged on runs at the usual nudge.

    Args:
        steps: that samples had to settle in.
    """
    usual = results.where(beta=0.1)
    kept = Results(results.experiment, results.scale, tuple(c for c in usual if c.configuration.budget is not None))
    free = usual.where(budget=None)
    claims = (
        _solved(kept, free), _solved_freely(free), _grows(free), _held(kept), _xor(kept), _unique(kept, free),
        _fewer_steps(usual, free), _descends(usual), _anytime(usual), _nudge(results),
    )  # fmt: skip
    share = 1.0 - float(np.mean(usual.values("converged, after"))) if len(usual) else math.nan
    ending = Criterion(
        f"TERMINATE: more than half of the samples not converged in {steps} steps",
        None if math.isnan(share) else share > 0.5,
        f"{100 * share:.1f} % not converged, over all runs",
    )
    return Verdict(claims, (ending,))


def _solved(kept: Results, free: Results) -> Claim:
    says = "with the budget every model that has a bound converges and solves each task"
    if not len(kept):
        return judged(says, None, "not run")
    pairs, failing = _unsolved(kept)
    found = "pairs of model and task" + _listed(failing)
    unbound = [model for model in free.choices("model") if model not in kept.choices("model")]
    why = f"without a bound, so never held by one: {', '.join(unbound)}" if unbound else ""
    return judged_each(says, pairs - len(failing), pairs, found, "toroidal MLP often fails to converge", why)


def _solved_freely(free: Results) -> Claim:
    says = "without the budget every model converges and solves each task"
    pairs, failing = _unsolved(free)
    return judged_each(says, pairs - len(failing), pairs, "pairs of model and task" + _listed(failing))


def _unsolved(rows: Results) -> tuple[int, list[str]]:
    """How many pairs of model and task there are, and those that are not solved, with their accuracy."""
    failing = []
    pairs = list(dict.fromkeys((c.configuration.model, c.configuration.task) for c in rows))
    for model, task in pairs:
        best = max(rows.where(model=model, task=task), key=lambda cell: cell.mean("accuracy"))
        if not (best.mean("accuracy") >= SOLVED[task] and best.mean("converged, after") >= 0.99):
            settled = f", {100 * best.mean('converged, after'):.0f} % converge"
            failing.append(f"{model} on {task}: {best.said('accuracy', '.1f', 100, ' %')}{settled}")
    return len(pairs), failing


def _grows(free: Results) -> Claim:
    says = "trained without a budget, L grows past 1"
    prior = "looped MLP 0.65–0.69 to 1.75, toroidal 1.01, ModernEqProp 9.5–78.7"
    if not len(free):
        return judged(says, None, "not run", prior)
    cells = [_largest(free.where(model=model), "L, after") for model in free.choices("model")]
    above = [cell for cell in cells if cell.mean("L, after") > 1.0]
    found = "; ".join(
        f"{c.configuration.model} {number(c.mean('L, before'), '.2f')} to {c.said('L, after', '.2f')}" for c in cells
    )
    why = (
        "at fixed points units are saturated; at random states L is "
        f"{number(float(np.mean(free.values('L elsewhere, after'))), '.2f')} on average"
    )
    return judged_each(says, len(above), len(cells), f"models; the largest of each: {found}", prior, why)


def _held(kept: Results) -> Claim:
    says = "with the budget L is below 1 after training"
    prior = "0.53–0.55 with spectral norm"
    if not len(kept):
        return judged(says, None, "not run", prior)
    worst = _largest(kept, "L, after")
    found = f"largest {worst.said('L, after', '.3f')}, {worst.configuration.label}"
    return judged(says, bool(np.all(kept.values("L, after") < 1.0)), found, prior)


def _xor(kept: Results) -> Claim:
    says = "XOR is solved with a global Lipschitz constant below 1"
    cells = list(kept.where(task="xor"))
    if not cells:
        return judged(says, None, "not run")
    well = [c for c in cells if c.mean("accuracy") == 1.0 and np.all(c.values("bound, after") < 1.0)]
    missed = [f"{c.configuration.model} {c.said('accuracy', '.1f', 100, ' %')}" for c in cells if c not in well]
    found = "configurations reach 100 % with ‖N‖ below 1 in every run" + _listed(missed)
    return judged_each(says, len(well), len(cells), found)


def _unique(kept: Results, free: Results) -> Claim:
    says = "with the budget all starts end in one fixed point"
    if not len(kept):
        return judged(says, None, "not run")
    apart, ends = kept.values("apart, after"), kept.values("starts converged, after")
    other = free.values("apart, after")
    several = int(np.sum(other > APART))
    found = (
        f"largest distance {number(float(np.max(apart)), '.1e')}, "
        f"{100 * float(np.min(ends)):.0f} % of starts converge; without the budget {several} of {len(other)} runs have "
        "several fixed points or do not settle"
    )
    return judged(says, bool(np.all(apart <= APART) and np.all(ends == 1.0)), found)


def _with_steps(rows: Results) -> tuple[Correlation, int]:
    """Of L with steps, and over how many runs; runs of one model are alike, so models are drawn as a whole."""
    models = rows.choices("model")
    groups = [models.index(cell.configuration.model) for cell in rows for _ in cell.runs]
    table = np.array([rows.values("L, after"), rows.values("steps, after"), groups])
    table = table[:, np.isfinite(table).all(axis=0)]
    return spearman(table[0], table[1], groups=table[2].astype(np.int64)), table.shape[1]


def _fewer_steps(usual: Results, free: Results) -> Claim:
    says = "a lower L goes with fewer steps"
    models = usual.choices("model")
    rho, runs = _with_steps(usual)
    steps = "; ".join(
        f"{model} {number(float(np.mean(usual.where(model=model).values('steps, after'))), '.1f')}"
        for model in ("looped_mlp", "modern_hopfield_mlp")
        if model in models
    )
    found = (
        f"{rho}, {runs} runs of {len(models)} models with the budget and without; without it {_with_steps(free)[0]}; "
        f"steps on average: {steps or '–'}"
    )
    return judged(says, rho.rises, found, "43–44 steps (looped MLP), 17–24 (ModernEqProp)")


def _descends(usual: Results) -> Claim:
    says = "the energy never rises where there is one"
    rises = usual.values("energy rise, after")
    rises = rises[np.isfinite(rises)]
    if not rises.size:
        return judged(says, None, "not run")
    most = float(rises.max())
    what = "the least fall" if most < 0.0 else "the largest rise"
    found = f"{what} in a step of α = 0.1 is {number(abs(most), '.1e')} of the whole fall, {rises.size} runs"
    return judged(says, most <= 1e-9, found)


def _anytime(usual: Results) -> Claim:
    says = "on the attractor task the toroidal MLP has the best answer early"
    prior = "68 %, best anytime accuracy of all"
    cells = list(usual.where(task="attractor"))
    if not cells:
        return judged(says, None, "not run", prior)
    name = "accuracy after 4 steps"
    ours = [c for c in cells if c.configuration.model.startswith("toroidal")]
    others = [c for c in cells if c not in ours]
    if not ours or not others:
        return judged(says, None, "the toroidal MLP and others were not run", prior)
    mine, rival = (max(part, key=lambda cell: cell.mean(name)) for part in (ours, others))
    least = min(cell.mean(name) for cell in cells)
    found = (
        f"after 4 steps: toroidal {mine.said(name, '.1f', 100, ' %')}, best of the others "
        f"{rival.said(name, '.1f', 100, ' %')} ({rival.configuration.label}), worst {100 * least:.1f} %"
    )
    why = "all of them are nearly right by then" if least >= SOLVED["attractor"] else ""
    return judged(says, gap(mine, rival, name).decided, found, prior, why)


def _nudge(results: Results) -> Claim:
    says = "a larger nudge trains to a larger L"
    cells = [
        c for c in results.where(model="looped_mlp", task="memorisation", budget=None) if c.configuration.hidden == 32
    ]
    if len(cells) < 2:
        return judged(says, None, "not run")
    ordered = sorted(cells, key=lambda cell: cell.configuration.beta)
    found = "; ".join(f"β = {c.configuration.beta:g}: {c.said('L, after', '.3f')}" for c in ordered)
    sides = [gap(later, before, "L, after").decided for before, later in pairwise(ordered)]
    return judged(says, all_of(sides), found)


def _largest(cells: Results, name: str) -> Cell:
    return max(cells, key=lambda cell: np.nan_to_num(cell.mean(name), nan=math.inf))


def _listed(failing: list[str]) -> str:
    return f"; not {', '.join(failing)}" if failing else ""
