"""``neuro_eq``: the program, and the one place where errors become one line."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from neuro_eq import __version__
from neuro_eq.cli import check, equivalence, inspect, plot, run
from neuro_eq.cli.imports import bring
from neuro_eq.errors import NeuroEqError

app = typer.Typer(
    name="neuro_eq",
    help="Equilibrium networks trained by equilibrium propagation: train, look, compare engines.",
    epilog="Example:  neuro_eq run --backend numba",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

GROUP = "neuro_eq.commands"
"""Subcommands of the outer folders, and of other packages, come through this entry point group."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"neuro_eq {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--import", metavar="MODULE", help="A module with synapses or activations of your own; may be given again."
        ),
    ] = None,
) -> None:
    """Options of the program itself."""
    for name in modules or []:
        bring(name)


run.add_to(app)
inspect.add_to(app)
plot.add_to(app)
check.add_to(app)
equivalence.add_to(app)
for _point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
    app.add_typer(_point.load(), name=_point.name)


def main() -> None:
    """Run the program; a user's error is one line on the error stream and exit status 2."""
    try:
        app()
    except NeuroEqError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except MemoryError as error:
        print(f"error: out of memory ({error}); a smaller network or batch would fit", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; a run's trajectory so far is in the .part file in its folder", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (as in `neuro_eq … | head`); there is nobody left to tell.
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
