"""What one gradient takes of memory and time, in a process of its own: the torch engine on a CPU.

Memory is counted twice.  *allocated* is exact: torch's profiler reports every block that its allocator gives and takes
back, and the peak is that of their running sum above what lay there before, without the gradient that is handed out.
NumPy's arrays are not in it.  *process* has everything: the highest resident set above that before (Linux only).
Parameters and data are in neither.  Time is the processor's.

``python -m neuro_eq.experiments.training.footprint`` is the child; it reads its task from standard input.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from neuro_eq.compiler import compile as compile_network
from neuro_eq.engine import Engine
from neuro_eq.errors import BackendError
from neuro_eq.experiments.training.lessons import Lessons
from neuro_eq.frozen import Frozen
from neuro_eq.methods import CheckpointedBPTT, Reversible
from neuro_eq.solvers import Picard, Relaxation
from neuro_eq.spec import Network
from neuro_eq.specfile import from_toml, to_toml

Way = Literal[
    "local", "dyadic", "bptt", "checkpointed bptt", "reversible", "one application", "jfb", "phantom", "implicit",
    "torchdeq",
]  # fmt: skip
"""To a gradient; "one application" is backpropagation through one step, "torchdeq" the implicit one of that library."""

REVERSIBLE = 10.0
"""T·α of steps that are taken back, at most."""

NUDGED = 10
"""Steps of the nudged phases where their number is fixed."""


class Task(Frozen):
    """What a child measures.

    Args:
        network: TOML of the network, which stands at its start values.
        way: to the gradient.
        steps: T, of the free phase, exactly so many; None settles as in training.
        batch: samples.
        beta: of ways that nudge.
        rounds: times that the time is taken; the median counts.  With 0 it is not taken.
    """

    network: str
    way: Way
    steps: int | None = 30
    batch: int = Field(default=32, ge=1)
    beta: float = 0.5
    dtype: str = "float32"
    rounds: int = Field(default=3, ge=0)


def footprint(spec: Network, **task: Any) -> dict[str, float]:
    """``allocated`` and ``process`` in bytes, ``seconds``: of one gradient; not a number where it cannot be had.

    Raises:
        BackendError: the child failed, and says how.
    """
    asked = Task(network=to_toml(spec), **task)
    # A worker of a cluster has its own way with memory, which users do not have.
    usual = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-m", "neuro_eq.experiments.training.footprint"],
        input=asked.model_dump_json(), capture_output=True, text=True, check=False, env=usual,
    )  # fmt: skip
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "it said nothing"
        raise BackendError(f"measuring {asked.way}: {last}", done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def parameter_bytes(spec: Network, dtype: str = "float32") -> int:
    """What the parameters take."""
    return sum(math.prod(shape) for shape in spec.parameter_shapes.values()) * int(np.dtype(dtype).itemsize)


def processor_seconds(run: Callable[[], object], rounds: int) -> float:
    """The processor's time for a run, the median of some; not a number where there are none."""
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        taken.append(time.process_time() - began)
    return float(np.median(taken)) if taken else math.nan


Gradient = Callable[[Any, Any], dict[str, Any]]


def gradient_of(net: Engine, task: Task) -> Gradient:
    """The way, as a function of data and labels."""
    if task.way == "torchdeq":
        return lambda x, y: torchdeq_gradient(net, x, y, task.steps or 30)
    lessons = Lessons(beta=task.beta, max_steps=task.steps or 200)
    if task.way == "checkpointed bptt":
        method: Any = CheckpointedBPTT(lessons.max_steps)
    elif task.way == "reversible":
        method = Reversible(lessons.max_steps)
    elif task.way == "one application":
        method = lessons.model_copy(update={"rule": "bptt", "max_steps": 1}).method(net.spec)
    else:
        method = lessons.model_copy(update={"rule": task.way}).method(net.spec)
    free = nudged = lessons.free
    if task.steps is not None:
        # Many large steps cannot be taken back; smaller ones go as far in all, and take as much memory.
        alpha = min(0.5, REVERSIBLE / task.steps) if task.way == "reversible" else 0.5
        free, nudged = (Relaxation(solver=Picard(alpha), tol=None, max_steps=n) for n in (task.steps, NUDGED))
        if task.way == "dyadic":
            nudged = free
    return lambda x, y: method.gradient(net, x, y, free=free, nudged=nudged)[0]


def torchdeq_gradient(net: Any, x: Any, y: Any, steps: int) -> dict[str, Any]:
    """The implicit gradient of the same equations, ``a = ρ(drive(a))``, by torchdeq."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its sources
        from torchdeq import get_deq
    dynamics, free, batch = net.dynamics, net.spec.free, len(y)
    inputs, target = net.inputs(x), net.target(y, batch)
    theta = {name: value.detach().requires_grad_() for name, value in net.parameters.items()}
    like = next(iter(theta.values()))
    zero = {p.name: like.new_zeros((batch, *p.shape)) for p in free}
    still = dynamics.still_drive(dynamics.activities(zero, inputs, theta), theta)

    def split(z: Any) -> dict[str, Any]:
        parts = z.split([p.size for p in free], dim=1)
        return {**inputs, **{p.name: part.view(-1, *p.shape) for p, part in zip(free, parts, strict=True)}}

    def join(values: Any) -> Any:
        return torch.cat([values[p.name].flatten(1) for p in free], dim=1)

    def step(z: Any, tau: float = 1.0) -> Any:
        moving = dynamics.moving_drive(split(z), theta)
        new = join(dynamics.activities({name: still[name] + value for name, value in moving.items()}, inputs, theta))
        return new if tau == 1.0 else tau * new + (1.0 - tau) * z

    deq = get_deq(
        f_solver="fixed_point_iter", b_solver="fixed_point_iter", f_max_iter=steps, f_tol=0.0, b_max_iter=steps,
        b_tol=0.0, ift=True,
    )  # fmt: skip
    (*_, end), _ = deq(step, join(zero))
    cost = dynamics.cost(split(end), target, theta).mean()
    found = torch.autograd.grad(cost, list(theta.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(theta, found, strict=True))


# -- the child ------------------------------------------------------------------------------------------------------


def allocated(run: Callable[[], dict[str, Any]]) -> float:
    """The highest sum of the blocks that torch's allocator gave, without those that the gradient lies in."""
    from torch._C._profiler import _EventType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        gradient = run()
    blocks: list[tuple[int, int, int]] = []
    waiting = list(recorded.profiler.kineto_results.experimental_event_tree())
    while waiting:
        event = waiting.pop()
        waiting += event.children
        if event.tag == _EventType.Allocation:
            fields = event.extra_fields
            blocks.append((event.start_time_ns, fields.ptr, fields.alloc_size))
    blocks.sort()
    kept = {value.untyped_storage().data_ptr() for value in gradient.values()}
    # An address is given more than once; what lies there at the end was given last.
    final = {address: when for when, address, size in blocks if size > 0 and address in kept}
    now = peak = 0
    for when, address, size in blocks:
        if final.get(address) != when:
            now += size
            peak = max(peak, now)
    return float(peak)


def process(run: Callable[[], dict[str, Any]]) -> float:
    """The highest resident set above that before, without the gradient; not a number where the system keeps none."""
    reset = Path("/proc/self/clear_refs")
    try:
        reset.write_text("5", encoding="ascii")
    except OSError:
        return math.nan

    def status(field: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))

    before = status("VmRSS")
    gradient = run()
    own = sum(value.numel() * value.element_size() for value in gradient.values())
    return float(status("VmHWM") - before - own)


def main() -> None:
    """Measure one task; the last line that is printed is the answer."""
    task = Task.model_validate_json(sys.stdin.read())
    spec = from_toml(task.network)
    net = compile_network(spec, "torch", task.dtype, threads=1)
    rng = np.random.default_rng(0)
    given = spec.given[0]
    x = rng.random((task.batch, *given.shape), dtype=np.float32)
    y = rng.integers(0, spec.cost.outputs(spec.shapes) if spec.cost else 1, task.batch)
    gradient = gradient_of(net, task)
    try:
        gradient(x[:2], y[:2])  # what is loaded on the way is there from now on
    except ImportError:
        print(json.dumps({"allocated": math.nan, "process": math.nan, "seconds": math.nan}))
        return
    # The process first: what it has freed stays with it, and would be used again without a trace.
    found = {"process": process(lambda: gradient(x, y))}
    found["seconds"] = processor_seconds(lambda: gradient(x, y), task.rounds)
    found["allocated"] = allocated(lambda: gradient(x, y))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
