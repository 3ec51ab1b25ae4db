"""The integers that the kernels follow: what they stand for, and where they stand in a plan's tables."""

from __future__ import annotations

IDENTITY, RELU, HARD_SIGMOID, SIGMOID, TANH, SOFTMAX, LAYER_NORM = range(7)
NO_COST, SQUARED_ERROR, CROSS_ENTROPY = range(3)
PICARD, GAUSS_SEIDEL, ANDERSON = range(3)
GOING_ON, FROM_ZERO, FROM_POTENTIALS, FROM_REST = range(4)
"""How a block begins: it did so before, with potentials of zero, with those that it has, or where other rows ended."""
CONVERGED, MAX_STEPS, DIVERGED, NONFINITE = range(4)

BEGIN, SIZE, STRIDE, ACTIVATION, WIDTH, FEEDS_BACK, CONSTANTS = range(7)
"""Rows of the table of populations; ``BEGIN`` counts the units before it, filling included."""
POST, PRE, WEIGHTS, SIGN = range(4)
"""Columns of the tables of inlets: where a product goes, where it comes from, and its packed weights."""

PATTERNS, WIDE, THERE, BACK = range(1, 5)
"""Columns of the table of memories beside ``POST``: how many patterns, the stride of their scores, packed weights."""
GATE_WEIGHTS, GATE_BIAS, WEIGHTS_BACK, GATE_BACK, SLOPES = range(3, 8)
"""Columns of the table of gated synapses beside ``POST``, ``PRE`` and ``WEIGHTS``."""
LENGTH, COUPLING, PAST = range(1, 4)
"""Columns of the table of histories beside ``POST``: activities that it keeps, its constants, its first keepsake."""
RATE_BIAS, RATE = range(3, 5)
"""Columns of the table of gates on steps beside ``POST``, ``PRE`` and ``WEIGHTS``; ``RATE`` is that of data."""
