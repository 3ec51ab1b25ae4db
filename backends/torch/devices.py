"""Where tensors live."""

from __future__ import annotations

import torch

from neuro_eq.errors import BackendError


def is_gpu(device: torch.device) -> bool:
    """Whether Python runs ahead of the device and waits for it where it asks for a number.

    All that the engine does otherwise there it decides by this, so that a test without a GPU can have it done as well.
    """
    return device.type != "cpu"


def device_of(name: str) -> torch.device:
    """The device of that name.

    Raises:
        BackendError: there is none, or the engine has not been tried on it.
    """
    try:
        device = torch.device(str(name))
    except RuntimeError:
        raise BackendError(f'device: torch knows no device "{name}"; use "cpu" or "cuda"') from None
    if device.type not in ("cpu", "cuda"):
        raise BackendError(f'device: "{name}" has not been tested; use "cpu" or "cuda"')
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendError('device: torch finds no CUDA GPU here; use "cpu", or install a CUDA build of torch')
    if device.type == "cuda" and device.index is not None and device.index >= torch.cuda.device_count():
        raise BackendError(f'device: "{name}" does not exist; there are {torch.cuda.device_count()} GPUs')
    return device
