"""What the lines of experiments show: means and bands, in logarithms where the axis has them."""

from __future__ import annotations

import numpy as np
import pytest

from neuro_eq.experiments.machinery.drawing import blank, courses, grouped, key, line, side_by_side
from neuro_eq.experiments.machinery.provenance import Provenance
from neuro_eq.experiments.machinery.results import Cell, Run

X = [1.0, 2.0, 3.0]


@pytest.fixture
def axes():
    return blank(3.0, 3.0).subplots()


def drawn(axes):
    """The line, and the lower and the upper edge of its band at each of its places."""
    (middle,), (band,) = axes.lines, axes.collections
    corners = band.get_paths()[0].vertices
    edges = [(corners[corners[:, 0] == x, 1].min(), corners[corners[:, 0] == x, 1].max()) for x in middle.get_xdata()]
    return np.asarray(middle.get_ydata(), float), np.array(edges)


def test_mean_and_standard_deviation(axes):
    runs = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 5.0]])
    line(axes, X, runs, "of two", "#000000")
    middle, edges = drawn(axes)
    np.testing.assert_allclose(middle, [2.0, 2.0, 4.0])
    np.testing.assert_allclose(edges[:, 1] - edges[:, 0], 2 * runs.std(axis=0, ddof=1))
    assert axes.get_yscale() == "linear"


def test_of_logarithms(axes):
    """Decades apart: a band of the numbers themselves would fall below nought, which such an axis does not have."""
    runs = np.array([[1e-6, 1e-4, 1.0], [1e-2, 1e-4, 1.0]])
    assert np.any(runs.mean(axis=0) < runs.std(axis=0, ddof=1))
    line(axes, X, runs, "of two", "#000000", logarithmic=True)
    middle, edges = drawn(axes)
    np.testing.assert_allclose(middle, [1e-4, 1e-4, 1.0])
    sd = np.log(1e4) / np.sqrt(2.0)
    np.testing.assert_allclose(np.log(edges[0]), np.log(1e-4) + np.array([-sd, sd]))
    assert axes.get_yscale() == "log"


def test_what_has_no_logarithm_is_left_out(axes):
    line(axes, X, np.array([[0.0, 1.0, np.nan], [2.0, -1.0, np.nan]]), "of two", "#000000", logarithmic=True)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [2.0, 1.0, np.nan])


def test_places_with_fewer_runs(axes):
    """As after an interruption: the mean of what there is, and a band where there are several."""
    runs = side_by_side([np.array([1.0, 3.0]), np.array([2.0]), np.array([4.0, 6.0])])
    np.testing.assert_array_equal(runs, [[1.0, 2.0, 4.0], [3.0, np.nan, 6.0]])
    line(axes, X, runs, "of one or two", "#000000")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [2.0, 2.0, 5.0])


def test_a_run_that_ended_early_is_drawn_as_far_as_it_came():
    curves = [{"c": np.array([1.0, 2.0, 3.0])}, {"c": np.array([4.0])}, {}]
    runs = tuple(Run(i, {}, Provenance(code=""), lambda kept=kept: kept) for i, kept in enumerate(curves))
    cell = Cell(None, runs)
    np.testing.assert_array_equal(courses(cell, "c"), [[1.0, 2.0, 3.0], [4.0, np.nan, np.nan]])
    assert courses(cell, "nobody kept it").size == 0


def test_dots_stand_beside_their_mean(axes):
    """And a place without a value has neither."""
    series = {"one": [np.array([1.0, 3.0]), np.zeros(0)], "two": [np.array([5.0])] * 2}
    grouped(axes, ["a", "b"], series, "", "", "")
    means = [(list(one.get_ydata()), one.get_label()) for one in axes.lines if one.get_marker() == "_"]
    np.testing.assert_array_equal([values for values, _ in means], [[2.0, np.nan], [5.0, 5.0]])
    assert [word for _, word in means] == ["one", "two"]
    dots = [list(one.get_ydata()) for one in axes.lines if one.get_marker() == "."]
    assert dots == [[1.0, 3.0], [], [5.0], [5.0]]
    assert [word.get_text() for word in axes.get_xticklabels()] == ["a", "b"]
    grouped(axes, ["a", "b"], series, "", "", "", bars=True)
    np.testing.assert_array_equal([bar.get_height() for bar in axes.patches], [2.0, np.nan, 5.0, 5.0])


def test_a_legend_may_be_of_another_panel(axes):
    line(axes, X, np.ones((1, 3)), "here", "#000000")
    empty = blank(3.0, 3.0).subplots()
    key(empty, of=axes)
    assert [word.get_text() for word in empty.get_legend().get_texts()] == ["here"]


def test_one_run_has_no_band(axes):
    line(axes, X, np.ones((1, 3)), "of one", "#000000")
    assert not axes.collections
