"""Question 3: what does the nudge's size do to training, and why?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neuro_eq.datasets import load_data
from neuro_eq.experiments.machinery.drawing import blank, key, line, nothing
from neuro_eq.experiments.machinery.experiment import (
    Claim,
    Column,
    Configuration,
    Criterion,
    Experiment,
    Outcome,
    Scale,
    Verdict,
    judged,
    judged_each,
)
from neuro_eq.experiments.machinery.judging import gap, judged_by_gaps
from neuro_eq.experiments.machinery.results import Cell, Results, number
from neuro_eq.experiments.machinery.statistics import Correlation, spearman
from neuro_eq.experiments.tasks.transformers import TRANSFORMERS
from neuro_eq.experiments.training.diagnostics import Diagnostics
from neuro_eq.experiments.training.lessons import Lessons, Rule
from neuro_eq.experiments.training.loop import learn
from neuro_eq.figures.style import CYCLE, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIXED = (0.01, 0.05, 0.1, 0.2, 0.21, 0.22, 0.23, 0.24, 0.25, 0.26, 0.5)
"""Nudges of the earlier work's sweep and some below and above it."""

ANNEALED = ((0.3, 0.25), (0.3, 0.2))
"""The nudges that the earlier work let fall over training: the second is said to collapse."""

COLLAPSED = 0.1
"""A loss of accuracy from its best that counts as a collapse."""

OF_A_LAYER = (
    "the cost is felt at the output alone, so a layer's own β can only divide its contrast, which is a learning rate "
    "of its own; Adam takes that out"
)
"""Why no experiment has a nudge of each layer's own."""

DAMPING = (0.8, 0.9, 0.95)

FEWEST = 8
"""Runs that a rank correlation wants."""

ACCURACY = "history/test_accuracy"

GOES_WITH = {
    "diagnostics/L": (1.0, "the Lipschitz constant is large"),
    "diagnostics/residual over nudge, median": (1.0, "the phases are not settled"),
    "diagnostics/cosine": (-1.0, "the gradient is far from the true one"),
}
"""What an epoch's loss of accuracy is held against: a curve, on which side it is bad, and that side in words."""


class Nudged(Configuration):
    """One way to nudge.

    Args:
        network: a name in :data:`TRANSFORMERS`.
        rule: ``"one-sided vector field"`` is the earlier work's, ``"asymep"`` and ``"local"`` are ours.
        beta, last_beta: of the first and of the last epoch; fixed where there is no last.
        follow: the largest nudge of one that begins with β and follows the cost's slope, or None.
        damping: α; the earlier ``h ← (1 − damping) h + damping f(h)`` as we read it.
        steps: the most steps of a phase.
    """

    backend: str = "torch"
    dtype: Literal["float64", "float32"] = "float32"
    network: str = "prior, quarter"
    rule: Rule = "one-sided vector field"
    beta: float = 0.22
    last_beta: float | None = None
    follow: float | None = None
    damping: float = 0.8
    lr: float = 2e-3
    epochs: int = 15
    batch_size: int = 128
    steps: int = 50
    data: str = "digits"
    train: int | None = None
    test: int | None = None

    @property
    def label(self) -> str:
        nudge = f"β = {self.beta:g}" + ("" if self.last_beta is None else f" to {self.last_beta:g}")
        nudge += "" if self.follow is None else f", following the slope up to {self.follow:g}"
        others = "" if (self.damping, self.lr) == (0.8, 2e-3) else f", damping {self.damping:g}, lr {self.lr:g}"
        return f"{self.network}, {self.rule}, {nudge}{others}"


def configurations(scale: Scale) -> list[Nudged]:
    """The earlier configuration first; then the same by AsymEP, and the energy transformer."""
    if scale == "quick":
        small: dict[str, Any] = {
            "network": "prior, tiny",
            "epochs": 2,
            "train": 96,
            "test": 64,
            "batch_size": 32,
            "lr": 1e-2,
        }
        rows = [Nudged(beta=beta, **small) for beta in (0.05, 0.22)]
        rows.append(Nudged(beta=0.3, last_beta=0.2, **small))
        rows.append(Nudged(beta=0.22, rule="asymep", **small))
        rows.append(Nudged(beta=0.22, follow=0.5, **small))
        return rows
    if scale == "medium":
        return _sweep("prior, quarter", "digits", (0.01, 0.05, 0.1, 0.2, 0.22, 0.26, 0.5)) + _ours("digits", "half")
    whole = _sweep("prior", "mnist", FIXED)
    whole += [
        Nudged(network="prior", data="mnist", beta=beta, damping=damping, lr=lr)
        for beta in (0.05, 0.1, 0.2)
        for damping in DAMPING
        for lr in (5e-4, 1e-3, 2e-3)
        if (beta, damping, lr) not in {(b, 0.8, 2e-3) for b in FIXED}
    ]
    return whole + _ours("mnist", "")


def _sweep(network: str, data: str, betas: tuple[float, ...]) -> list[Nudged]:
    rules: tuple[Rule, ...] = ("one-sided vector field", "asymep")
    rows = []
    for rule in rules:
        rows += [Nudged(network=network, data=data, rule=rule, beta=beta) for beta in betas]
        rows += [Nudged(network=network, data=data, rule=rule, beta=a, last_beta=b) for a, b in ANNEALED]
        rows.append(Nudged(network=network, data=data, rule=rule, beta=0.05, follow=0.5))
    return rows


def _ours(data: str, size: str) -> list[Nudged]:
    name = "energy transformer" + (f", {size}" if size else "")
    usual: dict[str, Any] = {"network": name, "data": data, "rule": "local", "damping": 0.5, "lr": 1e-3}
    return [
        *(Nudged(beta=beta, **usual) for beta in (0.05, 0.2, 0.5, 1.0)),
        Nudged(beta=0.2, follow=1.0, **usual),
    ]


def run(config: Nudged, seed: int) -> Outcome:
    """Train, with all diagnostics on a probe batch of test samples."""
    data = load_data(config.data).subset(config.train, config.test)
    spec = TRANSFORMERS[config.network](data)
    how = Lessons(
        rule=config.rule, beta=config.beta, last_beta=config.last_beta, follow=config.follow, epochs=config.epochs,
        lr=config.lr, batch_size=config.batch_size, alpha=config.damping, max_steps=config.steps,
    )  # fmt: skip
    probe = Diagnostics(data.x_test[:32], data.y_test[:32], how, constants=4)
    with config.compiled(spec, seed) as net:
        learned = learn(net, data, how, seed, watch=probe)
    course = np.array([epoch.test_accuracy for epoch in learned.epochs])
    numbers = {
        "accuracy": float(course[-1]) if not learned.ended else 1.0 / data.outputs,
        "best accuracy": float(course.max()),
        "fall from best": float(course.max() - (course[-1] if not learned.ended else 1.0 / data.outputs)),
        "ended early": float(bool(learned.ended)),
        "epochs done": float(len(course) - 1),
        "nudge, last": probe.last("nudge"),
        "cosine, first": probe.rows[0].get("cosine", math.nan),
        "cosine, last": probe.last("cosine"),
        "cosine, least": probe.least("cosine"),
        "L, first": probe.rows[0].get("L", math.nan),
        "L, last": probe.last("L"),
        "residual over nudge, last": probe.last("residual over nudge, median"),
        "residual over nudge, most": probe.most("residual over nudge, median"),
        "not converged, last": 1.0 - probe.last("free: converged"),
        "unsettled, last": probe.last("unsettled"),
        "steps, last": probe.last("steps, free"),
    }
    return Outcome(numbers, {**learned.curves(), **probe.curves()}, spec)


# -- what the results say -------------------------------------------------------------------------------------------


def verdict(results: Results) -> Verdict:
    """The earlier claims on the earlier rule, then what the diagnostics say, then ours."""
    prior = _prior(results.where(rule="one-sided vector field", damping=0.8, lr=2e-3))
    corrected = _prior(results.where(rule="asymep"))
    if results.scale == "quick":
        prior, corrected = results.where(rule="one-sided vector field"), results.where(rule="asymep")
    claims = [_best(prior), _collapses(prior), _stable(prior), _worse_below(prior), _worse_below(corrected, ours=True)]
    claims += [_losses(prior, corrected, *each) for each in GOES_WITH.items()]
    claims += [_why(prior), _corrected(prior, corrected), _settled(results), _noise(prior), _follows(results)]
    claims.append(judged("a nudge of each layer's own does better", None, f"not run: {OF_A_LAYER}"))
    return Verdict(tuple(claims), (_criterion(results),))


def _prior(results: Results) -> Results:
    cells = tuple(c for c in results if str(c.configuration.network).startswith("prior"))
    return Results(results.experiment, results.scale, cells)


def _place(results: Results) -> str:
    """Of a claim about the earlier network on MNIST, where else it was put to the test."""
    there = list(dict.fromkeys((c.configuration.network, c.configuration.data) for c in results))
    if there == [("prior", "mnist")]:
        return ""
    return "".join(f" ({network}, on {data})" for network, data in there)


def _fixed(results: Results) -> list[Cell]:
    return sorted(results.where(last_beta=None, follow=None), key=lambda cell: cell.configuration.beta)


def _all_of(cells: list[Cell], name: str = "accuracy", form: str = ".1f", scale: float = 100.0) -> str:
    return "; ".join(f"β = {c.configuration.beta:g}: {c.said(name, form, scale)}" for c in cells)


def _best(prior: Results) -> Claim:
    says = f"β = 0.22 is the best fixed nudge for the one-sided vector field{_place(prior)}"
    cells = _fixed(prior)
    if len(cells) < 3:
        return judged(says, None, f"only {len(cells)} nudges: {_all_of(cells)}", "β 0.22 best")
    at = next((c for c in cells if c.configuration.beta == 0.22), None)
    if at is None:
        return judged(says, None, _all_of(cells), "β 0.22 best")
    rival = max((c for c in cells if c is not at), key=lambda cell: cell.mean("accuracy"))
    found = gap(at, rival)
    why = (
        f"{number(100 * found.ahead, '.2f')} points ahead of β = {rival.configuration.beta:g}, standard deviations "
        f"{number(100 * found.noise, '.2f')}"
    )
    return judged(says, found.decided, _all_of(cells), "β 0.22 best", why)


def _falls(cells: list[Cell]) -> np.ndarray:
    """``(runs,)`` the largest loss of accuracy from the best epoch so far to a later one."""
    falls = []
    for run in (run for cell in cells for run in cell.runs):
        course = run.arrays.get(ACCURACY, np.zeros(0))
        on_the_way = float(np.max(np.maximum.accumulate(course) - course)) if len(course) else 0.0
        falls.append(max(on_the_way, run.numbers["fall from best"]))
    return np.array(falls)


def _collapses(prior: Results) -> Claim:
    says = f"a nudge that falls from 0.3 to 0.2 makes training collapse{_place(prior)}"
    cell = prior.first(beta=0.3, last_beta=0.2)
    if cell is None:
        return judged(says, None, "not run", "collapses at 0.2 after epoch 13")
    falls = cell.values("fall from best")
    found = (
        f"{int(np.sum(falls > COLLAPSED))} of {len(falls)} runs end {100 * COLLAPSED:.0f} points below their best; "
        f"accuracy {cell.said('accuracy', '.1f', 100, ' %')}, fall from the best epoch "
        f"{cell.said('fall from best', '.1f', 100)} points, on the way at most {100 * _falls([cell]).max():.1f}"
    )
    return judged(says, bool(np.mean(falls > COLLAPSED) >= 0.5), found, "collapses at 0.2 after epoch 13")


def _stable(prior: Results) -> Claim:
    says = f"fixed nudges from 0.20 to 0.26 are stable{_place(prior)}"
    cells = [c for c in _fixed(prior) if 0.195 <= c.configuration.beta <= 0.265]
    if not cells:
        return judged(says, None, "not run", "all stable")
    falls, ends = _falls(cells), np.concatenate([c.values("fall from best") for c in cells])
    steady = int(np.sum(falls <= COLLAPSED))
    found = (
        f"runs never fall more than {100 * COLLAPSED:.0f} points below their best epoch; largest fall "
        f"{100 * falls.max():.1f} points, at the end {100 * ends.max():.1f}"
    )
    return judged_each(says, steady, len(falls), found, "all stable")


def _worse_below(results: Results, ours: bool = False) -> Claim:
    rule = "AsymEP" if ours else "the one-sided vector field"
    says = f"by {rule} a smaller nudge than 0.1 trains worse{_place(results)}"
    cells = _fixed(results)
    low = [c for c in cells if c.configuration.beta < 0.1]
    high = [c for c in cells if 0.1 <= c.configuration.beta <= 0.3]
    prior = "β → 0 is worse in practice"
    if not low or not high:
        return judged(says, None, "not run", prior)
    best_low, best_high = (max(part, key=lambda cell: cell.mean("accuracy")) for part in (low, high))
    found = gap(best_high, best_low)
    return judged(
        says,
        found.decided,
        f"the best of them {number(100 * found.ahead, '.2f')} points behind, standard deviations "
        f"{number(100 * found.noise, '.2f')}: {_all_of(cells)}",
        prior,
    )


def _why(prior: Results) -> Claim:
    says = "accuracy follows the gradient's cosine with the true one"
    pairs = np.array([prior.values("cosine, last"), prior.values("accuracy")])
    pairs = pairs[:, np.isfinite(pairs).all(axis=0)]
    if pairs.shape[1] < FEWEST:
        return judged(says, None, f"only {pairs.shape[1]} runs")
    rho = spearman(pairs[0], pairs[1])
    found = f"{rho} over {pairs.shape[1]} runs; cosines "
    return judged(says, rho.rises, found + _all_of(_fixed(prior), "cosine, last", ".3f", 1.0))


def _losses(prior: Results, corrected: Results, name: str, bad: tuple[float, str]) -> Claim:
    sign, words = bad
    says = f"an epoch of the one-sided vector field loses accuracy where at its beginning {words}"
    found = [_with_losses(rows, name, sign) for rows in (prior, corrected)]
    if found[0] is None:
        return judged(says, None, f"fewer than {FEWEST} runs")
    parts = [
        f"{rule} {one}"
        for rule, one in zip(("one-sided vector field", "AsymEP"), found, strict=True)
        if one is not None
    ]
    what = "with what is lost against the best epoch before, in the last two thirds of training"
    return judged(says, found[0].rises, f"{what}: {'; '.join(parts)}")


def _with_losses(results: Results, name: str, sign: float) -> Correlation | None:
    """Of a curve with what accuracy loses in the epoch that follows; the epochs of a run are drawn together."""
    losses, values, runs = [], [], []
    for i, run in enumerate(run for cell in results for run in cell.runs):
        accuracy, curve = (run.arrays.get(each, np.zeros(0)) for each in (ACCURACY, name))
        if len(accuracy) != len(curve):
            continue
        for epoch in range(1 + len(curve) // 3, len(curve)):
            if np.isfinite(curve[epoch - 1]):
                losses.append(accuracy[:epoch].max() - accuracy[epoch])
                values.append(sign * curve[epoch - 1])
                runs.append(i)
    if len(set(runs)) < FEWEST:
        return None
    return spearman(np.array(losses), np.array(values), groups=np.array(runs))


def _corrected(prior: Results, corrected: Results) -> Claim:
    says = "corrected for asymmetry (AsymEP) the same network trains better at the same nudge"
    gaps, rows = [], []
    for cell in _fixed(prior):
        other = corrected.first(beta=cell.configuration.beta, last_beta=None, follow=None)
        if other is not None:
            gaps.append(gap(other, cell))
            parts = [
                f"{what} {number(cell.mean(name), form)} to {number(other.mean(name), form)}"
                for what, name, form in (
                    ("cosine", "cosine, last", ".3f"),
                    ("res/r₀", "residual over nudge, last", ".1e"),
                )
            ]
            rows.append(
                f"β = {cell.configuration.beta:g}: {cell.said('accuracy', '.1f', 100)} to "
                f"{other.said('accuracy', '.1f', 100)}, {', '.join(parts)}"
            )
    return judged_by_gaps(says, gaps, "nudges, by more than the standard deviations; " + "; ".join(rows))


def _rules(results: Results) -> list[tuple[str, list[Cell]]]:
    """The rows of every rule, with its name; those that follow the cost's slope apart."""
    found: dict[str, list[Cell]] = {}
    for cell in results:
        word = cell.configuration.rule + ("" if cell.configuration.follow is None else ", following the slope")
        found.setdefault(word, []).append(cell)
    return list(found.items())


def _settled(results: Results) -> Claim:
    says = "phases are settled to a hundredth of the nudge, so what is measured is the rule and not the solver"
    good, parts = 0, []
    groups = _rules(results)
    for word, cells in groups:
        ratios = np.concatenate([c.values("residual over nudge, most") for c in cells])
        good += bool(np.all(ratios <= 1e-2))
        low, middle, high = (number(float(q), ".1e") for q in np.quantile(ratios, [0.0, 0.5, 1.0]))
        parts.append(f"{word} {middle} ({low} to {high})")
    found = "rules; the largest median of residual over nudge in training, median over runs (least to most): "
    return judged_each(says, good, len(groups), found + "; ".join(parts))


def _noise(prior: Results) -> Claim:
    says = f"there is a best nudge between bias and noise{_place(prior)}"
    cells = _fixed(prior)
    if len(cells) < 5:
        return judged(says, None, f"only {len(cells)} nudges")
    best = max(cells[1:-1], key=lambda cell: cell.mean("accuracy"))
    sides = [gap(best, edge).decided for edge in (cells[0], cells[-1])]
    # Both ends must be worse than what lies between them; one that is better refutes it.
    holds = False if False in sides else True if all(sides) else None
    return judged(says, holds, f"best between the ends at β = {best.configuration.beta:g}: {_all_of(cells)}")


def _follows(results: Results) -> Claim:
    says = "a nudge that follows the cost's slope trains better than the fixed one that it begins with"
    gaps, rows = [], []
    for cell in results:
        begun = cell.configuration.model_copy(update={"follow": None})
        other = next((c for c in results if c.configuration == begun), None)
        if cell.configuration.follow is None or other is None:
            continue
        gaps.append(gap(cell, other))
        rows.append(
            f"{begun.label}: {other.said('accuracy', '.1f', 100)} to {cell.said('accuracy', '.1f', 100)}, "
            f"β at the end {cell.said('nudge, last', '.2f')}"
        )
    return judged_by_gaps(says, gaps, "pairs, by more than their standard deviations: " + "; ".join(rows))


PROGRAMME = 200
"""Steps in which the programme's criterion wants samples to converge."""


def _criterion(results: Results) -> Criterion:
    name = f"TERMINATE: more than half of the samples not converged in {PROGRAMME} steps"
    parts = []
    for word, cells in _rules(results):
        share = np.concatenate([c.values("not converged, last") for c in cells])
        parts.append(f"{word} {100 * float(share.mean()):.0f} %")
    if not parts:
        return Criterion(name, None, "not run")
    limits = sorted({c.configuration.steps for c in results})
    patient = limits[0] >= PROGRAMME
    share = results.values("not converged, last")
    found = f"of the probe at the end, within {limits[-1]} steps at the nudge's tolerance: {', '.join(parts)}"
    return Criterion(name, bool(share.mean() > 0.5) if patient else None, found)


def figure(results: Results) -> Figure:
    """Accuracy over the nudge, and the cosine with the true gradient over training."""
    page = blank(10.5, 8.2)
    axes = page.subplots(2, 2)
    pairs = list(dict.fromkeys((c.configuration.network, c.configuration.rule) for c in results))
    dress(axes[0, 0], "Accuracy against the nudge", "after the last epoch, mean ± sd", "β", "test accuracy (%)")
    dress(axes[0, 1], "Cosine against the nudge", "of the gradient with the true one, at the end", "β", "cosine")
    for color, (network, rule) in zip(CYCLE, pairs, strict=False):
        cells = _fixed(results.where(network=network, rule=rule))
        cells = [c for c in cells if c.configuration.damping in (0.8, 0.5)]
        if not cells:
            continue
        x = [c.configuration.beta for c in cells]
        for panel, name, scale in ((axes[0, 0], "accuracy", 100.0), (axes[0, 1], "cosine, last", 1.0)):
            y = [scale * c.mean(name) for c in cells]
            panel.errorbar(
                x, y, [np.nan_to_num(scale * c.sd(name)) for c in cells], color=color, marker="o", ms=4, capsize=2,
                label=f"{network}, {rule}",
            )  # fmt: skip
            panel.set_xscale("log")
    key(axes[0, 0])
    axes[0, 0].set_ylim(top=100.0)
    axes[0, 1].set_ylim(top=1.0)
    if _courses(axes[1, 0], results, ACCURACY, "Accuracy over training", "test accuracy (%)", 100.0):
        # Where most of training goes on.
        low = min(100.0 * float(run.arrays[ACCURACY][1:].min(initial=1.0)) for cell in results for run in cell.runs)
        axes[1, 0].set_ylim(max(low, 75.0), 100.0)
    title = "Lipschitz constant over training"
    if _courses(axes[1, 1], results, "diagnostics/L", title, "largest ‖Dρ'‖₂", logarithmic=True):
        key(axes[1, 1], beside=True)
    return page


DRAWN = 3
"""Fixed nudges whose courses are drawn: the smallest, the largest, and one between."""


def _courses(
    axes: Axes, results: Results, name: str, title: str, what: str, scale: float = 1.0, logarithmic: bool = False
) -> bool:
    """Curves over training of the nudges that change and of a few that do not; whether there are any."""
    cells = [c for c in results if c.configuration.rule == "one-sided vector field"]
    moving = [c for c in cells if (c.configuration.last_beta, c.configuration.follow) != (None, None)]
    fixed = sorted((c for c in cells if c not in moving), key=lambda cell: cell.configuration.beta)
    places = np.linspace(0, len(fixed) - 1, min(DRAWN, len(fixed))).round().astype(int)
    drawn = False
    for color, cell in zip(CYCLE, [*(fixed[i] for i in places), *moving], strict=False):
        runs = [run.arrays[name] for run in cell.runs if name in run.arrays]
        if runs and len({len(r) for r in runs}) == 1:
            drawn = True
            last = cell.configuration.last_beta
            word = f"β = {cell.configuration.beta:g}" + ("" if last is None else f" to {last:g}")
            word += "" if cell.configuration.follow is None else " and up"
            line(axes, np.arange(len(runs[0])), scale * np.array(runs), word, color, logarithmic)
    if drawn:
        dress(axes, title, "one-sided vector field, mean and sd over seeds", "epoch", what)
    else:
        nothing(axes, "the curves were not kept")
    return drawn


EXPERIMENT = Experiment(
    name="beta",
    number=3,
    question="What does the size of the nudge do to training, fixed or falling, on the earlier network and on ours, "
    "and why?",
    prior="β 0.22 best; falling to 0.2 collapses after epoch 13 while fixed 0.20–0.26 are stable; β → 0 is worse",
    bar="reproduced or refuted, and why: from residual, Lipschitz constant and gradient cosine over training",
    configuration=Nudged,
    configurations=configurations,
    run=run,
    figure=figure,
    verdict=verdict,
    columns=(
        Column("accuracy", "accuracy, %", ".1f", 100.0),
        Column("best accuracy", "best epoch, %", ".1f", 100.0),
        Column("fall from best", "fall, points", ".1f", 100.0),
        Column("cosine, first", "cosine at first", ".3f"),
        Column("cosine, last", "cosine at last", ".3f"),
        Column("L, first", "L at first", ".2f"),
        Column("L, last", "L at last", ".2f"),
        Column("residual over nudge, last", "res/r₀", ".1e"),
        Column("not converged, last", "not converged, %", ".0f", 100.0),
        Column("ended early", "diverged", ".1f"),
    ),
    curves=(ACCURACY, *GOES_WITH),
)
