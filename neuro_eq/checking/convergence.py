"""Whether and where the network settles: from several starts, in how many steps, downhill, and with which α."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from neuro_eq.checking.report import Row, Section, Trace, Verdict, judged, note
from neuro_eq.checking.subject import BUDGET, ROUNDINGS, Subject
from neuro_eq.comparison import largest, numbers
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium, Status
from neuro_eq.krylov import largest_modulus
from neuro_eq.methods.base import nudge_size, tolerance
from neuro_eq.relaxing import Settling, Task
from neuro_eq.solvers import Picard
from neuro_eq.vectors import Vectors

STARTS = 3
"""Random starts beside the zero one."""

PLAIN_TOLERANCE = 1e-6
"""The residual that counts as settled where no nudge sets it: the default of ``relax``."""

CURVATURE = 1e-4
"""Relative accuracy of eigenvalues."""

SAME = 1e-6
"""Starts that meet are left apart by their residual of 1e-14 over 1 − L: less than this for L up to 1 − 1e-8."""

FLOW_STEPS = 200
"""Steps of the flow along which the energy is followed."""


def check_convergence(subject: Subject, say: Callable[[str], None]) -> tuple[list[Row], list[Trace]]:
    """Everything about settling, on the oracle."""
    say("settling from several starts")
    rows = _from_several_starts(subject)
    if subject.spec.has_energy:
        say("energy along the flow")
        rows += _energy(subject)
    say("residuals step by step")
    return rows, traces(subject)


def stopping(subject: Subject) -> np.ndarray:
    """The residual at which each sample counts as settled, by the settling that was asked for."""
    how, net = subject.settling, subject.oracle
    if how.tol != "nudge" or subject.y is None:
        return np.full(subject.batch, how.tol if isinstance(how.tol, float) else PLAIN_TOLERANCE)
    rest = subject.rest
    wanted = tolerance(net, rest, nudge_size(net, rest, subject.y, subject.beta), how)
    # Where a sample ran away its nudge is as large as it is, and no measure of anything; a fitted one has none.
    return np.where(rest.converged & (wanted > 0), wanted, PLAIN_TOLERANCE)


def _from_several_starts(subject: Subject) -> list[Row]:
    section, how, net = Section.CONVERGENCE, subject.settling, subject.oracle
    tol = stopping(subject)
    starts = [None, *subject.starts(STARTS)]
    found = [net.relax(subject.x, start=start, solver=how.solver, tol=tol, max_steps=how.max_steps) for start in starts]
    status = np.concatenate([state.status for state in found])
    steps = np.concatenate([state.steps for state in found])
    failed = int(np.sum(status != Status.CONVERGED))
    ended = ", ".join(f"{np.sum(status == s)} {s.name.lower()}" for s in Status if np.any(status == s))
    furthest = float(np.max([np.max(np.nan_to_num(state.residual, nan=np.inf)) for state in found]))
    rows = [judged(
        section, "", f"runs that do not settle, of {status.size}", failed, 0.0,
        f"within {how.max_steps} steps: {ended}, largest residual {furthest:.0e}; raise max_steps, lower alpha, lower "
        "gain or use a norm budget",
    )]  # fmt: skip
    settled = status == Status.CONVERGED
    if settled.any():
        rows.append(judged(
            section, "", "steps, the slowest run that settles", float(np.max(steps[settled])), how.max_steps,
            "", )
        )  # fmt: skip
    rows.append(_one_fixed_point(subject, starts))
    return rows


def _one_fixed_point(subject: Subject, starts: list[dict[str, np.ndarray] | None]) -> Row:
    """Whether the starts meet, each settled as far as it goes."""
    net, what = subject.oracle, "distance of the fixed points from several starts"
    rest = subject.rest
    size = np.maximum(np.nan_to_num(net.rms(rest.states)), 1.0)
    tol = ROUNDINGS * net.epsilon * size
    ends = [
        net.relax(subject.x, start=start, solver=subject.settling.solver, tol=tol, max_steps=BUDGET) for start in starts
    ]
    arrived = np.all([end.converged for end in ends], axis=0)
    if not arrived.any():
        return note(Section.CONVERGENCE, "", what, None, "no sample settles from every start: nothing to compare")
    states = [{name: value[arrived] for name, value in numbers(net, end.states).items()} for end in ends]
    apart = max(largest(one, states[0]) for one in states[1:])
    return judged(
        Section.CONVERGENCE, "", what, apart, SAME * float(np.max(size)),
        f"different starts end {apart:.1g} apart: there are several fixed points, so the answer depends on where a "
        "phase starts; lower gain, or use a norm budget",
    )  # fmt: skip


# -- energy ---------------------------------------------------------------------------------------------------------


def _energy(subject: Subject) -> list[Row]:
    net, section = subject.oracle, Section.CONVERGENCE
    safe = safe_alpha(subject)
    rows = [_slope_of_the_energy(subject)]
    alpha = min(safe, 0.5)
    rise, scale = descent(subject, alpha)
    # G is a sum of as many terms as there are units and weights; each is known to a rounding of its own size.
    allowed = 64.0 * net.epsilon * scale
    rows.append(judged(
        section, "", f"largest rise of the energy along the flow, α = {alpha:.2g}", rise, allowed,
        f"the energy rises by {rise:.1e} in a step that cannot raise it: the drive is not −∂G/∂a",
    ))  # fmt: skip
    solver = subject.settling.solver
    if isinstance(solver, Picard):
        rows.append(_alpha(solver.alpha, safe))
    return rows


def _alpha(asked: float, safe: float) -> Row:
    what = "α up to which every step lowers the energy"
    if asked <= safe:
        return Row(Section.CONVERGENCE, "", what, safe, asked, Verdict.OK, at_least=True)
    return note(
        Section.CONVERGENCE, "", what, safe,
        f"α = {asked:g} was asked for, and may raise the energy or oscillate; settling is judged above",
    )  # fmt: skip


def _slope_of_the_energy(subject: Subject) -> Row:
    """``dG/du = ρ'(u) (u − drive)`` along a random direction, at random states, by differences of G."""
    net = subject.oracle
    at, direction = (subject.rng(2 + i) for i in range(2))
    u = {p.name: at.normal(size=(subject.batch, *p.shape)) for p in subject.spec.free}
    v = {name: direction.normal(size=value.shape) for name, value in u.items()}
    here = net.relax(subject.x, start=u, tol=None, max_steps=0)
    drive = net.dynamics.drive(here.activities, net.parameters)
    pull = net.slope(here, {name: u[name] - drive[name] for name in u})
    expected = sum(np.sum((pull[name] * v[name]).reshape(subject.batch, -1), axis=1) for name in u)
    terms = sum(np.sum(np.abs(pull[name] * v[name]).reshape(subject.batch, -1), axis=1) for name in u)

    def energy(h: float) -> np.ndarray:
        moved = {name: u[name] + h * v[name] for name in u}
        return np.asarray(net.energy(net.relax(subject.x, start=moved, tol=None, max_steps=0)).total)

    h = 1e-6
    found = (energy(h) - energy(-h)) / (2.0 * h)
    error = float(np.max(np.abs(found - expected) / np.where(terms > 0, terms, 1.0)))
    # Rounding of G over 2h, and kinks that lie within h: a unit in 10⁶ of them, each worth at most its own term.
    size = float(np.max(np.abs(energy(0.0)) / np.where(terms > 0, terms, 1.0)))
    return judged(
        Section.CONVERGENCE, "", "slope of the energy against the drive", error,
        1e-7 + 64.0 * net.epsilon * max(1.0, size) / h,
        f"∂G/∂u differs from ρ'(u)(u − drive) by {error:.1e}: an energy and its drive do not belong together, or a ρ "
        "is not the gradient of its Lagrangian",
    )  # fmt: skip


def safe_alpha(subject: Subject) -> float:
    """``1/(1 + κ·sup‖ρ'‖)``, ``κ = max(0, λ_max ∂²e)``, κ from the states seen: random ones and the fixed points."""
    net, spec = subject.oracle, subject.spec
    slope = max(p.activation.slope_sup(net.dynamics.own(net.parameters, p.name)) for p in spec.free)
    random = net.relax(subject.x, start=subject.starts(1)[0], tol=None, max_steps=0)
    curvature = max(float(np.max(np.nan_to_num(_curvature(subject, state)))) for state in (subject.rest, random))
    return 1.0 / (1.0 + max(curvature, 0.0) * slope)


def _curvature(subject: Subject, at: Equilibrium) -> Float64[np.ndarray, " batch"]:
    """An upper estimate of ``λ_max ∂²e = λ_max(−D)``: the largest of ``‖D‖·I − D``, less ``‖D‖``."""
    net = subject.oracle
    vectors = Vectors(net)

    def response(rows: np.ndarray) -> np.ndarray:
        return vectors.join(net.response(at, vectors.split(rows)))

    def largest_of(apply: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        found = largest_modulus(
            apply, subject.batch, subject.spec.free_units, symmetric=True, rtol=CURVATURE, max_iterations=200
        )
        return found.modulus

    norm = largest_of(response)
    # Either is known to CURVATURE of itself, and the second is at most twice the first.
    return largest_of(lambda rows: norm[:, None] * rows - response(rows)) - norm + 4.0 * CURVATURE * norm


class Descent:
    """An observer that keeps the energy before the first step and after each, and the size of its terms."""

    def __init__(self) -> None:
        self.energy: list[np.ndarray] = []
        self.scale = 0.0

    def relaxation(self, net: Engine, task: Task, settling: Settling, resumed: object) -> None:
        """Step by step."""
        while True:
            found = settling.snapshot().states[0]
            a = net.dynamics.activities(found, task.inputs, net.parameters)
            energy = net.dynamics.energy(found, a, net.parameters)
            self.energy.append(np.asarray(energy.total))
            self.scale = max(self.scale, *(float(np.max(np.abs(term))) for term in energy.terms.values()))
            if len(self.energy) > FLOW_STEPS or settling.advance(1):
                return

    def settled(self, net: Engine, task: Task, found: tuple[Equilibrium, ...]) -> None:
        """Nothing more to see."""


def descent(subject: Subject, alpha: float) -> tuple[float, float]:
    """The largest rise of any sample's energy in a step, and the largest term of the energy."""
    seen = Descent()
    start = subject.starts(1)[0]
    subject.oracle.relax(subject.x, start=start, solver=Picard(alpha), tol=None, max_steps=FLOW_STEPS, record=seen)
    energy = np.array(seen.energy)
    rise = np.max(np.diff(energy, axis=0)) if len(energy) > 1 else 0.0
    return (float(max(rise, 0.0)) if np.isfinite(rise) else float("inf")), seen.scale


# -- step by step ---------------------------------------------------------------------------------------------------


class Residuals:
    """An observer that keeps the residuals before the first step and after each."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def relaxation(self, net: Engine, task: Task, settling: Settling, resumed: object) -> None:
        """Step by step; a residual is known once the next step has been asked for."""
        while not settling.advance(1):
            self.seen.append(np.max(settling.snapshot().residual, axis=0))
        self.seen.append(np.max(settling.snapshot().residual, axis=0))

    def settled(self, net: Engine, task: Task, found: tuple[Equilibrium, ...]) -> None:
        """Nothing more to see."""


def traces(subject: Subject) -> list[Trace]:
    """Residuals of the free phase and of the nudged pair, as they were asked for."""
    net, how = subject.oracle, subject.settling
    tol = None if how.tol is None else stopping(subject)
    free = Residuals()
    start = net.relax(subject.x, solver=how.solver, tol=tol, max_steps=how.max_steps, record=free)
    found = [_trace("free", free, tol)]
    if subject.y is not None:
        nudged = Residuals()
        betas = (subject.beta, -subject.beta)
        net.relax(
            subject.x, target=subject.y, beta=betas, start=start, solver=how.solver, tol=tol,
            max_steps=how.max_steps, record=nudged,
        )  # fmt: skip
        found.append(_trace("nudged", nudged, tol))
    return found


def _trace(phase: str, seen: Residuals, tol: np.ndarray | None) -> Trace:
    residual = np.array(seen.seen)
    residual = np.where(np.isfinite(residual), residual, np.inf)
    return Trace(
        phase,
        tuple(float(value) for value in np.median(residual, axis=1)),
        tuple(float(value) for value in np.max(residual, axis=1)),
        None if tol is None else float(np.median(tol)),
    )
