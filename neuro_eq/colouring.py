r"""Which populations a sweep of block Gauss–Seidel updates together, and which of them it solves exactly.

Populations of one colour share no synapse, so that each one's drive stays what it is while the others of its colour
move: the whole colour is updated at once.  Every engine sweeps in the order that stands here.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from neuro_eq.costs import SquaredError
from neuro_eq.spec import Network
from neuro_eq.synapses import Synapse


def colours(spec: Network) -> tuple[tuple[str, ...], ...]:
    """The free populations by colour: greedy, in the spec's order, so that a chain alternates between two.

    Two populations are neighbours when a synapse that moves touches both, whichever it drives: a directed synapse
    pulls on its source too where the asymmetric correction is taken, by ``(Dᵀ − D)(a − a*)``.  A synapse on many
    populations makes all its pairs neighbours.
    """
    free = [population.name for population in spec.free]
    near: dict[str, set[str]] = {name: set() for name in free}
    for synapse in _moving(spec):
        for one, other in combinations([name for name in synapse.populations if name in near], 2):
            near[one].add(other)
            near[other].add(one)
    found: list[list[str]] = []
    for name in free:
        fitting = next((colour for colour in found if near[name].isdisjoint(colour)), None)
        if fitting is None:
            found.append([name])
        else:
            fitting.append(name)
    return tuple(tuple(colour) for colour in found)


def feeds_back(spec: Network, population: str) -> bool:
    """Whether a population's drive depends on its own activity, the nudge aside.

    The asymmetric correction adds nothing here: onto its own population a synapse puts ``(Dᵀ − D)δ`` only if its
    drive already depends on it.
    """
    return any(synapse.feeds_back(population) for synapse in _moving(spec))


def exact(spec: Network, population: str, beta: complex = 0.0) -> bool:
    """Whether a sweep solves ``u = drive`` of this population in closed form, the others held, under this nudge.

    A population with no synapse on itself takes ``u = drive``; under a nudge by a squared error it solves
    ``u + βρ(u) = drive + βy`` where ρ is piecewise linear and ``1 + β > 0`` keeps the left-hand side monotone.
    """
    if feeds_back(spec, population):
        return False
    cost = spec.cost
    if beta == 0 or cost is None or cost.population != population:
        return True
    # A complex group holds complex states, which have no pieces to tell apart.
    convex = not np.iscomplexobj(beta) and 1.0 + beta.real > 0.0
    return convex and isinstance(cost, SquaredError) and spec.population(population).activation.piecewise_linear


def _moving(spec: Network) -> tuple[Synapse, ...]:
    clamped = frozenset(population.name for population in spec.clamped)
    return tuple(synapse for synapse in spec.synapses if not synapse.still(clamped))
