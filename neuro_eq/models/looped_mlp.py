"""One recurrent population between an input and an output."""

from __future__ import annotations

from typing import Literal

from neuro_eq.activations import Activation
from neuro_eq.models.one_hidden import one_hidden, recurrent
from neuro_eq.spec import Network


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
    return one_hidden(
        "looped_mlp", n_in, n_hidden, n_out, [recurrent(symmetric, gain)],
        activation=activation, cost=cost, bias=bias, output_gain=gain,
    )  # fmt: skip
