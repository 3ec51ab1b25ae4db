"""One training step of the Numba engine against the same equations in a plain torch loop.

    python benchmarks/training_step.py              # both networks: fixed steps, equal residual, two threads, recording
    python benchmarks/training_step.py --rounds 7   # fewer repetitions

The plain loop is what one writes down: the drive by the input computed once, both nudged phases as one batch, products
and elementwise expressions of torch, the gradient, a step of SGD in place; nothing is checked, judged or reported.  The
tuned loop fuses sums into products and damping into one operation, works in place, takes the difference of the other
end first where one end of a synapse is data, and adds the gradient to the weights while it is computed, which leaves
none for another optimiser.  All variants run in alternation in one process; every figure is the median over rounds,
and every ratio the median of the ratios within a round.  One thread and two take turns of a hundred steps, as many as
an epoch of some thousand samples has: what waking the second costs is part of a training, not of each step of it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.nn.functional import linear

import neuro_eq as ne

BATCH, FREE, NUDGED = 128, 20, 4
BETA, ALPHA, LR = 0.5, 0.5, 0.01
TURN = 100
"""Steps that one thread, or two, take before it is the other's turn."""
RESIDUAL = 1e-5
EPOCHS = 3
NETWORKS = ([784, 512, 10], [784, 512, 512, 10])


class PlainLoop:
    """A chain of symmetric dense synapses, tanh, squared error: u ← u + α (drive(ρ(u)) − u)."""

    def __init__(self, net: ne.Engine, sizes: list[int], x: np.ndarray, labels: np.ndarray) -> None:
        names = ["input", *(f"hidden{i}" for i in range(1, len(sizes) - 1)), "output"]
        start = net.parameters
        self.weights = [torch.tensor(start[f"{a}_{b}.weight"]) for a, b in pairwise(names)]
        self.biases = [torch.tensor(start[f"{name}_bias.bias"]) for name in names[1:]]
        self.x = torch.tensor(x)
        self.y = torch.eye(sizes[-1])[torch.tensor(labels)]

    def drive(self, a: list[torch.Tensor], still: torch.Tensor) -> list[torch.Tensor]:
        """The drive of every population: its input or the population below, and the one above."""
        below = [still, *(linear(a[i - 1], self.weights[i], self.biases[i]) for i in range(1, len(a)))]
        above = [a[i + 1] @ self.weights[i + 1] for i in range(len(a) - 1)]
        return [*(one + other for one, other in zip(below, above, strict=False)), below[-1]]

    def move(self, u: list[torch.Tensor], drive: list[torch.Tensor]) -> list[torch.Tensor]:
        """A damped step."""
        return [value + ALPHA * (d - value) for value, d in zip(u, drive, strict=True)]

    def settle(
        self, u: list[torch.Tensor], still: torch.Tensor, steps: int, tol: float | None, nudge: torch.Tensor | None
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Damped steps of the whole batch: so many, or until the worst sample's residual is small."""
        y = None if nudge is None else self.y.repeat(len(nudge) // len(self.y), 1)
        units = sum(value.shape[1] for value in u)
        a = [torch.tanh(value) for value in u]
        for _ in range(steps):
            drive = self.drive(a, still)
            if nudge is not None:
                drive[-1] = drive[-1] - nudge * (a[-1] - y)
            if tol is not None:
                square = sum((d - v).square().sum(1) for d, v in zip(drive, u, strict=True))
                if float((square / units).max()) <= tol * tol:
                    return u, a
            u = self.move(u, drive)
            a = [torch.tanh(value) for value in u]
        return u, a

    def learn(self, above: list[torch.Tensor], below: list[torch.Tensor], scale: float) -> None:
        """Contrastive Hebbian gradients, and a step against them."""
        pres = list(zip([self.x, *above[:-1]], [self.x, *below[:-1]], strict=True))
        for i, (pre_above, pre_below) in enumerate(pres):
            gradient = scale * (below[i].T @ pre_below - above[i].T @ pre_above)
            self.weights[i] -= LR * gradient
            self.biases[i] -= LR * scale * (below[i] - above[i]).sum(0)

    @torch.no_grad()
    def step(self, free: int = FREE, nudged: int = NUDGED, tol: float | None = None) -> None:
        """One training step by centered equilibrium propagation and plain SGD."""
        n = len(self.x)
        still = linear(self.x, self.weights[0], self.biases[0])
        u, _ = self.settle([torch.zeros(n, len(weight)) for weight in self.weights], still, free, tol, None)
        nudge = torch.cat([torch.full((n, 1), BETA), torch.full((n, 1), -BETA)])
        both = [torch.cat([value, value]) for value in u]
        _, a = self.settle(both, torch.cat([still, still]), nudged, tol, nudge)
        self.learn([value[:n] for value in a], [value[n:] for value in a], 1.0 / (2 * BETA * n))


class TunedLoop(PlainLoop):
    """The same with everything fused that torch can fuse."""

    def drive(self, a: list[torch.Tensor], still: torch.Tensor) -> list[torch.Tensor]:
        last = len(self.weights) - 1
        found = []
        for i, weight in enumerate(self.weights):
            if i == 0:
                total = torch.addmm(still, a[1], self.weights[1])
            else:
                total = torch.addmm(self.biases[i], a[i - 1], weight.T)
                if i < last:
                    total.addmm_(a[i + 1], self.weights[i + 1])
            found.append(total)
        return found

    def move(self, u: list[torch.Tensor], drive: list[torch.Tensor]) -> list[torch.Tensor]:
        return [value.lerp_(d, ALPHA) for value, d in zip(u, drive, strict=True)]

    def learn(self, above: list[torch.Tensor], below: list[torch.Tensor], scale: float) -> None:
        for i, weight in enumerate(self.weights):
            change = above[i] - below[i]
            if i == 0:
                weight.addmm_(change.T, self.x, alpha=LR * scale)
            else:
                weight.addmm_(above[i].T, above[i - 1], alpha=LR * scale)
                weight.addmm_(below[i].T, below[i - 1], alpha=-LR * scale)
            self.biases[i].add_(change.sum(0), alpha=LR * scale)


class OurStep:
    """The same step by the Numba engine."""

    def __init__(self, sizes: list[int], x: np.ndarray, y: np.ndarray, threads: int, how: ne.Relaxation) -> None:
        spec = ne.models.layered_hopfield(sizes, "tanh", gain=0.5)
        self.net = ne.compile(spec, backend="numba", dtype="float32", threads=threads)
        self.x, self.y, self.how = x, y, how
        self.nudged = how.model_copy(update={"max_steps": NUDGED}) if how.tol is None else how
        self.method, self.optimizer = ne.EqProp(beta=BETA), ne.SGD(LR)
        self.state = self.optimizer.start(self.net.parameters)

    def in_order(self) -> list[np.ndarray]:
        """Weights from the input up, then biases."""
        weights = [value for name, value in self.net.parameters.items() if name.endswith("weight")]
        biases = [value for name, value in self.net.parameters.items() if name.endswith("bias")]
        return weights + biases

    def step(self) -> None:
        """One training step."""
        gradient, _ = self.method.gradient(self.net, self.x, self.y, free=self.how, nudged=self.nudged)
        parameters, self.state = self.net.stepped(self.optimizer, gradient, self.state)
        self.net.set_parameters(parameters, adopt=True)


def refuse_different_steps(loop: PlainLoop, ours: OurStep) -> None:
    """Time nothing that is not the same: a step of both from the same weights must lead to the same weights."""
    loop.step()
    ours.step()
    pairs = zip(loop.weights + loop.biases, ours.in_order(), strict=True)
    worst = max(float((theirs - torch.tensor(mine)).abs().max()) for theirs, mine in pairs)
    # Weights of order 0.1 in float32; a learning rate of 0.01 hides what the gradients differ by, so it is taken out.
    if not worst <= 1e-5 * LR + 1e-7:
        raise SystemExit(f"the two steps differ by {worst:.1e}: this benchmark compares different things")


def alternate(variants: dict[str, Callable[[], object]], rounds: int, steps: int = 1) -> dict[str, np.ndarray]:
    """Seconds of a step of every variant in every round, in which it takes several, as in training."""
    for run in variants.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            began = time.perf_counter()
            for _ in range(steps):
                run()
            seconds[name].append((time.perf_counter() - began) / steps)
    return {name: np.array(values) for name, values in seconds.items()}


def flops(sizes: list[int], evaluations: int) -> float:
    """Operations of a step at fixed T: input drive, drives between free populations, learning."""
    inner = sum(4 * a * b for a, b in pairwise(sizes[1:]))
    learning = 2 * sizes[0] * sizes[1] + sum(4 * a * b for a, b in pairwise(sizes[1:]))
    return BATCH * (2 * sizes[0] * sizes[1] + evaluations * inner + learning)


def ratio(slow: np.ndarray, fast: np.ndarray) -> str:
    """Of two variants within the same rounds: the median and its spread."""
    low, middle, high = np.percentile(slow / fast, [25, 50, 75])
    return f"{middle:5.2f}  (quartiles {low:.2f} to {high:.2f})"


def report(title: str, seconds: dict[str, np.ndarray], base: str, work: float | None = None) -> None:
    """A table: medians, spread, and ratios to the yardstick within the same rounds."""
    print(f"\n{title}")
    for name, values in seconds.items():
        speed = "" if work is None else f"{work / np.median(values) / 1e9:6.0f} GFLOP/s"
        print(
            f"  {name:<34}{1e3 * np.median(values):8.2f} ms   {base} / this = {ratio(seconds[base], values)}  {speed}"
        )


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21, help="repetitions of every variant (default 21)")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.random((BATCH, 784), dtype=np.float32)
    y = rng.integers(10, size=BATCH)
    fixed = ne.Relaxation(solver=ne.Picard(ALPHA), tol=None, max_steps=FREE)
    with threadpool_limits(1, user_api="blas"):
        for sizes in NETWORKS:
            one, two = (OurStep(sizes, x, y, threads, fixed) for threads in (1, 2))
            plain, tuned = PlainLoop(one.net, sizes, x, y), TunedLoop(one.net, sizes, x, y)
            for kind in (PlainLoop, TunedLoop):
                refuse_different_steps(kind(one.net, sizes, x, y), OurStep(sizes, x, y, 1, fixed))
            seconds = alternate(
                {"plain torch loop": plain.step, "tuned torch loop": tuned.step, "numba": one.step}, rounds, 5
            )
            title = f"{sizes}: fixed T={FREE}, K={NUDGED}, batch {BATCH}, float32"
            work = flops(sizes, FREE + 2 * NUDGED)
            report(title, seconds, "plain torch loop", work)
            seconds = alternate({"numba": one.step, "numba, 2 threads": two.step}, rounds, TURN)
            report(f"{title}, in turns of {TURN} steps", seconds, "numba", work)
            solvers: dict[str, ne.Relaxation] = {
                "numba, Picard(0.5)": ne.Relaxation(solver=ne.Picard(ALPHA), tol=RESIDUAL, max_steps=1000),
                "numba, BlockGaussSeidel": ne.Relaxation(solver=ne.BlockGaussSeidel(), tol=RESIDUAL, max_steps=1000),
                "numba, Anderson": ne.Relaxation(solver=ne.Anderson(), tol=RESIDUAL, max_steps=1000),
            }
            # As all others here it begins with the start values: steps to a residual change while a network learns.
            settling = partial(TunedLoop(OurStep(sizes, x, y, 1, fixed).net, sizes, x, y).step, 1000, 1000, RESIDUAL)
            variants: dict[str, Callable[[], object]] = {"tuned torch loop": settling}
            for name, how in solvers.items():
                variants[name] = OurStep(sizes, x, y, 1, how).step
                variants[f"{name}, 2 threads"] = OurStep(sizes, x, y, 2, how).step
            seconds = alternate(variants, rounds)
            report(f"{sizes}: to a residual of {RESIDUAL:g}", seconds, "tuned torch loop")
            for name in solvers:
                print(f"  {name}: two threads to one {ratio(seconds[name], seconds[f'{name}, 2 threads'])}")
        recording(rounds)


def recording(rounds: int) -> None:
    """Three epochs as long as MNIST's, with and without their trajectory file."""
    rng = np.random.default_rng(1)
    x = rng.random((61_000, 784), dtype=np.float32)
    y = rng.integers(10, size=61_000)
    data = ne.datasets.Data("random", x[:60_000], y[:60_000], x[60_000:], y[60_000:], classes=10)
    spec = ne.models.layered_hopfield([784, 512, 10], "hard_sigmoid", gain=0.5)
    net = ne.compile(spec, backend="numba", dtype="float32")
    how = ne.Relaxation(max_steps=100)

    def train(record: Path | None) -> None:
        net.set_parameters(spec.initial_parameters(0))
        ne.train(
            net,
            data,
            method=ne.EqProp(beta=BETA),
            epochs=EPOCHS,
            batch_size=64,
            free=how,
            record=record,
            overwrite=True,
        )

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.h5"
        seconds = alternate({"not recorded": lambda: train(None), "recorded": lambda: train(path)}, max(3, rounds // 3))
    report(f"{EPOCHS} epochs of 938 steps, with and without a trajectory file", seconds, "not recorded")
    print(f"  recorded to not {ratio(seconds['recorded'], seconds['not recorded'])}")


if __name__ == "__main__":
    main()
