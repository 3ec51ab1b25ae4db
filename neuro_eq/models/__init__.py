"""Ready-made networks.  Each function returns a plain :class:`~neuro_eq.spec.Network` that can be saved and edited."""

from __future__ import annotations

from collections.abc import Callable

from neuro_eq.models.layered_hopfield import layered_hopfield
from neuro_eq.models.looped_mlp import looped_mlp
from neuro_eq.spec import Network

MODELS: dict[str, Callable[..., Network]] = {"layered_hopfield": layered_hopfield, "looped_mlp": looped_mlp}
"""The models that the command line knows by name."""

__all__ = ["MODELS", "layered_hopfield", "looped_mlp"]
