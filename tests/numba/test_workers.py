"""Threads: every task runs once, an error comes out, and nothing is left running."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from neuro_eq.backends.numba.workers import WORTHWHILE, Workers


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_every_task_runs_once(threads: int) -> None:
    workers = Workers(threads)
    for count in (0, 1, 2, 7, 50):
        done: list[int] = []
        workers.run([partial(done.append, i) for i in range(count)])
        assert sorted(done) == list(range(count))
    workers.close()


def test_tasks_run_at_the_same_time() -> None:
    workers = Workers(2)
    meeting = threading.Barrier(2, timeout=10)
    workers.run([meeting.wait, meeting.wait])
    workers.close()


def test_little_work_is_done_by_the_caller() -> None:
    workers = Workers(2)
    who: set[int] = set()
    workers.run([lambda: who.add(threading.get_ident())] * 4, WORTHWHILE - 1)
    assert who == {threading.get_ident()}
    workers.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_comes_out_when_the_others_have_ended(threads: int) -> None:
    workers = Workers(threads)
    done: list[int] = []

    def slow() -> None:
        time.sleep(0.05)
        done.append(1)

    def fails() -> None:
        raise ValueError("of a task")

    with pytest.raises(ValueError, match="of a task"):
        workers.run([slow, fails])
    assert done == [1]
    workers.run([slow])  # and it goes on working
    assert done == [1, 1]
    workers.close()


def test_closed_threads_end_and_are_started_again() -> None:
    workers = Workers(2)
    before = threading.active_count()
    meeting = threading.Barrier(2, timeout=10)
    for _ in range(2):
        workers.run([meeting.wait, meeting.wait])
        assert threading.active_count() > before
        workers.close()
        deadline = time.monotonic() + 10
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.001)
        assert threading.active_count() == before
