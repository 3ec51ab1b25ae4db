"""The residual at every step: how fast samples settle, against their tolerance and the size of the nudge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from neuro_eq.figures.choice import Choice, LackingError, epoch_of, last_step, phases, rows, sample_name
from neuro_eq.figures.style import MUTED, EndLabel, dress, label_ends, whole_numbers, words
from neuro_eq.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 8
"""From so many samples on, quantiles say more than the samples' own lines."""


def residual_per_step(axes: Axes, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """RMS of ``drive − u`` in the free phase, and behind it in the nudged ones.

    The thick line is the median over the recorded samples; a band from the 10th to the 90th percentile stands
    around it, or thin lines where the samples are few.  A sample that has stopped stays where it is.

    Raises:
        LackingError: the file holds no residuals.
    """
    those = rows(trajectory, choice, "residual")
    if "residual" not in trajectory.settling:
        raise LackingError(
            trajectory, "residual", "it was recorded before residuals per step were kept; record the run again"
        )
    residual = trajectory.settling["residual"][those]
    dress(axes, "Residual", _detail(trajectory, those), "step", "RMS of drive − u")
    axes.set_yscale("log", nonpositive="mask")
    behind = 0
    ends: dict[str, EndLabel] = {}
    shown = phases(trajectory, those)
    for phase in shown:
        values = residual[:, phase.place]
        last = last_step(values.T)
        if last < 0:
            continue
        step = behind * (not phase.free) + trajectory.steps[: last + 1]
        values = values[np.isfinite(values).any(axis=1), : last + 1]
        if len(values) < MANY:
            axes.plot(step, values.T, color=phase.color, ls=phase.dashes, lw=0.8, alpha=0.45)
        else:
            low, high = np.nanquantile(values, (0.1, 0.9), axis=0)
            axes.fill_between(step, low, high, color=phase.color, alpha=0.18, lw=0)
        axes.plot(step, np.nanmedian(values, axis=0), color=phase.color, ls=phase.dashes, lw=2.2, label=phase.name)
        if phase.free:
            behind = int(step[-1])
        for name, word in (("tolerance", "tolerance"), ("nudge_size", "nudge size r₀")):
            level = _median(trajectory, name, those, phase.place)
            if level is not None:
                axes.plot(
                    step[[0, -1]], [level, level], color=MUTED, lw=1, ls=(0, (1, 1)), label=f"{word}, {phase.name}"
                )
                if not phase.free or word not in ends:
                    ends[word] = EndLabel(level, word, MUTED)
    words(axes, [(phase.name, phase.color) for phase in shown])
    _leave_room(axes)
    whole_numbers(axes)
    label_ends(axes, list(ends.values()))


def _median(trajectory: Trajectory, name: str, those: np.ndarray, place: int) -> float | None:
    if name not in trajectory.equilibrium:
        return None
    values = trajectory.equilibrium[name][those, place]
    values = values[np.isfinite(values) & (values > 0)]
    return float(np.median(values)) if values.size else None


def _detail(trajectory: Trajectory, those: np.ndarray) -> str:
    how = "thick: median of" if len(those) < MANY else "median and 10–90 % of"
    what = sample_name(trajectory, int(those[0])) if len(those) == 1 else f"{how} {len(those)} samples"
    return ", ".join(part for part in (what, epoch_of(trajectory, int(those[0]))) if part)


def _leave_room(axes: Axes) -> None:
    """A tenth more at the top, where the words stand."""
    low, high = np.log10(axes.get_ylim())
    axes.set_ylim(10**low, 10 ** (high + 0.1 * (high - low)))
