"""Is this right?  A network held to everything that can be known about it; ``neuro_eq check`` on the command line."""

from __future__ import annotations

from neuro_eq.checking.examination import check
from neuro_eq.checking.report import Constants, Curve, Report, Row, Section, Skipped, Trace, Verdict

__all__ = ["Constants", "Curve", "Report", "Row", "Section", "Skipped", "Trace", "Verdict", "check"]
