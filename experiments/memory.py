"""Question 6: what does a gradient take of memory, against width and the number of steps?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from neuro_eq.experiments.machinery.drawing import blank, key, line, side_by_side
from neuro_eq.experiments.machinery.experiment import (
    Claim,
    Column,
    Configuration,
    Experiment,
    Outcome,
    Scale,
    Verdict,
)
from neuro_eq.experiments.machinery.judging import Share, all_of, judged, judged_sides, share
from neuro_eq.experiments.machinery.results import Cell, Results, number
from neuro_eq.experiments.training.footprint import Way, footprint, parameter_bytes
from neuro_eq.figures.style import CYCLE, dress
from neuro_eq.models import energy_transformer, looped_transformer
from neuro_eq.spec import Network

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WAYS: tuple[Way, ...] = (
    "local", "bptt", "checkpointed bptt", "reversible", "torchdeq", "implicit", "jfb", "one application", "dyadic",
)  # fmt: skip
"""Local learning, and what it is held against."""

AT = 30
"""T at which ways are compared."""

FLAT = 0.05
"""By how much activations may grow from the smallest T to the largest and count as flat."""


class Footprint(Configuration):
    """One way to a gradient of one block that settles in T steps.

    Args:
        way: see :data:`WAYS`.
        model: ``"energy_transformer"`` or ``"looped_transformer"``, a conventional block.
        width: d of a token; four heads, sixteen tokens.
        steps: T.
        batch: samples.
    """

    backend: str = "torch"
    dtype: Literal["float64", "float32"] = "float32"
    way: Way = "local"
    model: str = "energy_transformer"
    width: int = 64
    steps: int = 30
    batch: int = 64

    @property
    def label(self) -> str:
        return f"{self.model}, d {self.width}, T = {self.steps}, {self.way}"


def configurations(scale: Scale) -> list[Footprint]:
    """T at one width, and width at one T."""
    if scale == "quick":
        chosen: tuple[tuple[Way, int], ...] = (("local", 10), ("local", 30), ("bptt", 30))
        return [Footprint(way=way, width=16, steps=steps, batch=8) for way, steps in chosen]
    widths = (64, 128, 256, 512) if scale == "medium" else (64, 128, 256, 512, 1024, 2048, 4096)
    rows = []
    for model in ("energy_transformer", "looped_transformer"):
        rows += [Footprint(way=w, model=model, width=128, steps=t) for w in WAYS for t in (10, 30, 100, 200)]
        rows += [Footprint(way=w, model=model, width=d, steps=AT) for w in WAYS for d in widths if d != 128]
    return rows


def network(config: Footprint) -> Network:
    """One block on sixteen patches of an image of the size of MNIST's."""
    if config.model == "looped_transformer":
        return looped_transformer((28, 28), 10, patch=7, width=config.width, heads=4, attention="softmax")
    return energy_transformer((28, 28), 10, patch=7, width=config.width, heads=4)


def run(config: Footprint, seed: int) -> Outcome:
    """Measure in a process of its own; seeds are repetitions."""
    spec = network(config)
    took = footprint(spec, way=config.way, steps=config.steps, batch=config.batch, dtype=config.dtype)
    own = float(parameter_bytes(spec, config.dtype))
    return Outcome(
        {
            "activations": took["allocated"],
            "process": took["process"],
            "parameters": own,
            # Parameters, their gradient, and the two moments of Adam.
            "total": took["allocated"] + 4.0 * own,
            "seconds": took["seconds"],
        },
        network=spec,
    )


# -- what the results say -------------------------------------------------------------------------------------------


def verdict(results: Results) -> Verdict:
    """Flatness in T, the ratio to backpropagation at T = 30, and totals."""
    claims: list[Claim] = []
    for model in results.choices("model"):
        rows = results.where(model=model)
        claims += [
            _flat(model, rows),
            _share(model, rows),
            _others(model, rows),
            _total(model, rows),
            _slower(model, rows),
        ]
    return Verdict((*claims, _wide(results)))


WIDE = 2048
"""Width at which earlier work said that backpropagation through time does not fit."""


def _wide(results: Results) -> Claim:
    says = f"d = {WIDE} trains where backpropagation through time does not"
    prior = "d = 2048 trains where BPTT does not"
    wide = [cell for cell in results.where(way="local") if cell.configuration.width == WIDE]
    if not wide:
        widest = max(results.choices("width"), default=0)
        return judged(says, None, f"not run: the widest is d = {widest}", prior)
    both = [(cell, results.first(**{**dict(cell.configuration), "way": "bptt"})) for cell in wide]
    found = "; ".join(
        f"{ours.configuration.label}: {number(ours.mean('activations') / 1e6, '.0f')} MB, BPTT "
        + ("not run" if twin is None else f"{number(twin.mean('activations') / 1e6, '.0f')} MB")
        for ours, twin in both
    )
    # A run that found no memory leaves no row, as one that nobody asked for: what is not there decides nothing, and
    # the claim can be refuted here and not shown.
    return judged(says, False if all(twin is not None for _, twin in both) else None, found, prior)


def _flat(model: str, rows: Results) -> Claim:
    says = f"{model}: activations do not grow with T"
    cells = _over_steps(rows, "local")
    if len(cells) < 2:
        return judged(says, None, "only one T")
    values = np.array([cell.mean("activations") for cell in cells])
    found = "; ".join(f"T = {c.configuration.steps}: {c.mean('activations') / 1e6:.2f} MB" for c in cells)
    return judged(says, bool(values.max() <= (1.0 + FLAT) * values.min()), found)


def _share(model: str, rows: Results) -> Claim:
    says = f"{model}: activations are at most a tenth of backpropagation's at T = {AT}"
    shares = _shares(rows, "bptt", "activations")
    whole = _shares(rows, "bptt", "process")
    found = "; ".join(f"d {d}: {ours.of:.3f} (of the process {whole[d].of:.3f})" for d, ours in shares.items())
    sides = [ours.at_most(0.1) for ours in shares.values()]
    return judged_sides(says, sides, f"widths; {found}", "1.06 of BP, aim below 0.5")


def _others(model: str, rows: Results) -> Claim:
    says = f"{model}: they are no more than those of any other way"
    parts, sides = [], []
    for way in WAYS[1:]:
        shares = _shares(rows, way, "activations").values()
        of = [ours.of for ours in shares]
        if of and np.isfinite(of).all():
            sides.append(all_of(ours.at_most(1.0) for ours in shares))
            parts.append(f"{way} {min(of):.3f} to {max(of):.3f}")
        else:
            parts.append(f"{way}: not run")
    return judged_sides(says, sides, f"ways, at every width; ours as a share of: {'; '.join(parts)}")


def _total(model: str, rows: Results) -> Claim:
    says = f"{model}: with parameters, gradient and Adam's moments local learning takes less than half"
    shares = _shares(rows, "bptt", "total")
    found = "; ".join(f"d {d}: {ours.of:.3f}" for d, ours in shares.items())
    sides = [ours.below(0.5) for ours in shares.values()]
    return judged_sides(says, sides, f"widths; of BPTT's total at T = {AT}, batch 64: {found}", "aim below 0.5")


def _slower(model: str, rows: Results) -> Claim:
    says = f"{model}: it takes at most twice the time of backpropagation"
    shares = _shares(rows, "bptt", "seconds")
    found = "; ".join(f"d {d}: {ours.said('.2f')}" for d, ours in shares.items())
    sides = [ours.at_most(2.0) for ours in shares.values()]
    return judged_sides(says, sides, f"widths; processor time at T = {AT} and 10 nudged steps a phase: {found}")


def _over_steps(rows: Results, way: Way) -> list[Cell]:
    """The cells of one width that has several T."""
    cells = list(rows.where(way=way))
    widths = [cell.configuration.width for cell in cells]
    common = max(widths, key=widths.count, default=0)
    return sorted((c for c in cells if c.configuration.width == common), key=lambda c: c.configuration.steps)


def _shares(rows: Results, way: Way, name: str) -> dict[int, Share]:
    """What local learning takes of another way, for every width at which both ran, at the usual T."""
    found = {}
    for ours in rows.where(way="local", steps=AT):
        other = rows.first(way=way, steps=AT, width=ours.configuration.width)
        if other is not None:
            found[ours.configuration.width] = share(ours, other, name)
    return dict(sorted(found.items()))


def figure(results: Results) -> Figure:
    """Activations over T and over width, and all that training holds over width; each way a line."""
    models = results.choices("model")
    down = max(len(models), 1)
    page = blank(14.0, 4.2 * down)
    axes = page.subplots(down, 3, squeeze=False)
    for panels, model in zip(axes, models, strict=False):
        rows = results.where(model=model)
        over_steps, over_width, whole = panels
        dress(over_steps, "Activations against T", f"{model}, above parameters and data", "T", "MB")
        dress(over_width, "Activations against width", f"{model}, T = {AT}", "d", "MB")
        dress(whole, "With parameters, gradient and Adam", f"{model}, T = {AT}", "d", "MB")
        # Local learning last, on top of the others.
        for color, way in reversed(list(zip(CYCLE, WAYS, strict=False))):
            wide = sorted(rows.where(way=way, steps=AT), key=lambda cell: cell.configuration.width)
            for panel, part, field, name in (
                (over_steps, _over_steps(rows, way), "steps", "activations"),
                (over_width, wide, "width", "activations"),
                (whole, wide, "width", "total"),
            ):
                usable = [c for c in part if not math.isnan(c.mean(name))]
                if usable:
                    runs = side_by_side([c.values(name) / 1e6 for c in usable])
                    x = [getattr(c.configuration, field) for c in usable]
                    line(panel, x, runs, way, color, logarithmic=True)
                    panel.set_xscale("log")
                    panel.set_xticks(x, map(str, x))
                    panel.minorticks_off()
        if whole.lines:
            key(whole, beside=True)
    return page


EXPERIMENT = Experiment(
    name="memory",
    number=6,
    question="What does a gradient take of memory, against width and the number of steps, by local learning and by "
    "what it is held against?",
    prior="1.06 of BP (aim below 0.5)",
    bar="activations flat in T, and at most a tenth of backpropagation through time's at T = 30",
    configuration=Footprint,
    configurations=configurations,
    run=run,
    figure=figure,
    verdict=verdict,
    columns=(
        Column("activations", "activations, MB", ".2f", 1e-6),
        Column("process", "process, MB", ".1f", 1e-6),
        Column("parameters", "parameters, MB", ".2f", 1e-6),
        Column("total", "with Adam, MB", ".2f", 1e-6),
        Column("seconds", "processor time, s", ".3f"),
    ),
    alone=True,
    engines=("torch",),
)
