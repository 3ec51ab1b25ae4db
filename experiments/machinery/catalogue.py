"""The experiments by name; each is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

from neuro_eq.cli.imports import imported
from neuro_eq.errors import SpecError, did_you_mean
from neuro_eq.experiments.machinery.experiment import Experiment

EXPERIMENTS = (
    "gradient_equivalence",
    "training_mnist",
    "beta",
    "contraction",
    "memory",
    "adaptive_compute",
    "deq_comparison",
)
"""In the order of their questions; each is the ``EXPERIMENT`` of the module of that name."""

OPEN = {
    5: "Which architecture: depth, width, tied pairs, damping, solver?",
    8: "Do these networks learn algorithms, and do harder samples take more steps?",
    9: "How do they scale: CIFAR-10, SST-2, Fashion-MNIST; steps, time and memory against width and depth?",
    11: "What does the energy landscape look like: basins, descent, temperature?",
    12: "Softmax, linear or variational attention?",
    13: "What do a chip's number formats cost, and what do they save?",
    14: "Does an equilibrium variational autoencoder generate?",
    15: "How do other local rules compare on one network?",
}
"""Questions that no experiment here asks yet."""


def find(name: str) -> Experiment:
    """The experiment of that name, or of a module of one's own as ``"module:NAME"``.

    Raises:
        SpecError: there is none.
    """
    module, own, attribute = name.partition(":")
    if not own:
        if name not in EXPERIMENTS:
            raise SpecError(f'no experiment "{name}"' + did_you_mean(name, EXPERIMENTS), "NAME")
        module, attribute = f"neuro_eq.experiments.{name}", "EXPERIMENT"
    try:
        found = getattr(imported(module) if own else import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(f"cannot load the experiment {name} ({error})", "NAME") from None
    if not isinstance(found, Experiment):
        raise SpecError(f"{name} is not an Experiment but a {type(found).__name__}", "NAME")
    return found
