"""What a deployment leaves: JSON for numbers, HDF5 for samples, one figure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from neuro_eq.atomic import replacing, write_text
from neuro_eq.backends.deployment.deployment import Deployment
from neuro_eq.errors import FileError
from neuro_eq.figures.style import (
    BLUE,
    CYCLE,
    INK,
    MUTED,
    VERMILLION,
    EndLabel,
    dress,
    label_ends,
    note,
    page_margins,
    whole_numbers,
)
from neuro_eq.specfile import to_toml

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_SMALL: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


@dataclass(frozen=True)
class Files:
    """Where a deployment lies."""

    report: Path
    samples: Path
    figure: Path


def write(deployment: Deployment, folder: Path) -> Files:
    """Write all three.

    Raises:
        FileError: something cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot make this folder ({error.strerror or error})") from None
    files = Files(folder / "deployment.json", folder / "deployment.h5", folder / "deployment.png")
    write_text(files.report, json.dumps(deployment.report(), indent=1))
    _write_samples(deployment, files.samples)
    draw(deployment, files.figure)
    return files


def _write_samples(deployment: Deployment, path: Path) -> None:
    with replacing(path) as raw, h5py.File(raw, "w") as file:
        file.attrs["target"] = deployment.chip.name
        file.attrs["spec"] = to_toml(deployment.spec)
        samples = file.create_group("samples")
        for name, values in {
            "label": deployment.labels,
            "answer": deployment.answers,
            "float_answer": deployment.float_answers,
            "steps": deployment.steps,
            "silent": deployment.silent,
            "synaptic_operations": deployment.operations,
        }.items():
            samples.create_dataset(name, data=np.asarray(values), **_SMALL)
        messages = file.create_group("messages")
        for i, p in enumerate(deployment.network.populations):
            messages.create_dataset(p.name, data=deployment.messages[:, i], **_SMALL)
        course = file.create_group("course")
        course.create_dataset("accuracy", data=deployment.course.accuracy)
        course.create_dataset("messages", data=deployment.course.messages)
        weights = file.create_group("weights")
        for c in deployment.network.connections:
            stored = weights.create_dataset(
                c.name, data=c.weights, compression="gzip", compression_opts=1, shuffle=True
            )
            stored.attrs.update({"scale": c.scale, "exponent": c.exponent, "mode": c.mode.value, "delay": c.delay})


def draw(deployment: Deployment, path: Path) -> None:
    """Accuracy step by step, messages step by step, steps until silence, and what of the cores is used."""
    from matplotlib.figure import Figure

    width, height = 11.4, 8.6
    figure = Figure(figsize=(width, height))
    page_margins(figure, width, height)
    (answers, messages), (silence, cores) = figure.subplots(2, 2)
    _accuracy(answers, deployment)
    _messages(messages, deployment)
    _silence(silence, deployment)
    _cores(cores, deployment)
    title = f"{deployment.spec.name or 'network'} on {deployment.chip.name}"
    title += f" · {100 * deployment.accuracy:.2f} % in integers, {100 * deployment.float_accuracy:.2f} % in float"
    figure.suptitle(title, color=INK, fontsize=15.0, x=0.8 / width, y=1 - 0.18 / height, ha="left", va="top")
    with replacing(path) as file:
        figure.savefig(file, dpi=150, format="png")


def _accuracy(axes: Axes, deployment: Deployment) -> None:
    course = 100 * deployment.course.accuracy
    few = min(len(deployment.labels), 500)
    right = 100 * float(np.mean(deployment.float_answers[:few] == deployment.labels[:few]))
    dress(axes, "Answers", f"the first {few} test samples", "step", "right answers in %")
    axes.plot(np.arange(1, len(course) + 1), course, color=BLUE, lw=1.8)
    axes.axhline(right, color=MUTED, lw=1.0, ls="--")
    axes.set_ylim(0, 102)
    label_ends(axes, [EndLabel(course[-1], "chip", BLUE), EndLabel(right, "float", MUTED)])


def _messages(axes: Axes, deployment: Deployment) -> None:
    sent = deployment.course.messages
    dress(axes, "Messages", "mean of a sample; none at a fixed point", "step", "messages in a step")
    labels = []
    for i, (p, color) in enumerate(zip(deployment.network.populations, CYCLE * 9, strict=False)):
        step = np.flatnonzero(sent[:, i])  # a logarithmic axis has no place for none
        if step.size:
            axes.plot(step + 1, sent[step, i], color=color, lw=1.6, marker="o" if step.size == 1 else None)
            labels.append(EndLabel(float(sent[step[-1], i]), p.name, color))
    axes.set_yscale("log")
    label_ends(axes, labels)


def _silence(axes: Axes, deployment: Deployment) -> None:
    quiet = deployment.steps[deployment.silent]
    dress(axes, "Steps until nothing moves", f"{len(deployment.steps)} test samples", "steps", "samples")
    if quiet.size:
        axes.hist(quiet, bins=[float(edge) - 0.5 for edge in range(quiet.min(), quiet.max() + 2)], color=BLUE)
    if quiet.size < len(deployment.steps):
        note(axes, f"{len(deployment.steps) - quiet.size} samples were not silent when time was up")


def _cores(axes: Axes, deployment: Deployment) -> None:
    limits = {name: limit.value for name, limit in deployment.chip.per_core.items() if limit.value is not None}
    dress(axes, "Cores", f"{len(deployment.placement.cores)} of {deployment.chip.cores.value}", "core", "used in %")
    at = np.arange(len(deployment.placement.cores))
    width = 0.8 / max(1, len(limits))
    labels = []
    for k, (name, limit) in enumerate(limits.items()):
        used = [100 * core.used[name] / limit for core in deployment.placement.cores]
        axes.bar(at + (k - (len(limits) - 1) / 2) * width, used, width, color=CYCLE[k])
        labels.append(EndLabel(max(used), name, CYCLE[k]))
    axes.set_ylim(0, 105)
    axes.axhline(100, color=VERMILLION, lw=1.0)
    whole_numbers(axes)
    label_ends(axes, labels)
