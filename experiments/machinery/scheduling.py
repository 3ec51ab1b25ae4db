"""Many runs: in this process, on a local Dask cluster, or on one that is there already.

What a worker finishes comes back and is written here, at once.  So a worker that is lost takes with it the one run it
was in, which another worker then does again; a run that raises is reported, and the others go on; and a program that is
interrupted leaves everything that was finished, which the same command does not do again.
"""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from unittest.mock import patch

from neuro_eq.errors import BackendError
from neuro_eq.experiments.machinery.catalogue import find
from neuro_eq.experiments.machinery.execution import Finished, Job, execute
from neuro_eq.experiments.machinery.store import Store

LOSSES = 2
"""Losses of a worker after which a run that was on it is set aside, and tried once more when it is alone."""

KEPT_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**30), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
"""With this in its environment the C library of a worker keeps what is freed.

As Dask sets the first one, every freed tensor goes back to the system, which costs more time than the computation.
"""

WITHOUT_DASK = 'this needs Dask: pip install "neuro_eq[experiments]", or run in this process with --workers 0'


@runtime_checkable
class Progress(Protocol):
    """Something that is told how the runs go."""

    def begin(self, total: int, known: int) -> None:
        """So many runs, of which so many are there from before."""

    def finished(self, job: Job, seconds: float) -> None:
        """A run is done and written."""

    def failed(self, job: Job, why: str) -> None:
        """A run raised, or took down too many workers."""


@dataclass
class Tally:
    """What became of the runs."""

    done: list[Job] = field(default_factory=list)
    known: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, str]] = field(default_factory=list)


def run_all(
    jobs: Sequence[Job],
    store: Store,
    progress: Progress,
    *,
    workers: int = 0,
    scheduler: str | None = None,
) -> Tally:
    """Do the runs that are not there yet.

    Args:
        jobs: what is wanted.
        store: where results lie.
        progress: is told of every run.
        workers: processes of a local cluster; 0 runs one after the other in this process.
        scheduler: address of a Dask scheduler to use instead.  Runs of an experiment that measures time or memory are
            done one at a time there, too.

    Raises:
        BackendError: Dask is not installed, or no scheduler answers.
        FileError: a result cannot be written.
    """
    tally = Tally(known=[job for job in jobs if job.key in store])
    waiting = [job for job in jobs if job.key not in store]
    progress.begin(len(jobs), len(tally.known))
    if not waiting:
        return tally
    here = scheduler is None and workers == 0
    alone = any(find(job.experiment).alone for job in waiting)
    for job, found in _in_this_process(waiting) if here else _on_a_cluster(waiting, workers, scheduler, alone):
        if isinstance(found, BaseException):
            why = f"{type(found).__name__}: {found}"
            kept = store.failed(job.key, "".join(traceback.format_exception(found)))
            why += "" if kept is None else f" (all of it: {kept})"
            tally.failed.append((job, why))
            progress.failed(job, why)
            continue
        store.write(found.record, found.arrays)
        tally.done.append(job)
        progress.finished(job, found.record.provenance.seconds)
    return tally


Ended = Iterator[tuple[Job, "Finished | BaseException"]]


def _in_this_process(jobs: Sequence[Job]) -> Ended:
    for job in jobs:
        try:
            found: Finished | BaseException = execute(job)
        except Exception as error:
            found = error
        yield job, found


def _on_a_cluster(jobs: Sequence[Job], workers: int, scheduler: str | None, alone: bool) -> Ended:
    try:
        from distributed import KilledWorker, as_completed
    except ImportError:
        raise BackendError(WITHOUT_DASK) from None
    with _client(min(workers, len(jobs)), scheduler) as client:

        def submit(job: Job, attempt: str) -> Any:
            return client.submit(execute, job, key=f"{job.experiment}-{job.key}{attempt}", pure=False)

        waiting, suspects = list(jobs), []
        running: dict[Any, Job] = {}
        ending = as_completed([], loop=client.loop, raise_errors=False)
        while waiting or running:
            # No more at a time than there are threads: a run that only waits on a worker is blamed for its loss, too.
            while waiting and len(running) < (1 if alone else max(1, sum(client.nthreads().values()))):
                job = waiting.pop(0)
                future = submit(job, "")
                running[future] = job
                ending.add(future)
            future = next(ending)
            job, error = running.pop(future), future.exception()
            if isinstance(error, KilledWorker):
                suspects.append(job)
            else:
                yield job, future.result() if error is None else error
            future.release()
        # Of several runs that were on a worker one may have taken it down.  Alone, each shows whether it was that one.
        for job in suspects:
            future = submit(job, "-alone")
            error = future.exception()
            yield job, future.result() if error is None else error
            future.release()


@contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    from neuro_eq.experiments.machinery.workers import LeavesInterruptions

    quiet = {"distributed.scheduler.allowed-failures": LOSSES, "distributed.admin.tick.limit": "1h"}
    with dask.config.set(quiet):
        if scheduler is not None:
            try:
                client = Client(scheduler, timeout="10s", set_as_default=False)
            except (OSError, ValueError) as error:
                raise BackendError(f"no Dask scheduler answers at {scheduler} ({error or 'timed out'})") from None
            with client:
                yield client
            return
        with (
            patch.dict(os.environ, KEPT_MEMORY),  # what Dask adds to it ends here, too
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=None,  # a run that needs much is no lost worker
                dashboard_address=":0",
                worker_dashboard_address=None,
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            client.register_plugin(LeavesInterruptions())
            yield client
