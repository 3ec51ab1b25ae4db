"""A recurrent population that also feels its own recent past."""

from __future__ import annotations

from typing import Literal

from neuro_eq.activations import Activation
from neuro_eq.models.one_hidden import one_hidden, recurrent
from neuro_eq.spec import Network
from neuro_eq.synapses import History


def toroidal_mlp(
    n_in: int,
    n_hidden: int,
    n_out: int,
    *,
    symmetric: bool = True,
    buffer_size: int = 5,
    decay: float = 0.9,
    coupling: float = 0.2,
    activation: str | Activation = "tanh",
    cost: Literal["squared_error", "cross_entropy"] = "cross_entropy",
    bias: bool = True,
    gain: float = 0.4,
) -> Network:
    """``u ← u + α(drive(a_t) + κ Σ_k w_k a_{t−k} − u)``: the looped MLP with a buffer of past activities.

    At the fixed point the buffer is a self-synapse ``−½κ‖a‖²``, so the gradient is that of the static network, and
    with ``symmetric=True`` the network has an energy.

    Args:
        n_in, n_hidden, n_out: numbers of units.
        symmetric: of the self-synapse, as in :func:`looped_mlp`.
        buffer_size: how many activities are kept, the present one among them.
        decay: ``w_k ∝ decay^k``, ``Σ w = 1``.
        coupling: κ, fixed.
        activation, cost, bias: as in :func:`looped_mlp`.
        gain: factor on the Glorot start values of the self-synapse; with a symmetric one the network contracts at
            the start where ``√2 · gain + |κ| < 1``, 0.77 by default.
    """
    history = History(target="hidden", coupling=coupling, buffer_size=buffer_size, decay=decay)
    return one_hidden(
        "toroidal_mlp", n_in, n_hidden, n_out, [recurrent(symmetric, gain), history],
        activation=activation, cost=cost, bias=bias, output_gain=gain,
    )  # fmt: skip
