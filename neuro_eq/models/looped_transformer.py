"""A ring of transformer blocks that settles: conventional blocks, or the same ring with an energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from neuro_eq.drawn import Dropout
from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.models.ring import Ring, ring
from neuro_eq.spec import Network, Population
from neuro_eq.synapses import LinearAttention, SoftmaxAttention, Synapse, TokenDense, TokenMemory, TransformerBlock


def looped_transformer(
    shape: Sequence[int],
    classes: int,
    *,
    patch: int | tuple[int, int] | None = None,
    vocabulary: int | None = None,
    depth: int = 1,
    width: int = 64,
    heads: int = 4,
    hidden: int | None = None,
    attention: Literal["linear", "softmax"] = "linear",
    feed_forward: Literal["relu", "gelu"] = "relu",
    symmetric: bool = False,
    tied_pairs: bool = False,
    dropout: float = 0.0,
    readout: Literal["all", "mean"] | None = None,
    gamma: float = 0.3,
    epsilon: float = 1.0,
    gain: float | None = None,
    input_gain: float = 2.0,
) -> Network:
    """``z_{l+1} ← γ·Block_l(z_l) + embedding`` around a ring of ``depth`` blocks; the last one drives the first.

    Args:
        shape, classes, patch, vocabulary, readout, epsilon, input_gain: as in :func:`energy_transformer`.
        depth: number of blocks; one loops on itself.
        width: d, of a token.
        heads: of the attention, each ``d/heads`` wide.
        hidden: units of the feed-forward layer; ``4 d`` when not given.
        attention: linear with φ = elu + 1, or softmax.
        feed_forward: φ of the feed-forward layer.
        symmetric: the ring with an energy: the value matrix is the key matrix, the output matrix the query matrix's
            transpose, and the key term is there too; the second feed-forward matrix is the first one's transpose
            (ReLU only); the residual is a coupling ``−z_{l+1}ᵀ J_l z_l``, felt both ways, whose J starts as γ.  The
            matrices alone, made symmetric, would not have one.  Otherwise every matrix is independent, and the
            network is trained by AsymEP.
        tied_pairs: blocks 1 and 2, 3 and 4 … share their parameters; with symmetry their attention and feed-forward
            layer, as the couplings are not inside a block.
        dropout: rate of the masks on what attention and the feed-forward layer add to a token; directed blocks only.
        gamma: γ at the start.
        gain: factor on the start values inside the blocks; by default 0.5 of directed ones, 0.3 of symmetric ones.
    """
    if attention not in ("linear", "softmax"):
        known = ["linear", "softmax"]
        raise SpecError(f"no attention {attention!r}" + did_you_mean(str(attention), known), "attention")
    base = ring(
        shape, classes, patch=patch, vocabulary=vocabulary, depth=depth, width=width, epsilon=epsilon, norm_gain=1.0,
        input_gain=input_gain, readout=readout,
    )  # fmt: skip
    hidden = 4 * width if hidden is None else hidden
    populations = list(base.populations)
    synapses: list[Synapse] = [base.embedding]
    if symmetric:
        if dropout != 0.0:
            raise SpecError("blocks with an energy have no dropout", "dropout")
        if feed_forward != "relu":
            raise SpecError("the energy of a feed-forward layer is that of ReLU", "feed_forward")
        synapses += _with_energy(base, heads, hidden, attention, gamma, 0.3 if gain is None else gain, tied_pairs)
    else:
        masks = {block: f"{block}_dropout" for block in base.blocks if dropout}
        size = (2, *base.populations[1].shape)
        for name in masks.values():
            populations.append(Population(name=name, shape=size, clamped=True, drawn=Dropout(dropout)))
        inside: dict[str, Any] = {
            "heads": heads, "hidden": hidden, "attention": attention, "feed_forward": feed_forward,
            "padding": base.padding, "scale": gamma, "gain": 0.5 if gain is None else gain,
        }  # fmt: skip
        links = dict(base.links())
        for first, *others in base.groups(tied_pairs):
            synapses.append(
                TransformerBlock(
                    source=first, target=links[first], name=f"{first}_block", masks=masks.get(first),
                    shared=tuple((block, links[block]) for block in others),
                    shared_masks=tuple(masks[block] for block in others if masks), **inside,
                )
            )  # fmt: skip
    return Network(name="looped_transformer", populations=tuple(populations), synapses=tuple(synapses), cost=base.cost)


def _with_energy(
    base: Ring, heads: int, hidden: int, attention: str, gamma: float, gain: float, tied_pairs: bool
) -> list[Synapse]:
    """Attention and feed-forward energies of every block, and the couplings around the ring."""
    synapses: list[Synapse] = []
    width = base.populations[1].shape[1]
    for first, *others in base.groups(tied_pairs):
        on: dict[str, Any] = {"target": first, "shared": tuple(others), "padding": base.padding, "gain": gain}
        if attention == "softmax":
            synapses.append(SoftmaxAttention(heads=heads, **on))
        else:
            synapses.append(LinearAttention(heads=heads, gamma=heads / width, **on))
        synapses.append(TokenMemory(patterns=hidden, bias=True, **on))
    links = base.links()[:1] if len(base.blocks) == 2 else base.links()
    for block, following in links:
        # The two neighbours of a block each give it half of the residual.
        residual = gamma if len(base.blocks) < 3 else 0.5 * gamma
        synapses.append(
            TokenDense(source=block, target=following, name=f"{block}_coupling", gain=0.0, diagonal=residual)
        )
    return synapses
