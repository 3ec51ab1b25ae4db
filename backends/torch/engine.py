"""The PyTorch engine: the equations of :mod:`neuro_eq.dynamics` on tensors.

The drives are analytic and no tensor here asks for gradients, so no autograd graph is ever built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from neuro_eq.arrays import Array
from neuro_eq.engine import Ability, Agreement, Engine, Settling, Task
from neuro_eq.errors import BackendError
from neuro_eq.settling import ArraySettling
from neuro_eq.solvers import Anderson, BlockGaussSeidel, Picard, Solver
from neuro_eq.spec import Network

CHECK_EVERY = 16
"""Steps between two questions whether all samples have stopped, on a device that has to be waited for."""


class TorchEngine(Engine):
    """Tensors on one device.

    Args:
        device: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` …; the CPU by default.
        threads: sets torch's number of CPU threads, which is one for the whole process; left alone by default.
            Networks of a few hundred units are fastest with 1.
    """

    name: ClassVar[str] = "torch"
    solvers: ClassVar[tuple[type[Solver], ...]] = (Picard, BlockGaussSeidel, Anderson)
    lacks: ClassVar[Mapping[Ability, str]] = {
        Ability.COMPLEX_NUDGE: "its states are real tensors; the reference engine has complex ones"
    }
    agreement: ClassVar[Mapping[str, Agreement]] = {
        "float64": Agreement(
            1e-10, 1e-10, 1e-13, "sums are ordered differently: a few hundred terms of 2⁻⁵³ each, over 1 − L"
        ),
        "float32": Agreement(
            1e-5, 1e-5, 8 * 2.0**-23, "a state is known to about 10·2⁻²⁴; a contrast divides that by β"
        ),
    }

    def __init__(
        self, spec: Network, dtype: str = "float64", seed: int = 0, device: str = "cpu", threads: int | None = None
    ) -> None:
        self.device = _device(device)
        if threads is not None:
            if type(threads) is not int or threads < 1:
                raise BackendError(f"threads: expected a whole number of at least 1, found {threads!r}")
            torch.set_num_threads(threads)
        super().__init__(spec, dtype, seed)

    def asarray(self, values: Any) -> Array:
        with torch.no_grad():
            if isinstance(values, torch.Tensor):
                return values.detach().to(self.device, self._torch_dtype).clone()
            return torch.tensor(np.asarray(values), dtype=self._torch_dtype, device=self.device)

    def to_numpy(self, values: Array) -> np.ndarray:
        if isinstance(values, torch.Tensor):
            return values.detach().cpu().numpy()
        return np.asarray(values)

    @property
    def _torch_dtype(self) -> torch.dtype:
        return torch.float64 if self.dtype == "float64" else torch.float32

    def _begin(self, task: Task) -> Settling:
        check_every = 1 if self.device.type == "cpu" else CHECK_EVERY
        return ArraySettling(
            self.dynamics, self._theta, task, self.asarray, self.to_numpy, check_every, quiet=torch.no_grad
        )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(str(name))
    except RuntimeError:
        raise BackendError(f'device: torch knows no device "{name}"; use "cpu" or "cuda"') from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendError('device: torch finds no CUDA GPU here; use "cpu", or install a CUDA build of torch')
    if device.type not in ("cpu", "cuda"):
        raise BackendError(f'device: "{name}" has not been tested; use "cpu" or "cuda"')
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise BackendError(f'device: "{name}" does not exist; there are {torch.cuda.device_count()} GPUs')
    return device
