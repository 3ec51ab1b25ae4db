"""Results on disk: for every run a JSON file with its numbers and an HDF5 file with its arrays.

Both are written whole or not at all, the JSON last: a run is finished when its JSON is there.  Their name is the key of
the run, a hash of the experiment, the configuration, the seed and the code version, so nothing is run twice and nothing
is taken for the result of other code.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from pydantic import ConfigDict, ValidationError

from neuro_eq.atomic import replacing, write_text
from neuro_eq.errors import FileError, SpecError
from neuro_eq.experiments.machinery.catalogue import find
from neuro_eq.experiments.machinery.experiment import Configuration, Experiment, Outcome
from neuro_eq.experiments.machinery.provenance import Provenance
from neuro_eq.experiments.machinery.results import Cell, Results, Run
from neuro_eq.frozen import Frozen


class Record(Frozen):
    """The JSON of one run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=True, ser_json_inf_nan="strings")

    format: Literal[1] = 1
    experiment: str
    scale: str
    key: str
    configuration: dict[str, Any]
    seed: int
    numbers: dict[str, float]
    provenance: Provenance


def key(experiment: str, configuration: Configuration, seed: int, code: str) -> str:
    """What a run is known by, 24 hexadecimal digits."""
    what = [experiment, configuration.model_dump(mode="json"), seed, code]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:24]


class Store:
    """The results of one experiment at one scale, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, known: str) -> bool:
        return self._json(known).exists()

    def write(self, record: Record, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep a finished run.

        Raises:
            FileError: it cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{self.folder}: cannot make this folder ({error.strerror or error})") from None
        with replacing(self._h5(record.key)) as file:
            file.write(_packed(record, arrays))
        write_text(self._json(record.key), record.model_dump_json(indent=1) + "\n")
        self._trace(record.key).unlink(missing_ok=True)

    def failed(self, known: str, trace: str) -> Path | None:
        """Keep why a run failed beside the others' results; None where it cannot be written."""
        path = self._trace(known)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(path, trace)
        except (OSError, FileError):
            return None  # the run is lost already, and others go on
        return path

    def records(self) -> list[Record]:
        """All finished runs, in the order of their keys.

        Raises:
            FileError: a file is not what its name promises.
        """
        return [read(path) for path in sorted(self.folder.glob("*.json"))]

    def arrays(self, known: str) -> dict[str, np.ndarray]:
        """The arrays of a run; none where only its numbers were kept."""
        path = self._h5(known)
        if not path.exists():
            return {}
        try:
            with h5py.File(path, "r") as file:
                found: dict[str, np.ndarray] = {}
                file.visititems(lambda name, item: found.update(_array(name, item)))
                return found
        except OSError as error:
            raise FileError(f"{path}: cannot read it ({error})") from None

    def results(self, experiment: Experiment, scale: str) -> Results:
        """The runs of a scale as a table; of a configuration's, those by the code of its newest run alone.

        Two versions of the code are not averaged, so one that was run again with fewer seeds has fewer.  Rows of
        another scale count where this one has them, too.
        """
        rows: dict[str, list[Record]] = {}
        planned = {row.model_dump_json() for row in Results(experiment, scale, ()).planned}
        for record in sorted(self.records(), key=lambda each: each.provenance.date):
            if find(record.experiment).name == experiment.name:
                configuration = experiment.configuration(**record.configuration).model_dump_json()
                if record.scale == scale or configuration in planned:
                    rows.setdefault(configuration, []).append(record)
        kept: list[Record] = []
        for records in rows.values():
            kept += {
                each.seed: each for each in records if each.provenance.code == records[-1].provenance.code
            }.values()
        kept.sort(key=lambda each: (each.seed, each.key))
        return table(experiment, scale, [(record.configuration, self._run(record)) for record in kept])

    def _run(self, record: Record) -> Run:
        return Run(record.seed, record.numbers, record.provenance, partial(self.arrays, record.key))

    def _json(self, known: str) -> Path:
        return self.folder / f"{known}.json"

    def _h5(self, known: str) -> Path:
        return self.folder / f"{known}.h5"

    def _trace(self, known: str) -> Path:
        return self.folder / f"{known}.failed.txt"


def table(experiment: Experiment, scale: str, rows: Iterable[tuple[Mapping[str, Any], Run]]) -> Results:
    """Runs as cells: in the order of the experiment's own configurations, then whatever else there is."""
    cells: dict[str, tuple[Configuration, list[Run]]] = {}
    for entries, run in rows:
        configuration = experiment.configuration(**entries)
        cells.setdefault(configuration.model_dump_json(), (configuration, []))[1].append(run)
    usual = [each.label for each in Results(experiment, scale, ()).planned]
    place = {label: i for i, label in reversed(list(enumerate(usual)))}
    ordered = sorted(cells.values(), key=lambda cell: (place.get(cell[0].label, len(usual)), cell[0].label))
    return Results(experiment, scale, tuple(Cell(configuration, tuple(runs)) for configuration, runs in ordered))


def read(path: Path) -> Record:
    """The JSON of one run.

    Raises:
        FileError: it is not one.
    """
    try:
        return Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise FileError(f"{path}: cannot read it ({error.strerror or error})") from None
    except (ValidationError, SpecError):
        raise FileError(f"{path}: is not the result of an experiment") from None


def found_in(folder: Path) -> list[Results]:
    """Everything that lies in a folder, or below it: a table for each experiment and scale.

    Raises:
        FileError: there is nothing, or a file is damaged.
    """
    parents = sorted({path.parent for path in folder.rglob("*.json")})
    tables = []
    for parent in parents:
        store = Store(parent)
        kinds = dict.fromkeys((record.experiment, record.scale) for record in store.records())
        tables += [store.results(find(name), scale) for name, scale in kinds]
    if not tables:
        raise FileError(f"{folder}: there are no results; neuro_eq experiment run NAME writes some")
    return tables


def _packed(record: Record, arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["record"] = record.model_dump_json()
        for name, values in arrays.items():
            array = np.asarray(values)
            packed = {"compression": "gzip", "shuffle": True} if array.ndim else {}
            file.create_dataset(name, data=array, **packed)
    return buffer.getvalue()


def _array(name: str, item: object) -> dict[str, np.ndarray]:
    return {name: np.asarray(item[()])} if isinstance(item, h5py.Dataset) else {}


def outcome_record(
    experiment: str, scale: str, known: str, configuration: Configuration, seed: int, found: Outcome, made: Provenance
) -> Record:
    """What is kept of an outcome as JSON."""
    return Record(
        experiment=experiment, scale=scale, key=known, configuration=configuration.model_dump(mode="json"), seed=seed,
        numbers={name: float(value) for name, value in found.numbers.items()}, provenance=made,
    )  # fmt: skip
