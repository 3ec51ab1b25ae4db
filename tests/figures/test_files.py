"""Every picture of every sort of file becomes an image or one sentence, and no half of an image remains."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

import neuro_eq as ne
from neuro_eq import figures
from neuro_eq.figures import PICTURES, SHEET, Choice, LackingError

Made = Callable[[str], Path]

SORTS = (
    "digits", "xor", "regression", "two_axes", "unfinished", "free", "nudged", "no_step", "directed", "diverged",
    "metrics",
)  # fmt: skip


@pytest.mark.parametrize("name", SORTS)
def test_every_picture_of_every_sort_of_file(
    made: Made, pictures_of: dict[str, set[str]], tmp_path: Path, name: str
) -> None:
    drawn, without = figures.draw_all(made(name), tmp_path / "run.png")
    assert {path.name for path in drawn} == {f"run-{kind}.png" for kind in (SHEET, *pictures_of[name])}
    assert set(tmp_path.iterdir()) == set(drawn)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert len(without) == len(PICTURES) - len(pictures_of[name])
    assert all(isinstance(reason, LackingError) and "\n" not in str(reason) for reason in without)


@pytest.mark.parametrize("name", SORTS)
def test_a_sheet_has_what_the_file_has_up_to_six(made: Made, pictures_of: dict[str, set[str]], name: str) -> None:
    with ne.open_trajectory(made(name)) as run:
        sheet = figures.sheet(run)
    panels = [axes for axes in sheet.axes if axes.get_title(loc="left")]
    assert len(panels) == min(len(pictures_of[name]), 6)
    for axes in panels:
        assert axes.axison
        assert axes.images or axes.get_xlabel(), "an axis says what it counts"
    assert ("not finished" in sheet.get_suptitle()) == (name == "unfinished")


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    with ne.Recorder(tmp_path / "run.h5"):
        pass
    with pytest.raises(LackingError, match='cannot draw "sheet": it holds no metrics and no relaxation'):
        figures.draw_run(tmp_path / "run.h5", tmp_path / "run.png")
    with pytest.raises(LackingError, match='cannot draw "sheet"'):
        figures.draw_all(tmp_path / "run.h5", tmp_path / "run.png")
    assert [path.name for path in tmp_path.iterdir()] == ["run.h5"]


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_ending_says_the_format(made: Made, tmp_path: Path, ending: str, start: bytes) -> None:
    target = figures.draw(made("metrics"), tmp_path / f"run.{ending}", "learning")
    assert target.read_bytes().startswith(start)


def test_a_picture_that_cannot_be_written_leaves_what_was_there(made: Made, tmp_path: Path) -> None:
    (tmp_path / "run.doc").write_text("precious")
    with pytest.raises(ne.FileError, match=r"run\.doc: cannot write the picture \(.*'doc' is not supported"):
        figures.draw(made("metrics"), tmp_path / "run.doc")
    assert (tmp_path / "run.doc").read_text() == "precious"
    with pytest.raises(ne.FileError, match=r"nowhere/run\.png: cannot write it \(No such file or directory\)"):
        figures.draw(made("metrics"), tmp_path / "nowhere" / "run.png")
    assert [path.name for path in tmp_path.iterdir()] == ["run.doc"]


def test_a_picture_that_is_interrupted_leaves_what_was_there(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    target = figures.draw(made("metrics"), tmp_path / "run.png")
    before = target.read_bytes()

    def half(self: Figure, file: BinaryIO, **_: object) -> None:
        file.write(b"half a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(KeyboardInterrupt):
        figures.draw(made("metrics"), target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_weights_of_another_network_are_refused(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    cases: list[tuple[dict[str, np.ndarray], str]] = [
        ({"x_h.weight": np.ones((15, 12))}, r"has no h_o\.weight, so it holds the weights of another network"),
        ({"x_h.weight": np.ones((2, 2))}, r"x_h\.weight should be \[15, 12\] floating numbers, found \[2, 2\]"),
        ({"x_h.weight": np.full((15, 12), np.nan)}, r"x_h\.weight holds values that are not finite"),
        ({"x_h.weight": np.array(None, dtype=object)}, r"cannot read weights from it \(is no \.npz file of numbers\)"),
    ]
    for weights, message in cases:
        np.savez(path, **weights)  # type: ignore[arg-type]
        with ne.open_trajectory(made("two_axes")) as run, pytest.raises(ne.FileError, match=message):
            figures.page(run, "weights", Choice(weights=path))
    for content in (b"", b"PK\x03\x04", b"no archive"):
        path.write_bytes(content)
        with ne.open_trajectory(made("two_axes")) as run, pytest.raises(ne.FileError, match="cannot read weights"):
            figures.page(run, "weights", Choice(weights=path))
    with ne.open_trajectory(made("two_axes")) as run, pytest.raises(ne.FileError, match="No such file or directory"):
        figures.page(run, "weights", Choice(weights=tmp_path / "absent.npz"))


def test_pictures_are_drawn_without_pyplot_and_without_a_window() -> None:
    program = "import sys, neuro_eq.figures; print(sorted({'matplotlib', 'matplotlib.pyplot'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", "matplotlib is imported when something is drawn"


def plot(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "neuro_eq", "plot", *map(str, arguments)],
        cwd=cwd, env={**os.environ, "COLUMNS": "120"}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_the_command_draws_one_picture_or_all(made: Made, tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    path.write_bytes(made("free").read_bytes())
    done = plot("run.h5", "--kind", "phases", "--population", "h", "--sample", "3", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "run-phases.png\n", "")
    done = plot("run.h5", "--kind", "all", "-o", "all.svg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    kinds = ("sheet", "residual", "energy", "pca", "phases")
    assert done.stdout.split() == [f"all-{kind}.svg" for kind in kinds]
    assert [line.split('"')[1] for line in done.stderr.splitlines()] == ["learning", "weights", "steps"]
    assert {file.name for file in tmp_path.iterdir()} == {"run.h5", "run-phases.png", *done.stdout.split()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kind", "enrgy"), r'--kind: no picture "enrgy"; did you mean "energy"\?'),
        (("--kind", "weights"), r'run\.h5: cannot draw "weights": there is no weights\.npz beside it; .*'),
        (("--sample", "99"), r"sample: 99 was not recorded; run\.h5 has 0 to 8"),
        (("--out", "run.doc"), r"run\.doc: cannot write the picture \(.*\)"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    made: Made, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "run.h5").write_bytes(made("free").read_bytes())
    done = plot("run.h5", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(f"error: {message}\n", done.stderr), done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["run.h5"]
