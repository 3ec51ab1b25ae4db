"""A chain of symmetric dense synapses: the layered Hopfield network of Scellier and Bengio (2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from neuro_eq.activations import ACTIVATIONS, Activation
from neuro_eq.costs import COSTS, Cost, CrossEntropy, SquaredError
from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.frozen import parse_kind
from neuro_eq.spec import Network, Population
from neuro_eq.synapses import Bias, Dense, Synapse


def layered_hopfield(
    sizes: Sequence[int],
    activation: str | Activation = "tanh",
    *,
    output_activation: str | Activation | None = None,
    cost: Literal["squared_error", "cross_entropy"] = "squared_error",
    bias: bool = True,
    gain: float = 1.0,
) -> Network:
    """``input → hidden1 ↔ … ↔ output``, every synapse felt at both of its ends.

    ``G(a) = Σ_p [⟨u_p, a_p⟩ − L_p(u_p)] − Σ_l a_{l+1}ᵀ W_l a_l − Σ_l ⟨b_l, a_l⟩``.

    Args:
        sizes: units of the input, of each hidden population and of the output: at least ``[n_in, n_out]``.
        activation: of the hidden populations.
        output_activation: of the output population; as ``activation`` when it is not given.
        cost: ``"squared_error"`` nudges the output population; ``"cross_entropy"`` replaces it by a readout of the
            last hidden population, outside the dynamics.
        bias: whether the free populations have biases.
        gain: factor on the Glorot start values.

    Returns:
        The network with populations ``input``, ``hidden1`` …, ``output``.
    """
    if len(sizes) < 2:
        raise SpecError(f"need at least [n_in, n_out], found {list(sizes)}", "sizes")
    if cost not in COSTS:
        raise SpecError(f"no cost {cost!r}" + did_you_mean(str(cost), COSTS), "cost")
    hidden = parse_kind(activation, ACTIVATIONS, Activation, "activation")
    last = hidden if output_activation is None else parse_kind(output_activation, ACTIVATIONS, Activation, "activation")
    names = ["input", *(f"hidden{i}" for i in range(1, len(sizes) - 1)), "output"]
    widths = list(sizes)
    objective: Cost
    if cost == "cross_entropy":
        if len(sizes) < 3:
            raise SpecError("a cross-entropy readout reads a hidden population: give [n_in, n_hidden, n_out]", "sizes")
        names, widths = names[:-1], widths[:-1]
        objective = CrossEntropy(population=names[-1], classes=sizes[-1])
    else:
        objective = SquaredError(population="output")
    populations = [Population(name="input", shape=(widths[0],), clamped=True)]
    synapses: list[Synapse] = []
    for before, name, width in zip(names, names[1:], widths[1:], strict=False):
        populations.append(Population(name=name, shape=(width,), activation=last if name == "output" else hidden))
        synapses.append(Dense(source=before, target=name, gain=gain))
        if bias:
            synapses.append(Bias(target=name))
    return Network(name="layered_hopfield", populations=tuple(populations), synapses=tuple(synapses), cost=objective)
