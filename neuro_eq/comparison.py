"""How far two answers lie apart, in float64: of two engines, or of an estimate and the truth.

One rule for the conformance suite and for ``neuro_eq check``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from neuro_eq.abilities import Agreement
from neuro_eq.engine import Engine

Numbers = Mapping[str, Float[np.ndarray, "..."]]
"""Arrays by name, as NumPy's float64."""

VANISHING = 1e-12
"""A gradient of a smaller norm is compared absolutely."""


@dataclass(frozen=True)
class Discrepancy:
    """One difference and what it may be.

    ``place`` names a parameter, whose ``error`` is its largest absolute one; empty, it stands for the whole gradient,
    whose error is relative to its norm.
    """

    place: str
    error: float
    tolerance: float

    @property
    def within(self) -> bool:
        """Whether it is small enough; an error that is not a number is not."""
        return bool(self.error <= self.tolerance)

    @property
    def share(self) -> float:
        """The error as a multiple of its tolerance; not-a-number counts as infinite."""
        if self.error == 0:
            return 0.0
        if not np.isfinite(self.error):
            return float("inf")
        return self.error / self.tolerance if self.tolerance > 0 else float("inf")


def numbers(net: Engine, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """An engine's arrays as NumPy's float64."""
    return {name: np.asarray(net.to_numpy(value), dtype=np.float64) for name, value in values.items()}


def joined(values: Numbers) -> Float[np.ndarray, " entries"]:
    """A whole gradient as one vector."""
    return np.concatenate([np.ravel(value) for value in values.values()])


def cosine(found: Numbers, wanted: Numbers) -> float:
    """Cosine of the angle between two gradients; not a number where one of them is zero."""
    left, right = joined(found), joined(wanted)
    size = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / size if size > 0 else float("nan")


def relative(found: Numbers, wanted: Numbers) -> float:
    """Norm of the error of a whole gradient, relative to its norm; absolute where the true gradient vanishes."""
    left, right = joined(found), joined(wanted)
    size = float(np.linalg.norm(right))
    return float(np.linalg.norm(left - right)) / (size if size > VANISHING else 1.0)


def largest(found: Numbers, wanted: Numbers) -> float:
    """The largest absolute difference of any entry; not a number if one is."""
    return float(max(np.max(np.abs(found[name] - value)) for name, value in wanted.items()))


def gradient_discrepancies(
    found: Numbers,
    wanted: Numbers,
    agreement: Agreement,
    beta: float | None = None,
    floor: Numbers | None = None,
) -> tuple[Discrepancy, ...]:
    """A gradient of an engine against the oracle's by the same method: the whole, then every parameter.

    As a whole, relative to its norm, a gradient agrees to ``gradient_at(beta)``.  Each parameter agrees relative to
    its largest entry, plus what rounding leaves: a contrast of states known to ``noise`` is divided by β, so a
    parameter whose true gradient is small or zero is known to ``noise/β`` absolutely.  Where nothing is nudged
    (``beta=None``) an adjoint is solved relative to its norm, so the floor is relative to the largest entry of the
    whole gradient.

    Args:
        floor: per parameter, what rounding of the size ``agreement.noise`` was seen to do to the oracle's own gradient;
            an allowance below it would be one for another network.
    """
    top = max(float(np.max(np.abs(value))) for value in wanted.values())
    rounding = agreement.gradient * top if beta is None else agreement.noise / abs(beta)
    whole = agreement.gradient if beta is None else agreement.gradient_at(beta)
    if floor is not None:
        whole = max(whole, relative({name: wanted[name] + floor[name] for name in wanted}, wanted))
    parts = [Discrepancy("", relative(found, wanted), whole)]
    for name, value in wanted.items():
        noise = rounding if floor is None else max(rounding, float(np.max(np.abs(floor[name]))))
        within = agreement.gradient * float(np.max(np.abs(value))) + noise
        parts.append(Discrepancy(name, float(np.max(np.abs(found[name] - value))), within))
    return tuple(parts)
