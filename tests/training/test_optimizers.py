"""Optimisers against their equations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from neuro_eq.errors import SpecError
from neuro_eq.optimizers import BLOCK, SGD, Adam, Optimizer


def test_sgd_is_its_equation() -> None:
    theta = {"w": np.array([1.0, -2.0])}
    stepped, state = SGD(0.5).step(theta, {"w": np.array([0.2, -0.4])}, SGD(0.5).start(theta))
    np.testing.assert_array_equal(stepped["w"], [0.9, -1.8])
    assert state.steps == 1
    np.testing.assert_array_equal(theta["w"], [1.0, -2.0])


def test_adams_first_step_has_the_length_of_the_learning_rate() -> None:
    """With bias correction m̂ = g and v̂ = g², so the first step is lr·g/(|g| + ε): its sign times the rate."""
    theta = {"w": np.array([3.0, 3.0, 3.0])}
    gradient = {"w": np.array([1e-3, -5.0, 1e3])}
    stepped, _ = Adam(1e-2).step(theta, gradient, Adam(1e-2).start(theta))
    np.testing.assert_allclose(stepped["w"] - 3.0, [-1e-2, 1e-2, -1e-2], rtol=2e-5)


def test_adam_under_a_constant_gradient_keeps_its_pace() -> None:
    """Both corrected moments stay g and g² for ever, so n steps move by n·lr."""
    adam = Adam(1e-2)
    theta = {"w": np.array([0.0])}
    state = adam.start(theta)
    for _ in range(50):
        theta, state = adam.step(theta, {"w": np.array([4.0])}, state)
    np.testing.assert_allclose(theta["w"], -0.5, rtol=1e-6)


def test_adam_takes_the_scale_out_of_a_gradient() -> None:
    """Why a layer's own nudge, which only divides its contrast, would change nothing (but for ε = 1e-8)."""
    rng, ends = np.random.default_rng(0), []
    gradients = rng.normal(size=(20, 3, 4))
    for scale in (1.0, 30.0):
        optimizer = Adam(0.01)
        parameters = {"w.weight": np.zeros((3, 4))}
        state = optimizer.start(parameters)
        for gradient in gradients:
            parameters, state = optimizer.step(parameters, {"w.weight": scale * gradient}, state)
        ends.append(parameters["w.weight"])
    # Each of 20 steps of at most 0.01 is off by ε over the root of a second moment, which is no less than 1e-3 here.
    np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=20 * 0.01 * 1e-8 / 1e-3)


def test_the_schedule_scales_the_step() -> None:
    theta = {"w": np.array([1.0])}
    stepped, _ = SGD(1.0).step(theta, {"w": np.array([1.0])}, SGD(1.0).start(theta), scale=0.25)
    np.testing.assert_array_equal(stepped["w"], [0.75])


def textbook_adam(adam: Adam, theta: np.ndarray, gradients: list[np.ndarray], scales: list[float]) -> np.ndarray:
    """Kingma and Ba's algorithm 1, line by line; with Loshchilov and Hutter's decay."""
    m, v = np.zeros_like(theta), np.zeros_like(theta)
    for t, (g, scale) in enumerate(zip(gradients, scales, strict=True), start=1):
        m = adam.beta1 * m + (1 - adam.beta1) * g
        v = adam.beta2 * v + (1 - adam.beta2) * g**2
        corrected = (m / (1 - adam.beta1**t)) / (np.sqrt(v / (1 - adam.beta2**t)) + adam.epsilon)
        theta = theta - scale * adam.lr * (corrected + adam.weight_decay * theta)
    return theta


def textbook_sgd(sgd: SGD, theta: np.ndarray, gradients: list[np.ndarray], scales: list[float]) -> np.ndarray:
    """Sutskever et al. (2013), with the velocity free of the learning rate."""
    velocity = np.zeros_like(theta)
    for g, scale in zip(gradients, scales, strict=True):
        velocity = sgd.momentum * velocity + g
        move = g + sgd.momentum * velocity if sgd.nesterov else velocity
        theta = theta - scale * sgd.lr * (move + sgd.weight_decay * theta)
    return theta


CASES: list[tuple[Optimizer, Callable[..., np.ndarray]]] = [
    (Adam(1e-2), textbook_adam),
    (Adam(1e-2, weight_decay=0.1, beta1=0.5, beta2=0.9, epsilon=1e-3), textbook_adam),
    (Adam(1e-2, beta1=0.0, beta2=0.0), textbook_adam),
    (SGD(0.1), textbook_sgd),
    (SGD(0.1, weight_decay=0.2), textbook_sgd),
    (SGD(0.1, momentum=0.9), textbook_sgd),
    (SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01), textbook_sgd),
]
SHAPE = (3, BLOCK // 2 + 5)
"""More numbers than a block, and no multiple of it."""


@pytest.mark.parametrize(("optimizer", "textbook"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_every_optimiser_is_its_textbook(optimizer: Optimizer, textbook: Callable[..., np.ndarray]) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=SHAPE) * 10.0 ** rng.uniform(-6, 2, SHAPE) for _ in range(8)]
    scales = [1.0, 0.5, 2.0, 0.0, 1.0, 1.0, 0.1, 0.7]
    first = rng.normal(size=SHAPE)
    theta, state = {"s.weight": first}, optimizer.start({"s.weight": first})
    for gradient, scale in zip(gradients, scales, strict=True):
        theta, state = optimizer.step(theta, {"s.weight": gradient}, state, scale)
    assert state.steps == 8
    assert set(state.moments) == set(optimizer.moments)
    # A step has fewer than 16 roundings, each relative to numbers up to the largest move or parameter.
    wanted = textbook(optimizer, first, gradients, scales)
    largest = max(np.max(np.abs(first)), *(np.max(np.abs(g)) for g in gradients)) / (1 - 0.9)
    np.testing.assert_allclose(theta["s.weight"], wanted, rtol=1e-12, atol=8 * 16 * 2.0**-53 * optimizer.lr * largest)


@pytest.mark.parametrize("optimizer", [optimizer for optimizer, _ in CASES], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_arguments_stay_as_they_are_and_precision_is_kept(optimizer: Optimizer, dtype: str) -> None:
    """Whatever the precision of the factor, and of a gradient that comes in another."""
    rng = np.random.default_rng(1)
    theta = {
        "a.weight": np.asfortranarray(rng.normal(size=(5, 4)).astype(dtype)),
        "a.bias": rng.normal(size=4).astype(dtype),
        "norm.gamma": np.array(1.5, dtype=dtype),
    }
    gradient = {name: rng.normal(size=value.shape) for name, value in theta.items()}
    state = optimizer.start(theta)
    for _ in range(2):
        given = [theta, gradient, *state.moments.values()]
        before = [{name: value.copy() for name, value in arrays.items()} for arrays in given]
        stepped, after = optimizer.step(theta, gradient, state, np.float64(0.5))
        for arrays, copies in zip(given, before, strict=True):
            for name, value in arrays.items():
                np.testing.assert_array_equal(value, copies[name])
        results = [stepped, *after.moments.values()]
        for name, value in theta.items():
            for arrays in results:
                assert arrays[name].shape == value.shape
                assert arrays[name].dtype == dtype
                assert isinstance(arrays[name], np.ndarray)
                assert not any(np.shares_memory(arrays[name], one[name]) for one in given)
        theta, state = stepped, after


@pytest.mark.parametrize("optimizer", [SGD(0.5, weight_decay=0.1), Adam(0.5, weight_decay=0.1)], ids=str)
def test_only_weights_decay(optimizer: Optimizer) -> None:
    """Without a gradient nothing else moves; a bias of two axes is a bias."""
    theta = {"s.weight": np.ones((2, 2)), "s.bias": np.ones((2, 2)), "b.bias": np.ones(3), "norm.gamma": np.ones(())}
    nothing = {name: np.zeros_like(value) for name, value in theta.items()}
    stepped, _ = optimizer.step(theta, nothing, optimizer.start(theta))
    np.testing.assert_allclose(stepped["s.weight"], 0.95, rtol=1e-15)
    for name in ("s.bias", "b.bias", "norm.gamma"):
        np.testing.assert_array_equal(stepped[name], theta[name])


@pytest.mark.parametrize("optimizer", [optimizer for optimizer, _ in CASES], ids=str)
def test_a_block_more_or_less_changes_no_bit(optimizer: Optimizer) -> None:
    rng = np.random.default_rng(2)
    whole = rng.normal(size=2 * BLOCK + 7).astype(np.float32)
    gradient = rng.normal(size=whole.shape).astype(np.float32)
    stepped, _ = optimizer.step({"w": whole}, {"w": gradient}, optimizer.start({"w": whole}))
    for part in (slice(0, 100), slice(BLOCK - 50, BLOCK + 50), slice(2 * BLOCK, None)):
        alone = {"w": whole[part].copy()}
        found, _ = optimizer.step(alone, {"w": gradient[part].copy()}, optimizer.start(alone))
        np.testing.assert_array_equal(found["w"], stepped["w"][part])


@pytest.mark.parametrize("optimizer", [optimizer for optimizer, _ in CASES], ids=str)
def test_torchs_tensors_move_alike(optimizer: Optimizer, need: Callable[[str], None]) -> None:
    need("torch")
    import torch

    rng = np.random.default_rng(3)
    theta = {"s.weight": rng.normal(size=(4, 3)), "s.bias": rng.normal(size=4)}
    gradient = {name: rng.normal(size=value.shape) for name, value in theta.items()}
    tensors = {name: torch.tensor(value) for name, value in theta.items()}
    slopes = {name: torch.tensor(value) for name, value in gradient.items()}
    state, other = optimizer.start(theta), optimizer.start(tensors)
    for _ in range(3):
        theta, state = optimizer.step(theta, gradient, state)
        tensors, other = optimizer.step(tensors, slopes, other)
    for name, value in theta.items():
        np.testing.assert_allclose(tensors[name].numpy(), value, rtol=1e-14)


def test_nesterov_needs_a_momentum() -> None:
    with pytest.raises(SpecError, match=r"^nesterov: needs a momentum above 0$"):
        SGD(0.1, nesterov=True)


def test_a_learning_rate_must_be_positive() -> None:
    with pytest.raises(SpecError, match=r"^lr: .*greater than 0 \(found 0.0\)$"):
        Adam(0.0)
