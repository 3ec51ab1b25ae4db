"""Whole runs under a name: a network, how it settles, how it is trained, and on what."""

from __future__ import annotations

from collections.abc import Callable

from neuro_eq.methods import VectorField
from neuro_eq.models import toreqprop_prior as network
from neuro_eq.optimizers import Adam
from neuro_eq.run import RunConfig
from neuro_eq.schedules import Constant
from neuro_eq.solvers import Picard, Relaxation

DAMPED = Relaxation(solver=Picard(0.8), max_steps=50)
"""A damping of 0.8, read as ``h ← (1 − 0.8) h + 0.8 f(h)``; the number of steps is ours."""


def toreqprop_prior(small: bool = False) -> RunConfig:
    """The earlier work's training of its looped transformer on MNIST, see :func:`neuro_eq.models.toreqprop_prior`."""
    return RunConfig(
        data="mnist",
        backend="torch",
        epochs=15,
        batch_size=128,
        method=VectorField(0.20 if small else 0.22, phases="one-sided"),
        optimizer=Adam(2e-3),
        schedule=Constant(),
        free=DAMPED,
        nudged=DAMPED,
        network=network(small=small),
    )


PRESETS: dict[str, Callable[[], RunConfig]] = {
    "toreqprop_prior": toreqprop_prior,
    "toreqprop_prior_small": lambda: toreqprop_prior(small=True),
}
"""The runs that have a name."""
