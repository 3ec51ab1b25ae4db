"""Synapses: how populations drive one another."""

from __future__ import annotations

from neuro_eq.synapses.base import DirectedSynapse, SymmetricSynapse, Synapse
from neuro_eq.synapses.bias import Bias
from neuro_eq.synapses.dense import Dense, DirectedDense
from neuro_eq.synapses.gated_dense import GatedDense
from neuro_eq.synapses.history import History
from neuro_eq.synapses.hopfield_memory import HopfieldMemory
from neuro_eq.synapses.step_gate import StepGate

SYNAPSES: dict[str, type[Synapse]] = {
    "dense": Dense,
    "directed_dense": DirectedDense,
    "bias": Bias,
    "hopfield_memory": HopfieldMemory,
    "history": History,
    "step_gate": StepGate,
    "gated_dense": GatedDense,
}
"""The synapses a spec can name."""

__all__ = [
    "SYNAPSES",
    "Bias",
    "Dense",
    "DirectedDense",
    "DirectedSynapse",
    "GatedDense",
    "History",
    "HopfieldMemory",
    "StepGate",
    "SymmetricSynapse",
    "Synapse",
]
