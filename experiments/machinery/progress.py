"""What a terminal shows while experiments run."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from neuro_eq.experiments.machinery.execution import Job


class RichProgress:
    """A bar over all configurations and seeds; off a terminal, a line for each run."""

    def __init__(self, name: str, console: Console) -> None:
        self.name, self.console = name, console
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[last]}"), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self.task: TaskID | None = None

    def __enter__(self) -> RichProgress:
        self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.stop()

    def begin(self, total: int, known: int) -> None:
        """So many runs, of which so many are there from before."""
        self.task = self.bar.add_task(self.name, total=total, completed=known, last="")
        if known:
            self.console.print(f"{known} of {total} runs are there already")

    def finished(self, job: Job, seconds: float) -> None:
        """A run is done."""
        self._tell(job, f"{seconds:.1f} s", "")

    def failed(self, job: Job, why: str) -> None:
        """A run failed."""
        self._tell(job, f"failed: {why}", "bold red")

    def _tell(self, job: Job, how: str, style: str) -> None:
        line = f"seed {job.seed}  {job.configuration.label}  {how}"
        if self.task is not None:
            self.bar.update(self.task, advance=1, last=line)
        if style or not self.console.is_terminal:
            self.console.print(Text(line, style), soft_wrap=True)
