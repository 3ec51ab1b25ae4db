"""The part of the drive that stays while samples settle: what inputs and biases drive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from neuro_eq.arrays import Activities, Array, flat
from neuro_eq.backends.numba.kernels.layout import fill
from neuro_eq.backends.numba.packing import feed, product
from neuro_eq.backends.numba.plan import Plan
from neuro_eq.backends.numba.tile import packed_size, stride
from neuro_eq.dynamics import Dynamics
from neuro_eq.synapses import Bias, Dense, DirectedDense, GatedDense, StepGate


@dataclass(frozen=True)
class Part:
    """That of some samples.

    Attributes:
        drive: a buffer over all free units, laid out as that of a block in one phase.
        rates: ``(samples, units)`` of the gates on steps that data alone open, by their names.
    """

    drive: np.ndarray
    rates: dict[str, np.ndarray]


class Still:
    """That of one batch, with what it is computed from.

    It is computed for one slice of the samples at a time, by the thread that settles them.
    """

    def __init__(
        self, layout: Plan, dynamics: Dynamics, theta: Mapping[str, Array], inputs: Activities, slices: Sequence[slice]
    ) -> None:
        self.layout, self.dynamics, self.theta, self.inputs, self.slices = layout, dynamics, theta, inputs, slices
        self.biases = self._biases()
        self._parts: list[Part | None] = [None] * len(slices)

    def of(self, theta: Mapping[str, Array], inputs: Activities) -> bool:
        """Whether it is that of these weights and data; far cheaper to see than the drive is to compute."""
        known = self.inputs
        return self.theta is theta and all(
            known[name] is values or np.array_equal(known[name], values) for name, values in inputs.items()
        )

    def part(self, i: int) -> Part:
        """That of one slice."""
        part = self._parts[i]
        if part is None:
            part = self._parts[i] = self._computed(self.slices[i])
        return part

    def _computed(self, samples: slice) -> Part:
        layout, theta = self.layout, self.theta
        clamped = {name: flat(values[samples]) for name, values in self.inputs.items()}
        count = samples.stop - samples.start
        drive = np.empty(count * layout.units, layout.dtype)
        fill(layout.populations, self.biases, drive, count)
        total: dict[str, np.ndarray] = {}
        for p, (begin, wide) in zip(self.dynamics.spec.free, layout.places, strict=True):
            total[p.name] = drive[begin * count : (begin + wide) * count].reshape(count, wide)[:, : p.size]
        rates: dict[str, np.ndarray] = {}
        for synapse in self.dynamics.still:
            if isinstance(synapse, (Dense, DirectedDense)):
                weight = theta[f"{synapse.name}.weight"]
                if synapse.source in clamped and synapse.target in total:
                    _feed(clamped[synapse.source], weight, drive, layout.place_of[synapse.target], count)
                elif isinstance(synapse, Dense) and synapse.target in clamped and synapse.source in total:
                    total[synapse.source] += product(clamped[synapse.target], weight)
            elif isinstance(synapse, GatedDense):
                own = self.dynamics.own(theta, synapse.name)
                total[synapse.target] += synapse.drive({**clamped, **total}, own, total)[synapse.target]
            elif isinstance(synapse, StepGate) and synapse.source in clamped:
                rates[synapse.name] = synapse.rate({**clamped, **total}, self.dynamics.own(theta, synapse.name))
        return Part(drive, rates)

    def _biases(self) -> np.ndarray:
        """A row of all free units."""
        row = np.zeros(self.layout.units, self.layout.dtype)
        for synapse in self.dynamics.still:
            if isinstance(synapse, Bias) and synapse.target in self.layout.place_of:
                bias = self.theta[f"{synapse.name}.bias"].ravel()
                begin, _ = self.layout.place_of[synapse.target]
                row[begin : begin + bias.size] += bias
        return row


def _feed(x: np.ndarray, weight: np.ndarray, drive: np.ndarray, place: tuple[int, int], count: int) -> None:
    (rows, depth), size = x.shape, weight.shape[0]
    packed = np.empty(packed_size(depth, rows, x.dtype), x.dtype)
    sums = np.empty((size, stride(rows, x.dtype)), x.dtype)
    feed(x, weight.reshape(-1), packed, sums, drive, place[0] * count, place[1])


__all__ = ["Part", "Still"]
