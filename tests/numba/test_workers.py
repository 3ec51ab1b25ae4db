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
    meeting = threading.Barrier(2, timeout=10)
    seen: list[threading.Thread] = []

    def meet() -> None:
        seen.append(threading.current_thread())
        meeting.wait()

    for _ in range(2):
        seen.clear()
        workers.run([meet, meet])
        helpers = [thread for thread in seen if thread is not threading.current_thread()]
        assert helpers
        workers.close()
        for thread in helpers:
            thread.join(10)
            assert not thread.is_alive()
