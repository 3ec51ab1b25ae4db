"""The transformers that experiments train, by a name, for images of a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neuro_eq.datasets import Data
from neuro_eq.errors import SpecError
from neuro_eq.models import MODELS, energy_transformer, looped_transformer, toreqprop_prior
from neuro_eq.recipes import recipe
from neuro_eq.spec import Network


def _image(data: Data) -> tuple[int, ...]:
    if data.image_shape is None:
        raise SpecError(f'a transformer sees images, but a sample of "{data.name}" is a row of numbers', "data")
    return data.image_shape


def _quarter(data: Data) -> Network:
    """The earlier network at a quarter of the width of its small variant, four tokens by four."""
    shape = _image(data)
    return looped_transformer(
        shape, data.outputs, patch=shape[-1] // 4, width=32, heads=4, hidden=128, attention="linear"
    )


def _energy(data: Data, width: int) -> Network:
    shape = _image(data)
    return energy_transformer(shape, data.outputs, patch=shape[-1] // 4, width=width, heads=4)


def _wide(model: str, **arguments: Any) -> Callable[[Data], Network]:
    """The network of the recipe for images, four tokens whatever their size."""
    usual = recipe("mnist", model)

    def make(data: Data) -> Network:
        shape = _image(data)
        settings = {**usual.network, "patch": shape[-1] // 2, "width": usual.hidden[0], **arguments}
        return MODELS[model](shape, data.outputs, **settings)

    return make


TRANSFORMERS: dict[str, Callable[[Data], Network]] = {
    "prior": lambda data: toreqprop_prior(_image(data), data.outputs, patch=_image(data)[-1] // 4),
    "prior, small": lambda data: toreqprop_prior(_image(data), data.outputs, small=True, patch=_image(data)[-1] // 4),
    "prior, quarter": _quarter,
    "energy transformer": lambda data: _energy(data, 64),
    "energy transformer, half": lambda data: _energy(data, 32),
    "energy transformer, wide": _wide("energy_transformer"),
    "energy transformer, wide, tiny": _wide("energy_transformer", width=8, patterns=16),
    "symmetric ring, wide": _wide("looped_transformer", symmetric=True),
    "softmax block, wide": _wide("looped_transformer"),
    "prior, tiny": lambda data: looped_transformer(
        _image(data), data.outputs, patch=_image(data)[-1] // 4, width=8, heads=2, hidden=16
    ),
}
"""Networks of sixteen tokens, the wide ones of four.

"prior" is the earlier work's, as its preset has it, "small" its own small variant.
"""
