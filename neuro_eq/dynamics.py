r"""The whole network's energy, drive and derivatives, assembled from its parts.

    drive_p(a) = −Σ_s ∂e_s/∂a_p + Σ_directed f_s(a),        τ du_p/dt = drive_p(a) − u_p
    G(a) = Σ_p [⟨u_p, a_p⟩ − L_p(u_p)] + Σ_s e_s(a)          over free populations p

Pure functions of the arrays given to them: the reference and torch engines relax with them, and every engine
uses them where speed does not matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from array_api_compat import array_namespace

from neuro_eq.arrays import Activities, Array, Parameters, Samples, inner, sum_units
from neuro_eq.costs import Cost
from neuro_eq.errors import SpecError
from neuro_eq.spec import Network
from neuro_eq.synapses import SymmetricSynapse, Synapse


@dataclass(frozen=True)
class Energy:
    """``G`` of each sample, and the terms that it is the sum of.

    ``terms`` has ``"population"`` entries ``⟨u, a⟩ − L(u)`` and ``"synapse"`` entries ``e_s``, each ``(batch,)``.
    """

    total: Samples
    terms: Mapping[str, Samples]


class Dynamics:
    """The equations of one network."""

    def __init__(self, spec: Network) -> None:
        clamped = frozenset(p.name for p in spec.clamped)
        self.spec = spec
        self.free = frozenset(p.name for p in spec.free)
        self.still = tuple(s for s in spec.synapses if s.still(clamped))
        self.moving = tuple(s for s in spec.synapses if not s.still(clamped))

    def own(self, theta: Parameters, owner: str) -> dict[str, Array]:
        """The parameters of one synapse, population or cost, by their short names."""
        start = owner + "."
        return {key[len(start) :]: value for key, value in theta.items() if key.startswith(start)}

    def activities(self, u: Activities, inputs: Activities, theta: Parameters) -> dict[str, Array]:
        """``a = ρ(u)`` of the free populations, and the data of the clamped ones."""
        free = {p.name: p.activation.activity(u[p.name], self.own(theta, p.name)) for p in self.spec.free}
        return {**inputs, **free}

    def still_drive(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        """The part of the drive that depends on inputs and biases only: once a phase is enough."""
        return self._sum(a, (s.drive(a, self.own(theta, s.name), self.free) for s in self.still))

    def moving_drive(self, a: Activities, theta: Parameters, onto: Collection[str] | None = None) -> dict[str, Array]:
        """The part of the drive that changes while the network settles; ``onto`` some of the free populations."""
        felt = self.free if onto is None else onto
        return self._sum(a, (s.drive(a, self.own(theta, s.name), felt) for s in self._driving(self.moving, felt)), felt)

    def drive(self, a: Activities, theta: Parameters) -> dict[str, Array]:
        """``drive_p(a)`` of every free population, without a nudge."""
        still, moving = self.still_drive(a, theta), self.moving_drive(a, theta)
        return {name: still[name] + moving[name] for name in still}

    def nudge(self, a: Activities, y: Array, beta: Array, theta: Parameters) -> Array:
        """``−β ∂C/∂a`` on the cost's population; ``beta`` has one value per sample."""
        cost = self._cost()
        gradient = cost.activity_gradient(a, y, self.own(theta, cost.name))
        xp = array_namespace(gradient)
        return -xp.reshape(beta, (-1,) + (1,) * (gradient.ndim - 1)) * gradient

    def asymmetry(
        self, anchor: Activities, a: Activities, theta: Parameters, onto: Collection[str] | None = None
    ) -> dict[str, Array]:
        """``(Dᵀ − D)(a − a*)`` with D at ``a* = anchor``; symmetric synapses cancel and are skipped."""
        felt = self.free if onto is None else onto
        delta = {name: a[name] - anchor[name] for name in a}
        parts = (s.asymmetry(anchor, delta, self.own(theta, s.name), felt) for s in self.spec.asymmetric)
        return self._sum(a, parts, felt)

    def slope(self, u: Activities, v: Activities, theta: Parameters) -> dict[str, Array]:
        """``ρ'(u) v`` of every free population."""
        return {p.name: p.activation.slope(u[p.name], v[p.name], self.own(theta, p.name)) for p in self.spec.free}

    def response(self, a: Activities, delta: Activities, theta: Parameters) -> dict[str, Array]:
        """``D δ`` with ``D = ∂drive/∂a`` at ``a``; ``delta`` names the free populations."""
        full = self._with_still_inputs(a, delta)
        return self._sum(a, (s.response(a, full, self.own(theta, s.name), self.free) for s in self.moving))

    def transposed(self, a: Activities, lam: Activities, theta: Parameters) -> dict[str, Array]:
        """``Dᵀ λ`` with ``D = ∂drive/∂a`` at ``a``; ``lam`` names the free populations."""
        full = self._with_still_inputs(a, lam)
        return self._sum(a, (s.transposed(a, full, self.own(theta, s.name), self.free) for s in self.moving))

    def energy(self, u: Activities, a: Activities, theta: Parameters, known: Activities | None = None) -> Energy:
        """``G`` per sample and per term.  A directed synapse has no energy and is left out.

        Args:
            known: terms of synapses that need not be computed.
        """
        known = known or {}
        terms: dict[str, Array] = {}
        for p in self.spec.free:
            lagrangian = p.activation.lagrangian(u[p.name], self.own(theta, p.name))
            terms[p.name] = inner(u[p.name], a[p.name]) - lagrangian
        for synapse in self.spec.synapses:
            if isinstance(synapse, SymmetricSynapse):
                name = synapse.name
                terms[name] = known[name] if name in known else synapse.energy(a, self.own(theta, name))
        total: Array = sum(terms.values())
        return Energy(total=total, terms=terms)

    def energy_gradient(
        self, u: Activities, a: Activities, theta: Parameters, apart: Collection[str] = ()
    ) -> dict[str, Array]:
        """``∂G/∂θ`` at fixed activities *and* potentials, mean over the batch (so ρ's parameters give ``−∂L/∂θ``).

        ``apart`` from the synapses of these names.
        """
        gradient: dict[str, Array] = {}
        for synapse in self.spec.synapses:
            if isinstance(synapse, SymmetricSynapse) and synapse.name not in apart:
                own = synapse.gradient(a, self.own(theta, synapse.name))
                gradient.update({f"{synapse.name}.{name}": value for name, value in own.items()})
        for p in self.spec.free:
            own = p.activation.lagrangian_gradient(u[p.name], self.own(theta, p.name))
            gradient.update({f"{p.name}.{name}": -value for name, value in own.items()})
        return gradient

    def drive_vjp(
        self, u: Activities, a: Activities, lam: Activities, mu: Activities, theta: Parameters
    ) -> dict[str, Array]:
        """``(∂drive/∂θ)ᵀ λ + (∂ρ/∂θ)ᵀ μ``, mean over the batch."""
        full = self._with_still_inputs(a, lam)
        gradient: dict[str, Array] = {}
        for synapse in self.spec.synapses:
            own = synapse.drive_vjp(a, full, self.own(theta, synapse.name))
            gradient.update({f"{synapse.name}.{name}": value for name, value in own.items()})
        for p in self.spec.free:
            own = p.activation.activity_vjp(u[p.name], mu[p.name], self.own(theta, p.name))
            gradient.update({f"{p.name}.{name}": value for name, value in own.items()})
        return gradient

    def cost(self, a: Activities, y: Array, theta: Parameters) -> Samples:
        """``C(a, y)`` per sample."""
        cost = self._cost()
        return cost.value(a, y, self.own(theta, cost.name))

    def cost_slope(self, a: Activities, y: Array, theta: Parameters) -> dict[str, Array]:
        """``∂C/∂a`` of every free population (zero where the cost does not look)."""
        slope = {p.name: array_namespace(a[p.name]).zeros_like(a[p.name]) for p in self.spec.free}
        return {**slope, **self.cost_slope_there(a, y, theta)}

    def cost_slope_there(self, a: Activities, y: Array, theta: Parameters) -> dict[str, Array]:
        """``∂C/∂a`` of the one population that the cost looks at."""
        cost = self._cost()
        return {cost.population: cost.activity_gradient(a, y, self.own(theta, cost.name))}

    def cost_gradient(self, a: Activities, y: Array, theta: Parameters) -> dict[str, Array]:
        """``∂C/∂θ`` of the readout's own parameters, mean over the batch."""
        cost = self._cost()
        own = cost.parameter_gradient(a, y, self.own(theta, cost.name))
        return {f"{cost.name}.{name}": value for name, value in own.items()}

    def output(self, a: Activities, theta: Parameters) -> Array:
        """The network's answer, ``(batch, n_out)``."""
        cost = self._cost()
        return cost.output(a, self.own(theta, cost.name))

    def mean_square(self, x: Activities) -> Samples:
        """Mean over a sample's free units of ``|x|²``: the square of the RMS that residuals are measured in.

        A population that ``x`` does not name counts as zeros.
        """
        total: Array = sum(sum_units(abs(x[p.name]) ** 2) for p in self.spec.free if p.name in x)
        return total / self.spec.free_units

    def _cost(self) -> Cost:
        if self.spec.cost is None:
            raise SpecError("the network has no cost, so there is nothing to nudge towards or to learn", "cost")
        return self.spec.cost

    def _with_still_inputs(self, a: Activities, change: Activities) -> dict[str, Array]:
        still = {p.name: array_namespace(a[p.name]).zeros_like(a[p.name]) for p in self.spec.clamped}
        return {**still, **change}

    @staticmethod
    def _driving(synapses: Iterable[Synapse], onto: Collection[str]) -> Iterable[Synapse]:
        return (s for s in synapses if any(name in onto for name in s.driven))

    def _sum(self, a: Activities, parts: Iterable[Activities], onto: Collection[str] | None = None) -> dict[str, Array]:
        names = [p.name for p in self.spec.free if onto is None or p.name in onto]
        total: dict[str, Array] = {name: array_namespace(a[name]).zeros_like(a[name]) for name in names}
        for part in parts:
            for name, value in part.items():
                total[name] = total[name] + value
        return total
