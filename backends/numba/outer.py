r"""Sums of outer products over a batch, what a synapse learns of its two ends: ``Σ_b post_b ⊗ pre_b``.

A panel of columns of ``pre`` is brought into the first-level cache in the order that the innermost product takes it in,
and multiplied with all rows at once; the activities of ``post`` are read where they lie.  A thread needs nothing of
what another has done, so that they meet once.
"""

from __future__ import annotations

import numpy as np

from neuro_eq.backends.numba.compilation import compiled, entry
from neuro_eq.backends.numba.tile import BYTES, ROWS, VECTORS, panel_vectors, strip_of

TERMS = 128
"""Samples that are summed over at a time: as many rows of a panel, at most 192 bytes each, fit into that cache."""

_strip = strip_of(transposed=True)


@compiled
def _pack(pre, factor, first, terms, begin, width, panel):  # type: ignore[no-untyped-def]
    """``factor · pre`` of some samples, in one panel of columns; its filling holds zeros."""
    inside = min(width, pre.shape[1] - begin)
    for k in range(terms):
        for j in range(inside):
            panel[k * width + j] = factor * pre[first + k, begin + j]
        for j in range(inside, width):
            panel[k * width + j] = 0


@entry
def outer_sums(post, pre, factor, out, added, first_row, end_row, first_panel, end_panel):  # type: ignore[no-untyped-def]
    """``out = factor · postᵀ pre`` in some rows and panels of columns; with ``added`` that is added to ``out``.

    ``post (batch, n_post)``, ``pre (batch, n_pre)``, and ``out (n_post, stride(n_pre))``.
    """
    (batch, units), width, size = post.shape, out.shape[1], out.itemsize
    lanes = BYTES // size
    panel = np.empty(TERMS * VECTORS * lanes, out.dtype)
    begin = 0
    for i in range(end_panel):
        vectors = panel_vectors((width - begin) // lanes)
        if i >= first_panel:
            for first in range(0, batch, TERMS):
                terms = min(TERMS, batch - first)
                _pack(pre, factor, first, terms, begin, vectors * lanes, panel)
                sums = out.ctypes.data + (first_row * width + begin) * size
                _strip(
                    out, vectors, end_row - first_row, post.ctypes.data + (first * units + first_row) * size, units,
                    panel.ctypes.data, sums, width, terms, sums if added or first > 0 else 0,
                )  # fmt: skip
        begin += vectors * lanes


def shares(rows: int, columns: int, threads: int) -> list[tuple[int, int, int, int]]:
    """Rows and panels of ``columns`` vectors for about so many threads: first and end of both, for each.

    Columns are shared out before rows, as each share of the rows packs the panels for itself.
    """
    panels = -(-columns // VECTORS)
    across = min(threads, panels)
    down = min(-(-threads // across), -(-rows // ROWS))
    whole = -(-rows // ROWS)  # tiles; rows are cut between them
    return [
        (whole * i // down * ROWS, min(whole * (i + 1) // down * ROWS, rows), panels * j // across,
         panels * (j + 1) // across)
        for i in range(down) for j in range(across)
    ]  # fmt: skip


__all__ = ["outer_sums", "shares"]
