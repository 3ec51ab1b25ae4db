"""Figures of a run for TensorBoard, which shows them while it goes on: ``tensorboard --logdir runs``."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

from typing_extensions import Self

from neuro_eq.errors import NeuroEqError
from neuro_eq.training.results import FIGURES, Epoch, Reporter, Tally

SHOWN = {
    "cost": "cost", "accuracy": "correct", "free_steps": "free", "nudged_steps": "nudged", "unsettled": "unsettled",
}  # fmt: skip
"""Figures of a batch, and the sums of :class:`Tally` that they are the means of."""


class TensorBoard:
    """A reporter that writes ``batch/…`` by the number of the batch in the run and ``epoch/…`` by the epoch.

    A run that goes on writes into the same folder; where it takes batches again that had been written, TensorBoard
    shows both.

    Args:
        folder: for event files, made with the first figure, as a run may be refused before.
        then: another reporter, which is shown the same.

    Raises:
        NeuroEqError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, then: Reporter | None = None) -> None:
        self._open = partial(_writers(), str(folder))
        self._writer: Any = None
        self.then = then
        self._of: int | None = None
        self._before: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def batch(self, epoch: int, done: int, total: int, tally: Tally) -> None:
        """What this batch added to the sums of its epoch, as means over its samples."""
        if epoch != self._of:
            self._of, self._before = epoch, {"samples": 0.0, **dict.fromkeys(SHOWN.values(), 0.0)}
        samples = tally.samples - self._before["samples"]
        for name, key in SHOWN.items():
            self._write(f"batch/{name}", (tally.sums[key] - self._before[key]) / samples, (epoch - 1) * total + done)
        self._before = {"samples": float(tally.samples), **{key: tally.sums[key] for key in SHOWN.values()}}
        if self.then is not None:
            self.then.batch(epoch, done, total, tally)

    def epoch(self, result: Epoch) -> None:
        """Every figure of an epoch, on the disk afterwards."""
        for name in FIGURES:
            if name != "epoch":
                self._write(f"epoch/{name}", getattr(result, name), result.epoch)
        if self._writer is not None:
            self._writer.flush()
        if self.then is not None:
            self.then.epoch(result)

    def _write(self, name: str, value: float, step: int) -> None:
        if not math.isfinite(value):  # what a run does not have, such as the accuracy of a regression
            return
        if self._writer is None:
            self._writer = self._open()
        self._writer.add_scalar(name, value, step)


def _writers() -> Any:
    """TensorBoard's own."""
    try:
        from tensorboard.summary import Writer
    except ImportError as error:
        raise NeuroEqError(
            f'TensorBoard needs {error.name}; install it by: pip install "neuro_eq[tensorboard]"'
        ) from None
    return Writer
