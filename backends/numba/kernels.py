"""The compiled loops.  One block of samples stays in cache while it settles.

A block holds ``rows = phases · samples`` rows, phase-major.  Every quantity over the free units of a block is one
flat buffer in which population ``p`` owns a contiguous ``(rows, size_p)`` matrix, so that BLAS takes it as it is.
Nothing here knows of specs: a plan of integers says what to do.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

IDENTITY, RELU, HARD_SIGMOID, SIGMOID, TANH, SOFTMAX = range(6)
SYMMETRIC, SELF_SYMMETRIC, DIRECTED = range(3)
NO_COST, SQUARED_ERROR, CROSS_ENTROPY = range(3)
CONVERGED, MAX_STEPS, DIVERGED, NONFINITE = range(4)

Kernel = Any
"""A compiled function; Numba's own type says nothing more to a type checker."""

compiled = njit(cache=True, nogil=True, error_model="numpy")


@compiled
def softmax_rows(x, out):  # type: ignore[no-untyped-def]
    for r in range(x.shape[0]):
        top = x[r, 0]
        for j in range(1, x.shape[1]):
            top = max(top, x[r, j])
        total = x[r, 0] * 0
        for j in range(x.shape[1]):
            weight = math.exp(x[r, j] - top)
            out[r, j] = weight
            total += weight
        for j in range(x.shape[1]):
            out[r, j] /= total


@compiled
def activate(kind, width, u, a):  # type: ignore[no-untyped-def]
    """``a = ρ(u)`` for one population, ``(rows, size)``, whose last axis is ``width`` long."""
    if kind == SOFTMAX:
        softmax_rows(u.reshape(u.size // width, width), a.reshape(a.size // width, width))
        return
    one = u.dtype.type(1)
    half = u.dtype.type(0.5)
    zero = u.dtype.type(0)
    for r in range(u.shape[0]):
        for j in range(u.shape[1]):
            v = u[r, j]
            if kind == RELU:
                v = v if v > zero else zero
            elif kind == HARD_SIGMOID:
                # In this order a potential that is not a number stays one.
                if v < zero:
                    v = zero
                elif v > one:
                    v = one
            elif kind == SIGMOID:
                v = half * (one + math.tanh(half * v))
            elif kind == TANH:
                v = math.tanh(v)
            a[r, j] = v


@compiled
def part(buffer, begin, size, rows):  # type: ignore[no-untyped-def]
    """One population's matrix in a block's buffer."""
    return buffer[begin * rows : (begin + size) * rows].reshape(rows, size)


@compiled
def matrix(weights, begin, rows, columns):  # type: ignore[no-untyped-def]
    """One matrix in the buffer of all weights."""
    return weights[begin : begin + rows * columns].reshape(rows, columns)


@compiled
def product(x, w, out):  # type: ignore[no-untyped-def]
    """``out = x w`` for contiguous matrices: the one place that calls BLAS, as each costs a second to compile."""
    np.dot(x, w, out)


@compiled
def add_product(x, w, sign, scratch, out):  # type: ignore[no-untyped-def]
    """``out += sign · x w``."""
    term = scratch[: out.size].reshape(out.shape)
    product(x, w, term)
    for r in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[r, j] += sign * term[r, j]


@compiled
def drive_block(  # type: ignore[no-untyped-def]
    begins, sizes, kinds, widths, synapses, weights, u, a, still, drive, delta, anchor, corrected, rows, scratch
):
    """Activities and drive of one block: inputs and biases from ``still``, then every synapse between free ends."""
    plus = u.dtype.type(1)
    minus = u.dtype.type(-1)
    for p in range(begins.size):
        activate(kinds[p], widths[p], part(u, begins[p], sizes[p], rows), part(a, begins[p], sizes[p], rows))
    for i in range(drive.size):
        drive[i] = still[i]
    if corrected:
        for i in range(a.size):
            delta[i] = a[i] - anchor[i]
    for s in range(synapses.shape[0]):
        # One by one, as the copy above: unpacking an array or assigning a slice pulls in the formatting of an error
        # message, and with it seconds of compilation.
        kind = synapses[s, 0]
        pre = synapses[s, 1]
        post = synapses[s, 2]
        begin = synapses[s, 3]
        # Each synapse has Wᵀ, for its forward direction, and then W, for its backward one.
        forward = matrix(weights, begin, sizes[pre], sizes[post])
        backward = matrix(weights, begin + sizes[pre] * sizes[post], sizes[post], sizes[pre])
        onto_post = part(drive, begins[post], sizes[post], rows)
        onto_pre = part(drive, begins[pre], sizes[pre], rows)
        add_product(part(a, begins[pre], sizes[pre], rows), forward, plus, scratch, onto_post)
        if kind == SYMMETRIC:
            add_product(part(a, begins[post], sizes[post], rows), backward, plus, scratch, onto_pre)
        if kind == DIRECTED and corrected:
            # (Dᵀ − D)(a − a*): the synapse's own weights, read backwards, and itself taken away.
            add_product(part(delta, begins[post], sizes[post], rows), backward, plus, scratch, onto_pre)
            add_product(part(delta, begins[pre], sizes[pre], rows), forward, minus, scratch, onto_post)


@compiled
def nudge_block(cost, readout, transposed, bias, o, y, beta, samples, scratch, drive):  # type: ignore[no-untyped-def]
    """``drive −= β ∂C/∂a`` on the cost's population; rows are phase-major over ``samples``."""
    if cost == SQUARED_ERROR:
        for r in range(o.shape[0]):
            for j in range(o.shape[1]):
                drive[r, j] -= beta[r // samples] * (o[r, j] - y[r % samples, j])
        return
    error = np.empty((o.shape[0], bias.size), o.dtype)
    product(o, transposed, error)
    for r in range(error.shape[0]):
        for j in range(error.shape[1]):
            error[r, j] += bias[j]
    softmax_rows(error, error)
    for r in range(error.shape[0]):
        for j in range(error.shape[1]):
            error[r, j] = -beta[r // samples] * (error[r, j] - y[r % samples, j])
    add_product(error, readout, o.dtype.type(1), scratch, drive)


@compiled
def judge(u, drive, begins, sizes, rows, samples, tol, first, limit, active, status, residual):  # type: ignore[no-untyped-def]
    """Residuals of the active samples, and which of them stop here.  Returns how many go on."""
    units = 0
    for p in range(sizes.size):
        units += sizes[p]
    phases = rows // samples
    going = 0
    for i in range(samples):
        if not active[i]:
            continue
        worst = 0.0
        finite = True
        for k in range(phases):
            r = k * samples + i
            total = 0.0
            for p in range(begins.size):
                row = begins[p] * rows + r * sizes[p]
                for j in range(row, row + sizes[p]):
                    d = float(drive[j]) - float(u[j])
                    total += d * d
            residual[r] = math.sqrt(total / units)
            finite = finite and math.isfinite(residual[r])
            worst = max(worst, residual[r])
        if first:
            limit[i] = limit[i] * max(1.0, worst)
        if not finite:
            active[i] = False
            status[i] = NONFINITE
        elif worst > limit[i]:
            active[i] = False
            status[i] = DIVERGED
        elif worst <= tol[i]:
            active[i] = False
            status[i] = CONVERGED
        else:
            going += 1
    return going


@compiled
def settle_block(  # type: ignore[no-untyped-def]
    plan, synapses, weights, cost, readout, transposed, bias, u, a, still, y, beta, anchor, corrected,
    alpha, tol, limit, active, steps, status, residual, begin_step, end_step, max_steps,
):  # fmt: skip
    """Take the steps ``begin_step`` … ``end_step`` of one block; the last step is followed by its judgement."""
    begins, sizes, kinds, widths = plan[0], plan[1], plan[2], plan[3]
    samples = active.size
    rows = residual.size
    units = u.size // rows
    drive = np.empty_like(u)
    delta = np.empty_like(u)
    scratch = np.empty(rows * units, u.dtype)
    for step in range(begin_step, end_step + 1):
        if step == end_step and step < max_steps:
            return
        drive_block(
            begins, sizes, kinds, widths, synapses, weights, u, a, still, drive, delta, anchor, corrected, rows, scratch
        )
        if cost[0] != NO_COST:
            p = cost[1]
            o = part(a, begins[p], sizes[p], rows)
            nudge_block(
                cost[0], readout, transposed, bias, o, y, beta, samples, scratch, part(drive, begins[p], sizes[p], rows)
            )
        going = judge(u, drive, begins, sizes, rows, samples, tol, step == 0, limit, active, status, residual)
        if going == 0:
            return
        if step == max_steps:
            active[:] = False
            return
        for p in range(begins.size):
            for r in range(rows):
                if not active[r % samples]:
                    continue
                row = begins[p] * rows + r * sizes[p]
                for j in range(row, row + sizes[p]):
                    u[j] += alpha * (drive[j] - u[j])
        for i in range(samples):
            if active[i]:
                steps[i] += 1


@compiled
def hebbian(post, pre):  # type: ignore[no-untyped-def]
    """``post ⊗ pre``, mean over the batch: a synapse's two ends and nothing else."""
    update = np.empty((post.shape[1], pre.shape[1]), post.dtype)
    product(np.ascontiguousarray(post.T), pre, update)
    scale = post.dtype.type(1.0 / post.shape[0])
    for i in range(update.shape[0]):
        for j in range(update.shape[1]):
            update[i, j] *= scale
    return update
