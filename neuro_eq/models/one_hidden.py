"""The part that all models with one hidden population share: data come in, an answer goes out."""

from __future__ import annotations

from collections.abc import Sequence

from neuro_eq.activations import ACTIVATIONS, Activation
from neuro_eq.costs import COSTS, Cost, CrossEntropy, SquaredError
from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.frozen import parse_kind
from neuro_eq.spec import Network, Population
from neuro_eq.synapses import Bias, Dense, DirectedDense, Synapse


def one_hidden(
    name: str,
    n_in: int,
    n_hidden: int,
    n_out: int,
    inside: Sequence[Synapse],
    *,
    activation: str | Activation,
    cost: str,
    bias: bool,
    output_gain: float,
) -> Network:
    """``x → h``, what happens ``inside`` h, and the answer.

    Args:
        inside: the synapses of the population ``hidden`` with itself.
        cost: ``"cross_entropy"`` reads ``h`` through ``W_out a_h + b``, outside the dynamics; ``"squared_error"``
            adds a population ``output`` with identity activation, joined to ``h`` by a symmetric synapse.
        bias: whether the free populations have biases.
        output_gain: factor on the Glorot start values of that synapse.
    """
    if cost not in COSTS:
        raise SpecError(f"no cost {cost!r}" + did_you_mean(str(cost), COSTS), "cost")
    populations = [
        Population(name="input", shape=(n_in,), clamped=True),
        Population(
            name="hidden", shape=(n_hidden,), activation=parse_kind(activation, ACTIVATIONS, Activation, "activation")
        ),
    ]
    synapses: list[Synapse] = [Dense(source="input", target="hidden"), *inside]
    objective: Cost
    if cost == "cross_entropy":
        objective = CrossEntropy(population="hidden", classes=n_out)
    else:
        objective = SquaredError(population="output")
        populations.append(Population(name="output", shape=(n_out,)))
        synapses.append(Dense(source="hidden", target="output", gain=output_gain))
    if bias:
        synapses += [Bias(target=population.name) for population in populations if not population.clamped]
    return Network(name=name, populations=tuple(populations), synapses=tuple(synapses), cost=objective)


def recurrent(symmetric: bool, gain: float) -> Synapse:
    """The self-synapse of ``hidden``: with the energy ``−½ aᵀWa``, or directed."""
    kind = Dense if symmetric else DirectedDense
    return kind(name="hidden_hidden", source="hidden", target="hidden", gain=gain)
