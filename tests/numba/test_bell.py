"""Bells: heard when they ring, also if that was a moment ago, and waited for a short while only."""

from __future__ import annotations

import threading

import pytest

from neuro_eq.backends.numba import bell
from neuro_eq.backends.numba.bell import Bell

FOREVER = 10**18
"""Looks that no test lives to see the end of."""


def test_who_listens_hears_a_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "PATIENCE", FOREVER)
    one, other = Bell(), Bell()
    heard = one.rung
    listener = threading.Thread(target=one.listen, args=(heard,), daemon=True)
    listener.start()
    one.ring()
    listener.join(30)
    assert not listener.is_alive()
    # An answer rings the one and listens for the other.
    answers, calls = one.rung, other.rung
    listener = threading.Thread(target=one.answer, args=(other, calls), daemon=True)
    listener.start()
    one.listen(answers)
    other.ring()
    listener.join(30)
    assert not listener.is_alive()
    assert one.rung == answers + 1


def test_what_was_rung_before_one_listens_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "PATIENCE", FOREVER)
    one = Bell()
    heard = one.rung
    one.ring()
    one.listen(heard)


def test_patience_ends() -> None:
    one = Bell()
    one.listen(one.rung)
