"""Question 3: what does the nudge's size do to training, and why?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from neuro_eq.datasets import load_data
from neuro_eq.experiments.beta_claims import GOES_WITH, UNSETTLED, fixed, verdict
from neuro_eq.experiments.machinery.drawing import blank, courses, key, line, nothing
from neuro_eq.experiments.machinery.experiment import (
    Column,
    Configuration,
    Experiment,
    Outcome,
    Scale,
)
from neuro_eq.experiments.machinery.results import Cell, Results
from neuro_eq.experiments.tasks.transformers import TRANSFORMERS
from neuro_eq.experiments.training.diagnostics import Diagnostics
from neuro_eq.experiments.training.lessons import TWINS, Lessons, Rule
from neuro_eq.experiments.training.loop import TEST_ACCURACY, learn
from neuro_eq.figures.style import CYCLE, dress

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FIXED = (0.01, 0.05, 0.1, 0.2, 0.21, 0.22, 0.23, 0.24, 0.25, 0.26, 0.5)
"""Nudges of the earlier work's sweep and some below and above it."""

ANNEALED = ((0.3, 0.25), (0.3, 0.2))
"""The nudges that the earlier work let fall over training: the second is said to collapse."""

DAMPING = (0.8, 0.9, 0.95)


class Nudged(Configuration):
    """One way to nudge.

    Args:
        network: a name in :data:`TRANSFORMERS`.
        rule: ``"one-sided vector field"`` is the earlier work's, ``"asymep"`` and ``"local"`` are ours; the twins,
            which nudge nothing, are ``"bptt"``, through ``steps`` steps, and ``"implicit"``.
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
        if self.rule in TWINS:
            return f"{self.network}, {self.rule}"
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
        rows += [Nudged(beta=0.22, rule=rule, **small) for rule in ("asymep", *TWINS)]
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
    return rows + [Nudged(network=network, data=data, rule=twin) for twin in TWINS]


def _ours(data: str, size: str) -> list[Nudged]:
    name = "energy transformer" + (f", {size}" if size else "")
    usual: dict[str, Any] = {"network": name, "data": data, "rule": "local", "damping": 0.5, "lr": 1e-3}
    return [
        *(Nudged(beta=beta, **usual) for beta in (0.05, 0.2, 0.5, 1.0)),
        Nudged(beta=0.2, follow=1.0, **usual),
        # Of half the width the implicit twin trains for more than twenty minutes, longer than a medium run has.
        *(Nudged(**{**usual, "rule": twin}) for twin in TWINS if twin == "bptt" or not size),
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
        "accuracy": float(course[-1]),
        "best accuracy": float(course.max()),
        "fall from best": float(course.max() - course[-1]),
        "ended early": float(bool(learned.ended)),
        "epochs done": float(len(course) - 1 - bool(learned.ended)),
        "nudge, last": probe.last("nudge"),
        "cosine, first": probe.rows[0].get("cosine", math.nan),
        "cosine, last": probe.last("cosine"),
        "cosine, least": probe.least("cosine"),
        "L, first": probe.rows[0].get("L", math.nan),
        "L, last": probe.last("L"),
        "residual over nudge, last": probe.last("residual over nudge, median"),
        "not converged, last": 1.0 - probe.last("free: converged"),
        "unsettled, last": probe.last("unsettled"),
        "steps, last": probe.last("steps, free"),
    }
    return Outcome(numbers, {**learned.curves(), **probe.curves()}, spec)


def figure(results: Results) -> Figure:
    """Accuracy over the nudge, the cosine with the true gradient, and both with L over training."""
    page = blank(13.0, 12.0)
    # The last column is for what the lines are called.
    axes = page.subplots(3, 3, width_ratios=(1.0, 1.0, 0.62))
    for aside in axes[:, 2]:
        aside.set_axis_off()
    pairs = list(dict.fromkeys((c.configuration.network, c.configuration.rule) for c in results))
    detail = "after the last epoch, mean ± sd; hollow: a nudge that changes, at its end"
    dress(axes[0, 0], "Accuracy against the nudge", detail, "β", "test accuracy (%)")
    dress(axes[0, 1], "Cosine against the nudge", "of the gradient with the true one, at the end", "β", "cosine")
    for color, (network, rule) in zip(CYCLE, pairs, strict=False):
        rows, word = results.where(network=network, rule=rule), f"{network}, {rule}"
        if rule in TWINS:
            axes[0, 0].axhline(100.0 * rows.cells[0].mean("accuracy"), color=color, lw=1.2, ls="--", label=word)
            continue
        still, moving = _apart(rows)
        for panel, name, scale in ((axes[0, 0], "accuracy", 100.0), (axes[0, 1], "cosine, last", 1.0)):
            for part, x, style in (
                (still, [c.configuration.beta for c in still], {"marker": "o", "label": word}),
                (moving, [c.mean("nudge, last") for c in moving], {"marker": "<", "ls": "none", "mfc": "white"}),
            ):
                y, sd = ([scale * np.nan_to_num(of(c, name)) for c in part] for of in (Cell.mean, Cell.sd))
                panel.errorbar(x, y, sd, color=color, ms=4, capsize=2, **style)
            panel.set_xscale("log")
    key(axes[0, 2], of=axes[0, 0])
    axes[0, 0].set_ylim(top=100.0)
    axes[0, 1].set_ylim(top=1.0)
    if _courses(axes[1, 0], results, TEST_ACCURACY, "Accuracy over training", "test accuracy (%)", 100.0):
        # Where most of training goes on.
        axes[1, 0].set_ylim(bottom=max(axes[1, 0].get_ylim()[0], 75.0), top=100.0)
    title = "Lipschitz constant over training"
    if _courses(axes[1, 1], results, "diagnostics/L", title, "largest ‖Dρ'‖₂", logarithmic=True):
        key(axes[1, 2], of=axes[1, 1])
    _courses(axes[2, 0], results, "diagnostics/cosine", "Cosine over training", "cosine with the true gradient")
    title = "Samples that are not settled, over training"
    _courses(axes[2, 1], results, UNSETTLED, title, "residual above r₀/100 (%)", 100.0)
    return page


def _apart(rows: Results) -> tuple[list[Cell], list[Cell]]:
    """Nudges that stay as they are, and those that change, of the damping and learning rate that most have."""
    usual = {(0.8, 2e-3), (0.5, 1e-3), (0.8, 1e-2)}
    kept = tuple(c for c in rows if (c.configuration.damping, c.configuration.lr) in usual)
    still = fixed(Results(rows.experiment, rows.scale, kept))
    return still, [cell for cell in kept if cell not in still]


DRAWN = (0.01, 0.22, 0.5)
"""Fixed nudges whose courses are drawn, as far as they ran: the one that is said to be best, and the ends."""


def _courses(
    axes: Axes, results: Results, name: str, title: str, what: str, scale: float = 1.0, logarithmic: bool = False
) -> bool:
    """Curves over training of the nudges that change and of a few that do not; whether there are any."""
    still, moving = _apart(results.where(rule="one-sided vector field"))
    chosen = [c for c in still if c.configuration.beta in DRAWN]
    drawn = False
    for color, cell in zip(CYCLE[::-1], [*chosen, *moving], strict=False):
        runs = courses(cell, name)
        if runs.size:
            drawn = True
            last, follow = cell.configuration.last_beta, cell.configuration.follow
            word = f"β = {cell.configuration.beta:g}" + ("" if last is None else f" to {last:g}")
            word += "" if follow is None else f", following the slope up to {follow:g}"
            line(axes, np.arange(runs.shape[1]), scale * runs, word, color, logarithmic)
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
        Column("unsettled, last", "unsettled, %", ".0f", 100.0),
        Column("not converged, last", "not converged, %", ".0f", 100.0),
        Column("ended early", "diverged", ".1f"),
    ),
    curves=(TEST_ACCURACY, UNSETTLED, *GOES_WITH),
)
