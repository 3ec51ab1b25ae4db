"""Modules of the user's own, with synapses or activations that files may name."""

from __future__ import annotations

import os
import shlex
import sys
from importlib import import_module
from types import ModuleType

from neuro_eq.errors import SpecError

_brought: list[str] = []


def imported(name: str) -> ModuleType:
    """A module by its name, also one in the current folder."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return import_module(name)


def bring(name: str) -> None:
    """Import a module, so that files may name what it registers.

    Raises:
        SpecError: there is none of this name.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise SpecError(f"expected the name of a module, such as mine or mine.synapses, found {name!r}", "--import")
    try:
        imported(name)
    except ImportError as error:
        raise SpecError(f"cannot import {name} ({error})", "--import") from None
    _brought.append(name)


def program() -> str:
    """The program as it has to be called again, with the modules that it was called with."""
    return " ".join(["neuro_eq", *(f"--import {shlex.quote(name)}" for name in _brought)])


__all__ = ["bring", "imported", "program"]
