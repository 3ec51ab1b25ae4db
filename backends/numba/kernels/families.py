"""Synapses that are more than one product: memories, gated synapses, histories, and gates on steps.

A block that has none of them is given None in their place, and none of this is compiled for it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neuro_eq.backends.numba.compilation import compiled
from neuro_eq.backends.numba.kernels.codes import BEGIN, COUPLING, POST, STRIDE
from neuro_eq.backends.numba.kernels.gated import drive_through_gate, turn_around
from neuro_eq.backends.numba.kernels.memories import recall
from neuro_eq.backends.numba.kernels.rows import add


class Families(NamedTuple):
    """The synapses' tables, whose columns are named in :mod:`~neuro_eq.backends.numba.kernels.codes`, and their rows.

    Attributes:
        memories, gated, histories, gates: one row a synapse.
        turned: the gated synapses where the asymmetric correction is taken, none elsewhere.
        keepsakes: begin, size and stride of the matrices in ``kept``, as in the table of populations.
        kept: what a sample carries along: the slopes of gates at ``a*``, past activities, how fast data let it move.
        scratch: room for the rows of what a synapse computes on the way.
    """

    memories: np.ndarray
    gated: np.ndarray
    turned: np.ndarray
    histories: np.ndarray
    gates: np.ndarray
    keepsakes: np.ndarray
    kept: np.ndarray
    scratch: np.ndarray


@compiled
def drive_by_families(  # type: ignore[no-untyped-def]
    populations, p, families, weights, constants, a, deltas, drive, capacity, rows
):
    """What these synapses add to the drive of one population; a gate on steps adds nothing."""
    for s in range(families.memories.shape[0]):
        if families.memories[s, POST] == p:
            recall(populations, families.memories[s], families.scratch, weights, a, drive, capacity, rows)
    for s in range(families.gated.shape[0]):
        if families.gated[s, POST] == p:
            drive_through_gate(
                populations, families.gated[s], families.scratch, weights, constants, a, drive, capacity, rows
            )
    for s in range(families.turned.shape[0]):
        turn_around(
            populations, p, families.turned[s], families.keepsakes, families.kept, families.scratch, weights,
            deltas[0], drive, capacity, rows,
        )  # fmt: skip
    for s in range(families.histories.shape[0]):
        if families.histories[s, POST] == p:
            first = populations[BEGIN, p] * capacity
            last = first + rows * populations[STRIDE, p]
            add(constants[families.histories[s, COUPLING]], a[first:last], drive[first:last])
