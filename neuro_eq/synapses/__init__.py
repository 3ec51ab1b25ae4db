"""Synapses: how populations drive one another."""

from __future__ import annotations

from neuro_eq.synapses.base import DirectedSynapse, SymmetricSynapse, Synapse
from neuro_eq.synapses.bias import Bias
from neuro_eq.synapses.dense import Dense, DirectedDense

SYNAPSES: dict[str, type[Synapse]] = {
    "dense": Dense,
    "directed_dense": DirectedDense,
    "bias": Bias,
}
"""The synapses a spec can name."""

__all__ = ["SYNAPSES", "Bias", "Dense", "DirectedDense", "DirectedSynapse", "SymmetricSynapse", "Synapse"]
