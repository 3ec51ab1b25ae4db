"""The PyTorch engine, on CPU and CUDA."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from neuro_eq.backend import Backend, BackendStatus


def probe() -> BackendStatus:
    """Looks at the installed packages only: importing torch takes seconds."""
    try:
        return BackendStatus(True, f"torch {version('torch')}")
    except PackageNotFoundError:
        return BackendStatus(False, 'torch is not installed; run: pip install "neuro_eq[torch]"')


BACKEND = Backend("torch", "PyTorch on CPU and CUDA", "neuro_eq.backends.torch.engine:TorchEngine", probe)
