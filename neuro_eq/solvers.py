r"""How a network is brought to its fixed point ``u = drive(ρ(u))``: solver objects, and when to stop.

A solver is data.  It knows no engine; an engine says which solvers it can run and refuses the others by name.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializeAsAny, field_serializer, field_validator

from neuro_eq.errors import SpecError
from neuro_eq.frozen import Frozen, parse_kind


class Solver(Frozen):
    """Base of the solvers."""

    kind: str


class Picard(Solver):
    """Damped fixed-point iteration ``u ← u + α (drive(ρ(u)) − u)``.

    ``alpha = dt/τ`` in (0, 1].  A step lowers the energy if ``α ≤ 1/(1 + κ·sup‖ρ'‖)``, ``κ = max(0, λ_max ∂²e)``.
    """

    kind: Literal["picard"] = "picard"
    alpha: float = Field(default=0.5, gt=0.0, le=1.0)

    def __init__(self, alpha: float = 0.5, **data: Any) -> None:
        super().__init__(**{"alpha": alpha, **data})


class BlockGaussSeidel(Solver):
    """Sweeps over the colours of the network's graph; each colour is solved with the newest activities of the others.

    One step is one sweep.  A population with no synapse on itself takes ``u = drive``, which minimises the energy
    exactly over a colour; one that a squared error nudges solves ``u + βρ(u) = drive + βy`` where ρ is piecewise
    linear and ``1 + β > 0``.  The others take a damped step with ``alpha``.  On a chain a sweep does what two steps
    of ``Picard(1)`` do, and with no synapse of a population on itself no free sweep raises the energy, however large
    the weights.
    """

    kind: Literal["gauss_seidel"] = "gauss_seidel"
    alpha: float = Field(default=0.5, gt=0.0, le=1.0)

    def __init__(self, alpha: float = 0.5, **data: Any) -> None:
        super().__init__(**{"alpha": alpha, **data})


class Anderson(Solver):
    """Anderson acceleration of Picard, type II: ``u ← Σ w_i (u_i + α f_i)`` with ``f = drive − u``.

    The weights minimise ``‖Σ w_i f_i‖²`` with ``Σ w_i = 1`` over the last ``m`` residuals, for each sample and phase
    by itself (Anderson 1965; Walker and Ni 2011).  Where they cannot be found the row takes a Picard step.
    """

    kind: Literal["anderson"] = "anderson"
    m: int = Field(default=5, ge=1, le=100)
    alpha: float = Field(default=1.0, gt=0.0, le=1.0)

    def __init__(self, m: int = 5, alpha: float = 1.0, **data: Any) -> None:
        super().__init__(**{"m": m, "alpha": alpha, **data})


SOLVERS: dict[str, type[Solver]] = {"picard": Picard, "gauss_seidel": BlockGaussSeidel, "anderson": Anderson}
"""The solvers a configuration can name."""


class Relaxation(Frozen):
    """How one phase settles: the solver, when to stop, and after how many steps to give up.

    Args:
        solver: the iteration.
        tol: a number stops each sample by itself when its residual (RMS of ``drive − u`` over its free units) is at
            most that; ``None`` runs exactly ``max_steps`` steps; ``"nudge"`` takes the tolerance from the size of
            the nudge, ``max(eta·r₀, 10·eps·RMS(u))`` with ``r₀ = β·RMS(∂C/∂a)``, as the relative error of a
            gradient is about ``(1+L)/(1−L)·residual/r₀``.
        max_steps: the most steps a sample may take.
        eta: the fraction of the nudge that ``tol="nudge"`` allows; 1e-7 for tables of gradient equivalence.
    """

    solver: SerializeAsAny[Solver] = Picard()
    tol: float | Literal["nudge"] | None = "nudge"
    max_steps: int = Field(default=500, ge=0)
    eta: float = Field(default=1e-3, gt=0.0)

    @field_validator("solver", mode="before")
    @classmethod
    def _solver_by_name(cls, value: object) -> Solver:
        try:
            return parse_kind(value, SOLVERS, Solver, "solver")
        except SpecError as error:
            raise error.inside("solver") from None

    @field_validator("tol", mode="before")
    @classmethod
    def _fixed_is_none(cls, value: object) -> object:
        if isinstance(value, bool) or (isinstance(value, str) and value not in ("fixed", "nudge")):
            raise ValueError(f'expected a number, "nudge" or "fixed", found {value!r}')
        return None if value == "fixed" else value

    @field_serializer("tol")
    def _none_is_fixed(self, value: float | str | None) -> float | str:
        return "fixed" if value is None else value  # TOML has no null

    @field_validator("tol")
    @classmethod
    def _tolerance_is_positive(cls, value: float | str | None) -> float | str | None:
        if isinstance(value, float) and value <= 0:
            raise ValueError("a tolerance must be positive; None runs exactly max_steps steps")
        return value
