"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import neuro_eq as ne
from neuro_eq.specfile import from_toml

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
    before, after = map(float, printed[-2].split())
    assert after < before, "a positive nudge lowers the cost"
    assert float(printed[-1]) > 0.5
    pytest.importorskip("h5netcdf", reason="h5netcdf is not installed (extra: analysis)")
    exec(reading, names)


def test_the_network_in_toml_is_one() -> None:
    (text,) = blocks("toml")
    spec = from_toml(text)
    assert len(text.splitlines()) <= 10
    net = ne.compile(spec, backend="reference")
    assert net.relax([[0.5] * 64]).converged.all()


def test_the_commands_that_ci_types_are_there() -> None:
    for name in ("run", "test"):
        assert f"<!-- command: {name} -->\n```sh\n" in README
