"""What a check came to: rows with a verdict each, the curves behind them, and both as JSON."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from neuro_eq.atomic import write_text
from neuro_eq.errors import FileError

PLAIN = ConfigDict(ser_json_inf_nan="strings", extra="forbid")
"""A gradient that blew up is infinite; JSON has no number for that, so it is written as a word."""


class Verdict(str, Enum):
    """How a row ended."""

    OK = "ok"
    MISSED = "missed"
    """The value is beyond its tolerance: something is wrong, and ``says`` what."""
    NOTE = "note"
    """Nothing to judge, or nothing that can be judged; worth reading."""


class Section(str, Enum):
    """What a row is about."""

    FIXED_POINTS = "fixed points"
    ENGINES = "gradients, engine by engine"
    METHODS = "gradients, method by method"
    CONVERGENCE = "convergence"
    CONTRACTION = "contraction"


@dataclass(frozen=True)
class Row:
    """One thing that was checked.

    Attributes:
        section: what it is about.
        group: whom it is about: an engine in a precision, a method, or nothing.
        what: the quantity.
        value: what was measured; infinite where it was not a number, None where there is none.
        tolerance: what it may be (``bound`` says from which side), or None where nothing is judged.
        verdict: how it ended.
        says: what it means and what to do; empty where all is well.
        at_least: whether the tolerance is a lower bound.
    """

    __pydantic_config__: ClassVar[ConfigDict] = PLAIN

    section: Section
    group: str
    what: str
    value: float | None
    tolerance: float | None
    verdict: Verdict
    says: str = ""
    at_least: bool = False

    @property
    def share(self) -> float | None:
        """The value as a multiple of its tolerance, for an upper bound."""
        if self.value is None or not self.tolerance or self.at_least:
            return None
        return self.value / self.tolerance


def judged(
    section: Section, group: str, what: str, value: float, tolerance: float, says: str, *, at_least: bool = False
) -> Row:
    """A row whose verdict is the comparison of a value with its tolerance; ``says`` is kept where it is missed."""
    if math.isnan(value):
        value = -math.inf if at_least else math.inf
    fine = value >= tolerance if at_least else value <= tolerance
    verdict = Verdict.OK if fine else Verdict.MISSED
    return Row(section, group, what, float(value), float(tolerance), verdict, "" if fine else says, at_least)


def note(section: Section, group: str, what: str, value: float | None, says: str) -> Row:
    """A row that is worth reading and judges nothing."""
    return Row(section, group, what, None if value is None else float(value), None, Verdict.NOTE, says)


@dataclass(frozen=True)
class Skipped:
    """What was not checked, and why."""

    __pydantic_config__: ClassVar[ConfigDict] = PLAIN

    what: str
    reason: str


@dataclass(frozen=True)
class Curve:
    """The error of one method over β, in float64 on the reference engine.

    Attributes:
        method: its name.
        expected: the order in β that theory gives; 0 where the method is biased for this network.
        betas: the nudges, falling.
        errors: relative to the exact gradient.
        cosines: of the angle to the exact gradient.
        floors: the errors that unfinished settling and rounding alone may leave.
        crossing: the fraction of units that cross a kink of their activation between the phases.
    """

    __pydantic_config__: ClassVar[ConfigDict] = PLAIN

    method: str
    expected: int
    betas: tuple[float, ...]
    errors: tuple[float, ...]
    cosines: tuple[float, ...]
    floors: tuple[float, ...]
    crossing: tuple[float, ...]


@dataclass(frozen=True)
class Trace:
    """The residuals of one phase, step by step, under the settling that was asked for.

    Attributes:
        phase: ``"free"`` or ``"nudged"``.
        median, largest: over the samples, before the first step and after each.
        tolerance: the median residual at which samples stop; None for a fixed number of steps.
    """

    __pydantic_config__: ClassVar[ConfigDict] = PLAIN

    phase: str
    median: tuple[float, ...]
    largest: tuple[float, ...]
    tolerance: float | None


@dataclass(frozen=True)
class Constants:
    """Lipschitz constants, one entry per sample; see :func:`neuro_eq.lipschitz`."""

    __pydantic_config__: ClassVar[ConfigDict] = PLAIN

    response: tuple[float, ...]
    step: tuple[float, ...]
    radius: tuple[float, ...]


@dataclass(frozen=True)
class Report:
    """Everything that a check found.

    Attributes:
        network: the network's name.
        digest: SHA-256 of its TOML.
        inputs: where the samples came from.
        samples, beta, seed, solver, max_steps: what was asked for.
        rows: in the order in which they were checked.
        skipped: what was not checked, and why.
        curves, traces, constants: the numbers behind the figure.
        seconds: how long it took.
        version: of neuro_eq.
    """

    __pydantic_config__: ClassVar[ConfigDict] = PLAIN

    network: str
    digest: str
    inputs: str
    samples: int
    beta: float
    seed: int
    solver: str
    max_steps: int
    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]
    curves: tuple[Curve, ...]
    traces: tuple[Trace, ...]
    constants: Constants | None
    seconds: float
    version: str

    @property
    def ok(self) -> bool:
        """Whether no tolerance was missed."""
        return not self.missed

    @property
    def judged(self) -> int:
        """The number of rows that were held to a tolerance."""
        return len(self.rows) - len(self.notes)

    @property
    def missed(self) -> tuple[Row, ...]:
        """The rows beyond their tolerance."""
        return tuple(row for row in self.rows if row.verdict is Verdict.MISSED)

    @property
    def notes(self) -> tuple[Row, ...]:
        """The rows that judge nothing."""
        return tuple(row for row in self.rows if row.verdict is Verdict.NOTE)

    def to_json(self) -> str:
        """The report as JSON; :meth:`from_json` gives an equal one."""
        return _REPORT.dump_json(self, indent=1).decode()

    @staticmethod
    def from_json(text: str) -> Report:
        """The report that :meth:`to_json` wrote.

        Raises:
            FileError: the text is no such report.
        """
        try:
            return _REPORT.validate_json(text)
        except ValidationError as error:
            finding = error.errors()[0]
            place = ".".join(map(str, finding["loc"])) or "the text"
            raise FileError(f"{place}: not a report of neuro_eq check ({finding['msg'].lower()})") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_json` to a file, whole or not at all."""
        write_text(path, self.to_json())

    def draw(self, path: str | os.PathLike[str]) -> Path:
        """Draw the figure; the ending of the name says whether as PNG, PDF or SVG."""
        from neuro_eq.checking.figure import draw_report

        return draw_report(self, path)


_REPORT: TypeAdapter[Report] = TypeAdapter(Report)
