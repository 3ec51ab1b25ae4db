"""What stands where in a trajectory file: the names that its writer and its reader share.

    /                            attributes: schema, complete, created, every, backend, dtype, seed, spec, …; and
                                 what the recorder was told, such as image_shape
    /trajectory/<population>     state, activity              (sample, phase, step, unit…)
                                 fixed_state, fixed_activity  (sample, phase, unit…)
                                 a clamped one has activity   (sample, unit…) only
    /equilibrium                 steps, residual, status, energy, tolerance, nudge_size (sample, phase);
                                 labels (sample)
    /settling                    residual, energy, cost       (sample, phase, step)
                                 energy_term                  (sample, phase, step, term)
    /metrics                     one variable a metric, on the axis epoch or step

Every group has its own dimension scales, so that it reads by itself.  The entry at step ``s`` is the state after
``min(s, the steps that the sample took)`` steps: a sample that has stopped is held to the end of its relaxation, and
what was never recorded is NaN (-1 where numbers are whole).  ``/settling`` says of the recorded states, in float64 and
at the nudge of their phase: the RMS of ``drive − u``, the energy ``G`` and its terms (a network with a directed synapse
has none of these), and the cost where the relaxation was given a target.  ``nudge_size`` is ``r₀ = |β|·RMS(∂C/∂a)``
where a nudged phase set out; ``tolerance`` is the residual at which a sample was to stop.
"""

from __future__ import annotations

import math

from neuro_eq.arrays import Shape
from neuro_eq.equilibrium import Status

VERSION = 1
"""Raised whenever a file of the old layout would be misread."""

ABSENT = -1
"""Where a whole number was not recorded."""

MEGABYTE = 1 << 20

TRAJECTORY, EQUILIBRIUM, METRICS, SETTLING = "trajectory", "equilibrium", "metrics", "settling"

MEASURES = ("residual", "energy", "cost")
ENERGY_TERM, TERM = "energy_term", "term"
"""Variables of ``/settling``, the last with an axis of its own."""

OUTCOMES = ("steps", "residual", "status", "energy", "tolerance", "nudge_size")
"""Variables of ``/equilibrium`` beside the labels."""

ATTRIBUTES = (
    "schema", "complete", "created", "every", "note", "backend", "dtype", "seed", "spec", "spec_sha256", "versions",
)  # fmt: skip
"""Attributes of the file that it sets itself."""

AXES = ("sample", "phase", "step")
"""The axes that grow, shared by the whole file."""

METRIC_AXES = ("epoch", "step")

STATUS_CODES = (ABSENT, *(int(status) for status in Status))
STATUS_NAMES = " ".join(["absent", *(status.name.lower() for status in Status)])
"""Attributes ``flag_values`` and ``flag_meanings`` of ``status``, as the CF conventions name codes."""


LONGEST_PHASE = 32
"""Bytes of a phase's name: the word, and the 24 that a float in its shortest exact form may take."""


def phase_name(beta: float) -> str:
    """``"free"`` at β = 0, else ``"nudged"`` and the signed β in its shortest exact form: ``"nudged-0.1"``."""
    return "free" if beta == 0 else f"nudged{float(beta):+}"


def unit_axes(shape: Shape) -> tuple[str, ...]:
    """Names of a population's own axes: ``unit``, or ``unit0``, ``unit1``, … when there are several."""
    return ("unit",) if len(shape) == 1 else tuple(f"unit{i}" for i in range(len(shape)))


def steps_per_chunk(widest: int, samples: int, steps: int) -> int:
    """How many recorded steps a chunk holds: a power of two that covers ``steps``, from 1 to 32.

    Args:
        widest: bytes of one sample of the largest population at one step.
        samples: samples recorded of one relaxation; a chunk's steps of all of them wait in memory (at most 16 MB).
        steps: the most steps that a relaxation is expected to record.
    """
    memory = min(MEGABYTE // widest, 8 * MEGABYTE // (widest * samples))
    power = 1
    while power < min(steps, 32) and 2 * power <= memory:
        power *= 2
    return power


def chunk_shape(samples: int, steps: int | None, shape: Shape, itemsize: int) -> tuple[int, ...]:
    """A chunk of at most 1 MB for ``(sample, phase, [step,] unit…)``, made for reading a few samples' trajectories.

    It holds one sample, or as many as fit into 64 kB (small populations would shatter into tiny chunks), and a whole
    division of ``samples``, so that relaxations of that many samples do not share chunks.
    """
    units = list(shape)
    for axis in range(len(units)):
        rest = math.prod(units[:axis] + units[axis + 1 :]) * itemsize
        units[axis] = max(1, min(units[axis], MEGABYTE // rest))
    block = math.prod(units) * itemsize * (steps or 1)
    fitting = max(1, min(samples, 64 * 1024 // block))
    rows = next(count for count in range(fitting, 0, -1) if samples % count == 0)
    return (rows, 1, *(() if steps is None else (steps,)), *units)
