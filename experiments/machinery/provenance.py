"""Where a number comes from: the code, the packages and the machine that computed it.

The code version is a hash of the program that a run can reach: the library, the engine, the machinery that trains, and
of the experiment's own module what its ``run`` refers to.  Comments, docstrings and formatting are not part of it, nor
is what draws, prints or judges, so an edited figure does not throw away a week of results.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import os
import platform
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from pydantic import Field

import neuro_eq
from neuro_eq.backend import GROUP
from neuro_eq.frozen import Frozen

NOT_COMPUTED_WITH = frozenset({"cli", "figures", "checking", "trajectory"})
"""Folders of the library that show, judge or record."""

SHARED = ("tasks", "training")
"""Folders of experiments that runs compute with."""

APART = ("experiments.machinery.experiment", "experiments.machinery.statistics", "checking.subject")
"""Modules outside of those folders that runs compute with."""

PACKAGES = ("neuro_eq", "numpy", "scipy", "h5py", "scikit-learn")
OF_ENGINES = {"numba": ("numba",), "torch": ("torch",), "lava": ("lava-nc",)}


class Provenance(Frozen):
    """What computed a run.

    Args:
        code: the code version.
        spec: SHA-256 of the network's TOML; empty where a run looks at several.
        packages: their versions.
        backend, dtype, device: of the engine.
        machine: processor and number of cores.
        seconds: wall time of the run.
        date: of its end, in UTC.
    """

    code: str
    spec: str = ""
    packages: dict[str, str] = Field(default_factory=dict)
    backend: str = ""
    dtype: str = ""
    device: str = ""
    machine: str = ""
    seconds: float = 0.0
    date: str = ""


def versions(*backends: str) -> dict[str, str]:
    """Versions of Python and of the packages that a run on these engines computes with."""
    found = {"python": platform.python_version()}
    for name in (*PACKAGES, *(name for backend in backends for name in OF_ENGINES.get(backend, ()))):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """The processor, as far as the system says, and how many cores there are."""
    return f"{platform.machine()}, {os.cpu_count()} cores"


def processor(device: str) -> str:
    """A device with its own name, where it has one."""
    if not device.startswith("cuda"):
        return device
    import torch

    return f"{device}, {torch.cuda.get_device_name(device)}"


def code_version(run: Callable[..., object], *backends: str) -> str:
    """The version of all that ``run`` computes with on these engines, as 16 hexadecimal digits."""
    own = hashlib.sha256()
    for backend in dict.fromkeys(backends):
        own.update(library_version(backend).encode())
    module = inspect.getmodule(run)
    if module is not None:
        tree = _program(Path(inspect.getfile(module)))
        for part in _reachable(tree, run.__name__):
            own.update(ast.unparse(part).encode())
    return own.hexdigest()[:16]


@lru_cache
def library_version(backend: str) -> str:
    """The version of the library, of one engine and of what experiments share."""
    root = Path(neuro_eq.__file__).parent
    folders = [(root, NOT_COMPUTED_WITH | {"backends", "hardware", "experiments"})]
    folders += [(_file(f"neuro_eq.experiments.{name}").parent, frozenset()) for name in SHARED]
    digest = hashlib.sha256()
    # Found without being imported: whoever plans runs need not have what the engine needs.
    own = importlib.util.find_spec(f"neuro_eq.backends.{backend}") if backend.isidentifier() else None
    if own is not None and own.origin is not None:
        folders.append((Path(own.origin).parent, frozenset()))
    else:
        digest.update(_announcer(backend).encode())
    for name in APART:
        digest.update(ast.unparse(_program(_file(f"neuro_eq.{name}"))).encode())
    for folder, left_out in folders:
        for path in sorted(folder.rglob("*.py")):
            inside = path.relative_to(folder)
            if inside.parts[0] not in left_out:
                digest.update(inside.as_posix().encode())
                digest.update(ast.unparse(_program(path)).encode())
    return digest.hexdigest()


def _file(module: str) -> Path:
    return Path(str(importlib.import_module(module).__file__))


def _announcer(backend: str) -> str:
    """The package that brings an engine of its own, with its version, which stands for its code."""
    found = [point.dist for point in metadata.entry_points(group=GROUP) if point.name == backend]
    return "".join(f"{one.name} {one.version}" for one in found if one is not None)


def _program(path: Path) -> ast.Module:
    """A module without its docstrings; comments are not in the tree to begin with."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [part for part in body if not _is_text(part)]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return tree


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _reachable(tree: ast.Module, name: str) -> list[ast.stmt]:
    """The statements of a module that a function refers to, through others if need be, one for each imported name."""
    body = [one for part in tree.body for one in _one_by_one(part)]
    definitions: dict[str, list[ast.stmt]] = {}
    always: list[ast.stmt] = []
    for part in body:
        names = _defined(part)
        always += [] if names else [part]
        for each in names:
            definitions.setdefault(each, []).append(part)
    reached, waiting = set[str](), {name, *(word for part in always for word in _words(part))}
    while waiting:
        current = waiting.pop()
        reached.add(current)
        parts = definitions.get(current, [])
        waiting |= {word for part in parts for word in _words(part) if word in definitions} - reached
    kept = {id(part) for word in reached for part in definitions.get(word, [])}
    return [part for part in body if id(part) in kept or part in always]


def _one_by_one(part: ast.stmt) -> list[ast.stmt]:
    """An import as one for each name; nothing of what is imported for types alone."""
    if isinstance(part, ast.If) and isinstance(part.test, ast.Name) and part.test.id == "TYPE_CHECKING":
        return [one for other in part.orelse for one in _one_by_one(other)]
    if isinstance(part, ast.Import):
        return [ast.Import([alias]) for alias in part.names]
    if isinstance(part, ast.ImportFrom):
        return [ast.ImportFrom(part.module, [alias], part.level) for alias in part.names]
    return [part]


def _defined(part: ast.stmt) -> list[str]:
    if isinstance(part, ast.FunctionDef | ast.ClassDef):
        return [part.name]
    if isinstance(part, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in part.names if alias.name != "*"]
    if isinstance(part, ast.Assign):
        return [target.id for target in part.targets if isinstance(target, ast.Name)]
    if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
        return [part.target.id]
    return []


def _words(part: ast.stmt) -> Iterable[str]:
    return [node.id for node in ast.walk(part) if isinstance(node, ast.Name)]
