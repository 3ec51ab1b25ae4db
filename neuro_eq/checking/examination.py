"""``neuro_eq.check``: is this right?  One call examines a network and says so row by row."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from neuro_eq import __version__, arguments
from neuro_eq.backend import Backend
from neuro_eq.checking.contraction import check_contraction
from neuro_eq.checking.convergence import check_convergence
from neuro_eq.checking.engines import candidates, check_engines
from neuro_eq.checking.methods import check_methods
from neuro_eq.checking.report import Curve, Report
from neuro_eq.checking.subject import Subject, given_samples, random_samples, single
from neuro_eq.compiler import compile as compile_network
from neuro_eq.errors import DataError, SpecError, did_you_mean
from neuro_eq.solvers import Relaxation
from neuro_eq.spec import Network
from neuro_eq.specfile import digest

SAMPLES = 8
"""Random samples when the user brings none."""


def check(
    spec: Network,
    x: Any = None,
    y: Any = None,
    *,
    parameters: Mapping[str, Any] | None = None,
    backends: Sequence[str | Backend] | None = None,
    samples: int = SAMPLES,
    beta: float = 0.1,
    settling: Relaxation | None = None,
    seed: int = 0,
    inputs: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Hold a network to everything that can be known about it: engines, gradients, settling, contraction.

    Everything is measured on a few samples at the given parameters, rounded to what float32 holds, so that engines of
    either precision start from equal numbers.

    Args:
        spec: the network.
        x: data of the clamped populations, as for ``relax``; random of standard deviation one when not given.
        y: targets ``(batch, n_out)`` or ``(batch,)`` labels; random when there is no ``x``.
        parameters: all parameters by name; the start values of ``seed`` when not given.
        backends: engines to hold against the reference, by name or as announcements; every installed one by default.
        samples: how many random samples.
        beta: the nudge that is judged.
        settling: the settling that is judged; ``Relaxation()`` by default.
        seed: of all that is random.
        inputs: in words, where ``x`` comes from.
        progress: is told what comes next.

    Returns:
        The report; ``report.ok`` says whether no tolerance was missed.

    Raises:
        SpecError: the spec, the parameters, ``beta`` or ``seed`` does not describe anything that can run.
        DataError: the samples do not fit the network.
        BackendError: a backend that was asked for by name is unknown or not installed.
    """
    began = time.perf_counter()
    _refuse(spec, samples, beta, seed)
    if x is None:
        data, targets = random_samples(spec, samples, seed)
        inputs = inputs or "random"
    else:
        data, targets = given_samples(spec, x, y)
        inputs = inputs or "given"
    subject = Subject(
        spec, _parameters(spec, parameters, seed), data, targets, settling or Relaxation(), float(beta), seed
    )
    chosen, skipped = candidates(subject, backends)
    # Whatever a wrong network overflows into is an outcome here, not a surprise.
    with np.errstate(all="ignore"):
        rows, traces = check_convergence(subject, progress)
        contraction, constants = check_contraction(subject, progress)
        rows += contraction
        curves: list[Curve] = []
        if spec.cost is not None:
            found, curves = check_methods(subject, progress)
            rows = found + rows
        held, left_out = check_engines(subject, chosen, progress)
    return Report(
        network=spec.name or "network",
        digest=digest(spec),
        inputs=inputs,
        samples=subject.batch,
        beta=subject.beta,
        seed=seed,
        solver=str(subject.settling.solver.model_dump(mode="json")),
        max_steps=subject.settling.max_steps,
        rows=tuple(held + rows),
        skipped=(*skipped, *left_out),
        curves=tuple(curves),
        traces=tuple(traces),
        constants=constants,
        seconds=time.perf_counter() - began,
        version=__version__,
    )


def _refuse(spec: object, samples: object, beta: object, seed: object) -> None:
    if not isinstance(spec, Network):
        raise SpecError(f"expected a Network, found {type(spec).__name__}; neuro_eq.load reads one from a file", "spec")
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise DataError(f"samples: expected a whole number of at least 1, found {samples!r}")
    arguments.nudges((beta,))
    if beta == 0 or isinstance(beta, complex):
        raise SpecError(f"a nudge must be a real number other than 0, found {beta!r}", "beta")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise SpecError(f"expected a whole number of at least 0 and below 2**63, found {seed!r}", "seed")


def _parameters(spec: Network, given: Mapping[str, Any] | None, seed: int) -> dict[str, np.ndarray]:
    """All parameters, checked by the reference engine, as numbers that float32 holds."""
    net = compile_network(spec, backend="reference", seed=seed)
    if given is not None:
        missing = [name for name in spec.parameter_shapes if name not in given]
        if missing:
            raise SpecError("required, but not given" + did_you_mean(missing[0], [*given]), missing[0])
        net.set_parameters(given)
    net.set_parameters({name: single(value) for name, value in net.parameters.items()})
    return {name: np.asarray(value) for name, value in net.parameters.items()}
