"""A recurrent population with a gate: on its steps, or on its drive."""

from __future__ import annotations

from typing import Literal

from neuro_eq.activations import Activation
from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.models.one_hidden import one_hidden, recurrent
from neuro_eq.spec import Network
from neuro_eq.synapses import GatedDense, StepGate, Synapse


def gated_mlp(
    n_in: int,
    n_hidden: int,
    n_out: int,
    *,
    gate: str = "step",
    activation: str | Activation = "tanh",
    cost: Literal["squared_error", "cross_entropy"] = "cross_entropy",
    bias: bool = True,
    gain: float = 0.5,
) -> Network:
    """``x → h`` with a gated self-synapse on ``h``, ``g = σ(W_g a_h + b_g)``.

    Args:
        n_in, n_hidden, n_out: numbers of units.
        gate: ``"step"`` scales the update of the symmetric looped MLP, ``u ← u + α g ⊙ (drive − u)``: the fixed point
            and its energy do not depend on it and it does not learn.  ``"drive"`` drives ``h`` by
            ``g ⊙ (W a_h)``: directed, without an energy (train it by AsymEP).
        activation, cost, bias: as in :func:`looped_mlp`.
        gain: factor on the Glorot start values of the self-synapse.
    """
    inside: list[Synapse]
    if gate == "step":
        inside = [recurrent(True, gain), StepGate(source="hidden", target="hidden")]
    elif gate == "drive":
        inside = [GatedDense(name="hidden_hidden", source="hidden", target="hidden", gain=gain)]
    else:
        raise SpecError(f"no gate {gate!r}" + did_you_mean(str(gate), ["step", "drive"]), "gate")
    return one_hidden(
        "gated_mlp", n_in, n_hidden, n_out, inside, activation=activation, cost=cost, bias=bias, output_gain=gain
    )
