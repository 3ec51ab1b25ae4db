"""Work of which autograd keeps no record, and a sentence where the memory ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar, cast

import torch

from neuro_eq.equilibrium import Equilibrium
from neuro_eq.errors import BackendError

Method = TypeVar("Method", bound=Callable[..., Any])

NO_MEMORY = ("DefaultCPUAllocator", "not enough memory")
"""What torch's errors say where the memory of a CPU ends; on a GPU they have a type of their own."""


@contextmanager
def enough_memory(wanted: str, instead: str = "") -> Iterator[None]:
    """A lack of memory as a sentence.

    Args:
        wanted: what there is not enough memory for.
        instead: what would take less, beside a smaller batch.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and not any(word in str(error) for word in NO_MEMORY):
            raise
        raise BackendError(
            f'backend "torch" has not enough memory for {wanted}; take a smaller batch_size, '
            + (f"{instead}, " if instead else "")
            + 'dtype="float32" if it is float64, or a device with more memory'
        ) from None


def batch_of(samples: int, phases: int = 1) -> str:
    """A batch in words."""
    return f"a batch of {samples} sample{'s' if samples != 1 else ''}" + (f" in {phases} phases" if phases > 1 else "")


@contextmanager
def unrecorded(samples: int, phases: int = 1) -> Iterator[None]:
    """:func:`enough_memory`, and no graph: whatever asks for gradients outside, nothing in here is kept for them."""
    with enough_memory(batch_of(samples, phases)), torch.no_grad():
        yield


def unrecorded_answer(answer: Method) -> Method:
    """An engine's answer at a state, :func:`unrecorded`."""

    @wraps(answer)
    def answered(engine: object, state: Equilibrium, *rest: object, **named: object) -> Any:
        with unrecorded(state.batch):
            return answer(engine, state, *rest, **named)

    return cast("Method", answered)
