"""How a run trains where the user does not say: what was found to work for each data set, by validation.

A recipe of a data set holds for ``layered_hopfield`` with hard sigmoids, and is where other models begin; some have one
of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from neuro_eq.optimizers import Adam, Optimizer
from neuro_eq.penalty import JacobianPenalty
from neuro_eq.schedules import Cosine, Schedule
from neuro_eq.solvers import Picard, Relaxation

FALLING: Schedule = Cosine()

SETTLES = Relaxation(max_steps=100)
"""To the tolerance that follows from the nudge."""


@dataclass(frozen=True)
class Recipe:
    """Units, passes over the data, samples in a step, the nudge, the optimiser and its schedule, phases and penalty.

    Attributes:
        network: further arguments of the model.
    """

    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    beta: float
    optimizer: Optimizer
    schedule: Schedule = FALLING
    free: Relaxation = SETTLES
    nudged: Relaxation = SETTLES
    penalty: JacobianPenalty | None = None
    network: Mapping[str, Any] = field(default_factory=dict)


SMALL = Recipe(hidden=(256,), epochs=30, batch_size=32, beta=1.0, optimizer=Adam(1e-3))
"""A few thousand samples, such as digits."""

# Chosen on the last 10 000 of the training samples: without the decay of weights the network learns the training
# samples by heart and stays two tenths of a percent behind.
IMAGES = Recipe(hidden=(512,), epochs=20, batch_size=64, beta=0.5, optimizer=Adam(1e-3, weight_decay=0.4))
"""Sixty thousand images."""

# Chosen on the same samples.  A token's width matters most, then the size of its patch.  Without a penalty on the
# response the network learns to settle ever more slowly: after four passes its spectral radius was 0.98, its answer
# after twelve steps better than at its fixed point, and its gradient at a cosine of 0.7 with the exact one; it stayed
# between 95 and 97 %.  With the penalty the answers are those of the fixed point.
TRANSFORMER_OF_IMAGES = Recipe(
    hidden=(256,), epochs=14, batch_size=64, beta=0.5, optimizer=Adam(2e-3, weight_decay=0.1),
    schedule=Cosine(warmup=0.05),
    free=Relaxation(solver=Picard(1.0), tol=None, max_steps=12),
    nudged=Relaxation(solver=Picard(1.0), tol=None, max_steps=6),
    penalty=JacobianPenalty(3.0),
    network={"patch": 14, "patterns": 512, "epsilon": 4.0, "gain": 0.5, "input_gain": 6.0},
)  # fmt: skip
"""Sixty thousand images as four tokens."""

LOOPED_TRANSFORMER_OF_IMAGES = replace(
    TRANSFORMER_OF_IMAGES,
    network={"patch": 14, "hidden": 512, "attention": "softmax", "epsilon": 4.0, "gain": 0.5, "input_gain": 6.0},
)
"""The same for blocks in a loop, where it was seen to work for symmetric ones and is a start for directed ones."""

RECIPES = {"mnist": IMAGES, "fashion-mnist": IMAGES}
_OF_IMAGES = {"energy_transformer": TRANSFORMER_OF_IMAGES, "looped_transformer": LOOPED_TRANSFORMER_OF_IMAGES}
OF_MODELS = {(data, model): one for data in RECIPES for model, one in _OF_IMAGES.items()}


def recipe(data: str, model: str | None = None) -> Recipe:
    """The one for a data set, by its name, and a model; None for a network of the user's own."""
    return OF_MODELS.get((data, str(model)), RECIPES.get(data, SMALL))


__all__ = ["OF_MODELS", "RECIPES", "SMALL", "Recipe", "recipe"]
