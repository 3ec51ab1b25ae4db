"""What a relaxation leaves in its blocks until somebody asks for it is what it would have handed over at once."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.backends.numba.engine import NumbaEngine


@pytest.fixture(params=["float32", "float64"])
def net(contracting, request) -> Iterator[NumbaEngine]:  # type: ignore[no-untyped-def]
    spec = ne.models.layered_hopfield([6, 20, 9, 5])
    net = ne.compile(spec, backend="numba", dtype=request.param, threads=2)
    net.set_parameters(contracting(spec, 3))
    assert isinstance(net, NumbaEngine)
    yield net
    net.close()


def unevenly(batch: int) -> np.ndarray:
    """Tolerances at which samples leave their blocks in disorder."""
    return np.geomspace(1e-1, 1e-5, batch)[np.random.default_rng(0).permutation(batch)]


def test_the_size_of_potentials_is_that_of_the_arrays(net, samples) -> None:  # type: ignore[no-untyped-def]
    data = samples(net.spec, 50, 4)
    for phase in net.relax(data.x, target=data.y, beta=(0.2, -0.1), tol=unevenly(50)):
        unread = net.rms(phase.states)
        arrays = dict(phase.states)
        np.testing.assert_array_equal(unread, net.rms(arrays))
        np.testing.assert_array_equal(unread, net.rms(phase.states))


@pytest.mark.parametrize("solver", [ne.Picard(), ne.BlockGaussSeidel(), ne.Anderson()], ids=lambda s: s.kind)
def test_to_begin_where_a_phase_ended_is_to_begin_at_its_potentials(net, samples, solver) -> None:  # type: ignore[no-untyped-def]
    """The other engine knows nothing of that phase: it takes the arrays, and computes the first drive anew."""
    data = samples(net.spec, 50, 4)
    free = net.relax(data.x, solver=solver, tol=unevenly(50))
    how = {"target": data.y, "beta": (0.2, -0.1), "solver": solver, "tol": None, "max_steps": 7}
    near = net.relax(data.x, start=free, **how)
    wrapped = net.relax(data.x, start=replace(free, steps=free.steps + 1), **how)
    with ne.compile(net.spec, backend="numba", dtype=net.dtype, threads=2) as other:
        other.set_parameters(net.parameters)
        far = other.relax(data.x, start=dict(free.states), **how)
    for here, again, there in zip(near, wrapped, far, strict=True):
        for name in here.states:
            np.testing.assert_array_equal(here.states[name], again.states[name])
            np.testing.assert_allclose(
                here.states[name], there.states[name], rtol=0, atol=100 * np.finfo(net.dtype).eps
            )


def test_blocks_go_when_their_potentials_have_been_read(net, samples) -> None:  # type: ignore[no-untyped-def]
    data = samples(net.spec, 50, 4)
    free = net.relax(data.x, tol=None, max_steps=3)
    block = weakref.ref(net.rest.blocks[0])
    net.rest = None
    gc.collect()
    assert block() is not None
    first = free.states["hidden1"]
    gc.collect()
    assert block() is None
    assert free.states["hidden1"] is first
