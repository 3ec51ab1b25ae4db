"""One transformer block that settles: what a gradient takes of memory and of time, beside the other ways to get one.

    python benchmarks/transformer.py memory               # one block at T = 30, every method in a process of its own
    python benchmarks/transformer.py memory --flat        # equilibrium propagation from T = 10 to 200
    python benchmarks/transformer.py time                 # a step of EqProp, T = 30 and K = 10 + 10, beside BPTT

Memory is counted twice, each time in a fresh process that has taken a step of two samples before, so that what torch
loads on the way is there.  *allocated* is exact: torch's profiler reports every block that its CPU allocator gives and
takes back, and the peak is that of their running sum; what the gradient that is handed out lies in is left out, and
parameters and data were there before.  NumPy's arrays are not in it.  *process* has everything: the highest resident
set of the process (Linux's VmHWM, set back before the step) above the resident set before.

Times are of the processor, not of the clock, as a machine that others use too stops the clock for nobody; methods
alternate, and ratios are those within a round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import neuro_eq as ne

BATCH, WIDTH, HEADS, PATCH = 64, 256, 8, 7
STEPS, NUDGED, BETA, ALPHA = 30, 10, 0.5, 0.5
FLAT = (10, 30, 100, 200)

SPECS: dict[str, Callable[[], ne.Network]] = {
    "energy_transformer": lambda: ne.models.energy_transformer((28, 28), 10, patch=PATCH, width=WIDTH, heads=HEADS),
    "looped_transformer": lambda: ne.models.looped_transformer(
        (28, 28), 10, patch=PATCH, width=WIDTH, heads=HEADS, attention="softmax"
    ),
}
"""Softmax attention with an energy, and a conventional block without one."""


def picard(steps: int) -> ne.Relaxation:
    """So many steps, whatever comes."""
    return ne.Relaxation(solver=ne.Picard(ALPHA), tol=None, max_steps=steps)


def methods(spec: ne.Network, steps: int) -> dict[str, Callable[[ne.Engine, Any, Any], dict[str, Any]]]:
    """Each way to a gradient after so many steps."""

    def ours(method: Any, nudged: int = NUDGED) -> Callable[[ne.Engine, Any, Any], dict[str, Any]]:
        how = {"free": picard(steps), "nudged": picard(nudged)}
        return lambda net, x, y: method.gradient(net, x, y, **how)[0]

    local = ne.AsymEP(BETA) if spec.asymmetric else ne.EqProp(BETA)
    return {
        type(local).__name__: ours(local),
        "BPTT": ours(ne.BPTT(steps)),
        "checkpointed BPTT": ours(ne.CheckpointedBPTT(steps)),
        "JFB": ours(ne.JFB()),
        "dyadic": ours(ne.DyadicEP(), steps),
        "torchdeq, implicit": lambda net, x, y: torchdeq_gradient(net, x, y, steps, ift=True),
        "torchdeq, one step": lambda net, x, y: torchdeq_gradient(net, x, y, steps, grad=1),
    }


def torchdeq_gradient(net: ne.Engine, x: Any, y: Any, steps: int, **how: Any) -> dict[str, Any]:
    """The gradient by torchdeq of the same equations, ``a = ρ(drive(a))``, as its users write it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its sources
        from torchdeq import get_deq
    dynamics, free = net.dynamics, net.spec.free
    inputs, target = net.inputs(x), net.target(y, len(y))
    theta = {name: value.detach().requires_grad_() for name, value in net.parameters.items()}
    batch = len(y)
    rest = dynamics.activities({p.name: torch.zeros((batch, *p.shape)) for p in free}, inputs, theta)
    still = dynamics.still_drive(rest, theta)

    def activities(z: torch.Tensor) -> dict[str, Any]:
        parts = z.split([p.size for p in free], dim=1)
        return {**inputs, **{p.name: part.view(-1, *p.shape) for p, part in zip(free, parts, strict=True)}}

    def step(z: torch.Tensor, tau: float = 1.0) -> torch.Tensor:
        moving = dynamics.moving_drive(activities(z), theta)
        drive = {name: still[name] + value for name, value in moving.items()}
        found = dynamics.activities(drive, inputs, theta)
        new = torch.cat([found[p.name].flatten(1) for p in free], dim=1)
        return new if tau == 1.0 else tau * new + (1.0 - tau) * z

    deq = get_deq(f_solver="fixed_point_iter", b_solver="fixed_point_iter", f_max_iter=steps, f_tol=0.0,
                  b_max_iter=steps, b_tol=0.0, **how)  # fmt: skip
    zero = torch.zeros((batch, sum(p.size for p in free)))
    (*_, z), _ = deq(step, zero)
    cost = dynamics.cost(activities(z), target, theta).mean()
    found = torch.autograd.grad(cost, list(theta.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(theta, found, strict=True))


def problem(model: str) -> tuple[ne.Engine, np.ndarray, np.ndarray]:
    """A network as it starts, and random data."""
    rng = np.random.default_rng(0)
    net = ne.compile(SPECS[model](), backend="torch", dtype="float32", threads=1)
    return net, rng.random((BATCH, 28, 28), dtype=np.float32), rng.integers(10, size=BATCH)


# -- memory ----------------------------------------------------------------------------------------------------------


def allocated(run: Callable[[], dict[str, Any]]) -> int:
    """The highest sum of what torch's allocator had given away, without what the gradient lies in."""
    from torch._C._profiler import _EventType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        gradient = run()
    events: list[tuple[int, int, int]] = []
    pending = list(recorded.profiler.kineto_results.experimental_event_tree())  # type: ignore[union-attr]
    while pending:
        event = pending.pop()
        pending += event.children
        if event.tag == _EventType.Allocation:
            fields = event.extra_fields
            events.append((event.start_time_ns, fields.ptr, fields.alloc_size))
    events.sort()
    handed_out = {value.untyped_storage().data_ptr() for value in gradient.values()}
    last = {ptr: when for when, ptr, size in events if size > 0 and ptr in handed_out}
    now = peak = 0
    for when, ptr, size in events:
        if last.get(ptr) != when:
            now += size
            peak = max(peak, now)
    return peak


def process(run: Callable[[], dict[str, Any]]) -> int:
    """The highest resident set above that before."""

    def status(field: str) -> int:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))

    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = status("VmRSS")
    gradient = run()
    own = sum(value.numel() * value.element_size() for value in gradient.values())
    return status("VmHWM") - before - own


def one(model: str, name: str, steps: int, how: str) -> None:
    """What one method takes, printed: the child's part."""
    net, x, y = problem(model)
    method = methods(net.spec, steps)[name]
    method(net, x[:2], y[:2])
    count = allocated if how == "allocated" else process
    print(json.dumps(count(lambda: method(net, x, y))))


def ask(model: str, name: str, steps: int, how: str) -> float:
    """Megabytes that one method takes in a process of its own."""
    command = [sys.executable, __file__, "one", model, name, str(steps), how]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])) / 1e6


def memory(flat: bool) -> None:
    """A table for each model."""
    kinds = ("allocated", "process")
    for model, make in SPECS.items():
        spec = make()
        weights = sum(int(np.prod(shape)) for shape in spec.parameter_shapes.values()) * 4e-6
        print(f"\n{model}: {WIDTH} wide, 16 tokens, batch {BATCH}, float32; parameters {weights:.1f} MB")
        if flat:
            local = next(iter(methods(spec, STEPS)))
            for steps in FLAT:
                both = [ask(model, local, steps, how) for how in kinds]
                print(f"  {local}, T = {steps:<4} allocated {both[0]:8.1f} MB   process {both[1]:8.1f} MB")
            continue
        base: list[float] = []
        for name in ("BPTT", *(name for name in methods(spec, STEPS) if name != "BPTT")):
            both = [ask(model, name, STEPS, how) for how in kinds]
            base = base or both
            parts = [f"{how} {mb:8.1f} MB = {mb / b:5.3f}" for how, mb, b in zip(kinds, both, base, strict=True)]
            print(f"  {name:<20} " + "   ".join(parts))


# -- time ------------------------------------------------------------------------------------------------------------


def timing(rounds: int) -> None:
    """Medians and quartiles of the ratios to BPTT."""
    for model in SPECS:
        net, x, y = problem(model)
        chosen = methods(net.spec, STEPS)
        seconds: dict[str, list[float]] = {name: [] for name in chosen}
        for run in chosen.values():
            run(net, x, y)
        for _ in range(rounds):
            for name, run in chosen.items():
                began = time.process_time()
                run(net, x, y)
                seconds[name].append(time.process_time() - began)
        print(f"\n{model}: a gradient at T = {STEPS}, K = {NUDGED} + {NUDGED}, one thread, {rounds} rounds")
        for name, values in seconds.items():
            ratio = np.array(values) / np.array(seconds["BPTT"])
            low, middle, high = np.percentile(ratio, [25, 50, 75])
            print(f"  {name:<20} {np.median(values):7.3f} s   of BPTT {middle:.2f} (quartiles {low:.2f} to {high:.2f})")


def main() -> None:
    """Run one of the parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    parts.add_parser("memory").add_argument("--flat", action="store_true", help="one method at several T")
    parts.add_parser("time").add_argument("--rounds", type=int, default=9, help="repetitions of every method")
    child = parts.add_parser("one")
    for field in ("model", "name", "steps", "how"):
        child.add_argument(field, type=int if field == "steps" else str)
    chosen = parser.parse_args()
    if chosen.part == "memory":
        memory(chosen.flat)
    elif chosen.part == "time":
        timing(chosen.rounds)
    else:
        one(chosen.model, chosen.name, chosen.steps, chosen.how)


if __name__ == "__main__":
    main()
