"""Compiled steps of the optimisers: the same numbers, to the last bit, on any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq.backends.numba.descent import Descent, pieces
from neuro_eq.backends.numba.kernels.descent import sgd
from neuro_eq.backends.numba.workers import Workers

OPTIMIZERS = [
    ne.SGD(0.3),
    ne.SGD(0.3, weight_decay=0.01),
    ne.SGD(0.3, momentum=0.9),
    ne.SGD(0.3, momentum=0.9, nesterov=True, weight_decay=0.01),
    ne.Adam(0.01),
    ne.Adam(0.01, weight_decay=0.1),
]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_compiled_step_is_the_optimisers_own(optimizer, dtype, threads) -> None:  # type: ignore[no-untyped-def]
    """More numbers than threads wake for; several steps, so that moments are those of compiled steps."""
    rng = np.random.default_rng(0)
    shapes = {"h.weight": (520, 391), "o.weight": (10, 520), "o.bias": (10,), "p.gamma": ()}
    ours = theirs = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    state = other = optimizer.start(ours)
    workers = Workers(threads)
    descent = Descent(workers)
    for _ in range(3):
        # Some gradients are tiny or nothing at all, as those of fitted samples are.
        scale = 10.0 ** rng.integers(-12, 1)
        gradient = {name: (scale * rng.normal(size=shape)).astype(dtype) for name, shape in shapes.items()}
        gradient["o.bias"][:3] = 0.0
        ours, state = descent.stepped(optimizer, ours, gradient, state, 0.7)
        theirs, other = optimizer.step(theirs, gradient, other, 0.7)
        assert state.steps == other.steps
        assert list(ours) == list(theirs)
        for name in shapes:
            np.testing.assert_array_equal(ours[name], theirs[name], strict=True)
            for moment in optimizer.moments:
                np.testing.assert_array_equal(state.moments[moment][name], other.moments[moment][name], strict=True)
    workers.close()


def test_a_gradient_in_another_layout_compiles_nothing() -> None:
    """One that is spread out in memory, and one that is a single number everywhere."""
    theta = {"a.bias": np.arange(6, dtype=np.float32)}
    descent, optimizer = Descent(Workers(1)), ne.SGD(0.5)
    state = optimizer.start(theta)
    plain, _ = descent.stepped(optimizer, theta, {"a.bias": np.ones(6, np.float32)}, state, 1.0)
    compiled = len(sgd.signatures)
    for gradient in (np.ones((6, 2), np.float32)[:, 0], np.broadcast_to(np.float32(1), 6)):
        other, _ = descent.stepped(optimizer, theta, {"a.bias": gradient}, state, 1.0)
        np.testing.assert_array_equal(other["a.bias"], plain["a.bias"])
    assert len(sgd.signatures) == compiled


def test_pieces_are_all_numbers_once_and_equal() -> None:
    sizes = [("a", 7), ("b", 0), ("c", 1), ("d", 30)]
    for threads in (1, 2, 3, 8, 50):
        parts = list(pieces(sizes, threads))
        assert len(parts) == threads
        for name, size in sizes:
            assert [i for part in parts for n, piece in part if n == name for i in range(size)[piece]] == [*range(size)]
        counts = [sum(piece.stop - piece.start for _, piece in part) for part in parts]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_found_wherever_it_is(value, threads) -> None:  # type: ignore[no-untyped-def]
    workers = Workers(threads)
    for place in (0, 150_000, 299_999):
        arrays = {"a": np.ones(7), "b": np.full(300_000, 1e38, np.float32), "c": np.ones((2, 2))}
        assert Descent(workers).not_finite(arrays) is None
        arrays["b"][place] = value
        assert Descent(workers).not_finite(arrays) == "b"
    workers.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_step_has_looked_at_is_not_looked_at_again(threads) -> None:  # type: ignore[no-untyped-def]
    """Only the very arrays of the last step, and only once."""
    descent, rate = Descent(Workers(threads)), ne.SGD(1.0)
    theta = {"a": np.ones(7), "b": np.ones((600, 500))}
    gradient = {name: np.zeros_like(value) for name, value in theta.items()}

    def step() -> dict[str, np.ndarray]:
        return descent.stepped(rate, theta, gradient, rate.start(theta), 1.0)[0]

    gradient["b"][599, 499] = np.inf
    assert descent.not_finite(step()) == "b"
    gradient["b"][599, 499] = 0.0
    found = step()
    found["a"][3] = np.nan  # what nobody must do: it is not seen the first time
    assert descent.not_finite(found) is None
    assert descent.not_finite(found) == "a"
    assert descent.not_finite({**step(), "a": np.full(7, np.nan)}) == "a"
    descent.workers.close()
