"""The residual, the energy and the cost at every recorded state are what the equations say of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.backends.reference.engine import ReferenceEngine
from neuro_eq.errors import SpecError
from neuro_eq.models import layered_hopfield, looped_mlp
from neuro_eq.synapses import SymmetricSynapse
from neuro_eq.trajectory import Recorder, measures, open_trajectory


def test_each_step_is_measured_as_the_engine_measures_its_end(
    net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path
) -> None:
    betas = (0.1, -0.1)
    with Recorder(tmp_path / "run.h5") as rec:
        free = net.relax(x, tol=None, max_steps=9, record=rec)
        net.relax(x, target=y, beta=betas, start=free, tol=None, max_steps=6, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        found = run.settling
        assert set(found) == {"residual", "energy", "energy_term", "cost"}
        assert found["residual"].shape == (4, 3, 10)
        assert np.isnan(found["cost"][:, 0]).all(), "the free phase knows no target"
        assert np.isnan(found["residual"][:, 1:, 7:]).all(), "the nudged phases ended at step 6"
        # The engine looks at a state once more after its last step, so each step is the end of a shorter relaxation.
        for k in range(10):
            state = net.relax(x, tol=None, max_steps=k)
            np.testing.assert_allclose(found["residual"][:, 0, k], state.residual, rtol=1e-12)
            energy = net.energy(state)
            np.testing.assert_allclose(found["energy"][:, 0, k], energy.total, rtol=1e-12, atol=1e-14)
            for i, term in enumerate(run.energy_terms):
                np.testing.assert_allclose(found["energy_term"][:, 0, k, i], energy.terms[term], atol=1e-14)
        for k in range(7):
            for j, state in enumerate(net.relax(x, target=y, beta=betas, start=free, tol=None, max_steps=k)):
                # Rounding of u, which is of order one, is the least that a residual can be known to.
                np.testing.assert_allclose(found["residual"][:, 1 + j, k], state.residual, rtol=1e-12, atol=1e-15)
                np.testing.assert_allclose(found["cost"][:, 1 + j, k], net.cost(state, y), rtol=1e-12)
        np.testing.assert_allclose(found["energy_term"].sum(axis=-1), found["energy"], atol=1e-14)


def test_a_corrected_phase_is_measured_with_its_correction(x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    net = ReferenceEngine(looped_mlp(6, 5, 3, symmetric=False), seed=2)
    with Recorder(tmp_path / "run.h5") as rec:
        _, evidence = ne.AsymEP(0.1).gradient(net, x, y, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert set(run.settling) == {"residual", "cost"}, "a directed synapse has no energy"
        assert run.energy_terms == ()
        for k, state in enumerate((evidence.free, *evidence.nudged)):
            for i, end in enumerate(state.steps):
                assert run.settling["residual"][i, k, end] == pytest.approx(state.residual[i], rel=1e-9)
        np.testing.assert_allclose(run.equilibrium["nudge_size"][:, 1], evidence.nudge_size, rtol=1e-12)
        assert np.isnan(run.equilibrium["nudge_size"][:, 0]).all()


def test_the_tolerance_is_the_one_that_a_sample_was_given_last(
    net: ReferenceEngine, x: np.ndarray, tmp_path: Path
) -> None:
    with Recorder(tmp_path / "run.h5", samples=3) as rec:
        first = net.relax(x, tol=np.array([1e-3, 1e-4, 1e-5, 1.0]), record=rec)
        net.relax(x, start=first, tol=np.array([np.inf, 1e-6, np.inf, np.inf]), record=rec)
        net.relax(x + 1.0, tol=None, max_steps=3, record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        np.testing.assert_array_equal(run.equilibrium["tolerance"][:, 0], [1e-3, 1e-6, 1e-5, *[np.nan] * 3])


@pytest.mark.parametrize("every", [1, 3])
def test_a_phase_that_goes_on_is_measured_on_the_same_grid(
    net: ReferenceEngine, x: np.ndarray, tmp_path: Path, every: int
) -> None:
    with Recorder(tmp_path / "run.h5", every=every) as rec:
        first = net.relax(x, tol=1e-4, record=rec)
        more = net.relax(x, start=first, tol=np.array([1e-9, np.inf, 1e-7, 1e-9]), record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        residual = run.settling["residual"][:, 0]
        np.testing.assert_allclose(residual[:, -1], more.residual, rtol=1e-5)
        for i, k in enumerate(run.steps):
            for row in (0, 3):
                alone = net.relax(x[row : row + 1], tol=1e-9, max_steps=int(k))
                np.testing.assert_allclose(residual[row, i], alone.residual[0], rtol=0, atol=1e-12)


def test_many_steps_are_measured_in_parts(
    net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name, at_once in (("parts.h5", 1), ("whole.h5", measures.AT_ONCE)):
        monkeypatch.setattr(measures, "AT_ONCE", at_once)
        with Recorder(tmp_path / name) as rec:
            ne.EqProp(0.1).gradient(net, x, y, record=rec)
        with open_trajectory(tmp_path / name) as run:
            found.append(run.settling)
    for name in found[0]:
        # A product of one row and one of many may be summed in another order.
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-12, atol=1e-14)


def _convex(spec: ne.Network) -> bool:
    """Whether every Lagrangian is convex, without which a step along the drive may be one up the energy."""
    return all(p.activation.convex for p in spec.free)


def _downhill(spec: ne.Network) -> ne.Network:
    """The part of a network that steps down an energy: symmetric, and each step along the drive, not along past
    activities nor at each unit's own pace."""
    own_pace = (ne.synapses.History, ne.synapses.StepGate)
    kept = [s for s in spec.synapses if isinstance(s, SymmetricSynapse) and not isinstance(s, own_pace)]
    idle = [p.name for p in spec.free if not any(p.name in synapse.driven for synapse in kept)]
    return ne.Network(
        populations=spec.populations, synapses=(*kept, *(ne.Bias(target=name) for name in idle)), cost=spec.cost
    )


@given(data=st.data(), seed=st.integers(0, 1000), beta=st.sampled_from([0.01, 0.1]))
def test_the_energy_never_rises(
    networks: st.SearchStrategy[ne.Network],
    contracting: Callable[..., dict[str, np.ndarray]],
    samples: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    seed: int,
    beta: float,
) -> None:
    """For ``δa = ρ̄ δu``, convexity of L gives ``ΔG ≤ ½ δaᵀ ∂²e δa − (1/α − 1) ⟨δu, δa⟩``, which is not positive for
    ``α ≤ 1/(1 + κ/2)``, ``κ = ‖ρ̄^½ ∂²e ρ̄^½‖``.  With every block bounded by its norms, κ is at most the spectral
    radius of the matrix that ``contracting`` keeps at 0.9; the cost adds at most β.
    """
    spec = data.draw(networks.filter(_convex).map(_downhill))
    net = ReferenceEngine(spec, seed=seed)
    net.set_parameters(contracting(spec, seed, 0.9))
    alpha = 1.0 / (1.0 + (0.9 + beta) / 2)
    drawn = samples(spec, 3, seed)
    path = tmp_path_factory.mktemp("energy") / "run.h5"
    with Recorder(path) as rec:
        free = net.relax(drawn.x, start=drawn.start, solver=ne.Picard(alpha), tol=None, max_steps=30, record=rec)
        net.relax(
            drawn.x, target=drawn.y, beta=beta, start=free, solver=ne.Picard(alpha), tol=None, max_steps=10, record=rec
        )
    with open_trajectory(path) as run:
        energy, cost = run.settling["energy"], run.settling["cost"]
        for values in (energy[:, 0], (energy + beta * cost)[:, 1, :11]):
            # Sums of terms of order one to ten are known to some 1e-14 of their size.
            assert np.diff(values, axis=1).max() <= 1e-13 * max(1.0, np.abs(values).max())


def test_xarray_opens_the_measures(net: ReferenceEngine, x: np.ndarray, y: np.ndarray, tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    with Recorder(tmp_path / "run.h5", every=2) as rec:
        ne.EqProp(0.1).gradient(net, x, y, record=rec)
    with xr.open_dataset(tmp_path / "run.h5", group="/settling", engine="h5netcdf") as group:
        assert group.residual.dims == group.energy.dims == group.cost.dims == ("sample", "phase", "step")
        assert group.energy_term.dims == ("sample", "phase", "step", "term")
        assert group.term.values.tolist() == ["hidden1", "output", *(synapse.name for synapse in net.spec.synapses)]
        hopfield = group.energy_term.sel(term="hidden1_output", phase="free")
        with open_trajectory(tmp_path / "run.h5") as run:
            place = run.energy_terms.index("hidden1_output")
            np.testing.assert_array_equal(hopfield, run.settling["energy_term"][:, 0, :, place])
    with xr.open_dataset(tmp_path / "run.h5", group="/equilibrium", engine="h5netcdf") as table:
        assert table.tolerance.dims == table.nudge_size.dims == ("sample", "phase")


def test_attributes_that_the_recorder_is_told(tmp_path: Path) -> None:
    with Recorder(tmp_path / "run.h5") as rec:
        rec.describe(data="digits", image_shape=(8, 8))
        with pytest.raises(SpecError, match="spec: is no name for an attribute"):
            rec.describe(spec="another")
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.attrs["data"] == "digits"
        assert run.attrs["image_shape"].tolist() == [8, 8]


def test_a_diverging_network_is_measured_without_warnings(tmp_path: Path) -> None:
    net = ReferenceEngine(layered_hopfield([2, 3, 2], activation="identity", gain=50.0))
    with Recorder(tmp_path / "run.h5") as rec:
        net.relax(np.ones((1, 2)), record=rec)
    with open_trajectory(tmp_path / "run.h5") as run:
        assert run.settling["residual"][0, 0, -1] > run.settling["residual"][0, 0, 0]
