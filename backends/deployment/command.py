"""``neuro_eq deploy``: a trained network on a chip, simulated bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from neuro_eq.backends.deployment.deployment import Deployment

EXAMPLES = """\
Examples:

  neuro_eq deploy runs/mnist-layered_hopfield-numba-seed0 --target loihi2

  neuro_eq deploy runs/… --target loihi1 --samples 1000

  neuro_eq deploy runs/… --verify lava              twenty samples in Lava too

  neuro_eq deploy net.toml --weights weights.npz --data mnist
"""

VERIFIED = 20

# One command, not a group: options may stand behind the argument.
app = typer.Typer(
    help="Put a trained network on a chip, in simulation: quantise, place, run, report.",
    epilog=EXAMPLES,
    invoke_without_command=True,
    context_settings={"allow_interspersed_args": True},
)


@app.callback()
def deploy(
    source: Annotated[Path, typer.Argument(metavar="RUN_OR_SPEC", help="A run's folder, or a network as TOML.")],
    target: Annotated[str, typer.Option("--target", "-t", help="loihi1 or loihi2.")] = "loihi2",
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", help="digits, mnist, … or npz:PATH.", show_default="the run's, or digits"),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="Parameters as .npz.", show_default="the run's")
    ] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", min=1, help="Use the first so many test samples.", show_default="all")
    ] = None,
    verify: Annotated[
        str | None, typer.Option("--verify", help="lava: compare every register of some samples with Lava's.")
    ] = None,
    verify_samples: Annotated[int, typer.Option("--verify-samples", min=1, help="How many of them.")] = VERIFIED,
    activity_bits: Annotated[
        int, typer.Option("--activity-bits", help="Bits behind the point of a message, at most.")
    ] = 10,
    alpha: Annotated[float, typer.Option("--alpha", help="Step of the relaxation: the decay in units of 1.")] = 0.5,
    threshold: Annotated[
        int, typer.Option("--threshold", min=1, help="The least change that is sent, in units of a message.")
    ] = 1,
    messages: Annotated[str, typer.Option("--messages", help="sigma_delta or graded.")] = "sigma_delta",
    margin: Annotated[
        float, typer.Option("--margin", help="How many times the largest potential seen must fit.")
    ] = 2.0,
    steps: Annotated[int, typer.Option("--steps", min=1, help="The most steps of a sample.")] = 200,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="Of the simulation.", show_default="all cores")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write.", show_default="deployment in the run's")
    ] = None,
) -> None:
    """Ends with a table, a report, the samples and a figure."""
    from rich.console import Console

    from neuro_eq.backends.deployment.deployment import deploy as put
    from neuro_eq.backends.deployment.files import write
    from neuro_eq.backends.deployment.sources import network_in
    from neuro_eq.datasets import load_data
    from neuro_eq.errors import SpecError
    from neuro_eq.hardware.loihi import chip_named
    from neuro_eq.hardware.quantisation import Precision

    if verify not in (None, "lava"):
        raise SpecError(f'"lava" is what a chip\'s network can be compared with, found {verify!r}', "--verify")
    if messages not in ("sigma_delta", "graded"):
        raise SpecError(f'expected "sigma_delta" or "graded", found {messages!r}', "--messages")
    chip = chip_named(target)
    trained = network_in(source, weights)
    found = put(
        trained.spec,
        trained.parameters,
        load_data(data or trained.data or "digits"),
        chip,
        samples=samples,
        precision=Precision(activity_bits, alpha, threshold, messages, margin),  # type: ignore[arg-type]
        steps=steps,
        verify=verify_samples if verify else 0,
        threads=threads,
        say=print,
    )
    folder = out or (source if source.is_dir() else source.parent) / "deployment"
    files = write(found, folder)
    _show(found, Console())
    for name in ("report", "samples", "figure"):
        print(f"{name:<8} {getattr(files, name)}")


def _show(found: Deployment, console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    report = found.report()
    table = Table(title=Text(f"{found.spec.name or 'network'} on {found.chip.name}, simulated"), title_justify="left")
    table.add_column("measure")
    table.add_column("value", justify="right")
    accuracy = report["classification_accuracy"]
    rows = [
        ("test samples", f"{report['samples']}"),
        ("accuracy in float", f"{100 * accuracy['float']:.2f} %"),
        ("accuracy on the chip", f"{100 * accuracy['chip']:.2f} %"),
        ("same answer", f"{100 * accuracy['same_answer']:.2f} %"),
        ("bits of an activity", ", ".join(f"{p.name} {p.activity_bits}" for p in found.network.populations)),
        ("steps until silent, mean", f"{report['steps']['mean']:.1f}"),
        ("samples not silent", f"{report['steps']['samples_not_silent']}"),
        ("messages a sample", f"{report['messages']['total']:.0f}"),
        ("synaptic operations a sample", f"{report['synaptic_operations']['Effective_MACs']:.0f}"),
        ("of a dense network's", f"{100 * found.operations.mean() / report['synaptic_operations']['Dense']:.1f} %"),
        ("overflows", ", ".join(f"{count} {name}" for name, count in found.overflow.items())),
        ("cores", f"{report['cores']}"),
        ("simulation", f"{found.seconds:.1f} s"),
    ]
    if found.estimate is None:
        rows.append(("energy, time", report["estimated"]["reason"]))
    else:
        rows.append(("energy a sample, estimated", f"{1e6 * found.estimate.joules:.2f} µJ"))
        rows.append(("time a sample, estimated", f"{1e6 * found.estimate.seconds:.1f} µs"))
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for sentence in report["chip"]:
        print(f"note: {sentence}")
