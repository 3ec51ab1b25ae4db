"""Blocks: every sample in one of them, and a sample's way does not depend on who settles beside it."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.backends.numba.blocks import LARGEST, cuts


def test_every_sample_is_in_one_block() -> None:
    for batch in (*range(1, 70), 100, 127, 128, 129, 512, 1000):
        for threads in (1, 2, 3, 8):
            slices = cuts(batch, threads)
            assert [i for part in slices for i in range(batch)[part]] == list(range(batch))
            assert all(part.stop - part.start <= LARGEST for part in slices)
            assert batch < 16 or threads == 1 or len(slices) > 1, "a second thread has something to do"


@pytest.mark.parametrize("solver", [ne.Picard(), ne.BlockGaussSeidel(), ne.Anderson()], ids=lambda s: s.kind)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stopping_at_different_times_mixes_nothing_up(contracting, samples, dtype, solver) -> None:  # type: ignore[no-untyped-def]
    """Samples leave the block one after the other; each ends where it ends alone, in as many steps.

    The inputs' drive alone is BLAS's, whose sums may be taken in another order: a few last places, times the gain
    1/(1 − L) < 3 of the relaxation; a step more or less where a residual lies that close to its tolerance.
    """
    spec = ne.models.layered_hopfield([6, 20, 9, 5])
    net = ne.compile(spec, backend="numba", dtype=dtype)
    net.set_parameters(contracting(spec, 3))
    data = samples(spec, 50, 4)
    tol = np.geomspace(1e-1, 1e-5, 50)[np.random.default_rng(0).permutation(50)]
    together = net.relax(data.x, target=data.y, beta=(0.2, -0.1), solver=solver, tol=tol)
    assert len(set(together[0].steps)) > 3
    for i in range(0, 50, 7):
        alone = net.relax(
            {name: x[i : i + 1] for name, x in data.x.items()},
            target=data.y[i : i + 1], beta=(0.2, -0.1), solver=solver, tol=tol[i : i + 1],
        )  # fmt: skip
        for one, whole in zip(alone, together, strict=True):
            assert abs(int(one.steps[0]) - int(whole.steps[i])) <= 1
            if one.steps[0] == whole.steps[i]:
                for name in one.states:
                    difference = np.abs(one.states[name][0] - whole.states[name][i]).max()
                    assert difference <= 100 * np.finfo(dtype).eps


def paced() -> ne.Network:
    """Layer norm, a memory, histories, gates of data and of activities, gated synapses onto others and onto itself."""
    make = ne.synapses
    return ne.Network(
        populations=(
            ne.Population(name="x", shape=5, clamped=True),
            ne.Population(name="tokens", shape=(2, 9), activation="layer_norm"),
            ne.Population(name="loop", shape=6, activation="tanh"),
            ne.Population(name="o", shape=3),
        ),
        synapses=(
            ne.Dense(source="x", target="tokens"),
            ne.Dense(source="x", target="loop"),
            ne.Dense(source="loop", target="o"),
            make.HopfieldMemory(target="tokens", patterns=7),
            make.History(target="loop", coupling=0.08, buffer_size=4),
            make.History(target="tokens", coupling=-0.05, buffer_size=3),
            make.StepGate(source="x", target="tokens"),
            make.StepGate(source="loop", target="o"),
            make.GatedDense(name="away", source="loop", target="tokens"),
            make.GatedDense(name="back", source="loop", target="loop"),
            make.GatedDense(name="entry", source="x", target="loop"),
        ),
        cost={"kind": "squared_error", "population": "o"},
    )


@pytest.mark.parametrize("solver", [ne.Picard(), ne.BlockGaussSeidel(), ne.Anderson()], ids=lambda s: s.kind)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_a_sample_keeps_leaves_with_it(contracting, samples, dtype, solver) -> None:  # type: ignore[no-untyped-def]
    """Its past, its gates and their slopes at ``a*``: to the last bit what it is where nobody stops before it.

    The inputs' drive is the same here, as all samples are there both times.
    """
    spec = paced()
    net = ne.compile(spec, backend="numba", dtype=dtype, threads=1)
    net.set_parameters(contracting(spec, 5))
    data = samples(spec, 41, 6)
    free = net.relax(data.x, solver=ne.Picard(0.9), tol=1e-6)
    how = {"target": data.y, "beta": (0.5, -0.4), "start": data.start, "solver": solver, "asymmetry_at": free}
    for steps in (2, 7, 12):
        stops = np.random.default_rng(steps).random(41) < 0.5
        through = net.relax(data.x, tol=None, max_steps=steps, **how)
        # Residuals begin at about one, so that these stop here and there on the way.
        tol = np.where(stops, np.random.default_rng(1).uniform(1e-3, 1.0, 41), 1e-30)
        together = net.relax(data.x, tol=tol, max_steps=steps, **how)
        assert steps == 2 or len(set(together[0].steps)) > 2
        for one, whole in zip(together, through, strict=True):
            for name in one.states:
                np.testing.assert_array_equal(one.states[name][~stops], whole.states[name][~stops])


def test_a_snapshot_on_the_way_changes_nothing(contracting, samples) -> None:  # type: ignore[no-untyped-def]
    """The buffers of histories live as long as the relaxation, however often it is looked at."""

    class Stroboscope:
        """Looks after every third step."""

        def relaxation(self, net, task, settling, resumed) -> None:  # type: ignore[no-untyped-def]
            while not settling.advance(3):
                settling.snapshot()

        def settled(self, net, task, found) -> None:  # type: ignore[no-untyped-def]
            pass

    spec = paced()
    net = ne.compile(spec, backend="numba")
    net.set_parameters(contracting(spec, 7))
    data = samples(spec, 20, 8)
    how = {"start": data.start, "tol": 1e-4}
    plain, watched = net.relax(data.x, **how), net.relax(data.x, record=Stroboscope(), **how)
    np.testing.assert_array_equal(plain.steps, watched.steps)
    for name, value in plain.states.items():
        np.testing.assert_array_equal(watched.states[name], value)


def test_learning_is_the_oracles(contracting, samples) -> None:  # type: ignore[no-untyped-def]
    """The contrast that takes the difference of the moving end first, and the one of two moving ends."""
    spec = ne.Network(
        populations=(
            ne.Population(name="x", shape=7, clamped=True),
            ne.Population(name="h", shape=300, activation="tanh"),
            ne.Population(name="o", shape=3),
        ),
        synapses=(
            ne.Dense(source="x", target="h"),
            ne.Dense(source="o", target="x", name="back"),
            ne.Dense(source="h", target="h"),
            ne.Dense(source="h", target="o"),
            ne.Bias(target="h"),
        ),
        cost={"kind": "squared_error", "population": "o"},
    )
    parameters = contracting(spec, 1)
    data = samples(spec, 33, 2)
    nets = [ne.compile(spec, backend=name) for name in ("numba", "reference")]
    found = []
    for net in nets:
        net.set_parameters(parameters)
        above, below = net.relax(data.x, target=data.y, beta=(0.5, -0.5), tol=None, max_steps=30)
        found.append((net.contrast(above, below, 1.0), net.energy_gradient(above)))
    for ours, oracle in zip(*found, strict=True):
        assert ours.keys() == oracle.keys()
        for name in oracle:
            np.testing.assert_allclose(ours[name], oracle[name], rtol=0, atol=1e-13)
