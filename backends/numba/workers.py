"""Threads that share tasks out.  What a task computes does not depend on which thread it ran on, or when."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeAlias

from neuro_eq.backends.numba.bell import Bell

Task: TypeAlias = Callable[[], Any]

WORTHWHILE = 200_000
"""Numbers to be moved below which waking another thread takes longer than moving them."""

Ended: TypeAlias = "SimpleQueue[Exception | None]"


class Workers:
    """The calling thread and ``threads − 1`` others, which are started when they are first needed.

    Args:
        threads: how many tasks run at the same time.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._started = 0
        self._waiting: SimpleQueue[Task | None] = SimpleQueue()
        self._called, self._done = Bell(), Bell()

    def run(self, tasks: Sequence[Task], numbers: int | None = None) -> None:
        """Run all tasks; an error in one is raised here, when the others have ended.

        Args:
            numbers: how many numbers the tasks move, where that is all that they do.
        """
        helpers = min(self.threads, len(tasks)) - 1
        if helpers <= 0 or (numbers is not None and numbers < WORTHWHILE):
            for task in tasks:
                task()
            return
        remaining = iter(tasks)  # taking the next one is a single step of the interpreter
        ended: Ended = SimpleQueue()

        def help_out() -> None:
            for task in remaining:
                ended.put(_error_of(task))

        while self._started < helpers:
            Thread(target=_serve, args=(self._waiting, self._called, self._done), name="neuro_eq", daemon=True).start()
            self._started += 1
        for _ in range(helpers):
            self._waiting.put(help_out)
        self._called.ring()
        own = 0
        errors: list[Exception | None] = []
        try:
            for task in remaining:
                own += 1
                errors.append(_error_of(task))
        finally:
            # Ctrl-C leaves the rest undone, but nothing that still runs.  Who comes too late finds nothing and is
            # not waited for.
            own += sum(1 for _ in remaining)
            errors += [self._end_of(ended) for _ in range(len(tasks) - own)]
        for error in errors:
            if error is not None:
                raise error

    def _end_of(self, ended: Ended) -> Exception | None:
        """How another thread's next task ended."""
        heard = self._done.rung
        try:
            return ended.get_nowait()
        except Empty:
            self._done.listen(heard)
        return ended.get()

    def close(self) -> None:
        """End the other threads."""
        for _ in range(self._started):
            self._waiting.put(None)
        self._called.ring()
        self._started = 0


def _error_of(task: Task) -> Exception | None:
    try:
        task()
    except Exception as error:  # it is raised where the tasks came from
        return error
    return None


def _serve(waiting: SimpleQueue[Task | None], called: Bell, done: Bell) -> None:
    while (work := _next(waiting, called, done)) is not None:
        work()
        del work  # what a task holds is held no longer than it runs


def _next(waiting: SimpleQueue[Task | None], called: Bell, done: Bell) -> Task | None:
    heard = called.rung
    try:
        return waiting.get_nowait()
    except Empty:
        done.answer(called, heard)
    return waiting.get()


__all__ = ["Workers"]
