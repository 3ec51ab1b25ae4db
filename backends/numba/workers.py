"""Threads that share tasks out.  What a task computes does not depend on which thread it ran on, or when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

Task = Callable[[], Any]


class Workers:
    """The calling thread and ``threads − 1`` others, which are started when they are first needed.

    Args:
        threads: how many tasks run at the same time.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def run(self, tasks: Sequence[Task]) -> None:
        """Run all tasks; an error in one is raised here, when the others have ended."""
        helpers = min(self.threads, len(tasks)) - 1
        if helpers <= 0:
            for task in tasks:
                task()
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads - 1, thread_name_prefix="neuro_eq")
        remaining = iter(tasks)  # taking the next one is a single step of the interpreter

        def work() -> None:
            for task in remaining:
                task()

        futures = [self._pool.submit(work) for _ in range(helpers)]
        try:
            work()
        finally:
            for future in futures:
                future.result()

    def close(self) -> None:
        """End the other threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None
