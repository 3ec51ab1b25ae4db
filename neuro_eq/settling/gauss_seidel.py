"""Sweeps over the colours of the network's graph."""

from __future__ import annotations

from array_api_compat import array_namespace

from neuro_eq.arrays import Activities, Array, Units, is_complex
from neuro_eq.colouring import colours, exact, feeds_back
from neuro_eq.settling.drives import Drives, aligned, take
from neuro_eq.settling.stepper import Stepper
from neuro_eq.solvers import BlockGaussSeidel


class GaussSeidelStepper(Stepper):
    """One step is one sweep: each colour in turn, with the newest activities of the others.

    A sweep costs one drive of every population on a graph of two colours: the first colour takes the drive that the
    residual was judged by, and the drive onto the last one still holds when the next residual is judged, as the
    others do not move any more.  The colours between are driven twice.
    """

    def __init__(self, drives: Drives, solver: BlockGaussSeidel) -> None:
        super().__init__(drives)
        self.alpha = solver.alpha
        spec = drives.spec
        self.colours = colours(spec)
        self.damped = frozenset(p.name for p in spec.free if not exact(spec, p.name))
        self.lasting = frozenset(name for name in self.colours[-1] if not feeds_back(spec, name))
        self.solved = self._solved_rows()
        self.activities: dict[str, Array] | None = None
        self.bare: dict[str, Array] = {}

    def drive(self, u: Activities) -> dict[str, Array]:
        if self.activities is None:
            self.activities = self.drives.activities(u)
        unknown = [name for name in u if name not in self.bare]
        self.bare = {**self.bare, **self.drives.bare(self.activities, unknown)}
        return self.drives.with_nudge(self.activities, self.bare)

    def step(self, u: Activities, drive: Activities) -> dict[str, Array]:
        assert self.activities is not None, "a drive comes before a step"
        a, bare = self.activities, self.bare
        moved: dict[str, Array] = {}
        for place, colour in enumerate(self.colours):
            bare = bare if place == 0 else self.drives.bare(a, colour)
            new = {name: self._solve(name, u[name], a, bare[name]) for name in colour}
            moved.update(new)
            a = {**a, **self.drives.activities(new)}
        self.activities = a
        self.bare = {name: bare[name] for name in self.lasting}
        return {name: moved[name] for name in u}

    def keep(self, rows: Array) -> None:
        super().keep(rows)
        if self.activities is not None:
            self.activities = {name: take(a, rows) for name, a in self.activities.items()}
        self.bare = {name: take(value, rows) for name, value in self.bare.items()}
        self.solved = None if self.solved is None else take(self.solved, rows)

    def _solve(self, name: str, u: Units, a: Activities, bare: Units) -> Units:
        """One population's new potentials, given its drive without the nudge."""
        if name != self.drives.nudged:
            return u + self.alpha * (bare - u) if name in self.damped else bare
        towards = self.drives.with_nudge(a, {name: bare})[name]
        damped = u + self.alpha * (towards - u)
        if self.solved is None:
            return damped
        return array_namespace(u).where(aligned(self.solved, u), self._under_nudge(name, bare), damped)

    def _under_nudge(self, name: str, bare: Units) -> Units:
        """``u + βρ(u) = bare + βy``; with a ρ that is not piecewise linear only the rows with β = 0 are asked for."""
        activation = self.drives.spec.population(name).activation
        if is_complex(self.drives.beta) or not activation.piecewise_linear:
            return bare
        beta = aligned(self.drives.beta, bare)
        y = array_namespace(bare).reshape(self.drives.target, bare.shape)
        return activation.under_nudge(bare + beta * y, beta)

    def _solved_rows(self) -> Array | None:
        """``(rows,)`` whether the nudged population is solved in closed form; None where no row is."""
        nudged, spec = self.drives.nudged, self.drives.spec
        if nudged is None:
            return None
        phases = [exact(spec, nudged, beta) for beta in self.drives.betas]
        if not any(phases):
            return None
        one = self.drives.beta[: self.drives.batch]
        xp = array_namespace(one)
        return xp.concat([xp.full_like(one, fill, dtype=xp.bool) for fill in phases])
