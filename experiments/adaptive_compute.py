"""Question 7: do samples that are hard take more steps, and can the others stop early?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float64, Int

from neuro_eq.datasets import load_data
from neuro_eq.engine import Engine
from neuro_eq.experiments.adaptive_compute_claims import LEAST, kin, verdict, words
from neuro_eq.experiments.machinery.drawing import blank, courses, grouped, key, nothing
from neuro_eq.experiments.machinery.experiment import (
    Column,
    Configuration,
    Experiment,
    Outcome,
    Scale,
)
from neuro_eq.experiments.machinery.results import Results
from neuro_eq.experiments.machinery.statistics import spearman
from neuro_eq.experiments.tasks.networks import ROWS
from neuro_eq.experiments.training.lessons import Lessons, Rule
from neuro_eq.experiments.training.loop import UNEVEN, learn
from neuro_eq.figures.style import BLUE, CYCLE, MUTED, VERMILLION, dress
from neuro_eq.solvers import Picard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ALPHA, TOL, LONGEST = 0.5, 1e-4, 200
"""The step, the residual at which a sample has settled, and the most steps."""

READ = (*range(1, 21), *range(22, 41, 2), *range(45, 81, 5), *range(90, LONGEST + 1, 10))
"""Steps after which answers are read."""

LEADS = (*np.linspace(0.0, 0.99, 100), *(1.0 - np.logspace(-2.25, -8.0, 24)))
"""Leads of the best answer over the second at which a sample may stop; saturated answers differ by the last ones."""

ASKED = 0.5
"""The part of the steps that a careful exit is asked to save: the most of the bar."""

EARLY = 5
"""Steps after which the residual is taken for an uncertainty."""


class Adaptive(Configuration):
    """One network by one rule.

    Args:
        rule: ``"local"``, or ``"implicit"`` for the deep equilibrium twin.
        model: a name in :data:`ROWS`.
        data: a data set's name; the last fifth of its training samples chooses the threshold of early exits.
        budget: of the norms, or None.
    """

    rule: Rule = "local"
    model: str = "looped_mlp"
    data: str = "digits"
    hidden: int = 128
    budget: float | None = None
    train: int | None = None
    test: int | None = None
    epochs: int = 20
    lr: float = 2e-3
    beta: float = 0.1

    @property
    def label(self) -> str:
        kept = "no budget" if self.budget is None else f"‖N‖ ≤ {self.budget:g}"
        return f"{self.model}, {self.rule}, {self.data}, {kept}"


def configurations(scale: Scale) -> list[Adaptive]:
    """Local learning and its twin, with and without a budget."""
    rules: tuple[Rule, ...] = ("local", "implicit")
    if scale == "quick":
        return [Adaptive(rule=rule, hidden=24, train=200, test=200, epochs=3, lr=1e-2) for rule in rules]
    data, hidden, epochs = ("digits", 128, 30) if scale == "medium" else ("mnist", 256, 10)
    return [
        Adaptive(rule=r, model=m, data=data, hidden=hidden, epochs=epochs, budget=b, backend="numba")
        for m in ("layered_hopfield", "looped_mlp", "toroidal_mlp", "modern_hopfield_mlp")
        for r in rules
        for b in (None, 0.9)
    ]


@dataclass(frozen=True)
class Course:
    """What samples did while they settled.

    Attributes:
        steps: to the tolerance.
        settled: whether it was reached.
        residual: after :data:`EARLY` steps.
        right: whether the answer was right when it was read.
        margin: the best answer's lead over the second, when it was read.
        entropy: of the final answer, in nats.
    """

    steps: Int[np.ndarray, " samples"]
    settled: Bool[np.ndarray, " samples"]
    residual: Float64[np.ndarray, " samples"]
    right: Bool[np.ndarray, "reads samples"]
    margin: Float64[np.ndarray, "reads samples"]
    entropy: Float64[np.ndarray, " samples"]


def run(config: Adaptive, seed: int) -> Outcome:
    """Train, and follow every test sample while it settles."""
    whole = load_data(config.data).subset(config.train, config.test)
    held = len(whole.x_train) // 5
    data = whole.subset(len(whole.x_train) - held)
    spec = ROWS[config.model](data.features, config.hidden, data.outputs)
    how = Lessons(
        rule=config.rule, beta=config.beta, epochs=config.epochs, lr=config.lr, schedule="cosine",
        budget=config.budget, batch_size=32 if config.data == "digits" else 128, max_steps=LONGEST,
    )  # fmt: skip
    with config.compiled(spec, seed) as net:
        learned = learn(net, data, how, seed)
        chosen_on = follow(net, whole.x_train[-held:], whole.y_train[-held:])
        test = follow(net, data.x_test, data.y_test)
    numbers = {
        "accuracy": learned.last.test_accuracy,
        "ended early": float(bool(learned.ended)),
        UNEVEN: learned.unevenness,
    }
    numbers |= _correlations(test) | _uncertainty(test) | _exits(chosen_on, test) | _limit(chosen_on, test)
    numbers |= {f"steps of class {k}": float(np.mean(test.steps[data.y_test == k])) for k in range(data.outputs)}
    saved, lost = np.array([saving(test, lead) for lead in LEADS]).T
    arrays = {
        "exits/lead": np.array(LEADS), "exits/saving": saved, "exits/loss": lost,
        "samples/steps": test.steps, "samples/margin": test.margin[-1], "samples/entropy": test.entropy,
        "samples/label": np.asarray(data.y_test), "samples/right": test.right[-1], "reads/steps": np.array(READ),
        "reads/accuracy": np.mean(test.right, axis=1),
    }  # fmt: skip
    return Outcome(numbers, {**learned.curves(), **arrays}, spec)


def follow(net: Engine, x: np.ndarray, y: np.ndarray) -> Course:
    """Settle samples and read their answers on the way."""
    settled = net.relax(x, solver=Picard(ALPHA), tol=TOL, max_steps=LONGEST)
    early = net.relax(x, solver=Picard(ALPHA), tol=None, max_steps=EARLY)
    state, taken = net.relax(x, solver=Picard(ALPHA), tol=None, max_steps=0), 0
    right, margin = [], []
    for steps in READ:
        state = net.relax(x, start=state, solver=Picard(ALPHA), tol=None, max_steps=steps - taken)
        taken = steps
        answer = np.asarray(net.to_numpy(net.output(state)), float)
        best = np.sort(answer, axis=1)
        margin.append(best[:, -1] - best[:, -2])
        right.append(np.argmax(answer, axis=1) == y)
    final = np.asarray(net.to_numpy(net.output(settled)), float)
    entropy = -np.sum(final * np.log(np.maximum(final, 1e-300)), axis=1)
    return Course(
        settled.steps, settled.converged, np.asarray(early.residual), np.array(right), np.array(margin), entropy
    )


def _correlations(test: Course) -> dict[str, float]:
    steps = test.steps.astype(float)
    found: dict[str, float] = {"steps": float(steps.mean()), "sd of steps": float(steps.std())}
    found["settled"] = float(np.mean(test.settled))
    for name, hardness in (("margin", -test.margin[-1]), ("entropy", test.entropy)):
        rho = spearman(steps, hardness)
        found |= {f"rho, {name}": rho.rho, f"rho, {name}, low": rho.low, f"rho, {name}, high": rho.high}
    return found


def _uncertainty(test: Course) -> dict[str, float]:
    """How well the residual after a few steps, and the final entropy, tell wrong answers from right ones."""
    wrong = ~test.right[-1]
    return {"auroc, residual": auroc(test.residual, wrong), "auroc, entropy": auroc(test.entropy, wrong)}


def _exits(chosen_on: Course, test: Course) -> dict[str, float]:
    """Stop a sample when its answer leads by enough; how much is chosen on samples that were not trained."""
    found: dict[str, float] = {}
    for name, threshold in (("exit", least_threshold(chosen_on)), ("careful exit", careful_threshold(chosen_on))):
        saved, lost = saving(test, threshold)
        found |= {f"{name} threshold": threshold, f"{name} saving": saved, f"{name} loss": lost}
    return found


def _limit(chosen_on: Course, test: Course) -> dict[str, float]:
    """One limit of steps for all: the first at which the held-out answers are as good as at the end."""
    good = np.mean(chosen_on.right, axis=1) >= np.mean(chosen_on.right[-1])
    first = int(np.argmax(good))
    loss = float(np.mean(test.right[-1]) - np.mean(test.right[first]))
    return {"limit steps": float(READ[first]), "limit loss": loss}


def least_threshold(course: Course) -> float:
    """The smallest lead at which stopping costs none of these samples' accuracy."""
    for threshold in LEADS:
        if saving(course, threshold)[1] <= 0.0:
            return float(threshold)
    return 1.0


def careful_threshold(course: Course, asked: float = ASKED) -> float:
    """The largest lead at which stopping still saves these samples the part of their steps that is asked for."""
    return float(max((lead for lead in LEADS if saving(course, lead)[0] >= asked), default=max(LEADS)))


def saving(course: Course, threshold: float) -> tuple[float, float]:
    """The part of all steps that stopping at this lead saves, and the part of the answers that it costs."""
    steps, right = exits(course, threshold)
    full = np.minimum(course.steps, READ[-1])
    whole = float(np.mean(full))
    saved = 1.0 - float(np.mean(np.minimum(steps, full))) / whole if whole > 0.0 else 0.0
    return saved, float(np.mean(course.right[-1]) - np.mean(right))


def exits(course: Course, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps after which each sample stops, and whether its answer was right then."""
    leads = course.margin >= threshold
    first = np.where(leads.any(axis=0), np.argmax(leads, axis=0), len(READ) - 1)
    return np.array(READ)[first], course.right[first, np.arange(course.right.shape[1])]


def auroc(score: Float64[np.ndarray, " samples"], positive: Bool[np.ndarray, " samples"]) -> float:
    """The chance that a positive sample scores above a negative one; not a number where one kind is missing."""
    above, below = score[positive], score[~positive]
    if not len(above) or not len(below):
        return math.nan
    wins = np.mean(above[:, None] > below[None, :]) + 0.5 * np.mean(above[:, None] == below[None, :])
    return float(wins)


def figure(results: Results) -> Figure:
    """How steps go with the margin on every network, the samples of one of them, and what leaving early costs."""
    page = blank(14.0, 4.6)
    left, middle, right = page.subplots(1, 3)
    local = results.where(rule="local")
    names = [words(cell) for cell in local]
    rhos = {
        rule: [kin(results, cell, rule).values("rho, margin") for cell in local] for rule in results.choices("rule")
    }
    detail = "Spearman ρ over test samples, a dot a seed"
    grouped(left, names, rhos, "Steps and a small margin", detail, "ρ")
    left.axhline(0.0, color=MUTED, lw=1, ls="--")
    if rhos:
        key(left)
    _samples(middle, local)
    dress(right, "Leaving early", "local learning, mean over seeds", "steps saved (%)", "answers lost (points)")
    for color, cell in zip(CYCLE, local, strict=False):
        saved, lost = (100.0 * courses(cell, f"exits/{name}") for name in ("saving", "loss"))
        if saved.size:
            right.plot(saved.mean(axis=0), lost.mean(axis=0), color=color, lw=1.6, label=words(cell))
    if right.lines:
        right.axvspan(100 * LEAST, 100 * ASKED, color=MUTED, alpha=0.15, lw=0, label="asked for")
        right.set_yscale("symlog", linthresh=1.0)
        key(right, beside=True)
    else:
        nothing(right, "the samples were not kept")
    return page


def _samples(axes: Axes, local: Results) -> None:
    """Samples of the network whose steps differ most, its first seed: how far from sure it is, and their steps."""
    kept = [cell for cell in local if "samples/steps" in cell.runs[0].arrays]
    if not kept:
        nothing(axes, "the samples were not kept")
        return
    cell = max(kept, key=lambda one: one.mean("sd of steps"))
    run = cell.runs[0]
    dress(axes, "Steps and margin", f"{words(cell)}, seed {run.seed}, test samples", "1 − lead of the answer", "steps")
    good, missing = run.arrays["samples/right"].astype(bool), 1.0 - run.arrays["samples/margin"]
    for keep, word, color in ((good, "right", BLUE), (~good, "wrong", VERMILLION)):
        axes.plot(missing[keep], run.arrays["samples/steps"][keep], ".", ms=4, color=color, label=word)
    axes.set_xscale("log")
    key(axes)


EXPERIMENT = Experiment(
    name="adaptive_compute",
    number=7,
    question="Do hard samples take more steps to settle, does the residual say how sure the network is, and can the "
    "others stop early?",
    prior="none: all samples took 10 steps at one tolerance for the batch",
    bar="Spearman ρ with its interval; 30–50 % of the steps saved at no loss",
    configuration=Adaptive,
    configurations=configurations,
    run=run,
    figure=figure,
    verdict=partial(verdict, early=EARLY, tol=TOL),
    columns=(
        Column("accuracy", "accuracy, %", ".2f", 100.0),
        Column("steps", "steps", ".1f"),
        Column("sd of steps", "sd over samples", ".2f"),
        Column("rho, margin", "ρ, margin", ".2f"),
        Column("rho, entropy", "ρ, entropy", ".2f"),
        Column("auroc, residual", "AUROC, residual", ".2f"),
        Column("careful exit saving", "careful exit saves, %", ".1f", 100.0),
        Column("careful exit loss", "and costs, points", ".2f", 100.0),
        Column("exit saving", "earliest exit saves, %", ".1f", 100.0),
        Column("exit loss", "and costs, points", ".2f", 100.0),
        Column("limit steps", "one limit, steps", ".0f"),
        Column("limit loss", "and costs, points", ".2f", 100.0),
    ),
)
