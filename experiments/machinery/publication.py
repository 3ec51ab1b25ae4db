"""What is kept with the source: the numbers of an experiment as one small JSON, and its figure.

The docs are generated from these files.  A verdict is computed anew from the numbers whenever it is shown, so no page
says what the numbers do not.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ConfigDict, Field, ValidationError

from neuro_eq.atomic import replacing, write_text
from neuro_eq.errors import FileError, SpecError
from neuro_eq.experiments.machinery.experiment import SCALES, Experiment
from neuro_eq.experiments.machinery.provenance import Provenance
from neuro_eq.experiments.machinery.results import Results, Run
from neuro_eq.experiments.machinery.store import table
from neuro_eq.frozen import Frozen

DOTS = 110
"""Of a figure, per inch."""


class Row(Frozen):
    """One configuration, and for every number and every curve that is kept the values of all seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, ser_json_inf_nan="strings")

    configuration: dict[str, Any]
    code: str = ""
    """The code version of its runs; files of before it was kept have none."""
    seeds: list[int]
    numbers: dict[str, list[float]]
    curves: dict[str, list[list[float]]] = Field(default_factory=dict)


class Summary(Frozen):
    """The committed file of one experiment at one scale."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, ser_json_inf_nan="strings")

    experiment: str
    scale: str
    rows: list[Row]
    made: list[Provenance] = Field(min_length=1)
    """Every different provenance; seconds are of all its runs, the date is that of the last."""


def summary(results: Results) -> Summary:
    """The numbers of a table, without its arrays but for the experiment's ``curves``."""
    rows, made = [], dict[str, Provenance]()
    for cell in results:
        names = list(dict.fromkeys(name for run in cell.runs for name in run.numbers))
        numbers = {name: _rounded(cell.values(name)) for name in names}
        entries = cell.configuration.model_dump(mode="json")
        curves = {name: [_rounded(run.arrays.get(name, ())) for run in cell.runs] for name in results.experiment.curves}
        seeds = [run.seed for run in cell.runs]
        code = next((run.provenance.code for run in cell.runs), "")
        rows.append(Row(configuration=entries, code=code, seeds=seeds, numbers=numbers, curves=curves))
        for run in cell.runs:
            one = run.provenance
            kind = json.dumps(one.model_dump(exclude={"spec", "seconds", "date"}), sort_keys=True)
            before = made.get(kind)
            made[kind] = Provenance(
                **{
                    **one.model_dump(),
                    "spec": "",
                    "seconds": round(one.seconds + (0.0 if before is None else before.seconds), 1),
                    "date": one.date if before is None else max(one.date, before.date),
                }
            )
    return Summary(experiment=results.experiment.name, scale=results.scale, rows=rows, made=list(made.values()))


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def size(scale: str) -> int:
    """The place of a scale among the others; one that is nobody's comes before them."""
    return next((i for i, known in enumerate(SCALES) if known == scale), -1)


def refusal(results: Results, folder: Path) -> str | None:
    """Why these results should not be published there, as what is there is more; None where nothing is against it.

    Raises:
        FileError: what is there is damaged.
    """
    path = _summary_in(folder, results.experiment)
    if not path.exists():
        return None
    there = _read(path)
    if size(there.scale) != size(results.scale):
        return f"{path} holds the {there.scale} results" if size(there.scale) > size(results.scale) else None
    kept, ours = sum(len(row.seeds) for row in there.rows), sum(len(cell.runs) for cell in results)
    return f"{path} holds {kept} runs, and these are {ours}" if ours < kept else None


def published(results: Results, folder: Path) -> list[Path]:
    """Write the summary and the figure of a table, in place of what is there; see :func:`refusal`.

    Raises:
        FileError: a file cannot be written.
    """
    path, picture = _summary_in(folder, results.experiment), folder / f"{results.experiment.name}.png"
    folder.mkdir(parents=True, exist_ok=True)
    # Both are made before either is written, so that they stay of the same results.
    lines, figure = _lines(summary(results)), drawn(results)
    write_text(path, lines)
    with replacing(picture) as file:
        file.write(figure)
    return [path, picture]


def _summary_in(folder: Path, experiment: Experiment) -> Path:
    return folder / f"{experiment.name}.json"


def drawn(results: Results) -> bytes:
    """The figure of a table as PNG."""
    import matplotlib as mpl

    buffer = io.BytesIO()
    with mpl.rc_context({"figure.dpi": DOTS}):
        figure = results.experiment.figure(results)
        figure.savefig(buffer, format="png", dpi=DOTS, metadata={"Software": None})
    return buffer.getvalue()


def load(experiment: Experiment, folder: Path) -> tuple[Results, Summary] | None:
    """The published results of an experiment; None where nothing ran.

    Raises:
        FileError: the file is damaged.
    """
    path = _summary_in(folder, experiment)
    if not path.exists():
        return None
    kept = _read(path)
    rows = []
    for row in kept.rows:
        for i, seed in enumerate(row.seeds):
            numbers = {name: values[i] for name, values in row.numbers.items()}
            curves = {name: np.array(values[i]) for name, values in row.curves.items()}
            rows.append((row.configuration, Run(seed, numbers, _made(row, kept.made), partial(dict, curves))))
    return table(experiment, kept.scale, rows), kept


def _made(row: Row, made: list[Provenance]) -> Provenance:
    """The provenance that fits a row best: of its code, or at least of its engine."""
    engine = {name: row.configuration.get(name) for name in ("backend", "dtype")}
    fitting = [one for one in made if all(getattr(one, name) == value for name, value in engine.items())]
    return next((one for one in fitting if one.code == row.code), next(iter(fitting), made[0]))


def _read(path: Path) -> Summary:
    try:
        return Summary.model_validate_json(path.read_bytes())
    except (OSError, ValidationError, SpecError) as error:
        raise FileError(f"{path}: is not the summary of an experiment ({type(error).__name__})") from None


def _lines(kept: Summary) -> str:
    """One line a row: a change of one row is then a change of one line."""
    whole = json.loads(kept.model_dump_json())
    rows, made = whole.pop("rows"), whole.pop("made")
    head = json.dumps(whole)[:-1]
    parts = [f'"{name}": [\n{_list(items)}\n]' for name, items in (("made", made), ("rows", rows))]
    return f"{head}, {', '.join(parts)}}}\n"


def _list(items: list[Any]) -> str:
    return ",\n".join(json.dumps(item) for item in items)
