"""The looped transformer of earlier work on this system, TorEqProp (2025)."""

from __future__ import annotations

from collections.abc import Sequence

from neuro_eq.models.looped_transformer import looped_transformer
from neuro_eq.spec import Network


def toreqprop_prior(
    shape: Sequence[int] = (28, 28),
    classes: int = 10,
    *,
    small: bool = False,
    patch: int | tuple[int, int] = 7,
    depth: int = 1,
) -> Network:
    """Linear attention, no symmetry: d 256, 8 heads, 1024 feed-forward units, dropout 0.1.

    The small variant has d 128, 4 heads, 512 feed-forward units and no dropout.  How the earlier work cut its images,
    how many blocks it had and how it began is not known: patches of 7 × 7, one block that loops on itself, a layer norm
    with ε = 1 and the start values of :func:`looped_transformer` are our reading.

    It was trained by the one-sided vector field with β = 0.22 (0.20 for the small one), Adam with a learning rate of
    0.002 and 15 epochs, and settled with a damping of 0.8, which we read as ``h ← (1 − 0.8) h + 0.8 f(h)``:
    :func:`neuro_eq.presets.toreqprop_prior` is that run.
    """
    spec = looped_transformer(
        shape, classes, patch=patch, depth=depth, width=128 if small else 256, heads=4 if small else 8,
        hidden=512 if small else 1024, attention="linear", dropout=0.0 if small else 0.1,
    )  # fmt: skip
    return spec.model_copy(update={"name": "toreqprop_prior_small" if small else "toreqprop_prior"})
