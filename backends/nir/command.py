"""``neuro_eq nir``: a trained network as a file that other simulators read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Write a network in the Neuromorphic Intermediate Representation, where that is exact.",
    epilog="Example:  neuro_eq nir runs/digits-layered_hopfield-numba-seed0 --out digits.nir",
    invoke_without_command=True,
    context_settings={"allow_interspersed_args": True},
)


@app.callback()
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_SPEC", help="A run's folder, or a network as TOML.")],
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Parameters as .npz.", show_default="the run's")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write.", show_default="network.nir beside the network")
    ] = None,
) -> None:
    """Ends with the number of nodes and the file's name."""
    import importlib.util

    from neuro_eq.backends.deployment.sources import network_in
    from neuro_eq.errors import BackendError

    if importlib.util.find_spec("nir") is None:
        raise BackendError('nir is not installed; run: pip install "neuro_eq[nir]"')
    from neuro_eq.backends.nir.graph import to_graph, write_graph

    found = network_in(source, weights)
    graph = to_graph(found.spec, found.parameters)
    path = out or (source if source.is_dir() else source.parent) / "network.nir"
    write_graph(graph, path)
    print(f"nodes    {len(graph.nodes)}")
    print(f"network  {path}")
