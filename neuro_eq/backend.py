"""Engines by name: what is installed, what it is called, and how it is loaded.

Backends announce themselves through the entry point group ``neuro_eq.backends``; each entry point is a
:class:`Backend`, which is light to import and loads its engine only when that is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

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
    """

    name: str
    summary: str
    engine: str
    probe: Callable[[], BackendStatus]
    install: Callable[[Callable[[str], None]], None] | None = None

    def load(self) -> type[Engine]:
        """The engine class.

        Raises:
            BackendError: the backend cannot run here; the message says what to do.
        """
        status = self.probe()
        if not status.available:
            raise BackendError(f'backend "{self.name}" cannot run here: {status.detail}')
        module, name = self.engine.split(":")
        return getattr(import_module(module), name)


def backends() -> dict[str, Backend]:
    """Every announced backend, by name."""
    found = {point.name: point.load() for point in entry_points(group=GROUP)}
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
