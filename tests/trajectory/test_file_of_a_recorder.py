"""What a recorder's file looks like to other programs: attributes, axes, layout, metrics."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from neuro_eq import __version__
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.equilibrium import Status
from neuro_eq.errors import SpecError
from neuro_eq.methods.eqprop import EqProp
from neuro_eq.spec import Network
from neuro_eq.specfile import digest, to_toml
from neuro_eq.trajectory import Recorder, open_trajectory


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
