"""A trained network where a command finds it: in a run's folder, or in files of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neuro_eq.errors import SpecError
from neuro_eq.run import load_config
from neuro_eq.spec import Network
from neuro_eq.specfile import load
from neuro_eq.weights import load_weights


@dataclass(frozen=True)
class Trained:
    """A network with its parameters.

    Attributes:
        data: the data set's name that it was trained on, where that is known.
    """

    spec: Network
    parameters: dict[str, Any]
    data: str | None


def network_in(source: Path, weights: Path | None) -> Trained:
    """The network and its parameters, from a run's folder or from a network's file and the weights'.

    Raises:
        FileError: a file is missing or damaged.
        SpecError: the weights are not named, or are another network's.
    """
    if source.is_dir():
        config = load_config(source / "config.toml")
        spec, data = config.network, config.data
        weights = weights or source / "weights.npz"
    else:
        spec, data = load(source), None
        if weights is None:
            raise SpecError("a network without its weights knows nothing; name them", "--weights")
    return Trained(spec, load_weights(weights, spec), data)


__all__ = ["Trained", "network_in"]
