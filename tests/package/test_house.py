"""The layout and what it promises: one way of imports, a light start, one version."""

from __future__ import annotations

import ast
import configparser
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import neuro_eq

ROOT = Path(__file__).resolve().parents[2]

ALLOWED = {
    "neuro_eq": {"neuro_eq"},
    "hardware": {"neuro_eq", "hardware"},
    "backends": {"neuro_eq", "hardware", "backends"},
    "experiments": {"neuro_eq", "hardware", "backends", "experiments"},
}
"""Which folder may import which: experiments → neuro_eq ← backends → hardware."""

HEAVY = {"torch", "lava", "snntorch"}


def modules() -> list[Path]:
    return [path for folder in ALLOWED for path in sorted((ROOT / folder).rglob("*.py"))]


def imported(path: Path) -> set[str]:
    """Absolute names that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def house(name: str) -> str | None:
    """The top-level folder that an imported name of ours lives in."""
    parts = name.split(".")
    if parts[0] != "neuro_eq":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in ALLOWED else "neuro_eq"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    for name in imported(path):
        assert house(name) in {None, *ALLOWED[folder]}, f"{path} imports {name}"
        if folder == "neuro_eq":
            assert name.split(".")[0] not in HEAVY, f"the core imports {name}"


def test_the_layout_is_listed_in_full() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    folders = {path.parent.relative_to(ROOT) for path in modules()}
    names = {".".join(folder.parts) for folder in folders}
    assert listed == {name if name.split(".")[0] == "neuro_eq" else f"neuro_eq.{name}" for name in names}


def test_no_loose_scripts_in_backends() -> None:
    """Run as scripts they would put ``backends/`` on the path, where ``torch`` and ``lava`` are ours."""
    for path in (ROOT / "backends").glob("*.py"):
        assert "__main__" not in path.read_text(encoding="utf-8")


def test_one_version() -> None:
    assert version("neuro_eq") == neuro_eq.__version__


def test_the_backends_are_announced() -> None:
    assert {point.name for point in entry_points(group="neuro_eq.backends")} == {"reference", "numba", "torch", "lava"}


def test_every_public_name_loads() -> None:
    for name in neuro_eq.__all__:
        assert getattr(neuro_eq, name) is not None


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['neuro_eq', '--help']\n"
        "import atexit\n"
        "atexit.register(lambda: print('HEAVY', sorted({'numpy', 'numba', 'torch', 'h5py', 'scipy', 'pydantic',"
        " 'sklearn', 'matplotlib'} & set(sys.modules))))\n"
        "from neuro_eq.cli.main import main; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout


def test_from_the_checkouts_root_the_outer_folders_are_found() -> None:
    """There Python finds ``./neuro_eq`` before the installed package, and the backends lie beside it."""
    program = "import neuro_eq.backends.reference, neuro_eq.hardware; print(neuro_eq.backends.__file__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_torch_stays_out_until_it_is_asked_for() -> None:
    program = (
        "import sys, neuro_eq as ne, neuro_eq.backend as b\n"
        "net = ne.compile(ne.models.layered_hopfield([3, 2]), backend='numba')\n"
        "b.backends(); ne.train, ne.Recorder, ne.EqProp\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
