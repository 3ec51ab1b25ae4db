"""Where Lava lives: finding the interpreter that can import it, and building one in the user's cache.

lava-nc 0.10.0 needs Python 3.10 or 3.11 and NumPy 1.26, so it has an environment of its own beside that of
neuro_eq.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from neuro_eq.errors import BackendError

LAVA_VERSION = "0.10.0"
VARIABLE = "NEURO_EQ_LAVA_PYTHON"
INSTALL_COMMAND = "neuro_eq backends install lava"

_PYTHONS = ((3, 11), (3, 10))
_PACKAGES = ("numpy==1.26.4", "networkx==2.8.7", "asteval==0.9.33", "scipy", "scikit-learn")
_MARKER = "complete.json"
_CHILD_FOLDER = Path(__file__).resolve().parent

_PROBE = """
import importlib.metadata as m, json, sys
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return None
print(json.dumps([list(sys.version_info[:2]), version("numpy"), version("lava-nc")]))
"""


@dataclass(frozen=True)
class Status:
    """Whether Lava can be used, and where; `detail` is one sentence and says what to do if it cannot."""

    available: bool
    python: Path | None
    version: str | None
    """Version of lava-nc in that interpreter, where it could be read."""
    detail: str


def status() -> Status:
    """Look for Lava without importing it: NEURO_EQ_LAVA_PYTHON, then this interpreter, then the cache."""
    named = os.environ.get(VARIABLE)
    if named:
        return _examined(Path(named), f"{VARIABLE} names {named}, which", f"correct {VARIABLE} or unset it")
    here: Status | None = None
    if _importable_here():
        here = _examined(Path(sys.executable), "this interpreter", f"run `{INSTALL_COMMAND}`")
        if here.available:
            return here
    folder = environment_folder()
    if not folder.exists():
        return here or Status(False, None, None, f"Lava is not installed; run `{INSTALL_COMMAND}`.")
    if not _is_complete(folder):
        problem = f"the environment {folder} is half built or of another release; run `{INSTALL_COMMAND}`."
        return Status(False, None, None, problem)
    return _examined(_python_of(folder), f"the environment {folder}", f"run `{INSTALL_COMMAND}`")


def find() -> Path:
    """The interpreter in which Lava can be imported. Raises BackendError where there is none."""
    found = status()
    if found.python is None or not found.available:
        raise BackendError(found.detail)
    return found.python


def environment_folder() -> Path:
    """The folder of the environment that `install` builds."""
    # Imported here so that looking at the command line's help does not pay for it.
    import platformdirs

    return platformdirs.user_cache_path("neuro_eq") / f"lava-{LAVA_VERSION}"


def install(echo: Callable[[str], None]) -> Path:
    """Build Lava's environment in the user's cache, unless it is there; returns its interpreter.

    `echo` is told each step in one line. Raises BackendError where no Python 3.10 or 3.11 is found or a step
    fails; nothing half built is then left.
    """
    folder = environment_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.with_name(folder.name + ".lock")):
        python = _python_of(folder)
        if _is_complete(folder) and _probe(python) is not None:
            echo(f"Lava {LAVA_VERSION} is already in {folder}")
            return python
        base = _base_python()
        # An environment cannot be moved once built; it counts only with the marker, which is written last.
        shutil.rmtree(folder, ignore_errors=True)
        try:
            echo(f"creating {folder} with {base}")
            _step([str(base), "-m", "venv", str(folder)], base)
            echo(f"installing {', '.join(_PACKAGES)}")
            pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
            _step([*pip, *_PACKAGES], python)
            echo(f"installing lava-nc {LAVA_VERSION}")
            # On the whole set this option would let pip choose packages that cannot be built.
            _step([*pip, "--no-deps", "--ignore-requires-python", f"lava-nc=={LAVA_VERSION}"], python)
            echo("importing Lava once")
            _step([str(python), "-c", "from child.patched import import_lava; import_lava()"], python)
            (folder / _MARKER).write_text(json.dumps(_recipe()), encoding="utf-8")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    echo(f"Lava {LAVA_VERSION} is ready in {folder}")
    return python


def child_environment(python: Path) -> dict[str, str]:
    """Environment variables for Lava's interpreter: ours, less what would mix two Pythons' packages."""
    environment = dict(os.environ)
    for name in ("PYTHONHOME", "PYTHONSAFEPATH", "PYTHONSTARTUP", "PYTHONWARNINGS", "PYTHONPATH"):
        # Where Lava is in this very interpreter, PYTHONPATH may be what makes it importable.
        if name != "PYTHONPATH" or str(python) != sys.executable:
            environment.pop(name, None)
    # The model's products are small, and threads that spin beside Lava's processes only take its cores.
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    return environment


def _importable_here() -> bool:
    try:
        return importlib.util.find_spec("lava.magma") is not None
    except (ImportError, ValueError):
        return False


def _examined(python: Path, whose: str, remedy: str) -> Status:
    """What the interpreter says of itself; `whose` begins the sentence of a problem and `remedy` ends it."""
    found = _probe(python)
    if found is None:
        return Status(False, None, None, f"{whose} cannot be run as a Python; {remedy}.")
    version, numpy, lava = found
    shown = ".".join(map(str, version))
    if lava is None:
        return Status(False, None, None, f"{whose} has no lava-nc; {remedy}.")
    if lava != LAVA_VERSION:
        return Status(False, None, lava, f"{whose} has lava-nc {lava} where {LAVA_VERSION} is needed; {remedy}.")
    if version not in _PYTHONS:
        return Status(False, None, lava, f"{whose} is a Python {shown} where Lava needs 3.10 or 3.11; {remedy}.")
    if numpy is None or not numpy.startswith("1."):
        return Status(False, None, lava, f"{whose} has NumPy {numpy} where Lava needs a version below 2; {remedy}.")
    return Status(True, python, lava, f"Lava {lava} on Python {shown}, {python}.")


def _probe(python: Path) -> tuple[tuple[int, ...], str | None, str | None] | None:
    """Versions of Python, NumPy and lava-nc of an interpreter; None where it does not run."""
    try:
        done = subprocess.run(
            [str(python), "-c", _PROBE],
            cwd=_CHILD_FOLDER,
            env=child_environment(python),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        version, numpy, lava = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return tuple(version), numpy, lava


def _base_python() -> Path:
    """A Python that Lava runs on: this one, or one that PATH leads to and that really runs."""
    if sys.version_info[:2] in _PYTHONS:
        return Path(sys.executable)
    for major, minor in _PYTHONS:
        found = shutil.which(f"python{major}.{minor}")
        # A version manager puts a name on PATH for versions that it refuses to run.
        if found and (probed := _probe(Path(found))) and probed[0] == (major, minor):
            return Path(found)
    raise BackendError(
        "Lava needs Python 3.10 or 3.11 and none was found; put python3.11 or python3.10 on PATH and run "
        f"`{INSTALL_COMMAND}` again."
    )


def _step(command: list[str], python: Path) -> None:
    environment = child_environment(python)
    for name in ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_CONSTRAINT"):
        # Settings for neuro_eq's own environment would send the packages, or their versions, elsewhere.
        environment.pop(name, None)
    done = subprocess.run(
        command,
        cwd=_CHILD_FOLDER,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise BackendError(f"installing Lava failed at `{' '.join(command[1:])}`:\n\n{last}")


def _recipe() -> dict[str, object]:
    return {"lava-nc": LAVA_VERSION, "packages": list(_PACKAGES)}


def _is_complete(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / _MARKER).read_text(encoding="utf-8")) == _recipe())
    except (OSError, ValueError):
        return False


def _python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one installation run at a time; the others wait for it and find its result."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
