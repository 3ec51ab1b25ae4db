"""A convolutional network whose synapses are all felt at both ends (Laborieux et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from neuro_eq.activations import ACTIVATIONS, Activation
from neuro_eq.costs import COSTS, Cost, CrossEntropy, SquaredError
from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.frozen import parse_kind
from neuro_eq.spec import Network, Population
from neuro_eq.synapses import Bias, Convolution, Dense, Synapse


def conv_hopfield(
    shape: Sequence[int],
    classes: int,
    *,
    channels: Sequence[int] = (16, 32),
    kernel: int = 3,
    pool: Literal["max", "average"] | None = "max",
    skips: bool = False,
    activation: str | Activation = "hard_sigmoid",
    cost: Literal["squared_error", "cross_entropy"] = "cross_entropy",
    gain: float = 1.0,
) -> Network:
    """``input → map1 ↔ map2 ↔ … ↔ output``: convolutions, each pooled by two where the maps can be halved.

    Args:
        shape: of an image, ``(height, width)`` or ``(channels, height, width)``.
        classes: number of answers.
        channels: of each population of maps.
        kernel: side of the kernels, an odd number; maps keep their size before they are pooled.
        pool: ``"max"``, whose drive has kinks, ``"average"``, or None.
        skips: whether each population of maps is also driven by, and drives, the one two below, by a convolution of
            one place that is averaged to its size.
        activation: of the maps and of an output population.
        cost: ``"cross_entropy"`` reads the last maps, outside the dynamics; ``"squared_error"`` nudges an output
            population, whose nudge reaches the maps more weakly.
        gain: factor on the Glorot start values.
    """
    if cost not in COSTS:
        raise SpecError(f"no cost {cost!r}" + did_you_mean(str(cost), COSTS), "cost")
    if pool not in ("max", "average", None):
        raise SpecError(f"no pooling {pool!r}" + did_you_mean(str(pool), ["max", "average"]), "pool")
    if len(shape) not in (2, 3):
        raise SpecError(f"need [height, width] or [channels, height, width], found {list(shape)}", "shape")
    if kernel < 1 or kernel % 2 == 0:
        raise SpecError(f"the side of a kernel must be odd, found {kernel}", "kernel")
    if not channels:
        raise SpecError("need at least one population of maps", "channels")
    rho = parse_kind(activation, ACTIVATIONS, Activation, "activation")
    image = (1, *shape) if len(shape) == 2 else tuple(shape)
    populations = [Population(name="input", shape=image, clamped=True)]
    synapses: list[Synapse] = []
    for i, count in enumerate(channels, start=1):
        below = populations[-1]
        halved = pool is not None and below.shape[1] % 2 == 0 and below.shape[2] % 2 == 0
        side = 2 if halved else 1
        here = Population(name=f"map{i}", shape=(count, below.shape[1] // side, below.shape[2] // side), activation=rho)
        synapses.append(
            Convolution(
                source=below.name,
                target=here.name,
                kernel=(kernel, kernel),
                padding=kernel // 2,
                pool=pool if halved else None,
                gain=gain,
            )
        )
        if skips and i > 1:
            synapses.append(_skip(populations[-2], here, gain))
        populations.append(here)
    top = populations[-1].name
    objective: Cost = CrossEntropy(population=top, classes=classes)
    if cost == "squared_error":
        populations.append(Population(name="output", shape=(classes,), activation=rho))
        synapses += [Dense(source=top, target="output", gain=gain), Bias(target="output")]
        objective = SquaredError(population="output")
    return Network(name="conv_hopfield", populations=tuple(populations), synapses=tuple(synapses), cost=objective)


def _skip(below: Population, above: Population, gain: float) -> Synapse:
    size = below.shape[1] // above.shape[1]
    return Convolution(
        source=below.name, target=above.name, name=f"{below.name}_{above.name}_skip", kernel=(1, 1),
        pool="average" if size > 1 else None, size=max(size, 1), bias=False, gain=gain,
    )  # fmt: skip
