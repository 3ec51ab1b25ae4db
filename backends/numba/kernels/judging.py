"""Which samples stop, and how."""

from __future__ import annotations

import math

from neuro_eq.backends.numba.compilation import brief, compiled, summing
from neuro_eq.backends.numba.kernels.codes import BEGIN, CONVERGED, DIVERGED, NONFINITE, SIZE, STRIDE


@summing
def squared_distance(x, y):  # type: ignore[no-untyped-def]
    """``Σ (x − y)²`` in float64."""
    total = 0.0
    for j in range(x.size):
        d = float(x[j]) - float(y[j])
        total += d * d
    return total


@summing
def squares(x):  # type: ignore[no-untyped-def]
    """``Σ x²`` in float64."""
    total = 0.0
    for j in range(x.size):
        total += float(x[j]) * float(x[j])
    return total


@brief
def add_squares(x, total):  # type: ignore[no-untyped-def]
    """Add each row's ``Σ x²`` to ``total (rows)``."""
    for r in range(x.shape[0]):
        total[r] += squares(x[r])


@compiled
def judge(populations, u, drive, capacity, moving, phases, first, tol, limit, steps, status, residual):  # type: ignore[no-untyped-def]
    """Residuals of the moving samples, and how those end that stop here: their steps become ``−1 − steps``."""
    units = 0
    for p in range(populations.shape[1]):
        units += populations[SIZE, p]
    for i in range(moving):
        worst = 0.0
        finite = True
        for k in range(phases):
            r = i * phases + k
            total = 0.0
            for p in range(populations.shape[1]):
                row = populations[BEGIN, p] * capacity + r * populations[STRIDE, p]
                end = row + populations[SIZE, p]
                total += squared_distance(drive[row:end], u[row:end])
            residual[r] = math.sqrt(total / units)
            finite = finite and math.isfinite(residual[r])
            worst = max(worst, residual[r])
        if first:
            limit[i] = limit[i] * max(1.0, worst)
        stops = True
        if not finite:
            status[i] = NONFINITE
        elif worst > limit[i]:
            status[i] = DIVERGED
        elif worst <= tol[i]:
            status[i] = CONVERGED
        else:
            stops = False
        if stops:
            steps[i] = -1 - steps[i]
