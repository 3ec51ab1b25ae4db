r"""Activations ``a = ρ(u)`` as gradients of convex Lagrangians ``L(u)``.

For an energy network ``ρ = ∇L``, so the energy of a population is its Legendre term ``⟨u, a⟩ − L(u)``.  Each class
below holds the pair, and the test-suite checks ``ρ = ∇L`` and ``ρ' = ρ'ᵀ`` for every one of them.
A gain that differs from unit to unit would make ``ρ'`` non-symmetric; put it into a directed synapse instead.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from array_api_compat import array_namespace
from jaxtyping import Inexact
from pydantic import Field

from neuro_eq.arrays import Array, Parameters, Samples, Shape, Units, real_part, sides, sum_units
from neuro_eq.errors import SpecError
from neuro_eq.frozen import Frozen

Rows: TypeAlias = Inexact[Array, "batch *rows 1"]
"""One number for each row of the last axis."""

LOG_2 = float(np.log(2.0))


class Activation(Frozen):
    """One activation function; subclass it, give it a ``kind``, and a network can use it.

    ``slope_bound`` is ``sup ‖ρ'(u)‖₂`` over potentials and parameters; :meth:`slope_sup` knows the parameters.
    ``analytic`` says whether ρ continues to complex arguments, which the holomorphic gradient needs.
    ``elementwise`` says whether ρ acts on each unit by itself, ``piecewise_linear`` whether :meth:`under_nudge` has a
    closed form.  ``within_one`` says whether every activity lies between −1 and 1, ``convex`` whether L is convex.
    """

    kind: str
    analytic: ClassVar[bool] = True
    elementwise: ClassVar[bool] = True
    piecewise_linear: ClassVar[bool] = False
    slope_bound: ClassVar[float] = 1.0
    within_one: ClassVar[bool] = False
    convex: ClassVar[bool] = True

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Name and shape of each parameter of ρ for a population of this shape."""
        return {}

    def initial(self, shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Start values of ρ's parameters, float64."""
        return {}

    def project(self, theta: Parameters) -> dict[str, Array]:
        """The nearest admissible parameters: those with which the Lagrangian is convex."""
        return dict(theta)

    def slope_sup(self, theta: Parameters) -> float:
        """``sup ‖ρ'(u)‖₂`` over the potentials, with these parameters."""
        return self.slope_bound

    def row_sup(self, theta: Parameters, shape: Shape) -> float:
        """``sup ‖a‖₂`` of one row of the last axis, with these parameters; infinite where activities have no bound."""
        return math.sqrt(shape[-1]) if self.within_one else math.inf

    @abstractmethod
    def lagrangian(self, u: Units, theta: Parameters) -> Samples:
        """``L(u)``, summed over the units of each sample."""

    @abstractmethod
    def activity(self, u: Units, theta: Parameters) -> Units:
        """``a = ρ(u) = ∇L(u)``."""

    @abstractmethod
    def slope(self, u: Units, v: Units, theta: Parameters) -> Units:
        """The product ``ρ'(u) v``; as ``ρ'`` is symmetric it is also ``ρ'(u)ᵀ v``."""

    def under_nudge(self, r: Units, beta: Array) -> Units:
        """The ``u`` that solves ``u + βρ(u) = r``, for ``1 + β > 0``: a population under a squared error's nudge.

        Raises:
            SpecError: ρ is not piecewise linear.
        """
        raise SpecError(f"{self.kind} is not piecewise linear")

    def pieces(self, u: Units) -> Array | None:
        """Where ρ is analytic piece by piece, on which piece each unit is, as whole numbers; None where ρ is smooth."""
        return None

    def lagrangian_gradient(self, u: Units, theta: Parameters) -> dict[str, Array]:
        """``∂L/∂θ`` at fixed potentials, mean over the batch."""
        return {}

    def activity_vjp(self, u: Units, mu: Units, theta: Parameters) -> dict[str, Array]:
        """``(∂ρ/∂θ)ᵀ μ``, mean over the batch."""
        return {}


class Identity(Activation):
    """``L = ½u²``, ``ρ(u) = u``."""

    kind: Literal["identity"] = "identity"
    piecewise_linear: ClassVar[bool] = True

    def lagrangian(self, u: Units, theta: Parameters) -> Samples:
        return 0.5 * sum_units(u * u)

    def activity(self, u: Units, theta: Parameters) -> Units:
        return u

    def slope(self, u: Units, v: Units, theta: Parameters) -> Units:
        return v

    def under_nudge(self, r: Units, beta: Array) -> Units:
        return r / (1.0 + beta)


class ReLU(Activation):
    """``L = ½ max(u, 0)²``, ``ρ(u) = max(u, 0)``."""

    kind: Literal["relu"] = "relu"
    analytic: ClassVar[bool] = False
    piecewise_linear: ClassVar[bool] = True

    def lagrangian(self, u: Units, theta: Parameters) -> Samples:
        a = self.activity(u, theta)
        return 0.5 * sum_units(a * a)

    def activity(self, u: Units, theta: Parameters) -> Units:
        # A choice by the sign of each unit takes thirty times as long on some libraries.
        return array_namespace(u).clip(u, 0.0, None)

    def slope(self, u: Units, v: Units, theta: Parameters) -> Units:
        xp = array_namespace(u)
        return xp.where(u > 0, v, xp.zeros_like(v))

    def pieces(self, u: Units) -> Array:
        return sides(u)

    def under_nudge(self, r: Units, beta: Array) -> Units:
        # As 1 + β > 0, u and r have one sign.
        return array_namespace(r).where(r > 0, r / (1.0 + beta), r)


class HardSigmoid(Activation):
    """``L = ½ max(u, 0)² − ½ max(u − 1, 0)²``, ``ρ(u) = clip(u, 0, 1)``."""

    kind: Literal["hard_sigmoid"] = "hard_sigmoid"
    analytic: ClassVar[bool] = False
    piecewise_linear: ClassVar[bool] = True
    within_one: ClassVar[bool] = True

    def lagrangian(self, u: Units, theta: Parameters) -> Samples:
        xp = array_namespace(u)
        zero = xp.zeros_like(u)
        above = xp.where(u > 0, u, zero)
        over = xp.where(u > 1, u - 1, zero)
        return 0.5 * sum_units(above * above - over * over)

    def activity(self, u: Units, theta: Parameters) -> Units:
        return array_namespace(u).clip(u, 0.0, 1.0)

    def slope(self, u: Units, v: Units, theta: Parameters) -> Units:
        xp = array_namespace(u)
        return xp.where((u > 0) & (u < 1), v, xp.zeros_like(v))

    def pieces(self, u: Units) -> Array:
        return sides(u) + sides(u - 1)

    def under_nudge(self, r: Units, beta: Array) -> Units:
        # u = 0 at r = 0 and u = 1 at r = 1 + β; outside ρ is constant.
        xp = array_namespace(r)
        return xp.where(r <= 0, r, xp.where(r <= 1.0 + beta, r / (1.0 + beta), r - beta))


class Sigmoid(Activation):
    """``L = softplus(u)``, ``ρ(u) = 1/(1 + e^{−u})``."""

    kind: Literal["sigmoid"] = "sigmoid"
    slope_bound: ClassVar[float] = 0.25
    within_one: ClassVar[bool] = True

    def lagrangian(self, u: Units, theta: Parameters) -> Samples:
        xp = array_namespace(u)
        return sum_units(xp.where(u > 0, u, xp.zeros_like(u)) + xp.log1p(xp.exp(-xp.abs(u))))

    def activity(self, u: Units, theta: Parameters) -> Units:
        return sigmoid(u)

    def slope(self, u: Units, v: Units, theta: Parameters) -> Units:
        a = self.activity(u, theta)
        return a * (1.0 - a) * v


class Tanh(Activation):
    """``L = log cosh u`` (computed as ``|u| + log1p(e^{−2|u|}) − ln 2``), ``ρ(u) = tanh u``."""

    kind: Literal["tanh"] = "tanh"
    within_one: ClassVar[bool] = True

    def lagrangian(self, u: Units, theta: Parameters) -> Samples:
        xp = array_namespace(u)
        size = xp.abs(u)
        return sum_units(size + xp.log1p(xp.exp(-2.0 * size)) - LOG_2)

    def activity(self, u: Units, theta: Parameters) -> Units:
        return array_namespace(u).tanh(u)

    def slope(self, u: Units, v: Units, theta: Parameters) -> Units:
        a = self.activity(u, theta)
        return (1.0 - a * a) * v


class Softmax(Activation):
    """``L = logsumexp(u)`` along the last axis, ``ρ(u) = softmax(u)``, ``ρ' = diag(a) − a aᵀ``."""

    kind: Literal["softmax"] = "softmax"
    elementwise: ClassVar[bool] = False
    slope_bound: ClassVar[float] = 0.5

    def row_sup(self, theta: Parameters, shape: Shape) -> float:
        return 1.0

    def lagrangian(self, u: Units, theta: Parameters) -> Samples:
        return sum_units(logsumexp(u))

    def activity(self, u: Units, theta: Parameters) -> Units:
        return softmax(u)

    def slope(self, u: Units, v: Units, theta: Parameters) -> Units:
        xp = array_namespace(u)
        a = self.activity(u, theta)
        return a * (v - xp.sum(a * v, axis=-1, keepdims=True))


class GroupSort(Activation):
    r"""``ρ(u₁, u₂) = (max, min)`` of pairs of units, ``L = ½(u₁² + u₂²) − ½ max(u₂ − u₁, 0)²`` (Anil et al., 2019).

    ρ' swaps the two where they stand the wrong way round: an orthogonal matrix, so that nothing is lost of what comes
    back through it, where a ReLU loses half.  It is symmetric for pairs, and not for larger groups, which no Lagrangian
    has.  A swap has the eigenvalue −1, so L is *not* convex: the energy is stationary where the network rests, and
    gradients are what they are for others, but on its way there it may rise.

    Units along the axis are paired as they stand, 1 and 2, 3 and 4 …; an odd one out stays as it is.

    Args:
        axis: of the population's shape along which pairs stand: the last one, or the first, as of channels of maps.
    """

    kind: Literal["group_sort"] = "group_sort"
    axis: Literal["first", "last"] = "last"
    analytic: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    convex: ClassVar[bool] = False

    def lagrangian(self, u: Units, theta: Parameters) -> Samples:
        first, second, _ = self._pairs(u)
        rise = array_namespace(u).where(self._swapped(u), second - first, 0.0 * first)
        return 0.5 * (sum_units(u * u) - sum_units(rise * rise))

    def activity(self, u: Units, theta: Parameters) -> Units:
        return self.slope(u, u, theta)

    def slope(self, u: Units, v: Units, theta: Parameters) -> Units:
        xp, swapped = array_namespace(v), self._swapped(u)
        first, second, rest = self._pairs(v)
        pairs = xp.stack([xp.where(swapped, second, first), xp.where(swapped, first, second)], axis=-1)
        joined = xp.concat([xp.reshape(pairs, (*pairs.shape[:-2], -1)), rest], axis=-1)
        return xp.moveaxis(joined, -1, 1) if self.axis == "first" else joined

    def pieces(self, u: Units) -> Array:
        return array_namespace(u).astype(self._swapped(u), array_namespace(u).int64)

    def _swapped(self, u: Units) -> Array:
        first, second, _ = self._pairs(u)
        return real_part(second) > real_part(first)

    def _pairs(self, u: Units) -> tuple[Array, Array, Array]:
        """The first and the second of each pair, and what is left over, all along the last axis."""
        xp = array_namespace(u)
        along = xp.moveaxis(u, 1, -1) if self.axis == "first" else u
        paired = along.shape[-1] // 2 * 2
        pairs = xp.reshape(along[..., :paired], (*along.shape[:-1], paired // 2, 2))
        return pairs[..., 0], pairs[..., 1], along[..., paired:]


class LayerNorm(Activation):
    """``L = D·γ·σ + ⟨δ, u⟩`` along the last axis of length D, ``σ = √(var(u) + ε)``; ``ρ(u) = γ·z + δ``.

    ``z = (u − mean u)/σ``.  The gain γ ≥ 0 is one number and the offset δ a vector, both shared by all rows of the
    last axis.  The slope ``ρ' = (γ/σ)·(1 − 11ᵀ/D − z zᵀ/D)`` is symmetric, and as ``‖z‖² < D`` it lies between 0 and
    γ/σ.  A row of small variance is therefore amplified by up to γ/√ε: ε is a limit of the gain, not only a guard
    against a division by zero; 1e-5, usual in feed-forward networks, allows 316.

    Args:
        epsilon: ε.
        gain: γ at the start; δ starts at 0.
    """

    kind: Literal["layer_norm"] = "layer_norm"
    epsilon: float = Field(default=1.0, gt=0.0, le=1e100)
    gain: float = Field(default=1.0, ge=0.0, le=1e100)
    elementwise: ClassVar[bool] = False
    slope_bound: ClassVar[float] = math.inf

    def parameter_shapes(self, shape: Shape) -> dict[str, Shape]:
        return {"gamma": (), "delta": (shape[-1],)}

    def initial(self, shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"gamma": np.array(self.gain), "delta": np.zeros(shape[-1])}

    def project(self, theta: Parameters) -> dict[str, Array]:
        gamma = theta["gamma"]
        xp = array_namespace(gamma)
        return {**theta, "gamma": xp.where(gamma > 0, gamma, xp.zeros_like(gamma))}

    def slope_sup(self, theta: Parameters) -> float:
        return float(theta["gamma"]) / math.sqrt(self.epsilon)

    def row_sup(self, theta: Parameters, shape: Shape) -> float:
        """``γ√D + ‖δ‖``, as ``‖z‖² < D``."""
        delta = theta["delta"]
        offset = math.sqrt(float(array_namespace(delta).sum(delta * delta)))
        return float(theta["gamma"]) * math.sqrt(shape[-1]) + offset

    def lagrangian(self, u: Units, theta: Parameters) -> Samples:
        _, sigma = self.normal(u)
        return sum_units(u.shape[-1] * theta["gamma"] * sigma) + sum_units(theta["delta"] * u)

    def activity(self, u: Units, theta: Parameters) -> Units:
        z, _ = self.normal(u)
        return theta["gamma"] * z + theta["delta"]

    def slope(self, u: Units, v: Units, theta: Parameters) -> Units:
        z, sigma = self.normal(u)
        return theta["gamma"] / sigma * tangent_of_normal(z, v)

    def lagrangian_gradient(self, u: Units, theta: Parameters) -> dict[str, Array]:
        xp = array_namespace(u)
        _, sigma = self.normal(u)
        return {"gamma": u.shape[-1] * xp.sum(sigma) / u.shape[0], "delta": _rows(u)}

    def activity_vjp(self, u: Units, mu: Units, theta: Parameters) -> dict[str, Array]:
        z, _ = self.normal(u)
        return {"gamma": array_namespace(u).sum(mu * z) / u.shape[0], "delta": _rows(mu)}

    def normal(self, u: Units) -> tuple[Units, Rows]:
        """``z`` and ``σ``, the latter with a last axis of length one; no conjugation, so both stay holomorphic."""
        xp = array_namespace(u)
        centered = u - xp.mean(u, axis=-1, keepdims=True)
        sigma = xp.sqrt(xp.mean(centered * centered, axis=-1, keepdims=True) + self.epsilon)
        return centered / sigma, sigma


def tangent_of_normal(z: Units, v: Units) -> Units:
    """``(1 − 11ᵀ/D − z zᵀ/D) v`` along the last axis: σ times the derivative of :meth:`LayerNorm.normal` along v."""
    xp = array_namespace(v)
    return v - xp.mean(v, axis=-1, keepdims=True) - z * xp.mean(z * v, axis=-1, keepdims=True)


def _rows(x: Units) -> Array:
    """Sum over the rows of the last axis, mean over the batch."""
    return array_namespace(x).sum(x, axis=tuple(range(x.ndim - 1))) / x.shape[0]


def sigmoid(u: Units) -> Units:
    """``1/(1 + e^{−u})``, computed as ``½(1 + tanh(u/2))``, which cannot overflow."""
    return 0.5 * (1.0 + array_namespace(u).tanh(0.5 * u))


def logsumexp(u: Units) -> Rows:
    """``log Σ e^u`` along the last axis, which keeps length one.

    The largest *real* part is subtracted and added again: nothing overflows, and it stays holomorphic.
    """
    xp = array_namespace(u)
    top = _largest_real_part(u)
    return top + xp.log(xp.sum(xp.exp(u - top), axis=-1, keepdims=True))


def softmax(u: Units) -> Units:
    """Softmax along the last axis.  The largest *real* part is subtracted, which keeps it holomorphic."""
    xp = array_namespace(u)
    weight = xp.exp(u - _largest_real_part(u))
    return weight / xp.sum(weight, axis=-1, keepdims=True)


def log_softmax(u: Units) -> Units:
    """``log softmax(u)`` along the last axis, without overflow."""
    xp = array_namespace(u)
    shifted = u - _largest_real_part(u)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def _largest_real_part(u: Units) -> Rows:
    return array_namespace(u).max(real_part(u), axis=-1, keepdims=True)


ACTIVATIONS: dict[str, type[Activation]] = {
    "identity": Identity,
    "relu": ReLU,
    "hard_sigmoid": HardSigmoid,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "softmax": Softmax,
    "layer_norm": LayerNorm,
    "group_sort": GroupSort,
}
"""The activations a spec can name."""
