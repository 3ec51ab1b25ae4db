"""The small networks that experiments compare, by a name and three sizes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

from neuro_eq.budget import NormBudget
from neuro_eq.errors import SpecError
from neuro_eq.models import (
    conv_hopfield,
    energy_transformer,
    gated_mlp,
    layered_hopfield,
    looped_mlp,
    looped_transformer,
    modern_hopfield_mlp,
    toroidal_mlp,
)
from neuro_eq.spec import Network

ROWS: dict[str, Callable[[int, int, int], Network]] = {
    "layered_hopfield": lambda n, h, k: layered_hopfield([n, h, h, k], cost="cross_entropy", gain=0.5),
    "looped_mlp": looped_mlp,
    "looped_mlp, directed": lambda n, h, k: looped_mlp(n, h, k, symmetric=False),
    "toroidal_mlp": toroidal_mlp,
    "toroidal_mlp, directed": lambda n, h, k: toroidal_mlp(n, h, k, symmetric=False),
    "modern_hopfield_mlp": modern_hopfield_mlp,
    "gated_mlp, step": gated_mlp,
    "gated_mlp, drive": lambda n, h, k: gated_mlp(n, h, k, gate="drive"),
}
"""Networks that see a row of numbers: ``(n_in, n_hidden, n_out)``; the answer is read outside the dynamics."""


def image(features: int) -> tuple[tuple[int, int], int]:
    """A row of numbers as an image, as nearly square as it goes, and the side of its patches."""
    height = max(side for side in range(1, int(features**0.5) + 1) if features % side == 0)
    return (height, features // height), 2 if height % 2 == 0 and (features // height) % 2 == 0 else 1


def _energy_transformer(n: int, h: int, k: int) -> Network:
    shape, patch = image(n)
    return energy_transformer(shape, k, patch=patch, width=max(h // 4, 4), heads=2)


def _looped_transformer(n: int, h: int, k: int, symmetric: bool = False) -> Network:
    shape, patch = image(n)
    return looped_transformer(shape, k, patch=patch, width=max(h // 4, 4), heads=2, hidden=h, symmetric=symmetric)


IMAGES: dict[str, Callable[[int, int, int], Network]] = {
    "conv_hopfield": lambda n, h, k: conv_hopfield(
        image(n)[0], k, channels=(max(h // 8, 2),) * 2, pool=None, activation="tanh", gain=0.5
    ),
    "energy_transformer": _energy_transformer,
    "looped_transformer": partial(_looped_transformer, symmetric=True),
    "looped_transformer, directed": _looped_transformer,
}
"""Networks that see the same row as an image: maps of an eighth of the units, tokens of a quarter."""

NETWORKS = {**ROWS, **IMAGES}


@cache
def has_a_bound(name: str) -> bool:
    """Whether a norm bounds every response of the network of that name, so that a budget can hold it."""
    spec = NETWORKS[name](4, 8, 2)
    try:
        NormBudget().value(spec, spec.initial_parameters(0))
    except SpecError:
        return False
    return True
