"""Lava processes that target a simulation of Intel's Loihi, run in a child process of their own interpreter."""

from __future__ import annotations

from collections.abc import Callable

from neuro_eq.backend import Backend, BackendStatus


def probe() -> BackendStatus:
    """Looks for an interpreter that can import Lava."""
    from neuro_eq.backends.lava import environment

    found = environment.status()
    return BackendStatus(found.available, found.detail)


def install(echo: Callable[[str], None]) -> None:
    """Build Lava's own environment in the user's cache."""
    from neuro_eq.backends.lava import environment

    environment.install(echo)


BACKEND = Backend(
    "lava",
    "Lava processes, floating and fixed point (Loihi simulation)",
    "neuro_eq.backends.lava.engine:LavaEngine",
    probe,
    install,
    rules={"chip": "neuro_eq.backends.deployment.learning:learn_in_lava"},
)
