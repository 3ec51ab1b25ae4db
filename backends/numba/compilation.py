"""How kernels are compiled, and where the compiled code is kept.

Numba compiles a kernel again when the file that it stands in has changed, but not when a kernel that it calls has
changed in another file.  So the code of all kernels is kept in one folder whose name is a hash of all their sources
and of the versions that compiled them.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
import platformdirs

Kernel = Any
"""A compiled function; Numba's own type says nothing more to a type checker."""


@cache
def folder() -> Path:
    """Where this version of the kernels is kept: in ``NUMBA_CACHE_DIR``, or in the user's cache."""
    told = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(told) if told else Path(platformdirs.user_cache_dir("neuro_eq")) / "numba"
    key = hashlib.sha256()
    home = Path(__file__).parent
    for source in sorted(home.rglob("*.py")):
        key.update(source.relative_to(home).as_posix().encode() + b"\0" + source.read_bytes() + b"\0")
    key.update(repr((sys.version_info, numba.__version__, llvmlite.__version__, np.__version__)).encode())
    return base / f"neuro_eq-{key.hexdigest()[:16]}"


@cache
def kept() -> bool:
    """Whether compiled code can be written there; Numba would look for other places, among them the package's own."""
    try:
        folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder()):
            return True
    except OSError:
        return False


def _compiler(*fastmath: str, entered: bool = False, nogil: bool = True) -> Callable[[Callable[..., Any]], Kernel]:
    # Without the wrappers through which Python would call a kernel, it compiles in a fraction of the time.
    bare: dict[str, Any] = {} if entered else {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

    def decorate(function: Callable[..., Any]) -> Kernel:
        # The setting is Numba's own and is read where a function is decorated: others keep theirs.
        config: Any = numba.config
        before = config.CACHE_DIR
        config.CACHE_DIR = str(folder())
        try:
            return numba.njit(cache=kept(), nogil=nogil, error_model="numpy", fastmath=set(fastmath), **bare)(function)
        finally:
            config.CACHE_DIR = before

    return decorate


compiled = _compiler()
"""A kernel in which every operation is taken as it is written, called by other kernels."""
entry = _compiler(entered=True)
"""The same, called from Python."""
brief = _compiler(entered=True, nogil=False)
"""One that is over before another thread could have made use of the interpreter, which it does not let go of."""
fused = _compiler("contract")
"""A kernel in which a product and a sum may be one instruction."""
summing = _compiler("contract", "reassoc")
"""A kernel in which a sum may be taken in several parts at once; the parts do not depend on the number of threads."""


def compile_once(dtype: str, work: Callable[[], object], variant: str = "") -> None:
    """Have ``work`` compile the kernels, and say so, where no code of theirs is kept: it takes many seconds.

    ``variant`` names the networks, if not all, that it is compiled for.
    """
    done = folder() / f"{'-'.join([dtype, *variant.split()])}.compiled"
    if kept() and done.exists():
        return
    began = time.perf_counter()
    what = f"{dtype} with {variant}" if variant else dtype
    how_often = (
        "once for this version" if kept()
        else f"each time anew, as {folder().parent} cannot be written (NUMBA_CACHE_DIR names another folder)"
    )  # fmt: skip
    print(f"numba: compiling the kernels for {what}, {how_often} …", end="", file=sys.stderr, flush=True)
    try:
        work()
    finally:
        print(f" {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    # Where the cache cannot be written, it is compiled and said again next time.
    with suppress(OSError):
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
