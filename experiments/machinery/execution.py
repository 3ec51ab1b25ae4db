"""One run, in whatever process it lands."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from neuro_eq.errors import SpecError
from neuro_eq.experiments.machinery.catalogue import find
from neuro_eq.experiments.machinery.experiment import Configuration, Experiment, Scale
from neuro_eq.experiments.machinery.provenance import Provenance, machine, processor, versions
from neuro_eq.experiments.machinery.store import Record, key, outcome_record
from neuro_eq.specfile import digest


@dataclass(frozen=True)
class Job:
    """A configuration and a seed that are to be run, and the key that the result will have.

    Attributes:
        experiment: the name that :func:`find` knows, here and in another process.
        entries: of the configuration.
    """

    experiment: str
    scale: str
    entries: Mapping[str, Any]
    seed: int
    key: str
    code: str

    @property
    def configuration(self) -> Configuration:
        """The configuration itself."""
        return find(self.experiment).configuration(**self.entries)


@dataclass(frozen=True)
class Finished:
    """A run that came to its end."""

    record: Record
    arrays: Mapping[str, np.ndarray]


def plan(
    name: str,
    scale: Scale,
    seeds: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    only: Sequence[str] = (),
) -> list[Job]:
    """All runs of an experiment at a scale: seed by seed, so that what is there first is a whole table.

    Args:
        name: of the experiment.
        scale: how much.
        seeds: how many; as the experiment has it by default.
        backend: an engine instead of the configurations' own.
        device: where torch computes instead of the configurations' own.
        only: parts of a row's label, of which it must have one; all rows when there are none.

    Raises:
        SpecError: no row has any of ``only`` in its label.
    """
    experiment = find(name)
    rows = list(experiment.configurations(scale))
    if only:
        labels = [row.label for row in rows]
        rows = [row for row in rows if any(part in row.label for part in only)]
        if not rows:
            raise SpecError(f"no row's label has {' or '.join(map(repr, only))} in it; they are {labels}", "--only")
    if backend is not None:
        rows = [type(row)(**{**dict(row), "backend": backend}) for row in rows]
    if device is not None:
        rows = [type(row)(**{**dict(row), "device": device}) if row.backend == "torch" else row for row in rows]
    jobs = []
    for seed in range(experiment.seeds[scale] if seeds is None else seeds):
        for row in rows:
            code = experiment.code(row.backend)
            known = key(experiment.name, row, seed, code)
            jobs.append(Job(name, scale, row.model_dump(mode="json"), seed, known, code))
    return jobs


def execute(job: Job) -> Finished:
    """Run a job here.

    Raises:
        RuntimeError: the code here is not the code that the job was planned with.
    """
    experiment: Experiment = find(job.experiment)
    configuration = job.configuration
    code = experiment.code(configuration.backend)
    if code != job.code:
        raise RuntimeError(f"this worker has other code ({code}) than the run was planned with ({job.code})")
    began = time.perf_counter()
    found = experiment.run(configuration, job.seed)
    made = Provenance(
        code=code,
        spec="" if found.network is None else digest(found.network),
        packages=versions(configuration.backend, *experiment.engines),
        backend=configuration.backend,
        dtype=configuration.dtype,
        device=processor(configuration.device),
        machine=machine(),
        seconds=round(time.perf_counter() - began, 3),
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )
    record = outcome_record(job.experiment, job.scale, job.key, configuration, job.seed, found, made)
    return Finished(record, {name: np.asarray(values) for name, values in found.arrays.items()})
