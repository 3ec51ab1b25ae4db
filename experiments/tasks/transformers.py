"""The transformers that experiments train, by a name, for images of a data set."""

from __future__ import annotations

from collections.abc import Callable

from neuro_eq.datasets import Data
from neuro_eq.errors import SpecError
from neuro_eq.models import energy_transformer, looped_transformer, toreqprop_prior
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


TRANSFORMERS: dict[str, Callable[[Data], Network]] = {
    "prior": lambda data: toreqprop_prior(_image(data), data.outputs, patch=_image(data)[-1] // 4),
    "prior, small": lambda data: toreqprop_prior(_image(data), data.outputs, small=True, patch=_image(data)[-1] // 4),
    "prior, quarter": _quarter,
    "energy transformer": lambda data: _energy(data, 64),
    "energy transformer, half": lambda data: _energy(data, 32),
    "energy transformer, tiny": lambda data: _energy(data, 8),
    "prior, symmetric": lambda data: looped_transformer(
        _image(data), data.outputs, patch=_image(data)[-1] // 4, width=128, heads=4, symmetric=True
    ),
    "prior, tiny": lambda data: looped_transformer(
        _image(data), data.outputs, patch=_image(data)[-1] // 4, width=8, heads=2, hidden=16
    ),
}
"""Networks of sixteen tokens; "prior" is the earlier work's, as its preset has it, "small" its own small variant."""
