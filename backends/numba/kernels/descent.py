"""Steps of the optimisers, each as one pass: every operation in the order of the optimiser's own, so no bit differs."""

from __future__ import annotations

import math

from neuro_eq.backends.numba.compilation import entry, summing


@summing
def _nothing_of(x):  # type: ignore[no-untyped-def]
    total = x.dtype.type(0)
    for i in range(x.size):
        total += x[i] * x.dtype.type(0)
    return total


@entry
def is_finite(x):  # type: ignore[no-untyped-def]
    """Whether every number is: nothing times infinity is not a number, and neither is a sum with one."""
    return _nothing_of(x) == 0


@entry
def sgd(value, g, out, rate, decay):  # type: ignore[no-untyped-def]
    """``θ − lr·g``; ``rate`` is negative, and ``decay`` the learning rate times that of the weights."""
    for i in range(value.size):
        move = g[i] * rate + value[i]
        out[i] = move - decay * value[i] if decay != 0 else move


@entry
def sgd_with_momentum(value, g, before, out, after, rate, decay, momentum, nesterov):  # type: ignore[no-untyped-def]
    """The same along a velocity."""
    for i in range(value.size):
        velocity = before[i] * momentum + g[i]
        after[i] = velocity
        along = velocity * momentum + g[i] if nesterov else velocity
        move = along * rate + value[i]
        out[i] = move - decay * value[i] if decay != 0 else move


@entry
def adam(  # type: ignore[no-untyped-def]
    value, g, first_before, second_before, out, first_after, second_after, rate, decay, beta1, beta2, epsilon
):
    """The move is ``rate · first/(√second + epsilon)``."""
    for i in range(value.size):
        first = first_before[i] * beta1 + g[i]
        second = second_before[i] * beta2 + g[i] * g[i]
        first_after[i], second_after[i] = first, second
        move = first / (math.sqrt(second) + epsilon) * rate + value[i]
        out[i] = move - decay * value[i] if decay != 0 else move
