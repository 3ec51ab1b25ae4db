r"""What a synapse learns, from its own two ends: products of activities, summed over a batch.

    contrast of a dense synapse     −(a_post⁺ ⊗ a_pre⁺ − a_post⁻ ⊗ a_pre⁻) / width
    drive's gradient                λ_post ⊗ a_pre + a_post ⊗ λ_pre

Where an end is data, which is the same in both phases, the difference of the other end is taken first.  That halves the
work, and float32 loses less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from neuro_eq.arrays import Activities, Array, flat
from neuro_eq.backends.numba.outer import outer_sums, shares
from neuro_eq.backends.numba.packing import subtract_and_sum
from neuro_eq.backends.numba.tile import LANES, stride
from neuro_eq.backends.numba.workers import Workers
from neuro_eq.spec import Network
from neuro_eq.synapses import Bias, Dense, DirectedDense

A_MOVE = 10
"""Multiplications that take about as long as moving a number."""

Ends = list[tuple[float, np.ndarray, np.ndarray]]
"""A factor, ``(batch, n_post)`` and ``(batch, n_pre)``: a weight's gradient is the sum of their outer products."""


class Learned:
    """The gradient of one weight matrix."""

    def __init__(self, ends: Ends, factor: float) -> None:
        _, post, pre = ends[0]
        # Scaled at an end, which is far smaller than the weights.
        self.ends = [
            (post.dtype.type(sign * factor), np.ascontiguousarray(post), np.ascontiguousarray(pre))
            for sign, post, pre in ends
        ]
        self.columns = pre.shape[1]
        self.sums = np.empty((post.shape[1], stride(self.columns, post.dtype)), post.dtype)

    def tasks(self, threads: int) -> list[Callable[[], None]]:
        """The work, for so many threads; no number in it depends on who does it."""
        rows, width = self.sums.shape
        return [partial(self._learn, share) for share in shares(rows, width // LANES[self.sums.dtype], threads)]

    def _learn(self, share: tuple[int, int, int, int]) -> None:
        for i, (factor, post, pre) in enumerate(self.ends):
            outer_sums(post, pre, factor, self.sums, i > 0, *share)

    @property
    def weight(self) -> np.ndarray:
        """The gradient, ``(n_post, n_pre)``."""
        return np.ascontiguousarray(self.sums[:, : self.columns])


def learn(learned: Mapping[str, Learned], workers: Workers) -> dict[str, Array]:
    """Compute the gradients of several weight matrices."""
    if not learned:
        return {}
    numbers = sum(one.sums.size * sum(len(post) for _, post, _ in one.ends) for one in learned.values()) // A_MOVE
    workers.run([task for one in learned.values() for task in one.tasks(workers.threads)], numbers)
    return {name: one.weight for name, one in learned.items()}


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

        differences: dict[str, tuple[np.ndarray, np.ndarray]] = {}

        def difference(name: str) -> tuple[np.ndarray, np.ndarray]:
            if name not in differences:
                higher, lower = flat(above[name]), flat(below[name])
                out, total = np.empty_like(lower), np.zeros(lower.shape[1], lower.dtype)
                subtract_and_sum(lower, higher, out, total)
                differences[name] = out, total
            return differences[name]

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
                    learned[f"{synapse.name}.weight"] = Learned(found, half / (batch * width))
        return {**gradient, **learn(learned, self.workers)}
