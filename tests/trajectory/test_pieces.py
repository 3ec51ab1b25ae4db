"""However pieces wait and are written together, the file holds what writing each at once would have put there."""

from __future__ import annotations

import h5py
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from neuro_eq.trajectory.layout import Layout
from neuro_eq.trajectory.pieces import Piece, Pieces

PHASES, STEPS, UNITS = 3, 9, 2
NAME = "trajectory/h/state"


@st.composite
def pieces(draw: st.DrawFn) -> list[tuple[int, int, int, int, int] | None]:
    """Rows, phase and steps of pieces, in order; None is a flush between them."""
    one = st.tuples(
        st.integers(0, 5),
        st.integers(1, 3),
        st.integers(0, PHASES - 1),
        st.integers(0, STEPS - 1),
        st.integers(1, STEPS),
    )
    return draw(st.lists(st.one_of(one, st.none()), max_size=12))


@given(given_pieces=pieces())
def test_together_or_one_by_one(given_pieces: list[tuple[int, int, int, int, int] | None]) -> None:
    waiting, number, rows, written = Pieces(), 0, 0, 0
    expected = np.full((9, PHASES, STEPS, UNITS), np.nan)
    with h5py.File("pieces.h5", "w", driver="core", backing_store=False) as file:
        layout = Layout(file)
        layout.add_population("h", (UNITS,), "float64", free=True, samples=3, steps=4)

        def write() -> None:
            nonlocal written
            layout.grow(
                {"sample": range(rows), "phase": ["p"] * PHASES, "beta": [0.0] * PHASES, "step": range(STEPS)}, {}
            )
            waiting.write(layout, written)
            written = rows

        for piece in (*given_pieces, None):
            if piece is None:
                write()
                continue
            row, count, phase, first, steps = piece
            last = min(first + steps, STEPS)
            number += 1
            values = np.full((count, 1, last - first, UNITS), float(number))
            waiting.put(NAME, Piece(row, ((phase, phase + 1), (first, last), (0, UNITS)), values))
            expected[row : row + count, phase, first:last] = number
            rows = max(rows, row + count)
        assert waiting.most == 0
        np.testing.assert_array_equal(file[NAME][...], expected[:rows])


def test_a_box_that_would_be_mostly_empty_is_not_made() -> None:
    """Two rows with all of a space that is much larger between them cost two writes and not that space."""
    far = 100_000
    waiting = Pieces()
    with h5py.File("pieces.h5", "w", driver="core", backing_store=False) as file:
        layout = Layout(file)
        layout.add_population("h", (UNITS,), "float64", free=True, samples=1, steps=1)
        layout.grow({"sample": range(far), "phase": ["p"], "beta": [0.0], "step": range(1)}, {})
        for row in (0, far - 1):
            waiting.put(NAME, Piece(row, ((0, 1), (0, 1), (0, UNITS)), np.ones((1, 1, 1, UNITS))))
        waiting.write(layout, 0)
        assert file[NAME].id.get_num_chunks() == 2
