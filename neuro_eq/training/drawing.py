"""What a batch draws: one draw for all of its phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from neuro_eq.arguments import parted
from neuro_eq.spec import Network


def with_draws(spec: Network, x: Any, seed: Sequence[int]) -> Any:
    """The data, and draws for the populations that are drawn; what the draws are depends on the seed and names alone.

    Args:
        spec: the network.
        x: data of the clamped populations whose data are given, an array where there is one such population.
        seed: whole numbers, another sequence for every batch.
    """
    drawn = [population for population in spec.clamped if population.drawn is not None]
    if not drawn:
        return x
    given: dict[str, Any] = dict(x) if isinstance(x, Mapping) else parted(spec.given, x)
    batch = len(next(iter(given.values())))
    for population in drawn:
        assert population.drawn is not None
        rng = np.random.default_rng([*seed, *population.name.encode()])
        given[population.name] = population.drawn.sample((batch, *population.shape), rng)
    return given
