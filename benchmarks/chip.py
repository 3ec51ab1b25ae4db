"""The integer engine beside Lava: time of one step of one sample, the same bits.

    python benchmarks/chip.py                   # the three, in alternation
    python benchmarks/chip.py --learning        # what learning schedules do to what is learned; minutes

Lava runs the network as a process for each population and connection (what a chip would be given), one sample after
the other, and as one process with a batch.  The integer engine takes the same steps; it skips what is left of a sample
that has fallen silent, since nothing of the result can tell, so its time is given for a step that was asked for and for
one that was taken.  Before anything is timed all three show that they compute the same bits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import neuro_eq as ne
from neuro_eq.backends.lava.chip import LavaChip
from neuro_eq.backends.numba.chip_measures import measure
from neuro_eq.backends.numba.chip_training import ChipTrainer
from neuro_eq.backends.numba.integer import IntegerEngine
from neuro_eq.datasets import load_data
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.quantisation import Precision, quantise
from neuro_eq.hardware.schedules import SCHEDULES

SIZES, STEPS = [784, 256, 10], 60
HIERARCHICAL, BATCH, MANY = 4, 128, 2000


def network() -> tuple[ChipNetwork, np.ndarray]:
    """A network as large as one for MNIST, and data as sparse as its images."""
    spec = ne.models.layered_hopfield(SIZES, "hard_sigmoid", gain=0.5)
    ranges = {"input": 1.0, "hidden1": 4.0, "output": 4.0}
    rng = np.random.default_rng(0)
    return quantise(spec, spec.initial_parameters(0), ranges)[0], rng.random((MANY, 784)) * (
        rng.random((MANY, 784)) < 0.19
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def speed(rounds: int, threads: int) -> None:
    """Microseconds of a step of a sample, medians and bests of rounds in which all take turns."""
    chip, x = network()
    data = {"input": chip.encode("input", x)}
    with LavaChip(timeout=300) as lava, IntegerEngine(chip, threads=threads) as engine:
        start = engine.start(data)
        own = engine.run(start, STEPS)
        for hierarchical, count in ((True, HIERARCHICAL), (False, BATCH)):
            shown = {"input": data["input"][:count]}
            found = lava.run(chip, shown, [(STEPS, False)], hierarchical=hierarchical, trace=False)
            assert np.array_equal(found.v[-1], own.state.v[:count]), "Lava and the integer engine differ"
        taken = np.where(own.silent < 0, STEPS, own.silent).mean()
        rows = []
        for _ in range(rounds):
            few, batch = {"input": data["input"][:HIERARCHICAL]}, {"input": data["input"][:BATCH]}
            parts = lava.run(chip, few, [(STEPS, False)], hierarchical=True, trace=False).seconds / HIERARCHICAL
            one = lava.run(chip, batch, [(STEPS, False)], trace=False).seconds / BATCH
            ours = timed(lambda: engine.run(start, STEPS)) / MANY
            rows.append([parts / STEPS, one / STEPS, ours / STEPS, ours / taken])
    parts, one, asked, taken_time = np.array(rows).T
    print(f"{SIZES}, {STEPS} steps, {threads} threads; a sample falls silent after {taken:.1f} steps")
    for name, values in (
        ("Lava, a process for each part", parts),
        (f"Lava, one process, batches of {BATCH}", one),
        ("integer engine, a step asked for", asked),
        ("integer engine, a step taken", taken_time),
    ):
        print(f"  {name:<40} {1e6 * np.median(values):8.2f} µs, best {1e6 * values.min():8.2f} µs")
    for name, slow in (("a process for each part", parts), ("one process, batched", one)):
        for what, ours in (("asked for", asked), ("taken", taken_time)):
            print(f"  {name} / integer engine, a step {what}: {np.median(slow / ours):.0f}, of the best rounds "
                  f"{slow.min() / ours.min():.0f}")  # fmt: skip


def learning(seeds: int) -> None:
    """Bias, noise, correlation and asymmetry of every schedule, and what digits it learns."""
    data = load_data("digits")
    x, test = data.x_train, data.x_test
    spec = ne.models.layered_hopfield([64, 96, 10], "hard_sigmoid", gain=0.5, bias=False)
    ranges = {"input": 1.0, "hidden1": 16.0, "output": 16.0}
    scales = {"input_hidden1": -8, "hidden1_output": -8}

    def fresh(seed: int) -> ChipNetwork:
        return quantise(spec, spec.initial_parameters(seed), ranges, Precision(activity_bits=8), scales)[0]

    def accuracy(trainer: ChipTrainer) -> float:
        with IntegerEngine(trainer.network(), threads=1) as engine:
            return 100 * float(np.mean(engine.run(engine.start({"input": test}), 100).answers() == data.y_test))

    trained = ChipTrainer(fresh(0), SCHEDULES["tags"])
    for _ in range(3):
        trained.epoch(x, data.y_train)
    print("units of a weight; bias and noise a sample, correlations with the exact contrast, in a network half trained")
    print(f"{'schedule':<14}{'bias':>10}{'noise':>8}{'corr. of 1':>12}{'of 128':>8}{'‖ΔW−ΔWᵀ‖':>11}"
          f"{'‖W−Wᵀ‖':>9}  test accuracy after 12 epochs, seed by seed")  # fmt: skip
    variants = {name: (schedule, None) for name, schedule in SCHEDULES.items()}
    variants["tags, then ¼"] = (SCHEDULES["tags"], SCHEDULES["tags"].finer(2))
    for name, (schedule, then) in variants.items():
        found = measure(trained.network(), schedule, x[:128], data.y_train[:128])
        reached, apart = [], []
        for seed in range(seeds):
            trainer = ChipTrainer(fresh(seed), schedule, seed=seed)
            for epoch in range(12):
                if epoch == 8 and then is not None:
                    trainer.use(then)
                trainer.epoch(x, data.y_train)
            reached.append(accuracy(trainer))
            apart.append(trainer.asymmetry())
        print(f"{name:<14}{found.bias:>10.5f}{found.noise:>8.3f}{found.correlation:>12.3f}"
              f"{found.correlation_of_many:>8.3f}{found.asymmetry:>11.3f}{np.mean(apart):>9.3f}  "
              + ", ".join(f"{value:.2f}" for value in reached))  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--learning", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.learning:
        learning(chosen.seeds)
    else:
        speed(chosen.rounds, chosen.threads)
