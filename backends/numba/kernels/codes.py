"""The integers that the kernels follow: what they stand for, and where they stand in a plan's tables."""

from __future__ import annotations

IDENTITY, RELU, HARD_SIGMOID, SIGMOID, TANH, SOFTMAX = range(6)
NO_COST, SQUARED_ERROR, CROSS_ENTROPY = range(3)
PICARD, GAUSS_SEIDEL, ANDERSON = range(3)
CONVERGED, MAX_STEPS, DIVERGED, NONFINITE = range(4)

BEGIN, SIZE, STRIDE, ACTIVATION, WIDTH, FEEDS_BACK = range(6)
"""Rows of the table of populations; ``BEGIN`` counts the units before it, filling included."""
POST, PRE, WEIGHTS, SIGN = range(4)
"""Columns of the tables of inlets: where a product goes, where it comes from, and its packed weights."""
