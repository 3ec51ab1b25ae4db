"""Synapses: how populations drive one another."""

from __future__ import annotations

from neuro_eq.synapses.base import DirectedSynapse, SymmetricSynapse, Synapse
from neuro_eq.synapses.bias import Bias
from neuro_eq.synapses.convolution import Convolution
from neuro_eq.synapses.dense import Dense, DirectedDense
from neuro_eq.synapses.gated_dense import GatedDense
from neuro_eq.synapses.history import History
from neuro_eq.synapses.hopfield_memory import HopfieldMemory
from neuro_eq.synapses.linear_attention import LinearAttention
from neuro_eq.synapses.patch_embedding import PatchEmbedding
from neuro_eq.synapses.pooling import Pooling
from neuro_eq.synapses.softmax_attention import SoftmaxAttention
from neuro_eq.synapses.step_gate import StepGate
from neuro_eq.synapses.token_dense import TokenDense
from neuro_eq.synapses.token_embedding import TokenEmbedding
from neuro_eq.synapses.token_memory import TokenMemory
from neuro_eq.synapses.transformer_block import TransformerBlock

SYNAPSES: dict[str, type[Synapse]] = {
    "dense": Dense,
    "directed_dense": DirectedDense,
    "bias": Bias,
    "hopfield_memory": HopfieldMemory,
    "history": History,
    "step_gate": StepGate,
    "gated_dense": GatedDense,
    "softmax_attention": SoftmaxAttention,
    "linear_attention": LinearAttention,
    "token_memory": TokenMemory,
    "token_dense": TokenDense,
    "token_embedding": TokenEmbedding,
    "patch_embedding": PatchEmbedding,
    "transformer_block": TransformerBlock,
    "convolution": Convolution,
    "pooling": Pooling,
}
"""The synapses a spec can name."""

__all__ = [
    "SYNAPSES",
    "Bias",
    "Convolution",
    "Dense",
    "DirectedDense",
    "DirectedSynapse",
    "GatedDense",
    "History",
    "HopfieldMemory",
    "LinearAttention",
    "PatchEmbedding",
    "Pooling",
    "SoftmaxAttention",
    "StepGate",
    "SymmetricSynapse",
    "Synapse",
    "TokenDense",
    "TokenEmbedding",
    "TokenMemory",
    "TransformerBlock",
]
