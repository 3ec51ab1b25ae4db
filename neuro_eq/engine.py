r"""The contract of an engine: a compiled network that relaxes, and the answers that gradient methods need.

A user sees one class for every backend.  An engine writer implements :meth:`Engine._begin` (how states move) and
the two conversions; everything else has an implementation on the array API in :mod:`neuro_eq.dynamics`, which an
engine overrides where it can do better.  Engines know nothing of gradient methods or training, and
of an optimiser no more than that it takes a step, which some take in a faster way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar, overload, runtime_checkable

import numpy as np
from array_api_compat import is_array_api_obj

from neuro_eq import arguments
from neuro_eq.abilities import Ability, Agreement
from neuro_eq.arrays import Activities, Array, Parameters, Samples, all_finite, is_complex
from neuro_eq.dynamics import Dynamics, Energy
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import BackendError, DataError, SpecError, did_you_mean
from neuro_eq.optimizers import Optimizer, OptimizerState
from neuro_eq.relaxing import Settling, Task
from neuro_eq.solvers import Picard, Solver
from neuro_eq.spec import Network

OwnEngine = TypeVar("OwnEngine", bound="Engine")


class Inputs(dict[str, Array]):
    """Data of the clamped populations that one engine has looked at and copied; it takes them as they are."""

    def __init__(self, engine: Engine, values: Mapping[str, Array]) -> None:
        super().__init__(values)
        self.engine = engine

    @property
    def batch(self) -> int:
        """Number of samples."""
        return int(next(iter(self.values())).shape[0])


@runtime_checkable
class Observer(Protocol):
    """Something that watches relaxations, such as the trajectory file's Recorder."""

    def relaxation(self, net: Engine, task: Task, settling: Settling, resumed: Equilibrium | Activities | None) -> None:
        """Drive ``settling`` until it is finished, looking at it on the way; ``resumed`` is the user's start."""

    def settled(self, net: Engine, task: Task, found: tuple[Equilibrium, ...]) -> None:
        """See the equilibria that the relaxation ended in."""


class Engine(ABC):
    """A network compiled for one backend.  ``neuro_eq.compile`` makes it.

    Raises (constructor):
        BackendError: the backend cannot run this network or this precision; says what and why.
    """

    name: ClassVar[str]
    dtypes: ClassVar[tuple[str, ...]] = ("float64", "float32")
    solvers: ClassVar[tuple[type[Solver], ...]] = (Picard,)
    lacks: ClassVar[Mapping[Ability, str]] = {
        Ability.COMPLEX_NUDGE: "its states are real numbers",
        Ability.AUTOGRAD: "its arrays record no operations; the torch engine's do",
    }
    """Abilities that the engine does not have, each with the reason: the ledger."""
    synapse_kinds: ClassVar[tuple[str, ...] | None] = None
    """Kinds of synapse that it can run; None when it runs any that is written on the array API."""
    activation_kinds: ClassVar[tuple[str, ...] | None] = None
    cost_kinds: ClassVar[tuple[str, ...] | None] = None
    agreement: ClassVar[Mapping[str, Agreement]]
    """dtype to how closely the engine equals the float64 oracle."""

    def __init__(self, spec: Network, dtype: str = "float64", seed: int = 0) -> None:
        self.refuse_what_it_cannot_run(spec, dtype)
        self.spec = spec
        self.dtype = dtype
        self.seed = seed
        self.dynamics = Dynamics(spec)
        self._theta: dict[str, Array] = {}
        self._target: Array | None = None
        self.set_parameters(spec.initial_parameters(seed))

    @classmethod
    def refuse_what_it_cannot_run(cls, spec: Network, dtype: str) -> None:
        """Raise one sentence that names the first thing that this engine cannot do, and why."""
        if dtype not in cls.dtypes:
            raise BackendError(f'backend "{cls.name}" computes in {" or ".join(cls.dtypes)}, not in {dtype!r}')
        for i, synapse in enumerate(spec.synapses):
            if cls.synapse_kinds is not None and synapse.kind not in cls.synapse_kinds:
                raise BackendError(
                    f'backend "{cls.name}" cannot run synapses[{i}] ("{synapse.name}") of kind "{synapse.kind}"; '
                    f"it runs {', '.join(cls.synapse_kinds)}"
                )
        for population in spec.free:
            kind = population.activation.kind
            if cls.activation_kinds is not None and kind not in cls.activation_kinds:
                raise BackendError(
                    f'backend "{cls.name}" cannot run activation "{kind}" of population "{population.name}"; '
                    f"it runs {', '.join(cls.activation_kinds)}"
                )
        if spec.cost is not None and cls.cost_kinds is not None and spec.cost.kind not in cls.cost_kinds:
            raise BackendError(
                f'backend "{cls.name}" cannot run the cost "{spec.cost.kind}"; it runs {", ".join(cls.cost_kinds)}'
            )

    def refuse_what_it_cannot_do(self, *needs: Ability, by: str) -> None:
        """Raise one sentence when a method named ``by`` needs an ability that this engine lacks."""
        for need in needs:
            if need in self.lacks:
                raise BackendError(
                    f'{by} needs backend "{self.name}" to {need.value}, which it cannot: {self.lacks[need]}'
                )

    def refuse_a_solver_it_lacks(self, solver: Solver) -> None:
        """Raise one sentence when this engine does not have this solver."""
        if not isinstance(solver, self.solvers):
            known = ", ".join(kind.__name__ for kind in self.solvers)
            raise BackendError(f'backend "{self.name}" cannot run the solver {type(solver).__name__}; it runs {known}')

    def close(self) -> None:  # noqa: B027  # most engines hold nothing
        """Give back what the engine holds outside this process; most hold nothing.  May be called twice."""

    def __enter__(self: OwnEngine) -> OwnEngine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- arrays ------------------------------------------------------------------------------------------------

    @abstractmethod
    def asarray(self, values: Any) -> Array:
        """Numbers as the engine's own array, in its precision; a copy where the engine could write into it."""

    def own(self, values: Any) -> Array:
        """As :meth:`asarray`, of values that nobody else will write into: without a copy where none is needed."""
        return self.asarray(values)

    @abstractmethod
    def to_numpy(self, values: Array) -> np.ndarray:
        """One of the engine's arrays as a NumPy array."""

    # -- parameters --------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Array]:
        """``"synapse.weight"`` to the engine's own array.  Copy before changing; see :meth:`set_parameters`."""
        return dict(self._theta)

    def set_parameters(self, values: Mapping[str, Any], adopt: bool = False) -> None:
        """Set some or all parameters; a symmetric self-synapse keeps the symmetric part ``½(W + Wᵀ)``.

        Args:
            values: by name.
            adopt: the arrays are the engine's from now on; nobody else will write into them, so they need not be
                copied.

        Raises:
            SpecError: an unknown name, a wrong shape, or a value that is not finite.
        """
        shapes = self.spec.parameter_shapes
        updated = dict(self._theta)
        for name, value in values.items():
            if name not in shapes:
                raise SpecError("no such parameter" + did_you_mean(name, shapes), name)
            try:
                array = self.own(value) if adopt else self.asarray(value)
                if is_complex(value if is_array_api_obj(value) else np.asarray(value)):
                    raise TypeError
            except (TypeError, ValueError):
                raise SpecError(f"expected an array of numbers, found {type(value).__name__}", name) from None
            if tuple(array.shape) != shapes[name]:
                raise SpecError(f"expected shape {list(shapes[name])}, found {list(array.shape)}", name)
            updated[name] = array
        bad = self._not_finite({name: updated[name] for name in values})
        if bad is not None:
            raise SpecError("holds values that are not finite", bad)
        self._theta = self.spec.project(updated)

    def stepped(
        self, optimizer: Optimizer, gradient: Parameters, state: OptimizerState, scale: float = 1.0
    ) -> tuple[dict[str, Array], OptimizerState]:
        """Parameters after a step of an optimiser, and its new state; the engine's own are not set.

        An engine that steps in a faster way finds the same numbers.  It may look at them while it does: whoever has
        :meth:`set_parameters` adopt them must not have written into them.
        """
        return optimizer.step(self.parameters, gradient, state, scale)

    def _not_finite(self, arrays: Parameters) -> str | None:
        """The name of the first array that holds a number which is not finite."""
        return next((name for name, array in arrays.items() if not all_finite(array)), None)

    # -- relaxation --------------------------------------------------------------------------------------------

    @abstractmethod
    def _begin(self, task: Task) -> Settling:
        """Start a relaxation."""

    @overload
    def relax(
        self,
        x: Any,
        *,
        target: Any = ...,
        beta: float | complex = ...,
        start: Equilibrium | Activities | None = ...,
        solver: Solver = ...,
        tol: float | np.ndarray | None = ...,
        max_steps: int = ...,
        asymmetry_at: Equilibrium | None = ...,
        record: Observer | None = ...,
    ) -> Equilibrium: ...

    @overload
    def relax(
        self,
        x: Any,
        *,
        target: Any = ...,
        beta: Sequence[float | complex],
        start: Equilibrium | Activities | None = ...,
        solver: Solver = ...,
        tol: float | np.ndarray | None = ...,
        max_steps: int = ...,
        asymmetry_at: Equilibrium | None = ...,
        record: Observer | None = ...,
    ) -> tuple[Equilibrium, ...]: ...

    def relax(
        self,
        x: Any,
        *,
        target: Any = None,
        beta: float | complex | Sequence[float | complex] = 0.0,
        start: Equilibrium | Activities | None = None,
        solver: Solver = Picard(),
        tol: float | np.ndarray | None = 1e-6,
        max_steps: int = 500,
        asymmetry_at: Equilibrium | None = None,
        record: Observer | None = None,
    ) -> Equilibrium | tuple[Equilibrium, ...]:
        """Let the network settle.

        Args:
            x: data of the clamped populations, ``(batch, *shape)`` or ``(batch, units)``; a mapping by name when
                there are several.
            target: ``(batch, n_out)`` values, or ``(batch,)`` integer class labels.  Needed when nudging.
            beta: the nudge; a sequence settles several phases as one group, in which a sample stops when the
                largest of its residuals is small enough.
            start: the state to start from; zero potentials when not given.
            solver: the iteration.
            tol: the residual at which a sample stops, one for all or ``(batch,)``; None runs exactly ``max_steps``.
            max_steps: the most steps.
            asymmetry_at: a free equilibrium at which to take the asymmetric correction ``(Dᵀ − D)(a − a*)``.
            record: an observer, such as a Recorder, that is given the trajectory.

        Returns:
            One :class:`Equilibrium`, or a tuple with one for each nudge of the sequence.

        Raises:
            DataError: ``x``, ``target`` or ``start`` does not fit the network.
            BackendError: the engine lacks the solver or the nudge.
        """
        grouped = isinstance(beta, Sequence) and not isinstance(beta, str)
        betas = arguments.nudges(beta if isinstance(beta, Sequence) and grouped else (beta,))
        arguments.expect(record, Observer, "record", "ne.Recorder(PATH)")
        task = self._task(x, target, betas, start, solver, tol, max_steps, asymmetry_at)
        # NumPy warns where numbers overflow; here that is an outcome (a status), not a surprise.
        with np.errstate(all="ignore"):
            settling = self._begin(task)
        if record is None:
            while not settling.advance(max(max_steps, 1)):
                pass
        else:
            record.relaxation(self, task, settling, resumed=start)
        snapshot = settling.snapshot()
        if snapshot.activities is None:
            with np.errstate(all="ignore"):
                activities = [self.dynamics.activities(u, task.inputs, self._theta) for u in snapshot.states]
        else:
            activities = [{**task.inputs, **a} for a in snapshot.activities]
        found = tuple(
            Equilibrium(states, activities[k], snapshot.steps, snapshot.residual[k], snapshot.status, betas[k])
            for k, states in enumerate(snapshot.states)
        )
        if record is not None:
            record.settled(self, task, found)
        return found if grouped else found[0]

    # -- answers at a state ------------------------------------------------------------------------------------

    def energy(self, state: Equilibrium) -> Energy:
        """``G`` per sample and per term, at the state's potentials and activities.

        Raises:
            SpecError: a synapse is directed, so there is no ``G``.
        """
        for synapse in self.spec.without_energy:
            raise SpecError(f'"{synapse.name}" is directed, and only symmetric synapses have an energy', "synapses")
        return self.dynamics.energy(state.states, state.activities, self._theta)

    def cost(self, state: Equilibrium, y: Any) -> Samples:
        """``C(a, y)`` per sample."""
        return self.dynamics.cost(state.activities, self.target(y, state.batch), self._theta)

    def output(self, state: Equilibrium) -> Array:
        """The network's answer at a state, ``(batch, n_out)``: output activities, or readout probabilities."""
        return self.dynamics.output(state.activities, self._theta)

    def predict(self, x: Any, *, solver: Solver = Picard(), tol: float = 1e-4, max_steps: int = 500) -> Array:
        """The network's answer at its free fixed point, ``(batch, n_out)``."""
        return self.output(self.relax(x, solver=solver, tol=tol, max_steps=max_steps))

    # -- what gradient methods are made of ---------------------------------------------------------------------

    def energy_gradient(self, state: Equilibrium) -> dict[str, Array]:
        """``∂G/∂θ`` at fixed activities and potentials, mean over the batch; synapse and activation parameters."""
        return self.dynamics.energy_gradient(state.states, state.activities, self._theta)

    def contrast(self, above: Equilibrium, below: Equilibrium, width: float) -> dict[str, Array]:
        """``[∂G/∂θ(above) − ∂G/∂θ(below)]/width`` of two phases of the same data, mean over the batch."""
        upper, lower = self.energy_gradient(above), self.energy_gradient(below)
        return {name: (upper[name] - lower[name]) / width for name in upper}

    def drive_vjp(self, state: Equilibrium, lam: Activities, mu: Activities) -> dict[str, Array]:
        """``(∂drive/∂θ)ᵀ λ + (∂ρ/∂θ)ᵀ μ`` at a state, mean over the batch."""
        return self.dynamics.drive_vjp(state.states, state.activities, lam, mu, self._theta)

    def cost_slope(self, state: Equilibrium, y: Any) -> dict[str, Array]:
        """``∂C/∂a`` of every free population."""
        return self.dynamics.cost_slope(state.activities, self.target(y, state.batch), self._theta)

    def cost_slope_rms(self, state: Equilibrium, y: Any) -> np.ndarray:
        """RMS of ``∂C/∂a`` over each sample's free units, ``(batch,)`` float64."""
        return self.rms(self.dynamics.cost_slope_there(state.activities, self.target(y, state.batch), self._theta))

    def cost_gradient(self, state: Equilibrium, y: Any) -> dict[str, Array]:
        """``∂C/∂θ`` of the readout's own parameters, mean over the batch; empty without a readout."""
        return self.dynamics.cost_gradient(state.activities, self.target(y, state.batch), self._theta)

    def transposed(self, state: Equilibrium, lam: Activities) -> dict[str, Array]:
        """``Dᵀ λ`` with ``D = ∂drive/∂a`` at a state."""
        return self.dynamics.transposed(state.activities, lam, self._theta)

    def response(self, state: Equilibrium, delta: Activities) -> dict[str, Array]:
        """``D δ`` with ``D = ∂drive/∂a`` at a state."""
        return self.dynamics.response(state.activities, delta, self._theta)

    def slope(self, state: Equilibrium, v: Activities) -> dict[str, Array]:
        """``ρ'(u) v`` at a state."""
        return self.dynamics.slope(state.states, v, self._theta)

    def unrolled_gradient(
        self, x: Any, y: Any, solver: Picard, steps: int, kept_every: int = 1
    ) -> tuple[dict[str, Array], Activities]:
        """The batch mean of ``dC/dθ`` after ``steps`` free steps from zero, by the chain rule through all of them.

        Args:
            solver: the steps.
            kept_every: keep only every so-manieth state, and take the steps between again on the way back.

        Returns:
            The gradient by every parameter, and the potentials after the steps.
        """
        self.refuse_what_it_cannot_do(Ability.AUTOGRAD, by="unrolled_gradient")
        raise BackendError(f'backend "{self.name}" says that it can {Ability.AUTOGRAD.value}, but does not')

    def reversible_gradient(self, x: Any, y: Any, solver: Picard, steps: int) -> tuple[dict[str, Array], Activities]:
        """The batch mean of ``dC/dθ`` after ``steps`` steps of two tracks, which are taken back on the way.

        Returns:
            The gradient by every parameter, and the potentials u after the steps.

        Raises:
            BackendError: the way back did not find the start.
        """
        self.refuse_what_it_cannot_do(Ability.AUTOGRAD, by="reversible_gradient")
        raise BackendError(f'backend "{self.name}" says that it can {Ability.AUTOGRAD.value}, but does not')

    def rms(self, x: Activities) -> np.ndarray:
        """RMS over each sample's free units, the measure of residuals and nudges; ``(batch,)`` float64.

        A population that ``x`` does not name counts as zeros.
        """
        with np.errstate(all="ignore"):
            return np.sqrt(np.asarray(self.to_numpy(self.dynamics.mean_square(x)), dtype=np.float64))

    @property
    def epsilon(self) -> float:
        """Machine epsilon of the engine's precision."""
        return float(np.finfo(self.dtype).eps)

    # -- what users hand in ------------------------------------------------------------------------------------

    def inputs(self, x: Any) -> Inputs:
        """Data of the clamped populations in the engine's arrays, each in its population's shape.

        What this returns can be handed in wherever data can, and is not looked at again.
        """
        if isinstance(x, Inputs) and x.engine is self:
            return x
        checked = arguments.clamped_data(self.spec, x, self.to_numpy)
        return Inputs(self, {name: self.asarray(array) for name, array in checked.items()})

    def target(self, y: Any, batch: int) -> Array:
        """Targets as ``(batch, n_out)``; integer class labels become one-hot rows.

        What this returned last can be handed in again, and is not looked at again.
        """
        if self._target is None or y is not self._target or y.shape[0] != batch:
            self._target = self.asarray(arguments.targets(self.spec, y, batch, self.to_numpy))
        return self._target

    def batch(self, x: Any) -> int:
        """Number of samples in data for the clamped populations."""
        return self.inputs(x).batch

    def _task(
        self,
        x: Any,
        target: Any,
        betas: tuple[complex, ...],
        start: Equilibrium | Activities | None,
        solver: Solver,
        tol: float | np.ndarray | None,
        max_steps: int,
        asymmetry_at: Equilibrium | None,
    ) -> Task:
        self.refuse_a_solver_it_lacks(solver)
        if any(np.iscomplexobj(beta) for beta in betas):
            self.refuse_what_it_cannot_do(Ability.COMPLEX_NUDGE, by="a complex beta")
        if asymmetry_at is not None:
            self.refuse_what_it_cannot_do(Ability.ASYMMETRY, by="asymmetry_at")
        max_steps = arguments.whole_number(max_steps, "max_steps")
        inputs = self.inputs(x)
        batch = inputs.batch
        if asymmetry_at is not None and asymmetry_at.batch != batch:
            raise DataError(f"asymmetry_at: expected {batch} samples, as in x, found {asymmetry_at.batch}")
        nudged = any(beta != 0 for beta in betas)
        if nudged and target is None:
            raise DataError("target: a nudged phase (beta ≠ 0) needs a target")
        starts = self._start(start, batch)
        return Task(
            inputs=inputs,
            target=self.target(target, batch) if nudged else None,
            betas=betas,
            starts=tuple(starts for _ in betas),
            anchor=None if asymmetry_at is None or not self.spec.asymmetric else asymmetry_at.activities,
            solver=solver,
            tol=None if tol is None else arguments.tolerances(tol, batch),
            max_steps=max_steps,
        )

    def _start(self, start: Equilibrium | Activities | None, batch: int) -> Activities:
        if start is None:
            return {p.name: self.asarray(np.zeros((batch, *p.shape))) for p in self.spec.free}
        states = start.states if isinstance(start, Equilibrium) else start
        found: dict[str, Array] = {}
        for p in self.spec.free:
            if p.name not in states:
                raise DataError(f'start: no potentials for population "{p.name}"')
            # Where a relaxation ended nobody writes.
            found[p.name] = self.own(states[p.name]) if isinstance(start, Equilibrium) else self.asarray(states[p.name])
            if tuple(found[p.name].shape) != (batch, *p.shape):
                wanted = [batch, *p.shape]
                raise DataError(f'start["{p.name}"]: expected shape {wanted}, found {list(found[p.name].shape)}')
        return found
