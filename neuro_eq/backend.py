"""Engines by name: what is installed, what it is called, and how it is loaded.

Backends announce themselves through the entry point group ``neuro_eq.backends``; each entry point is a
:class:`Backend`, which is light to import and loads its engine only when that is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro_eq.errors import BackendError, did_you_mean

if TYPE_CHECKING:
    from neuro_eq.engine import Engine

GROUP = "neuro_eq.backends"


@dataclass(frozen=True)
class BackendStatus:
    """Whether a backend can run here; ``detail`` is its version, or one sentence that says what to do."""

    available: bool
    detail: str


@dataclass(frozen=True)
class Backend:
    """An engine's announcement.

    Attributes:
        name: what users write.
        summary: one line for ``neuro_eq backends``.
        engine: ``"module:class"`` of the engine, imported on use.
        probe: says, without importing the engine, whether it can run.
        install: builds what the backend needs, printing progress through the callable; ``None`` where pip is enough.
        rules: learning rules of the backend's own, beside those of a host that reads states and sets parameters:
            ``"module:function"`` by name.  The function takes a ``Data``, a folder and the keywords ``hidden``,
            ``epochs``, ``beta``, ``seed`` and ``say``, trains, and returns the files that it wrote, by what they hold.
    """

    name: str
    summary: str
    engine: str
    probe: Callable[[], BackendStatus]
    install: Callable[[Callable[[str], None]], None] | None = None
    rules: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def rule(self, name: str) -> Callable[..., dict[str, Path]]:
        """The training function of a rule of the backend's own.

        Raises:
            BackendError: it has none of that name, or cannot run here.
        """
        if name not in self.rules:
            own = "; it has " + ", ".join(map(repr, self.rules)) if self.rules else ""
            raise BackendError(f'backend "{self.name}" has no learning rule {name!r} of its own{own}')
        self._refuse_if_it_cannot_run()
        return _imported(self.rules[name])

    def load(self) -> type[Engine]:
        """The engine class.

        Raises:
            BackendError: the backend cannot run here; the message says what to do.
        """
        self._refuse_if_it_cannot_run()
        return _imported(self.engine)

    def _refuse_if_it_cannot_run(self) -> None:
        status = self.probe()
        if not status.available:
            raise BackendError(f'backend "{self.name}" cannot run here: {status.detail}')


def _imported(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)


@cache
def _announced(path: tuple[str, ...]) -> dict[str, Backend]:
    """What the packages on this path announce: to read them all takes longer than to compile a small network."""
    return {point.name: point.load() for point in entry_points(group=GROUP)}


def backends() -> dict[str, Backend]:
    """Every announced backend, by name."""
    found = _announced(tuple(sys.path))
    if not found:
        raise BackendError(
            "no backend is announced: install the project first (pip install .), so that its entry points exist"
        )
    order = ["reference", "numba", "torch", "lava"]
    return dict(
        sorted(found.items(), key=lambda item: (order.index(item[0]) if item[0] in order else len(order), item[0]))
    )


def backend(name: str) -> Backend:
    """The backend of that name.

    Raises:
        BackendError: there is none; the message names the known ones.
    """
    known = backends()
    if name not in known:
        raise BackendError(f'no backend "{name}"' + did_you_mean(name, known))
    return known[name]
