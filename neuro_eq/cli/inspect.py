"""``neuro_eq inspect``: what is in a trajectory file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Put the command into the program."""
    app.command("inspect", epilog="Example:  neuro_eq inspect runs/digits-layered_hopfield-numba-seed0/trajectory.h5")(
        inspect
    )


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE.h5", help="A trajectory file, complete or a .part.")],
) -> None:
    """Say what a trajectory file holds: the network, the populations, how samples settled, the metrics."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from neuro_eq.equilibrium import Status
    from neuro_eq.trajectory import open_trajectory

    console = Console()
    with open_trajectory(file) as trajectory:
        trajectory.check()
        attrs = trajectory.attrs
        finished = "complete" if trajectory.complete else "not complete (the run was stopped, or still goes on)"
        console.print(
            f"{file}: {finished}, {attrs.get('backend')} {attrs.get('dtype')}, seed {attrs.get('seed')}",
            soft_wrap=True, highlight=False, markup=False,
        )  # fmt: skip
        table = Table(title="populations", title_justify="left")
        for column in ("name", "shape", "activation", "samples × phases × steps"):
            table.add_column(column)
        for name in trajectory.populations:
            population = trajectory.spec.population(name)
            shape = trajectory.activities(name).shape
            recorded = f"{shape[0]} samples, clamped" if population.clamped else " × ".join(map(str, shape[:3]))
            activation = "–" if population.clamped else population.activation.kind
            table.add_row(name, "×".join(map(str, population.shape)), activation, recorded)
        console.print(table)
        outcome = trajectory.equilibrium
        table = Table(title="equilibria", title_justify="left")
        for column in ("phase", "steps", "residual", "energy", "status"):
            table.add_column(column)
        for k, phase in enumerate(trajectory.phases):
            there = outcome["status"][:, k] >= 0
            if not there.any():
                continue
            status = outcome["status"][there, k]
            count = ", ".join(f"{np.sum(status == s)} {s.name.lower()}" for s in Status if np.any(status == s))
            table.add_row(
                phase,
                f"{np.median(outcome['steps'][there, k]):.0f}",
                f"{np.median(outcome['residual'][there, k]):.1e}",
                f"{np.median(outcome['energy'][there, k]):.4g}",
                count,
            )
        console.print(table)
        if trajectory.metrics:
            table = Table(title="metrics", title_justify="left")
            for column in ("name", "entries", "first", "last"):
                table.add_column(column)
            for name, (_, values) in trajectory.metrics.items():
                known = values[np.isfinite(values)]
                ends = (f"{known[0]:.4g}", f"{known[-1]:.4g}") if known.size else ("–", "–")
                table.add_row(name, str(known.size), *ends)
            console.print(table)
