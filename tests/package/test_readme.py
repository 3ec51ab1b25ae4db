"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neuro_eq.cli.main import app

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    example, reading = blocks("python")
    names: dict[str, object] = {}
    exec(example, names)
    printed = capsys.readouterr().out.splitlines()
    shown = blocks("text")[0].splitlines()
    assert printed[:6] == shown[:6], "the README shows what is printed"
    before, after = map(float, printed[1].split())
    assert after < before, "a positive nudge lowers the cost"
    assert float(printed[-1]) == pytest.approx(float(shown[-1]), abs=0.02)
    pytest.importorskip("h5netcdf", reason="h5netcdf is not installed (extra: analysis)")
    exec(reading, names)


def test_the_network_in_toml_learns(tmp_path: Path) -> None:
    """As a reader would have it: in a file, with the defaults of ``neuro_eq run``."""
    (text,) = blocks("toml")
    assert len(text.splitlines()) <= 10
    (tmp_path / "net.toml").write_text(text, encoding="utf-8")
    options = ["--spec", str(tmp_path / "net.toml"), "--epochs", "3", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, ["run", *options], catch_exceptions=False)
    assert float(re.findall(r"^test accuracy ([\d.]+) %$", done.output, flags=re.MULTILINE)[-1]) > 80


def test_the_commands_that_ci_types_are_there() -> None:
    for name in ("run", "test"):
        assert f"<!-- command: {name} -->\n```sh\n" in README
