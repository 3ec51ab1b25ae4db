"""Ready-made networks.  Each function returns a plain :class:`~neuro_eq.spec.Network` that can be saved and edited."""

from __future__ import annotations

from collections.abc import Callable

from neuro_eq.models.conv_hopfield import conv_hopfield
from neuro_eq.models.energy_transformer import energy_transformer
from neuro_eq.models.gated_mlp import gated_mlp
from neuro_eq.models.layered_hopfield import layered_hopfield
from neuro_eq.models.looped_mlp import looped_mlp
from neuro_eq.models.looped_transformer import looped_transformer
from neuro_eq.models.modern_hopfield_mlp import modern_hopfield_mlp
from neuro_eq.models.toreqprop_prior import toreqprop_prior
from neuro_eq.models.toroidal_mlp import toroidal_mlp
from neuro_eq.spec import Network

MODELS: dict[str, Callable[..., Network]] = {
    "layered_hopfield": layered_hopfield,
    "looped_mlp": looped_mlp,
    "toroidal_mlp": toroidal_mlp,
    "modern_hopfield_mlp": modern_hopfield_mlp,
    "gated_mlp": gated_mlp,
    "conv_hopfield": conv_hopfield,
    "energy_transformer": energy_transformer,
    "looped_transformer": looped_transformer,
    "toreqprop_prior": toreqprop_prior,
}
"""The models that the command line knows by name."""

__all__ = [
    "MODELS",
    "conv_hopfield",
    "energy_transformer",
    "gated_mlp",
    "layered_hopfield",
    "looped_mlp",
    "looped_transformer",
    "modern_hopfield_mlp",
    "toreqprop_prior",
    "toroidal_mlp",
]
