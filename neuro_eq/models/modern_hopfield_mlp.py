"""A layer-normed population that recalls from a modern Hopfield memory."""

from __future__ import annotations

from typing import Literal

from neuro_eq.activations import LayerNorm
from neuro_eq.models.one_hidden import one_hidden
from neuro_eq.spec import Network
from neuro_eq.synapses import HopfieldMemory


def modern_hopfield_mlp(
    n_in: int,
    n_hidden: int,
    n_out: int,
    *,
    gamma: float = 0.5,
    patterns: int | None = None,
    inverse_temperature: float = 1.0,
    epsilon: float = 1.0,
    cost: Literal["squared_error", "cross_entropy"] = "cross_entropy",
    bias: bool = True,
    gain: float = 0.5,
) -> Network:
    """``h`` = layer norm with one gain, ``e = −(γ/b) logsumexp(b ξ a_h) − a_hᵀ(W_in x + c)``: a network with an energy.

    Args:
        n_in, n_hidden, n_out: numbers of units.
        gamma: γ of the memory, fixed.
        patterns: number of stored patterns; ``n_hidden`` by default.
        inverse_temperature: b, fixed.
        epsilon: ε of the layer norm, whose slope is at most its gain over √ε.  Start patterns are about √2 apart, so at
            first the network contracts with a constant of about ``γ b / (2 √ε)``: 0.25 by default, and 0.34 for the
            two of 128 patterns that are furthest apart.
        cost: as in :func:`~neuro_eq.models.looped_mlp`.
        bias: c, and that of an output population.
        gain: factor on the Glorot start values of the synapse with an output population.
    """
    memory = HopfieldMemory(
        target="hidden",
        patterns=n_hidden if patterns is None else patterns,
        gamma=gamma,
        inverse_temperature=inverse_temperature,
    )
    return one_hidden(
        "modern_hopfield_mlp", n_in, n_hidden, n_out, [memory],
        activation=LayerNorm(epsilon=epsilon), cost=cost, bias=bias, output_gain=gain,
    )  # fmt: skip
