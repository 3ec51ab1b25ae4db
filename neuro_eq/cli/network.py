"""The network that a command's options name: a file, or a model with the recipe of its data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuro_eq.recipes import Recipe
    from neuro_eq.spec import Network


def chosen_network(
    spec: Path | None, model: str | None, symmetric: bool | None, hidden: str | None, data: str
) -> tuple[Network, Recipe]:
    """The network of ``--spec``, or of ``--model``, ``--symmetric`` and ``--hidden``, and what it is trained by.

    Raises:
        SpecError: a file brings the network and another option would change it; no such model; units that are none.
    """
    from neuro_eq.datasets import load_data
    from neuro_eq.errors import SpecError, did_you_mean
    from neuro_eq.models import MODELS
    from neuro_eq.recipes import recipe
    from neuro_eq.run import default_network
    from neuro_eq.specfile import load

    if spec is not None:
        options = {"model": model, "hidden": hidden, loop_option(symmetric): symmetric}
        other = next((name for name, value in options.items() if value is not None), None)
        if other is not None:
            raise SpecError(f"--spec brings the network, so --{other} cannot be given with it", "--spec")
        return load(spec), recipe(data)
    if model is not None and model not in MODELS:
        raise SpecError(f'no model "{model}"' + did_you_mean(model, MODELS), "model")
    usual = recipe(data, model)
    units = None if hidden is None else sizes(hidden)
    return default_network(model or "layered_hopfield", load_data(data), units, usual, symmetric), usual


def loop_option(symmetric: bool | None) -> str:
    """Which of the two options was given, for what is said of it."""
    return "directed" if symmetric is False else "symmetric"


def sizes(text: str) -> tuple[int, ...]:
    """The numbers of ``--hidden``."""
    from neuro_eq.errors import SpecError

    try:
        found = tuple(int(part) for part in text.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise SpecError(f"expected numbers of units such as 256 or 512,512, found {text!r}", "--hidden")
    return found


__all__ = ["chosen_network", "loop_option", "sizes"]
