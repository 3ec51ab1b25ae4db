r"""What a synapse learns, from its own two ends: products of activities, summed over a batch.

    contrast of a dense synapse     −(a_post⁺ ⊗ a_pre⁺ − a_post⁻ ⊗ a_pre⁻) / width
    drive's gradient                λ_post ⊗ a_pre + a_post ⊗ λ_pre

Both are one product each: the two phases stand below each other, and where an end is data, which is the same in both,
the difference of the other end is taken first.  That halves the work, and float32 loses less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from neuro_eq.arrays import Activities, Array, flat
from neuro_eq.backends.numba.workers import Workers
from neuro_eq.spec import Network
from neuro_eq.synapses import Bias, Dense, DirectedDense

ROWS = 256
"""Rows of a weight matrix that one task learns: fixed, so that the number of threads changes no bit."""

Ends = tuple[np.ndarray, np.ndarray]
"""``(terms, n_post)`` and ``(terms, n_pre)``: a weight's gradient is the sum of their outer products."""


class Hebbian:
    """Products over all synapses of a network, shared out to threads."""

    def __init__(self, spec: Network, workers: Workers) -> None:
        self.spec, self.workers = spec, workers

    def energy_gradient(self, a: Activities) -> dict[str, Array]:
        """``∂G/∂θ`` at these activities, mean over the batch."""

        def ends(synapse: Dense | DirectedDense) -> Ends | None:
            return (-flat(a[synapse.target]), flat(a[synapse.source])) if isinstance(synapse, Dense) else None

        return self._learn(ends, lambda synapse: -flat(a[synapse.target]), a, 1.0)

    def contrast(self, above: Activities, below: Activities, width: float) -> dict[str, Array]:
        """``[∂G/∂θ(above) − ∂G/∂θ(below)]/width``, mean over the batch."""
        clamped = {p.name for p in self.spec.clamped}

        def change(name: str) -> np.ndarray:
            return flat(below[name]) - flat(above[name])

        def ends(synapse: Dense | DirectedDense) -> Ends | None:
            post, pre = synapse.target, synapse.source
            if not isinstance(synapse, Dense):
                return None
            if pre in clamped:
                return change(post), flat(above[pre])
            if post in clamped:
                return flat(above[post]), change(pre)
            both = np.concatenate([-flat(above[post]), flat(below[post])])
            return both, np.concatenate([flat(above[pre]), flat(below[pre])])

        return self._learn(ends, lambda synapse: change(synapse.target), above, width)

    def drive_gradient(self, a: Activities, lam: Activities) -> dict[str, Array]:
        """``(∂drive/∂θ)ᵀ λ`` at these activities, mean over the batch; data does not respond and has no λ."""

        def ends(synapse: Dense | DirectedDense) -> Ends | None:
            post, pre = synapse.target, synapse.source
            pairs = [(lam.get(post), a[pre])]
            if isinstance(synapse, Dense):
                pairs.append((a[post], lam.get(pre)))
            known = [(flat(one), flat(other)) for one, other in pairs if one is not None and other is not None]
            if len(known) == 1:
                return known[0]
            return np.concatenate([one for one, _ in known]), np.concatenate([other for _, other in known])

        return self._learn(ends, lambda synapse: flat(lam[synapse.target]), a, 1.0)

    def _learn(
        self,
        ends: Callable[[Dense | DirectedDense], Ends | None],
        constant: Callable[[Bias], np.ndarray],
        a: Mapping[str, Array],
        width: float,
    ) -> dict[str, Array]:
        batch = next(iter(a.values())).shape[0]
        gradient: dict[str, Array] = {}
        tasks: list[Callable[[], object]] = []
        shapes = self.spec.parameter_shapes
        for synapse in self.spec.synapses:
            if isinstance(synapse, Bias):
                name = f"{synapse.name}.bias"
                total = np.sum(constant(synapse), axis=0) / (batch * width)
                gradient[name] = total.reshape(shapes[name])
            elif isinstance(synapse, (Dense, DirectedDense)):
                found = ends(synapse)
                if found is None:
                    continue
                post, pre = found
                half = 0.5 if isinstance(synapse, Dense) and synapse.on_itself else 1.0
                # Scaled here: the ends are far smaller than the weights between them.
                post = post * post.dtype.type(half / (batch * width))
                weight = np.empty((post.shape[1], pre.shape[1]), post.dtype)
                for first in range(0, post.shape[1], ROWS):
                    rows = slice(first, first + ROWS)
                    tasks.append(partial(np.dot, post[:, rows].T, pre, out=weight[rows]))
                gradient[f"{synapse.name}.weight"] = weight
        with self.workers.single_blas():
            self.workers.run(tasks)
        return gradient
