"""What a worker of a local cluster does for itself; only programs that have Dask import this."""

from __future__ import annotations

import signal

from distributed import Worker, WorkerPlugin


class LeavesInterruptions(WorkerPlugin):
    """Ctrl-C reaches every process of a terminal; the program ends its workers itself, without their tracebacks."""

    def setup(self, worker: Worker) -> None:
        """Begin with the worker."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
