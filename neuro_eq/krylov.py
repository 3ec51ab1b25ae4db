r"""Largest eigenvalues of many operators at once, of which only products with vectors are known.

Arnoldi's method (1951): an orthonormal basis ``V`` of the space spanned by ``v, Av, A²v, …`` is what a power iteration
would run through, and ``H = VᵀAV`` holds the best that can be made of all of it: its eigenvalues approach A's outermost
ones long before the power iteration does, and complex pairs are found like any others.  Where A is symmetric so is H
(Lanczos), and its largest eigenvalue approaches A's from below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int

Rows = Float64[np.ndarray, "batch units"]
Each = Float64[np.ndarray, " batch"]

CHECK_GROWTH = 1.3
"""The next look at H is at so many times its size: an eigenvalue problem of every size would cost more than A does."""


@dataclass(frozen=True)
class Outermost:
    """The largest modulus of an eigenvalue, per operator.

    Attributes:
        modulus: ``(batch,)``; not a number where a product was not finite.
        iterations: ``(batch,)`` products that were taken.
        converged: ``(batch,)`` whether ``‖A y − θ y‖ ≤ rtol·max(|θ|, scale)`` for the unit vector y that it belongs to.
    """

    modulus: Each
    iterations: Int[np.ndarray, " batch"]
    converged: Bool[np.ndarray, " batch"]


def largest_modulus(
    apply: Callable[[Rows], Rows],
    batch: int,
    units: int,
    *,
    symmetric: bool,
    rtol: float,
    max_iterations: int,
    scale: Each | None = None,
) -> Outermost:
    """``max |θ|`` over the eigenvalues of each of ``batch`` operators on ``units`` numbers.

    Args:
        apply: the product of every operator with its row.
        symmetric: whether every operator is.
        rtol: see :attr:`Outermost.converged`.
        max_iterations: the most products; the memory is ``batch · units`` numbers for each.
        scale: ``(batch,)`` a size below which an eigenvalue counts as nought.
    """
    limit = min(units, max_iterations)
    floor = np.zeros(batch) if scale is None else scale
    # One start for all samples: what a sample comes to does not depend on its batch.
    start = np.random.default_rng(0).normal(size=units)
    basis = np.empty((batch, limit, units))
    basis[:, 0] = start / np.linalg.norm(start)
    h = np.zeros((batch, limit + 1, limit))
    lost = np.zeros(batch, dtype=bool)
    active = np.ones(batch, dtype=bool)
    modulus, iterations = np.full(batch, np.nan), np.zeros(batch, dtype=np.int64)
    look = 1
    for m in range(1, limit + 1):
        w = np.array(apply(basis[:, m - 1]), dtype=np.float64)
        lost |= ~np.isfinite(w).all(axis=1)
        w[lost] = 0.0
        size = np.linalg.norm(w, axis=1)
        known = basis[:, :m]
        for _ in range(2):  # once leaves what the first pass's rounding put back
            part = np.matmul(known, w[:, :, None])
            h[:, :m, m - 1] += part[:, :, 0]
            w -= np.matmul(known.transpose(0, 2, 1), part)[:, :, 0]
        rest = np.linalg.norm(w, axis=1)
        # What is left is rounding when the space is closed under A; a vector of zeros adds the eigenvalue 0 only.
        new = rest > 8 * np.finfo(np.float64).eps * size
        h[:, m, m - 1] = np.where(new, rest, 0.0)
        if m < limit:
            basis[:, m] = np.where(new, 1.0 / np.where(new, rest, 1.0), 0.0)[:, None] * w
        if m < look and m < limit:
            continue
        look = int(np.ceil(CHECK_GROWTH * m)) + 1
        at = np.flatnonzero(active & ~lost)
        theta, last = _ritz(h[at, :m, :m], symmetric)
        modulus[at], iterations[at] = theta, m
        active[at] = h[at, m, m - 1] * last > rtol * np.maximum(theta, floor[at])
        if not (active & ~lost).any():
            break
    modulus[lost] = np.nan
    return Outermost(modulus, iterations, ~active & ~lost)


def _ritz(h: Float64[np.ndarray, "samples m m"], symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    """The largest modulus of an eigenvalue of each H, and that of the last entry of its unit eigenvector."""
    values, vectors = np.linalg.eigh(0.5 * (h + h.transpose(0, 2, 1))) if symmetric else np.linalg.eig(h)
    sizes = np.abs(values)
    top = np.argmax(sizes, axis=1)
    each = np.arange(len(h))
    return sizes[each, top], np.abs(vectors[each, -1, top])
