"""The Lava engine: relaxations run as a Lava process in a child interpreter; learning is computed by the host.

``floating_pt``: the numbers are float64 and equal the oracle's.  The child speaks raw arrays over a pipe (see
``child/wire.py``); it is started with the first relaxation and lives as long as the engine.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from neuro_eq.abilities import Ability, Agreement
from neuro_eq.arrays import Activities, Array, flat
from neuro_eq.backends.lava import environment
from neuro_eq.backends.lava.client import LavaClient
from neuro_eq.engine import Engine
from neuro_eq.errors import BackendError
from neuro_eq.relaxing import Settling, Snapshot, Task
from neuro_eq.solvers import Picard
from neuro_eq.spec import Network
from neuro_eq.synapses import Bias, Dense, DirectedDense


class LavaEngine(Engine):
    """One Lava process holds the whole network; one Lava time step is one relaxation step.

    Args:
        timeout: seconds that one request to the child may take before it is ended.
    """

    name: ClassVar[str] = "lava"
    dtypes: ClassVar[tuple[str, ...]] = ("float64",)
    lacks: ClassVar[Mapping[Ability, str]] = {
        Ability.COMPLEX_NUDGE: "a chip's states are real numbers",
        Ability.LINEAR_RESPONSE: "a chip can settle, but it cannot be asked for Dᵀ and ρ'; use EqProp or AsymEP",
        Ability.AUTOGRAD: "a chip keeps no record of its steps; use EqProp or AsymEP",
    }
    synapse_kinds: ClassVar[tuple[str, ...] | None] = ("dense", "directed_dense", "bias")
    cost_kinds: ClassVar[tuple[str, ...] | None] = ("squared_error", "cross_entropy")
    activation_kinds: ClassVar[tuple[str, ...] | None] = (
        "identity", "relu", "hard_sigmoid", "sigmoid", "tanh", "softmax",
    )  # fmt: skip
    agreement: ClassVar[Mapping[str, Agreement]] = {
        "float64": Agreement(
            1e-10, 1e-10, 1e-13, "float64 in NumPy inside Lava: sums are ordered differently, a few hundred of 2⁻⁵³"
        ),
    }

    def __init__(self, spec: Network, dtype: str = "float64", seed: int = 0, timeout: float = 60.0) -> None:
        if not isinstance(timeout, (int, float)) or not timeout > 0:
            raise BackendError(f"timeout: expected a positive number of seconds, found {timeout!r}")
        self.timeout = timeout
        self._client: LavaClient | None = None
        self._sent = False
        super().__init__(spec, dtype, seed)

    def asarray(self, values: Any) -> Array:
        return np.array(values, dtype=np.float64, order="C")

    def to_numpy(self, values: Array) -> np.ndarray:
        return np.asarray(values)

    def set_parameters(self, values: Mapping[str, Any], adopt: bool = False) -> None:
        super().set_parameters(values, adopt)
        self._sent = False

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def client(self) -> LavaClient:
        """The child, started when it is first needed and told of new parameters."""
        if self._client is None or self._client.closed:
            self._client = LavaClient(environment.find(), timeout=self.timeout)
            self._sent = False
        if not self._sent:
            self._client.network(*self._description())
            self._sent = True
        return self._client

    def _begin(self, task: Task) -> Settling:
        return LavaSettling(self, task)

    def _description(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays: dict[str, np.ndarray] = {}
        synapses: list[dict[str, Any]] = []
        theta = self.parameters
        for synapse in self.spec.synapses:
            if isinstance(synapse, (Dense, DirectedDense)):
                key = f"{synapse.name}.weight"
                symmetric = isinstance(synapse, Dense)
                synapses.append(
                    {"kind": "dense", "source": synapse.source, "target": synapse.target,
                     "symmetric": symmetric, "weight": key}
                )  # fmt: skip
                arrays[key] = theta[key]
            elif isinstance(synapse, Bias):
                key = f"{synapse.name}.bias"
                synapses.append({"kind": "bias", "target": synapse.target, "bias": key})
                arrays[key] = theta[key].ravel()
        cost: dict[str, Any] | None = None
        if self.spec.cost is not None:
            cost = {"kind": self.spec.cost.kind, "population": self.spec.cost.population}
            for name in self.spec.cost.parameter_shapes(self.spec.shapes):
                cost[name] = f"{self.spec.cost.name}.{name}"
                arrays[cost[name]] = theta[cost[name]]
        populations = [
            {
                "name": p.name,
                "size": p.size,
                "last_axis": p.shape[-1],
                "activation": p.activation.kind,
                "clamped": p.clamped,
            }
            for p in self.spec.populations
        ]
        return {"populations": populations, "synapses": synapses, "cost": cost}, arrays


class LavaSettling(Settling):
    """A relaxation in the child; rows are phase-major."""

    def __init__(self, engine: LavaEngine, task: Task) -> None:
        assert isinstance(task.solver, Picard), "refused earlier"
        self.engine, self.task = engine, task
        self.batch = next(iter(task.starts[0].values())).shape[0]
        self.client = engine.client()
        self.client.begin(
            u=np.concatenate([self._join(start, engine.spec.free) for start in task.starts]),
            x=self._join(task.inputs, engine.spec.clamped),
            betas=np.array(task.betas, dtype=np.float64),
            alpha=task.solver.alpha,
            max_steps=task.max_steps,
            target=task.target,
            anchor=None if task.anchor is None else self._join(task.anchor, engine.spec.free),
            tol=task.tol,
        )

    def advance(self, steps: int) -> bool:
        return self.client.advance(steps)

    def snapshot(self) -> Snapshot:
        found = self.client.snapshot()
        rows = [slice(k * self.batch, (k + 1) * self.batch) for k in range(len(self.task.betas))]
        return Snapshot(
            states=tuple(self._split(found.u[part]) for part in rows),
            residual=tuple(found.residual[part] for part in rows),
            steps=found.steps,
            status=found.status,
        )

    def _join(self, values: Activities, populations: tuple[Any, ...]) -> np.ndarray:
        if not populations:
            return np.zeros((self.batch, 0))
        return np.concatenate([flat(values[p.name]) for p in populations], axis=1)

    def _split(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        free = self.engine.spec.free
        ends = np.cumsum([p.size for p in free])[:-1]
        return {p.name: part.reshape(-1, *p.shape) for p, part in zip(free, np.split(rows, ends, axis=1), strict=True)}
