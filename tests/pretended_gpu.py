"""A pytest plugin that has the torch engine do on the CPU what it does on a GPU, and refuses what a GPU would refuse.

    python -m pytest -p tests.pretended_gpu tests/conformance -k torch

Chunks, contrasts and unrolled gradients are recorded and replayed, the batch has a few sizes, optimisers step two long
rows.  A tensor that is made without saying where lies on another device than the engine's, which torch refuses to mix,
and NumPy is given no tensor that was not brought to the CPU first.  What is left to a real GPU, and to
``tests/torch/test_cuda.py``, is CUDA itself: its graphs, its rounding, its memory.
"""

from __future__ import annotations

from typing import Any

import torch

from neuro_eq.backends.torch import devices, engine
from neuro_eq.backends.torch.recordings import Named, Replay, Work


def again(work: Work) -> tuple[Replay, Named]:
    """In place of a CUDA graph: does the work again, and brings its result where the first one lay."""
    found = work()
    for place in found.values():  # what lies there before a replay is of no account
        place.zero_()

    def replay() -> None:
        for name, value in work().items():
            found[name].copy_(value)

    return replay, found


def pytest_configure() -> None:
    """Before anything is compiled."""
    devices.is_gpu = lambda device: True
    engine.capture_on = lambda device: again
    torch.set_default_device("meta")
    torch.Tensor.cpu = _cpu
    torch.Tensor.numpy = _only_from_the_cpu(torch.Tensor.numpy)
    torch.Tensor.__array__ = _only_from_the_cpu(torch.Tensor.__array__)


def _cpu(tensor: torch.Tensor) -> torch.Tensor:
    brought = tensor.detach().clone()
    brought.is_brought = True
    return brought


def _only_from_the_cpu(convert: Any) -> Any:
    def checked(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        if not getattr(tensor, "is_brought", False):
            raise TypeError("a GPU's tensor cannot become NumPy's; .cpu() brings a copy")
        return convert(tensor, *arguments, **options)

    return checked
