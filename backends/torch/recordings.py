"""Chunks of steps as CUDA graphs: recorded once for their shapes, and then started as one.

A small network keeps a GPU waiting for Python, which launches some fifty kernels a step.  A recording reads and writes
tensors of its own, so those of a relaxation are copied there and back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from typing import TypeAlias

import torch
from torch import Tensor

from neuro_eq.backends.torch.chunks import Chunk, Moving

Replay: TypeAlias = Callable[[], None]
Capture: TypeAlias = Callable[[Callable[[], Moving]], tuple[Replay, Moving]]
"""Records some work; gives back what does it again, and where its result then stands."""

KEPT = 16
"""Recordings that an engine keeps: the first chunk and the others of free and nudged phases, of a few sizes."""


def capture_on_gpu(work: Callable[[], Moving]) -> tuple[Replay, Moving]:
    """As a CUDA graph."""
    here, beside = torch.cuda.current_stream(), torch.cuda.Stream()
    beside.wait_stream(here)
    with torch.cuda.stream(beside):
        work()  # libraries set themselves up when they are first used, which cannot be recorded
    here.wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = work()
    return graph.replay, found


class Recordings:
    """The recordings of one network, by what their tensors look like."""

    def __init__(self, capture: Capture = capture_on_gpu) -> None:
        self.capture = capture
        self.kept: OrderedDict[object, Recording] = OrderedDict()

    def run(self, chunk: Chunk, moving: Moving, steps: int) -> Moving:
        """What ``chunk(moving, steps)`` gives and does; the chunk is of plain steps."""
        shapes = ((tuple(t.shape), t.dtype) for t in _given(chunk, moving))
        key = (steps, chunk.plain, chunk.phases, chunk.tol is None, chunk.limit is None, *shapes)
        found = self.kept.pop(key, None) or Recording(chunk, moving, steps, self.capture)
        self.kept[key] = found
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return found(chunk, moving)


class Recording:
    """One chunk of so many steps, at fixed shapes.

    A first chunk sets the residual beyond which a sample has diverged, which is then found with the result.
    """

    def __init__(self, chunk: Chunk, moving: Moving, steps: int, capture: Capture) -> None:
        own = copy(chunk)
        own.drives = chunk.drives.copied()
        own.stepper = copy(chunk.stepper)
        own.stepper.drives = own.drives
        own.tol = None if chunk.tol is None else chunk.tol.clone()
        own.limit = None if chunk.limit is None else chunk.limit.clone()
        start = Moving(*(value.clone() for value in moving.tensors))
        self.tensors = _given(own, start)
        self.loaded: list[Tensor | None] = [None] * len(self.tensors)
        first = chunk.limit is None

        def work() -> Moving:
            if first:
                own.limit = None
            return own(start, steps)

        self.replay, self.found = capture(work)
        self.limit = own.limit if first else None

    def __call__(self, chunk: Chunk, moving: Moving) -> Moving:
        for i, given in enumerate(_given(chunk, moving)):
            # Weights and data stay the same from chunk to chunk.
            if given is not self.loaded[i]:
                self.tensors[i].copy_(given)
                self.loaded[i] = given
        self.replay()
        if self.limit is not None:
            chunk.limit = self.limit.clone()
        return Moving(*(value.clone() for value in self.found.tensors))


def _given(chunk: Chunk, moving: Moving) -> list[Tensor]:
    """All tensors that a chunk's result depends on, in one order."""
    bounds = [bound for bound in (chunk.tol, chunk.limit) if bound is not None]
    return [*chunk.drives.tensors, *bounds, *moving.tensors]
