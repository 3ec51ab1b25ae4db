"""``neuro_eq experiment``: what is asked, run it, read the answer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from neuro_eq.experiments.machinery.experiment import Experiment, Scale
    from neuro_eq.experiments.machinery.scheduling import Tally

EXAMPLES = """\
Examples:

  neuro_eq experiment list

  neuro_eq experiment run contraction                     in a minute or two

  neuro_eq experiment run contraction --scale medium --workers 2

  neuro_eq experiment run beta --scale full --scheduler tcp://10.0.0.1:8786

  neuro_eq experiment run training_mnist --scale full --only energy --device cuda

  neuro_eq experiment report runs/experiments/contraction
"""

app = typer.Typer(
    help="Questions to these networks: list them, run them, read the answers.", epilog=EXAMPLES, no_args_is_help=True
)

ROOT = Path("runs/experiments")


@app.command("list", epilog="Example:  neuro_eq experiment list")
def list_all() -> None:
    """Which questions there are, and how many runs each scale has."""
    from rich.console import Console
    from rich.table import Table

    from neuro_eq.experiments.machinery.catalogue import EXPERIMENTS, find
    from neuro_eq.experiments.machinery.experiment import SCALES

    table = Table(title="experiments", title_justify="left", show_lines=True)
    for column in ("", "name", "question", *SCALES):
        table.add_column(column, overflow="fold")
    for name in EXPERIMENTS:
        experiment = find(name)
        runs = [f"{len(experiment.configurations(scale))} × {experiment.seeds[scale]}" for scale in SCALES]
        table.add_row(str(experiment.number), name, experiment.question, *runs)
    Console().print(table)
    print("runs: configurations × seeds")


@app.command(epilog=EXAMPLES)
def run(
    name: Annotated[str, typer.Argument(help="The experiment, or one of your own as module:NAME.")],
    scale: Annotated[str, typer.Option("--scale", "-s", help="quick, medium or full.")] = "quick",
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="How many.", show_default="as the experiment has it")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", "-b", help="An engine.", show_default="each configuration's own")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="torch: cpu, cuda …", show_default="each configuration's own")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="A part of the labels of the rows to run; may be given again.", show_default="all"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            help="Processes of a local cluster; 0 runs in this process.",
            show_default="one a core; 1 where time or memory is measured",
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="Address of a Dask scheduler, as tcp://HOST:8786.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of all results.")] = ROOT,
) -> None:
    """Run what is not there yet; finished runs stay, also when this is interrupted."""
    from rich.console import Console

    from neuro_eq.errors import BackendError, SpecError
    from neuro_eq.experiments.machinery.catalogue import find
    from neuro_eq.experiments.machinery.execution import plan
    from neuro_eq.experiments.machinery.progress import RichProgress
    from neuro_eq.experiments.machinery.scheduling import run_all
    from neuro_eq.experiments.machinery.store import Store

    chosen = _scale(scale)
    if workers is not None and scheduler is not None:
        raise SpecError("the scheduler has its own workers, so --workers cannot be given with it", "--scheduler")
    if backend is not None:
        from neuro_eq.backend import backend as find_backend

        if not find_backend(backend).probe().available:
            raise BackendError(f'backend "{backend}" cannot run here: {find_backend(backend).probe().detail}')
    experiment = find(name)
    jobs = plan(name, chosen, seeds, backend, device, only or ())
    folder = out / experiment.name / chosen
    console = Console(highlight=False)
    console.print(f"{experiment.name}, {chosen}: {experiment.question}", soft_wrap=True, markup=False)
    count = 0 if scheduler is not None else _workers(experiment, workers)
    try:
        with RichProgress(experiment.name, console) as progress:
            tally = run_all(jobs, Store(folder), progress, workers=count, scheduler=scheduler)
    except KeyboardInterrupt:
        print("stopped; what was finished is kept, and the same command goes on")
        raise typer.Exit(130) from None
    _show(tally, folder)
    if tally.failed:
        raise typer.Exit(1)


@app.command(epilog="Example:  neuro_eq experiment report runs/experiments/contraction")
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with results, or one above it.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page to write.", show_default="DIR/report.html")
    ] = None,
    publish: Annotated[
        Path | None,
        typer.Option("--publish", help="Also leave a summary and a figure of each experiment in this folder."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Publish in place of a summary that holds more, too.")
    ] = False,
) -> None:
    """Write one HTML page with everything in it: question, configuration, table, figures, verdict."""
    from neuro_eq.atomic import write_text
    from neuro_eq.experiments.machinery.publication import published, refusal, size
    from neuro_eq.experiments.machinery.report import page
    from neuro_eq.experiments.machinery.store import found_in

    tables = found_in(folder)
    path = folder / "report.html" if out is None else out
    write_text(path, page(tables))
    largest = {each.experiment.name: each for each in sorted(tables, key=lambda each: size(each.scale))}
    done = 0
    for results in tables:
        print(f"{results.experiment.name}, {results.scale}: {results.extent}, n = {results.seeds}")
        print(results.experiment.verdict(results).text())
        if publish is None:
            continue
        if results is not largest[results.experiment.name]:
            print(f"not published: {folder} has {largest[results.experiment.name].scale} results as well")
        elif results.scale == "quick":
            print("not published: quick results show that an experiment works and are no evidence")
        elif not replace and (why := refusal(results, publish)) is not None:
            print(f"not published: {why}; --replace does it all the same")
        else:
            done += 1
            for written in published(results, publish):
                print(f"summary {written}")
    print(f"report  {path}")
    if publish is not None and not done:
        raise typer.Exit(1)


def _scale(word: str) -> Scale:
    from neuro_eq.errors import SpecError, did_you_mean
    from neuro_eq.experiments.machinery.experiment import SCALES

    for scale in SCALES:
        if word == scale:
            return scale
    raise SpecError(f"no scale {word!r}" + did_you_mean(word, SCALES), "--scale")


def _workers(experiment: Experiment, wanted: int | None) -> int:
    import os

    from neuro_eq.errors import SpecError

    if experiment.alone:
        if wanted is not None and wanted > 1:
            raise SpecError(
                f"{experiment.name} measures time or memory, so its runs share nothing; at most 1", "--workers"
            )
        return 1 if wanted is None else wanted
    return (os.cpu_count() or 1) if wanted is None else wanted


def _show(tally: Tally, folder: Path) -> None:
    counts = f"{len(tally.done)} runs done, {len(tally.known)} were there, {len(tally.failed)} failed"
    print(counts)
    print(f"results {folder}")
    print(f"read    neuro_eq experiment report {folder}")
