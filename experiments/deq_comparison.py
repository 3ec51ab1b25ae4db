"""Question 10: one network under equilibrium propagation and under what deep equilibrium models are trained by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from neuro_eq.datasets import Data, load_data
from neuro_eq.engine import Engine
from neuro_eq.experiments.machinery.drawing import blank, grouped, key
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
from neuro_eq.experiments.machinery.judging import all_of, gap, judged, share
from neuro_eq.experiments.machinery.results import Cell, Results, number
from neuro_eq.experiments.training.diagnostics import Diagnostics
from neuro_eq.experiments.training.footprint import footprint, parameter_bytes, processor_seconds
from neuro_eq.experiments.training.lessons import Lessons, Rule
from neuro_eq.experiments.training.loop import learn
from neuro_eq.models import energy_transformer, looped_mlp
from neuro_eq.solvers import Picard, Relaxation
from neuro_eq.spec import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RULES: tuple[Rule, ...] = ("local", "implicit", "jfb", "phantom", "bptt")

KNOWN = "diagnostics/exact converged"
"""The share of the probe for which the exact gradient, against which errors are taken, converged."""

SMALL, SETTLED = 0.04, 1e-4
"""What part of training's nudge shows whether it is the nudge that an error comes from, and η of its phases."""

PATIENT = "gradient error, small nudge"


class Compared(Configuration):
    """One rule on one network.

    Args:
        rule: the gradient; everything else is the same.
        model: ``"looped_mlp"``, its directed kin, or ``"energy_transformer"``.
        train, test: so many of the digits.
        steps: the most steps of a phase, and those that backpropagation goes through.
    """

    backend: str = "torch"
    rule: Rule
    model: str = "looped_mlp"
    hidden: int = 128
    train: int = 1437
    test: int = 360
    epochs: int = 30
    lr: float = 2e-3
    beta: float = 0.5
    steps: int = 100

    @property
    def label(self) -> str:
        return f"{self.model}, {self.rule}"


def configurations(scale: Scale) -> list[Compared]:
    """Five rules; the larger scales have three networks."""
    if scale == "quick":
        return [Compared(rule=r, hidden=16, train=128, test=64, epochs=1, lr=1e-2, steps=40) for r in RULES]
    models = {"looped_mlp": (128, 30), "looped_mlp, directed": (128, 30), "energy_transformer": (32, 15)}
    if scale == "full":
        models = {name: (2 * hidden, 2 * epochs) for name, (hidden, epochs) in models.items()}
    return [
        Compared(rule=r, model=m, hidden=h, epochs=e, dtype="float32") for m, (h, e) in models.items() for r in RULES
    ]


def network(config: Compared, data: Data) -> Network:
    """The network of a row."""
    if config.model == "energy_transformer":
        return energy_transformer(
            (8, 8), data.outputs, patch=2, width=config.hidden, heads=4, patterns=2 * config.hidden
        )
    return looped_mlp(data.features, config.hidden, data.outputs, symmetric=config.model == "looped_mlp")


def run(config: Compared, seed: int) -> Outcome:
    """Train; then the time of a gradient as training has it, and its memory in a process of its own."""
    data = load_data("digits").subset(config.train, config.test)
    spec = network(config, data)
    how = Lessons(
        rule=config.rule, beta=config.beta, epochs=config.epochs, lr=config.lr, schedule="cosine",
        max_steps=config.steps, batch_size=32,
    )  # fmt: skip
    probe = Diagnostics(data.x_test[:32], data.y_test[:32], how)
    with config.compiled(spec, seed) as net:
        learned = learn(net, data, how, seed, watch=probe)
        seconds = seconds_of_a_step(net, how, data)
        patient = error_of_a_small_nudge(net, how, probe) if config.rule == "local" else math.nan
    task = {"steps": config.steps, "batch": 32, "beta": config.beta, "dtype": config.dtype}
    took = footprint(spec, way=config.rule, rounds=0, **task)  # for its memory alone
    numbers = {
        "accuracy": learned.last.test_accuracy,
        "train accuracy": learned.last.train_accuracy,
        "ended early": float(bool(learned.ended)),
        "step seconds": seconds,
        "steps, nudged": probe.last("steps, nudged"),
        "peak bytes": took["allocated"],
        "peak bytes of the process": took["process"],
        "parameter bytes": float(parameter_bytes(spec, config.dtype)),
        "gradient error, at first": probe.rows[0].get("relative error", math.nan),
        "gradient error, at last": probe.last("relative error"),
        PATIENT: patient,
        "least cosine": probe.least("cosine"),
        "L, after": probe.last("L"),
        "steps, after": probe.last("steps, free"),
    }
    return Outcome(numbers, {**learned.curves(), **probe.curves()}, spec)


def seconds_of_a_step(net: Engine, how: Lessons, data: Data, rounds: int = 5) -> float:
    """The processor's time for one gradient of a batch, as training takes it: the trained network, its own phases."""
    method, x, y = how.method(net.spec), data.x_train[: how.batch_size], data.y_train[: how.batch_size]

    def step() -> object:
        return method.gradient(net, x, y, free=how.free, nudged=how.nudged)

    step()
    return processor_seconds(step, rounds)


def error_of_a_small_nudge(net: Engine, how: Lessons, probe: Diagnostics) -> float:
    """Of the gradient, relative to the true one, with a nudge and a patience that training does not have."""
    settled = Relaxation(solver=Picard(how.alpha), eta=SETTLED, max_steps=5000)
    found, _ = how.method(net.spec, SMALL * how.beta).gradient(net, probe.x, probe.y, free=settled)
    return probe.against_the_truth(net, found).get("relative error", math.nan)


# -- what the results say -------------------------------------------------------------------------------------------


def verdict(results: Results) -> Verdict:
    """EqProp beside each of the others, on every network."""
    claims: list[Claim] = []
    for model in results.choices("model"):
        cells = {cell.configuration.rule: cell for cell in results.where(model=model)}
        ours, bptt = cells.get("local"), cells.get("bptt")
        if ours is None:
            continue
        claims.append(_accurate(model, ours, cells))
        claims.append(_exact(model, ours, cells))
        if bptt is not None:
            claims.append(_smaller(model, ours, bptt))
            claims.append(_time(model, ours, cells))
    return Verdict(tuple(claims), (_slow(results),))


def _accurate(model: str, ours: Cell, cells: dict[str, Cell]) -> Claim:
    says = f"{model}: local learning is within a point of the best"
    best = max(cells.values(), key=lambda cell: cell.mean("accuracy"))
    behind = 100.0 * (best.mean("accuracy") - ours.mean("accuracy"))
    found = "; ".join(f"{rule} {cell.said('accuracy', '.2f', 100, ' %')}" for rule, cell in cells.items())
    why = f"{behind:.2f} points behind {best.configuration.rule}" if best is not ours else ""
    return judged(says, gap(ours, best).within(0.01) if best is not ours else True, found, "", why)


def _exact(model: str, ours: Cell, cells: dict[str, Cell]) -> Claim:
    says = f"{model}: its gradient is nearer to the true one than those of JFB and the phantom"
    biased = [cells[rule] for rule in ("jfb", "phantom") if rule in cells]
    name = "gradient error, at last"
    found = "; ".join(f"{rule} {cell.said(name, '.1e')}" for rule, cell in cells.items())
    holds = all_of(gap(cell, ours, name).decided for cell in biased)
    doubtful = [rule for rule, cell in cells.items() if not _truth_is_known(cell)]
    why = f"ours at β = {ours.configuration.beta:g}"
    if PATIENT in ours:
        why += f"; settled at β = {SMALL * ours.configuration.beta:g} it is {ours.said(PATIENT, '.1e')}"
    if doubtful:
        # What is not exact cannot tell who is nearer to it.
        holds = None
        why += f"; the exact gradient is not known to have converged for every sample and run of: {', '.join(doubtful)}"
    return judged(says, holds, f"relative error after training: {found}", "", why)


def _truth_is_known(cell: Cell) -> bool:
    """Whether the exact gradient, against which errors are taken, converged at the end of every run."""
    courses = [run.arrays.get(KNOWN, np.zeros(0)) for run in cell.runs]
    return all(len(course) and course[-1] == 1.0 for course in courses)


def _smaller(model: str, ours: Cell, bptt: Cell) -> Claim:
    says = f"{model}: it takes less memory than backpropagation through time"
    taken = share(ours, bptt, "peak bytes")
    found = f"{number(taken.of, '.3f')} of its activations ({ours.mean('peak bytes') / 1e6:.2f} of "
    return judged(says, taken.below(1.0), found + f"{bptt.mean('peak bytes') / 1e6:.2f} MB)", "1.06 of BP")


def _time(model: str, ours: Cell, cells: dict[str, Cell]) -> Claim:
    says = f"{model}: a gradient takes at most three times as long as by backpropagation through time"
    shares = {rule: share(cell, cells["bptt"], "step seconds") for rule, cell in cells.items()}
    found = "; ".join(f"{rule} {each.said('.2f')}" for rule, each in shares.items() if rule != "bptt")
    found = f"of BPTT's processor time: {found}"
    if "steps, nudged" in ours:
        free, nudged = (number(ours.mean(f"steps, {phase}"), ".0f") for phase in ("after", "nudged"))
        found += f"; {free} free and twice {nudged} nudged steps, BPTT {cells['bptt'].configuration.steps} and back"
    return judged(says, shares[ours.configuration.rule].at_most(3.0), found)


def _slow(results: Results) -> Criterion:
    ratios = []
    for model in results.choices("model"):
        ours, bptt = results.first(model=model, rule="local"), results.first(model=model, rule="bptt")
        if ours is not None and bptt is not None:
            ratios.append(share(ours, bptt, "step seconds").of)
    worst = max(ratios, default=math.nan)
    met = None if math.isnan(worst) else worst > 200.0
    return Criterion(
        "TERMINATE: more than 200 times backpropagation in time", met, f"{number(worst, '.2f')} times BPTT"
    )


def figure(results: Results) -> Figure:
    """Accuracy, time, memory and gradient error of every rule on every network."""
    page = blank(10.5, 8.4)
    panels = page.subplots(2, 2)
    models = results.choices("model")
    shown = (
        ("accuracy", "Accuracy", "test samples, after training", "%", 100.0),
        ("step seconds", "Time of a gradient", "of a batch of 32, as training takes it", "processor time, ms", 1e3),
        ("peak bytes", "Peak memory of a gradient", "above parameters and data, batch 32", "MB", 1e-6),
        ("gradient error, at last", "Error of the gradient", "relative to the exact one, after training", "", 1.0),
    )
    for axes, (name, title, detail, what, scale) in zip(panels.flat, shown, strict=True):
        dots = {str(rule): [scale * results.where(model=m, rule=rule).values(name) for m in models] for rule in RULES}
        grouped(axes, models, dots, title, detail, what, logarithmic=name != "accuracy")
    if models:
        key(panels[0, 1], beside=True)
    return page


EXPERIMENT = Experiment(
    name="deq_comparison",
    number=10,
    question="What do equilibrium propagation, implicit differentiation, JFB, the phantom gradient and backpropagation "
    "through time make of one network?",
    prior="planned",
    bar="one table: accuracy, time of a step, peak bytes and gradient error, five seeds",
    configuration=Compared,
    configurations=configurations,
    run=run,
    figure=figure,
    verdict=verdict,
    columns=(
        Column("accuracy", "accuracy, %", ".2f", 100.0),
        Column("step seconds", "gradient, ms", ".1f", 1e3),
        Column("steps, after", "free steps", ".0f"),
        Column("steps, nudged", "nudged steps", ".0f"),
        Column("peak bytes", "activations, MB", ".2f", 1e-6),
        Column("peak bytes of the process", "process, MB", ".1f", 1e-6),
        Column("gradient error, at first", "error at first", ".1e"),
        Column("gradient error, at last", "error at last", ".1e"),
        Column(PATIENT, "error, small β", ".1e"),
        Column("L, after", "L after", ".2f"),
    ),
    alone=True,
    engines=("torch",),
    curves=(KNOWN,),
)
