"""Fixed points and gradients on every engine against the oracle, each by the engine's own promise.

A promise holds for a network that contracts, with activities of order one.  For any other the oracle is asked: it
computes again with drives that are off by a known little, and what that does to its answer is what rounding of the
engine's size may do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neuro_eq.abilities import Ability, Agreement
from neuro_eq.backend import Backend, backends
from neuro_eq.backend import backend as find
from neuro_eq.checking.catalogue import named_methods
from neuro_eq.checking.report import Row, Section, Skipped, Verdict, judged, note
from neuro_eq.checking.subject import PROBE, Subject
from neuro_eq.comparison import gradient_discrepancies, largest, numbers, relative
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import BackendError, NeuroEqError
from neuro_eq.methods import GradientMethod
from neuro_eq.solvers import Relaxation

SHORT = 20
"""Steps of the fixed schedule from a random start: few, so that a network that does not contract is judged too."""

COMPARED = 50
"""Steps of every phase of the gradients that engines are compared by: equal schedules agree, settled or not."""

DRAWS = 3
"""Disturbed answers of the oracle, of which the largest counts."""

HOPELESS = 1e-2
"""A tolerance beyond this fraction of what is compared judges nothing."""


@dataclass(frozen=True)
class Candidate:
    """An engine that can run the network, in one precision."""

    name: str
    dtype: str
    engine: type[Engine]

    @property
    def label(self) -> str:
        """As in ``numba float32``."""
        return f"{self.name} {self.dtype}"

    @property
    def agreement(self) -> Agreement:
        """What the engine promises in this precision."""
        return self.engine.agreement[self.dtype]


def candidates(subject: Subject, wanted: Sequence[str | Backend] | None) -> tuple[list[Candidate], list[Skipped]]:
    """The engines to hold against the oracle, and those that are skipped with the reason.

    Raises:
        BackendError: an engine that was asked for by name is unknown or not installed.
    """
    chosen: list[Candidate] = []
    skipped: list[Skipped] = []
    announced = [one if isinstance(one, Backend) else find(one) for one in wanted or ()]
    for backend in announced if wanted is not None else backends().values():
        if backend.name == "reference":
            continue
        if wanted is None and not backend.probe().available:
            skipped.append(Skipped(backend.name, backend.probe().detail))
            continue
        engine = backend.load()
        if not isinstance(subject.settling.solver, engine.solvers):
            skipped.append(Skipped(backend.name, f"it has no solver {type(subject.settling.solver).__name__}"))
            continue
        for dtype in engine.dtypes:
            try:
                engine.refuse_what_it_cannot_run(subject.spec, dtype)
            except BackendError as error:
                skipped.append(Skipped(f"{backend.name} {dtype}", str(error)))
                continue
            chosen.append(Candidate(backend.name, dtype, engine))
    return chosen, skipped


class Oracle:
    """The oracle's answers and their sensitivity, computed once for all engines."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.nets = [subject.disturbed(draw) for draw in range(DRAWS)]
        self.start = subject.starts(1)[0]
        self.methods, self.refused = named_methods(subject.spec, subject.beta)
        self._gradients: dict[str, tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]] = {}

    @property
    def betas(self) -> tuple[float, ...]:
        """The nudges of the phases that are compared."""
        return (0.0,) if self.subject.spec.cost is None else (0.0, self.subject.beta, -self.subject.beta)

    def short(self, net: Engine) -> tuple[Equilibrium, ...]:
        """Free and nudged phases on a short fixed schedule."""
        s = self.subject
        return net.relax(
            s.x, target=s.y, beta=self.betas, start=self.start, solver=s.settling.solver, tol=None, max_steps=SHORT
        )

    def settled(self, net: Engine, tol: np.ndarray) -> tuple[Equilibrium, ...]:
        """The free phase, each sample to its tolerance; no further than where the oracle met a smaller one."""
        s = self.subject
        return (net.relax(s.x, solver=s.settling.solver, tol=tol, max_steps=int(np.max(s.rest.steps)) + SHORT),)

    @cached_property
    def on_schedule(self) -> tuple[list[dict[str, np.ndarray]], float]:
        """The states of the short schedule, and how far a disturbance of relative size 1 would move them."""
        wanted = states(self.subject.oracle, self.short(self.subject.oracle))
        moved = [farthest(states(net, self.short(net)), wanted) / PROBE for net in self.nets]
        return wanted, max(moved)

    def at_convergence(self, epsilon: float) -> tuple[list[dict[str, np.ndarray]], np.ndarray, float, float]:
        """The fixed point, the tolerance at that precision, what it leaves open, and the fixed point's sensitivity."""
        s = self.subject
        wanted = states(s.oracle, (s.rest,))
        tol = 10.0 * epsilon * s.oracle.rms(s.rest.states)
        left = farthest(states(s.oracle, self.settled(s.oracle, tol)), wanted)
        deep = int(np.max(s.rest.steps))
        solver = s.settling.solver
        moved = [
            farthest(states(net, (net.relax(s.x, solver=solver, tol=None, max_steps=deep),)), wanted) / PROBE
            for net in self.nets
        ]
        return wanted, tol, left, max(moved)

    def gradient(self, name: str, method: GradientMethod) -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
        """The oracle's gradient, and the changes of it under disturbances, as of relative size 1."""
        if name not in self._gradients:
            s = self.subject
            how = Relaxation(solver=s.settling.solver, tol=None, max_steps=COMPARED)
            wanted = numbers(s.oracle, s.gradient(method, s.oracle, how)[0])
            changes = []
            for net in self.nets:
                found = numbers(net, s.gradient(method, net, how)[0])
                changes.append({key: (found[key] - value) / PROBE for key, value in wanted.items()})
            self._gradients[name] = wanted, changes
        return self._gradients[name]


def check_engines(
    subject: Subject, chosen: Sequence[Candidate], say: Callable[[str], None]
) -> tuple[list[Row], list[Skipped]]:
    """Every engine that can run the network, in every precision that it has."""
    rows: list[Row] = []
    oracle = Oracle(subject)
    skipped = [Skipped(name, reason) for name, reason in oracle.refused.items()]
    for candidate in chosen:
        say(f"{candidate.label}: compiling")
        try:
            net = subject.compile(candidate.engine, candidate.dtype)
        except NeuroEqError as error:
            rows.append(Row(Section.FIXED_POINTS, candidate.label, "compiles", None, None, Verdict.MISSED, str(error)))
            continue
        with closing(net):
            for row in _one_engine(oracle, candidate, net, skipped, say):
                rows.append(row)
    return rows, skipped


def _one_engine(
    oracle: Oracle, candidate: Candidate, net: Engine, skipped: list[Skipped], say: Callable[[str], None]
) -> Iterator[Row]:
    say(f"{candidate.label}: fixed points")
    for look in (_on_schedule, _at_convergence):
        try:
            yield look(oracle, candidate, net)
        except NeuroEqError as error:
            yield Row(Section.FIXED_POINTS, candidate.label, "settles", None, None, Verdict.MISSED, str(error))
    for name, method in oracle.methods.items():
        say(f"{candidate.label}: {name}")
        lacking = [need for need in method.needs if need in net.lacks]
        if lacking:
            why = Skipped(f"{name} on {candidate.name}", f"it cannot {lacking[0].value}: {net.lacks[lacking[0]]}")
            if why not in skipped:
                skipped.append(why)
            continue
        yield _gradient(oracle, candidate, net, name, method)


def _on_schedule(oracle: Oracle, candidate: Candidate, net: Engine) -> Row:
    wanted, sensitivity = oracle.on_schedule
    promise = candidate.agreement
    if Ability.PAIR in net.lacks or Ability.NUDGE in net.lacks:
        s = oracle.subject
        found: tuple[Equilibrium, ...] = (
            net.relax(s.x, start=oracle.start, solver=s.settling.solver, tol=None, max_steps=SHORT),
        )
    else:
        found = oracle.short(net)
    error = farthest(states(net, found), wanted[: len(found)])
    tolerance = max(promise.fixed_point, promise.noise * sensitivity)
    what = f"{SHORT} steps, {'free and nudged' if len(found) > 1 else 'free'}"
    if tolerance > HOPELESS * _size(wanted):
        return _too_sensitive(Section.FIXED_POINTS, candidate, what, error, sensitivity)
    return judged(
        Section.FIXED_POINTS, candidate.label, what, error, tolerance,
        f"after {SHORT} equal steps the states differ from the oracle's by {error:.1e}, more than rounding explains: "
        "the engine computes another network",
    )  # fmt: skip


def _at_convergence(oracle: Oracle, candidate: Candidate, net: Engine) -> Row:
    promise = candidate.agreement
    what = "free fixed point"
    settled = oracle.subject.rest.converged
    if not settled.all():
        return note(
            Section.FIXED_POINTS, candidate.label, what, None,
            f"{np.sum(~settled)} of {settled.size} samples do not settle on the oracle, so there is nothing to compare",
        )  # fmt: skip
    wanted, tol, left, sensitivity = oracle.at_convergence(net.epsilon)
    error = farthest(states(net, oracle.settled(net, tol)), wanted)
    # Both stop at the same residual, on either side of the fixed point and not always at the same step.
    tolerance = max(promise.fixed_point, promise.noise * sensitivity + 2.0 * left)
    if tolerance > HOPELESS * _size(wanted):
        return _too_sensitive(Section.FIXED_POINTS, candidate, what, error, sensitivity)
    return judged(
        Section.FIXED_POINTS, candidate.label, what, error, tolerance,
        f"it settles {error:.1e} from the oracle's fixed point: another network, another fixed point, or a stop too "
        "early",
    )  # fmt: skip


def _gradient(oracle: Oracle, candidate: Candidate, net: Engine, name: str, method: GradientMethod) -> Row:
    subject, promise = oracle.subject, candidate.agreement
    wanted, changes = oracle.gradient(name, method)
    how = Relaxation(solver=subject.settling.solver, tol=None, max_steps=COMPARED)
    try:
        found = numbers(net, subject.gradient(method, net, how)[0])
    except NeuroEqError as error:
        return Row(Section.ENGINES, candidate.label, name, None, None, Verdict.MISSED, str(error))
    noise = promise.noise
    floor = {key: noise * np.max([np.abs(change[key]) for change in changes], axis=0) for key in wanted}
    beta = getattr(method, "beta", None)
    parts = gradient_discrepancies(found, wanted, promise, beta, floor)
    whole = parts[0]
    if whole.tolerance > HOPELESS or not np.isfinite(whole.tolerance):
        return _too_sensitive(Section.ENGINES, candidate, name, whole.error, whole.tolerance / max(noise, 1e-300))
    worst = max(parts, key=lambda part: part.share)
    shown = whole if worst.within else worst
    place = f'"{shown.place}" differs by' if shown.place else "it differs by a relative"
    return judged(
        Section.ENGINES, candidate.label, name, shown.error, shown.tolerance,
        f"{place} {shown.error:.1e} from the oracle's gradient by the same method and schedule, more than rounding "
        f"explains (whole gradient: {relative(found, wanted):.1e})",
    )  # fmt: skip


def _too_sensitive(section: Section, candidate: Candidate, what: str, error: float, sensitivity: float) -> Row:
    return note(
        section, candidate.label, what, error if np.isfinite(error) else None,
        f"the network makes {sensitivity:.0e} of a rounding error of one, so {candidate.dtype} says nothing here; "
        "lower gain, or a larger β",
    )  # fmt: skip


def states(net: Engine, found: Sequence[Equilibrium]) -> list[dict[str, np.ndarray]]:
    """The potentials of each phase."""
    return [numbers(net, phase.states) for phase in found]


def farthest(found: Sequence[dict[str, np.ndarray]], wanted: Sequence[dict[str, np.ndarray]]) -> float:
    """The largest difference of any potential in any phase; infinite where one is not a number."""
    worst = max(largest(one, other) for one, other in zip(found, wanted, strict=True))
    return worst if np.isfinite(worst) else float("inf")


def _size(wanted: Sequence[dict[str, np.ndarray]]) -> float:
    top = max(float(np.max(np.abs(value))) for phase in wanted for value in phase.values())
    return max(top, 1.0)
