"""Lava's own environment: what cannot run is named, and no installation is left half built."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from neuro_eq.backends.lava import environment
from neuro_eq.backends.lava.client import LavaClient
from neuro_eq.errors import BackendError


def test_a_broken_interpreter_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path / "nowhere"))
    status = environment.status()
    assert not status.available
    assert "nowhere, which cannot be run as a Python; correct NEURO_EQ_LAVA_PYTHON" in status.detail
    with pytest.raises(BackendError, match="nowhere"):
        environment.find()
    with pytest.raises(BackendError, match="cannot be started"):
        LavaClient(tmp_path / "nowhere")


def test_an_interpreter_that_is_no_server_is_named(tmp_path: Path) -> None:
    impostor = tmp_path / "python"
    impostor.write_text("#!/bin/sh\necho this is no Python >&2\nexit 3\n")
    impostor.chmod(0o755)
    with pytest.raises(BackendError, match=r"(?s)exit status 3.*this is no Python"):
        LavaClient(impostor)


def test_a_half_built_environment_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment, "_importable_here", lambda: False)
    monkeypatch.setattr(environment, "environment_folder", lambda: tmp_path / "lava")
    assert environment.status().detail == "Lava is not installed; run `neuro_eq backends install lava`."
    (tmp_path / "lava" / "bin").mkdir(parents=True)
    status = environment.status()
    assert not status.available
    assert "half built" in status.detail
    assert "neuro_eq backends install lava" in status.detail


def test_without_a_python_for_lava_install_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "environment_folder", lambda: tmp_path / "lava")
    monkeypatch.setattr(environment, "_PYTHONS", ((3, 1),))
    with pytest.raises(BackendError, match=r"Python 3\.10 or 3\.11 and none was found"):
        environment.install(lambda line: None)
    assert not (tmp_path / "lava").exists()


def test_a_failed_installation_leaves_nothing_half_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "environment_folder", lambda: tmp_path / "lava")
    monkeypatch.setattr(environment, "_base_python", lambda: Path(sys.executable))
    monkeypatch.setattr(environment, "_PACKAGES", (str(tmp_path / "no-such-wheel.whl"),))
    lines: list[str] = []
    with pytest.raises(BackendError, match="installing Lava failed"):
        environment.install(lines.append)
    assert lines[0].startswith("creating")
    assert not (tmp_path / "lava").exists()
