"""What a recorded run holds is what the network did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_eq.abilities import Ability
from neuro_eq.arrays import Array
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.equilibrium import Status
from neuro_eq.errors import DataError, SpecError
from neuro_eq.methods.asymep import AsymEP
from neuro_eq.methods.eqprop import EqProp
from neuro_eq.models import layered_hopfield, looped_mlp
from neuro_eq.relaxing import Settling, Snapshot, Task
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
