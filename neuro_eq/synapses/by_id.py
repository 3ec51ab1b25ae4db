"""Sums of the rows that have the same id, added in an order that is always the same."""

from __future__ import annotations

import numpy as np
from array_api_compat import array_namespace, is_numpy_array, is_torch_array
from jaxtyping import Inexact, Int

from neuro_eq.arrays import Array


def sums_by_id(rows: Inexact[Array, "rows d"], ids: Int[Array, " rows"], count: int) -> Inexact[Array, "{count} d"]:
    """``Σ_i rows_i`` over the rows with each of the ids 0 … count − 1."""
    xp = array_namespace(rows)
    total = xp.zeros((count, rows.shape[1]), dtype=rows.dtype, device=rows.device)
    if is_numpy_array(rows):
        np.add.at(total, ids, rows)
        return total
    if adds_in_order(rows):
        return total.index_add_(0, ids, rows)
    return _by_a_product(rows, ids, count) if ids.shape[0] else total


def adds_in_order(rows: Array) -> bool:
    """Whether ``index_add_`` adds one row after the other; on a GPU threads do so as they come."""
    return is_torch_array(rows) and rows.device.type == "cpu"


def _by_a_product(rows: Inexact[Array, "rows d"], ids: Int[Array, " rows"], count: int) -> Inexact[Array, "{count} d"]:
    """The same by a product with ones and noughts, whose shapes do not depend on the ids: a CUDA graph can hold it.

    There are often far more ids than rows, so the product finds a sum for every group of equal ids, in sorted order,
    and those are put in their places.
    """
    xp = array_namespace(rows)
    order = xp.argsort(ids, stable=True)
    sorted_ids = xp.take(ids, order)
    here = xp.arange(ids.shape[0], device=rows.device)
    # The first row of a group is the one that stands where a search for its id ends.
    group = xp.searchsorted(sorted_ids, sorted_ids)
    hot = xp.astype(here[:, None] == group[None, :], rows.dtype)
    sums = hot @ xp.take(rows, order, axis=0)
    every = xp.arange(count, device=rows.device)
    place = xp.searchsorted(sorted_ids, every)
    place = xp.where(place < ids.shape[0], place, xp.zeros_like(place))
    there = xp.take(sorted_ids, place) == every
    gathered = xp.take(sums, place, axis=0)
    return xp.where(there[:, None], gathered, xp.zeros_like(gathered))


__all__ = ["sums_by_id"]
