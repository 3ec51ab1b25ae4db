"""What the documentation shows runs as it stands there: Python, networks and configurations, commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import neuro_eq as ne
from neuro_eq.cli.main import app
from neuro_eq.run import RunConfig
from neuro_eq.specfile import from_toml, parse_toml
from neuro_eq.synapses import SYNAPSES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]


def blocks(page: Path, language: str) -> list[str]:
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def with_blocks(language: str) -> list[Any]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in PAGES if blocks(page, language)]


@pytest.fixture
def own_synapses() -> Iterator[None]:
    """A page may register a synapse; the next test must not find it."""
    before = dict(SYNAPSES)
    yield
    SYNAPSES.clear()
    SYNAPSES.update(before)


@pytest.mark.usefixtures("own_synapses")
@pytest.mark.parametrize("page", with_blocks("python"))
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first block to the last, in one namespace and an empty folder."""
    code = blocks(page, "python")
    if any("xarray" in block for block in code):
        pytest.importorskip("h5netcdf", reason="h5netcdf is not installed (extra: analysis)")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in code:
        # A reader types the block into a file of their own, without this file's __future__.
        exec(compile(block, str(page), "exec", dont_inherit=True), names)


@pytest.mark.parametrize("page", with_blocks("toml"))
def test_the_toml_of_a_page_describes_something(page: Path) -> None:
    for text in blocks(page, "toml"):
        table = parse_toml(text)
        if "populations" in table:
            from_toml(text)
        elif "network" in table:
            RunConfig(**table)
        else:
            ne.Relaxation(**table)


def commands() -> list[Any]:
    found = []
    for page in [*PAGES, ROOT / "README.md"]:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                for part in re.split(r"&&|;", line):
                    words = shlex.split(part, comments=True)
                    if words and words[0].rpartition("/")[2] == "neuro_eq":
                        found.append(pytest.param(words[1:], id=f"{page.name}: {' '.join(words[1:])}"))
    return found


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_code_fits_its_page(page: Path) -> None:
    """90 columns are what a page shows of a line without being scrolled."""
    fenced = re.findall(r"^```\w*\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    wide = [line for block in fenced for line in block.splitlines() if len(line) > 90]
    assert not wide


@pytest.mark.parametrize("words", commands())
def test_a_command_of_the_docs_is_understood(words: list[str]) -> None:
    """Its subcommand and its options are there; nothing is executed."""
    group = typer.main.get_command(app)
    with group.make_context("neuro_eq", list(words)) as context:
        assert words[0] in group.list_commands(context), f"no command {words[0]!r}"  # type: ignore[attr-defined]
        command = group.get_command(context, words[0])  # type: ignore[attr-defined]
        with command.make_context(words[0], list(words[1:]), parent=context):
            pass
