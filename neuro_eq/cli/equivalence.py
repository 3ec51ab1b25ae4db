"""``neuro_eq equivalence``: does local learning find the true gradient?  Exit status 1 where a bar is missed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

EXAMPLES = """\
Examples:

  neuro_eq equivalence --only transformer --batches 2

  neuro_eq equivalence --write docs/equivalence.md
"""


def add_to(app: typer.Typer) -> None:
    """Put the command into the program."""
    app.command("equivalence", epilog=EXAMPLES)(equivalence)


def equivalence(
    write: Annotated[Path | None, typer.Option("--write", "-w", help="File for the table, as Markdown.")] = None,
    only: Annotated[
        str | None, typer.Option("--only", help="Networks whose titles have this word in them.", show_default="all")
    ] = None,
    batches: Annotated[int, typer.Option("--batches", min=1, help="Random networks and batches of each.")] = 20,
    size: Annotated[int, typer.Option("--size", min=1, help="Samples in a batch.")] = 16,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
) -> None:
    """Every model's gradient against implicit differentiation, BPTT and dyadic EP, for every group of parameters."""
    from rich.console import Console

    from neuro_eq.atomic import write_text
    from neuro_eq.equivalence import NETWORKS, measure_network, page
    from neuro_eq.errors import SpecError

    chosen = {title: make for title, make in NETWORKS.items() if only is None or only in title}
    if not chosen:
        raise SpecError(f"no network has {only!r} in its title; they are: {'; '.join(NETWORKS)}", "--only")
    if only is not None and write is not None:
        raise SpecError("the table is of all networks, so --write cannot be given with it", "--only")
    found, missed = {}, 0
    with Console(stderr=True).status("measuring") as line:
        for title, make in chosen.items():
            said = partial(_say, line, title)
            found[title] = measure_network(make(), batches=batches, size=size, seed=seed, progress=said)
            problems = list(found[title].missed())
            missed += len(problems)
            print(f"{'missed' if problems else 'holds':<7} {title.replace('`', '')}")
            for problem in problems:
                print(f"        {problem}")
    if missed:
        print(f"{missed} bars are missed")
        raise typer.Exit(1)
    if write is not None:
        write_text(write, page(found, batches, size))
        print(f"table   {write}")
    print(f"{len(found)} networks, {batches} batches of {size} samples: every bar holds")


def _say(line: Any, title: str, what: str) -> None:
    line.update(f"{title}: {what}")
