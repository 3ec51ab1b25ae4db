r"""How far gradient methods are from the truth, over many random batches and for every group of parameters.

The truth is implicit differentiation on the reference engine in float64.  A group is one parameter of the network, and
the whole gradient is one more.  Two kinds of error are told apart:

    of one batch         ‖found − true‖ / ‖true‖, of which the worst counts
    of all batches       the same with the gradients of all batches as one vector

The second is that of groups: a parameter of one number has a gradient that passes through nought from one batch to the
next, and an error relative to that is as large as chance has it.  Where a group has no true gradient in any batch its
error is ``‖found‖`` relative to the whole true gradient, and there is no angle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from neuro_eq import comparison
from neuro_eq.checking.subject import random_samples, single
from neuro_eq.compiler import compile as compile_network
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import TrainingError
from neuro_eq.methods import GradientMethod, ImplicitDifferentiation
from neuro_eq.solvers import Picard, Relaxation
from neuro_eq.spec import Network

ALPHA = 0.9
SETTLED = {
    "float64": Relaxation(solver=Picard(ALPHA), tol=1e-14, max_steps=5000),
    "float32": Relaxation(solver=Picard(ALPHA), eta=1e-7, max_steps=5000),
}
"""How all phases settle: in float64 to a tenth of the residual that is asked for, in float32 as far as it goes."""

RESIDUAL = 1e-12
"""The largest residual in float64, of any sample in any phase."""

NOTHING = 1e-10
"""A group whose part of the true gradient is smaller has none: the adjoint is known to 1e-14 of its size, and a group
is the sum of several hundred of its numbers."""

Batch = tuple[list[tuple[float, float, float]], float, float]
"""What :class:`Estimate` is made of: what every group came to, the units that crossed a kink, the residual."""

MOVED = 0.05
"""Standard deviation of what is added to the start values, so that what starts at nought is not there any more."""


@dataclass(frozen=True)
class Estimate:
    """What one method came to, batch by batch.

    Attributes:
        distance: ``‖found − true‖`` of every group.
        size: ``‖found‖``.
        product: ``⟨found, true⟩``.
        crossed: fraction of the units next to a kink that lie on its other side in another nudged phase; nought where
            nothing has kinks or nothing is nudged.
        residual: the largest of any sample in any phase.
    """

    distance: Float64[np.ndarray, "batches groups"]
    size: Float64[np.ndarray, "batches groups"]
    product: Float64[np.ndarray, "batches groups"]
    crossed: Float64[np.ndarray, " batches"]
    residual: Float64[np.ndarray, " batches"]


@dataclass(frozen=True)
class Equivalence:
    """One network, several methods.

    Attributes:
        groups: the parameters, and the empty name for all of them.
        size: ``‖true‖`` of every group.
        estimates: by the name of the method.
    """

    groups: tuple[str, ...]
    size: Float64[np.ndarray, "batches groups"]
    estimates: Mapping[str, Estimate]

    @cached_property
    def share(self) -> dict[str, float]:
        """Norm of a group's true gradient in all batches, relative to the whole."""
        norms = _length(self.size)
        return self._named(norms / norms[-1])

    @property
    def vanishing(self) -> tuple[str, ...]:
        """The groups that have no true gradient."""
        return tuple(group for group, share in self.share.items() if share <= NOTHING)

    def worst(self, method: str) -> float:
        """The largest error of the whole gradient in one batch."""
        return float(np.max(self.estimates[method].distance[:, -1] / self.size[:, -1]))

    def least_cosine(self, method: str) -> float:
        """The smallest cosine of the whole gradient with the true one in one batch."""
        found = self.estimates[method]
        with np.errstate(invalid="ignore"):  # not a number where nothing was found
            return float(np.min(found.product[:, -1] / (found.size[:, -1] * self.size[:, -1])))

    def error(self, method: str) -> dict[str, float]:
        """The error of every group in all batches; without a true gradient relative to the whole one."""
        norms = _length(self.size)
        none = np.array([group in self.vanishing for group in self.groups])
        return self._named(_length(self.estimates[method].distance) / np.where(none, norms[-1], norms))

    def cosine(self, method: str) -> dict[str, float]:
        """The cosine of every group with its true gradient in all batches; not a number where it has none."""
        found, norms = self.estimates[method], _length(self.size)
        none = np.array([group in self.vanishing for group in self.groups])
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = np.sum(found.product, axis=0) / (_length(found.size) * norms)
        return self._named(np.where(none, np.nan, cosines))

    def _named(self, values: Float64[np.ndarray, " groups"]) -> dict[str, float]:
        return dict(zip(self.groups, values.tolist(), strict=True))


def measure(
    spec: Network,
    methods: Mapping[str, GradientMethod],
    *,
    batches: int = 100,
    size: int = 8,
    seed: int = 0,
    backend: str = "reference",
    dtype: str = "float64",
    settled: Relaxation | None = None,
    progress: Callable[[int], Any] = lambda _: None,
) -> Equivalence:
    """Every method against the truth, each time with other parameters and other samples.

    Args:
        spec: a network with a cost; its parameters are its start values and a little noise.
        methods: by the name that they are reported under.
        batches: how many.
        size: samples in each.
        seed: of everything random.
        backend, dtype: the engine that the methods run on; the truth is the reference engine's.
        settled: how all phases settle; :data:`SETTLED` by default.
        progress: is called with the number of batches that are done.

    Raises:
        TrainingError: a network did not settle or has no gradient, so that nothing can be said of it.
    """
    how = settled or SETTLED[dtype]
    found: dict[str, list[Batch]] = {name: [] for name in methods}
    sizes: list[list[float]] = []
    with compile_network(spec, "reference") as oracle, compile_network(spec, backend, dtype) as net:
        for batch in range(batches):
            parameters = moved_start(spec, seed + batch)
            x, y = random_samples(spec, size, seed + batch)
            oracle.set_parameters(parameters)
            net.set_parameters(parameters)
            true, evidence = ImplicitDifferentiation().gradient(oracle, x, y, free=settled or SETTLED["float64"])
            _refuse_unsettled(spec, batch, evidence.free)
            sizes.append([float(np.linalg.norm(value)) for value in _groups(true)])
            if not sizes[-1][-1] > 0:
                raise TrainingError(f'"{spec.name}": batch {batch} has no gradient at all, so nothing can be found')
            for name, method in methods.items():
                answer, evidence = method.gradient(net, x, y, free=how)
                crossed = crossed_share(net, evidence.nudged)
                residual = float(np.max(evidence.residual))
                found[name].append((_compared(comparison.numbers(net, answer), true), crossed, residual))
            progress(batch + 1)
    return Equivalence((*spec.parameter_shapes, ""), np.array(sizes), {n: _estimate(rows) for n, rows in found.items()})


def moved_start(spec: Network, seed: int) -> dict[str, np.ndarray]:
    """The start values and a little noise, as numbers that float32 holds."""
    rng = np.random.default_rng([seed, 40])
    start = spec.initial_parameters(seed)
    moved = {name: single(value + MOVED * rng.normal(size=value.shape)) for name, value in start.items()}
    return {name: single(value) for name, value in spec.project(moved).items()}


def crossed_share(net: Engine, phases: tuple[Equilibrium, ...]) -> float:
    """The fraction of units next to a kink that are on its other side in some other phase."""
    if len(phases) < 2:
        return 0.0
    sides = [pieces(net, phase) for phase in phases]
    if not sides[0].size:
        return 0.0
    return float(np.mean(np.any([side != sides[0] for side in sides[1:]], axis=0)))


def pieces(net: Engine, state: Equilibrium) -> np.ndarray:
    """On which piece of what is analytic piece by piece every unit is, of populations and inside synapses."""
    found: list[Any] = []
    for population in net.spec.free:
        here = population.activation.pieces(state.states[population.name])
        found += [] if here is None else [here]
    for synapse in net.spec.synapses:
        found += synapse.pieces(state.activities, net.dynamics.own(net.parameters, synapse.name))
    return np.concatenate([np.zeros(0, dtype=np.int64), *(net.to_numpy(one).ravel() for one in found)])


def _refuse_unsettled(spec: Network, batch: int, free: Equilibrium) -> None:
    if not free.converged.all():
        raise TrainingError(
            f'"{spec.name}": {np.sum(~free.converged)} of {free.batch} samples of batch {batch} did not settle, so '
            "their gradients mean nothing; a smaller gain would help"
        )


def _groups(gradient: comparison.Numbers) -> list[np.ndarray]:
    """Every group as a vector, the whole last."""
    return [*(np.ravel(value) for value in gradient.values()), comparison.joined(gradient)]


def _compared(found: comparison.Numbers, true: comparison.Numbers) -> list[tuple[float, float, float]]:
    """Distance, size and product of every group."""
    pairs = zip(_groups({name: found[name] for name in true}), _groups(true), strict=True)
    return [
        (float(np.linalg.norm(left - right)), float(np.linalg.norm(left)), float(left @ right)) for left, right in pairs
    ]


def _estimate(rows: list[Batch]) -> Estimate:
    compared, crossed, residuals = zip(*rows, strict=True)
    numbers = np.array(compared)
    return Estimate(numbers[..., 0], numbers[..., 1], numbers[..., 2], np.array(crossed), np.array(residuals))


def _length(values: Float64[np.ndarray, "batches groups"]) -> Float64[np.ndarray, " groups"]:
    """Of all batches as one vector."""
    return np.sqrt(np.sum(values * values, axis=0))
