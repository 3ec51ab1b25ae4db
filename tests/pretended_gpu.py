"""A pytest plugin that has the torch engine do on the CPU what it does on a GPU, and refuses what a GPU would refuse.

    python -m pytest -p tests.pretended_gpu tests/conformance -k torch

Chunks, contrasts and unrolled gradients are recorded and replayed, and nothing in them may wait; the batch has a few
sizes, optimisers step two long rows.  A tensor that is made without saying where lies on another device than the
engine's, which torch refuses to mix, and NumPy is given no tensor that was not brought to the CPU first.  What is left
to a real GPU, and to ``tests/torch/test_cuda.py``, is CUDA itself: its graphs, its rounding, its memory, and Python's
lists as indices, which are sent as well.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode

from neuro_eq.backends.torch import devices, engine
from neuro_eq.backends.torch.recordings import Named, Replay, Work
from neuro_eq.synapses import by_id


def again(work: Work) -> tuple[Replay, Named]:
    """In place of a CUDA graph: does the work again, and brings its result where the first one lay."""
    with _NoNews(), _NoQuestions():
        found = work()
    for place in found.values():  # what lies there before a replay is of no account
        place.zero_()

    def replay() -> None:
        for name, value in work().items():
            found[name].copy_(value)

    return replay, found


class _NoQuestions(TorchDispatchMode):
    """Refuses what would wait for the GPU, or has a shape that only the GPU knows."""

    ASKING = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)
    BY_MASK = ("aten::index", "aten::index_put", "aten::index_put_")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name in self.BY_MASK:
            asks = any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        else:
            asks = name == "aten::_linalg_check_errors" or any(tag in func.tags for tag in self.ASKING)
        if asks:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func}")
        return func(*args, **(kwargs or {}))


class _NoNews(TorchFunctionMode):
    """Refuses what would be sent to the GPU or fetched from it."""

    SENT = frozenset({torch.tensor, torch.as_tensor, torch.asarray})
    MOVED = frozenset({torch.Tensor.new_tensor, torch.Tensor.tolist})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        sent = func in self.SENT and not (args and isinstance(args[0], torch.Tensor))
        if sent or func in self.MOVED:
            raise RuntimeError(f"operation not permitted when stream is capturing: {func.__name__}")
        return func(*args, **(kwargs or {}))


def pytest_configure() -> None:
    """Before anything is compiled."""
    devices.is_gpu = lambda device: True
    by_id.adds_in_order = lambda rows: False
    engine.capture_on = lambda device: again
    torch.set_default_device("meta")
    torch.Tensor.cpu = _cpu
    torch.Tensor.numpy = _only_from_the_cpu(torch.Tensor.numpy)
    torch.Tensor.__array__ = _only_from_the_cpu(torch.Tensor.__array__)


def _cpu(tensor: torch.Tensor) -> torch.Tensor:
    if any(isinstance(mode, _NoNews) for mode in _get_current_function_mode_stack()):
        raise RuntimeError("operation not permitted when stream is capturing: cpu")
    brought = tensor.detach().clone()
    brought.is_brought = True
    return brought


def _only_from_the_cpu(convert: Any) -> Any:
    def checked(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        if not getattr(tensor, "is_brought", False):
            raise TypeError("a GPU's tensor cannot become NumPy's; .cpu() brings a copy")
        return convert(tensor, *arguments, **options)

    return checked
