"""A trained network on a chip, simulated: what it answers, what it sends, what it would need."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from neuro_eq.arguments import parted
from neuro_eq.backends.deployment.calibration import SAMPLES, calibrate
from neuro_eq.backends.numba.integer import ChipRun, IntegerEngine
from neuro_eq.compiler import compile as compile_network
from neuro_eq.datasets import Data
from neuro_eq.engine import Engine
from neuro_eq.errors import BackendError, DataError
from neuro_eq.hardware.chip import ChipNetwork
from neuro_eq.hardware.energy import Activity, Estimate, estimate
from neuro_eq.hardware.loihi import Chip
from neuro_eq.hardware.mapper import Placement, place, synapse_bits
from neuro_eq.hardware.quantisation import Precision, SynapseReport, quantise
from neuro_eq.solvers import Picard
from neuro_eq.spec import Network
from neuro_eq.training.evaluation import check_fit

BATCH = 500
"""Samples that are simulated together; their registers are a few megabytes."""

STEPS = 200
"""The most steps of a sample; one that falls silent earlier is done."""

WATCHED = 500
"""Samples whose every step is looked at, for the course of accuracy and messages."""

WATCHED_STEPS = 60


@dataclass(frozen=True, eq=False)
class Course:
    """How samples go, step by step.

    Attributes:
        accuracy: after each step, ``(steps,)``.
        messages: that each population sends in each step, mean of the samples, ``(steps, populations)``.
    """

    accuracy: np.ndarray
    messages: np.ndarray


@dataclass(frozen=True, eq=False)
class Verification:
    """A comparison with Lava, register by register and step by step.

    Attributes:
        samples, steps: that were compared.
        registers: numbers that were compared.
        seconds: that Lava took.
    """

    samples: int
    steps: int
    registers: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Deployment:
    """A network on a chip.

    Attributes:
        spec, chip, network: what was deployed, where to, and what it became.
        precision, ranges, synapses: how it was quantised.
        placement: cores.
        labels, float_answers, answers: of every test sample.
        steps: until a sample was silent, or the most that were taken.
        silent: whether it was.
        messages: of each population, ``(samples, populations)``.
        operations: synaptic operations.
        overflow: how often each kind happened.
        course: step by step, of some samples.
        estimate: time and energy, where costs are published.
        verification: None where Lava was not asked.
        seconds: of the simulation.
    """

    spec: Network
    chip: Chip
    network: ChipNetwork
    precision: Precision
    ranges: Mapping[str, float]
    synapses: tuple[SynapseReport, ...]
    placement: Placement
    labels: np.ndarray
    float_answers: np.ndarray
    answers: np.ndarray
    steps: np.ndarray
    silent: np.ndarray
    messages: np.ndarray
    operations: np.ndarray
    overflow: Mapping[str, int]
    course: Course
    estimate: Estimate | None
    verification: Verification | None
    seconds: float

    @property
    def float_accuracy(self) -> float:
        """Share of right answers in floating point."""
        return float(np.mean(self.float_answers == self.labels))

    @property
    def accuracy(self) -> float:
        """Share of right answers on the chip."""
        return float(np.mean(self.answers == self.labels))

    def report(self) -> dict[str, Any]:
        """Everything in plain numbers and words, by NeuroBench's names where it has them."""
        free = sum(p.size for p in self.network.free)
        weights = [c.weights for c in self.network.connections]
        steps = float(np.mean(self.steps))
        bounds = self.network.unreachable_overflow()
        dense = float(sum(w.size for w in weights)) * steps
        sent = dict(zip((p.name for p in self.network.populations), self.messages.mean(axis=0).tolist(), strict=True))
        quiet = 1.0 - sum(sent[p.name] for p in self.network.free) / (steps * free)
        return {
            "target": self.chip.name,
            "network": self.spec.name,
            "samples": len(self.labels),
            "classification_accuracy": {
                "float": self.float_accuracy,
                "chip": self.accuracy,
                "difference_in_points": 100 * (self.accuracy - self.float_accuracy),
                "same_answer": float(np.mean(self.answers == self.float_answers)),
            },
            "precision": asdict(self.precision),
            "populations": {
                p.name: {"activity_bits": p.activity_bits, "drive_bits": p.drive_bits, "decay": p.decay,
                         "largest_potential_seen": self.ranges[p.name]}
                for p in self.network.populations
            },
            "synapses": [asdict(synapse) for synapse in self.synapses],
            "steps": {"mean": steps, "median": float(np.median(self.steps)), "most": int(self.steps.max()),
                      "samples_not_silent": int(np.sum(~self.silent))},
            "messages": {"per_sample": sent, "total": float(sum(sent.values()))},
            "synaptic_operations": {
                "Effective_ACs": 0.0,
                "Effective_MACs": float(self.operations.mean()),
                "Dense": dense,
            },
            "activation_sparsity": quiet,
            "connection_sparsity": 1.0 - sum(np.count_nonzero(w) for w in weights) / sum(w.size for w in weights),
            "footprint_bytes": sum(synapse_bits(c) for c in self.network.connections) // 8 + 3 * 4 * free,
            "membrane_updates": steps * free,
            "overflow": {**self.overflow, "impossible_in": [name for name, safe in bounds.items() if safe]},
            "cores": len(self.placement.cores),
            "utilisation": self.placement.utilisation(),
            "estimated": self._estimated(),
            "chip": self._capabilities(),
            "verified_in_lava": None if self.verification is None else asdict(self.verification),
            "seconds_of_simulation": self.seconds,
            "python": platform.python_version(),
        }  # fmt: skip

    def _estimated(self) -> dict[str, Any]:
        if self.estimate is None:
            return {"reason": f"no energies or times of {self.chip.name} are published"}
        return {
            "seconds_per_sample": self.estimate.seconds,
            "joules_per_sample": self.estimate.joules,
            "source": self.estimate.source,
            "assumptions": list(self.estimate.assumptions),
        }

    def _capabilities(self) -> list[str]:
        """What only the simulation can do."""
        lacks = []
        if not self.chip.payloads:
            lacks.append(f"{self.chip.name}'s spikes carry no payload, so graded messages exist in the simulation only")
        if not self.chip.programs:
            lacks.append(
                f"{self.chip.name}'s neurons have a fixed program, so these activities are the simulation's own"
            )
        if any(p.table.size for p in self.network.free):
            lacks.append("a table with linear interpolation is the simulation's own; a chip's program would need one")
        uncertain = [name for name, limit in self.chip.per_core.items() if not limit.certain or limit.value is None]
        if uncertain:
            lacks.append(f"limits of {self.chip.name} that are less certain or unknown: {', '.join(uncertain)}")
        return lacks


def deploy(
    spec: Network,
    parameters: Mapping[str, Any],
    data: Data,
    chip: Chip,
    *,
    samples: int | None = None,
    precision: Precision = Precision(),
    steps: int = STEPS,
    verify: int = 0,
    threads: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Deployment:
    """Quantise a trained network, place it, and run test samples through the integer engine.

    Args:
        spec: the network.
        parameters: trained.
        data: whose training samples calibrate and whose test samples are answered.
        chip: the target.
        samples: test samples; all when not given.
        precision: how finely the chip counts.
        steps: the most steps of a sample.
        verify: test samples whose every register is compared with Lava's.
        threads: of the simulation; all cores by default.
        say: is given a line where something should be known.

    Raises:
        SpecError: the network has something that no chip runs, or does not fit.
        DataError: the data do not fit the network.
        BackendError: Lava computed other bits, or cannot run here.
    """
    x, labels = (values[:samples] for values in (data.x_test, data.y_test))
    with _float_engine(spec, parameters) as net:
        check_fit(net, data)
        if data.classes is None:
            raise DataError(
                f'data: "{data.name}" has values to fit, but a chip\'s answer is the largest of its outputs'
            )
        ranges = calibrate(net, data.x_train[:SAMPLES], precision.alpha)
        network, synapses = quantise(spec, parameters, ranges, precision)
        placement = place(network, chip)
        float_answers = _float_answers(net, x)
    started = time.perf_counter()
    inputs = parted(spec.given, x)
    with IntegerEngine(network, threads=threads) as engine:
        runs = [_finish(engine, _rows(inputs, i, i + BATCH), steps) for i in range(0, len(x), BATCH)]
        seconds = time.perf_counter() - started
        course = _course(engine, _rows(inputs, 0, WATCHED), labels[:WATCHED])
        reached = np.concatenate([run.silent for run in runs])
        taken = np.where(reached < 0, steps, reached)
        verification = None
        if verify:
            verification = _verify(engine, _rows(inputs, 0, verify), int(taken[:verify].max()), say)
    overflow = {name: sum(run.overflows()[name] for run in runs) for name in runs[0].overflows()}
    happened = [f"{count} {name}" for name, count in overflow.items() if count]
    if happened:
        say(f"overflows: {', '.join(happened)}; use a larger margin")
    messages = np.concatenate([run.messages for run in runs])
    operations = np.concatenate([run.operations for run in runs])
    return Deployment(
        spec=spec, chip=chip, network=network, precision=precision, ranges=ranges, synapses=synapses,
        placement=placement, labels=np.asarray(labels), float_answers=float_answers,
        answers=np.concatenate([run.answers() for run in runs]), steps=taken, silent=reached >= 0, messages=messages,
        operations=operations, overflow=overflow, course=course,
        estimate=estimate(_activity(network, placement, taken, messages, operations), placement),
        verification=verification, seconds=seconds,
    )  # fmt: skip


def _float_engine(spec: Network, parameters: Mapping[str, Any]) -> Engine:
    """The Numba engine in double precision where it runs this network, else the reference."""
    try:
        net = compile_network(spec, "numba", "float64")
    except BackendError:
        net = compile_network(spec, "reference")
    net.set_parameters(parameters)
    return net


def _float_answers(net: Engine, x: np.ndarray) -> np.ndarray:
    answers = []
    for i in range(0, len(x), BATCH):
        state = net.relax(x[i : i + BATCH], solver=Picard(), tol=1e-4, max_steps=500)
        answers.append(np.argmax(net.to_numpy(net.output(state)), axis=1))
    return np.concatenate(answers)


def _rows(inputs: Mapping[str, np.ndarray], begin: int, end: int) -> dict[str, np.ndarray]:
    """Some samples of every input."""
    return {name: values[begin:end] for name, values in inputs.items()}


def _finish(engine: IntegerEngine, data: Mapping[str, np.ndarray], steps: int) -> ChipRun:
    """A batch, without the registers that nobody will look at again."""
    run = engine.run(engine.start(data), steps)
    return replace(run, state=replace(run.state, inbox=run.state.inbox[:, :0]))


def _course(engine: IntegerEngine, data: Mapping[str, np.ndarray], labels: np.ndarray) -> Course:
    state = engine.start(data)
    accuracy, messages = [], []
    for _ in range(WATCHED_STEPS):
        run = engine.run(state, 1)
        state = run.state
        accuracy.append(float(np.mean(run.answers() == labels)))
        messages.append(run.messages.mean(axis=0))
    return Course(np.array(accuracy), np.array(messages))


def _verify(
    engine: IntegerEngine, data: Mapping[str, np.ndarray], steps: int, say: Callable[[str], None]
) -> Verification:
    """Run the same samples in Lava; every register of every step must be the same.

    In one process all steps are looked at; as a process for each part, which takes far longer to report, the end.
    """
    from neuro_eq.backends.lava.chip import LavaChip

    start = engine.start(data)
    own = engine.run(start, steps, trace=True).trace
    assert own is not None
    shown = {p.name: start.a[:, engine.chip.places[p.name]] for p in engine.chip.clamped}
    with LavaChip(timeout=600) as lava:
        found = lava.run(engine.chip, shown, [(steps, False)])
        parts = lava.run(engine.chip, shown, [(steps, False)], hierarchical=True, trace=False)
    for name in ("v", "sigma", "a", "messages"):
        for theirs, ours in (
            (getattr(found, name), getattr(own, name)),
            (getattr(parts, name), getattr(own, name)[-1:]),
        ):
            wrong = np.argwhere(theirs != ours)
            if len(wrong):
                step, row, unit = (int(i) for i in wrong[0])
                step += steps - len(ours)
                raise BackendError(
                    f"Lava and the integer engine differ in {name}: first in step {step + 1} of sample {row}, "
                    f"unit {unit}"
                )
    say(f"{start.rows} samples verified in Lava: every register of {steps} steps has the same bits")
    return Verification(start.rows, steps, 4 * own.v.size, found.seconds)


def _activity(
    network: ChipNetwork, placement: Placement, steps: np.ndarray, messages: np.ndarray, operations: np.ndarray
) -> Activity:
    """Counts of a mean sample."""
    sent = messages.mean(axis=0)
    deliveries = 0.0
    for p, count in zip(network.populations, sent, strict=True):
        targets = {c.target for c in network.connections if c.source == p.name}
        deliveries += float(count) * sum(placement.of(name) for name in targets)
    free = [i for i, p in enumerate(network.populations) if not p.clamped]
    return Activity(
        steps=float(steps.mean()), messages=float(sent[free].sum()), deliveries=deliveries,
        operations=float(operations.mean()), neurons=sum(p.size for p in network.free),
    )  # fmt: skip
