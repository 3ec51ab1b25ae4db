"""The errors a user can cause. Each message is one sentence: the place, what was found, what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NeuroEqError(Exception):
    """Base of every error that the command line reports in one line instead of a traceback."""


class SpecError(NeuroEqError):
    """A network, an argument or a configuration that does not describe anything that can run.

    ``place`` is the path inside the user's object or file, as in ``synapses[2].target``.
    """

    def __init__(self, problem: str, place: str = "") -> None:
        self.problem = problem
        self.place = place
        super().__init__(f"{place}: {problem}" if place else problem)

    def inside(self, outer: str) -> SpecError:
        """The same problem, seen from the object that holds the place."""
        joint = "" if not self.place or self.place.startswith("[") else "."
        return SpecError(self.problem, f"{outer}{joint}{self.place}")


class DataError(NeuroEqError):
    """A data set that is missing, damaged or does not fit the network."""


class FileError(NeuroEqError):
    """A file that cannot be read or written, or that is not what its name promises."""


class BackendError(NeuroEqError):
    """An engine that is not installed, that failed, or that was asked for what it cannot do."""


class TrainingError(NeuroEqError):
    """A training run that cannot go on, because a gradient is not a finite number."""


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all that are known."""
    words = list(known)
    near = difflib.get_close_matches(found, words, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return "; known: " + ", ".join(words) if words else ""
