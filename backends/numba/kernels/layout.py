"""Samples into the rows of a block, and back: a block's rows are a sample's phases, one sample after the other."""

from __future__ import annotations

from neuro_eq.backends.numba.compilation import brief, entry
from neuro_eq.backends.numba.kernels.codes import BEGIN, SIZE, STRIDE
from neuro_eq.backends.numba.kernels.judging import squares
from neuro_eq.backends.numba.kernels.rows import copy


@entry
def spread(values, out, begin, wide, phases, phase):  # type: ignore[no-untyped-def]
    """One population's ``values (count, size)`` into one phase of a buffer, or with ``phase`` −1 into all."""
    count, size = values.shape
    first, last = (0, phases) if phase < 0 else (phase, phase + 1)
    for i in range(count):
        for k in range(first, last):
            row = (begin * count + i * wide) * phases + k * wide
            copy(values[i], out[row : row + size])


@brief
def fill(populations, row, out, count):  # type: ignore[no-untyped-def]
    """A row of all free units, filling included, into every row of a buffer of ``count``."""
    for p in range(populations.shape[1]):
        begin, wide = populations[BEGIN, p], populations[STRIDE, p]
        for i in range(count):
            at = begin * count + i * wide
            copy(row[begin : begin + wide], out[at : at + wide])


@entry
def repeat(populations, place, x, out, phases):  # type: ignore[no-untyped-def]
    """Every row of a buffer in one phase into all phases of another, in which the samples stand in their order.

    ``place`` says which of the block's samples stands where in the first.
    """
    count = place.size
    for p in range(populations.shape[1]):
        wide = populations[STRIDE, p]
        begin = populations[BEGIN, p] * count
        for i in range(count):
            source = begin + i * wide
            for k in range(phases):
                row = begin * phases + (place[i] * phases + k) * wide
                copy(x[source : source + wide], out[row : row + wide])


@entry
def gather(populations, place, x, phases, first, batch, out):  # type: ignore[no-untyped-def]
    """A buffer into ``out``, population after population ``(phases, batch, size)``, its samples from ``first`` on."""
    count = place.size
    done = 0
    for p in range(populations.shape[1]):
        begin, wide, size = populations[BEGIN, p] * count, populations[STRIDE, p], populations[SIZE, p]
        for i in range(count):
            for k in range(phases):
                row = (begin + i * wide) * phases + k * wide
                to = done + (k * batch + first + place[i]) * size
                copy(x[row : row + size], out[to : to + size])
        done += phases * batch * size


@brief
def add_squares_of(populations, place, x, phases, phase, first, total):  # type: ignore[no-untyped-def]
    """Add ``Σ x²`` of every sample in one phase to ``total (batch)``, where the block begins at ``first``."""
    count = place.size
    for p in range(populations.shape[1]):
        begin, wide, size = populations[BEGIN, p] * count, populations[STRIDE, p], populations[SIZE, p]
        for i in range(count):
            row = (begin + i * wide) * phases + phase * wide
            total[first + place[i]] += squares(x[row : row + size])


@brief
def report(place, residual, steps, status, first, residuals, taken, ended):  # type: ignore[no-untyped-def]
    """How the samples of a block ended, into ``residuals (phases, batch)`` and ``(batch,)``; it begins at ``first``."""
    phases = residuals.shape[0]
    for i in range(place.size):
        to = first + place[i]
        taken[to], ended[to] = steps[i], status[i]
        for k in range(phases):
            residuals[k, to] = residual[i * phases + k]
