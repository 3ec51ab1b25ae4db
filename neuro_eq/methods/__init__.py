"""Gradient methods: objects that turn relaxations into an estimate of ``dC/dθ``."""

from __future__ import annotations

from neuro_eq.methods.asymep import AsymEP
from neuro_eq.methods.base import Evidence, Gradient, GradientMethod
from neuro_eq.methods.dyadic import DyadicEP
from neuro_eq.methods.eqprop import EqProp
from neuro_eq.methods.holomorphic import HolomorphicEP
from neuro_eq.methods.implicit import ImplicitDifferentiation
from neuro_eq.methods.vectorfield import VectorField

METHODS: dict[str, type[GradientMethod]] = {
    "eqprop": EqProp,
    "asymep": AsymEP,
    "vector_field": VectorField,
    "dyadic": DyadicEP,
    "holomorphic": HolomorphicEP,
    "implicit": ImplicitDifferentiation,
}
"""The methods that a configuration can name."""

__all__ = [
    "METHODS",
    "AsymEP",
    "DyadicEP",
    "EqProp",
    "Evidence",
    "Gradient",
    "GradientMethod",
    "HolomorphicEP",
    "ImplicitDifferentiation",
    "VectorField",
]
