r"""A budget of norms that keeps a network a contraction.

Norms of 1 everywhere are not enough: in a chain of n free populations they add up to ``2cos(π/(n+1))``.  The budget is
joint.  With

    N_ij = Σ_s ‖∂drive_i/∂a_j‖₂ · sup‖ρ_j'‖₂        over the synapses s from the free population j onto i

every linear response has ``‖Dρ'‖₂ ≤ ‖N‖₂``, whatever the data and the state, so ``‖N‖₂ ≤ c < 1`` leaves one fixed
point, to which every start settles.  What comes from data and what leaves through a readout is free.

A drive that jumps has a response on either side and none where it does: free maps that are pooled by their maximum may
have more fixed points than one within the budget, or none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from array_api_compat import array_namespace
from pydantic import Field
from scipy.optimize import brentq

from neuro_eq.arrays import Array, Parameters, Reach
from neuro_eq.errors import SpecError
from neuro_eq.frozen import Frozen
from neuro_eq.spec import Network, Population
from neuro_eq.synapses import Synapse

Bounds = dict[tuple[str, str], float]


class NormBudget(Frozen):
    """Keep ``‖N‖₂ ≤ c`` by scaling the synapses between free populations after a step.

    The scale is one number for all of them: this is the one operation of a training run that is not local.

    Args:
        c: the budget, in (0, 1).
    """

    c: float = Field(default=0.9, gt=0.0, lt=1.0)

    def __init__(self, c: float = 0.9, **data: Any) -> None:
        super().__init__(**{"c": c, **data})

    def value(self, spec: Network, parameters: Parameters) -> float:
        """``‖N‖₂``: how much of the budget of 1 these parameters use.

        Raises:
            SpecError: a synapse or an activation whose response has no bound.
        """
        return _value(spec, parameters, _inside(spec, parameters))

    def project(self, spec: Network, parameters: Parameters) -> dict[str, Array]:
        """The parameters with ``‖N‖₂ ≤ c``: as they are where that holds, scaled by a common factor where not.

        Raises:
            SpecError: as :meth:`value`.
        """
        inside = _inside(spec, parameters)
        projected = dict(parameters)
        if _value(spec, parameters, inside) <= self.c:
            return projected
        learned = {synapse: bounds for synapse, bounds in inside.items() if synapse.parameter_shapes(spec.shapes)}
        factor = self._factor(spec, parameters, inside, learned)
        for synapse in learned:
            own = _own(parameters, synapse.name)
            scaled = synapse.scaled(own, factor * (1.0 - _rounding(spec, own)))
            projected.update({f"{synapse.name}.{name}": new for name, new in scaled.items()})
        return projected

    def _factor(
        self,
        spec: Network,
        parameters: Parameters,
        inside: Mapping[Synapse, Bounds],
        learned: Mapping[Synapse, Bounds],
    ) -> float:
        """The ``s`` with ``‖F + s S‖₂ = c``: F the norms of the spec's own couplings, S of what is learned."""
        moving = _norms(spec, parameters, learned)
        fixed = _norms(spec, parameters, inside) - moving
        if not fixed.any():
            return self.c / float(np.linalg.norm(moving, 2))
        rest = float(np.linalg.norm(fixed, 2))
        if rest >= self.c:
            raise SpecError(
                f"couplings that are not learned use {rest:.3g} of the budget of {self.c:g}; lower them, or raise c"
            )
        # The norm of a matrix without negative entries rises with each of them.
        factor = brentq(lambda s: float(np.linalg.norm(fixed + s * moving, 2)) - self.c, 0.0, 1.0, xtol=1e-15)
        return float(factor) * (1.0 - 1e-13)  # the root is known to so much


def _inside(spec: Network, parameters: Parameters) -> dict[Synapse, Bounds]:
    """The synapses between free populations, each with ``{(post, pre): norm}``."""
    free = {p.name for p in spec.free}
    reach = {p.name: _reach(p, parameters) for p in spec.populations}
    inside: dict[Synapse, Bounds] = {}
    for i, synapse in enumerate(spec.synapses):
        if not (free.intersection(synapse.sources) and free.intersection(synapse.driven)):
            continue
        try:
            bounds = synapse.response_bound_within(_own(parameters, synapse.name), reach)
        except SpecError as error:
            raise error.inside(f"synapses[{i}]") from None
        inner = {pair: norm for pair, norm in bounds.items() if free.issuperset(pair)}
        if not all(math.isfinite(norm) for norm in inner.values()):
            raise SpecError(f'the norm of "{synapse.name}" is not finite, so no budget can hold it', f"synapses[{i}]")
        if inner:
            inside[synapse] = inner
    return inside


def _reach(population: Population, parameters: Parameters) -> Reach:
    rows = population.size // population.shape[-1]
    if population.clamped:
        largest = math.inf if population.drawn is None else population.drawn.largest
        return Reach(rows, largest * math.sqrt(population.shape[-1]))
    return Reach(rows, population.activation.row_sup(_own(parameters, population.name), population.shape))


def _value(spec: Network, parameters: Parameters, inside: Mapping[Synapse, Bounds]) -> float:
    """``‖N‖₂``."""
    return float(np.linalg.norm(_norms(spec, parameters, inside), 2))


def _norms(spec: Network, parameters: Parameters, inside: Mapping[Synapse, Bounds]) -> np.ndarray:
    """``N`` of these synapses, ``(free, free)``."""
    place = {p.name: i for i, p in enumerate(spec.free)}
    norms = np.zeros((len(place), len(place)))
    for bounds in inside.values():
        for (post, pre), norm in bounds.items():
            norms[place[post], place[pre]] += norm
    for i, population in enumerate(spec.populations):
        if population.clamped or not norms[:, place[population.name]].any():
            continue
        slope = population.activation.slope_sup(_own(parameters, population.name))
        if not math.isfinite(slope):
            raise SpecError(
                f'the slope of "{population.activation.kind}" has no bound, so no budget can hold it',
                f"populations[{i}].activation",
            )
        norms[:, place[population.name]] *= slope
    return norms


def _rounding(spec: Network, own: Parameters) -> float:
    """How much scaling in the parameters' own precision may miss, relative to the norm.

    Rounding moves every entry by half an epsilon at most, hence the spectral norm by ``½ε‖W‖_F ≤ ½ε·√rank·‖W‖₂``; the
    rest is for the factor and for the eigenvalue that the norm was taken from.
    """
    epsilons = [float(array_namespace(value).finfo(value.dtype).eps) for value in own.values()]
    return 4.0 * max(epsilons, default=0.0) * math.sqrt(max(p.size for p in spec.free))


def _own(parameters: Parameters, owner: str) -> dict[str, Array]:
    start = owner + "."
    return {name[len(start) :]: value for name, value in parameters.items() if name.startswith(start)}
