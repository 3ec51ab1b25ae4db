"""What a recorded run holds is what the network did."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_eq import __version__
from neuro_eq.arrays import Array
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.engine import Ability, Settling, Snapshot, Task
from neuro_eq.equilibrium import Status
from neuro_eq.errors import BackendError, DataError, FileError, SpecError
from neuro_eq.methods.asymep import AsymEP
from neuro_eq.methods.eqprop import EqProp
from neuro_eq.models import layered_hopfield, looped_mlp
from neuro_eq.spec import Network
from neuro_eq.specfile import digest, to_toml
from neuro_eq.trajectory import Recorder, open_trajectory
from neuro_eq.trajectory.schema import MEGABYTE, chunk_shape, phase_name, steps_per_chunk


def test_state_at_step_k_is_the_state_after_k_steps(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        net.relax(x, tol=None, max_steps=12, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.steps.tolist() == list(range(13))
        for k in run.steps:
            by_hand = net.relax(x, tol=None, max_steps=int(k))
            for name in ("hidden1", "output"):
                np.testing.assert_array_equal(run.states(name)[:, 0, k], by_hand.states[name])
                np.testing.assert_allclose(run.activities(name)[:, 0, k], by_hand.activities[name], rtol=1e-15)


def test_recording_changes_nothing(net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    plain, _ = EqProp(0.1).gradient(net, x, y)
    with Recorder(tmp_path / "run.h5", every=7, samples=1) as rec:
        recorded, _ = EqProp(0.1).gradient(net, x, y, record=rec)
    for name, value in plain.items():
        np.testing.assert_array_equal(value, recorded[name])


@pytest.mark.parametrize("max_steps", [10, 12])
def test_every_third_step(net: ReferenceEngine, x: np.ndarray, tmp_path: Path, max_steps: int) -> None:
    with Recorder(tmp_path / "run.h5", every=3) as rec:
        net.relax(x, tol=None, max_steps=max_steps, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.steps.tolist() == [0, 3, 6, 9, 12]
        for i, k in enumerate(run.steps):
            by_hand = net.relax(x, tol=None, max_steps=min(int(k), max_steps))
            np.testing.assert_array_equal(run.states("hidden1")[:, 0, i], by_hand.states["hidden1"])


def test_a_sample_that_has_stopped_is_held(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        free = net.relax(x, tol=1e-6, record=rec)
    assert len(set(free.steps.tolist())) > 1, "the samples stop at different steps"
    with open_trajectory(tmp_path / "run.h5") as run:
        states = run.states("hidden1")[:, 0]
        assert run.steps[-1] == free.steps.max()
        for i, stopped in enumerate(free.steps):
            assert (states[i, stopped:] == states[i, stopped]).all()
            assert (states[i, stopped - 1] != states[i, stopped]).any()
        np.testing.assert_array_equal(states[:, -1], free.states["hidden1"])
        np.testing.assert_array_equal(run.fixed_states("hidden1")[:, 0], free.states["hidden1"])
        np.testing.assert_array_equal(run.fixed_activities("output")[:, 0], free.activities["output"])
        np.testing.assert_array_equal(run.activities("input"), x)


def test_outcome_is_what_relax_returned(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        free = net.relax(x, tol=np.array([1e-3, 1e-6, 1e-30, 1e-4]), max_steps=60, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        table = run.equilibrium
        np.testing.assert_array_equal(table["steps"][:, 0], free.steps)
        np.testing.assert_array_equal(table["residual"][:, 0], free.residual)
        np.testing.assert_array_equal(table["energy"][:, 0], net.energy(free).total)
        status = [Status(code).name for code in table["status"][:, 0]]
        assert status == ["CONVERGED", "CONVERGED", "MAX_STEPS", "CONVERGED"]


def test_phases_of_a_gradient_share_rows(net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        for _ in range(2):
            _, evidence = EqProp(0.1).gradient(net, x, y, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.phases == ("free", "nudged+0.1", "nudged-0.1")
        assert run.betas.tolist() == [0.0, 0.1, -0.1]
        states, fixed = run.states("hidden1"), run.fixed_states("hidden1")
        assert states.shape[:2] == fixed.shape[:2] == (8, 3)
        for k, state in enumerate((evidence.free, *evidence.nudged)):
            np.testing.assert_array_equal(fixed[4:, k], state.states["hidden1"])
            np.testing.assert_array_equal(run.equilibrium["steps"][4:, k], state.steps)
            np.testing.assert_array_equal(run.equilibrium["status"][4:, k], state.status)
            np.testing.assert_array_equal(run.equilibrium["residual"][4:, k], state.residual)
        # The nudged phases set out from the free state, and all were recorded from end to end.
        for k in (1, 2):
            np.testing.assert_array_equal(states[:, k, 0], fixed[:, 0])
        for row in states.reshape(-1, *states.shape[2:]):
            recorded = np.isfinite(row).all(axis=1)
            assert recorded[0]
            assert not recorded[np.argmin(recorded) :].any() or recorded.all()


def test_a_free_phase_that_goes_on_is_appended(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    tol = np.array([1e-9, np.inf, 1e-9, np.inf])
    with Recorder(tmp_path / "run.h5") as rec:
        first = net.relax(x, tol=1e-4, record=rec)
        more = net.relax(x, start=first, tol=tol, record=rec)
    straight = net.relax(x, tol=1e-9)
    with open_trajectory(tmp_path / "run.h5") as run:
        states = run.states("hidden1")
        assert states.shape[:2] == (4, 1)
        # A sample that was not asked to go on is held where it stopped.
        held = states[1, 0, first.steps[1] :]
        assert len(held) > 1
        np.testing.assert_array_equal(held, np.broadcast_to(first.states["hidden1"][1], held.shape))
        np.testing.assert_array_equal(states[:, 0, -1], more.states["hidden1"])
        np.testing.assert_array_equal(run.fixed_states("hidden1")[:, 0], more.states["hidden1"])
        # One that went on shows the walk of one that never stopped, step by step and without a wait.
        for row in (0, 2):
            for step in range(states.shape[2]):
                alone = net.relax(x[row : row + 1], tol=1e-9, max_steps=step)
                np.testing.assert_allclose(states[row, 0, step], alone.states["hidden1"][0], rtol=0, atol=1e-12)
        assert run.equilibrium["steps"][0, 0] == straight.steps[0]
        np.testing.assert_array_equal(run.equilibrium["steps"][:, 0], first.steps + more.steps)


@pytest.mark.parametrize("every", [2, 3, 7])
def test_going_on_keeps_the_grid(net: ReferenceEngine, x: np.ndarray, tmp_path: Path, every: int) -> None:
    """Samples stop at different steps, few of them on the grid; going on, each entry is still that sample's step."""
    for name, k in (("every.h5", every), ("one.h5", 1)):
        with Recorder(tmp_path / name, every=k) as rec:
            first = net.relax(x, tol=1e-4, record=rec)
            net.relax(x, start=first, tol=np.array([1e-9, np.inf, 1e-7, 1e-9]), record=rec)
    with open_trajectory(tmp_path / "every.h5") as coarse, open_trajectory(tmp_path / "one.h5") as fine:
        last = int(fine.steps[-1])
        at = np.minimum(coarse.steps, last)
        np.testing.assert_array_equal(coarse.states("hidden1"), fine.states("hidden1")[:, :, at])
        np.testing.assert_array_equal(coarse.activities("output"), fine.activities("output")[:, :, at])


def test_a_sample_that_is_not_asked_to_go_on_keeps_how_it_ended(
    net: ReferenceEngine, x: np.ndarray, tmp_path: Path
) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        first = net.relax(x, tol=1e-30, max_steps=5, record=rec)
        net.relax(x, start=first, tol=np.array([np.inf, 1e-6, 1e-6, 1.0]), record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        ended = [Status(code) for code in run.equilibrium["status"][:, 0]]
    assert ended == [Status.MAX_STEPS, Status.CONVERGED, Status.CONVERGED, Status.CONVERGED]


def test_a_start_is_recognised_by_its_arrays(
    net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        free = net.relax(x, record=rec)
        net.relax(x, target=y, beta=0.1, start=replace(free, steps=free.steps + 1), record=rec)
        net.relax(x, target=y, beta=0.2, start=dict(free.states), record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.states("output").shape[:2] == (4, 3)
        assert run.phases == ("free", "nudged+0.1", "nudged+0.2")


def test_what_was_recorded_is_never_overwritten(
    net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        free = net.relax(x, tol=1e-4, record=rec)  # rows 0…3
        net.relax(x, target=y, beta=0.1, start=free, record=rec)  # the same
        net.relax(x, target=y, beta=0.1, start=free, max_steps=3, record=rec)  # again: 4…7
        net.relax(x, start=free, tol=1e-6, record=rec)  # goes on in 0…3
        net.relax(x, start=free, tol=1e-6, record=rec)  # but not twice: 8…11
        net.relax(x + 1.0, start=free, record=rec)  # other data: 12…15
        net.relax(x, target=y, beta=0.1, record=rec)  # no start: 16…19
        net.relax(x, record=rec)  # free again: 20…23
    with open_trajectory(tmp_path / "run.h5") as run:
        begun = np.isfinite(run.states("hidden1")[::4, :, 0]).all(axis=-1)
        assert begun.tolist() == [
            [True, True],
            [False, True],
            [True, False],
            [True, False],
            [False, True],
            [True, False],
        ]
        assert np.isfinite(run.activities("input")).all()


def test_only_the_first_samples(net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5", samples=2) as rec:
        free = net.relax(x, record=rec)
        net.relax(x, target=y, beta=(0.1, -0.1), start=free, record=rec)
        net.relax(x[:1], record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.states("hidden1").shape[:2] == (3, 3)
        assert run.steps[-1] == free.steps[:2].max()
        np.testing.assert_array_equal(run.fixed_states("hidden1")[:2, 0], free.states["hidden1"][:2])
        np.testing.assert_array_equal(run.activities("input"), x[[0, 1, 0]])


def test_labels(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5", samples=3) as rec:
        net.relax(x, record=rec)
        rec.label(epoch=3, index=np.array([17, 4, 52, 9]))
        free = net.relax(x, record=rec)
        net.relax(x, start=free, tol=1e-9, record=rec)
        net.relax(x, record=rec)
        rec.label(index=[1, 2])
        with pytest.raises(DataError, match="label index: expected 4 numbers, one a sample, found 2"):
            net.relax(x, record=rec)
        with pytest.raises(DataError, match="expected a whole number"):
            rec.label(epoch=0.5)
        with pytest.raises(SpecError, match="residual: is no name for a label"):
            rec.label(residual=1)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.equilibrium["epoch"].tolist() == [-1, -1, -1, 3, 3, 3, -1, -1, -1]
        assert run.equilibrium["index"].tolist() == [-1, -1, -1, 17, 4, 52, -1, -1, -1]


def test_metrics(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        rec.metrics("step", 10, cost=0.5)
        rec.metrics("step", 20, cost=0.4)
        rec.metrics("epoch", 0, accuracy=0.8)
        with open_trajectory(tmp_path / "run.h5.part") as early:
            assert early.metrics["cost"][1].tolist() == [0.5, 0.4], "an epoch's metrics bring all to the disk"
        rec.metrics("epoch", 1, accuracy=0.9, late=1.0)
        rec.metrics("epoch", 1, accuracy=0.95)
        with pytest.raises(SpecError, match='"cost" is recorded by step, so not also by epoch'):
            rec.metrics("epoch", 2, cost=0.1)
        with pytest.raises(SpecError, match='expected "epoch" or "step"'):
            rec.metrics("week", 2, cost=0.1)  # type: ignore[arg-type]
        with pytest.raises(SpecError, match="is no name for a metric"):
            rec.metrics("epoch", 2, **{"a/b": 0.1})
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.populations == run.phases == ()
        index, cost = run.metrics["cost"]
        assert (index.tolist(), cost.tolist()) == ([10, 20], [0.5, 0.4])
        index, accuracy = run.metrics["accuracy"]
        assert (index.tolist(), accuracy.tolist()) == ([0, 1], [0.8, 0.95])
        np.testing.assert_array_equal(run.metrics["late"][1], [np.nan, 1.0])


def test_attributes_say_where_the_run_came_from(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5", every=2, note="a remark") as rec:
        net.relax(x, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        attrs = run.attrs
        assert run.complete
        assert run.spec == net.spec
        assert (attrs["spec"], attrs["spec_sha256"]) == (to_toml(net.spec), digest(net.spec))
        assert (attrs["backend"], attrs["dtype"], attrs["seed"]) == ("reference", "float64", 1)
        assert (attrs["schema"], attrs["every"], attrs["note"]) == (1, 2, "a remark")
        assert attrs["created"].endswith("+00:00")
        assert json.loads(attrs["versions"])["neuro_eq"] == __version__


def test_variables_are_compressed_and_their_axes_grow(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        net.relax(x, record=rec)
    with h5py.File(tmp_path / "run.h5") as file:
        state = file["trajectory/hidden1/state"]
        assert state.dtype == np.float64
        assert (state.compression, state.compression_opts, state.shuffle) == ("gzip", 1, True)
        assert state.maxshape == (None, None, None, 5)
        assert np.isnan(state.fillvalue)
        assert [state.dims[i][0].name for i in range(4)] == [
            f"/trajectory/hidden1/{axis}" for axis in ("sample", "phase", "step", "unit")
        ]
        assert "state" not in file["trajectory/input"]
        status = file["equilibrium/status"]
        names = dict(
            zip(status.attrs["flag_values"].tolist(), status.attrs["flag_meanings"].decode().split(), strict=True)
        )
        assert {code: name for code, name in names.items() if code >= 0} == {s.value: s.name.lower() for s in Status}


def test_xarray_opens_the_file_with_names_and_coordinates(
    net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    path = tmp_path / "run.h5"
    with Recorder(path, every=5) as rec:
        rec.label(epoch=7)
        EqProp(0.1).gradient(net, x, y, record=rec)
        rec.metrics("epoch", 7, accuracy=0.5)
    with xr.open_dataset(path, group="/trajectory/hidden1", engine="h5netcdf") as hidden:
        assert hidden.state.dims == hidden.activity.dims == ("sample", "phase", "step", "unit")
        assert hidden.fixed_state.dims == ("sample", "phase", "unit")
        assert set(hidden.coords) == {"sample", "phase", "beta", "step", "unit"}
        assert hidden.step[1] == 5
        nudged = hidden.state.sel(phase="nudged-0.1", sample=3)
        assert float(nudged.beta) == -0.1
        with open_trajectory(path) as run:
            np.testing.assert_array_equal(nudged, run.states("hidden1")[3, 2])
            assert run.to_xarray("hidden1").identical(hidden.load())
    with xr.open_dataset(path, group="/trajectory/input", engine="h5netcdf") as clamped:
        assert clamped.activity.dims == ("sample", "unit")
    with xr.open_dataset(path, group="/equilibrium", engine="h5netcdf") as table:
        assert table.status.sel(phase="free").values.tolist() == [0, 0, 0, 0]
        assert table.epoch.values.tolist() == [7, 7, 7, 7]
    with xr.open_dataset(path, group="/metrics", engine="h5netcdf") as metrics:
        assert float(metrics.accuracy.sel(epoch=7)) == 0.5


def test_a_population_of_several_axes(tmp_path: Path) -> None:
    spec = Network(
        populations=(
            {"name": "x", "shape": (2, 3), "clamped": True},
            {"name": "h", "shape": (2, 2), "activation": "tanh"},
        ),
        synapses=({"kind": "dense", "source": "x", "target": "h"},),
    )
    x = np.random.default_rng(0).normal(size=(3, 2, 3))
    with Recorder(tmp_path / "run.h5") as rec:
        free = ReferenceEngine(spec).relax(x, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run, h5py.File(tmp_path / "run.h5") as file:
        np.testing.assert_array_equal(run.fixed_states("h")[:, 0], free.states["h"])
        np.testing.assert_array_equal(run.states("h")[:, 0, -1], free.states["h"])
        np.testing.assert_array_equal(run.activities("x"), x)
        assert [dim[0].name.split("/")[-1] for dim in file["trajectory/h/fixed_state"].dims][2:] == ["unit0", "unit1"]


def test_a_network_without_energy_records_none(tmp_path: Path) -> None:
    net = ReferenceEngine(looped_mlp(4, 5, 2, symmetric=False))
    x, y = np.random.default_rng(0).normal(size=(3, 4)), np.array([0, 1, 0])
    with Recorder(tmp_path / "run.h5") as rec:
        AsymEP(0.1).gradient(net, x, y, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.states("hidden").shape[:2] == (3, 3)
        assert np.isnan(run.equilibrium["energy"]).all()
        assert (run.equilibrium["status"] == Status.CONVERGED).all()


def test_a_diverging_network_is_recorded_without_warnings(tmp_path: Path) -> None:
    net = ReferenceEngine(layered_hopfield([2, 3, 2], activation="identity", gain=50.0))
    with Recorder(tmp_path / "run.h5") as rec:
        net.relax(np.ones((1, 2)), record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.equilibrium["status"][0, 0] == Status.DIVERGED


class SinglePrecision(ReferenceEngine):
    """Numbers of 32 bits, and snapshots that the next step overwrites: both as a fast engine has them."""

    dtypes: ClassVar[tuple[str, ...]] = ("float32",)
    lacks: ClassVar[Mapping[Ability, str]] = {}

    def asarray(self, values: Any) -> Array:
        return np.array(values, dtype=np.float32)

    def _begin(self, task: Task) -> Settling:
        return _Reusing(super()._begin(task))


class _Reusing(Settling):
    def __init__(self, settling: Settling) -> None:
        self.settling = settling
        self.buffers: dict[tuple[int, str], np.ndarray] = {}

    def advance(self, steps: int) -> bool:
        finished = self.settling.advance(steps)
        for buffer in self.buffers.values():
            buffer[...] = -1.0
        return finished

    def snapshot(self) -> Snapshot:
        snapshot = self.settling.snapshot()
        states = []
        for k, phase in enumerate(snapshot.states):
            for name, values in phase.items():
                self.buffers.setdefault((k, name), np.empty_like(values))[...] = values
            states.append({name: self.buffers[k, name] for name in phase})
        return replace(snapshot, states=tuple(states))


def test_an_engine_of_its_own_precision_that_reuses_its_buffers(x: np.ndarray, tmp_path: Path) -> None:
    net = SinglePrecision(layered_hopfield([6, 5, 3]), dtype="float32")
    with Recorder(tmp_path / "run.h5") as rec:
        net.relax(x, tol=None, max_steps=6, record=rec)
    by_hand = net.relax(x, tol=None, max_steps=4)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.states("hidden1").dtype == run.activities("input").dtype == np.float32
        np.testing.assert_array_equal(run.states("hidden1")[:, 0, 4], by_hand.states["hidden1"])


def test_long_relaxations_are_written_while_they_go_on(x: np.ndarray, tmp_path: Path) -> None:
    net = ReferenceEngine(layered_hopfield([6, 400, 3]))
    seen = []

    class Watching(Recorder):
        def flush(self) -> None:
            super().flush()
            seen.append(self._current is not None)

    with Watching(tmp_path / "run.h5") as rec:
        free = net.relax(x, tol=None, max_steps=300, record=rec)
    assert sum(seen) > 1
    with open_trajectory(tmp_path / "run.h5") as run:
        assert np.isfinite(run.states("hidden1")).all()
        np.testing.assert_array_equal(run.states("hidden1")[:, 0, -1], free.states["hidden1"])


@given(
    samples=st.integers(1, 500),
    steps=st.integers(1, 500),
    shape=st.lists(st.integers(1, 700), min_size=1, max_size=3).map(tuple),
    itemsize=st.sampled_from([4, 8]),
)
def test_no_chunk_is_larger_than_a_megabyte(samples: int, steps: int, shape: tuple[int, ...], itemsize: int) -> None:
    units = int(np.prod(shape))
    in_chunk = steps_per_chunk(units * itemsize, samples, steps)
    assert in_chunk & (in_chunk - 1) == 0
    chunk = chunk_shape(samples, in_chunk, shape, itemsize)
    assert len(chunk) == 3 + len(shape)
    assert np.prod(chunk) * itemsize <= MEGABYTE
    assert samples % chunk[0] == 0
    assert all(1 <= size <= whole for size, whole in zip(chunk[3:], shape, strict=True))


@pytest.mark.parametrize(
    ("beta", "name"), [(0.0, "free"), (-0.0, "free"), (0.1, "nudged+0.1"), (-1e-3, "nudged-0.001"), (1, "nudged+1.0")]
)
def test_phase_names(beta: float, name: str) -> None:
    assert phase_name(beta) == name


# -- what is refused ---------------------------------------------------------------------------------------------


def test_an_existing_file_is_refused_before_any_work(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    path.write_text("precious")
    with pytest.raises(FileError, match=r"run\.h5: exists already"):
        Recorder(path)
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]
    with Recorder(path, overwrite=True) as rec:
        net.relax(x, record=rec)
        assert path.read_text() == "precious", "the old file stays until the new one is complete"
    with open_trajectory(path) as run:
        assert run.complete
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]


def test_the_part_of_another_run_is_refused(tmp_path: Path) -> None:
    first = Recorder(tmp_path / "run.h5")
    with pytest.raises(FileError, match=r"run\.h5\.part: is left from a run that did not finish"):
        Recorder(tmp_path / "run.h5")
    first.close()


def test_a_file_that_came_into_being_meanwhile_is_kept(tmp_path: Path) -> None:
    rec = Recorder(tmp_path / "run.h5")
    (tmp_path / "run.h5").write_text("precious")
    with pytest.raises(FileError, match=r"stays in .*run\.h5\.part"):
        rec.close()
    assert (tmp_path / "run.h5").read_text() == "precious"
    with open_trajectory(tmp_path / "run.h5.part") as run:
        assert run.complete


def test_a_folder_that_is_missing_or_none(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"there is no folder .*nowhere"):
        Recorder(tmp_path / "nowhere" / "run.h5")
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="there is no folder"):
        Recorder(tmp_path / "file" / "run.h5")


@pytest.mark.parametrize(("name", "value"), [("every", 0), ("every", 1.5), ("samples", 0), ("samples", True)])
def test_counts_below_one_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(SpecError, match=f"{name}: expected a whole number of at least 1"):
        Recorder(tmp_path / "run.h5", **{name: value})
    assert not list(tmp_path.iterdir())


def test_nudges_that_a_file_cannot_hold(net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        with pytest.raises(BackendError, match="real nudges only"):
            net.relax(x, target=y, beta=0.1j, record=rec)
        with pytest.raises(SpecError, match="must have different nudges"):
            net.relax(x, target=y, beta=(0.1, 0.1), record=rec)
        net.relax(x, record=rec)


def test_another_network_is_refused(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        net.relax(x, record=rec)
        with pytest.raises(SpecError, match=r"run\.h5 records one network, and this one has another spec"):
            ReferenceEngine(layered_hopfield([6, 4, 3]), seed=1).relax(x, record=rec)
        with pytest.raises(SpecError, match="another seed"):
            ReferenceEngine(net.spec, seed=2).relax(x, record=rec)
        ReferenceEngine(net.spec, seed=1).relax(x, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert len(run.states("output")) == 8


def test_nothing_is_recorded_after_closing(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    rec = Recorder(tmp_path / "run.h5")
    rec.close()
    rec.close()
    for call in (lambda: net.relax(x, record=rec), lambda: rec.metrics("epoch", 0, a=1.0), lambda: rec.label(epoch=1)):
        with pytest.raises(FileError, match=r"run\.h5: is closed"):
            call()


def test_relaxations_without_a_step(net: ReferenceEngine, x: np.ndarray, tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        first = net.relax(x, max_steps=0, record=rec)
        net.relax(x, start=first, max_steps=0, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.states("hidden1").shape == (4, 1, 1, 5)
        assert (run.states("hidden1") == 0).all()
