"""The PyTorch engine: the equations of :mod:`neuro_eq.dynamics` on tensors.

The drives are analytic, so what settles and what learns locally needs no autograd, and none keeps a record of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from neuro_eq.abilities import Ability, Agreement
from neuro_eq.arrays import Activities, Array, Parameters
from neuro_eq.backends.torch import devices
from neuro_eq.backends.torch.descent import stepped
from neuro_eq.backends.torch.drives import TensorDrives
from neuro_eq.backends.torch.layout import Layout
from neuro_eq.backends.torch.learning import contrasts
from neuro_eq.backends.torch.memory import enough_memory, unrecorded, unrecorded_answer
from neuro_eq.backends.torch.recordings import Recordings, capture_on
from neuro_eq.backends.torch.reversible import reversible_gradient
from neuro_eq.backends.torch.settling import CompactSettling
from neuro_eq.backends.torch.unrolled import unrolled_gradient
from neuro_eq.engine import Engine
from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import BackendError
from neuro_eq.optimizers import Optimizer, OptimizerState
from neuro_eq.relaxing import Settling, Task
from neuro_eq.solvers import Anderson, BlockGaussSeidel, Picard, Solver
from neuro_eq.spec import Network

ON_THE_CPU, ON_A_GPU = 8, 16
"""Steps between two questions whether samples have stopped; a device of its own has to be waited for."""


@dataclass(frozen=True)
class Still:
    """The drive by inputs and biases of one batch, with what it was computed from."""

    theta: Mapping[str, Array]
    inputs: Mapping[str, Array]
    drive: Activities


class TorchEngine(Engine):
    """Tensors on one device.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …; the CPU by default.
        threads: sets torch's number of CPU threads, which is one for the whole process; left alone by default.
            Networks of a few hundred units are fastest with 1.
        tf32: whether a GPU may round float32 products to 10 bits, which is faster; set for the whole process.

    The same numbers give the same numbers again, on a GPU as well: no operation of ours adds in an order that may
    change.  (Autograd does where backpropagation through time goes through a table of words.)
    """

    name: ClassVar[str] = "torch"
    solvers: ClassVar[tuple[type[Solver], ...]] = (Picard, BlockGaussSeidel, Anderson)
    lacks: ClassVar[Mapping[Ability, str]] = {}
    agreement: ClassVar[Mapping[str, Agreement]] = {
        "float64": Agreement(
            1e-10, 1e-10, 1e-13, "sums are ordered differently: a few hundred terms of 2⁻⁵³ each, over 1 − L"
        ),
        "float32": Agreement(
            1e-5, 1e-5, 8 * 2.0**-23, "a state is known to about 10·2⁻²⁴; a contrast divides that by β"
        ),
    }

    def __init__(
        self,
        spec: Network,
        dtype: str = "float64",
        seed: int = 0,
        device: str = "cpu",
        threads: int | None = None,
        tf32: bool = False,
    ) -> None:
        self.device = devices.device_of(device)
        if threads is not None:
            if type(threads) is not int or threads < 1:
                raise BackendError(f"threads: expected a whole number of at least 1, found {threads!r}")
            torch.set_num_threads(threads)
        if self.device.type == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = bool(tf32)
        self.layout = Layout(spec)
        self._still: Still | None = None
        self.recordings = Recordings(capture_on(self.device)) if devices.is_gpu(self.device) else None
        super().__init__(spec, dtype, seed)

    def asarray(self, values: Any) -> Array:
        with enough_memory(f"an array of shape {list(np.shape(values))}"):
            if isinstance(values, torch.Tensor):
                return values.detach().to(self.device, self._kind(values.is_complex()), copy=True)
            array = np.asarray(values)
            return torch.tensor(array, dtype=self._kind(np.iscomplexobj(array)), device=self.device)

    def own(self, values: Any) -> Array:
        if isinstance(values, torch.Tensor):
            return values.detach().to(self.device, self._kind(values.is_complex()))
        return self.asarray(values)

    def to_numpy(self, values: Array) -> np.ndarray:
        if isinstance(values, torch.Tensor):
            return values.detach().cpu().numpy()
        return np.asarray(values)

    def _kind(self, is_complex: bool) -> torch.dtype:
        real = torch.float64 if self.dtype == "float64" else torch.float32
        return real.to_complex() if is_complex else real

    def _begin(self, task: Task) -> Settling:
        batch, phases = next(iter(task.starts[0].values())).shape[0], len(task.betas)
        with unrecorded(batch, phases):
            beta = self.asarray(np.repeat(np.asarray(task.betas), batch))
            theta, still = self._theta, self._still_drive(task)
            if beta.is_complex():
                task, theta, still = _complex_task(task), _complex(theta), _complex(still)
            drives = TensorDrives(self.dynamics, theta, task, beta, still)
            tol = None if task.tol is None else self.asarray(task.tol)
            check_every = ON_A_GPU if devices.is_gpu(self.device) else ON_THE_CPU
            return CompactSettling(self.layout, drives, task, tol, check_every, self.recordings)

    def _still_drive(self, task: Task) -> Activities:
        """What inputs and biases drive.

        The nudged phases of a batch follow its free phase with the same data and weights, so the last one is kept.
        """
        kept, theta = self._still, self._theta
        if kept is not None and kept.theta is theta and all(kept.inputs[n] is x for n, x in task.inputs.items()):
            return kept.drive
        a = self.dynamics.activities(task.starts[0], task.inputs, theta)
        self._still = Still(theta, dict(task.inputs), self.dynamics.still_drive(a, theta))
        return self._still.drive

    def stepped(
        self, optimizer: Optimizer, gradient: Parameters, state: OptimizerState, scale: float = 1.0
    ) -> tuple[dict[str, Array], OptimizerState]:
        if not devices.is_gpu(self.device):
            return super().stepped(optimizer, gradient, state, scale)
        return stepped(optimizer, self.parameters, gradient, state, scale)

    def _not_finite(self, arrays: Parameters) -> str | None:
        # Of a GPU one question for all; a network has dozens of arrays, most of them small.
        one = devices.is_gpu(self.device) and bool(arrays)
        if one and bool(torch.cat([value.reshape(-1) for value in arrays.values()]).isfinite().all()):
            return None
        return super()._not_finite(arrays)

    def contrast(self, above: Equilibrium, below: Equilibrium, width: float) -> dict[str, Array]:
        given = (above.states, above.activities, below.states, below.activities, self._theta)
        with unrecorded(above.batch, 2):
            if self.recordings is None:
                return self._contrast(width, *given)
            # The nudge may change from batch to batch, and what is recorded shall not.
            found = self.recordings.repeat("contrast", partial(self._contrast, 1.0), *given)
            return dict(zip(found, torch._foreach_div(list(found.values()), width), strict=True))

    def _contrast(
        self,
        width: float,
        upper_u: Activities,
        upper: Activities,
        lower_u: Activities,
        lower: Activities,
        theta: Parameters,
    ) -> dict[str, Array]:
        dense = contrasts(self.spec, upper, lower, width)
        ahead, behind = (
            self.dynamics.energy_gradient(u, a, theta, apart=dense.keys())
            for u, a in ((upper_u, upper), (lower_u, lower))
        )
        rest = {name: (ahead[name] - behind[name]) / width for name in ahead}
        return {**rest, **{f"{name}.weight": weight for name, weight in dense.items()}}

    def energy_gradient(self, state: Equilibrium) -> dict[str, Array]:
        with unrecorded(state.batch):
            states, activities, theta = state.states, state.activities, self._theta
            if any(u.is_complex() for u in states.values()):
                activities, theta = _complex(activities), _complex(theta)
            return self.dynamics.energy_gradient(states, activities, theta)

    def unrolled_gradient(
        self, x: Any, y: Any, solver: Picard, steps: int, kept_every: int = 1
    ) -> tuple[dict[str, Array], Activities]:
        task = self._task(x, None, (0.0,), None, solver, None, steps, None)
        return unrolled_gradient(self, task, self.target(y, self.batch(x)), steps, kept_every)

    def reversible_gradient(self, x: Any, y: Any, solver: Picard, steps: int) -> tuple[dict[str, Array], Activities]:
        task = self._task(x, None, (0.0,), None, solver, None, steps, None)
        return reversible_gradient(self, task, self.target(y, self.batch(x)), steps)

    energy = unrecorded_answer(Engine.energy)
    output = unrecorded_answer(Engine.output)
    cost = unrecorded_answer(Engine.cost)
    cost_slope = unrecorded_answer(Engine.cost_slope)
    cost_gradient = unrecorded_answer(Engine.cost_gradient)
    drive_vjp = unrecorded_answer(Engine.drive_vjp)
    transposed = unrecorded_answer(Engine.transposed)
    response = unrecorded_answer(Engine.response)
    slope = unrecorded_answer(Engine.slope)


def _complex(values: Mapping[str, Array]) -> dict[str, Array]:
    """Torch multiplies no complex matrix with a real one."""
    return {name: value.to(value.dtype.to_complex()) for name, value in values.items()}


def _complex_task(task: Task) -> Task:
    return replace(task, inputs=_complex(task.inputs), anchor=None if task.anchor is None else _complex(task.anchor))
