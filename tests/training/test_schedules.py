"""Schedules by their values at a few places."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro_eq.errors import SpecError
from neuro_eq.frozen import parse_kind
from neuro_eq.schedules import SCHEDULES, Constant, Cosine, Exponential, Schedule, Step


@pytest.mark.parametrize(("progress", "scale"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0), (1 / 3, 0.75)])
def test_cosine_falls_from_one_to_zero(progress: float, scale: float) -> None:
    assert math.isclose(Cosine().scale(progress), scale, abs_tol=1e-15)
    assert math.isclose(Cosine(floor=0.2).scale(progress), 0.2 + 0.8 * scale, abs_tol=1e-15)
    assert Constant().scale(progress) == 1.0


def test_steps_fall_at_their_places() -> None:
    schedule = Step(at=(0.25, 0.75), factor=0.5)
    assert [schedule.scale(progress) for progress in (0.0, 0.24, 0.25, 0.5, 0.75, 0.99)] == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_exponential_falls_by_one_ratio() -> None:
    schedule = Exponential(last=0.01)
    assert [schedule.scale(progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.1, 0.01], rel=1e-15)


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0.01, 0.9), st.floats(0.0, 0.999))
def test_a_warm_up_is_a_line_and_then_the_schedule_as_it_was(kind: str, warmup: float, progress: float) -> None:
    plain, warmed = SCHEDULES[kind](), SCHEDULES[kind](warmup=warmup)
    assert warmed.scale(0.0) == 0.0
    assert warmed.scale(warmup) == plain.scale(0.0) == 1.0
    assert math.isclose(warmed.scale(warmup * progress), progress, abs_tol=1e-12)
    after = warmup + (1.0 - warmup) * progress
    near = [plain.scale(max(0.0, progress + shift)) for shift in (-1e-12, 0.0, 1e-12)]  # a step falls at a place
    assert min(near) - 1e-9 <= warmed.scale(after) <= max(near) + 1e-9


@given(st.sampled_from(sorted(SCHEDULES)), st.floats(0.0, 0.9), st.floats(0.0, 0.999))
def test_a_factor_never_exceeds_one_or_falls_below_nought(kind: str, warmup: float, progress: float) -> None:
    assert 0.0 <= SCHEDULES[kind](warmup=warmup).scale(progress) <= 1.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"kind": "cosine", "floor": 1.5}, r"^floor: .*\(found 1.5\)$"),
        ({"kind": "cosine", "warmup": 1.0}, r"^warmup: .*\(found 1.0\)$"),
        ({"kind": "step", "at": [0.5, 0.5]}, r"^at: expected rising fractions between 0 and 1, found \[0.5, 0.5\]$"),
        ({"kind": "step", "at": [0.0]}, r"^at: expected rising fractions between 0 and 1, found \[0.0\]$"),
        ({"kind": "exponential", "last": 0.0}, r"^last: .*\(found 0.0\)$"),
        ({"kind": "cosin"}, r'^kind: no schedule \'cosin\'; did you mean "cosine"\?$'),
    ],
)
def test_what_makes_no_schedule_is_refused(data: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_kind(data, SCHEDULES, Schedule, "schedule")
