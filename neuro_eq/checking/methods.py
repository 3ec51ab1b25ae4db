"""Gradient methods against each other, against differences of the cost, and over β; float64 on the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from neuro_eq.checking.catalogue import EXACT, NEEDS_SYMMETRY, NUDGING, ORDER, named_methods
from neuro_eq.checking.differences import derivative
from neuro_eq.checking.report import Curve, Row, Section, Verdict, judged, note
from neuro_eq.checking.subject import Subject
from neuro_eq.comparison import cosine, numbers, relative
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import NeuroEqError
from neuro_eq.methods import Evidence, GradientMethod
from neuro_eq.solvers import Relaxation

BETAS = (0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3)
"""The nudges over which an error is followed."""

EQUAL = 1e-9
"""To which methods without a nudge agree."""

SMALL = {1: 1e-2, 2: 1e-4}
"""The error that an estimate of this order may have at the smallest β; a curved network needs smaller ones."""

DIFFERENCES = 1e-6
"""To which a derivative agrees with differences of the cost that are themselves sure of it."""

ABOVE_THE_FLOOR = 30.0
"""A point of a curve shows its order only where it is so many times above what settling and rounding leave."""

LEAST_ORDER = 0.9
"""The part of the expected power of β that a fitted one has to reach: three points at small but finite β."""

ALIGNED = 0.999
"""The cosine that a network with kinks has to reach, where the error does not fall with a power of β."""


def check_methods(subject: Subject, say: Callable[[str], None]) -> tuple[list[Row], list[Curve]]:
    """Everything about gradients that one engine is enough for."""
    section = Section.METHODS
    if not subject.rest.converged.all():
        bad = int(np.sum(~subject.rest.converged))
        return [
            note(section, "", "gradients", None, f"{bad} of {subject.batch} samples have no free fixed point that "
                 "the oracle reaches, so no gradient there is defined; see convergence")
        ], []  # fmt: skip
    net = subject.oracle
    say("implicit differentiation")
    try:
        exact, evidence = subject.gradient(next(iter(EXACT.values()))(), net, subject.exact)
    except NeuroEqError as error:
        return [Row(section, "", "implicit gradient", None, None, Verdict.MISSED, str(error))], []
    truth = numbers(net, exact)
    rows = [_adjoint(evidence)]
    if not any(np.any(value) for value in truth.values()):
        says = "the gradient is zero: the samples are fitted, or every unit between parameters and cost is saturated"
        rows.append(note(section, "", "gradients", 0.0, says))
        return rows, []
    against = _differences(subject, truth, say)
    rows += against
    sound = not any(row.verdict is Verdict.MISSED for row in against)
    methods, _ = named_methods(subject.spec, subject.beta)
    for name in list(EXACT)[1:]:
        if name in methods:
            say(name)
            found, proof = subject.gradient(methods[name], net, subject.exact)
            rows.append(_equal(subject, name, numbers(net, found), truth, proof, sound))
    curves: list[Curve] = []
    for name, make in NUDGING.items():
        if name in methods:
            say(f"{name} over β")
            curve, places = follow(subject, name, make, truth)
            curves.append(curve)
            rows += judge(subject, curve, places, sound)
    rows += _kinks(curves)
    rows += _as_asked(subject, methods, truth, curves)
    return rows, curves


def _beside_a_wrong_yardstick(row: Row) -> Row:
    """What is judged by the implicit gradient says nothing where that is wrong itself."""
    if row.verdict is not Verdict.MISSED:
        return row
    return replace(row, says="judged by the implicit gradient, which is wrong itself: see its rows first")


def _adjoint(evidence: Evidence) -> Row:
    assert evidence.adjoint_residual is not None, "the yardstick solves an adjoint equation"
    worst = float(np.max(evidence.adjoint_residual))
    return judged(
        Section.METHODS, "ImplicitDifferentiation", "residual of the adjoint", worst, 1e-10,
        "the adjoint equation (I − Dᵀρ')μ = ∂C/∂a is near-singular, so the gradient is nearly undefined: lower gain",
    )  # fmt: skip


def _differences(subject: Subject, truth: dict[str, np.ndarray], say: Callable[[str], None]) -> list[Row]:
    rows = []
    for draw, name in enumerate(truth):
        say(f"differences of the cost: {name}")
        found = derivative(subject, truth, name, draw)
        what = f"{name} against differences"
        doubt, error = found.doubt, found.error
        if not np.isfinite(doubt) or doubt > 1e-3:
            rows.append(note(
                Section.METHODS, "ImplicitDifferentiation", what, error if np.isfinite(error) else None,
                f"differences of the cost are unsure by {doubt:.0e} of the derivative: zero, a jump or a kink",
            ))  # fmt: skip
            continue
        tolerance = max(DIFFERENCES, 10.0 * doubt)
        rows.append(judged(
            Section.METHODS, "ImplicitDifferentiation", what, error, tolerance,
            f"the implicit gradient of {name} is off by {error:.1e} from differences of the cost: its drive_vjp, or "
            "the response, transposed or slope of what lies between it and the cost, is wrong",
        ))  # fmt: skip
    return rows


def _equal(
    subject: Subject,
    name: str,
    found: dict[str, np.ndarray],
    truth: dict[str, np.ndarray],
    proof: Evidence,
    sound: bool,
) -> Row:
    error = relative(found, truth)
    if proof.unsettled:
        return Row(
            Section.METHODS, name, "against implicit", error, EQUAL, Verdict.MISSED,
            f"the adjoint of {proof.unsettled} of {subject.batch} samples does not settle by relaxation: the spectral "
            "radius is too large; lower alpha or gain",
        )  # fmt: skip
    row = judged(
        Section.METHODS, name, "against implicit", error, EQUAL,
        "two ways of solving one adjoint equation differ: a transposed or slope is not linear or not what it says",
    )  # fmt: skip
    return row if sound else _beside_a_wrong_yardstick(row)


def follow(
    subject: Subject, name: str, make: Callable[[float], GradientMethod], truth: dict[str, np.ndarray]
) -> tuple[Curve, dict[str, float]]:
    """A method's error over β, and at the smallest β the part of each parameter in it."""
    net = subject.oracle
    how = Relaxation(solver=subject.settling.solver, tol="nudge", eta=1e-9, max_steps=subject.exact.max_steps)
    errors, cosines, floors, crossing = [], [], [], []
    places: dict[str, float] = {}
    for beta in BETAS:
        gradient, evidence = subject.gradient(make(beta), net, how)
        found = numbers(net, gradient)
        errors.append(_finite(relative(found, truth)))
        cosines.append(_finite(cosine(found, truth), otherwise=0.0))
        heard = evidence.nudge_size > 0
        left = np.max(evidence.residual[heard] / evidence.nudge_size[heard]) if heard.any() else 0.0
        floors.append(_finite(float(left)))
        crossing.append(crossed(subject, net, evidence))
        places = {key: _finite(relative({key: found[key]}, {key: truth[key]})) for key in truth}
    expected = ORDER.get(name, 2)
    if name in NEEDS_SYMMETRY and not subject.symmetric:
        expected = 0
    curve = Curve(name, expected, BETAS, tuple(errors), tuple(cosines), tuple(floors), tuple(crossing))
    return curve, places


def crossed(subject: Subject, net: Engine, evidence: Evidence) -> float:
    """The fraction of units whose slope ρ' differs between the phases, for activations with kinks; else 0."""
    if not subject.kinked or not evidence.nudged:
        return 0.0
    phases = [_slopes(net, phase) for phase in (evidence.free, *evidence.nudged)]
    different = sum(
        np.sum(np.any([phase[name] != phases[0][name] for phase in phases[1:]], axis=0)) for name in subject.kinked
    )
    return float(different) / (subject.batch * subject.spec.free_units)


def _slopes(net: Engine, phase: Equilibrium) -> dict[str, np.ndarray]:
    ones = {name: net.asarray(np.ones(value.shape)) for name, value in phase.states.items()}
    return numbers(net, net.slope(phase, ones))


def order(curve: Curve) -> float | None:
    """The power p of ``error ∝ β^p``, fitted to the three smallest β whose error is above the floor."""
    seen = [
        (beta, error)
        for beta, error, floor in zip(curve.betas, curve.errors, curve.floors, strict=True)
        if error > ABOVE_THE_FLOOR * floor and np.isfinite(error)
    ][-3:]
    if len(seen) < 2:
        return None
    betas, errors = np.array(seen).T
    return float(np.polyfit(np.log(betas), np.log(errors), 1)[0])


def judge(subject: Subject, curve: Curve, places: dict[str, float], sound: bool) -> list[Row]:
    """What a curve means, if the yardstick is sound; and where it is not, only whether the phases settle."""
    section, method, last = Section.METHODS, curve.method, curve.betas[-1]
    angle, floor = curve.cosines[-1], curve.floors[-1]
    if curve.expected == 0:
        return [note(
            section, method, f"cosine at β = {last:g}", angle,
            f"the network is not symmetric, so {method} stays biased however small β is; use AsymEP or an exact one",
        )]  # fmt: skip
    if floor > 1e-2:
        return [judged(
            section, method, f"residual / nudge at β = {last:g}", floor, 1e-2,
            "the nudged phases do not settle even with many steps: lower alpha, or gain",
        )]  # fmt: skip
    rows = _by_the_yardstick(subject, curve, places)
    return rows if sound else [_beside_a_wrong_yardstick(row) for row in rows]


def _by_the_yardstick(subject: Subject, curve: Curve, places: dict[str, float]) -> list[Row]:
    section, method, last = Section.METHODS, curve.method, curve.betas[-1]
    error, angle, floor = curve.errors[-1], curve.cosines[-1], curve.floors[-1]
    worst = max(places, key=places.__getitem__)
    if not subject.smooth:
        return [judged(
            section, method, f"cosine at β = {last:g}", angle, ALIGNED,
            f'the estimate points elsewhere, mostly in "{worst}" (off by {places[worst]:.0e}); '
            f"{curve.crossing[-1]:.1%} of the units cross a kink there",
            at_least=True,
        )]  # fmt: skip
    power = order(curve)
    if power is None or error <= max(ABOVE_THE_FLOOR * floor, EQUAL):
        # The curve has reached what settling leaves: its order is worth saying, and the limit is what counts.
        allowed = max(ABOVE_THE_FLOOR * floor, EQUAL)
        rows = [judged(section, method, f"error at β = {last:g}", error, allowed, "")]
        if power is not None and power >= LEAST_ORDER * curve.expected:
            rows.append(judged(section, method, "order in β", power, LEAST_ORDER * curve.expected, "", at_least=True))
        return rows
    power_row = judged(
        section, method, "order in β", power, LEAST_ORDER * curve.expected,
        f"the error does not fall as β^{curve.expected}: it is {error:.1e} at β = {last:g}, mostly in "
        f'"{worst}" (off by {places[worst]:.1e}), so the energy or drive and the gradient of it do not belong together',
        at_least=True,
    )  # fmt: skip
    limit = SMALL[curve.expected] if curve.expected in SMALL else SMALL[2]
    what = f"error at β = {last:g}"
    if error > limit and power_row.verdict is Verdict.OK:
        return [power_row, note(
            section, method, what, error,
            "it falls as it should, but from a high level: this network is curved, so β has to be small",
        )]  # fmt: skip
    return [power_row, judged(section, method, what, error, limit, power_row.says)]


def _kinks(curves: list[Curve]) -> list[Row]:
    """How many units cross a kink between the phases, said once: of the method whose phases are furthest apart."""
    crossing = [curve for curve in curves if any(curve.crossing)]
    if not crossing:
        return []
    widest = max(crossing, key=lambda curve: max(curve.crossing))
    parts = zip(widest.betas, widest.crossing, strict=True)
    where = ", ".join(f"{part:.2%} at β = {beta:g}" for beta, part in parts if part)
    return [note(
        Section.METHODS, "", "units that cross a kink, at most", max(widest.crossing),
        f"between the phases units cross a kink of their activation ({where}), so the error follows no power of β and "
        "gradients are judged by their cosine",
    )]  # fmt: skip


def _as_asked(
    subject: Subject, methods: dict[str, GradientMethod], truth: dict[str, np.ndarray], curves: list[Curve]
) -> list[Row]:
    """The gradient as training would take it: the settling that was asked for, at the β that was asked for."""
    name = next((name for name in ("EqProp, centered", "AsymEP") if name in methods), None)
    if name is None:
        return []
    net, how = subject.oracle, subject.settling
    gradient, evidence = subject.gradient(methods[name], net, how)
    found = numbers(net, gradient)
    group, section = f"as asked: {name}", Section.METHODS
    loud = evidence.nudge_size > 100.0 * evidence.rounding
    rows = []
    if not loud.any():
        says = "the nudge is lost in rounding: a larger β would help"
        rows.append(note(section, group, "residual / nudge", None, says))
    else:
        ratio = np.where(loud, evidence.residual / np.where(loud, evidence.nudge_size, 1.0), 0.0)
        worst = _finite(float(np.max(ratio)))
        at = int(np.argmax(ratio))
        rows.append(judged(
            section, group, f"residual / nudge, ≤ {how.max_steps} steps", worst, 1e-2,
            f"a residual of {float(evidence.residual[at]):.0e} is {100 * worst:.2g} % of the nudge "
            f"({evidence.unsettled} of {subject.batch} samples are above 1 %): raise max_steps, or take a larger β",
        ))  # fmt: skip
    error, angle = _finite(relative(found, truth)), _finite(cosine(found, truth), otherwise=0.0)
    says = f"relative to the exact gradient, with a cosine of {angle:.6f}"
    if error > 0.1:
        curve = next(curve for curve in curves if curve.method == name)
        better = next((beta for beta, off in zip(curve.betas, curve.errors, strict=True) if off <= 0.05), None)
        if better is not None and better < subject.beta:
            says += f"; at β = {better:g} the error is below 5 %, settled as far as it goes"
    rows.append(note(section, group, f"error at β = {subject.beta:g}", error, says))
    return rows


def _finite(value: float, otherwise: float = float("inf")) -> float:
    return float(value) if np.isfinite(value) else otherwise
