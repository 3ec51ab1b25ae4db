"""A progress bar with what one wants to watch: accuracy, steps, residual."""

from __future__ import annotations

import math
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from typing_extensions import Self

from neuro_eq.training import Epoch, Tally

console = Console()

SHOWN_EVERY = 0.2
"""Seconds between two looks at the bar."""

ADVICE = (
    ", so their gradients are not exact; more steps (max_steps), a smaller β or weights of a smaller norm would help"
)
"""What the first such epoch says further."""


class RichReporter:
    """Shows every batch in one bar; off a terminal, one line for every few epochs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.live = console.is_terminal
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not self.live,
        )
        self.shown = -SHOWN_EVERY
        self.task: TaskID | None = None
        self.advised = False

    def __enter__(self) -> Self:
        self.progress.start()
        self.task = self.progress.add_task("compiling and settling", total=None, figures="")
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()

    def say(self, line: str) -> None:
        """A line above the bar."""
        console.print(line, soft_wrap=True, highlight=False, markup=False)

    def batch(self, epoch: int, done: int, total: int, tally: Tally) -> None:
        """Move the bar, as often as an eye can follow."""
        assert self.task is not None
        if not self.live or (time.monotonic() - self.shown < SHOWN_EVERY and done < total):
            return
        self.shown = time.monotonic()
        figures = (
            f"train {_answers(tally.mean('correct'), tally.mean('cost'))}  steps {tally.mean('free'):5.1f}"
            f"  residual/nudge {tally.residual_ratio:.0e}"
        )
        self.progress.update(
            self.task,
            description=f"epoch {epoch}/{self.epochs}",
            total=self.epochs * total,
            completed=(epoch - 1) * total + done,
            figures=figures,
        )

    def epoch(self, result: Epoch) -> None:
        """Say which gradients are not to be trusted; without a bar to watch, say now and then how it goes."""
        if result.unsettled > 0:
            share = 100 * result.unsettled
            self.say(
                f"epoch {result.epoch:3d}  {share:.{2 if share < 10 else 3}g} % of the samples were not settled to 1 % "
                "of their nudge" + ("" if self.advised else ADVICE)
            )
            self.advised = True
        if self.live or result.epoch % max(1, self.epochs // 10):
            return
        ratio = "" if math.isnan(result.residual_ratio) else f"  residual/nudge {result.residual_ratio:.0e}"
        self.say(
            f"epoch {result.epoch:3d}  train {_answers(result.train_accuracy, result.train_cost)}"
            f"  test {_answers(result.test_accuracy, result.test_cost)}  steps {result.free_steps:5.1f}{ratio}"
        )


def _answers(accuracy: float, cost: float) -> str:
    """How good answers are: how many are right, or what they cost where none is right or wrong."""
    return f"cost {cost:.4f}" if math.isnan(accuracy) else f"{100 * accuracy:6.2f} %"
