"""Learning on the chip with everything in Lava: the phases in its processes, the updates in its learning engine.

with LavaTrainer(chip, SCHEDULES["tags"], beta=0.5) as trainer:
    trainer.epoch(x, labels)

Some four samples a second: it is there to be compared with :class:`ChipTrainer`, bit for bit, and for those who
want a chip's every step from Lava.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Integer

from neuro_eq.backends.lava.chip import LavaChip
from neuro_eq.backends.numba.chip_training import Epoch
from neuro_eq.errors import SpecError
from neuro_eq.hardware.chip import ChipConnection, ChipNetwork
from neuro_eq.hardware.learning import TRACE_HIGH
from neuro_eq.hardware.schedules import CONSOLIDATING, LearningSchedule, read_outs

Weights = Integer[np.ndarray, "post pre"]
Activities = Integer[np.ndarray, "samples units"]


class LavaTrainer:
    """A chip that learns, one sample after the other, in Lava.

    Args:
        chip: the network.
        schedule: how it is taught; each weight one number.
        beta: of the nudge.
        steps, nudged_steps: of the phases.
        seed: of the draws and of the order of samples.
        lava: Lava's child, which is then the caller's to close; one of its own by default.

    Raises:
        SpecError: the schedule keeps each weight as a pair or ties both ways, or the nudge is too small for the chip.
        BackendError: Lava is not there.
    """

    def __init__(
        self,
        chip: ChipNetwork,
        schedule: LearningSchedule,
        *,
        beta: float = 0.5,
        steps: int = 60,
        nudged_steps: int = 30,
        seed: int = 0,
        lava: LavaChip | None = None,
    ) -> None:
        self.gain = chip.nudge_gain(beta)
        if self.gain == 0:
            raise SpecError("the nudge is less than one unit of the drive", "beta")
        self.chip, self.steps, self.nudged_steps = chip, steps, nudged_steps
        self.use(schedule)
        self.rng = np.random.default_rng(seed)
        self.weights: dict[str, Weights] = {c.name: c.weights.astype(np.int64) for c in chip.connections}
        self.tags: dict[str, Weights] = {name: np.zeros_like(value) for name, value in self.weights.items()}
        self.counted = 0
        self._own = lava is None
        self.lava = LavaChip() if lava is None else lava

    def __enter__(self) -> LavaTrainer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End Lava's child, if it is the trainer's own."""
        if self._own:
            self.lava.close()

    def use(self, schedule: LearningSchedule) -> None:
        """Go on by another schedule.

        Raises:
            SpecError: it keeps each weight as a pair, or ties both ways of a synapse.
        """
        if schedule.paired or schedule.tie:
            what = "keeps each weight as a pair" if schedule.paired else "copies weights from one way to the other"
            raise SpecError(f'"{schedule.name}" {what}, which is not done in Lava; take contrast, whole, tags or '
                            "differences", "schedule")  # fmt: skip
        self.schedule = schedule

    def epoch(self, x: Any, labels: Any) -> Epoch:
        """Learn from samples in a new order; arguments as :meth:`ChipTrainer.epoch`."""
        (clamped,) = self.chip.clamped
        order = self.rng.permutation(len(x))
        data = self.chip.encode(clamped.name, np.asarray(x))[order]
        output = self.chip.population(self.chip.output)
        targets = self.chip.encode(output.name, np.eye(output.size)[np.asarray(labels)[order]])
        answers, overflow, first = [], 0, 0
        while first < len(x):
            # Tags are added to weights every so many samples, and until then no sample sees what another taught.
            many = self.schedule.consolidate or 1
            rows = slice(first, min(len(x), first + many - self.counted % many))
            settled, plus, minus, lost = self._phases(data[rows], targets[rows])
            self._learn(plus, minus)
            answers.append(np.argmax(settled[:, self.chip.places[output.name]], axis=1))
            overflow += lost
            first = rows.stop
        right = np.concatenate(answers) == np.asarray(labels)[order]
        return Epoch(float(np.mean(right)), overflow, self.asymmetry())

    def network(self) -> ChipNetwork:
        """The chip as it is now."""
        return self.chip.with_weights(self.weights)

    def asymmetry(self) -> float:
        """``‖W − Wᵀ‖ / ‖W‖`` over the synapses that have a way back."""
        return self.chip.asymmetry(self.weights)

    def draw(self) -> int:
        """The seed of what Lava rounds the next update of a connection by."""
        return int(self.rng.integers(1, 2**31))

    def _phases(self, data: Activities, targets: Activities) -> tuple[Activities, Activities, Activities, int]:
        """Activities at the end of the free phase and of both nudged ones, and how many registers overflowed."""
        (clamped,) = self.chip.clamped
        count = len(data)
        found = self.lava.run(
            self.network(), {clamped.name: np.concatenate([data, data])},
            [(self.steps, False), (self.nudged_steps, True)], target=np.concatenate([targets, targets]),
            gain=np.repeat([self.gain, -self.gain], count),
        )  # fmt: skip
        a = found.a.astype(np.int64)
        lost = sum(int(part[-1].sum()) for part in (found.wrapped, found.saturated, found.clipped))
        return a[self.steps - 1, :count], a[-1, :count], a[-1, count:], lost

    def _learn(self, plus: Activities, minus: Activities) -> None:
        """Every connection's learning engine is shown these samples."""
        for c in self.chip.connections:
            x1, y1, y2 = self._events(c, plus, minus)
            self.weights[c.name], self.tags[c.name] = self.lava.learn(
                self.schedule.rule, self.weights[c.name], self.tags[c.name], x1, y1, y2, seed=self.draw(), learned=True
            )
        self.counted += len(plus)

    def _events(self, c: ChipConnection, plus: Activities, minus: Activities) -> tuple[np.ndarray, ...]:
        """Traces and factors, an evaluation of the rule in each row."""
        pre, post = self.chip.places[c.source], self.chip.places[c.target]
        bits = (self.chip.population(c.source).activity_bits, self.chip.population(c.target).activity_bits)
        rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for s, (above, below) in enumerate(zip(plus, minus, strict=True)):
            events = read_outs(self.schedule, (above[pre], below[pre]), (above[post], below[post]), bits)
            rows += [(x, y, np.zeros_like(y)) for x, y in events]
            if self.schedule.consolidate and (self.counted + s + 1) % self.schedule.consolidate == 0:
                post_size, pre_size = c.weights.shape
                quiet = np.zeros(post_size, dtype=np.int64)
                rows.append((np.full(pre_size, TRACE_HIGH), quiet, np.full(post_size, CONSOLIDATING)))
        x1, y1, y2 = (np.array(part) for part in zip(*rows, strict=True))
        return x1, y1, y2
