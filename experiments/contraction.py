"""Question 4: how strongly do these networks contract, before and after training, with a norm budget and without?"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from neuro_eq.budget import NormBudget
from neuro_eq.contraction import lipschitz
from neuro_eq.datasets import Data
from neuro_eq.engine import Engine
from neuro_eq.errors import SpecError
from neuro_eq.experiments.machinery.drawing import blank, grouped_bars, grouped_dots
from neuro_eq.experiments.machinery.experiment import (
    Claim,
    Column,
    Configuration,
    Criterion,
    Experiment,
    Outcome,
    Scale,
    Verdict,
)
from neuro_eq.experiments.machinery.judging import all_of, gap, judged, judged_each
from neuro_eq.experiments.machinery.results import Cell, Results, number
from neuro_eq.experiments.machinery.statistics import Correlation, spearman
from neuro_eq.experiments.tasks import attractor, memorisation, xor
from neuro_eq.experiments.tasks.networks import IMAGES, NETWORKS, has_a_bound
from neuro_eq.experiments.training.diagnostics import Diagnostics
from neuro_eq.experiments.training.lessons import Lessons
from neuro_eq.experiments.training.loop import learn
from neuro_eq.figures.style import MUTED
from neuro_eq.solvers import Picard
from neuro_eq.training.evaluation import correct

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALPHA, TIGHT, TOL, STEPS = 0.5, 1e-8, 1e-4, 200
"""Step, a residual for measuring at fixed points, one for counting steps, and the steps in which all should settle."""

ANYTIME = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Steps after which the answer is read."""

SOLVED = {"xor": 1.0, "memorisation": 1.0, "attractor": 0.95}
"""The accuracy from which a task counts as solved."""

APART = 1e-4
"""Fixed points whose potentials differ by less, root mean square, are the same one."""


class Contraction(Configuration):
    """One network on one task.

    Args:
        model: a name in :data:`NETWORKS`.
        task: ``"xor"``, ``"memorisation"`` or ``"attractor"``, whose cue stays clamped.
        hidden: units.
        budget: ‖N‖₂ ≤ budget after every step, or None.
        beta, epochs, lr: of training.
        starts: random starts from which the fixed point is looked for.
    """

    model: str
    task: str
    hidden: int = 32
    budget: float | None = None
    beta: float = 0.1
    epochs: int = 100
    lr: float = 0.01
    starts: int = 20

    @property
    def label(self) -> str:
        kept = "no budget" if self.budget is None else f"‖N‖ ≤ {self.budget:g}"
        nudge = "" if self.beta == 0.1 else f", β = {self.beta:g}"
        return f"{self.model}, {self.task}, {self.hidden} units, {kept}{nudge}"


def configurations(scale: Scale) -> list[Contraction]:
    """Every model on every task without the budget, and with it where it can be held; larger scales have more."""
    both = (None, 0.9)
    if scale == "quick":
        models = ("layered_hopfield", "looped_mlp", "looped_mlp, directed", "modern_hopfield_mlp")
        return [Contraction(model=m, task="xor", hidden=8, budget=b, epochs=40, lr=0.03) for m in models for b in both]
    sizes = (32,) if scale == "medium" else (16, 32, 64, 128)
    length = {"xor": 300, "memorisation": 150, "attractor": 40}
    rows = [
        Contraction(
            model=m, task=t, hidden=h, budget=b, epochs=length[t], backend="torch" if m in IMAGES else "numba"
        )
        for t in length
        for m in NETWORKS
        for h in sizes
        for b in both
        if b is None or has_a_bound(m)
    ]  # fmt: skip
    rows += [
        Contraction(model="looped_mlp", task="memorisation", budget=None, beta=beta, epochs=150, backend="numba")
        for beta in (0.02, 0.5)
    ]
    return rows


def data_of(task: str, seed: int) -> Data:
    """The samples of a task."""
    if task == "xor":
        return xor()
    return memorisation(seed=seed) if task == "memorisation" else attractor(seed=seed)


def run(config: Contraction, seed: int) -> Outcome:
    """Train, and look at the fixed points before and after."""
    data = data_of(config.task, seed)
    spec = NETWORKS[config.model](data.features, config.hidden, data.outputs)
    how = Lessons(
        beta=config.beta, epochs=config.epochs, lr=config.lr, batch_size=16, max_steps=STEPS, budget=config.budget
    )
    probe = Diagnostics(data.x_test[:16], data.y_test[:16], how)
    with config.compiled(spec, seed) as net:
        before = look(net, data, config, seed)
        learned = learn(net, data, how, seed, watch=_sometimes(probe, config.epochs))
        after = look(net, data, config, seed)
        anytime = answers_after(net, data)
    numbers = {f"{name}, before": value for name, value in before.items()}
    numbers |= {f"{name}, after": value for name, value in after.items()}
    numbers |= {
        "accuracy": learned.last.test_accuracy if not learned.ended else after["accuracy"],
        "ended early": float(bool(learned.ended)),
        "accuracy after 4 steps": anytime[ANYTIME.index(4)],
        "accuracy after 8 steps": anytime[ANYTIME.index(8)],
        "least cosine": probe.least("cosine"),
    }
    arrays = {**learned.curves(), **probe.curves(), "anytime/steps": np.array(ANYTIME), "anytime/accuracy": anytime}
    return Outcome(numbers, arrays, spec)


def look(net: Engine, data: Data, config: Contraction, seed: int) -> dict[str, float]:
    """Everything about the fixed points of the network as it is."""
    solver = Picard(ALPHA)
    x, y = data.x_test, data.y_test
    counted = net.relax(x, solver=solver, tol=TOL, max_steps=STEPS)
    few = x[:16]
    rest = net.relax(few, solver=solver, tol=TIGHT, max_steps=5 * STEPS)
    constants = lipschitz(net, few, state=rest, solver=solver, rtol=1e-4)
    found = {
        "L": float(np.max(constants.response)),
        "L mean": float(np.mean(constants.response)),
        "radius": float(np.max(constants.radius)),
        "L elsewhere": elsewhere(net, few, seed),
        "bound": _bound(net),
        "steps": float(counted.steps.mean()),
        "converged": float(counted.converged.mean()),
        "accuracy": float(np.mean(correct(net.to_numpy(net.output(counted)), y))),
    }
    found["apart"], found["starts converged"] = from_many_starts(net, x[:8], config.starts, seed)
    found["energy rise"] = energy_rise(net, few) if net.spec.has_energy else math.nan
    return found


def elsewhere(net: Engine, x: np.ndarray, seed: int) -> float:
    """The largest ‖Dρ'‖₂ at random potentials: where a network is not saturated it may contract less."""
    rng = np.random.default_rng([seed, 106])
    start = {p.name: net.asarray(0.5 * rng.normal(size=(len(x), *p.shape))) for p in net.spec.free}
    state = net.relax(x, start=start, solver=Picard(ALPHA), tol=None, max_steps=0)
    return float(np.max(lipschitz(net, x, state=state, solver=Picard(ALPHA), rtol=1e-4).response))


def from_many_starts(net: Engine, x: np.ndarray, starts: int, seed: int) -> tuple[float, float]:
    """How far apart the fixed points from random starts are at most, and the share of starts that converge."""
    rng = np.random.default_rng([seed, 104])
    rows = np.repeat(x, starts, axis=0)
    start = {p.name: net.asarray(rng.normal(size=(len(rows), *p.shape))) for p in net.spec.free}
    end = net.relax(rows, start=start, solver=Picard(ALPHA), tol=TIGHT, max_steps=5 * STEPS)
    states = np.concatenate(
        [np.asarray(net.to_numpy(end.states[p.name]), float).reshape(len(rows), -1) for p in net.spec.free], axis=1
    ).reshape(len(x), starts, -1)
    centre = states[:, :1]
    return float(np.max(np.sqrt(np.mean((states - centre) ** 2, axis=2)))), float(np.mean(end.converged))


def energy_rise(net: Engine, x: np.ndarray, steps: int = 40, alpha: float = 0.1) -> float:
    """The largest rise of G in one small step from zero potentials, relative to how much it falls in all."""
    state = net.relax(x, solver=Picard(alpha), tol=None, max_steps=0)
    levels = [np.asarray(net.to_numpy(net.energy(state).total), float)]
    for _ in range(steps):
        state = net.relax(x, start=state, solver=Picard(alpha), tol=None, max_steps=1)
        levels.append(np.asarray(net.to_numpy(net.energy(state).total), float))
    course = np.array(levels)
    fall = np.maximum(course[0] - course.min(axis=0), 1e-12)
    return float(np.max(np.max(np.diff(course, axis=0), axis=0) / fall))


def answers_after(net: Engine, data: Data) -> np.ndarray:
    """Test accuracy where the answer is read after so many steps."""
    ends = [net.relax(data.x_test, solver=Picard(ALPHA), tol=None, max_steps=steps) for steps in ANYTIME]
    return np.array([np.mean(correct(net.to_numpy(net.output(end)), data.y_test)) for end in ends])


def _bound(net: Engine) -> float:
    try:
        return NormBudget().value(net.spec, net.parameters)
    except SpecError:
        return math.nan  # A response without a bound: no budget can hold this network.


def _sometimes(probe: Diagnostics, epochs: int) -> Any:
    """The diagnostics at about ten epochs, the first and the last among them."""
    every = max(1, epochs // 10)
    return lambda net, epoch, beta: probe(net, epoch, beta) if epoch % every == 0 or epoch == epochs else None


# -- what the results say -------------------------------------------------------------------------------------------


def verdict(results: Results) -> Verdict:
    """Judged on runs at the usual nudge."""
    usual = results.where(beta=0.1)
    kept = Results(results.experiment, results.scale, tuple(c for c in usual if c.configuration.budget is not None))
    free = usual.where(budget=None)
    claims = [_solved(kept, free), _solved_freely(free), _grows(free), _held(kept), _xor(kept), _unique(kept, free)]
    claims += [_fewer_steps(usual, free)]
    claims += [_descends(usual), _anytime(usual), _nudge(results)]
    share = 1.0 - float(np.mean(usual.values("converged, after"))) if len(usual) else math.nan
    ending = Criterion(
        f"TERMINATE: more than half of the samples not converged in {STEPS} steps",
        None if math.isnan(share) else share > 0.5,
        f"{100 * share:.1f} % not converged, over all runs",
    )
    return Verdict(tuple(claims), (ending,))


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


def figure(results: Results) -> Figure:
    """L, steps and accuracy of every model: before training, after it without the budget, and with it."""
    page = blank(10.5, 10.5)
    panels = page.subplots(3, 1, sharex=True)
    usual = results.where(beta=0.1)
    models = usual.choices("model")
    groups = [("no budget", None), *((f"‖N‖ ≤ {b:g}", b) for b in usual.choices("budget") if b is not None)]
    shown = (
        ("L", "Lipschitz constant at fixed points", "largest ‖Dρ'‖₂ of a sample", 1.0, True),
        ("steps", f"Steps to a residual of {TOL:g}", "mean steps of a sample", 1.0, True),
        ("accuracy", "Accuracy", "test accuracy (%)", 100.0, False),
    )
    for axes, (name, title, what, scale, as_bars) in zip(panels, shown, strict=True):
        bars = {
            "before training": [scale * usual.where(model=m, budget=None).values(f"{name}, before") for m in models]
        }
        for word, b in groups:
            bars[f"after, {word}"] = [scale * usual.where(model=m, budget=b).values(f"{name}, after") for m in models]
        draw = grouped_bars if as_bars else grouped_dots
        draw(axes, models, bars, title, "a dot a run, over tasks and seeds", what)
        if axes.get_legend() is not None and axes is not panels[0]:
            axes.get_legend().remove()
    panels[0].axhline(1.0, color=MUTED, lw=1, ls="--")
    return page


EXPERIMENT = Experiment(
    name="contraction",
    number=4,
    question="How strongly do these networks contract before and after training, with a norm budget and without, "
    "and does it make them unique and fast?",
    prior="L 0.65–0.69 untrained and 1.75 trained for the looped MLP, 0.53–0.55 with spectral norm; 43–44 steps",
    bar="every model converges and solves each task; XOR with a global L < 1",
    configuration=Contraction,
    configurations=configurations,
    run=run,
    figure=figure,
    verdict=verdict,
    columns=(
        Column("accuracy", "accuracy, %", ".1f", 100.0),
        Column("L, before", "L before", ".2f"),
        Column("L, after", "L after", ".2f"),
        Column("L elsewhere, after", "L at random states", ".2f"),
        Column("bound, after", "‖N‖ after", ".2f"),
        Column("steps, after", "steps", ".1f"),
        Column("converged, after", "converged, %", ".0f", 100.0),
        Column("apart, after", "apart", ".2g"),
        Column("least cosine", "least cosine", ".4f"),
    ),
)
