"""``neuro_eq backends``: which engines can run here, and how to get the others."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="List the engines; `install NAME` builds what one needs.",
    epilog="Example:  neuro_eq backends install lava",
    invoke_without_command=True,
)


@app.callback()
def table(context: typer.Context) -> None:
    """Which engines can run here."""
    if context.invoked_subcommand is not None:
        return
    from rich.console import Console
    from rich.table import Table

    from neuro_eq.backend import backends

    listing = Table(title="backends", title_justify="left")
    for column in ("name", "what", "here", "detail"):
        listing.add_column(column, overflow="fold")
    for backend in backends().values():
        status = backend.probe()
        listing.add_row(backend.name, backend.summary, "yes" if status.available else "no", status.detail)
    Console().print(listing)


@app.command()
def install(name: Annotated[str, typer.Argument(help="The backend, such as lava.")]) -> None:
    """Build what a backend needs, in your cache folder."""
    from neuro_eq.backend import backend
    from neuro_eq.errors import BackendError

    found = backend(name)
    if found.install is None:
        status = found.probe()
        if status.available:
            print(f"{name}: nothing to do, {status.detail}")
            return
        raise BackendError(f"{name}: {status.detail}")
    found.install(lambda line: print(line, flush=True))
    print(f"{name}: {found.probe().detail}")
