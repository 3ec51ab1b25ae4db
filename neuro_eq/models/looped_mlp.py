"""One recurrent population between an input and an output."""

from __future__ import annotations

from typing import Literal

from neuro_eq.activations import ACTIVATIONS, Activation
from neuro_eq.costs import COSTS, Cost, CrossEntropy, SquaredError
from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.frozen import parse_kind
from neuro_eq.spec import Network, Population
from neuro_eq.synapses import Bias, Dense, DirectedDense, Synapse


def looped_mlp(
    n_in: int,
    n_hidden: int,
    n_out: int,
    *,
    symmetric: bool = True,
    activation: str | Activation = "tanh",
    cost: Literal["squared_error", "cross_entropy"] = "cross_entropy",
    bias: bool = True,
    gain: float = 0.5,
) -> Network:
    """``x → h`` with a self-synapse on ``h``; the answer is read outside the dynamics, or from a population ``o``.

    Args:
        n_in, n_hidden, n_out: numbers of units.
        symmetric: the self-synapse has the energy ``−½ aᵀ W a``; otherwise it is directed and the network has no
            energy (train it by AsymEP).
        activation: of the hidden population.
        cost: ``"cross_entropy"`` reads ``h`` through ``W_out a_h + b``; ``"squared_error"`` adds an output
            population with identity activation, joined to ``h`` by a symmetric synapse.
        bias: whether the free populations have biases.
        gain: factor on the Glorot start values of the self-synapse; 0.5 keeps ``‖W‖₂`` below 1 at the start for a
            symmetric one (its spectrum fills about ``±√2 · gain``).
    """
    if cost not in COSTS:
        raise SpecError(f"no cost {cost!r}" + did_you_mean(str(cost), COSTS), "cost")
    hidden = parse_kind(activation, ACTIVATIONS, Activation, "activation")
    recurrent: Synapse
    if symmetric:
        recurrent = Dense(name="hidden_hidden", source="hidden", target="hidden", gain=gain)
    else:
        recurrent = DirectedDense(name="hidden_hidden", source="hidden", target="hidden", gain=gain)
    populations = [
        Population(name="input", shape=(n_in,), clamped=True),
        Population(name="hidden", shape=(n_hidden,), activation=hidden),
    ]
    synapses: list[Synapse] = [Dense(source="input", target="hidden"), recurrent]
    objective: Cost = (
        CrossEntropy(population="hidden", classes=n_out)
        if cost == "cross_entropy"
        else SquaredError(population="output")
    )
    if cost == "squared_error":
        populations.append(Population(name="output", shape=(n_out,)))
        synapses.append(Dense(source="hidden", target="output", gain=gain))
    if bias:
        synapses += [Bias(target=population.name) for population in populations if not population.clamped]
    return Network(name="looped_mlp", populations=tuple(populations), synapses=tuple(synapses), cost=objective)
