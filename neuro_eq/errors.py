"""The errors a user can cause. Each message is one sentence: the place, what was found, what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 1000
"""Characters of a message; what a file says, and is quoted, may be of any length."""


class NeuroEqError(Exception):
    """Base of every error that the command line reports in one line instead of a traceback.

    A message quotes what users and files say.  Line breaks in it, and what would steer a terminal, are shown escaped.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__(_one_line(message))


def _one_line(message: str) -> str:
    if len(message) > LONGEST:
        half = LONGEST // 2
        message = f"{message[:half]} … {message[-half:]}"
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


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
    """An engine that is not installed, that failed, or that was asked for what it cannot do.

    ``report`` is what a failed engine says of itself, such as the traceback of a model, in lines of its own.
    """

    def __init__(self, message: str = "", report: str = "") -> None:
        super().__init__(message)
        self.report = "\n".join(_one_line(line) for line in report.splitlines())

    def __str__(self) -> str:
        return f"{super().__str__()}\n\n{self.report}" if self.report else super().__str__()


class TrainingError(NeuroEqError):
    """A training run that cannot go on, because a gradient is not a finite number."""


def did_you_mean(found: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the nearest known one, or all that are known."""
    words = list(known)
    near = difflib.get_close_matches(found[:LONGEST], words, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return "; known: " + ", ".join(words) if words else ""
