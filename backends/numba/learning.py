r"""What a synapse learns, from its own two ends: products of activities, summed over a batch.

    contrast of a dense synapse     −(a_post⁺ ⊗ a_pre⁺ − a_post⁻ ⊗ a_pre⁻) / width
    drive's gradient                λ_post ⊗ a_pre + a_post ⊗ λ_pre

Both are one product each: the terms of the two phases stand beside each other, and where an end is data, which is the
same in both, the difference of the other end is taken first.  That halves the work, and float32 loses less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

import numpy as np

from neuro_eq.arrays import Activities, Array, flat
from neuro_eq.backends.numba.packing import pack_rows, subtract_and_sum, transpose
from neuro_eq.backends.numba.tile import multiply, packed_size, stride
from neuro_eq.backends.numba.workers import Workers
from neuro_eq.spec import Network
from neuro_eq.synapses import Bias, Dense, DirectedDense

ROWS = 256
"""Rows of a weight matrix that one task learns: fixed, so that the number of threads changes no bit."""

Ends = list[tuple[float, np.ndarray, np.ndarray]]
"""A factor, ``(batch, n_post)`` and ``(batch, n_pre)``: a weight's gradient is the sum of their outer products."""


class Learned:
    """The gradient of one weight matrix, in two parts of work: bring the ends into order, then multiply."""

    def __init__(self, ends: Ends, factor: float) -> None:
        _, post, pre = ends[0]
        self.ends, self.factor = ends, factor
        self.batch, self.rows, self.columns = post.shape[0], post.shape[1], pre.shape[1]
        self.terms = self.batch * len(ends)
        dtype = post.dtype
        self.left = np.empty((self.rows, self.terms), dtype)
        self.packed = np.empty(packed_size(self.terms, self.columns, dtype), dtype)
        self.sums = np.empty((self.rows, stride(self.columns, dtype)), dtype)

    def order(self) -> list[Callable[[], object]]:
        """The tasks of the first part."""
        tasks: list[Callable[[], object]] = []
        for i, (sign, post, pre) in enumerate(self.ends):
            scale = post.dtype.type(sign * self.factor)
            tasks.append(partial(transpose, np.ascontiguousarray(post), scale, self.left, i * self.batch))
            tasks.append(partial(pack_rows, np.ascontiguousarray(pre), self.packed, i * self.batch, self.terms))
        return tasks

    def multiply(self) -> list[Callable[[], object]]:
        """The tasks of the second."""
        left, sums, width = self.left.reshape(-1), self.sums.reshape(-1), self.sums.shape[1]
        return [
            partial(
                multiply,
                left,
                first * self.terms,
                self.terms,
                self.terms,
                self.packed,
                0,
                sums,
                first * width,
                width,
                min(ROWS, self.rows - first),
            )
            for first in range(0, self.rows, ROWS)
        ]

    @property
    def weight(self) -> np.ndarray:
        """The gradient, ``(n_post, n_pre)``."""
        return np.ascontiguousarray(self.sums[:, : self.columns])


class Hebbian:
    """Products over all synapses of a network, shared out to threads."""

    def __init__(self, spec: Network, workers: Workers) -> None:
        self.spec, self.workers = spec, workers

    def energy_gradient(self, a: Activities) -> dict[str, Array]:
        """``∂G/∂θ`` at these activities, mean over the batch."""

        def ends(synapse: Dense | DirectedDense) -> Ends | None:
            return [(-1.0, flat(a[synapse.target]), flat(a[synapse.source]))] if isinstance(synapse, Dense) else None

        return self._learn(ends, lambda synapse: -np.sum(flat(a[synapse.target]), axis=0), a, 1.0)

    def contrast(self, above: Activities, below: Activities, width: float) -> dict[str, Array]:
        """``[∂G/∂θ(above) − ∂G/∂θ(below)]/width``, mean over the batch."""
        clamped = {p.name for p in self.spec.clamped}

        @cache
        def difference(name: str) -> tuple[np.ndarray, np.ndarray]:
            higher, lower = flat(above[name]), flat(below[name])
            out, total = np.empty_like(lower), np.zeros(lower.shape[1], lower.dtype)
            subtract_and_sum(lower, higher, out, total)
            return out, total

        def change(name: str) -> np.ndarray:
            return difference(name)[0]

        def ends(synapse: Dense | DirectedDense) -> Ends | None:
            post, pre = synapse.target, synapse.source
            if not isinstance(synapse, Dense):
                return None
            if pre in clamped:
                return [(1.0, change(post), flat(above[pre]))]
            if post in clamped:
                return [(1.0, flat(above[post]), change(pre))]
            return [(-1.0, flat(above[post]), flat(above[pre])), (1.0, flat(below[post]), flat(below[pre]))]

        return self._learn(ends, lambda synapse: difference(synapse.target)[1], above, width)

    def drive_gradient(self, a: Activities, lam: Activities) -> dict[str, Array]:
        """``(∂drive/∂θ)ᵀ λ`` at these activities, mean over the batch; data does not respond and has no λ."""

        def ends(synapse: Dense | DirectedDense) -> Ends | None:
            post, pre = synapse.target, synapse.source
            pairs = [(lam.get(post), a[pre])]
            if isinstance(synapse, Dense):
                pairs.append((a[post], lam.get(pre)))
            return [(1.0, flat(one), flat(other)) for one, other in pairs if one is not None and other is not None]

        return self._learn(ends, lambda synapse: np.sum(flat(lam[synapse.target]), axis=0), a, 1.0)

    def _learn(
        self,
        ends: Callable[[Dense | DirectedDense], Ends | None],
        constant: Callable[[Bias], np.ndarray],
        a: Mapping[str, Array],
        width: float,
    ) -> dict[str, Array]:
        batch = next(iter(a.values())).shape[0]
        gradient: dict[str, Array] = {}
        learned: dict[str, Learned] = {}
        shapes = self.spec.parameter_shapes
        for synapse in self.spec.synapses:
            if isinstance(synapse, Bias):
                name = f"{synapse.name}.bias"
                total = constant(synapse) / (batch * width)
                gradient[name] = total.reshape(shapes[name])
            elif isinstance(synapse, (Dense, DirectedDense)):
                found = ends(synapse)
                if found is not None:
                    half = 0.5 if isinstance(synapse, Dense) and synapse.on_itself else 1.0
                    # Scaled at the ends, which are far smaller than the weights between them.
                    learned[f"{synapse.name}.weight"] = Learned(found, half / (batch * width))
        numbers = sum(one.left.size + one.packed.size for one in learned.values())
        self.workers.run([task for one in learned.values() for task in one.order()], numbers)
        self.workers.run([task for one in learned.values() for task in one.multiply()])
        return {**gradient, **{name: one.weight for name, one in learned.items()}}
