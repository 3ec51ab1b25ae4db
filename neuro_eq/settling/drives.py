"""What drives the populations in every phase of one relaxation: inputs, the other populations, nudge, correction."""

from __future__ import annotations

from collections.abc import Collection

from array_api_compat import array_namespace

from neuro_eq.arrays import Activities, Array, Parameters, Units
from neuro_eq.dynamics import Dynamics
from neuro_eq.relaxing import Task


class Drives:
    """The drive of one task's populations at any activities.

    Rows are phase-major: row ``k·batch + i`` is sample ``i`` in phase ``k``.  What depends on inputs and biases only
    is summed once.

    Attributes:
        spec: the network.
        betas: one nudge per phase.
        beta: ``(rows,)`` the nudge of each row.
        batch: samples in a phase.
        nudged: the population that is nudged, or None.
        target: ``(rows, n_out)``, or None when no phase is nudged.

    ``still`` is that sum for one phase, where somebody has it from another relaxation of the same data.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        theta: Parameters,
        task: Task,
        beta: Array,
        u: Activities,
        still: Activities | None = None,
    ) -> None:
        self.dynamics, self.theta = dynamics, theta
        self.spec, self.betas = dynamics.spec, task.betas
        self.beta = beta
        self.batch = int(beta.shape[0]) // len(task.betas)
        self.inputs = {name: self.every_phase(value) for name, value in task.inputs.items()}
        self.nudged: str | None = None
        self.target: Array | None = None
        if task.target is not None:
            assert self.spec.cost is not None, "a target needs a cost"
            self.nudged = self.spec.cost.population
            self.target = self.every_phase(task.target)
        self.anchor: dict[str, Array] | None = None
        if task.anchor is not None:
            self.anchor = {name: self.every_phase(value) for name, value in task.anchor.items()}
        if still is None:
            self.still = dynamics.still_drive(dynamics.activities(u, self.inputs, theta), theta)
        else:
            self.still = {name: self.every_phase(value) for name, value in still.items()}

    def every_phase(self, value: Array) -> Array:
        """One entry per sample as one per row."""
        phases = len(self.betas)
        return array_namespace(value).concat([value] * phases, axis=0) if phases > 1 else value

    def keep(self, rows: Array) -> None:
        """Go on with these rows alone, given by their places; every phase keeps the same samples."""

        def kept(values: Activities) -> dict[str, Array]:
            return {name: take(value, rows) for name, value in values.items()}

        self.beta, self.batch = take(self.beta, rows), int(rows.shape[0]) // len(self.betas)
        self.inputs, self.still = kept(self.inputs), kept(self.still)
        self.target = None if self.target is None else take(self.target, rows)
        self.anchor = None if self.anchor is None else kept(self.anchor)

    def activities(self, u: Activities) -> dict[str, Array]:
        """``a = ρ(u)`` of the populations in ``u``, and the clamped ones' data."""
        free = {
            p.name: p.activation.activity(u[p.name], self.dynamics.own(self.theta, p.name))
            for p in self.spec.free
            if p.name in u
        }
        return {**self.inputs, **free}

    def bare(self, a: Activities, onto: Collection[str] | None = None) -> dict[str, Array]:
        """The drive without the nudge; ``onto`` some of the free populations."""
        moving = self.dynamics.moving_drive(a, self.theta, onto)
        drive = {name: self.still[name] + moving[name] for name in moving}
        if self.anchor is not None:
            correction = self.dynamics.asymmetry(self.anchor, a, self.theta, onto)
            drive = {name: drive[name] + correction[name] for name in drive}
        return drive

    def with_nudge(self, a: Activities, bare: Activities) -> dict[str, Array]:
        """The drive: ``bare`` and, on the nudged population, ``−β ∂C/∂a``."""
        drive = dict(bare)
        if self.nudged is not None and self.nudged in drive:
            drive[self.nudged] = drive[self.nudged] + self.dynamics.nudge(a, self.target, self.beta, self.theta)
        return drive


def take(value: Array, rows: Array) -> Array:
    """These rows of an array, given by their places."""
    return array_namespace(value).take(value, rows, axis=0)


def aligned(rows: Array, like: Units) -> Array:
    """One number per row, in a shape that meets an array of a population."""
    return array_namespace(rows).reshape(rows, (-1,) + (1,) * (like.ndim - 1))
