"""What is checked: a network with parameters, samples and a way of settling, the same numbers for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from neuro_eq import arguments
from neuro_eq.arrays import Activities, Array, Parameters
from neuro_eq.backend import backend as find
from neuro_eq.dynamics import Dynamics
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import DataError
from neuro_eq.methods import DyadicEP, Evidence, GradientMethod
from neuro_eq.solvers import Picard, Relaxation
from neuro_eq.spec import Network
from neuro_eq.synapses import TokenEmbedding

BUDGET = 5000
"""Steps that the oracle may take where its answer has to be exact."""

ROUNDINGS = 64.0
"""Machine epsilons, times the size of the potentials, below which a residual is only the rounding of a sum."""

PROBE = 1e-6
"""Relative size of the disturbance that shows what rounding does: far above float64's own, and still linear."""


def single(values: Any) -> np.ndarray:
    """The nearest numbers that float32 holds, in float64: engines of either precision then start from equal ones."""
    with np.errstate(over="ignore"):
        return np.asarray(values, dtype=np.float32).astype(np.float64)


@dataclass(frozen=True)
class Subject:
    """A network under examination.

    Attributes:
        spec: the network.
        parameters: all of them, float64 numbers that float32 holds.
        x: clamped population to data ``(batch, *shape)``.
        y: targets ``(batch, n_out)``, or None for a network without a cost.
        settling: the settling that is judged.
        beta: the nudge that is judged.
        seed: of all that is random.
    """

    spec: Network
    parameters: Mapping[str, np.ndarray]
    x: Mapping[str, np.ndarray]
    y: np.ndarray | None
    settling: Relaxation
    beta: float
    seed: int

    @property
    def batch(self) -> int:
        """Number of samples."""
        return len(next(iter(self.x.values())))

    @property
    def symmetric(self) -> bool:
        """Whether ``D = Dᵀ``."""
        return not self.spec.asymmetric

    @property
    def smooth(self) -> bool:
        """Whether everything is analytic, so that errors fall with powers of β."""
        return not self.kinked and all(synapse.analytic for synapse in self.spec.synapses)

    @property
    def kinked(self) -> tuple[str, ...]:
        """The free populations whose activation has kinks."""
        return tuple(p.name for p in self.spec.free if not p.activation.analytic)

    @property
    def exact(self) -> Relaxation:
        """Settling as far as float64 goes."""
        return Relaxation(solver=self.settling.solver, tol="nudge", eta=1e-12, max_steps=BUDGET)

    def rng(self, stream: int) -> np.random.Generator:
        """A stream of random numbers of its own for everything that needs one."""
        return np.random.default_rng([self.seed, 31, stream])

    def starts(self, count: int) -> list[dict[str, np.ndarray]]:
        """Random potentials of standard deviation one."""
        rng = self.rng(1)
        return [{p.name: single(rng.normal(size=(self.batch, *p.shape))) for p in self.spec.free} for _ in range(count)]

    @cached_property
    def oracle(self) -> Engine:
        """The network on the reference engine."""
        return self.compile(find("reference").load(), "float64")

    @cached_property
    def rest(self) -> Equilibrium:
        """The oracle's free fixed point from zero potentials, settled as far as float64 goes."""
        size = self.oracle.rms(self.oracle.relax(self.x, max_steps=50, solver=self.settling.solver).states)
        tol = ROUNDINGS * self.oracle.epsilon * np.where(np.isfinite(size), np.maximum(size, 1e-3), 1.0)
        return self.oracle.relax(self.x, solver=self.settling.solver, tol=tol, max_steps=BUDGET)

    def compile(self, engine: type[Engine], dtype: str) -> Engine:
        """The network on an engine, with these parameters."""
        net = engine(self.spec, dtype=dtype, seed=self.seed)
        net.set_parameters(self.parameters)
        return net

    def disturbed(self, draw: int) -> Engine:
        """The oracle with drives that are off by :data:`PROBE`, differently in every relaxation."""
        net = self.compile(find("reference").load(), "float64")
        net.dynamics = Disturbed(self.spec, self._sizes, self.rng(100 + draw))
        return net

    @cached_property
    def _sizes(self) -> dict[str, float]:
        """The largest potential of each population at rest: what its drive's rounding is relative to."""
        states = self.oracle.relax(self.x, solver=self.settling.solver, tol=None, max_steps=50).states
        return {name: float(np.nan_to_num(np.max(np.abs(value)))) for name, value in states.items()}

    def gradient(
        self, method: GradientMethod, net: Engine, how: Relaxation | None = None
    ) -> tuple[dict[str, Array], Evidence]:
        """A method's gradient on these samples; the linear relaxation of DyadicEP is Picard's alone."""
        nudged = how
        if isinstance(method, DyadicEP) and not isinstance(self.settling.solver, Picard):
            nudged = (how or method.settles).model_copy(update={"solver": Picard()})
        return method.gradient(net, self.x, self.y, free=how, nudged=nudged)


class Disturbed(Dynamics):
    """Equations whose drives are off by a little, as they are on an engine that rounds.

    An engine's rounding at a fixed point is the same in every step, and different from phase to phase.  So the error
    is drawn once a relaxation, where the still part of the drive is summed, for every phase of every sample alone.
    """

    def __init__(self, spec: Network, sizes: Mapping[str, float], rng: np.random.Generator) -> None:
        super().__init__(spec)
        self.sizes, self.rng = sizes, rng

    def still_drive(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        drive = super().still_drive(a, theta)
        return {
            name: value + PROBE * self.sizes[name] * self.rng.uniform(-1.0, 1.0, value.shape)
            for name, value in drive.items()
        }


def random_samples(spec: Network, count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """Inputs, and targets that any cost takes: random classes as one-hot rows.

    Inputs have the mean 0 and the standard deviation 1, ids are those of the vocabulary, masks let one token in two
    take part and the first of every sample, and what is drawn is drawn.
    """
    rng = np.random.default_rng([seed, 30])
    x = {p.name: single(rng.normal(size=(count, *p.shape))) for p in spec.given}
    ids = {s.source: s.vocabulary for s in spec.synapses if isinstance(s, TokenEmbedding)}
    for name, size in ids.items():
        if len(spec.shapes[name]) == 1:
            x[name] = single(rng.integers(size, size=x[name].shape))
    for name in _paddings(spec):
        x[name] = x[name] if name in ids else single(x[name] > 0)
        x[name][:, 0] = np.maximum(x[name][:, 0], 1.0)
    for p in spec.clamped:
        if p.drawn is not None:
            x[p.name] = single(p.drawn.sample((count, *p.shape), rng))
    if spec.cost is None:
        return x, None
    outputs = spec.cost.outputs(spec.shapes)
    if outputs == 1:
        return x, single(rng.uniform(size=(count, 1)))
    return x, np.eye(outputs)[rng.integers(outputs, size=count)]


def _paddings(spec: Network) -> set[str]:
    """The given populations that say which tokens take part."""
    named = {getattr(reader, "padding", None) for reader in (*spec.synapses, spec.cost)}
    return {p.name for p in spec.given if p.name in named}


def given_samples(spec: Network, x: Any, y: Any, to_numpy: Any = np.asarray) -> tuple[dict[str, np.ndarray], Any]:
    """A user's samples, checked, as numbers that float32 holds.

    Raises:
        DataError: they do not fit the network.
    """
    inputs = {name: single(value) for name, value in arguments.clamped_data(spec, x, to_numpy).items()}
    if spec.cost is None:
        return inputs, None
    if y is None:
        raise DataError("y: the network has a cost, so its samples need targets")
    count = len(next(iter(inputs.values())))
    return inputs, single(arguments.targets(spec, y, count, to_numpy))
