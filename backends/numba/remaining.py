r"""What memories, gated synapses, gates on steps and layer norms learn, each from its own ends.

    contrast of a memory            −γ (p⁺ ⊗ a⁺ − p⁻ ⊗ a⁻) / width,   p = softmax(b ξ a)
    drive's gradient of a memory    γ (p ⊗ λ + b p ⊙ (ξ λ − ⟨p, ξ λ⟩) ⊗ a)
    of a gated synapse              (g ⊙ λ) ⊗ a_pre,   (h ⊙ λ) ⊗ a_pre,   h ⊙ λ

A gate on steps learns nothing.  They take part in every step of a relaxation, but learn once after it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from neuro_eq.activations import sigmoid, softmax
from neuro_eq.arrays import Activities, Array, Parameters, flat
from neuro_eq.backends.numba.learning import Ends, Learned, learn
from neuro_eq.backends.numba.packing import product_with_transposed
from neuro_eq.backends.numba.workers import Workers
from neuro_eq.dynamics import Dynamics
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.synapses import GatedDense, HopfieldMemory, StepGate


def retrieved(memory: HopfieldMemory, a: Activities, theta: Parameters) -> np.ndarray:
    """``p = softmax(b ξ a)``, ``(batch, M)``."""
    scores = product_with_transposed(flat(a[memory.target]), theta[f"{memory.name}.patterns"])
    p: np.ndarray = softmax(memory.inverse_temperature * scores)
    return p


def gate_slopes(synapse: GatedDense, a: Activities, theta: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """g and h: the derivatives of a gated synapse's drive by ``W a_pre`` and by the gate's potential."""
    pre = flat(a[synapse.source])
    weight, gate, bias = (theta[f"{synapse.name}.{name}"] for name in ("weight", "gate_weight", "gate_bias"))
    g = sigmoid(product_with_transposed(pre, gate) + bias)
    return g, product_with_transposed(pre, weight) * g * (1.0 - g)


class Remaining:
    """The gradients of all parameters that are neither a dense synapse's nor a bias."""

    def __init__(self, dynamics: Dynamics, workers: Workers, dtype: str) -> None:
        spec = dynamics.spec
        self.dynamics, self.workers, self.dtype = dynamics, workers, dtype
        self.shapes = spec.parameter_shapes
        self.memories = [synapse for synapse in spec.synapses if isinstance(synapse, HopfieldMemory)]
        self.gated = [synapse for synapse in spec.synapses if isinstance(synapse, GatedDense)]
        self.gates = [synapse for synapse in spec.synapses if isinstance(synapse, StepGate)]
        self.populations = [p for p in spec.free if p.activation.parameter_shapes(p.shape)]

    def energy_gradient(self, state: Equilibrium, theta: Parameters) -> dict[str, Array]:
        """``∂G/∂θ`` at a state, mean over the batch."""
        return self._energy([(1.0, state)], theta)

    def contrast(self, above: Equilibrium, below: Equilibrium, width: float, theta: Parameters) -> dict[str, Array]:
        """``[∂G/∂θ(above) − ∂G/∂θ(below)]/width``, mean over the batch."""
        return self._energy([(1.0 / width, above), (-1.0 / width, below)], theta)

    def drive_vjp(self, state: Equilibrium, lam: Activities, mu: Activities, theta: Parameters) -> dict[str, Array]:
        """``(∂drive/∂θ)ᵀ λ + (∂ρ/∂θ)ᵀ μ`` at a state, mean over the batch."""
        a, batch = state.activities, state.batch
        gradient = self._nothing()
        ends: dict[str, Ends] = {}
        for memory in self.memories:
            p, post = retrieved(memory, a, theta), flat(lam[memory.target])
            match = product_with_transposed(post, theta[f"{memory.name}.patterns"])
            shift = memory.inverse_temperature * p * (match - np.sum(p * match, axis=1, keepdims=True))
            ends[f"{memory.name}.patterns"] = [
                (memory.gamma, p, post), (memory.gamma, shift, flat(a[memory.target])),
            ]  # fmt: skip
        for synapse in self.gated:
            g, h = gate_slopes(synapse, a, theta)
            pre, post = flat(a[synapse.source]), flat(lam[synapse.target])
            ends[f"{synapse.name}.weight"] = [(1.0, g * post, pre)]
            ends[f"{synapse.name}.gate_weight"] = [(1.0, h * post, pre)]
            gradient[f"{synapse.name}.gate_bias"] = np.mean(h * post, axis=0)
        for population in self.populations:
            name, rho = population.name, population.activation
            own = rho.activity_vjp(state.states[name], mu[name], self.dynamics.own(theta, name))
            gradient.update({f"{name}.{key}": value for key, value in own.items()})
        return {**gradient, **self._learn(ends, batch)}

    def _energy(self, states: list[tuple[float, Equilibrium]], theta: Parameters) -> dict[str, Array]:
        """``Σ factor · ∂G/∂θ(state)``; a gated synapse has no energy."""
        gradient = self._nothing()
        ends: dict[str, Ends] = {}
        for memory in self.memories:
            pairs = [
                (factor, retrieved(memory, state.activities, theta), flat(state.activities[memory.target]))
                for factor, state in states
            ]
            ends[f"{memory.name}.patterns"] = [(-memory.gamma * factor, p, a) for factor, p, a in pairs]
        for population in self.populations:
            name, rho = population.name, population.activation
            own = self.dynamics.own(theta, name)
            parts = [(factor, rho.lagrangian_gradient(state.states[name], own)) for factor, state in states]
            gradient.update({f"{name}.{key}": -sum(factor * part[key] for factor, part in parts) for key in own})
        return {**gradient, **self._learn(ends, states[0][1].batch)}

    def _nothing(self) -> dict[str, Array]:
        """What the gates on steps learn."""
        names = [f"{gate.name}.{name}" for gate in self.gates for name in ("weight", "bias")]
        return {name: np.zeros(self.shapes[name], self.dtype) for name in names}

    def _learn(self, ends: Mapping[str, Ends], batch: int) -> dict[str, Array]:
        return learn({name: Learned(pairs, 1.0 / batch) for name, pairs in ends.items()}, self.workers)
