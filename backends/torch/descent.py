"""Steps of the optimisers on all parameters as two long rows: a few kernels instead of a dozen for each of them.

That is for a GPU, where a launch costs more than a small array.  On a CPU the copies cost more than the steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from neuro_eq.arrays import Array, Parameters
from neuro_eq.optimizers import SGD, Adam, Optimizer, OptimizerState


def stepped(
    optimizer: Optimizer, parameters: Parameters, gradient: Parameters, state: OptimizerState, scale: float
) -> tuple[dict[str, Array], OptimizerState]:
    """As :meth:`~neuro_eq.optimizers.Optimizer.step`, to the last bit.

    A step is elementwise, so it does not matter in which array a number stands, but for the decay of weights.
    """
    alike = len({value.dtype for value in (*parameters.values(), *gradient.values())}) == 1
    if type(optimizer) not in (SGD, Adam) or not alike:
        return optimizer.step(parameters, gradient, state, scale)
    decayed = [name for name, value in parameters.items() if optimizer.decay(name, value, 1.0)]
    # A row of two axes decays as weights do, and one of one axis does not.
    rows = {"decayed": (decayed, (1, -1)), "others": ([name for name in parameters if name not in decayed], (-1,))}
    rows = {row: part for row, part in rows.items() if part[0]}

    def joined(values: Parameters) -> dict[str, Tensor]:
        return {row: _join([values[name] for name in names]).view(shape) for row, (names, shape) in rows.items()}

    def apart(values: Parameters) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for row, (names, _) in rows.items():
            sizes = [parameters[name].numel() for name in names]
            for name, part in zip(names, values[row].view(-1).split(sizes), strict=True):
                found[name] = part.view(parameters[name].shape)
        return {name: found[name] for name in parameters}

    before = OptimizerState(state.steps, {name: joined(values) for name, values in state.moments.items()})
    after, new = optimizer.step(joined(parameters), joined(gradient), before, scale)
    return apart(after), OptimizerState(new.steps, {name: apart(values) for name, values in new.moments.items()})


def _join(values: Sequence[Tensor]) -> Tensor:
    return torch.cat([value.reshape(-1) for value in values])
