"""Lipschitz constants at the free fixed points, and what they promise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from neuro_eq.checking.report import Constants, Row, Section, Verdict, note
from neuro_eq.checking.subject import Subject
from neuro_eq.contraction import lipschitz
from neuro_eq.solvers import Picard

RTOL = 1e-6


def check_contraction(subject: Subject, say: Callable[[str], None]) -> tuple[list[Row], Constants | None]:
    """The constants of each sample, at the oracle's free fixed point or as near to one as it came."""
    say("Lipschitz constants")
    solver = subject.settling.solver
    picard = solver if isinstance(solver, Picard) else Picard()
    found = lipschitz(subject.oracle, subject.x, state=subject.rest, solver=picard, rtol=RTOL)
    if not np.all(np.isfinite([found.response, found.step, found.radius])):
        return [
            note(Section.CONTRACTION, "", "‖Dρ'‖₂", None, "a sample ends where nothing is finite; see convergence")
        ], None
    loose = int(np.sum(~found.converged))
    about = f" (known roughly for {loose} of {subject.batch} samples)" if loose else ""
    rows = [
        _below_one(
            "‖Dρ'‖₂, the largest of a sample", found.response,
            "{value:.3g} > 1: several fixed points are possible and two states may part for a while; lower gain, or "
            "hold the weights by a norm budget (NormBudget)" + about,
        ),
        _below_one(
            f"Lipschitz constant of a step, α = {picard.alpha:g}", found.step,
            "{value:.3g} > 1: a step may carry two states apart before it brings them together; that is judged "
            "under convergence" + about,
        ),
        _below_one(
            "spectral radius of Dρ'", found.radius,
            "{value:.3g} > 1: at α = 1 this fixed point repels, and with a smaller α it attracts only if the "
            "eigenvalues outside the unit circle lie to the left; lower gain or alpha" + about,
        ),
    ]  # fmt: skip
    return rows, Constants(*(tuple(float(v) for v in kind) for kind in (found.response, found.step, found.radius)))


def _below_one(what: str, values: np.ndarray, says: str) -> Row:
    value = float(np.max(values))
    if value < 1.0:
        return Row(Section.CONTRACTION, "", what, value, 1.0, Verdict.OK)
    return note(Section.CONTRACTION, "", what, value, says.format(value=value))
