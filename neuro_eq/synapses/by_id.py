"""Sums of the rows that have the same id, added in an order that is always the same."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace, is_numpy_array, is_torch_array
from jaxtyping import Inexact, Int

from neuro_eq.arrays import Array

AT_ONCE = 2**24
"""Ones and noughts that are laid out at a time, which bounds the memory that a product with them takes."""


def sums_by_id(rows: Inexact[Array, "rows d"], ids: Int[Array, " rows"], count: int) -> Inexact[Array, "{count} d"]:
    """``Σ_i rows_i`` over the rows with each of the ids 0 … count − 1."""
    xp = array_namespace(rows)
    total = xp.zeros((count, rows.shape[1]), dtype=rows.dtype, device=rows.device)
    if ids.shape[0] == 0:
        return total
    if is_numpy_array(rows):
        order = np.argsort(ids, kind="stable")
        begins = np.flatnonzero(np.diff(ids[order], prepend=-1))
        total[ids[order[begins]]] = np.add.reduceat(rows[order], begins, axis=0)
        return total
    if adds_in_order(rows):
        return total.index_add_(0, ids, rows)
    if count <= ids.shape[0]:
        return _by_a_product(rows, ids, count)
    return _by_groups(rows, ids, count)


def adds_in_order(rows: Array) -> bool:
    """Whether ``index_add_`` adds one row after the other; on a GPU threads do so as they come."""
    return is_torch_array(rows) and rows.device.type == "cpu"


def _by_a_product(rows: Inexact[Array, "rows d"], ids: Int[Array, " rows"], count: int) -> Inexact[Array, "{count} d"]:
    """The same by a product with ones and noughts, whose shapes do not depend on the ids: a CUDA graph can hold it."""
    xp = array_namespace(rows)
    wide = max(1, AT_ONCE // ids.shape[0])
    sums = []
    for first in range(0, count, wide):
        some = xp.arange(first, min(first + wide, count), device=rows.device)
        sums.append(xp.astype(some[:, None] == ids[None, :], rows.dtype) @ rows)
    return sums[0] if len(sums) == 1 else xp.concat(sums)


def _by_groups(rows: Inexact[Array, "rows d"], ids: Int[Array, " rows"], count: int) -> Inexact[Array, "{count} d"]:
    """The same where there are more ids than rows: sums of equal ids, which are then put in their places."""
    xp = array_namespace(rows)
    order = xp.argsort(ids, stable=True)
    sorted_ids = xp.take(ids, order)
    # A group is known by its first row, which is where a search for its id ends.
    group = xp.searchsorted(sorted_ids, sorted_ids)
    sums = _by_a_product(xp.take(rows, order, axis=0), group, ids.shape[0])
    every = xp.arange(count, device=rows.device)
    place = xp.searchsorted(sorted_ids, every)
    place = xp.where(place < ids.shape[0], place, xp.zeros_like(place))
    there = xp.take(sorted_ids, place) == every
    gathered = xp.take(sums, place, axis=0)
    return xp.where(there[:, None], gathered, xp.zeros_like(gathered))


__all__ = ["sums_by_id"]
