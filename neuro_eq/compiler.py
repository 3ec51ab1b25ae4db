"""From a spec to an engine, by name."""

from __future__ import annotations

import inspect
from typing import Any

from neuro_eq.backend import backend as find
from neuro_eq.engine import Engine
from neuro_eq.errors import BackendError, SpecError, did_you_mean
from neuro_eq.spec import Network


def compile(spec: Network, backend: str = "numba", dtype: str = "float64", seed: int = 0, **options: Any) -> Engine:  # noqa: A001
    """Compile a network for an engine.

    Args:
        spec: the network.
        backend: ``"reference"``, ``"numba"``, ``"torch"`` or ``"lava"`` (or one that another package announces).
        dtype: ``"float64"`` or ``"float32"``, as far as the engine has it.
        seed: of the start values; the same seed gives the same start values on every engine.
        options: engine options, such as ``threads`` (numba) or ``device`` (torch).

    Raises:
        BackendError: the backend is unknown, not installed, or cannot run this network; says what and why.
    """
    if not isinstance(spec, Network):
        raise SpecError(f"expected a Network, found {type(spec).__name__}; neuro_eq.load reads one from a file", "spec")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise SpecError(f"expected a whole number of at least 0 and below 2**63, found {seed!r}", "seed")
    engine = find(backend).load()
    known = [name for name in inspect.signature(engine).parameters if name not in ("spec", "dtype", "seed")]
    for name in options:
        if name not in known:
            raise BackendError(f'backend "{backend}" has no option "{name}"' + did_you_mean(name, known))
    return engine(spec, dtype=dtype, seed=seed, **options)
