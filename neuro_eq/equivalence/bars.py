"""What is measured of a network for the table, and what has to come of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from neuro_eq.equivalence.measuring import RESIDUAL, Equivalence, measure
from neuro_eq.errors import SpecError
from neuro_eq.methods import BPTT, JFB, AsymEP, DyadicEP, EqProp, GradientMethod, HolomorphicEP, Phantom, VectorField
from neuro_eq.spec import Network
from neuro_eq.synapses import SymmetricSynapse

BETAS = (0.5, 0.22, 0.1, 0.01, 0.001)
"""Nudges of a smooth network."""

SMALLEST = 1e-4
"""One more nudge where there are kinks: the error is by the units that cross one, and those grow fewer."""

FITTED = (0.1, 0.01, 0.001)
"""Nudges that the order of the error is fitted to: above them higher orders count as well."""

JUDGED = 0.001
"""The nudge at which a smooth network is held to its bar."""

SINGLE = 0.03
"""The nudge of a smooth network in float32: below it its noise rises as 1/β, above it the error as β²."""

SINGLE_KINKED = (0.03, 0.01, 0.001)
"""Nudges in float32 where there are kinks, of which the best counts: noise wants a large one, kinks a small one."""

RADIUS = 0.1
"""Of the circle of nudges of the holomorphic gradient."""

STEPS = 300
"""That backpropagation goes through; all networks of the table have settled long before."""

CENTERED, DYADIC, EXACT, ORDER, OFF = 1e-5, 1e-9, 1e-9, 0.1, 1e-8
"""The bars: of the error at :data:`JUDGED`, of dyadic EP, of backpropagation through time, of the order's distance from
2, and of groups whose true gradient is nought, absolutely."""

KINKED_COSINE, SINGLE_COSINE = 0.999, 0.9999


@dataclass(frozen=True)
class Measured:
    """One network, measured.

    Attributes:
        method: the name of the local method, EqProp where there is an energy and AsymEP where there is none.
        smooth: whether everything in it is analytic.
        double: in float64 on the reference engine.
        through: BPTT in float64 on the torch engine.
        single: the local method in float32 on the torch engine.
    """

    method: str
    smooth: bool
    double: Equivalence
    through: Equivalence
    single: Equivalence

    @property
    def groups(self) -> tuple[str, ...]:
        """The parameters, and the empty name for all of them."""
        return self.double.groups

    def order(self, group: str) -> float:
        """The power of β with which the error of a group falls; not a number where there is no error to fall."""
        if group in self.untouched:
            return math.nan
        errors = [self.double.error(at(beta))[group] for beta in FITTED]
        # Points a decade apart: the slope of least squares is that between the first and the last.
        return math.log(errors[0] / errors[-1]) / math.log(FITTED[0] / FITTED[-1])

    @property
    def untouched(self) -> tuple[str, ...]:
        """Groups that no nudge has an effect on: no true gradient, or one that is taken at the free state."""
        errors = self.double.error(at(BETAS[0]))
        return tuple(group for group in self.groups if errors[group] <= OFF)

    @property
    def single_at(self) -> str:
        """The local method in float32 at the nudge that suits it best."""
        return max(self.single.estimates, key=self.single.least_cosine)

    def missed(self) -> Iterator[str]:
        """One sentence for each bar that is missed."""
        residual = max(float(estimate.residual.max()) for estimate in self.double.estimates.values())
        if not residual <= RESIDUAL:
            yield f"a residual of {residual:.1e} is above {RESIDUAL:g}"
        for name, estimates, bar in (("dyadic", self.double, DYADIC), ("BPTT", self.through, EXACT)):
            yield from _above({**estimates.error(name), "one batch": estimates.worst(name)}, bar, name)
        yield from self._missed_smooth() if self.smooth else self._missed_kinked()
        cosine = self.single.least_cosine(self.single_at)
        bar = SINGLE_COSINE if self.smooth else KINKED_COSINE
        if not cosine > bar:
            yield f"float32: a cosine of {cosine:.5f} is not above {bar:g}"

    def _missed_smooth(self) -> Iterator[str]:
        name = f"{self.method} at β = {JUDGED:g}"
        errors = {**self.double.error(at(JUDGED)), "one batch": self.double.worst(at(JUDGED))}
        nothing = {group: errors.pop(group) for group in self.double.vanishing}
        yield from _above(errors, CENTERED, name)
        yield from _above(nothing, OFF, name)
        for group in self.groups:
            order = self.order(group)
            if abs(order - 2.0) > ORDER:
                yield f"{self.method}: the error of {group or 'all'} falls with β to the power {order:.2f}, not 2"

    def _missed_kinked(self) -> Iterator[str]:
        cosine = self.double.least_cosine(at(SMALLEST))
        if not cosine > KINKED_COSINE:
            yield f"{self.method} at β = {SMALLEST:g}: a cosine of {cosine:.5f} is not above {KINKED_COSINE:g}"


def _above(errors: Mapping[str, float], bar: float, name: str) -> Iterator[str]:
    for group, error in errors.items():
        if not error <= bar:
            yield f"{name}: the error of {group or 'all'} is {error:.1e}, above {bar:g}"


def at(beta: float) -> str:
    """The name of the local method at one nudge."""
    return f"β = {beta:g}"


def measure_network(
    spec: Network, *, batches: int, size: int, seed: int = 0, progress: Callable[[str], object] = lambda _: None
) -> Measured:
    """All that the table says of a network."""
    local: type[EqProp | AsymEP] = EqProp
    if not all(isinstance(synapse, SymmetricSynapse) for synapse in spec.synapses):
        local = AsymEP
    smooth = is_smooth(spec)
    betas = BETAS if smooth else (*BETAS, SMALLEST)
    methods: dict[str, GradientMethod] = {at(beta): local(beta) for beta in betas}
    methods["dyadic"] = DyadicEP()
    methods |= {"vector field": VectorField(JUDGED), "JFB": JFB(), "phantom": Phantom()}
    if applies(HolomorphicEP(), spec):
        methods["holomorphic"] = HolomorphicEP(RADIUS, 4)
    nudges = (SINGLE,) if smooth else SINGLE_KINKED

    def part(what: str, methods: dict[str, GradientMethod], backend: str, dtype: str) -> Equivalence:
        return measure(
            spec, methods, batches=batches, size=size, seed=seed, backend=backend, dtype=dtype,
            progress=lambda done: progress(f"{what}, {done} of {batches}"),
        )  # fmt: skip

    return Measured(
        method=local.__name__,
        smooth=smooth,
        double=part("float64", methods, "reference", "float64"),
        through=part("BPTT", {"BPTT": BPTT(STEPS)}, "torch", "float64"),
        single=part("float32", {at(beta): local(beta) for beta in nudges}, "torch", "float32"),
    )


def is_smooth(spec: Network) -> bool:
    """Whether everything in a network is analytic."""
    return all(s.analytic for s in spec.synapses) and all(p.activation.analytic for p in spec.free)


def applies(method: GradientMethod, spec: Network) -> bool:
    """Whether a method can be asked for this network's gradient."""
    try:
        method.refuse(spec)
    except SpecError:
        return False
    return True
