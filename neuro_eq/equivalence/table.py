"""The docs' table: every network's gradients, as a whole and for every group of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping

from neuro_eq.equivalence.bars import (
    BETAS,
    CENTERED,
    DYADIC,
    JUDGED,
    KINKED_COSINE,
    RADIUS,
    SINGLE,
    SINGLE_COSINE,
    SMALLEST,
    STEPS,
    Measured,
    at,
)
from neuro_eq.equivalence.measuring import RESIDUAL

COMMAND = "neuro_eq equivalence --write docs/equivalence.md"

HEADER = """# Gradients against the truth

Written by `{command}`; edit the networks, not this file.

Every model's gradient by a local method, beside implicit differentiation of the same fixed point on the reference
engine in float64. Each network was looked at {batches} times, each time with other parameters (the start values and a
little noise) and {size} other samples, and every phase settled to a residual of at most {residual:g}. A cell is the
norm of the error relative to that of the true gradient, or a cosine with it: of the whole gradient in the **worst
batch**, and of a group of parameters in all batches together, as a parameter of one number has a gradient that passes
through nought from one batch to the next.

What is asked for: a smooth network's error falls with β² and is at most {centered:g} at β = {judged:g}, in every group
of parameters; dyadic EP is within {dyadic:g}. In float32, whose noise rises as 1/β, the cosine at β = {single:g} is
above {single_cosine:g}. Where there are kinks, units that cross one between the two nudged phases add an error of the
order of their own move, which does not fall with β² but with their number: there the cosine at β = {smallest:g} is
above {kinked_cosine:g}, and so it is in float32 at the best of three nudges. A table in which a bar is missed is not
written.

BPTT goes through {steps} steps, and is a second truth. The method is `EqProp`, centered, where all synapses have an
energy, and `AsymEP` where not. A dash stands where a method does not apply, or where there is no error that could fall.
"""


def header(batches: int, size: int) -> str:
    """What the page begins with."""
    return HEADER.format(
        command=COMMAND, batches=batches, size=size, residual=RESIDUAL, centered=CENTERED, judged=JUDGED,
        dyadic=DYADIC, single=SINGLE, single_cosine=SINGLE_COSINE, smallest=SMALLEST, kinked_cosine=KINKED_COSINE,
        steps=STEPS,
    )  # fmt: skip


def page(networks: Mapping[str, Measured], batches: int, size: int) -> str:
    """The page of all these networks."""
    smooth = {title: found for title, found in networks.items() if found.smooth}
    kinked = {title: found for title, found in networks.items() if not found.smooth}
    parts = [
        header(batches, size),
        "## Smooth networks\n\n" + _smooth(smooth),
        "## Networks with kinks\n\n" + _kinked(kinked),
        f"## What is biased\n\n{BIASED}\n\n" + _biased(networks),
        f"## Groups of parameters\n\n{GROUPS}",
        *(f"### {title}\n\n{_groups(found)}" for title, found in networks.items()),
    ]
    return "\n".join(parts)


BIASED = f"""The plain vector field (at β = {JUDGED:g}) has no error of its own where the network is symmetric, and does
not become right with a smaller β where it is not. JFB and the phantom gradient (5 steps, τ = ½) leave the adjoint
unsolved. Cosines with the true gradient:"""

GROUPS = """*part* is the norm of the group's true gradient relative to the whole. Where a group has none, its errors
are absolute: relative to the whole gradient, and marked so. Parameters of a readout outside the dynamics are exact, as
their gradient is taken at the free state.
"""


def _smooth(networks: Mapping[str, Measured]) -> str:
    head = ["network", "method", *(at(beta) for beta in BETAS), "order"]
    lines = _head([*head, "holomorphic", "dyadic", "BPTT", "float32, cosine"], 2)
    for title, found in networks.items():
        worst = [found.double.worst(at(beta)) for beta in BETAS]
        holomorphic = "–"
        if "holomorphic" in found.double.estimates:
            holomorphic = error(found.double.worst("holomorphic"))
        lines.append(
            row(
                title, found.method, *map(error, worst), power(found.order("")), holomorphic,
                error(found.double.worst("dyadic")), error(found.through.worst("BPTT")),
                cosine(found.single.least_cosine(found.single_at)),
            )
        )  # fmt: skip
    return "\n".join(lines) + f"\n\nThe holomorphic gradient has 4 points at β = {RADIUS:g}.\n"


def _kinked(networks: Mapping[str, Measured]) -> str:
    betas = (BETAS[2], BETAS[3], JUDGED, SMALLEST)
    head = ["network", "method", *(f"{at(beta)}: {what}" for beta in betas for what in ("error", "cosine", "cross"))]
    lines = _head([*head, "dyadic", "BPTT", "float32", "float32, cosine"], 2)
    for title, found in networks.items():
        cells: list[str] = []
        for beta in betas:
            crossed = float(found.double.estimates[at(beta)].crossed.mean())
            worst, least = found.double.worst(at(beta)), found.double.least_cosine(at(beta))
            cells += [error(worst), cosine(least), f"{100 * crossed:.3f} %"]
        exact = [error(found.double.worst("dyadic")), error(found.through.worst("BPTT"))]
        exact += [found.single_at, cosine(found.single.least_cosine(found.single_at))]
        lines.append(row(title, found.method, *cells, *exact))
    return "\n".join(lines) + "\n\n*cross* is the mean fraction of the units next to a kink that cross it.\n"


def _biased(networks: Mapping[str, Measured]) -> str:
    names = ["vector field", "JFB", "phantom"]
    lines = _head(["network", *names], 1)
    for title, found in networks.items():
        lines.append(row(title, *(cosine(found.double.least_cosine(name)) for name in names)))
    return "\n".join(lines) + "\n"


def _groups(found: Measured) -> str:
    betas = (BETAS[2], BETAS[3], JUDGED) if found.smooth else (BETAS[3], JUDGED, SMALLEST)
    last = "order" if found.smooth else f"{at(SMALLEST)}: cosine"
    single = found.single_at
    lines = _head(["group", "part", *map(at, betas), last, "dyadic", "BPTT", f"float32, {single}: cosine"], 1)
    columns = [*(found.double.error(at(beta)) for beta in betas), found.double.error("dyadic")]
    columns.append(found.through.error("BPTT"))
    angles = {} if found.smooth else found.double.cosine(at(SMALLEST))
    rounded = found.single.cosine(single)
    for group, share in found.double.share.items():
        none = group in found.double.vanishing
        cells = [error(column[group], none) for column in columns]
        cells.insert(len(betas), power(found.order(group)) if found.smooth else cosine(angles[group]))
        lines.append(row(f"`{group}`" if group else "all", error(share), *cells, cosine(rounded[group])))
    return "\n".join(lines) + "\n"


def error(value: float, absolute: bool = False) -> str:
    """A cell of an error."""
    return ("0" if value == 0.0 else f"{value:.1e}") + (" abs." if absolute else "")


def cosine(value: float) -> str:
    """A cell of a cosine, with as many digits as a bar needs."""
    return "–" if math.isnan(value) else f"{value:.6f}"


def power(value: float) -> str:
    """A cell of an order."""
    return "–" if math.isnan(value) else f"{value:.2f}"


def row(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def _head(titles: list[str], words: int) -> list[str]:
    return [row(*titles), row(*["---"] * words, *["---:"] * (len(titles) - words))]
