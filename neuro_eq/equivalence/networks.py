"""The networks of the table: every model, shallow and deep, each small enough to be looked at many times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

IMAGE: dict[str, Any] = {"shape": (4, 4), "classes": 3, "patch": 2, "width": 8, "heads": 2}
WORDS: dict[str, Any] = {"shape": (5,), "classes": 2, "vocabulary": 7, "width": 6, "heads": 3}
MAPS: dict[str, Any] = {"shape": (6, 6), "classes": 3, "channels": (3, 4), "gain": 0.3}
BLOCK: dict[str, Any] = {"hidden": 10, "attention": "softmax", "feed_forward": "gelu"}

SMOOTH: dict[str, Callable[[], Network]] = {
    "`layered_hopfield`, depth 1": lambda: layered_hopfield([8, 10, 4], gain=0.2),
    "`layered_hopfield`, depth 3": lambda: layered_hopfield([8, 10, 8, 6, 4], gain=0.2),
    "`layered_hopfield`, sigmoid, cross-entropy": lambda: layered_hopfield(
        [8, 10, 6, 4], "sigmoid", cost="cross_entropy"
    ),
    "`looped_mlp`, symmetric": lambda: looped_mlp(8, 12, 4),
    "`looped_mlp`, not symmetric": lambda: looped_mlp(8, 12, 4, symmetric=False),
    "`toroidal_mlp`, symmetric": lambda: toroidal_mlp(8, 12, 4),
    "`toroidal_mlp`, not symmetric": lambda: toroidal_mlp(8, 12, 4, symmetric=False),
    "`modern_hopfield_mlp`": lambda: modern_hopfield_mlp(8, 12, 4),
    "`gated_mlp`, gate on the step": lambda: gated_mlp(8, 12, 4),
    "`gated_mlp`, gate on the drive": lambda: gated_mlp(8, 12, 4, gate="drive"),
    "`conv_hopfield`, average, tanh": lambda: conv_hopfield(**MAPS, pool="average", activation="tanh"),
    "`energy_transformer`, softmax": lambda: energy_transformer(**IMAGE, patterns=10, memory="softplus"),
    "`energy_transformer`, words, depth 2, memory of patterns": lambda: energy_transformer(
        **WORDS, patterns=8, memory="logsumexp", depth=2
    ),
    "`energy_transformer`, depth 4, tied pairs": lambda: energy_transformer(
        **IMAGE, patterns=10, memory="softplus", depth=4, tied_pairs=True
    ),
    "`looped_transformer`, softmax, not symmetric": lambda: looped_transformer(**IMAGE, **BLOCK),
    "`looped_transformer`, softmax, not symmetric, words, depth 3": lambda: looped_transformer(
        **WORDS, **BLOCK, depth=3
    ),
}
"""Everything in them is analytic."""

KINKED: dict[str, Callable[[], Network]] = {
    "`layered_hopfield`, hard sigmoid": lambda: layered_hopfield(
        [8, 10, 6, 4], "hard_sigmoid", output_activation="identity", gain=0.4
    ),
    "`conv_hopfield`, max, hard sigmoid": lambda: conv_hopfield(**MAPS),
    "`energy_transformer`, ReLU": lambda: energy_transformer(**IMAGE, patterns=10),
    "`energy_transformer`, linear": lambda: energy_transformer(**IMAGE, patterns=10, attention="linear"),
    "`looped_transformer`, linear, not symmetric": lambda: looped_transformer(**IMAGE, hidden=10),
    "`looped_transformer`, softmax, symmetric, depth 3": lambda: looped_transformer(
        **IMAGE, hidden=10, attention="softmax", symmetric=True, depth=3
    ),
    "`looped_transformer`, linear, symmetric, words": lambda: looped_transformer(**WORDS, hidden=10, symmetric=True),
}
"""Some function in them changes its form from one side of a point to the other."""

NETWORKS = {**SMOOTH, **KINKED}
