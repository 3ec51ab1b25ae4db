"""Question 1: is what local learning finds the gradient, and where does that end?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from neuro_eq.checking.subject import random_samples
from neuro_eq.comparison import cosine, joined, numbers, relative
from neuro_eq.engine import Engine
from neuro_eq.equivalence import NETWORKS, SMOOTH, Equivalence, measure
from neuro_eq.equivalence.measuring import moved_start
from neuro_eq.experiments.machinery.drawing import blank, courses, key, line, nothing
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
from neuro_eq.experiments.machinery.judging import judged_each
from neuro_eq.experiments.machinery.results import Cell, Results, number
from neuro_eq.experiments.training.lessons import Lessons, Rule
from neuro_eq.figures.style import CYCLE, INK, MUTED, dress
from neuro_eq.methods import GradientMethod, HolomorphicEP, ImplicitDifferentiation
from neuro_eq.methods.dyadic import relax_adjoint
from neuro_eq.solvers import Picard, Relaxation
from neuro_eq.spec import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (0.5, 0.22, 0.1, 0.03, 0.01, 0.001, 0.0001)
"""Nudges; the last is for kinks, whose error is by the units that cross one."""

FITTED = (0.1, 0.01)
"""Nudges between which the order of the error is taken; smaller ones meet rounding, larger ones higher orders."""

LOOSE = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-4, 1e-5)
"""Residuals, as fractions of the nudge, to which the phases are settled for the figure."""

SWEPT = 0.01
"""The nudge of that figure."""

LOST = 0.99
"""A cosine below it counts as lost."""

STEPS, RADIUS = 300, 0.1
"""That backpropagation goes through; the holomorphic circle of nudges."""

NUDGING = ("local", "vector field", "one-sided vector field")


class Equal(Configuration):
    """One network, one method, one precision, several nudges where the method nudges.

    Args:
        network: a title in :data:`NETWORKS`.
        method: a rule of training, or ``"holomorphic"``.
        batches: random parameters and samples, each time others.
        size: samples in a batch.
        sweep: whether the residual is varied as well.
    """

    network: str
    method: str
    batches: int = 20
    size: int = 8
    sweep: bool = False

    @property
    def label(self) -> str:
        return f"{self.network.replace('`', '')}, {self.method}, {self.dtype}"


def configurations(scale: Scale) -> list[Equal]:
    """Every network by every method that applies; float32 by the local one."""
    if scale == "quick":
        chosen = ["`looped_mlp`, symmetric", "`looped_mlp`, not symmetric", "`layered_hopfield`, hard sigmoid"]
        return [
            Equal(network=title, method=method, batches=2, size=4, sweep=method == "local")
            for title in chosen
            for method in ("local", "vector field", "dyadic")
        ]
    batches = 20 if scale == "medium" else 100
    rows = []
    for title, make in NETWORKS.items():
        spec = make()
        local = ["local", "vector field", "one-sided vector field", "dyadic", "jfb", "phantom"]
        if spec.has_energy and _analytic(spec):
            local.append("holomorphic")
        rows += [Equal(network=title, method=m, batches=batches, sweep=m in NUDGING[:2]) for m in local]
        rows.append(Equal(network=title, method="bptt", batches=batches, backend="torch"))
        rows.append(Equal(network=title, method="local", batches=batches, backend="torch", dtype="float32"))
    return rows


def run(config: Equal, seed: int) -> Outcome:
    """Measure, and vary the residual where that is asked for."""
    spec = NETWORKS[config.network]()
    methods = methods_of(config, spec)
    found = measure(
        spec, methods, batches=config.batches, size=config.size, seed=1000 * seed, backend=config.backend,
        dtype=config.dtype,
    )  # fmt: skip
    figures: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    for name in methods:
        figures |= _figures(found, name)
        arrays[f"groups/error{name}"] = np.array([found.error(name)[group] for group in found.groups])
        arrays[f"groups/cosine{name}"] = np.array([found.cosine(name)[group] for group in found.groups])
    if config.method in NUDGING:
        ends = [figures[f"error{at(beta)}"] for beta in FITTED]
        figures["order"] = math.log(ends[0] / ends[1]) / math.log(FITTED[0] / FITTED[1]) if min(ends) > 0 else math.nan
    with config.compiled(spec, seed) as net:
        net.set_parameters(moved_start(spec, 1000 * seed))
        x, y = random_samples(spec, config.size, 1000 * seed)
        if config.method in NUDGING and config.dtype == "float64":
            figures["adjoint error"] = adjoint_error(net, x, y, methods[at(0.001)])
        if config.sweep:
            ratios, angles = against_residual(net, x, y, methods[at(SWEPT)])
            arrays |= {"sweep/ratio": ratios, "sweep/cosine": angles}
            lost = ratios[angles < LOST]
            figures["lost from"] = float(lost.min()) if lost.size else math.inf
    return Outcome(figures, arrays, spec)


def methods_of(config: Equal, spec: Network) -> dict[str, GradientMethod]:
    """By the ending of their numbers: one for each nudge, or one without."""
    if config.method == "holomorphic":
        return {"": HolomorphicEP(RADIUS, 4)}
    rule: Rule = config.method  # type: ignore[assignment]  # Lessons refuses what is no rule
    if config.method in NUDGING:
        return {at(beta): Lessons(rule=rule, beta=beta).method(spec) for beta in BETAS}
    return {"": Lessons(rule=rule, max_steps=STEPS).method(spec)}


def at(beta: float) -> str:
    """The ending of a number's name."""
    return f", β = {beta:g}"


def _analytic(spec: Network) -> bool:
    return all(s.analytic for s in spec.synapses) and all(p.activation.analytic for p in spec.free)


def _figures(found: Equivalence, name: str) -> dict[str, float]:
    estimate = found.estimates[name]
    whole = estimate.distance[:, -1] / found.size[:, -1]
    return {
        f"error{name}": found.worst(name),
        f"mean error{name}": float(np.mean(whole)),
        f"cosine{name}": found.least_cosine(name),
        f"distance{name}": float(np.mean(estimate.distance[:, -1])),
        f"residual{name}": float(np.max(estimate.residual)),
        f"crossed{name}": float(np.mean(estimate.crossed)),
    }


def adjoint_error(net: Engine, x: object, y: object, method: GradientMethod) -> float:
    """How far ``(u_−β − u_β)/2β`` is from the adjoint ``(I − Dᵀρ')⁻¹ ∂C/∂a``, relative to it."""
    how = Relaxation(solver=Picard(0.9), tol=1e-14, max_steps=5000)
    _, evidence = method.gradient(net, x, y, free=how)
    beta = float(np.real(evidence.nudged[0].beta))
    free, above = evidence.free, evidence.nudged[0]
    below, width = (evidence.nudged[1], 2.0 * beta) if len(evidence.nudged) > 1 else (free, beta)
    found = {p.name: (below.states[p.name] - above.states[p.name]) / width for p in net.spec.free}
    true = relax_adjoint(net, free, net.cost_slope(free, y), how, 0.9).mu
    return relative(numbers(net, found), numbers(net, true))


def against_residual(net: Engine, x: object, y: object, method: GradientMethod) -> tuple[np.ndarray, np.ndarray]:
    """The cosine with the true gradient where all phases stop at a fraction of the nudge: the fraction, the cosine."""
    true, _ = ImplicitDifferentiation().gradient(net, x, y)
    ratios, angles = [], []
    for eta in LOOSE:
        found, evidence = method.gradient(net, x, y, free=Relaxation(solver=Picard(0.5), eta=eta, max_steps=5000))
        left, right = numbers(net, found), numbers(net, true)
        # A nudge that moves nothing leaves no gradient, and no angle: as wrong as can be.
        angle = cosine(left, right) if np.linalg.norm(joined(left)) > 0 else 0.0
        ratios.append(float(np.median(evidence.residual / evidence.nudge_size)))
        angles.append(angle)
    return np.array(ratios), np.array(angles)


# -- what the results say -------------------------------------------------------------------------------------------


def verdict(results: Results) -> Verdict:
    """The bars of smooth networks, of kinked ones, of references, of float32."""
    double = results.where(dtype="float64")
    local = list(double.where(method="local"))
    smooth = [cell for cell in local if cell.configuration.network in SMOOTH]
    kinked = [cell for cell in local if cell.configuration.network not in SMOOTH]
    claims = (
        _bar_smooth(smooth),
        _bar_asymmetric(double),
        _biased(double),
        _reference(double, "dyadic", "dyadic EP is exact", 1e-9),
        _reference(double, "bptt", "backpropagation through time agrees", 1e-9),
        _kinks(kinked),
        _single(results.where(dtype="float32", method="local")),
        _broken(double.where(method="local")),
        _adjoint(local),
    )
    lowest = min((c.values(f"cosine{at(0.001)}").min() for c in local), default=math.nan)
    ending = Criterion(
        "TERMINATE: cosine below 0.8 at β = 0.001",
        bool(lowest < 0.8) if local else None,
        f"lowest of all networks, batches and seeds {number(float(lowest), '.4f')}",
    )
    return Verdict(claims, (ending,))


def _bar_smooth(cells: list[Cell]) -> Claim:
    says = "smooth networks: the error falls with β² and is at most 1e-5 at β = 0.001"
    small = f"error{at(0.001)}"
    good = [c for c in cells if c.values(small).max() <= 1e-5 and np.all(abs(c.values("order") - 2.0) <= 0.1)]
    found = f"networks; the worst error {number(max((c.values(small).max() for c in cells), default=0.0), '.1e')}"
    orders = np.concatenate([c.values("order") for c in cells]) if cells else np.zeros(0)
    if orders.size:
        found += f", orders {orders.min():.2f} to {orders.max():.2f}"
    missing = _not(cells, good)
    return judged_each(says, len(good), len(cells), found + missing, "symmetric: cosine 0.9972 at β = 0.001")


def _bar_asymmetric(double: Results) -> Claim:
    says = "networks that are not symmetric: AsymEP's error is at most 1e-5 at β = 0.001"
    cells = [c for c in double.where(method="local") if not NETWORKS[c.configuration.network]().has_energy]
    cells = [c for c in cells if c.configuration.network in SMOOTH]
    good = [c for c in cells if c.values(f"error{at(0.001)}").max() <= 1e-5]
    worst = max((c.values(f"error{at(0.001)}").max() for c in cells), default=0.0)
    return judged_each(
        says, len(good), len(cells), f"networks, the worst error {number(worst, '.1e')}", "0.4166 at β = 0.01"
    )


def _biased(double: Results) -> Claim:
    says = "networks that are not symmetric: the plain vector field stays wrong, however small the nudge"
    cells = [c for c in double.where(method="vector field") if not NETWORKS[c.configuration.network]().has_energy]
    large, small = f"error{at(0.1)}", f"error{at(0.001)}"
    # A right method's error is a ten-thousandth by then.
    wrong = [c for c in cells if np.all(c.values(small) > 0.5 * c.values(large))]
    found = "networks; cosine and relative error at β = 0.001: " + "; ".join(
        f"{_name(c)} {number(c.mean(f'cosine{at(0.001)}'), '.4f')}, {number(c.mean(small), '.2f')}" for c in cells
    )
    return judged_each(says, len(wrong), len(cells), found, "non-symmetric 0.4166 at β = 0.01; looped MLP 0.87")


def _reference(double: Results, method: str, says: str, bar: float) -> Claim:
    cells = list(double.where(method=method))
    good = [c for c in cells if c.values("error").max() <= bar]
    worst = max((c.values("error").max() for c in cells), default=0.0)
    found = f"networks, the worst error {number(worst, '.1e')}" + _not(cells, good)
    return judged_each(f"{says}, to {bar:g}", len(good), len(cells), found)


def _kinks(cells: list[Cell]) -> Claim:
    says = "kinked networks: cosine above 0.999 where the nudge is small"
    name = f"cosine{at(0.0001)}"
    good = [c for c in cells if c.values(name).min() > 0.999]
    found = "networks at β = 0.0001; units that cross a kink at β = 0.1: " + "; ".join(
        f"{_name(c)} {100 * c.mean(f'crossed{at(0.1)}'):.2f} %" for c in cells
    )  # fmt: skip
    return judged_each(says, len(good), len(cells), found + _not(cells, good))


def _single(cells: Results) -> Claim:
    says = "float32: cosine above 0.9999 at the best nudge"
    best = {_name(c): max((c.values(f"cosine{at(b)}").min(), b) for b in BETAS) for c in cells}
    good = [name for name, (angle, _) in best.items() if angle > 0.9999]
    missed = [f"{name} {angle:.5f} at β = {beta:g}" for name, (angle, beta) in best.items() if name not in good]
    found = "networks" + (f"; not {', '.join(missed)}" if missed else "")
    return judged_each(says, len(good), len(best), found)


def _broken(cells: Results) -> Claim:
    says = f"the gradient keeps a cosine above {LOST} while the residual is below a hundredth of the nudge"
    swept = [c for c in cells if "lost from" in c]
    good = [c for c in swept if c.values("lost from").min() > 1e-2]
    edges = [c.values("lost from").min() for c in swept]
    found = f"networks; the first is lost at res/r₀ = {number(min(edges, default=math.nan), '.2g')}"
    return judged_each(says, len(good), len(swept), found + _not(swept, good), "", "past it the nudge is not felt yet")


def _adjoint(cells: list[Cell]) -> Claim:
    says = "the nudged states themselves are the adjoint −(I − J)⁻¹∇L, to 1e-4 at β = 0.001"
    there = [c for c in cells if "adjoint error" in c]
    good = [c for c in there if c.values("adjoint error").max() <= 1e-4]
    worst = max((c.values("adjoint error").max() for c in there), default=0.0)
    found = f"networks, the worst relative error {number(worst, '.1e')}" + _not(there, good)
    return judged_each(says, len(good), len(there), found)


def _name(cell: Cell) -> str:
    return str(cell.configuration.network).replace("`", "")


def _not(cells: list[Cell], good: list[Cell]) -> str:
    missed = [_name(cell) for cell in cells if cell not in good]
    return f"; not {', '.join(missed)}" if missed else ""


KINDS = {"symmetric": "-", "not symmetric": "--", "with kinks": ":"}
"""Kinds of networks, and how their lines are drawn."""


def _kind(cell: Cell) -> str:
    title = cell.configuration.network
    if title not in SMOOTH:
        return "with kinks"
    return "symmetric" if NETWORKS[title]().has_energy else "not symmetric"


def figure(results: Results) -> Figure:
    """The error over the nudge, and the cosine over the residual; a line a network."""
    page = blank(11.5, 4.6)
    left, right = page.subplots(1, 2)
    double = results.where(dtype="float64")
    dress(left, "Error against the nudge", "of the whole gradient, worst batch, float64", "β", "relative error")
    for color, method in zip(CYCLE, NUDGING, strict=False):
        for cell in double.where(method=method):
            rows = np.array([cell.values(f"error{at(beta)}") for beta in BETAS]).T
            left.loglog(BETAS, rows.mean(axis=0), color=color, lw=1, alpha=0.8, ls=KINDS[_kind(cell)])
        left.plot([], [], color=color, label=method)
    for kind, style in KINDS.items():
        left.plot([], [], color=INK, lw=1, ls=style, label=kind)
    key(left)
    detail = f"local gradient at β = {SWEPT:g}, mean over seeds"
    dress(right, "Cosine against the residual", detail, "residual over nudge", "1 − cosine")
    colors = dict(zip(KINDS, CYCLE, strict=False))
    for cell in double.where(method="local"):
        ratios, angles = courses(cell, "sweep/ratio"), courses(cell, "sweep/cosine")
        if ratios.size:
            kind = _kind(cell)
            line(right, ratios.mean(axis=0), 1.0 - angles.mean(axis=0)[None], "", colors[kind], logarithmic=True)
    if right.lines:
        for kind, color in colors.items():
            right.plot([], [], color=color, label=kind)
        right.set_xscale("log")
        right.axhline(1.0 - LOST, color=MUTED, lw=1, ls="--", label=f"a cosine of {LOST}")
        key(right)
    else:
        nothing(right, "no run varied the residual")
    return page


EXPERIMENT = Experiment(
    name="gradient_equivalence",
    number=1,
    question="Is what local learning finds the gradient of the cost, for every model, method, nudge and precision, "
    "and where does it end?",
    prior="cosine 0.9972 at β = 0.001 (symmetric), 0.4166 at 0.01 (not symmetric), 0.87 (looped MLP)",
    bar="smooth models: order 2 in β and 1e-5 at β = 0.001, also where not symmetric; dyadic 1e-9; kinked cosine above "
    "0.999; float32 above 0.9999",
    configuration=Equal,
    engines=("reference",),
    configurations=configurations,
    run=run,
    figure=figure,
    verdict=verdict,
    columns=(
        *(Column(f"error{at(beta)}", f"error at {beta:g}", ".1e") for beta in (0.5, 0.1, 0.01, 0.001, 0.0001)),
        Column("error", "error", ".1e"),
        Column(f"cosine{at(0.22)}", "cosine at 0.22", ".4f"),
        Column(f"cosine{at(0.001)}", "cosine at 0.001", ".6f"),
        Column("cosine", "cosine", ".6f"),
        Column("order", "order", ".2f"),
        Column(f"crossed{at(0.1)}", "units across a kink at 0.1, %", ".2f", 100.0),
        Column("lost from", "lost from res/r₀", ".2g"),
        Column("adjoint error", "adjoint", ".1e"),
    ),
)
