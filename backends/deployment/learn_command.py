"""``neuro_eq learn``: train on a chip by its own rule, in simulation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Train a network on a chip, in simulation: three-factor rules in small integers, one sample after the other.",
    epilog="Example:  neuro_eq learn --data digits --schedule tags",
    invoke_without_command=True,
    context_settings={"allow_interspersed_args": True},
)


@app.callback()
def learn(
    data: Annotated[str, typer.Option("--data", "-d", help="digits, mnist, … or npz:PATH.")] = "digits",
    schedule: Annotated[str, typer.Option("--schedule", help="contrast, paired, whole, tags or differences.")] = "tags",
    hidden: Annotated[int, typer.Option("--hidden", min=1, help="Units of the hidden population.")] = 96,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training samples.")] = 12,
    beta: Annotated[float, typer.Option("--beta", help="Size of the nudge.")] = 0.5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Start values, order of samples, draws.")] = 0,
    engine: Annotated[
        str,
        typer.Option("--engine", help="numba, or lava: all in Lava, some samples a second."),
    ] = "numba",
    train_samples: Annotated[
        int | None, typer.Option("--train-samples", min=1, help="Train on the first so many.", show_default="all")
    ] = None,
    test_samples: Annotated[
        int | None, typer.Option("--test-samples", min=1, help="Test on the first so many.", show_default="all")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write.")] = Path("runs/chip"),
) -> None:
    """A line an epoch; ends with the report, the weights of both ways and a figure."""
    from neuro_eq.backends.deployment.learning import learn as teach
    from neuro_eq.backends.deployment.learning import line, write_learned
    from neuro_eq.datasets import load_data

    chosen = load_data(data).subset(train_samples, test_samples)
    found = teach(
        chosen, hidden=hidden, schedule=schedule, epochs=epochs, beta=beta, seed=seed,
        engine=engine,  # type: ignore[arg-type]  # any other is refused there
        say=lambda epoch: print(line(epoch), flush=True),
    )  # fmt: skip
    for name, path in write_learned(found, out).items():
        print(f"{name:<8} {path}")
