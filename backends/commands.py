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
    from rich.text import Text

    from neuro_eq.backend import backends

    listing = Table(title="backends", title_justify="left")
    for column in ("name", "what", "here", "detail"):
        listing.add_column(column, overflow="fold")
    for backend in backends().values():
        status = backend.probe()
        here = "yes" if status.available else "no"
        # A reason may hold brackets, as in pip install "neuro_eq[torch]", which would be taken for markup.
        listing.add_row(backend.name, backend.summary, here, Text(status.detail))
    Console().print(listing)


@app.command(epilog="Example:  neuro_eq backends install lava")
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
