"""The chip's learning engine: three-factor rules as sums of products, in its own integers.

In a step in which the rule is evaluated every synapse adds, for each product of its rule,

    p = ⌊ s·Π factors / 2^max(0, Σ widths + 4 − 15) ⌋ · 2^exponent          where its presynaptic neuron has just sent

to ``2⁷`` times the variable, saturates at fifteen bits, and rounds back to whole numbers by a random draw.  ``s`` is a
mantissa of four bits; a factor is a trace (7 bits) or a tag (9).  The shift cuts bits *downwards*, also of negative
products: that is a bias, and what a schedule of learning has to live with (:mod:`neuro_eq.hardware.schedules`).

Source: the arithmetic is that of Lava's ``LearningDense`` in fixed point (lava-nc 0.10.0), which approximates the
chip's own; the draw is one for a whole connection and step there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int, Integer

from neuro_eq.errors import SpecError

Factor = Literal["x1", "y1", "y2", "t"]

WIDTHS: dict[str, int] = {"x1": 7, "y1": 7, "y2": 7, "t": 9}
"""Bits of a factor; it saturates at ``−2^bits … 2^bits − 1``."""

MANTISSA_BITS = 4
ACCUMULATOR_BITS = 15
FRACTION_BITS = 7
"""Bits of the accumulator behind a variable's point."""
VARIABLE_BITS = 8
"""Of weights and of tags; in Lava's model a weight of mixed signs has 8 bits *and* a sign while it learns."""
TRACE_HIGH = 127


@dataclass(frozen=True)
class Product:
    """``mantissa · 2^(exponent − 7) · x0 · factors``, as Lava writes it.

    Args:
        mantissa: −7…7, not 0.
        exponent: 0…15.
        factors: traces and tags.
    """

    mantissa: int
    exponent: int
    factors: tuple[Factor, ...]

    def __post_init__(self) -> None:
        # Lava halves an even mantissa beyond 7 and raises the exponent, so −8 would be another product.
        if not -7 <= self.mantissa <= 7 or self.mantissa == 0:
            raise SpecError(f"a mantissa lies in −7…7 and is not 0, found {self.mantissa}", "product")
        if not 0 <= self.exponent <= 15:
            raise SpecError(f"an exponent lies in 0…15, found {self.exponent}", "product")

    @property
    def shift(self) -> int:
        """Bits that are cut before the exponent is applied."""
        return max(0, sum(WIDTHS[f] for f in self.factors) + MANTISSA_BITS - ACCUMULATOR_BITS)

    def __str__(self) -> str:
        return "*".join([f"({self.mantissa})", f"2^{self.exponent - FRACTION_BITS}", "x0", *self.factors])


@dataclass(frozen=True)
class Rule:
    """What changes weights, and what changes their tags.

    Args:
        dw, dt: products; a variable without any stays as it is.
    """

    dw: tuple[Product, ...] = ()
    dt: tuple[Product, ...] = ()

    def strings(self) -> dict[str, str]:
        """As Lava's rules are written."""
        return {
            name: " + ".join(map(str, products)) for name, products in (("dw", self.dw), ("dt", self.dt)) if products
        }

    def table(self) -> Int[np.ndarray, "products 8"]:
        """For the kernel: target, mantissa, exponent, shift, and whether each of x1, y1, y2 and t is a factor."""
        rows = [
            [target, p.mantissa, p.exponent, p.shift, *(name in p.factors for name in WIDTHS)]
            for target, products in enumerate((self.dw, self.dt))
            for p in products
        ]
        return np.array(rows, dtype=np.int64).reshape(-1, 8)


PRE_FADES, POST_FADES = 2**30, 2**16 - 1
"""Time constants of the traces in Lava's three-factor rules: the first as we set it, the second as it is there."""


def faded(trace: Integer[np.ndarray, " neurons"], constant: int, draw: float) -> Integer[np.ndarray, " neurons"]:
    """A trace when the rule is evaluated: ``e^{−1/τ}`` of it, rounded up with the probability of what is cut.

    A postsynaptic factor of 100 is taken for 99 once in some six hundred steps.
    """
    left = np.exp(-1 / constant) * np.asarray(trace)
    return (np.floor(left) + (draw < left % 1)).astype(np.int64)


def apply(
    rule: Rule,
    weights: Integer[np.ndarray, "post pre"],
    tags: Integer[np.ndarray, "post pre"],
    x1: Integer[np.ndarray, " pre"],
    y1: Integer[np.ndarray, " post"],
    y2: Integer[np.ndarray, " post"],
    draw: float,
) -> tuple[Integer[np.ndarray, "post pre"], Integer[np.ndarray, "post pre"]]:
    """One evaluation: the definition.

    Args:
        x1: trace of every presynaptic neuron; one that has sent nothing has 0 here.
        y1, y2: traces of the postsynaptic neurons; they may be negative.
        draw: of the rounding, in [0, 1).
    """
    factors = {"x1": x1[None, :], "y1": y1[:, None], "y2": y2[:, None], "t": tags}
    new_weights = _changed(rule.dw, weights, factors, draw)
    new_tags = _changed(rule.dt, tags, factors, draw)
    low = -(2**VARIABLE_BITS)
    # A tag goes one further down in Lava's model than a weight does.
    return np.clip(new_weights, low, -low - 1), np.clip(new_tags, low - 1, -low - 1)


def _changed(
    products: tuple[Product, ...], variable: np.ndarray, factors: dict[str, np.ndarray], draw: float
) -> np.ndarray:
    if not products:
        return variable
    edge = 2**ACCUMULATOR_BITS
    total = variable.astype(np.int64) << FRACTION_BITS
    sent = factors["x1"] != 0
    for product in products:
        p = np.where(sent, product.mantissa, 0)
        for name in product.factors:
            width = 2 ** WIDTHS[name]
            p = p * np.clip(factors[name], -width, width - 1)
        total = np.clip(
            total + np.clip((p >> product.shift) << product.exponent, -edge - 1, edge - 1), -edge - 1, edge - 1
        )
    whole = total >> FRACTION_BITS
    rest = (total & (2**FRACTION_BITS - 1)) / 2**FRACTION_BITS
    return whole + (draw < rest)
