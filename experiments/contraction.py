"""Question 4: how strongly do these networks contract, before and after training, with a norm budget and without?"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from neuro_eq.budget import NormBudget
from neuro_eq.contraction import lipschitz
from neuro_eq.datasets import Data
from neuro_eq.engine import Engine
from neuro_eq.errors import SpecError
from neuro_eq.experiments.contraction_claims import verdict
from neuro_eq.experiments.machinery.drawing import blank, grouped, key
from neuro_eq.experiments.machinery.experiment import (
    Column,
    Configuration,
    Experiment,
    Outcome,
    Scale,
)
from neuro_eq.experiments.machinery.results import Results
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
    # At about ten epochs, the first and the last among them.
    probe = Diagnostics(data.x_test[:16], data.y_test[:16], how, every=max(1, config.epochs // 10))
    with config.compiled(spec, seed) as net:
        before = look(net, data, config, seed)
        learned = learn(net, data, how, seed, watch=probe)
        after = look(net, data, config, seed)
        anytime = answers_after(net, data)
    numbers = {f"{name}, before": value for name, value in before.items()}
    numbers |= {f"{name}, after": value for name, value in after.items()}
    numbers |= {
        "accuracy": learned.last.test_accuracy,
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
        grouped(axes, models, bars, title, "a dot a run, over tasks and seeds", what, bars=as_bars)
    if models:
        key(panels[0])
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
    verdict=partial(verdict, steps=STEPS),
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
