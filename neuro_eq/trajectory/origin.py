"""What a file says of where its numbers come from: the network, and what computed and wrote them."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

import h5py
import numpy as np

from neuro_eq import __version__
from neuro_eq.engine import Engine
from neuro_eq.specfile import to_toml

OF_A_NETWORK = ("backend", "dtype", "seed", "spec")
"""Attributes of a file that say which network it records."""


def of_network(net: Engine) -> dict[str, Any]:
    """These attributes for a network."""
    return dict(zip(OF_A_NETWORK, (net.name, net.dtype, net.seed, to_toml(net.spec)), strict=True))


def versions(net: Engine) -> dict[str, str]:
    """Versions of what computed and what wrote; an engine is named after the package that it computes with."""
    found = {
        "neuro_eq": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
        "hdf5": h5py.version.hdf5_version,
    }
    try:
        found[net.name] = metadata.version(net.name)
    except metadata.PackageNotFoundError:
        return found
    return found
