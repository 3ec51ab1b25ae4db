"""A transformer with an energy (Hoover et al., 2023): attention and memories that settle together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.models.ring import ring
from neuro_eq.spec import Network
from neuro_eq.synapses import LinearAttention, SoftmaxAttention, Synapse, TokenDense, TokenMemory


def energy_transformer(
    shape: Sequence[int],
    classes: int,
    *,
    patch: int | tuple[int, int] | None = None,
    vocabulary: int | None = None,
    depth: int = 1,
    width: int = 64,
    heads: int = 4,
    patterns: int | None = None,
    attention: Literal["softmax", "linear"] = "softmax",
    memory: Literal["relu", "softplus", "logsumexp"] = "relu",
    tied_pairs: bool = False,
    readout: Literal["all", "mean"] | None = None,
    epsilon: float = 1.0,
    gain: float = 0.3,
    coupling: float = 0.25,
    input_gain: float = 2.0,
) -> Network:
    """Tokens with layer norm, ``e = e_attention + e_memory − ⟨a, E(x) + P⟩`` on each of ``depth`` blocks in a ring.

    Neighbouring blocks are coupled by ``−a_{l+1}ᵀ J_l a_l``, felt both ways; two blocks have one coupling, one has
    none.  The embedding drives every block, and the answer is read from the last, outside the dynamics.

    Args:
        shape: of the data: an image ``(height, width)`` or ``(channels, height, width)``, or ids ``(tokens,)`` of
            which 0 means that there is no token.
        classes: number of answers.
        patch: side of an image's patches, or its two sides.
        vocabulary: number of ids, 0 among them.
        depth: number of blocks.
        width: d, of a token.
        heads: of the attention, each ``d/heads`` wide.
        patterns: of each memory; ``4 d`` when not given, as in a feed-forward layer.
        attention: ``"softmax"``, or ``"linear"`` with φ = elu + 1.
        memory: F of :class:`~neuro_eq.synapses.TokenMemory`.
        tied_pairs: blocks 1 and 2, 3 and 4 … share their attention and their memory.
        readout: ``"all"`` tokens or their ``"mean"``; by default all tokens of an image, where the place of a patch
            says something that a mean forgets, and the mean of words, whose number differs.  A token of its own for
            the class would have to pass every nudge on to the others.
        epsilon: ε of the layer norms, whose slope is at most their gain over √ε.
        gain: factor on the start values of attention and memories.
        coupling: factor on the Glorot start values of J.
        input_gain: factor on the start values of the embedding.
    """
    known = ["softmax", "linear"]
    if attention not in known:
        raise SpecError(f"no attention {attention!r}" + did_you_mean(str(attention), known), "attention")
    base = ring(
        shape, classes, patch=patch, vocabulary=vocabulary, depth=depth, width=width, epsilon=epsilon, norm_gain=1.0,
        input_gain=input_gain, readout=readout,
    )  # fmt: skip
    synapses: list[Synapse] = [base.embedding]
    for first, *others in base.groups(tied_pairs):
        on: dict[str, Any] = {"target": first, "shared": tuple(others), "padding": base.padding, "gain": gain}
        if attention == "softmax":
            synapses.append(SoftmaxAttention(heads=heads, **on))
        else:
            synapses.append(LinearAttention(heads=heads, gamma=heads / width, **on))
        synapses.append(TokenMemory(patterns=patterns or 4 * width, form=memory, **on))
    links = {1: [], 2: base.links()[:1]}.get(depth, base.links())
    synapses += [TokenDense(source=one, target=other, gain=coupling) for one, other in links]
    return Network(name="energy_transformer", populations=base.populations, synapses=tuple(synapses), cost=base.cost)
