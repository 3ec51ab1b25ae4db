"""A small experiment in a module of its own, which worker processes can import, too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

MODULE = '''
import os, signal
from pathlib import Path

import numpy as np

from neuro_eq.experiments.machinery.drawing import blank, line
from neuro_eq.experiments.machinery.experiment import Column, Configuration, Experiment, Outcome, Verdict
from neuro_eq.experiments.machinery.judging import judged


class Square(Configuration):
    """A number to square."""

    x: float
    trouble: str = ""

    @property
    def label(self):
        return f"x = {self.x:g} {self.trouble}".strip()


def configurations(scale):
    troubles = os.environ.get("TROUBLES", "").split(",")
    many = {"quick": 2, "medium": 3, "full": 4}[scale]
    return [Square(x=i + 1.0, trouble=troubles[i] if i < len(troubles) else "") for i in range(many)]


def run(config, seed):
    calls = Path(os.environ["CALLS"])
    with calls.open("a") as file:
        file.write(f"{config.x:g} {seed}\\n")
    if config.trouble == "raises":
        raise ValueError("no square today")
    if config.trouble == "interrupted":
        raise KeyboardInterrupt
    if config.trouble == "killed once" and calls.read_text().count(f"{config.x:g} {seed}\\n") == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if config.trouble == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return Outcome({"square": config.x**2 + seed, "nothing": float("nan")}, {"curve/powers": config.x ** np.arange(4)})


def figure(results):
    page = blank(4.0, 3.0)
    axes = page.subplots()
    for cell in results:
        for one in cell.runs:
            if one.arrays:
                line(axes, range(4), one.arrays["curve/powers"][None], cell.configuration.label, "k")
    return page


def verdict(results):
    holds = bool((results.values("square") > 0).all())
    return Verdict((judged("squares are <positive>", holds, "all of them", "said so"),))


EXPERIMENT = Experiment(
    name="square", number=0, question="What is x²?", prior="x²", bar="x² & no more", configuration=Square,
    configurations=configurations, run=run, figure=figure, verdict=verdict,
    columns=(Column("square", "x²", ".1f"), Column("absent", "not there")),
    seeds={"quick": 2, "medium": 2, "full": 2},
)
'''


@pytest.fixture
def square(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The experiment ``squares:EXPERIMENT`` can be imported; the file is where its runs leave a line each."""
    home = tmp_path / "modules"
    home.mkdir()
    (home / "squares.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(home))
    monkeypatch.delitem(__import__("sys").modules, "squares", raising=False)
    paths = [str(home), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"
