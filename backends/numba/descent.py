"""Steps of the optimisers that are compiled; the threads share the parameters out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np

from neuro_eq.arrays import Array, Parameters
from neuro_eq.backends.numba.kernels.descent import adam, is_finite, sgd, sgd_with_momentum
from neuro_eq.backends.numba.workers import Workers
from neuro_eq.optimizers import SGD, Adam, Optimizer, OptimizerState

Pass: TypeAlias = Callable[[Sequence[np.ndarray], Sequence[np.ndarray], float], None]
"""One step of some numbers: value, gradient and moments before, value and moments after, and the decay."""


class Descent:
    """Takes the steps, and looks whether all numbers are finite."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self._last: tuple[dict[str, np.ndarray], set[str]] | None = None

    def stepped(
        self, optimizer: Optimizer, parameters: Parameters, gradient: Parameters, state: OptimizerState, scale: float
    ) -> tuple[dict[str, Array], OptimizerState]:
        """As :meth:`~neuro_eq.optimizers.Optimizer.step`, to the last bit.

        Whether the new numbers are finite is seen while they are in cache; :meth:`not_finite` remembers it once.
        """
        self._last = None
        rate, steps = float(scale) * optimizer.lr, state.steps + 1
        taken = _pass(optimizer, rate, steps)
        same = all(gradient[name].dtype == theta.dtype for name, theta in parameters.items())
        if taken is None or not same:
            return optimizer.step(parameters, gradient, state, scale)
        found = {
            name: [np.empty(theta.shape, theta.dtype) for _ in (name, *optimizer.moments)]
            for name, theta in parameters.items()
        }
        bad: set[str] = set()

        def work(pieces: list[tuple[str, slice]]) -> None:
            for name, piece in pieces:
                theta = parameters[name]
                # A gradient may be anybody's: one that is not contiguous would be another type.
                old = [theta, np.ravel(gradient[name]), *(state.moments[key][name] for key in optimizer.moments)]
                new = [array.reshape(-1)[piece] for array in found[name]]
                taken([array.reshape(-1)[piece] for array in old], new, optimizer.decay(name, theta, rate))
                if not is_finite(new[0]):
                    bad.add(name)

        _share(work, parameters, self.workers)
        moments = {m: {name: new[i] for name, new in found.items()} for i, m in enumerate(optimizer.moments, 1)}
        values = {name: new[0] for name, new in found.items()}
        self._last = dict(values), bad
        return values, OptimizerState(steps, moments)

    def not_finite(self, arrays: Mapping[str, np.ndarray]) -> str | None:
        """The first of these that holds a number which is not finite."""
        last, self._last = self._last, None
        if last is not None and all(array is last[0].get(name) for name, array in arrays.items()):
            bad = last[1]
        else:
            bad = set()

            def work(pieces: list[tuple[str, slice]]) -> None:
                bad.update(name for name, piece in pieces if not is_finite(arrays[name].reshape(-1)[piece]))

            _share(work, arrays, self.workers)
        return next((name for name in arrays if name in bad), None)


def _share(work: Callable[[list[tuple[str, slice]]], None], arrays: Parameters, workers: Workers) -> None:
    parts = [part for part in pieces([(name, array.size) for name, array in arrays.items()], workers.threads) if part]
    workers.run([partial(work, part) for part in parts], sum(array.size for array in arrays.values()))


def pieces(sizes: Sequence[tuple[str, int]], threads: int) -> Iterator[list[tuple[str, slice]]]:
    """Numbers that stand one after the other under several names, cut into as many equal parts as there are threads."""
    total = sum(size for _, size in sizes)
    for thread in range(threads):
        begin, end = total * thread // threads, total * (thread + 1) // threads
        part: list[tuple[str, slice]] = []
        before = 0
        for name, size in sizes:
            first, last = max(begin - before, 0), min(end - before, size)
            if first < last:
                part.append((name, slice(first, last)))
            before += size
        yield part


def _pass(optimizer: Optimizer, rate: float, steps: int) -> Pass | None:
    """The compiled step of an optimiser, if it is one of those."""
    if type(optimizer) is SGD:
        momentum, nesterov = optimizer.momentum, optimizer.nesterov

        def descend(old: Sequence[np.ndarray], new: Sequence[np.ndarray], decay: float) -> None:
            kind = old[0].dtype.type
            if momentum:
                sgd_with_momentum(*old, *new, kind(-rate), kind(decay), kind(momentum), nesterov)
            else:
                sgd(*old, *new, kind(-rate), kind(decay))

        return descend
    if type(optimizer) is Adam:
        beta1, beta2 = optimizer.beta1, optimizer.beta2
        root, factor = optimizer.corrections(steps)

        def adapt(old: Sequence[np.ndarray], new: Sequence[np.ndarray], decay: float) -> None:
            kind = old[0].dtype.type
            adam(
                *old, *new, kind(-rate * factor), kind(decay), kind(beta1), kind(beta2), kind(optimizer.epsilon * root)
            )

        return adapt
    return None


__all__ = ["Descent", "pieces"]
