"""A thousand configurations that somebody changed: each is a run, or one sentence says why it is none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import neuro_eq as ne
from neuro_eq.cli.main import main
from neuro_eq.run import load_config
from neuro_eq.specfile import to_toml

Mutations = Callable[..., st.SearchStrategy[bytes]]
Said = Callable[[Exception, Path], None]


def test_a_thousand_changed_configurations(
    configurations: dict[str, Any], mutations: Mutations, many: Any, said: Said, tmp_path: Path
) -> None:
    path, again = tmp_path / "config.toml", tmp_path / "again.toml"
    runs = []

    @many
    @given(mutations(configurations))
    def holds(content: bytes) -> None:
        path.write_bytes(content)
        try:
            config = load_config(path)
        except ne.NeuroEqError as error:
            said(error, path)
            return
        runs.append(config)
        again.write_text(to_toml(config))
        assert load_config(again) == config
        for t in (0.0, 0.5, 0.999):
            assert 0.0 <= config.schedule.scale(t) <= 1.0

    holds()
    assert len(runs) > 20, "hardly any of the changed configurations was one, so little was tried"


def short(path: Path) -> bool:
    """Whether a file is no configuration, or one of a run that ends at once: some changed numbers ask for years."""
    try:
        config = load_config(path)
    except ne.NeuroEqError:
        return True
    how = [relaxation.max_steps for relaxation in (config.free, config.nudged) if relaxation is not None]
    return config.epochs <= 2 and max(how, default=0) <= 1000 and config.backend == "reference"


@pytest.mark.parametrize("way", ["run --config", "run --resume", "run --spec", "check --spec"])
def test_the_program_answers_in_one_line(
    specs: dict[str, Any], configurations: dict[str, Any], mutations: Mutations, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, few: Any, way: str,
) -> None:  # fmt: skip
    of_a_run = "--spec" not in way
    count = 0

    @few
    @given(mutations(configurations if of_a_run else specs))
    def holds(content: bytes) -> None:
        nonlocal count
        folder = tmp_path / str(count)
        count += 1
        folder.mkdir()
        path = folder / "config.toml"
        path.write_bytes(content)
        if of_a_run and not short(path):
            return
        arguments = {
            "run --config": ["--config", path, "--out", folder / "out"],
            "run --resume": ["--resume", folder],
            "run --spec": ["--spec", path, "--data", "xor", "--backend", "reference", "--epochs", "0", "--out",
                           folder / "out"],
            "check --spec": ["--spec", path, "--backends", "reference", "--samples", "1", "--max-steps", "20"],
        }[way]  # fmt: skip
        monkeypatch.setattr(sys, "argv", ["neuro_eq", way.split(maxsplit=1)[0], *map(str, arguments)])
        capfd.readouterr()
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        said = capfd.readouterr().err
        assert code in ((0, 1, 2) if way == "check --spec" else (0, 2))
        if code == 2:
            assert said.startswith("error: ")
            assert said.endswith("\n")
            assert len(said.splitlines()) == 1, said
            assert said[:-1].isprintable()

    holds()
