"""The gradient through the steps of a free phase, by autograd, which keeps all of them or takes them again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from neuro_eq.arrays import Activities, Parameters
from neuro_eq.backends.torch.drives import TensorDrives
from neuro_eq.backends.torch.memory import batch_of, enough_memory
from neuro_eq.relaxing import Task
from neuro_eq.settling.pacing import Pacing
from neuro_eq.settling.picard import PicardStepper
from neuro_eq.solvers import Picard

if TYPE_CHECKING:
    from neuro_eq.backends.torch.engine import TorchEngine

GRADIENT, TARGET = "gradient of ", "target"
"""Before the name of a parameter, whose gradient stands beside potentials; and the name of what is wanted."""

Place: TypeAlias = tuple[dict[str, Tensor], Pacing | None]
"""Potentials, and the histories that the next step looks back to."""


def unrolled_gradient(
    engine: TorchEngine, task: Task, target: Tensor, steps: int, kept_every: int
) -> tuple[dict[str, Tensor], Activities]:
    """The batch mean of ``dC/dθ`` after so many steps of the task, and the potentials there.

    Args:
        kept_every: with 1 autograd keeps what each step computes; with more only every so-manieth state is kept, and
            the steps between two of them are taken again on the way back.
    """
    samples = target.shape[0]
    instead = "fewer steps or CheckpointedBPTT" if kept_every == 1 else "fewer steps"
    names = tuple(engine.parameters)

    def work(theta: Parameters, inputs: Activities, start: Activities, answers: Activities) -> dict[str, Tensor]:
        here = replace(task, inputs=dict(inputs), starts=(dict(start),))
        found, u = _through_the_steps(engine, here, theta, answers[TARGET], steps, kept_every)
        return {**{f"{GRADIENT}{name}": value for name, value in found.items()}, **u}

    given = (engine.parameters, task.inputs, task.starts[0], {TARGET: target})
    with enough_memory(batch_of(samples), instead):
        # A recording keeps all that autograd does, which checkpoints are there to avoid.
        recordings = engine.recordings if kept_every == 1 else None
        if recordings is None:
            found = work(*given)
        else:
            found = recordings.repeat(("unrolled", steps, task.solver), work, *given)
    gradient = {name: found.pop(f"{GRADIENT}{name}") for name in names}
    return gradient, found


def recorded(
    engine: TorchEngine, task: Task, parameters: Parameters
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Parameters as leaves, what the network makes of them, and what they and the inputs drive, with its graph."""
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    # Where parameters are tied (W = Wᵀ) the gradient is that along admissible changes.
    theta = engine.spec.project(leaves)
    activities = engine.dynamics.activities(task.starts[0], task.inputs, theta)
    return leaves, theta, engine.dynamics.still_drive(activities, theta)


def _through_the_steps(
    engine: TorchEngine, task: Task, parameters: Parameters, target: Tensor, steps: int, kept_every: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The gradient and the potentials, of these tensors alone."""
    dynamics, solver = engine.dynamics, task.solver
    assert isinstance(solver, Picard), "methods refuse other solvers earlier"
    with torch.enable_grad():
        leaves, theta, still = recorded(engine, task, parameters)
        drives = TensorDrives(dynamics, theta, task, torch.zeros_like(target[:, 0]), still)

        def walk(u: dict[str, Tensor], pacing: Pacing | None, count: int) -> Place:
            stepper = PicardStepper(drives, solver)
            # A copy, as the same steps may have to be taken again.
            stepper.pacing = None if pacing is None else pacing.copy()
            for _ in range(count):
                u = stepper.step(u, stepper.drive(u))
            return u, stepper.pacing

        place: Place = (dict(task.starts[0]), None)
        for first in range(0, steps, kept_every) if kept_every > 1 else ():
            count = min(kept_every, steps - first)
            place = checkpoint(walk, *place, count, use_reentrant=False, preserve_rng_state=True)
        if kept_every == 1:
            place = walk(*place, steps)
        u, _ = place
        a = dynamics.activities(u, task.inputs, theta)
        cost = dynamics.cost(a, target, theta).mean()
        found = torch.autograd.grad(cost, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True)), {name: value.detach() for name, value in u.items()}
