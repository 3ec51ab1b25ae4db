"""A picture shows what the file holds: its lines are the recorded numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import neuro_eq as ne
from neuro_eq import figures
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.figures import Choice, LackingError
from neuro_eq.figures.plane import Name, principal_plane, write_names
from neuro_eq.figures.style import apart
from neuro_eq.figures.weights import mosaic

Made = Callable[[str], Path]


def axes() -> Axes:
    return Figure().subplots()


def lines(where: Axes, label: str) -> list[np.ndarray]:
    """The points of every line with this label, ``(points, 2)``."""
    return [np.asarray(line.get_xydata()) for line in where.get_lines() if line.get_label() == label]


def texts(where: Axes) -> list[str]:
    return [text.get_text() for text in where.texts]


def test_the_learning_curve_is_the_metrics(made: Made) -> None:
    with ne.open_trajectory(made("digits")) as run:
        where = axes()
        figures.learning_curve(where, run)
        for line, name in zip(where.get_lines(), ("test_accuracy", "train_accuracy"), strict=True):
            epochs, accuracy = run.metrics[name]
            np.testing.assert_array_equal(line.get_xdata(), epochs)
            np.testing.assert_allclose(line.get_ydata(), 100 * accuracy, rtol=1e-15)
        assert f"test {100 * run.metrics['test_accuracy'][1][-1]:.1f} %" in texts(where)
        assert where.get_ylabel() == "accuracy (%)"


def test_without_an_accuracy_the_curve_is_the_cost(made: Made) -> None:
    with ne.open_trajectory(made("regression")) as run:
        where = axes()
        figures.learning_curve(where, run)
        np.testing.assert_array_equal(where.get_lines()[0].get_ydata(), run.metrics["test_cost"][1])
    with ne.open_trajectory(made("metrics")) as run:
        where = axes()
        figures.learning_curve(where, run)
        np.testing.assert_array_equal(where.get_lines()[0].get_ydata(), run.metrics["cost"][1])
        assert where.get_yscale() == "log"


def test_the_residual_is_the_recorded_one_and_the_nudged_phases_follow_the_free_one(made: Made) -> None:
    with ne.open_trajectory(made("digits")) as run:
        where = axes()
        figures.residual_per_step(where, run)
        recorded = run.settling["residual"][run.equilibrium["epoch"] == 2]
        (free,) = lines(where, "free")
        np.testing.assert_array_equal(free[:, 1], np.median(recorded[:, 0, : len(free)], axis=0))
        assert np.isnan(recorded[:, 0, len(free) :]).all()
        (up,) = lines(where, "β = +0.1")
        np.testing.assert_array_equal(up[:, 1], np.median(recorded[:, 1, : len(up)], axis=0))
        assert up[0, 0] == free[-1, 0]
        (size,) = lines(where, "nudge size r₀, β = +0.1")
        assert (size[:, 1] == np.median(run.equilibrium["nudge_size"][-4:, 1])).all()
        (tolerance,) = lines(where, "tolerance, free")
        assert (tolerance[:, 1] == np.median(run.equilibrium["tolerance"][-4:, 0])).all()
        assert {"tolerance", "nudge size r₀"} <= set(texts(where))
        assert where.get_yscale() == "log"


def test_many_samples_are_shown_as_quantiles(made: Made) -> None:
    with ne.open_trajectory(made("two_axes")) as run:
        where = axes()
        figures.residual_per_step(where, run)
        assert len(lines(where, "free")) == 1
        band = where.collections[0].get_paths()[0].vertices
        recorded = run.settling["residual"][:, 0, 0]
        low, high = np.quantile(recorded, (0.1, 0.9))
        there = np.asarray(band)[np.asarray(band)[:, 0] == 0, 1]
        assert there.min() == pytest.approx(low, rel=1e-12)
        assert there.max() == pytest.approx(high, rel=1e-12)


def test_the_energy_is_the_recorded_one_and_never_rises(made: Made) -> None:
    with ne.open_trajectory(made("two_axes")) as run:
        where = axes()
        figures.energy_descent(where, run, Choice(sample=4))
        energy = run.settling["energy"][4, 0]
        energy = energy[np.isfinite(energy)]
        (free,) = lines(where, "free")
        np.testing.assert_array_equal(free[:, 1], (energy - energy.min())[: len(free)])
        f = run.settling["energy"][4, 2] - 0.2 * run.settling["cost"][4, 2]
        (down,) = lines(where, "β = −0.2")
        np.testing.assert_allclose(down[:, 1], (f - np.nanmin(f))[: len(down)], rtol=1e-12)
        assert not lines(where, "rise")
        assert any(text.startswith("never rises in ") for text in texts(where))


def test_an_energy_that_rises_is_said_and_marked(tmp_path: Path) -> None:
    # On one linear unit with W = −w the step map is 1 − α(1 + w): for α(1 + w) > 2 it overshoots ever further.
    spec = ne.Network(
        populations=({"name": "x", "shape": 1, "clamped": True}, {"name": "h", "shape": 1}),
        synapses=({"kind": "dense", "source": "x", "target": "h"}, {"kind": "dense", "source": "h", "target": "h"}),
    )
    net = ReferenceEngine(spec)
    net.set_parameters({"x_h.weight": [[1.0]], "h_h.weight": [[-2.0]]})
    with ne.Recorder(tmp_path / "run.h5") as rec:
        net.relax(np.ones((1, 1)), solver=ne.Picard(0.7), tol=None, max_steps=5, record=rec)
    with ne.open_trajectory(tmp_path / "run.h5") as run:
        where = axes()
        figures.energy_descent(where, run)
        (rises,) = lines(where, "rise")
        assert rises[:, 0].tolist() == [1, 2, 3, 4, 5]
        assert "rises at 5 of 5 recorded steps" in texts(where)


def test_the_terms_are_the_recorded_ones_and_their_sum_is_the_energy(made: Made) -> None:
    with ne.open_trajectory(made("two_axes")) as run:
        where = axes()
        figures.energy_of_terms(where, run, Choice(sample=4))
        (total,) = lines(where, "G")
        recorded = run.settling["energy"][4, 0, : len(total)]
        np.testing.assert_allclose(total[:, 1], recorded, rtol=1e-12, atol=1e-13)
        for i, name in enumerate(run.energy_terms):
            (line,) = lines(where, name)
            np.testing.assert_array_equal(line[:, 1], run.settling["energy_term"][4, 0, : len(total), i])
        assert {"h", "o", "x_h", "h_o"} <= set(texts(where))


@given(st.integers(0, 1000), st.integers(2, 9), st.integers(1, 6))
def test_the_plane_is_that_of_the_largest_variance(seed: int, points: int, units: int) -> None:
    x = np.random.default_rng(seed).normal(size=(points, units))
    plane = principal_plane(x)
    covariance = np.cov(x.T, bias=True).reshape(units, units)
    values = np.sort(np.linalg.eigvalsh(covariance))[::-1]
    shares = np.zeros(2)
    shares[: min(units, 2)] = values[:2] / values.sum()
    np.testing.assert_allclose(plane.shares, shares, atol=1e-12)
    there = plane.of(x)
    np.testing.assert_allclose(there.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(there.var(axis=0) / values.sum(), shares, atol=1e-12)


def test_the_plane_of_equal_points_is_a_point() -> None:
    plane = principal_plane(np.ones((3, 4)))
    np.testing.assert_array_equal(plane.shares, 0.0)
    np.testing.assert_array_equal(plane.of(np.ones((3, 4))), 0.0)


def test_states_go_through_the_plane_of_their_fixed_points(made: Made) -> None:
    with ne.open_trajectory(made("two_axes")) as run:
        where = axes()
        figures.state_plane(where, run, Choice(population="h"))
        fixed = run.fixed_states("h").reshape(12 * 3, -1)
        plane = principal_plane(fixed)
        free = lines(where, "free")
        assert len(free) == 12
        for i, path in enumerate(free):
            states = run.states("h")[i, 0, : len(path)].reshape(len(path), -1)
            np.testing.assert_allclose(path, plane.of(states), atol=1e-12)
            np.testing.assert_allclose(path[-1], plane.of(run.fixed_states("h")[i, 0].ravel()), atol=1e-12)
        styles = {line.get_label(): line.get_linestyle() for line in where.get_lines()}
        assert (styles["free"], styles["β = +0.2"], styles["β = −0.2"]) == ("-", "--", ":")


def test_phases_are_the_recorded_activities(made: Made) -> None:
    with ne.open_trajectory(made("two_axes")) as run:
        where = axes()
        figures.phases_overlaid(where, run, Choice(sample=3))
        for k, label in enumerate(("free", "β = +0.2", "β = −0.2")):
            recorded = run.activities("o")[3, k].reshape(-1, 4)
            recorded = recorded[np.isfinite(recorded).all(axis=1)]
            for unit, line in enumerate(lines(where, label)):
                np.testing.assert_array_equal(line[:, 1], recorded[:, unit])
            assert len(lines(where, label)) == 4
        # A unit is named by its place on its population's axes, where its line ends apart from the others.
        assert any(text in ("unit 0, 0", "unit 0, 1", "unit 1, 0", "unit 1, 1") for text in texts(where))


def test_of_a_large_population_the_units_that_move_most(made: Made) -> None:
    with ne.open_trajectory(made("two_axes")) as run:
        where = axes()
        figures.phases_overlaid(where, run, Choice(sample=3, population="h"))
        assert "the 10 of 15 units that move most, sample 3" in texts(where)
        ends = run.fixed_activities("h")[3].reshape(3, 15)
        most = np.sort(np.argsort(-np.ptp(ends, axis=0))[:10])
        starts = [line for line in where.get_lines() if line.get_color() == where.get_lines()[0].get_color()]
        np.testing.assert_array_equal([line.get_ydata()[-1] for line in starts], ends[0, most])


def test_receptive_fields_are_the_rows_of_the_weights_largest_first(made: Made) -> None:
    path = made("digits")
    with ne.open_trajectory(path) as run, np.load(path.with_name("weights.npz")) as weights:
        where = axes()
        figures.weight_images(where, run)
        shown = np.ma.filled(np.ma.asarray(where.images[0].get_array(), dtype=float), np.nan)
        fields = weights["input_hidden1.weight"].reshape(12, 8, 8)
        largest = np.argmax(np.linalg.norm(fields, axis=(1, 2)))
        np.testing.assert_array_equal(shown[:8, :8], fields[largest])
        assert np.isnan(shown[:, 8]).all()
        low, high = where.images[0].get_clim()
        assert low == -high
        where = axes()
        figures.weight_images(where, run, Choice(population="output"))
        np.testing.assert_array_equal(where.images[0].get_array(), weights["hidden1_output.weight"])


def test_weights_towards_an_image_are_read_by_their_columns(tmp_path: Path) -> None:
    """A symmetric synapse may name the data as its target; then each column is a field."""
    spec = ne.Network(
        populations=({"name": "x", "shape": (3, 4), "clamped": True}, {"name": "h", "shape": 2}),
        synapses=({"kind": "dense", "source": "h", "target": "x"},),
    )
    net = ReferenceEngine(spec, seed=1)
    with ne.Recorder(tmp_path / "run.h5") as rec:
        net.relax(np.ones((1, 3, 4)), record=rec)
    np.savez(tmp_path / "weights.npz", **net.parameters)
    with ne.open_trajectory(tmp_path / "run.h5") as run:
        where = axes()
        figures.weight_images(where, run)
    weight = net.parameters["h_x.weight"]
    largest = np.argmax(np.linalg.norm(weight, axis=0))
    shown = np.ma.filled(np.ma.asarray(where.images[0].get_array(), dtype=float), np.nan)
    np.testing.assert_array_equal(shown[:3, :4], weight[:, largest].reshape(3, 4))


def test_a_large_matrix_is_a_histogram_of_all_its_weights(tmp_path: Path) -> None:
    net = ReferenceEngine(ne.models.layered_hopfield([2, 400, 2]))
    with ne.Recorder(tmp_path / "run.h5") as rec:
        net.relax(np.ones((1, 2)), max_steps=1, record=rec)
    np.savez(tmp_path / "other.npz", **net.parameters)
    with ne.open_trajectory(tmp_path / "run.h5") as run:
        where = axes()
        figures.weight_images(where, run, Choice(weights=tmp_path / "other.npz"))
    assert sum(bar.get_height() for bar in where.patches) == 800


@pytest.mark.parametrize("shape", [(3, 5, 4), (5, 4, 3), (1, 5, 4), (5, 4, 1)])
def test_colour_images_are_summed_over_their_colours(tmp_path: Path, shape: tuple[int, ...]) -> None:
    spec = ne.Network(
        populations=({"name": "x", "shape": shape, "clamped": True}, {"name": "h", "shape": 1}),
        synapses=({"kind": "dense", "source": "x", "target": "h"},),
    )
    net = ReferenceEngine(spec)
    with ne.Recorder(tmp_path / "run.h5") as rec:
        net.relax(np.ones((1, *shape)), record=rec)
    np.savez(tmp_path / "weights.npz", **net.parameters)
    with ne.open_trajectory(tmp_path / "run.h5") as run:
        where = axes()
        figures.weight_images(where, run)
    colour = shape.index(min(shape))
    expected = net.parameters["x_h.weight"].reshape(shape).sum(axis=colour)
    np.testing.assert_allclose(where.images[0].get_array(), expected, rtol=1e-12)


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4), st.integers(1, 7))
def test_a_mosaic_holds_every_image_once(count: int, height: int, width: int, columns: int) -> None:
    fields = np.arange(count * height * width, dtype=float).reshape(count, height, width)
    tiled = mosaic(fields, columns)
    np.testing.assert_array_equal(np.sort(tiled[np.isfinite(tiled)]), np.arange(fields.size))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.01, 0.1))
def test_words_keep_their_distance_and_their_order(wanted: list[float], gap: float) -> None:
    places = apart(np.array(wanted), gap)
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(places[order]) >= gap - 1e-12).all()
    if len(wanted) == 1 or np.diff(np.sort(wanted)).min() >= gap:
        np.testing.assert_allclose(places, wanted, atol=1e-12)
    # Words that have to move do so in both directions: their mean stays.
    assert np.mean(places) == pytest.approx(np.mean(wanted), abs=1e-9)


def test_an_epoch_is_chosen(made: Made) -> None:
    with ne.open_trajectory(made("digits")) as run:
        for epoch in (0, 1):
            where = axes()
            figures.phases_overlaid(where, run, Choice(epoch=epoch, sample=2))
            (row,) = np.flatnonzero((run.equilibrium["epoch"] == epoch) & (run.equilibrium["index"] == 2))
            first = np.asarray(where.get_lines()[0].get_ydata())
            np.testing.assert_array_equal(first, run.activities("output")[row, 0, : len(first), 0])
            label = run.equilibrium["label"][row]
            assert f"sample 2, label {label}, epoch {epoch}" in texts(where)


def test_without_a_choice_the_last_epoch_with_something_to_see(made: Made) -> None:
    """A fitted sample's nudged phases take no step; an epoch of which half is fitted still shows the others."""

    def shown(run: ne.trajectory.Trajectory) -> str:
        where = axes()
        figures.residual_per_step(where, run)
        return next(text.rpartition(", ")[2] for text in texts(where) if "epoch" in text)

    with ne.open_trajectory(made("digits")) as run:
        assert shown(run) == "epoch 2"
        nudged = np.flatnonzero(run.betas != 0)
        for fitted, epoch in (([0, 1], "epoch 2"), ([0, 1, 2], "epoch 1")):
            rows = np.flatnonzero(run.equilibrium["epoch"] == 2)[fitted]
            run.equilibrium["steps"][np.ix_(rows, nudged)] = 0
            assert shown(run) == epoch
        run.equilibrium["steps"][:, nudged] = 0
        assert shown(run) == "epoch 2"


def test_names_of_one_place_stand_on_its_sides() -> None:
    """Four at most have room there, and what has none is left out if its like is there."""
    where = axes()
    where.set(xlim=(0, 1), ylim=(0, 1))
    write_names(where, [Name((0.5, 0.5), "label 7", "#000000", 10.0, True, True)] * 6)
    assert texts(where) == ["label 7"] * 4
    boxes = [text.get_window_extent() for text in where.texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    corner = axes()
    corner.set(xlim=(0, 1), ylim=(0, 1))
    write_names(corner, [Name((0.0, 1.0), "label 7", "#000000", 10.0, False, True)])
    (box,) = [text.get_window_extent() for text in corner.texts]
    assert corner.bbox.x0 <= box.x0
    assert box.y1 <= corner.bbox.y1


def test_the_sample_that_the_nudge_moves_furthest_is_shown(made: Made) -> None:
    with ne.open_trajectory(made("two_axes")) as run:
        where = axes()
        figures.phases_overlaid(where, run)
        fixed = run.fixed_activities("o").reshape(12, 3, 4)
        furthest = np.argmax(np.abs(fixed[:, 1:] - fixed[:, :1]).max(axis=(1, 2)))
        assert f"sample {furthest}" in texts(where)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("phases", {"sample": 99}, r"sample: 99 was not recorded; .*run\.h5 in epoch 2 has 0, 1, 2, 3"),
    ("residual", {"epoch": 7}, r"epoch: 7 was not recorded; .*run\.h5 has 0, 1, 2"),
    ("phases", {"population": "hiden1"}, r'population: no population "hiden1"; did you mean "hidden1"'),
    ("pca", {"population": "input"}, r'population: "input" is clamped, so it does not settle; choose hidden1, output'),
    ("weights", {"population": "inputs"}, r'population: no population "inputs"; did you mean "input"'),
]


@pytest.mark.parametrize(("kind", "choice", "message"), WRONG)
def test_what_is_not_there_is_said(made: Made, kind: str, choice: dict[str, Any], message: str) -> None:
    with ne.open_trajectory(made("digits")) as run, pytest.raises(ne.SpecError, match=message):
        figures.page(run, kind, Choice(**choice))


def test_a_file_without_epochs(made: Made) -> None:
    with ne.open_trajectory(made("free")) as run:
        with pytest.raises(ne.SpecError, match=r"epoch: .*run\.h5 labels no epochs, so none can be chosen"):
            figures.page(run, "pca", Choice(epoch=1))
        with pytest.raises(ne.SpecError, match=r"sample: 9 was not recorded; .*run\.h5 has 0 to 8"):
            figures.page(run, "energy", Choice(sample=9))


LACKS = [
    ("directed", "energy", r'synapse "hidden_hidden" is directed, and only symmetric synapses have an energy$'),
    ("free", "learning", r"it holds no accuracy and no cost; train\(…, record=…\) records them every epoch$"),
    ("free", "steps", r"it holds no steps per epoch; train\(…, record=…\) records them$"),
    ("free", "weights", r"there is no weights\.npz beside it; name a file with --weights$"),
    ("metrics", "residual", r"it holds no relaxation; record one by relax\(…, record=…\) or train\(…, record=…\)$"),
    ("metrics", "pca", r"it holds no relaxation; record one by"),
]


@pytest.mark.parametrize(("name", "kind", "why"), LACKS)
def test_what_a_file_lacks_is_named_with_how_to_record_it(made: Made, name: str, kind: str, why: str) -> None:
    with ne.open_trajectory(made(name)) as run, pytest.raises(LackingError, match=f'cannot draw "{kind}": {why}'):
        figures.page(run, kind)


def test_a_file_of_an_early_version_says_what_it_lacks(made: Made, tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "run.h5"
    path.write_bytes(made("two_axes").read_bytes())
    with h5py.File(path, "r+") as file:
        del file["settling"], file["equilibrium/tolerance"], file["equilibrium/nudge_size"]
    with ne.open_trajectory(path) as run:
        for kind in ("residual", "energy"):
            with pytest.raises(LackingError, match=r"before .* per step were kept; record the run again"):
                figures.page(run, kind)
        figures.page(run, "phases")
        figures.page(run, "pca")
