"""What models of tokens share: data become tokens, and blocks stand in a ring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neuro_eq.activations import LayerNorm
from neuro_eq.costs import CrossEntropy, Readout, TokenCrossEntropy
from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.spec import Population
from neuro_eq.synapses import PatchEmbedding, Synapse, TokenEmbedding


@dataclass(frozen=True)
class Ring:
    """Blocks that stand in a ring, all driven by the same embedding of the data.

    Attributes:
        populations: the data, and one population of tokens with layer norm for each block.
        embedding: from the data to every block.
        cost: cross-entropy of all tokens of the last block, or of their mean.
        blocks: their names, in order.
        padding: the population that says which tokens take part, or None.
    """

    populations: tuple[Population, ...]
    embedding: Synapse
    cost: Readout
    blocks: tuple[str, ...]
    padding: str | None

    def links(self) -> list[tuple[str, str]]:
        """From each block to the next, and from the last to the first where that is another one."""
        around = [*self.blocks[1:], self.blocks[0]]
        return [(one, other) for one, other in zip(self.blocks, around, strict=True)]

    def groups(self, tied_pairs: bool) -> list[tuple[str, ...]]:
        """Blocks that share their parameters: each by itself, or two neighbours."""
        if not tied_pairs:
            return [(name,) for name in self.blocks]
        if len(self.blocks) % 2:
            raise SpecError(f"pairs need an even number of blocks, found {len(self.blocks)}", "tied_pairs")
        return [self.blocks[i : i + 2] for i in range(0, len(self.blocks), 2)]


def ring(
    shape: Sequence[int],
    classes: int,
    *,
    patch: int | tuple[int, int] | None,
    vocabulary: int | None,
    depth: int,
    width: int,
    epsilon: float,
    norm_gain: float,
    input_gain: float,
    readout: str | None,
) -> Ring:
    """Data of one shape, cut into patches or looked up in a vocabulary, and so many blocks.

    The answer is read from all tokens of the last block or from their mean; where nobody says, from all tokens of an
    image, where the place of a patch says something that a mean forgets, and from the mean of words, whose number
    differs.  Either nudges every token directly, which a token of its own for the class would have to pass on.

    Raises:
        SpecError: neither or both of patch and vocabulary, a depth below 1, an image that patches do not divide, or a
            readout of all tokens where some are padding.
    """
    if (patch is None) == (vocabulary is None):
        raise SpecError("give the side of an image's patches, or the vocabulary of token ids, not both", "patch")
    if depth < 1:
        raise SpecError(f"need at least one block, found {depth}", "depth")
    blocks = tuple(f"block{i}" for i in range(1, depth + 1))
    ends: dict[str, Any] = {
        "source": "input",
        "target": blocks[0],
        "shared": blocks[1:],
        "name": "embedding",
        "gain": input_gain,
    }
    embedding: PatchEmbedding | TokenEmbedding
    if patch is not None:
        sides = (patch, patch) if isinstance(patch, int) else patch
        embedding = PatchEmbedding(patch=sides, **ends)
        if len(shape) not in (2, 3) or shape[-2] % sides[0] or shape[-1] % sides[1]:
            raise SpecError(f"{list(shape)} is no image that divides into patches of {list(sides)}", "shape")
        tokens, padding = (shape[-2] // sides[0]) * (shape[-1] // sides[1]), None
    else:
        assert vocabulary is not None
        if len(shape) != 1:
            raise SpecError(f"ids come in one row, [tokens], found {list(shape)}", "shape")
        embedding = TokenEmbedding(vocabulary=vocabulary, **ends)
        tokens, padding = shape[0], "input"
    if readout not in (None, "all", "mean"):
        raise SpecError(f"no readout {readout!r}" + did_you_mean(str(readout), ["all", "mean"]), "readout")
    if readout == "all" and padding is not None:
        raise SpecError("some places hold no word, so read the mean of those that do", "readout")
    whole = readout == "all" or (readout is None and padding is None)
    cost: Readout = CrossEntropy(population=blocks[-1], classes=classes)
    if not whole:
        cost = TokenCrossEntropy(population=blocks[-1], classes=classes, padding=padding)
    norm = LayerNorm(epsilon=epsilon, gain=norm_gain)
    free = [Population(name=name, shape=(tokens, width), activation=norm) for name in blocks]
    return Ring(
        populations=(Population(name="input", shape=tuple(shape), clamped=True), *free),
        embedding=embedding,
        cost=cost,
        blocks=blocks,
        padding=padding,
    )
