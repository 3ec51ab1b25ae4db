r"""Integrate-and-fire populations whose rates settle at a network's equilibrium, on ``snntorch.Leaky``.

Every unit has a filtered drive and a membrane without leak,

    u ← u + α (Σ W s + b − u),      mem ← mem + u − (1 where it has fired),      s = 1 where mem > 1.

A membrane that integrates a constant u between 0 and 1 fires at the rate u, at u ≤ 0 never and at u ≥ 1 in every step:
its rate is ``clip(u, 0, 1)``, the hard sigmoid, and at rest ``u = Σ W rate + b`` is the network's own equilibrium.  For
a sigmoid the membrane integrates ``ρ(u)``.  A spike moves the drives that it reaches by ``α w``, so that u wavers by
about ``α`` around its mean: a smaller α is a quieter network and a slower one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int32

from neuro_eq.costs import CrossEntropy
from neuro_eq.errors import SpecError
from neuro_eq.hardware.real import RealNetwork, RealPopulation, real
from neuro_eq.spec import Network

if TYPE_CHECKING:
    import torch

FIRING = ("hard_sigmoid", "sigmoid")
"""Activations that are rates: they lie between 0 and 1."""

HELD = (-1.0, 2.0)
"""Membranes are held within these, so that what a unit could not fire, or was far from firing, is forgotten."""


@dataclass(frozen=True, eq=False)
class SpikingRun:
    """What spiking populations did.

    Attributes:
        network: in real numbers.
        rates: of each firing population over the last half of the steps, ``(samples, units)``; of one that only reads
            out, its mean drive.
        answers: after each step, from the output's filtered drive, ``(steps, samples)``.
        spikes: how many each sample's populations have fired, ``(samples,)`` by name.
        raster: of the first sample, when and which: two columns, by name.
    """

    network: RealNetwork
    rates: Mapping[str, Float[np.ndarray, "samples units"]]
    answers: Int32[np.ndarray, "steps samples"]
    spikes: Mapping[str, np.ndarray]
    raster: Mapping[str, Int32[np.ndarray, "spikes 2"]]

    @property
    def per_sample(self) -> float:
        """Spikes of a mean sample."""
        return float(sum(np.mean(count) for count in self.spikes.values()))


class SpikingReading:
    """A network of integrate-and-fire neurons.

    Args:
        spec: the network; its firing populations have hard sigmoids or sigmoids.  The output, or the readout of a
            cross-entropy, may have identity: it does not fire.
        parameters: trained.
        alpha: how quickly a drive follows what arrives.

    Raises:
        SpecError: an activity is no rate, or the network has something else that no spiking neuron does.
    """

    def __init__(self, spec: Network, parameters: Mapping[str, Any], alpha: float = 0.05) -> None:
        if not 0.0 < alpha <= 1.0:
            raise SpecError(f"expected a number in (0, 1], found {alpha}", "alpha")
        self.network = real(spec, parameters, alpha=alpha)
        if any(c.delay > 1 for c in self.network.connections):
            raise SpecError("spikes are not held back, so a history of past activities is not there", "synapses")
        readout = isinstance(spec.cost, CrossEntropy)
        sends = {c.source for c in self.network.connections}
        for i, p in enumerate(spec.populations):
            if not p.clamped and p.activation.kind not in FIRING and (readout or p.name in sends):
                raise SpecError(
                    f'a rate lies between 0 and 1, which "{p.activation.kind}" does not; a spiking network has '
                    f"{', '.join(FIRING)}",
                    f"populations[{i}].activation",
                )
        self.alpha = alpha

    def run(self, x: Any, steps: int) -> SpikingRun:
        """Show samples from silence on.

        Args:
            x: data of the one clamped population, ``(samples, units)``; they arrive as constant currents.
        """
        import torch
        from snntorch import Leaky

        (source,) = self.network.clamped
        data = torch.as_tensor(np.asarray(x, dtype=np.float64).reshape(len(x), -1))
        free = [p for p in self.network.populations if not p.clamped]
        still = self._still(source, data, free)
        ways = [
            (c.source, c.target, torch.as_tensor(np.array(c.weights.T)))
            for c in self.network.connections
            if c.source != source.name and c.phase != "nudged"
        ]
        cells = {p.name: Leaky(beta=1.0, threshold=1.0, reset_mechanism="subtract") for p in free}
        u = {p.name: torch.zeros_like(still[p.name]) for p in free}
        mem = {p.name: torch.zeros_like(still[p.name]) for p in free}
        fired = {p.name: torch.zeros_like(still[p.name]) for p in free}
        counts = {p.name: torch.zeros(len(data), dtype=torch.float64) for p in free}
        late = {p.name: torch.zeros_like(still[p.name]) for p in free}
        raster: dict[str, list[np.ndarray]] = {p.name: [] for p in free}
        answers = []
        with torch.no_grad():
            for step in range(steps):
                drive = {name: value.clone() for name, value in still.items()}
                for before, behind, weights in ways:
                    drive[behind] += fired[before] @ weights
                for p in free:
                    u[p.name] += p.alpha * (drive[p.name] - u[p.name])
                    if p.activation not in FIRING:
                        late[p.name] += u[p.name] * (step >= steps // 2)
                        continue
                    current = torch.sigmoid(u[p.name]) if p.activation == "sigmoid" else u[p.name]
                    fires, after = cells[p.name](current, mem[p.name])
                    fired[p.name] = fires.double()  # they come in single precision
                    mem[p.name] = after.clamp(*HELD)
                    counts[p.name] += fired[p.name].sum(dim=1)
                    late[p.name] += fired[p.name] * (step >= steps // 2)
                    units = torch.nonzero(fired[p.name][0])[:, 0].numpy()
                    raster[p.name].append(np.stack([np.full_like(units, step), units], axis=1))
                answers.append(u[self.network.output].argmax(dim=1).numpy().astype(np.int32))
        firing = [p.name for p in free if p.activation in FIRING]
        return SpikingRun(
            network=self.network,
            rates={name: (total / (steps - steps // 2)).numpy() for name, total in late.items()},
            answers=np.array(answers, dtype=np.int32).reshape(steps, len(data)),
            spikes={name: counts[name].numpy() for name in firing},
            raster={name: np.concatenate([np.zeros((0, 2)), *raster[name]]).astype(np.int32) for name in firing},
        )

    def _still(self, source: RealPopulation, data: torch.Tensor, free: list[RealPopulation]) -> dict[str, torch.Tensor]:
        """What data and biases drive."""
        import torch

        still = {p.name: torch.as_tensor(p.bias).expand(len(data), p.size).clone() for p in free}
        for c in self.network.connections:
            if c.source == source.name:
                still[c.target] += data @ torch.as_tensor(np.array(c.weights.T))
        return still
