"""What a synapse is: a symmetric one has an energy, a directed one only a drive.

Both are specs (frozen, validated data) *and* mathematics: each method is written once against the array API and
serves the reference engine, the torch engine and the cold paths of the others.  Every method takes the
activities of the populations that the synapse touches, sample axis first, and returns new arrays.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping

import numpy as np
from pydantic import Field

from neuro_eq.arrays import Activities, Array, Parameters, Reach, Samples, Shape
from neuro_eq.errors import SpecError
from neuro_eq.frozen import Frozen


class Synapse(Frozen):
    """Anything that drives populations.  ``name`` defaults to the names of its ends (``source_target``)."""

    kind: str
    name: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")

    @property
    @abstractmethod
    def populations(self) -> tuple[str, ...]:
        """Every population that the synapse reads or drives, each once."""

    @property
    @abstractmethod
    def driven(self) -> tuple[str, ...]:
        """The populations that it drives (a clamped one among them ignores it)."""

    @property
    def sources(self) -> tuple[str, ...]:
        """The populations that its drive depends on."""
        return self.populations

    @property
    def data(self) -> tuple[str, ...]:
        """The populations that it takes as they are given and never drives, such as a mask: they must be clamped."""
        return ()

    @property
    def analytic(self) -> bool:
        """Whether its energy continues to complex activities, as the holomorphic gradient needs."""
        return True

    @property
    def moved(self) -> tuple[str, ...]:
        """The populations whose steps it changes: those that it drives, or that it only holds back."""
        return self.driven

    @property
    @abstractmethod
    def default_name(self) -> str:
        """The name that a network gives it where the user gave none."""

    def population_fields(self) -> dict[str, str]:
        """Field name to population name, so that an error can point at the place in the user's file."""
        return {field: getattr(self, field) for field in ("source", "target") if hasattr(self, field)}

    def shape_problem(self, shapes: Mapping[str, Shape]) -> str | None:
        """One sentence when the shapes of its populations do not fit it."""
        return None

    def data_problem(self, a: Mapping[str, np.ndarray]) -> str | None:
        """One sentence when what the populations of ``data`` are given is not what it is defined for."""
        return None

    @abstractmethod
    def parameter_shapes(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """Name and shape of each parameter, given the shapes of all populations."""

    @abstractmethod
    def initial(self, shapes: Mapping[str, Shape], rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Start values of the parameters, float64."""

    def project(self, theta: Parameters) -> dict[str, Array]:
        """The nearest admissible parameters (a symmetric self-synapse keeps ``W = Wᵀ``)."""
        return dict(theta)

    def still(self, clamped: Collection[str]) -> bool:
        """Whether its drive onto free populations depends on clamped ones only, so that once a phase is enough."""
        return all(name in clamped for name in self.sources)

    def feeds_back(self, population: str) -> bool:
        """Whether what it drives this population with depends on that population's own activity.

        Where none does, block Gauss–Seidel solves a population exactly.  An energy that is linear in each activity
        by itself says no; this default is always safe.
        """
        return population in self.driven and population in self.sources

    @abstractmethod
    def drive(self, a: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        """What it adds to the drive of those populations of ``driven`` that are in ``onto``."""

    @abstractmethod
    def response(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        """``D δ`` onto ``onto``: the change of its drives for a small change ``δ`` of the activities at ``a``."""

    @abstractmethod
    def transposed(self, a: Activities, lam: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        """``Dᵀ λ`` onto ``onto``, at the activities ``a``."""

    def asymmetry(self, a: Activities, delta: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        """``(Dᵀ − D) δ`` onto ``onto``, at the activities ``a``; what its halves share may be done once."""
        found = dict(self.transposed(a, delta, theta, onto))
        for name, value in self.response(a, delta, theta, onto).items():
            found[name] = found[name] - value if name in found else -value
        return found

    def response_bound(self, theta: Parameters) -> dict[tuple[str, str], float]:
        """``{(post, pre): sup ‖∂drive_post/∂a_pre‖₂}`` over all activities; a pair that is not named does not respond.

        Raises:
            SpecError: there is no such bound.
        """
        raise SpecError(f'"{self.name}" of kind "{self.kind}" has no bound on its response, so no budget can hold it')

    def response_bound_within(self, theta: Parameters, reach: Mapping[str, Reach]) -> dict[tuple[str, str], float]:
        """:meth:`response_bound` over activities that go no further than ``reach``.

        Attention has a bound only where activities do.
        """
        return self.response_bound(theta)

    def scaled(self, theta: Parameters, factor: float) -> dict[str, Array]:
        """Parameters whose bound on the response is at most ``factor`` times as large, ``0 < factor < 1``."""
        return {name: factor * value for name, value in theta.items()}

    @abstractmethod
    def drive_vjp(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        """``(∂drive/∂θ)ᵀ λ`` at fixed activities, mean over the batch."""

    def pieces(self, a: Activities, theta: Parameters) -> tuple[Array, ...]:
        """Where its drive is analytic piece by piece: on which piece each of its inner units is, as whole numbers.

        Two phases in which a number differs lie on two sides of a kink, and a contrast of them is off by that.
        """
        return ()


class SymmetricSynapse(Synapse):
    """A synapse with an energy ``e(a; θ)``; it drives every population that it touches by ``−∂e/∂a_p``."""

    @property
    def driven(self) -> tuple[str, ...]:
        return self.populations

    @abstractmethod
    def energy(self, a: Activities, theta: Parameters) -> Samples:
        """``e(a; θ)`` of each sample."""

    @abstractmethod
    def gradient(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        """``∂e/∂θ`` at fixed activities, mean over the batch."""

    def transposed(self, a: Activities, lam: Activities, theta: Parameters, onto: Collection[str]) -> dict[str, Array]:
        """The Hessian of an energy is symmetric, so ``Dᵀ λ = D λ``."""
        return self.response(a, lam, theta, onto)


class DirectedSynapse(Synapse):
    """A synapse without an energy; it drives its target only, by ``f(a_pre; θ)``."""
