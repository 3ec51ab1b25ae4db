"""Where compiled kernels are kept, and what is said where they cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from neuro_eq.backends.numba import compilation


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """The folder is looked at once in a process; here it is another, and afterwards the first again."""
    for known in (compilation.folder, compilation.kept):
        known.cache_clear()
    yield
    for known in (compilation.folder, compilation.kept):
        known.cache_clear()


@pytest.mark.parametrize("writable", [True, False])
def test_a_folder_that_cannot_be_written_is_named(
    writable: bool,
    asked_anew: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = tmp_path / "cache"
    if not writable:
        base.write_text("a file, in which no folder can be made")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(base))
    assert compilation.kept() is writable
    called = []
    for _ in range(2):
        compilation.compile_once("float32", lambda: called.append(1))
    said = capsys.readouterr().err
    if writable:
        assert called == [1]
        assert "once for this version" in said
    else:
        assert called == [1, 1]
        assert said.count(f"each time anew, as {base} cannot be written (NUMBA_CACHE_DIR names another folder)") == 2
