"""One run of the command line: a resolved configuration, and what it leaves in its folder.

``config.toml`` holds everything that the run depends on, the network included; running it again gives the same
numbers.
"""

from __future__ import annotations

import contextlib
import json
import math
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, SerializeAsAny, field_validator

from neuro_eq.atomic import replacing, write_text
from neuro_eq.budget import NormBudget
from neuro_eq.compiler import compile as compile_network
from neuro_eq.datasets import Data, load_data
from neuro_eq.errors import FileError, SpecError
from neuro_eq.figures import draw_run
from neuro_eq.frozen import Frozen, parse_kind
from neuro_eq.methods import METHODS, GradientMethod
from neuro_eq.models import MODELS, layered_hopfield
from neuro_eq.optimizers import OPTIMIZERS, Adam, Optimizer
from neuro_eq.penalty import JacobianPenalty
from neuro_eq.recipes import Recipe
from neuro_eq.schedules import SCHEDULES, Cosine, Schedule
from neuro_eq.solvers import Relaxation
from neuro_eq.spec import Network
from neuro_eq.specfile import read_toml, to_toml
from neuro_eq.training import History, Reporter, check_fit, train

LAVA_SAMPLES = (256, 100)
"""Training and test samples on Lava when the user names none: it simulates a chip, step by step."""


class RunConfig(Frozen):
    """Everything that a run depends on: the entries of a ``config.toml``.

    Args:
        format: version of the file format.
        data: a data set's name, or ``"npz:PATH"``.
        train_samples, test_samples: use the first so many; all by default.
        backend: the engine's name.
        dtype: ``"float32"`` or ``"float64"``, as far as the engine has it.
        options: of the engine, such as ``threads`` or ``device``.
        seed: of the start values and of the order of the samples.
        epochs: passes over the training samples.
        batch_size: samples in a step.
        every: record every so many relaxation steps.
        method: the gradient method; as all that follows, a table with a ``kind`` or, for defaults, a name.
        optimizer: how parameters follow the gradient.
        schedule: how the learning rate changes over the run.
        free: how the free phase settles; as the method has it by default.
        nudged: how the nudged phases settle; as ``free`` by default.
        budget: a norm budget that is kept after every step, or None.
        penalty: a penalty on the response that is added to the cost, or None.
        network: what is trained.
    """

    format: Literal[1] = 1
    data: str = "digits"
    train_samples: int | None = Field(default=None, ge=1)
    test_samples: int | None = Field(default=None, ge=1)
    backend: str = "numba"
    dtype: str = "float32"
    options: dict[str, int | float | str] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**63)
    epochs: int = Field(default=30, ge=0)
    batch_size: int = Field(default=32, ge=1)
    every: int = Field(default=1, ge=1)
    method: SerializeAsAny[GradientMethod]
    optimizer: SerializeAsAny[Optimizer] = Adam(1e-3)
    schedule: SerializeAsAny[Schedule] = Cosine()
    free: Relaxation | None = None
    nudged: Relaxation | None = None
    budget: NormBudget | None = None
    penalty: JacobianPenalty | None = None
    network: Network

    @field_validator("options")
    @classmethod
    def _no_option_is_an_entry(cls, value: dict[str, int | float | str]) -> dict[str, int | float | str]:
        for name in value:
            if name in ("spec", "backend", "dtype", "seed"):
                raise ValueError(f'"{name}" is an entry of the configuration itself, not an option of the engine')
        return value

    @field_validator("method", "optimizer", "schedule", mode="before")
    @classmethod
    def _by_kind(cls, value: Any, info: Any) -> Any:
        table, base = _KINDS[info.field_name]
        try:
            return parse_kind(value, table, base, info.field_name)
        except SpecError as error:
            raise error.inside(info.field_name) from None

    @field_validator("free", "nudged", "budget", "penalty", "network", mode="before")
    @classmethod
    def _nested(cls, value: Any, info: Any) -> Any:
        kinds: dict[str, type[Frozen]] = {"network": Network, "budget": NormBudget, "penalty": JacobianPenalty}
        kind = kinds.get(info.field_name, Relaxation)
        if not isinstance(value, Mapping):
            return value
        try:
            return kind(**{str(key): entry for key, entry in value.items()})
        except SpecError as error:
            raise error.inside(info.field_name) from None


_KINDS: dict[str, tuple[Mapping[str, type[Any]], type[Any]]] = {
    "method": (METHODS, GradientMethod),
    "optimizer": (OPTIMIZERS, Optimizer),
    "schedule": (SCHEDULES, Schedule),
}


@dataclass(frozen=True)
class RunResult:
    """What a run came to, and where it lies."""

    history: History
    folder: Path
    config: Path
    checkpoint: Path
    trajectory: Path
    figure: Path
    weights: Path
    results: Path


def load_config(path: str | Path) -> RunConfig:
    """A configuration that an earlier run wrote.

    Raises:
        FileError: the file is missing or not TOML.
        SpecError: an entry does not fit; names the file and the place in it.
    """
    table = read_toml(path)
    try:
        return RunConfig(**table)
    except SpecError as error:
        raise SpecError(error.problem, f"{path}: {error.place}" if error.place else str(path)) from None


LOOPED = ("looped_mlp", "toroidal_mlp", "looped_transformer")
"""Models whose inner synapses can be felt both ways or one."""


def default_network(
    model: str, data: Data, hidden: tuple[int, ...] | None, usual: Recipe, symmetric: bool | None = None
) -> Network:
    """The network that a run trains when the user brings none.

    Args:
        hidden: units of its hidden populations: of a transformer the width of a token, of maps their channels.
        usual: the recipe for the data and the model.  Its units are taken where ``hidden`` is not given and populations
            are single rows of units, or the recipe is this model's own.
        symmetric: of a looped model, whether its inner synapses are felt both ways; as it is by itself by default.
    """
    further: dict[str, Any] = dict(usual.network)
    if symmetric is not None:
        if model not in LOOPED:
            raise SpecError(f"{model} has no choice of synapses within a loop; {', '.join(LOOPED)} have", "symmetric")
        further["symmetric"] = symmetric
    if data.vocabulary is not None:
        return _of_words(model, data, hidden, further)
    if model in SEE_IMAGES:
        return _of_images(model, data, usual.hidden if hidden is None and usual.network else hidden, further)
    hidden = usual.hidden if hidden is None else hidden
    if model == "layered_hopfield":
        return layered_hopfield([data.features, *hidden, data.outputs], "hard_sigmoid", gain=0.5)
    if len(hidden) != 1:
        raise SpecError(f"{model} has one hidden population, found {list(hidden)}", "hidden")
    return MODELS[model](data.features, hidden[0], data.outputs, **further)


SEE_IMAGES = ("conv_hopfield", "energy_transformer", "looped_transformer", "toreqprop_prior")
"""Models that want the shape of an image, not a row of features."""


def _of_images(model: str, data: Data, hidden: tuple[int, ...] | None, further: Mapping[str, Any]) -> Network:
    shape = data.image_shape
    if shape is None:
        raise SpecError(f'{model} sees images, but a sample of "{data.name}" is a row of numbers', "model")
    if model == "conv_hopfield":
        return MODELS[model](shape, data.outputs, **({} if hidden is None else {"channels": hidden}))
    if shape[-2] % 4 or shape[-1] % 4:
        raise SpecError(f"an image of {shape[-2]}×{shape[-1]} does not divide into 4×4 patches; use --spec", "model")
    if hidden is not None and model == "toreqprop_prior":
        raise SpecError(f"{model} has a width of its own; use looped_transformer for another", "hidden")
    arguments = {"patch": (shape[-2] // 4, shape[-1] // 4), **_width(model, hidden), **further}
    return MODELS[model](shape, data.outputs, **arguments)


SEE_WORDS = ("energy_transformer", "looped_transformer")
"""Models that look words up."""


def _of_words(model: str, data: Data, hidden: tuple[int, ...] | None, further: Mapping[str, Any]) -> Network:
    assert data.vocabulary is not None
    if model not in SEE_WORDS:
        known = " or ".join(SEE_WORDS)
        raise SpecError(f'{model} sees no words, of which the samples of "{data.name}" are; use {known}', "model")
    arguments = {"vocabulary": len(data.vocabulary), **_width(model, hidden), **further}
    return MODELS[model]((data.features,), data.outputs, **arguments)


def _width(model: str, hidden: tuple[int, ...] | None) -> dict[str, int]:
    if hidden is not None and len(hidden) != 1:
        raise SpecError(f"{model} has tokens of one width, found {list(hidden)}", "hidden")
    return {} if hidden is None else {"width": hidden[0]}


def execute(
    config: RunConfig,
    folder: Path,
    reporter: Reporter | None = None,
    say: Callable[[str], None] = lambda _: None,
    resume: bool = False,
) -> RunResult:
    """Run a configuration and write its folder: configuration, checkpoint, trajectory, weights, results, figure.

    Args:
        say: is given a line where the user should know something, such as that a subset is used.
        resume: go on from the folder's checkpoint, if it has one.
    """
    data = load_data(config.data, config.seed)
    chosen = data.subset(config.train_samples, config.test_samples)
    result = _places(folder)
    with compile_network(config.network, config.backend, config.dtype, config.seed, **config.options) as net:
        check_fit(net, chosen)
        config.method.check(net, config.free)
        for how in (config.free, config.nudged):
            if how is not None:
                net.refuse_a_solver_it_lacks(how.solver)
        if len(chosen.x_train) < len(data.x_train) or len(chosen.x_test) < len(data.x_test):
            say(
                f"{config.backend}: a few samples only, {len(chosen.x_train)} of {len(data.x_train)} for training and "
                f"{len(chosen.x_test)} of {len(data.x_test)} for the test (--train-samples, --test-samples)"
            )
        _make(folder)
        if not resume:
            write_text(result["config"], to_toml(config))
        with _warnings_said(say):
            history = train(
                net,
                chosen,
                method=config.method,
                optimizer=config.optimizer,
                epochs=config.epochs,
                batch_size=config.batch_size,
                seed=config.seed,
                schedule=config.schedule,
                budget=config.budget,
                penalty=config.penalty,
                free=config.free,
                nudged=config.nudged,
                record=result["trajectory"],
                every=config.every,
                checkpoint=result["checkpoint"],
                resume=resume,
                reporter=reporter,
            )
        weights = {name: net.to_numpy(value) for name, value in net.parameters.items()}
    with replacing(result["weights"]) as file:
        np.savez(file, **weights)  # type: ignore[arg-type]  # its stub takes allow_pickle for an array
    write_text(result["results"], json.dumps(_results(config, history), indent=1))
    if result["trajectory"].exists():  # not where a run goes on whose recording was lost; training has said so
        draw_run(result["trajectory"], result["figure"])
    return RunResult(history=history, folder=folder, **result)


def fresh_folder(root: Path, data: str, network: str, backend: str, seed: int) -> Path:
    """A folder that does not exist yet, named after what runs in it."""
    name = f"{data.partition(':')[0]}-{network or 'network'}-{backend}-seed{seed}"
    folder, count = root / name, 1
    while folder.exists():
        count += 1
        folder = root / f"{name}-{count}"
    return folder


def _places(folder: Path) -> dict[str, Path]:
    return {
        "config": folder / "config.toml",
        "checkpoint": folder / "checkpoint.ckpt",
        "trajectory": folder / "trajectory.h5",
        "figure": folder / "figure.png",
        "weights": folder / "weights.npz",
        "results": folder / "results.json",
    }


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{folder}: cannot make this folder ({error.strerror or error})") from None


@contextlib.contextmanager
def _warnings_said(say: Callable[[str], None]) -> Iterator[None]:
    """What training warns of is a line like others."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: say(f"warning: {message}")
        yield


def _results(config: RunConfig, history: History) -> dict[str, Any]:
    def plain(value: float | int) -> float | int | None:
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {
        "data": config.data,
        "backend": config.backend,
        "dtype": config.dtype,
        "seed": config.seed,
        "python": platform.python_version(),
        "epochs": [{name: plain(value) for name, value in asdict(epoch).items()} for epoch in history.epochs],
    }


__all__ = ["LAVA_SAMPLES", "RunConfig", "RunResult", "default_network", "execute", "fresh_folder", "load_config"]
