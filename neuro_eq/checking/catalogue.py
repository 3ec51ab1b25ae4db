"""The gradient methods that a check tries, by the names under which it reports them."""

from __future__ import annotations

from collections.abc import Callable

from neuro_eq.errors import SpecError
from neuro_eq.methods import (
    AsymEP,
    DyadicEP,
    EqProp,
    GradientMethod,
    HolomorphicEP,
    ImplicitDifferentiation,
    VectorField,
)
from neuro_eq.spec import Network

MakeMethod = Callable[[float], GradientMethod]

POINTS = 4
"""Nudges around the circle of the holomorphic estimate, and the power of β that its error falls with."""

NUDGING: dict[str, MakeMethod] = {
    "EqProp, centered": EqProp,
    "EqProp, one-sided": lambda beta: EqProp(beta, "one-sided"),
    "AsymEP": AsymEP,
    "VectorField": VectorField,
    "HolomorphicEP": lambda beta: HolomorphicEP(beta, POINTS),
}
"""Methods with a nudge, and so with an error that falls with it."""

EXACT: dict[str, Callable[[], GradientMethod]] = {
    "ImplicitDifferentiation": ImplicitDifferentiation,
    "DyadicEP": DyadicEP,
}
"""Methods without one; the first is the yardstick."""

ORDER = {"EqProp, one-sided": 1, "HolomorphicEP": POINTS}
"""The power of β with which a method's error falls, where it is not 2."""

NEEDS_SYMMETRY = ("VectorField",)
"""Methods that run on any network, but whose error vanishes with β only where ``D = Dᵀ``."""


def named_methods(spec: Network, beta: float) -> tuple[dict[str, GradientMethod], dict[str, str]]:
    """The methods that apply to a network, and for the others the reason why not."""
    if spec.cost is None:
        return {}, {"gradients": "the network has no cost, so there is no gradient to estimate"}
    every: dict[str, GradientMethod] = {name: make(beta) for name, make in NUDGING.items()}
    every.update({name: exact() for name, exact in EXACT.items()})
    applicable: dict[str, GradientMethod] = {}
    refused: dict[str, str] = {}
    for name, method in every.items():
        try:
            method.refuse(spec)
        except SpecError as error:
            refused[name] = str(error)
        else:
            applicable[name] = method
    return applicable, refused
