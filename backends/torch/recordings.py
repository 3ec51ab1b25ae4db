"""Chunks of steps, contrasts and unrolled gradients as CUDA graphs: recorded once for their shapes, and started as one.

A small network keeps a GPU waiting for Python, which launches some fifty kernels a step.  A recording reads and writes
tensors of its own, so those of a relaxation are copied there and back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import TypeAlias

import torch
from torch import Tensor

from neuro_eq.backends.torch.chunks import Chunk, Moving

Named: TypeAlias = dict[str, Tensor]
Work: TypeAlias = Callable[[], Named]
Replay: TypeAlias = Callable[[], None]
Capture: TypeAlias = Callable[[Work], tuple[Replay, Named]]
"""Records some work; gives back what does it again, and where its result then stands."""

KEPT = 16
"""Recordings that an engine keeps: of the first chunk and of the others of free and nudged phases, of what is learned,
for a few sizes of the batch."""

LIMIT = "limit"
"""The name of what a first chunk finds beside where samples stand."""


def capture_on(device: torch.device) -> Capture:
    """As CUDA graphs of this device, which need not be the one that torch is at."""

    def capture(work: Work) -> tuple[Replay, Named]:
        with torch.cuda.device(device):
            here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
            beside.wait_stream(here)
            with torch.cuda.stream(beside):
                work()  # libraries set themselves up when they are first used, which cannot be recorded
            here.wait_stream(beside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=beside):  # by default a stream of the GPU that was first recorded on
                found = work()
        return graph.replay, found

    return capture


class Recordings:
    """The recordings of one network, by what their tensors look like."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture
        self.kept: OrderedDict[object, Recording] = OrderedDict()

    def run(self, chunk: Chunk, moving: Moving, steps: int) -> Moving:
        """What ``chunk(moving, steps)`` gives and does; the chunk is of plain steps."""
        first = chunk.limit is None
        key = ("chunk", steps, chunk.plain, chunk.phases, chunk.tol is None, first)

        def make() -> tuple[list[Tensor], Work]:
            own = copy(chunk)
            own.drives = chunk.drives.copied()
            own.stepper = copy(chunk.stepper)
            own.stepper.drives = own.drives
            own.tol = None if chunk.tol is None else chunk.tol.clone()
            own.limit = None if chunk.limit is None else chunk.limit.clone()
            start = Moving(*(value.clone() for value in moving.tensors))

            def work() -> Named:
                if first:
                    own.limit = None
                found = vars(own(start, steps))
                assert own.limit is not None, "a chunk sets a limit"
                return {**found, LIMIT: own.limit} if first else found

            return _given(own, start), work

        found = self._recorded(key, _given(chunk, moving), make)
        if first:
            chunk.limit = found.pop(LIMIT)
        return Moving(**found)

    def repeat(self, key: object, work: Callable[..., Named], *given: Mapping[str, Tensor]) -> Named:
        """What ``work(*given)`` gives: a function of named tensors alone, which ``key`` stands for."""

        def make() -> tuple[list[Tensor], Work]:
            own = [{name: value.detach().clone() for name, value in values.items()} for values in given]
            return _flat(own), lambda: work(*own)

        return self._recorded((key, *map(tuple, given)), _flat(given), make)

    def _recorded(self, key: object, given: list[Tensor], make: Callable[[], tuple[list[Tensor], Work]]) -> Named:
        whole = (key, *((tuple(t.shape), t.dtype) for t in given))
        recording = self.kept.pop(whole, None) or Recording(*make(), self.capture)
        self.kept[whole] = recording
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return recording(given)


class Recording:
    """Some work on tensors of its own.

    Args:
        tensors: what it reads, where values are copied to.
        work: the work.
    """

    def __init__(self, tensors: list[Tensor], work: Work, capture: Capture) -> None:
        self.tensors = tensors
        self.loaded: list[Tensor | None] = [None] * len(tensors)
        self.replay, self.found = capture(work)

    def __call__(self, given: list[Tensor]) -> Named:
        # Weights and data stay the same from chunk to chunk.
        new = [i for i, value in enumerate(given) if value is not self.loaded[i]]
        _copy([self.tensors[i] for i in new], [given[i] for i in new])
        for i in new:
            self.loaded[i] = given[i]
        self.replay()
        found = {name: torch.empty_like(value) for name, value in self.found.items()}
        _copy(list(found.values()), list(self.found.values()))
        return found


def _copy(places: list[Tensor], values: list[Tensor]) -> None:
    """All at once where the types allow it: what is copied is small, and a launch each would cost more."""
    kinds: dict[torch.dtype, list[int]] = {}
    for i, value in enumerate(values):
        kinds.setdefault(value.dtype, []).append(i)
    for at in kinds.values():
        torch._foreach_copy_([places[i] for i in at], [values[i].detach() for i in at])


def _flat(given: Iterable[Mapping[str, Tensor]]) -> list[Tensor]:
    return [value for values in given for value in values.values()]


def _given(chunk: Chunk, moving: Moving) -> list[Tensor]:
    """All tensors that a chunk's result depends on, in one order."""
    bounds = [bound for bound in (chunk.tol, chunk.limit) if bound is not None]
    return [*chunk.drives.tensors, *bounds, *moving.tensors]
