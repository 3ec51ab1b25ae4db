"""The CPU engine: relaxation and purely local learning in kernels that Numba compiles."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from neuro_eq.backend import Backend, BackendStatus


def probe() -> BackendStatus:
    """Numba is a dependency of the core, so this fails only in a broken installation."""
    try:
        return BackendStatus(True, f"numba {version('numba')}")
    except PackageNotFoundError:
        return BackendStatus(False, 'numba is not installed; run: pip install "numba>=0.61"')


BACKEND = Backend(
    "numba", "Numba on the CPU, local Hebbian updates", "neuro_eq.backends.numba.engine:NumbaEngine", probe
)
