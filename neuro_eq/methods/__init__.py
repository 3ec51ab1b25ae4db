"""Gradient methods: objects that turn relaxations into an estimate of ``dC/dθ``."""

from __future__ import annotations

from neuro_eq.methods.asymep import AsymEP
from neuro_eq.methods.base import Evidence, Gradient, GradientMethod
from neuro_eq.methods.bptt import BPTT
from neuro_eq.methods.checkpointed import CheckpointedBPTT
from neuro_eq.methods.continual import ContinualEP
from neuro_eq.methods.dyadic import DyadicEP
from neuro_eq.methods.eqprop import EqProp
from neuro_eq.methods.holomorphic import HolomorphicEP
from neuro_eq.methods.implicit import ImplicitDifferentiation
from neuro_eq.methods.jfb import JFB
from neuro_eq.methods.phantom import Phantom
from neuro_eq.methods.reversible import Reversible
from neuro_eq.methods.vectorfield import VectorField

METHODS: dict[str, type[GradientMethod]] = {
    "eqprop": EqProp,
    "asymep": AsymEP,
    "vector_field": VectorField,
    "dyadic": DyadicEP,
    "holomorphic": HolomorphicEP,
    "continual": ContinualEP,
    "implicit": ImplicitDifferentiation,
    "bptt": BPTT,
    "checkpointed_bptt": CheckpointedBPTT,
    "reversible": Reversible,
    "jfb": JFB,
    "phantom": Phantom,
}
"""The methods that a configuration can name."""

__all__ = [
    "BPTT",
    "JFB",
    "METHODS",
    "AsymEP",
    "CheckpointedBPTT",
    "ContinualEP",
    "DyadicEP",
    "EqProp",
    "Evidence",
    "Gradient",
    "GradientMethod",
    "HolomorphicEP",
    "ImplicitDifferentiation",
    "Phantom",
    "Reversible",
    "VectorField",
]
