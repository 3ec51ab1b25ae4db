"""``neuro_eq spikes``: a trained network as one of spiking neurons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Read a trained network as integrate-and-fire neurons whose rates settle at its equilibrium.",
    epilog="Example:  neuro_eq spikes runs/digits-layered_hopfield-numba-seed0 --samples 100",
    invoke_without_command=True,
    context_settings={"allow_interspersed_args": True},
)


@app.callback()
def spikes(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    samples: Annotated[int, typer.Option("--samples", min=1, help="The first so many test samples.")] = 200,
    steps: Annotated[int, typer.Option("--steps", min=2, help="Of the simulation.")] = 300,
    alpha: Annotated[float, typer.Option("--alpha", help="How quickly a drive follows what arrives.")] = 0.05,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write.", show_default="spikes in the run's")
    ] = None,
) -> None:
    """Ends with the accuracy after so many steps, the spikes as HDF5 and a figure."""
    import importlib.util

    import numpy as np

    from neuro_eq.compiler import compile as compile_network
    from neuro_eq.datasets import load_data
    from neuro_eq.errors import BackendError, FileError
    from neuro_eq.run import load_config
    from neuro_eq.weights import load_weights

    if importlib.util.find_spec("snntorch") is None:
        raise BackendError('snntorch is not installed; run: pip install "neuro_eq[torch]"')
    from neuro_eq.backends.spiking.files import draw_spikes, write_spikes
    from neuro_eq.backends.spiking.reading import SpikingReading

    config = load_config(run / "config.toml")
    parameters = load_weights(run / "weights.npz", config.network)
    data = load_data(config.data)
    x, labels = data.x_test[:samples], data.y_test[:samples]
    found = SpikingReading(config.network, parameters, alpha).run(x, steps)
    with compile_network(config.network, "reference") as net:
        net.set_parameters(parameters)
        settled = float(np.mean(np.argmax(net.to_numpy(net.output(net.relax(x, tol=1e-4))), axis=1) == labels))
    folder = out or run / "spikes"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot make this folder ({error.strerror or error})") from None
    write_spikes(found, folder / "spikes.h5")
    draw_spikes(found, labels, settled, folder / "spikes.png")
    right = np.mean(found.answers == labels, axis=1)
    for step in sorted({1, *(steps * k // 8 for k in range(1, 9))} - {0}):
        print(f"step {step:>5}  {100 * right[step - 1]:6.2f} %")
    print(f"equilibrium {100 * settled:6.2f} %")
    print(f"spikes a sample {found.per_sample:.0f}")
    print(f"spikes   {folder / 'spikes.h5'}")
    print(f"figure   {folder / 'spikes.png'}")
