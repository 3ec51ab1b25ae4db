"""The experiments by name; each is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.experiments.machinery.experiment import Experiment

EXPERIMENTS = ("training_mnist", "beta", "contraction", "memory", "adaptive_compute", "deq_comparison")
"""In the order of their questions; each is the ``EXPERIMENT`` of the module of that name."""


def find(name: str) -> Experiment:
    """The experiment of that name, or of a module of one's own as ``"module:NAME"``.

    Raises:
        SpecError: there is none.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        if name not in EXPERIMENTS:
            raise SpecError(f'no experiment "{name}"' + did_you_mean(name, EXPERIMENTS), "NAME")
        module, attribute = f"neuro_eq.experiments.{name}", "EXPERIMENT"
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"cannot load the experiment {name} ({error})", "NAME") from None
    if not isinstance(found, Experiment):
        raise SpecError(f"{name} is not an Experiment but a {type(found).__name__}", "NAME")
    return found
