"""What a learning schedule does to what is learned: drift, fidelity, and how far apart both ways go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Integer

from neuro_eq.backends.numba.chip_training import ChipTrainer
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.schedules import LearningSchedule

DRAWS = 128
"""A variable is rounded by seven bits."""


@dataclass(frozen=True)
class Measures:
    """Of one schedule.

    Attributes:
        bias: units of a weight that one sample adds where both nudged phases are the same, so that nothing is to be
            learned; mean of the synapses whose two neurons are active.  Every event is shown with each of the 128 draws
            that tell 128ths apart, so without tags this is the expectation and not an estimate of it.
        noise: root of the mean square of what samples add there by free draws, divided by the root of their number:
            units of a weight for one sample.
        correlation: of what one sample adds with ``a⁺⊗a⁺ − a⁻⊗a⁻``, mean of the samples.
        correlation_of_many: the same of what all samples add together.
        asymmetry: ``‖ΔW − ΔWᵀ‖ / ‖ΔW‖`` of what all samples add, by the two ways of a synapse.
    """

    bias: float
    noise: float
    correlation: float
    correlation_of_many: float
    asymmetry: float


def measure(
    chip: ChipNetwork,
    schedule: LearningSchedule,
    x: Any,
    labels: Any,
    *,
    beta: float = 0.5,
    seed: int = 0,
    shared_draws: bool = False,
) -> Measures:
    """Measure a schedule on a network as it is, without letting it learn in between.

    Args:
        x, labels: samples; their nudged activities are what is learned from.
    """
    trainer = ChipTrainer(chip, schedule, beta=beta, seed=seed, shared_draws=shared_draws)
    plus, minus = trainer.nudged(x, labels)
    size = max(schedule.consolidate, 1)
    # Tags come to their weight every so many samples, so what is shown is a multiple of them.
    count = len(plus) // size * size
    plus, minus = plus[:count], minus[:count]
    same = (plus + minus) // 2
    active = _joined(_both_active(chip, same), chip)
    # What is not active in every sample has fewer occasions to drift.
    occasions = active > 0
    drift, walk = (_joined(_taught(trainer, same, spread), chip)[occasions] for spread in (True, False))
    bias = float(np.sum(drift) / (DRAWS * np.sum(active[occasions])))
    noise = float(np.sqrt(np.mean(walk**2 / (active[occasions]))))
    each = []
    for i in range(0, count, size):
        trainer.forget()
        some = slice(i, i + size)
        trainer.teach(plus[some], minus[some])
        wanted = _joined(contrast(chip, plus[some], minus[some]), chip)
        found = _joined(trainer.weights(), chip)
        if np.any(wanted) and np.any(found):
            each.append(float(np.corrcoef(wanted, found)[0, 1]))
    trainer.forget()
    trainer.teach(plus, minus)
    found = _joined(trainer.weights(), chip)
    wanted = _joined(contrast(chip, plus, minus), chip)
    return Measures(bias, noise, float(np.mean(each)), float(np.corrcoef(wanted, found)[0, 1]), trainer.asymmetry())


def _taught(trainer: ChipTrainer, same: np.ndarray, spread: bool) -> Mapping[str, np.ndarray]:
    """What is left of samples that teach nothing: by free draws, or in all of as many repeats as there are draws."""
    trainer.forget()
    if not spread:
        trainer.teach(same, same)
        return trainer.weights()
    # What is cut off a whole number and a fraction does not depend on the whole number, so that the draws of an event
    # may be taken one after the other, in an order of its own.
    shape = trainer.draws(len(same)).shape
    place = trainer.rng.permuted(np.broadcast_to(np.arange(DRAWS, dtype=np.uint8), (*shape, DRAWS)), axis=-1)
    total: dict[str, np.ndarray] = {}
    for k in range(DRAWS):
        trainer.forget()
        trainer.teach(same, same, (place[..., k] + 0.5) / DRAWS)
        for name, weights in trainer.weights().items():
            total[name] = total.get(name, 0) + weights
    return total


def contrast(
    chip: ChipNetwork, plus: Integer[np.ndarray, "samples units"], minus: Integer[np.ndarray, "samples units"]
) -> Mapping[str, np.ndarray]:
    """``Σ a⁺_post ⊗ a⁺_pre − a⁻_post ⊗ a⁻_pre`` of each connection, in real activities."""
    found = {}
    for c in chip.connections:
        pre, post = (
            [chip.decode(name, a[:, chip.places[name]]) for a in (plus, minus)] for name in (c.source, c.target)
        )
        found[c.name] = post[0].T @ pre[0] - post[1].T @ pre[1]
    return found


def _both_active(chip: ChipNetwork, a: Integer[np.ndarray, "samples units"]) -> Mapping[str, np.ndarray]:
    """For every synapse, the samples in which both of its neurons are active."""
    active = (a > 0).astype(np.float64)
    return {c.name: active[:, chip.places[c.target]].T @ active[:, chip.places[c.source]] for c in chip.connections}


def _joined(values: Mapping[str, np.ndarray], chip: ChipNetwork) -> np.ndarray:
    return np.concatenate([np.asarray(values[c.name], dtype=np.float64).ravel() for c in chip.connections])
