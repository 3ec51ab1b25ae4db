"""``neuro_eq run``: train a network and leave a folder that shows how it went."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neuro_eq.cli.imports import program

if TYPE_CHECKING:
    from neuro_eq.run import RunConfig, RunResult
    from neuro_eq.solvers import Relaxation

SMALL = 2048
"""Free units below which torch's second thread costs more than it brings."""

BOARD = "tensorboard"
"""The folder for TensorBoard in a run's own; a run that goes on writes there if it did before."""

EXAMPLES = """\
Examples:

  neuro_eq run                               digits on the CPU, ten seconds

  neuro_eq run --backend torch --epochs 10

  neuro_eq run --backend lava                a few samples, in a simulation

  neuro_eq run --backend lava --rule chip    by the chip's own learning rule

  neuro_eq run --data mnist --seed 1         MNIST, a few minutes

  neuro_eq run --backend torch --data mnist --model looped_transformer --symmetric

  neuro_eq run --spec net.toml --data npz:mine.npz

  neuro_eq run --config runs/…/config.toml   the same numbers again

  neuro_eq run --preset toreqprop_prior      the earlier work's training

  neuro_eq run --resume runs/…               go on with a stopped run
"""


def add_to(app: typer.Typer) -> None:
    """Put the command into the program."""
    app.command("run", epilog=EXAMPLES)(run)


def run(
    backend: Annotated[
        str | None,
        typer.Option("--backend", "-b", help="Engine: reference, numba, torch or lava.", show_default="numba"),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", "-d", help="digits, mnist, fashion-mnist, cifar10, sst2, xor or npz:PATH.", show_default="digits"
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="layered_hopfield, looped_mlp, toroidal_mlp, modern_hopfield_mlp, gated_mlp, conv_hopfield, "
            "energy_transformer, looped_transformer or toreqprop_prior.",
            show_default="layered_hopfield",
        ),
    ] = None,
    spec: Annotated[
        Path | None, typer.Option("--spec", help="A network of your own, as TOML; instead of --model.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="A config.toml that a run wrote; other options change it.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", help="A whole run by its name, as toreqprop_prior; other options change it, as with --config."
        ),
    ] = None,
    symmetric: Annotated[
        bool | None,
        typer.Option(
            "--symmetric/--directed",
            help="Whether the synapses within a looped model are felt both ways and have an energy.",
            show_default="as the model",
        ),
    ] = None,
    hidden: Annotated[
        str | None,
        typer.Option(
            "--hidden", help="Units of the hidden populations, as in 256 or 512,512.", show_default="256; mnist: 512"
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            min=0,
            help="Passes over the training samples.",
            show_default="30; mnist: 20, energy_ and looped_transformer 14",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", min=1, help="Samples in a step.", show_default="32; mnist: 64")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            help="Gradient: eqprop, asymep, vector_field, dyadic, holomorphic, continual or implicit; to compare with, "
            "bptt, checkpointed_bptt, reversible, jfb or phantom.",
            show_default="eqprop; without an energy asymep",
        ),
    ] = None,
    beta: Annotated[
        float | None, typer.Option("--beta", help="Size of the nudge.", show_default="1.0; mnist: 0.5")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", help="Learning rate.", show_default="0.001; mnist, energy_ and looped_transformer: 0.002"),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            help="Who learns: host, by --method, or a rule of the backend's own: lava has chip, three-factor rules in "
            "small integers.",
            show_default="host",
        ),
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option("--solver", help="How phases settle: picard, gauss-seidel or anderson.", show_default="picard"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Start values and order of the samples.", show_default="0")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option("--dtype", help="float32 or float64, as far as the engine has it.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="numba, torch: CPU threads.", show_default="numba: all cores")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="torch: cpu, cuda, cuda:1 …", show_default="cpu")
    ] = None,
    train_samples: Annotated[
        int | None, typer.Option("--train-samples", min=1, help="Train on the first so many.")
    ] = None,
    test_samples: Annotated[
        int | None, typer.Option("--test-samples", min=1, help="Test on the first so many.")
    ] = None,
    every: Annotated[
        int | None, typer.Option("--every", min=1, help="Record every so many relaxation steps.", show_default="1")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder to write; a new one under runs/ by default.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write figures for TensorBoard into the folder, too.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", help="The folder of a run that was stopped: go on, as its config.toml says."),
    ] = None,
) -> None:
    """Train a network; ends with a table, a figure, the trajectory and the resolved configuration."""
    from neuro_eq.cli.network import loop_option

    chosen = {
        "backend": backend, "data": data, "epochs": epochs, "batch_size": batch_size, "seed": seed, "dtype": dtype,
        "train_samples": train_samples, "test_samples": test_samples, "every": every,
    }  # fmt: skip
    chosen = {name: value for name, value in chosen.items() if value is not None}
    options = {name: value for name, value in (("threads", threads), ("device", device)) if value is not None}
    loops = {loop_option(symmetric): symmetric}
    others = {
        "config": config, "preset": preset, "spec": spec, "model": model, "hidden": hidden, "method": method,
        "beta": beta, "lr": lr, "solver": solver,
    }  # fmt: skip
    if rule not in (None, "host"):
        brought = {**chosen, **options, **others, **loops, "resume": resume, "tensorboard": tensorboard or None}
        _by_the_backends_rule(str(rule), brought, out)
        return
    if resume is not None:
        more = {**others, **loops, "out": out, "tensorboard": tensorboard or None}
        given = [*chosen, *options, *(name for name, value in more.items() if value is not None)]
        _go_on(resume, given)
        return
    from neuro_eq.run import fresh_folder

    resolved = _resolve(chosen, options=options, symmetric=symmetric, **others)  # type: ignore[arg-type]  # each is of its option's type
    network = resolved.network.name
    folder = out or fresh_folder(Path("runs"), resolved.data, network, resolved.backend, resolved.seed)
    _refuse_occupied(folder)
    _execute(resolved, folder, resume=False, tensorboard=tensorboard)


def _by_the_backends_rule(rule: str, brought: Mapping[str, Any], out: Path | None) -> None:
    """Train by a rule that the backend has of its own."""
    from neuro_eq.backend import backend as find
    from neuro_eq.cli.network import sizes
    from neuro_eq.datasets import load_data
    from neuro_eq.errors import SpecError
    from neuro_eq.run import LAVA_SAMPLES, fresh_folder

    given = {name: value for name, value in brought.items() if value is not None}
    taken = ("backend", "data", "epochs", "seed", "train_samples", "test_samples", "hidden", "beta")
    other = next((name for name in given if name not in taken), None)
    if other is not None:
        raise SpecError(f"the rule {rule!r} brings it along, so --{other.replace('_', '-')} cannot be given", "--rule")
    train = find(given.get("backend", "numba")).rule(rule)
    units = sizes(given.get("hidden", "96"))
    if len(units) != 1:
        raise SpecError(f"the rule {rule!r} trains one hidden population, found {len(units)}", "--hidden")
    data = load_data(given.get("data", "digits"))
    samples = (given.get("train_samples", LAVA_SAMPLES[0]), given.get("test_samples", LAVA_SAMPLES[1]))
    seed = given.get("seed", 0)
    folder = out or fresh_folder(Path("runs"), data.name, rule, given["backend"], seed)
    _refuse_occupied(folder)
    how = {"hidden": units[0], "epochs": given.get("epochs", 2), "beta": given.get("beta", 0.5), "seed": seed}
    files = train(data.subset(*samples), folder, **how, say=lambda text: print(text, flush=True))
    for name, path in files.items():
        print(f"{name:<8} {path}")


def _go_on(folder: Path, given: list[str]) -> None:
    from neuro_eq.errors import SpecError
    from neuro_eq.run import load_config

    if given:
        option = "--" + given[0].replace("_", "-")
        raise SpecError(f"it goes on as the folder's config.toml says, so {option} cannot be given with it", "--resume")
    _execute(load_config(folder / "config.toml"), folder, resume=True, tensorboard=(folder / BOARD).exists())


def _execute(config: RunConfig, folder: Path, *, resume: bool, tensorboard: bool) -> None:
    from contextlib import ExitStack

    from neuro_eq.cli.progress import RichReporter, console
    from neuro_eq.run import execute
    from neuro_eq.training.tensorboard import TensorBoard

    try:
        with ExitStack() as stack:
            shown = stack.enter_context(RichReporter(config.epochs))
            reporter = stack.enter_context(TensorBoard(folder / BOARD, shown)) if tensorboard else shown
            result = execute(config, folder, reporter, say=shown.say, resume=resume)
    except (KeyboardInterrupt, SystemExit) as stop:
        begun = (folder / "config.toml").exists()
        way = f"go on with: {program()} run --resume {shlex.quote(str(folder))}" if begun else "nothing was begun"
        print(f"stopped; {way}", file=sys.stderr)
        code = stop.code if isinstance(stop, SystemExit) else 130
        raise typer.Exit(code if isinstance(code, int) else 1) from None
    _show(result, config, console)


def _resolve(
    chosen: dict[str, Any],
    *,
    config: Path | None,
    preset: str | None,
    spec: Path | None,
    model: str | None,
    hidden: str | None,
    method: str | None,
    beta: float | None,
    lr: float | None,
    solver: str | None,
    options: dict[str, Any],
    symmetric: bool | None,
) -> RunConfig:
    """The user's options over the configuration file's entries, or over the defaults."""
    from neuro_eq.errors import SpecError
    from neuro_eq.run import RunConfig, load_config

    own_network = any(part is not None for part in (spec, model, symmetric, hidden))
    if config is not None and preset is not None:
        raise SpecError("a preset is a configuration, so --config cannot be given with it", "--preset")
    if config is not None or preset is not None:
        if own_network:
            where = "--preset" if config is None else "--config"
            raise SpecError("the configuration brings the network; change it there", where)
        base = _preset(str(preset)) if config is None else load_config(config)
        entries: dict[str, Any] = {name: getattr(base, name) for name in type(base).model_fields}
        if chosen.get("backend", base.backend) != base.backend:
            entries["options"] = {}
    else:
        entries = _defaults(chosen, spec, model, symmetric, hidden, method)
    entries.update(chosen)
    if method is not None or beta is not None:
        entries["method"] = _method(entries["method"], method, beta, entries.get("free"))
    if lr is not None:
        before = entries["optimizer"]
        entries["optimizer"] = type(before)(**{**before.model_dump(), "lr": lr})
    if solver is not None:
        entries.update(_settling(entries, solver))
    if options:
        entries["options"] = {**entries.get("options", {}), **options}
    return RunConfig(**entries)


def _preset(name: str) -> RunConfig:
    from neuro_eq.errors import SpecError, did_you_mean
    from neuro_eq.presets import PRESETS

    if name not in PRESETS:
        raise SpecError(f'no preset "{name}"' + did_you_mean(name, PRESETS), "--preset")
    return PRESETS[name]()


def _defaults(
    chosen: dict[str, Any],
    spec: Path | None,
    model: str | None,
    symmetric: bool | None,
    hidden: str | None,
    method: str | None,
) -> dict[str, Any]:
    """What a run is made of where the user does not say."""
    from neuro_eq.backend import backend as find
    from neuro_eq.cli.network import chosen_network
    from neuro_eq.run import LAVA_SAMPLES

    engine = find(chosen.get("backend", "numba"))
    name = chosen.get("data", "digits")
    network, usual = chosen_network(spec, model, symmetric, hidden, name)
    entries: dict[str, Any] = {
        "data": name, "method": {"kind": "eqprop", "beta": usual.beta}, "optimizer": usual.optimizer,
        "epochs": usual.epochs, "batch_size": usual.batch_size, "schedule": usual.schedule,
        "penalty": usual.penalty,
    }  # fmt: skip
    entries["dtype"] = "float64" if engine.name in ("reference", "lava") else "float32"
    if method != "implicit":  # which settles further by itself
        entries["free"], entries["nudged"] = usual.free, usual.nudged
    if engine.name == "lava":
        entries["train_samples"], entries["test_samples"] = LAVA_SAMPLES
    entries["network"] = network
    if not network.has_energy:
        entries["method"] = {**entries["method"], "kind": "asymep"}  # the others want an energy
    if engine.name == "torch" and network.free_units < SMALL and not usual.network:
        entries["options"] = {"threads": 1}
    return entries


def _method(before: Any, kind: str | None, beta: float | None, free: Relaxation | None) -> dict[str, Any]:
    """Another method, or another nudge; one that unrolls steps takes as many as the free phase, where that is fixed."""
    from neuro_eq.methods import METHODS

    fields = dict(before) if isinstance(before, dict) else before.model_dump()
    if kind is not None and kind != fields["kind"]:
        nudges = kind in METHODS and "beta" in METHODS[kind].model_fields
        fields = {"kind": kind, **({"beta": fields["beta"]} if nudges and "beta" in fields else {})}
        if free is not None and free.tol is None and kind in METHODS and "steps" in METHODS[kind].model_fields:
            fields["steps"] = free.max_steps
    if beta is not None:
        fields["beta"] = beta
    return fields


def _settling(entries: dict[str, Any], solver: str) -> dict[str, Any]:
    """Both phases as they settle anyway, by another solver."""
    from neuro_eq.errors import SpecError
    from neuro_eq.frozen import parse_kind
    from neuro_eq.methods import METHODS, GradientMethod
    from neuro_eq.solvers import Relaxation

    method = parse_kind(entries["method"], METHODS, GradientMethod, "method")
    free = entries.get("free") or method.settles
    how = {"free": free, "nudged": entries.get("nudged") or free}
    try:
        return {
            phase: Relaxation(**{**dict(before), "solver": solver.replace("-", "_")}) for phase, before in how.items()
        }
    except SpecError as error:
        raise SpecError(error.problem, "--solver") from None


def _refuse_occupied(folder: Path) -> None:
    from neuro_eq.errors import FileError

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileError(f"{folder}: is already there and not empty; name another folder with --out")


def _show(result: RunResult, config: RunConfig, console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    last = result.history.last
    title = f"{config.network.name or 'network'} · {config.data} · {config.backend} {config.dtype}"
    table = Table(title=Text(title), title_justify="left")
    table.add_column("measure")
    table.add_column("value", justify="right")
    rows = [
        ("epochs", f"{last.epoch}"),
        (
            ("train cost", f"{last.train_cost:.4f}")
            if math.isnan(last.train_accuracy)
            else ("train accuracy", f"{100 * last.train_accuracy:.2f} %")
        ),
        ("test cost", f"{last.test_cost:.4f}"),
        ("steps, free phase", f"{last.free_steps:.1f}"),
        ("steps, nudged phases", f"{last.nudged_steps:.1f}"),
        ("residual / nudge, median", f"{last.residual_ratio:.1e}"),
        ("samples not settled to 1 % of their nudge", f"{100 * last.unsettled:.1f} %"),
        ("samples fitted, their nudge below rounding", f"{100 * last.mute:.1f} %"),
        ("seconds", f"{sum(epoch.seconds for epoch in result.history.epochs):.1f}"),
    ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for name in ("trajectory", "figure", "weights", "results", "config", "checkpoint"):
        # Paths are printed plainly: a wrapped path cannot be copied.
        if getattr(result, name).exists():
            print(f"{name:<11} {getattr(result, name)}")
    print(f"again       {program()} run --config {result.config}")
    if math.isnan(last.test_accuracy):  # where no answer is right or wrong
        print(f"test cost {last.test_cost:.6f}")
    else:
        print(f"test accuracy {100 * last.test_accuracy:.2f} %")
