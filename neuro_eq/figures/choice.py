"""Which part of a run a picture shows, and the errors for a part that is not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuro_eq.errors import FileError, SpecError, did_you_mean
from neuro_eq.figures.style import FREE, MINUS, PLUS
from neuro_eq.spec import Population
from neuro_eq.trajectory import Trajectory


class LackingError(FileError):
    """A file that is sound, but does not hold what a picture is drawn from."""

    def __init__(self, trajectory: Trajectory, kind: str, problem: str) -> None:
        super().__init__(f'{trajectory.path}: cannot draw "{kind}": {problem}')


@dataclass(frozen=True)
class Choice:
    """What to show; every field has a default that suits most files.

    Attributes:
        sample: for one sample's pictures.  It is the sample's place in its data set where the file has the label
            ``index``, as after training, else its row in the file.  By default the one that the nudge moves furthest.
        population: a free population.  By default all of them in the plane of states, else what the cost looks at.
        epoch: of a training run.  By default the last one in which the nudge moved at least half of the recorded
            samples, and the very last where none did: what is fitted is not moved, and shows nothing.
        weights: an ``.npz`` file of parameters; ``weights.npz`` beside the trajectory by default.
    """

    sample: int | None = None
    population: str | None = None
    epoch: int | None = None
    weights: Path | None = None


@dataclass(frozen=True)
class Phase:
    """A recorded phase as it is drawn everywhere."""

    place: int
    beta: float

    @property
    def free(self) -> bool:
        """Whether nothing is nudged."""
        return self.beta == 0

    @property
    def color(self) -> str:
        """Blue when free, vermillion for β > 0, green for β < 0."""
        return FREE if self.free else PLUS if self.beta > 0 else MINUS

    @property
    def dashes(self) -> str:
        """Solid when free, dashed for β > 0, dotted for β < 0: the colours' meaning without colours."""
        return "-" if self.free else "--" if self.beta > 0 else ":"

    @property
    def name(self) -> str:
        """``free``, or the nudge."""
        return "free" if self.free else f"β = {self.beta:+g}".replace("-", "−")


def rows(trajectory: Trajectory, choice: Choice, kind: str) -> np.ndarray:
    """The recorded samples of the chosen epoch; all where the file labels no epochs.

    Raises:
        LackingError: no relaxation was recorded.
        SpecError: there is no such epoch.
    """
    status = trajectory.equilibrium.get("status")
    if status is None or not len(status):
        raise LackingError(
            trajectory, kind, "it holds no relaxation; record one by relax(…, record=…) or train(…, record=…)"
        )
    epochs = trajectory.equilibrium.get("epoch")
    if epochs is None:
        if choice.epoch is not None:
            raise SpecError(f"{trajectory.path} labels no epochs, so none can be chosen", "epoch")
        return np.arange(len(status))
    epoch = _last_moved(trajectory, epochs) if choice.epoch is None else choice.epoch
    found = np.flatnonzero(epochs == epoch)
    if not found.size:
        raise SpecError(f"{epoch} was not recorded; {trajectory.path} has {_listed(np.unique(epochs))}", "epoch")
    return found


def _last_moved(trajectory: Trajectory, epochs: np.ndarray) -> int:
    """A nudged phase of a sample that is fitted ends before its first step."""
    nudged = trajectory.equilibrium["steps"][:, trajectory.betas != 0]
    moved: np.ndarray = np.any(nudged > 0, axis=1)
    found = [int(epoch) for epoch in np.unique(epochs) if moved[epochs == epoch].mean() >= 0.5]
    return found[-1] if found else int(epochs.max())


def epoch_of(trajectory: Trajectory, row: int) -> str:
    """``"epoch 5"``, or nothing where the file labels no epochs."""
    epochs = trajectory.equilibrium.get("epoch")
    return f"epoch {epochs[row]}" if epochs is not None and epochs[row] >= 0 else ""


def phases(trajectory: Trajectory, those: np.ndarray) -> list[Phase]:
    """The phases in which some of these samples were recorded, the free one first, then by falling β."""
    status = trajectory.equilibrium["status"][those]
    steps = trajectory.settling.get("residual")
    recorded = (status >= 0).any(axis=0)
    if steps is not None:
        recorded |= np.isfinite(steps[those]).any(axis=(0, 2))
    found = [Phase(int(k), float(trajectory.betas[k])) for k in np.flatnonzero(recorded)]
    return sorted(found, key=lambda phase: (not phase.free, -phase.beta))


def sample_row(trajectory: Trajectory, choice: Choice, kind: str) -> int:
    """The row of the chosen sample in the chosen epoch.

    Raises:
        LackingError, SpecError: as :func:`rows`; and there is no such sample.
    """
    those = rows(trajectory, choice, kind)
    if choice.sample is not None:
        index = trajectory.equilibrium.get("index", np.arange(len(trajectory.equilibrium["status"])))
        index = np.where(index >= 0, index, np.arange(len(index)))
        found = those[index[those] == choice.sample]
        if not found.size:
            there = f"{trajectory.path}{f' in {epoch}' if (epoch := epoch_of(trajectory, int(those[0]))) else ''}"
            raise SpecError(f"{choice.sample} was not recorded; {there} has {_listed(index[those])}", "sample")
        return int(found[0])
    return _most_nudged(trajectory, those)


def sample_name(trajectory: Trajectory, row: int) -> str:
    """``"sample 17"``: its place in its data set where that is known, else its row in the file."""
    table = trajectory.equilibrium
    return f"sample {table['index'][row] if 'index' in table and table['index'][row] >= 0 else row}"


def label_of(trajectory: Trajectory, row: int) -> int | None:
    """The class of a sample, where the file knows it."""
    labels = trajectory.equilibrium.get("label")
    return int(labels[row]) if labels is not None and labels[row] >= 0 else None


def sample_in_full(trajectory: Trajectory, row: int) -> str:
    """``"sample 17, label 7, epoch 5"``, as far as it is known."""
    label = label_of(trajectory, row)
    parts = (sample_name(trajectory, row), "" if label is None else f"label {label}", epoch_of(trajectory, row))
    return ", ".join(part for part in parts if part)


def population(trajectory: Trajectory, choice: Choice) -> Population:
    """The chosen free population, or the one that the cost looks at.

    Raises:
        SpecError: no such population, or a clamped one.
    """
    spec = trajectory.spec
    if choice.population is None:
        return spec.population(spec.cost.population) if spec.cost is not None else spec.free[-1]
    names = [p.name for p in spec.free]
    if choice.population not in names:
        if choice.population in spec.shapes:
            raise SpecError(f'"{choice.population}" is clamped, so it does not settle; choose {", ".join(names)}',
                            "population")  # fmt: skip
        raise SpecError(f'no population "{choice.population}"' + did_you_mean(choice.population, names), "population")
    return spec.population(choice.population)


def last_step(values: np.ndarray) -> int:
    """Index of the last recorded entry along the first axis; -1 where there is none."""
    recorded = np.flatnonzero(np.isfinite(values).reshape(len(values), -1).any(axis=1))
    return int(recorded[-1]) if recorded.size else -1


def _most_nudged(trajectory: Trajectory, those: np.ndarray) -> int:
    """A sample that is fitted shows three equal lines, so the one that the nudge moves furthest is shown."""
    free = np.flatnonzero(trajectory.betas == 0)
    if not free.size or len(trajectory.betas) == 1:
        return int(those[0])
    fixed = trajectory.fixed_activities(population(trajectory, Choice()).name)[those]
    moved = np.abs(fixed - fixed[:, free[0] : free[0] + 1]).reshape(len(those), -1)
    return int(those[np.argmax(np.nan_to_num(moved).max(axis=1))])


def _listed(numbers: np.ndarray) -> str:
    if len(numbers) > 8:
        return f"{numbers[0]} to {numbers[-1]}"
    return ", ".join(str(number) for number in numbers)
