"""The small networks that experiments compare, by a name and three sizes."""

from __future__ import annotations

from collections.abc import Callable

from neuro_eq.models import gated_mlp, layered_hopfield, looped_mlp, modern_hopfield_mlp, toroidal_mlp
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
