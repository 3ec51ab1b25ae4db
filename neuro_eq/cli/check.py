"""``neuro_eq check``: is this right?  Exit status 1 where a tolerance is missed, 2 for wrong input, 0 else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from neuro_eq.checking import Report, Row
    from neuro_eq.spec import Network

MANY = 3
"""A group of so many rows that are all well is shown as one line."""

EXAMPLES = """\
Examples:

  neuro_eq check                             what neuro_eq run begins with

  neuro_eq check --spec net.toml --data npz:mine.npz

  neuro_eq check --data digits --weights runs/…/weights.npz --out checked

  neuro_eq check --model looped_mlp --hidden 128 --backends numba,torch --beta 0.3
"""


def add_to(app: typer.Typer) -> None:
    """Put the command into the program."""
    app.command("check", epilog=EXAMPLES)(check)


def check(
    spec: Annotated[
        Path | None, typer.Option("--spec", help="A network of your own, as TOML; instead of --model.")
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A model by name, as in run.", show_default="layered_hopfield")
    ] = None,
    symmetric: Annotated[
        bool | None,
        typer.Option(
            "--symmetric/--directed", help="Synapses within a looped model, as in run.", show_default="as the model"
        ),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option("--hidden", help="Units of the hidden populations, as in 256 or 512,512.", show_default="as run"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            help="digits, mnist, … or npz:PATH: look at some of its test samples.",
            show_default="random samples",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="A weights.npz that a run wrote.", show_default="the start values of --seed"),
    ] = None,
    backends: Annotated[
        str | None,
        typer.Option(
            "--backends",
            "-b",
            help="Engines to hold against the reference, as in numba,torch.",
            show_default="every installed one",
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="How many samples to look at.")] = 8,
    beta: Annotated[float, typer.Option("--beta", help="Size of the nudge that is judged.")] = 0.1,
    alpha: Annotated[float, typer.Option("--alpha", help="Step size of the settling that is judged.")] = 0.5,
    max_steps: Annotated[int, typer.Option("--max-steps", min=1, help="Most steps of a phase.")] = 500,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random, the start values included.")] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to leave report.json and figure.png in.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every row, also the many that are well.")] = False,
) -> None:
    """Is this right?  Fixed points and gradients on every engine, gradients against the truth, and convergence."""
    from rich.console import Console

    from neuro_eq.checking import check as examine
    from neuro_eq.cli.network import chosen_network
    from neuro_eq.solvers import Picard, Relaxation
    from neuro_eq.weights import load_weights

    network, _ = chosen_network(spec, model, symmetric, hidden, data or "digits")
    settling = Relaxation(solver=Picard(alpha), max_steps=max_steps)
    x, y = _samples(data, network, samples, seed)
    parameters = None if weights is None else load_weights(weights, network)
    if out is not None:
        _make(out)
    console, working = Console(highlight=False), Console(stderr=True)
    with working.status("checking") as line:
        report = examine(
            network, x, y, parameters=parameters, backends=_names(backends), samples=samples, beta=beta,
            settling=settling, seed=seed, inputs=data or "",
            progress=lambda what: line.update(f"checking  {what}"),
        )  # fmt: skip
    show(report, console, every=every)
    if out is not None:
        report.save(out / "report.json")
        for name, path in (("report", out / "report.json"), ("figure", report.draw(out / "figure.png"))):
            # Paths are printed plainly: a wrapped path cannot be copied.
            print(f"{name:<7} {path}")
    print(_last_line(report))
    if not report.ok:
        raise typer.Exit(1)


def _samples(data: str | None, network: Network, count: int, seed: int) -> tuple[Any, Any]:
    """Some of a data set's test samples; nothing without a data set."""
    if data is None:
        return None, None
    import numpy as np

    from neuro_eq.datasets import load_data

    loaded = load_data(data, seed)
    there = len(loaded.x_test)
    rows = np.sort(np.random.default_rng([seed, 32]).permutation(there)[: min(count, there)])
    return loaded.x_test[rows], None if network.cost is None else loaded.y_test[rows]


def _names(backends: str | None) -> list[str] | None:
    return None if backends is None else [name.strip() for name in backends.split(",") if name.strip()]


def _make(folder: Path) -> None:
    from neuro_eq.errors import FileError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileError(f"{folder}: is already there and not empty; name another folder with --out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot make this folder ({error.strerror or error})") from None


# -- what is printed ------------------------------------------------------------------------------------------------


def show(report: Report, console: Console, *, every: bool = False) -> None:
    """A table for each section, then what is missed and noted in words, then what was skipped."""
    from rich.table import Table
    from rich.text import Text

    from neuro_eq.checking import Section, Verdict

    colours = {Verdict.OK: "green", Verdict.MISSED: "bold red", Verdict.NOTE: "yellow"}
    console.print(
        f"{report.network} · {report.samples} samples, {report.inputs} · β = {report.beta:g} · seed {report.seed}",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    for section in Section:
        rows = [row for row in report.rows if row.section is section]
        if not rows:
            continue
        table = Table(title=section.value, title_justify="left", title_style="bold", expand=False)
        for name, align in (("what", "left"), ("value", "right"), ("tolerance", "right"), ("", "left")):
            table.add_column(name, justify=align, overflow="fold")  # type: ignore[arg-type]
        for what, row in _lines(rows, every):
            table.add_row(
                Text(what), _number(row.value), _tolerance(row), Text(row.verdict.value, colours[row.verdict])
            )
        console.print(table)
    for verdict, part in ((Verdict.NOTE, report.notes), (Verdict.MISSED, report.missed)):
        for row in part:
            console.print(
                Text.assemble((f"{verdict.value:<6}  ", colours[verdict]), f"{_title(row)}: {row.says}"), soft_wrap=True
            )
    reasons: dict[str, list[str]] = {}
    for skipped in report.skipped:
        reasons.setdefault(skipped.reason, []).append(skipped.what)
    for reason, whats in reasons.items():
        console.print(Text.assemble(("skipped ", "dim"), f"{'; '.join(whats)}: {reason}"), soft_wrap=True)


def _lines(rows: list[Row], every: bool) -> list[tuple[str, Row]]:
    """The rows with their titles; where many of a group are well, the one nearest to its tolerance stands for them."""
    from neuro_eq.checking import Verdict

    lines: list[tuple[str, Row]] = []
    for group in dict.fromkeys(row.group for row in rows):
        own = [row for row in rows if row.group == group]
        well = [row for row in own if row.verdict is Verdict.OK and row.share is not None]
        if group and not every and len(well) >= MANY:
            lines.append((f"{group}: {len(well)} checks, the nearest", max(well, key=lambda row: row.share or 0.0)))
            own = [row for row in own if row not in well]
        lines += [(_title(row), row) for row in own]
    return lines


def _title(row: Row) -> str:
    return f"{row.group}: {row.what}" if row.group else row.what


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:.4g}"
    return f"{value:.1e}"


def _tolerance(row: Row) -> str:
    if row.tolerance is None:
        return ""
    return f"{'≥' if row.at_least else '≤'} {_number(row.tolerance)}"


def _last_line(report: Report) -> str:
    if report.ok:
        return f"all {report.judged} checks are within their tolerances ({report.seconds:.0f} s)"
    return f"{len(report.missed)} of {report.judged} checks are beyond their tolerance ({report.seconds:.0f} s)"
