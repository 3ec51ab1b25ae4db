"""No step looks at a number: on a GPU that would make the program wait for it.

Tensors on torch's ``meta`` device have shapes and no numbers, and raise where one is asked for.
"""

from __future__ import annotations

import pytest

import neuro_eq as ne
from neuro_eq.dynamics import Dynamics
from neuro_eq.relaxing import Task
from neuro_eq.settling.anderson import AndersonStepper
from neuro_eq.settling.drives import Drives
from neuro_eq.settling.gauss_seidel import GaussSeidelStepper
from neuro_eq.settling.picard import PicardStepper


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("stepper", "solver"),
    [(PicardStepper, ne.Picard()), (GaussSeidelStepper, ne.BlockGaussSeidel()), (AndersonStepper, ne.Anderson())],
    ids=["picard", "gauss_seidel", "anderson"],
)
@pytest.mark.parametrize("activation", ["tanh", "hard_sigmoid"])
def test_a_step_looks_at_no_number(need, samples, stepper, solver, activation, dtype):
    need("torch")
    import torch

    spec = ne.models.looped_mlp(4, 6, 3, symmetric=False, cost="squared_error")
    populations = [
        p if p.clamped else p.model_copy(update={"activation": ne.activations.ACTIVATIONS[activation]()})
        for p in spec.populations
    ]
    spec = ne.Network(populations=populations, synapses=spec.synapses, cost=spec.cost)

    def bare(*shape: int) -> torch.Tensor:
        return torch.empty(shape, dtype=getattr(torch, dtype), device="meta")

    data = samples(spec, 5, 0)
    inputs = {name: bare(*value.shape) for name, value in data.x.items()}
    start = {name: bare(*value.shape) for name, value in data.start.items()}
    theta = {name: bare(*shape) for name, shape in spec.parameter_shapes.items()}
    task = Task(
        inputs=inputs,
        target=bare(*data.y.shape),
        betas=(0.1, -2.0),
        starts=(start, start),
        anchor={**inputs, **start},
        solver=solver,
        tol=None,
        max_steps=3,
    )
    u = {name: torch.cat([value, value]) for name, value in start.items()}
    with pytest.raises(RuntimeError):
        bool(u["hidden"].any())
    moves = stepper(Drives(Dynamics(spec), theta, task, bare(10), u), solver)
    for _ in range(7):
        moved = moves.step(u, moves.drive(u))
        assert {name: (value.shape, value.dtype) for name, value in moved.items()} == {
            name: (value.shape, value.dtype) for name, value in u.items()
        }
        assert all(value.device.type == "meta" for value in moved.values())
        u = moved
