"""What a spiking reading leaves: spikes as SONATA has them, and a figure of answers and of one sample's spikes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from neuro_eq.atomic import replacing
from neuro_eq.backends.spiking.reading import SpikingRun
from neuro_eq.figures.style import BLUE, CYCLE, INK, MUTED, EndLabel, dress, label_ends, page_margins

STEP_MS = 1.0
"""A step of the simulation in the file's milliseconds."""


def write_spikes(run: SpikingRun, path: Path) -> None:
    """The first sample's spikes: ``/spikes/<population>/{timestamps,node_ids}``, sorted by time.

    Raises:
        FileError: it cannot be written.
    """
    with replacing(path) as raw, h5py.File(raw, "w") as file:
        group = file.create_group("spikes")
        for name, events in run.raster.items():
            population = group.create_group(name)
            population.attrs["sorting"] = "by_time"
            times = population.create_dataset("timestamps", data=events[:, 0] * STEP_MS)
            times.attrs["units"] = "milliseconds"
            population.create_dataset("node_ids", data=events[:, 1].astype(np.uint64))


def draw_spikes(run: SpikingRun, labels: np.ndarray, settled: float, path: Path) -> None:
    """Right answers against steps, and a raster.

    Args:
        settled: share of right answers at the equilibrium.

    Raises:
        FileError: it cannot be written.
    """
    from matplotlib.figure import Figure

    width, height = 11.4, 4.8
    figure = Figure(figsize=(width, height))
    page_margins(figure, width, height)
    answers, raster = figure.subplots(1, 2)
    right = 100 * np.mean(run.answers == labels, axis=1)
    dress(answers, "Answers", f"{len(labels)} test samples", "step", "right answers in %")
    answers.plot(np.arange(1, len(right) + 1), right, color=BLUE, lw=1.8)
    answers.axhline(100 * settled, color=MUTED, lw=1.0, ls="--")
    answers.set_ylim(0, 102)
    label_ends(answers, [EndLabel(float(right[-1]), "spikes", BLUE), EndLabel(100 * settled, "equilibrium", MUTED)])
    dress(raster, "Spikes", "of the first sample", "step", "unit")
    first = 0
    labels_at = []
    for (name, events), color in zip(run.raster.items(), CYCLE * 9, strict=False):
        raster.plot(events[:, 0], first + events[:, 1], ".", color=color, ms=1.5)
        size = run.network.population(name).size
        labels_at.append(EndLabel(first + size / 2, name, color))
        first += size
    raster.set_ylim(-1, first)
    label_ends(raster, labels_at)
    figure.suptitle(
        f"{run.per_sample:.0f} spikes a sample", color=INK, fontsize=15.0, x=0.8 / width, y=1 - 0.18 / height,
        ha="left", va="top",
    )  # fmt: skip
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format="png")
