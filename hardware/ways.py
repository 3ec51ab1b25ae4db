"""The directions in which a network's synapses send, in real numbers, and what no chip has a counterpart of."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from neuro_eq.costs import CrossEntropy, SquaredError
from neuro_eq.errors import SpecError
from neuro_eq.hardware.chip import Messages, Phase
from neuro_eq.spec import Network
from neuro_eq.synapses import Bias, Convolution, Dense, DirectedDense, Synapse
from neuro_eq.synapses.history import History

SYNAPSES = ("dense", "directed_dense", "bias", "history", "convolution")
"""Kinds of synapses that have connections of a chip; a convolution unless it pools by maximum."""

ACTIVATIONS = ("identity", "relu", "hard_sigmoid", "sigmoid", "tanh")
"""Activations that a neuron computes by itself, from its own potential."""


@dataclass(frozen=True)
class Way:
    """One direction of a synapse, in real numbers."""

    source: str
    target: str
    matrix: Float[np.ndarray, "post pre"]
    transposed: bool = False
    delay: int = 1
    phase: Phase = "both"
    suffix: str = ""
    name: str = ""


def refuse_what_no_chip_runs(spec: Network) -> None:
    """Raise one sentence that names what has no counterpart on the chip.

    Raises:
        SpecError: with the place in the network.
    """
    for i, synapse in enumerate(spec.synapses):
        place = f"synapses[{i}]"
        if synapse.kind not in SYNAPSES:
            raise SpecError(f'no connection of a chip computes a "{synapse.kind}"; it has {", ".join(SYNAPSES)}', place)
        if isinstance(synapse, Convolution) and synapse.pool == "max":
            raise SpecError("a largest value is no sum of messages; pool by average", place)
    for i, population in enumerate(spec.populations):
        if not population.clamped and population.activation.kind not in ACTIVATIONS:
            raise SpecError(
                f'"{population.activation.kind}" needs the other neurons\' potentials, which no neuron has; a chip has '
                f"{', '.join(ACTIVATIONS)}",
                f"populations[{i}].activation",
            )
    if not isinstance(spec.cost, (SquaredError, CrossEntropy)):
        found = "no cost" if spec.cost is None else f'"{spec.cost.kind}"'
        raise SpecError(f"an answer is read from an output population or through a readout, found {found}", "cost")


def ways(
    spec: Network, theta: Mapping[str, np.ndarray], messages: Messages
) -> tuple[dict[str, list[Way]], dict[str, np.ndarray]]:
    """Every synapse's directions by its name, and the constant drive of each population."""
    found: dict[str, list[Way]] = {}
    constants: dict[str, np.ndarray] = {}
    clamped = {p.name for p in spec.clamped}
    for synapse in spec.synapses:
        if isinstance(synapse, Bias):
            _add(constants, synapse.target, theta[f"{synapse.name}.bias"].ravel())
        elif isinstance(synapse, History):
            n = spec.population(synapse.target).size
            for k, weight in enumerate(synapse.weights):
                matrix = synapse.coupling * weight * np.eye(n)
                found[f"{synapse.name}[{k}]"] = [
                    Way(synapse.target, synapse.target, matrix, delay=k + 1, suffix=f"_{k}")
                ]
        elif isinstance(synapse, DirectedDense):
            found[synapse.name] = _directed(synapse, theta[f"{synapse.name}.weight"], clamped, messages)
        elif isinstance(synapse, (Dense, Convolution)):
            matrix = theta[f"{synapse.name}.weight"] if isinstance(synapse, Dense) else _unrolled(synapse, spec, theta)
            found[synapse.name] = _both(synapse.source, synapse.target, matrix, clamped)
            if isinstance(synapse, Convolution):
                _add(constants, synapse.target, _drive_at_zero(synapse, spec, theta)[synapse.target])
    if isinstance(spec.cost, CrossEntropy):
        cost = spec.cost
        found[cost.name] = [Way(cost.population, cost.name, theta[f"{cost.name}.weight"])]
        constants[cost.name] = theta[f"{cost.name}.bias"]
    return _named({name: there for name, there in found.items() if there}), constants


def _add(constants: dict[str, np.ndarray], name: str, value: np.ndarray) -> None:
    constants[name] = constants.get(name, 0.0) + value


def _both(source: str, target: str, matrix: np.ndarray, clamped: set[str]) -> list[Way]:
    """An energy is felt at both ends, as far as they are free."""
    there = [] if target in clamped else [Way(source, target, matrix)]
    if source in clamped or source == target:
        return there
    return [*there, Way(target, source, matrix, transposed=True)]


def _directed(synapse: DirectedDense, matrix: np.ndarray, clamped: set[str], messages: Messages) -> list[Way]:
    """Without an energy a nudged phase sends changes the other way: ``D a* + Dᵀ(a − a*)``, as AsymEP wants."""
    if synapse.target in clamped:
        return []
    if synapse.source in clamped or messages == "graded":
        return [Way(synapse.source, synapse.target, matrix)]
    return [
        Way(synapse.source, synapse.target, matrix, phase="free"),
        Way(synapse.target, synapse.source, matrix, transposed=True, phase="nudged", suffix="_reverse"),
    ]


def _drive_at_zero(synapse: Convolution, spec: Network, theta: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    nothing = {name: np.zeros((1, *spec.shapes[name])) for name in synapse.populations}
    return {
        name: value.ravel() for name, value in synapse.drive(nothing, _own(synapse, theta), [synapse.target]).items()
    }


def _unrolled(synapse: Convolution, spec: Network, theta: Mapping[str, np.ndarray]) -> np.ndarray:
    """The matrix of a linear synapse from its source to its target: its response to each unit by itself."""
    shape = spec.shapes[synapse.source]
    n = math.prod(shape)
    delta = {synapse.source: np.eye(n).reshape(n, *shape), synapse.target: np.zeros((n, *spec.shapes[synapse.target]))}
    at = {name: np.zeros_like(value) for name, value in delta.items()}
    response = synapse.response(at, delta, _own(synapse, theta), [synapse.target])[synapse.target]
    return np.ascontiguousarray(response.reshape(n, -1).T)


def _own(synapse: Synapse, theta: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    prefix = f"{synapse.name}."
    return {name.removeprefix(prefix): value for name, value in theta.items() if name.startswith(prefix)}


def _named(found: dict[str, list[Way]]) -> dict[str, list[Way]]:
    """Names that are each there once."""
    taken: dict[str, int] = {}

    def named(way: Way) -> Way:
        name = f"{way.source}_{way.target}{way.suffix}"
        count = taken[name] = taken.get(name, 0) + 1
        return replace(way, name=name if count == 1 else f"{name}_{count}")

    return {key: [named(way) for way in there] for key, there in found.items()}
