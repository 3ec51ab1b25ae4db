"""What gradient methods share: the free phase at a tolerance that fits the nudge, and the evidence they return."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator

from neuro_eq.abilities import Ability
from neuro_eq.arguments import expect
from neuro_eq.arrays import Array
from neuro_eq.engine import Engine, Observer
from neuro_eq.equilibrium import Equilibrium, Status
from neuro_eq.errors import SpecError
from neuro_eq.frozen import Frozen
from neuro_eq.solvers import Relaxation
from neuro_eq.spec import Network


def _moves(beta: float) -> float:
    if beta == 0:
        raise ValueError("a nudge must not be 0")
    return beta


Gradient = dict[str, Array]
"""``"synapse.weight"`` to the batch mean of ``dC/dθ``, in the engine's own arrays."""

Nudge = Annotated[float, AfterValidator(_moves)]
"""The size of a nudge: any finite number but 0."""

NEAR_ROUNDING = 1e3
"""A first tolerance below so many machine epsilons may be out of reach, so the size of the potentials is asked for."""

YARDSTICK = Relaxation(eta=1e-12, max_steps=5000)
"""How the free phase of an exact method settles: a thousand times below the 1e-9 to which exact methods agree."""

UNSETTLED = 1e-2
"""A sample whose residual exceeds this fraction of the nudge's size is not settled enough to trust its gradient."""


@dataclass(frozen=True)
class Evidence:
    """What a gradient stands on.

    Attributes:
        free: the free equilibrium.
        nudged: the nudged ones, in the order of the method's phases; empty where there are none.
        cost: ``(batch,)`` ``C(a*, y)`` at the free state.
        nudge_size: ``(batch,)`` ``r₀ = |β|·RMS(∂C/∂a)`` over free units; of ``∂C/∂a`` itself where nothing is nudged.
        rounding: ``(batch,)`` ``10·eps·RMS(u)``: a residual below it is noise.
        adjoint_residual: ``(batch,)`` relative residual of the adjoint equation, for methods that solve it.
        adjoint_steps: ``(batch,)`` steps that the adjoint took, for methods that relax it.
        adjoint_status: ``(batch,)`` codes of :class:`~neuro_eq.equilibrium.Status`, how it ended, for the same.
    """

    free: Equilibrium
    nudged: tuple[Equilibrium, ...]
    cost: np.ndarray
    nudge_size: np.ndarray
    rounding: np.ndarray
    adjoint_residual: np.ndarray | None = None
    adjoint_steps: np.ndarray | None = None
    adjoint_status: np.ndarray | None = None

    @cached_property
    def residual(self) -> np.ndarray:
        """``(batch,)`` the largest residual of a sample over all phases."""
        return np.max([phase.residual for phase in (self.free, *self.nudged)], axis=0)

    @property
    def unsettled(self) -> int:
        """Samples whose residual exceeds ``1e-2·r₀``, or whose adjoint was not solved to 1e-2: not to be trusted.

        A sample whose whole nudge is below rounding has nothing left to learn and is counted in ``mute`` instead.
        """
        loose = ~(self.residual <= UNSETTLED * self.nudge_size)
        if self.adjoint_residual is not None:
            loose |= ~(self.adjoint_residual <= UNSETTLED)
        return int(np.sum(loose & ~self._is_mute))

    @property
    def mute(self) -> int:
        """Samples whose nudge is lost in rounding, ``1e-2·r₀ < 10·eps·RMS(u)``: fitted, or β is too small."""
        return int(np.sum(self._is_mute))

    @cached_property
    def _is_mute(self) -> np.ndarray:
        return UNSETTLED * self.nudge_size < self.rounding


class GradientMethod(Frozen):
    """An estimate of ``dC/dθ``.  It knows no engine; what it needs of one is in ``needs``."""

    kind: str
    needs: ClassVar[tuple[Ability, ...]] = ()
    settles: ClassVar[Relaxation] = Relaxation()
    """How the free phase settles when the caller does not say."""

    def gradient(
        self,
        net: Engine,
        x: Any,
        y: Any,
        *,
        free: Relaxation | None = None,
        nudged: Relaxation | None = None,
        record: Observer | None = None,
    ) -> tuple[Gradient, Evidence]:
        """The batch mean of ``dC/dθ`` for every parameter, and the evidence.

        Args:
            net: a compiled network with a cost.
            x: data of the clamped populations, ``(batch, …)``.
            y: targets ``(batch, n_out)``, or ``(batch,)`` integer labels.
            free: how the free phase settles; the method's ``settles`` by default.
            nudged: how the nudged phases settle; as ``free`` when not given.
            record: an observer, such as a Recorder, that is given every phase.

        Raises:
            BackendError: the engine lacks what the method needs.
            SpecError: the method does not apply to this network; the message names the synapse and what does.
        """
        expect(net, Engine, "net", "ne.compile(spec)")
        for name, how in (("free", free), ("nudged", nudged)):
            expect(how, Relaxation, name, "ne.Relaxation(tol=1e-3)")
        self.check(net, free)
        free = free or self.settles
        inputs = net.inputs(x)
        return self._gradient(net, inputs, net.target(y, inputs.batch), free, nudged or free, record)

    def check(self, net: Engine, free: Relaxation | None = None) -> None:
        """Raise, before any work, when this method cannot run this network on this engine, settled like this."""
        self.refuse(net.spec)
        net.refuse_what_it_cannot_do(*self.needs, by=type(self).__name__)
        self.refuse_settling(free or self.settles)

    def refuse(self, spec: Network) -> None:
        """Raise when the method does not apply to this network."""
        if spec.cost is None:
            raise SpecError("the network has no cost, so there is no gradient to estimate", "cost")

    def refuse_settling(self, free: Relaxation) -> None:  # most methods take any
        """Raise when the method has no use for a free phase that settles like this."""

    @abstractmethod
    def _gradient(
        self, net: Engine, x: Any, y: Array, free: Relaxation, nudged: Relaxation, record: Observer | None
    ) -> tuple[Gradient, Evidence]: ...


def refuse_without_energy(spec: Network) -> None:
    """Raise where a synapse has no energy, for methods that contrast energies."""
    for synapse in spec.without_energy:
        raise SpecError(
            f'"{synapse.name}" is directed and has no energy to contrast; use AsymEP, or a symmetric synapse',
            f"synapses[{spec.synapses.index(synapse)}]",
        )


def settle_free(
    net: Engine, x: Any, y: Array, how: Relaxation, beta: float, record: Observer | None
) -> tuple[Equilibrium, np.ndarray]:
    """The free equilibrium and ``r₀`` per sample.

    With ``tol="nudge"`` the nudge's size is known only where the network has settled, so a first pass stops at
    ``eta·|β|`` (or where rounding is reached), and the samples whose tolerance turns out smaller go on from there.
    """
    if how.tol != "nudge":
        state = net.relax(x, solver=how.solver, tol=how.tol, max_steps=how.max_steps, record=record)
        return state, nudge_size(net, state, y, beta)
    first = np.full(y.shape[0], how.eta * abs(beta))
    if how.eta * abs(beta) < NEAR_ROUNDING * net.epsilon:
        at_rest = net.relax(x, solver=how.solver, max_steps=0).residual  # RMS of the drive: about the size of u
        first = np.maximum(first, 10.0 * net.epsilon * np.where(np.isfinite(at_rest), at_rest, 0.0))
    state = net.relax(x, solver=how.solver, tol=first, max_steps=how.max_steps, record=record)
    while True:
        size = nudge_size(net, state, y, beta)
        tol = tolerance(net, state, size, how)
        sound = state.status <= Status.MAX_STEPS
        close = state.residual <= tol
        judged = np.where(close, int(Status.CONVERGED), int(Status.MAX_STEPS))
        state = replace(state, status=np.where(sound, judged, state.status))
        going = sound & ~close & (state.steps < how.max_steps)
        if not going.any():
            return state, size
        # Each pass gives what the furthest sample has left, so that none exceeds max_steps; then the others go on.
        more = net.relax(
            x,
            start=state,
            solver=how.solver,
            # A sample that is close enough stops at once; a little below the aim, as settling moves the aim itself.
            tol=np.where(going, 0.9 * tol, np.inf),
            max_steps=how.max_steps - int(state.steps[going].max()),
            record=record,
        )
        status = np.where(going, more.status, state.status)
        state = replace(more, steps=state.steps + more.steps, status=status)


def settle_nudged(
    net: Engine,
    x: Any,
    y: Array,
    betas: tuple[complex, ...],
    free: Equilibrium,
    size: np.ndarray,
    how: Relaxation,
    record: Observer | None,
    asymmetry_at: Equilibrium | None = None,
) -> tuple[Equilibrium, ...]:
    """The nudged equilibria, all from the free one and as one group."""
    return net.relax(
        x,
        target=y,
        beta=betas,
        start=free,
        solver=how.solver,
        tol=tolerance(net, free, size, how) if how.tol == "nudge" else how.tol,
        max_steps=how.max_steps,
        asymmetry_at=asymmetry_at,
        record=record,
    )


def nudge_size(net: Engine, free: Equilibrium, y: Array, beta: float) -> np.ndarray:
    """``r₀ = |β|·RMS(∂C/∂a)`` over each sample's free units."""
    return abs(beta) * net.cost_slope_rms(free, y)


def tolerance(net: Engine, state: Equilibrium, size: np.ndarray, how: Relaxation) -> np.ndarray:
    """``max(eta·r₀, 10·eps·RMS(u))`` per sample: below the second term only rounding is left."""
    return tolerance_of(net, state.states, size, how)


def tolerance_of(net: Engine, x: Mapping[str, Array], size: np.ndarray, how: Relaxation) -> np.ndarray:
    """``max(eta·size, 10·eps·RMS(x))`` per sample, of anything that relaxes."""
    return np.maximum(how.eta * size, 10.0 * net.epsilon * net.rms(x))


def rounding(net: Engine, state: Equilibrium) -> np.ndarray:
    """``10·eps·RMS(u)`` per sample, about where a residual cannot become smaller."""
    return 10.0 * net.epsilon * net.rms(state.states)


def in_spec_order(net: Engine, *parts: Mapping[str, Array]) -> Gradient:
    """The parts as one gradient, in the order of the network's parameters."""
    joined: dict[str, Array] = {}
    for part in parts:
        joined.update(part)
    return {name: joined[name] for name in net.spec.parameter_shapes}


def difference(above: Mapping[str, Array], below: Mapping[str, Array], width: float) -> dict[str, Array]:
    """``(above − below)/width``, entry by entry."""
    return {name: (above[name] - below[name]) / width for name in above}


def finite_adjoint(
    net: Engine, above: Equilibrium, below: Equilibrium, width: float
) -> tuple[dict[str, Array], dict[str, Array]]:
    """``λ = (a_below − a_above)/width`` and ``μ = (u_below − u_above)/width`` of the free populations."""
    names = [p.name for p in net.spec.free]
    lam = {name: (below.activities[name] - above.activities[name]) / width for name in names}
    mu = {name: (below.states[name] - above.states[name]) / width for name in names}
    return lam, mu
