"""NumPy in float64: clear, not fast.  The oracle that the other engines are held to."""

from __future__ import annotations

from neuro_eq.backend import Backend, BackendStatus


def probe() -> BackendStatus:
    """NumPy is always there."""
    import numpy

    return BackendStatus(True, f"numpy {numpy.__version__}")


BACKEND = Backend("reference", "NumPy float64, the oracle", "neuro_eq.backends.reference.engine:ReferenceEngine", probe)
