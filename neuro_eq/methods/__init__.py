"""Gradient methods: objects that turn relaxations into an estimate of ``dC/dθ``."""

from __future__ import annotations

from neuro_eq.methods.asymep import AsymEP
from neuro_eq.methods.base import Evidence, Gradient, GradientMethod
from neuro_eq.methods.eqprop import EqProp
from neuro_eq.methods.implicit import ImplicitDifferentiation

METHODS: dict[str, type[GradientMethod]] = {
    "eqprop": EqProp,
    "asymep": AsymEP,
    "implicit": ImplicitDifferentiation,
}
"""The methods that a configuration can name."""

__all__ = ["METHODS", "AsymEP", "EqProp", "Evidence", "Gradient", "GradientMethod", "ImplicitDifferentiation"]
