"""Every file of ``examples/`` runs, and says in its first line what it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from neuro_eq.cli.main import app
from neuro_eq.specfile import read_toml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.toml"))


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    """One epoch, which lowers the cost and settles most samples."""
    assert path.read_text(encoding="utf-8").startswith("# ")
    option = "--config" if "network" in read_toml(path) else "--spec"
    folder = tmp_path / "run"
    done = CliRunner().invoke(
        app, ["run", option, str(path), "--epochs", "1", "--out", str(folder)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    untrained, first = json.loads((folder / "results.json").read_text(encoding="utf-8"))["epochs"]
    assert first["test_cost"] < untrained["test_cost"]
    assert first["unsettled"] < 0.5
