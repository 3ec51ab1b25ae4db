"""What users hand to a network, checked: one sentence names the argument, what was found and what would be right.

Pure functions of the spec; an engine turns what they return into its own arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from neuro_eq.arrays import all_finite
from neuro_eq.errors import DataError, SpecError, did_you_mean
from neuro_eq.spec import Network, Population

ToNumpy = Callable[[Any], np.ndarray]
"""How an engine reads numbers, its own arrays among them."""


def clamped_data(spec: Network, x: Any, to_numpy: ToNumpy) -> dict[str, np.ndarray]:
    """Data of the clamped populations, each ``(batch, *shape)``; what is drawn and not given has its mean."""
    given = spec.given
    if isinstance(x, Mapping):
        names = [p.name for p in spec.clamped]
        unknown = [name for name in x if name not in names]
        if unknown:
            raise DataError(f'x["{unknown[0]}"]: no clamped population' + did_you_mean(str(unknown[0]), names))
        missing = [p.name for p in given if p.name not in x]
        if missing:
            raise DataError(f'x: no data for the clamped population "{missing[0]}"')
        arrays = {
            p.name: _population_data(x[p.name], p, f'x["{p.name}"]', to_numpy) for p in spec.clamped if p.name in x
        }
    else:
        parts = parted(given, _real_numbers(x, "x", to_numpy))
        arrays = {p.name: _in_shape(parts[p.name], p, "x") for p in given}
    batches = {array.shape[0] for array in arrays.values()}
    if len(batches) > 1:
        raise DataError(f"x: the clamped populations have different numbers of samples, {sorted(batches)}")
    batch = batches.pop()
    for p in spec.clamped:
        if p.name not in arrays and p.drawn is not None:
            arrays[p.name] = np.full((batch, *p.shape), p.drawn.mean)
    problems = [synapse.data_problem(arrays) for synapse in spec.synapses]
    problems += [] if spec.cost is None else [spec.cost.data_problem(arrays)]
    for problem in problems:
        if problem is not None:
            raise DataError(f"x: {problem}")
    return arrays


def parted(given: Sequence[Population], x: np.ndarray) -> dict[str, np.ndarray]:
    """Data of populations by their names: of one as they are, of several side by side in the order of the spec.

    Args:
        given: the populations.
        x: ``(batch, …)`` of one, ``(batch, units of all)`` of several.

    Raises:
        DataError: another shape.
    """
    if len(given) == 1:
        return {given[0].name: x}
    ends = np.cumsum([p.size for p in given])
    if x.ndim != 2 or x.shape[1] != ends[-1]:
        raise DataError(
            f"x: the network has {len(given)} clamped populations, so give a mapping from name to array, or (batch, "
            f"{ends[-1]}) with all of them side by side; found {list(x.shape)}"
        )
    return {p.name: x[:, end - p.size : end] for p, end in zip(given, ends, strict=True)}


def targets(spec: Network, y: Any, batch: int, to_numpy: ToNumpy) -> np.ndarray:
    """Targets as ``(batch, n_out)``; integer class labels become one-hot rows."""
    if spec.cost is None:
        raise SpecError("the network has no cost, so there is nothing to nudge towards", "cost")
    outputs = spec.cost.outputs(spec.shapes)
    array = given = _real_numbers(y, "target", to_numpy)
    if array.ndim == 1 and array.dtype.kind in "iu":
        if array.size and (array.min() < 0 or array.max() >= outputs):
            raise DataError(f"target: labels must lie in 0…{outputs - 1}, found {array.min()}…{array.max()}")
        array = np.eye(outputs)[array]
    elif array.ndim:
        array = array.reshape(array.shape[0], -1)
    if array.shape != (batch, outputs):
        raise DataError(
            f"target: expected ({batch}, {outputs}) values or {batch} integer labels, found {given.dtype} of shape "
            f"{list(given.shape)}"
        )
    problem = spec.cost.target_problem(array)
    if problem is not None:
        raise DataError(f"target: {problem}")
    return array


def expect(value: Any, kind: type, name: str, right: str) -> None:
    """Raise where an argument is of another kind; what is not given may be None.

    Args:
        value: what was handed in.
        kind: its class.
        name: the argument.
        right: an example, as one writes it.
    """
    # A class has the methods of its instances, which is all that a protocol asks for.
    if value is not None and (isinstance(value, type) or not isinstance(value, kind)):
        found = f"the class {value.__name__} itself" if isinstance(value, type) else f"{value!r}"[:60]
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise DataError(f"{name}: expected {article} {kind.__name__}, such as {right}, found {found}")


def tolerances(tol: Any, batch: int) -> np.ndarray:
    """One residual for each sample, ``(batch,)``."""
    try:
        values = np.asarray(tol, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"tol: expected numbers or None, found {tol!r}") from None
    if values.shape not in ((), (batch,)):
        raise DataError(f"tol: expected one number or ({batch},), found {list(values.shape)}")
    if not np.all(values >= 0):
        raise DataError(f"tol: expected residuals of at least 0, found {values.min():g}")
    return np.broadcast_to(values, (batch,))


def whole_number(value: Any, name: str, least: int = 0) -> int:
    """An argument that counts something."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise DataError(f"{name}: expected a whole number of at least {least}, found {value!r}")
    return int(value)


def nudges(betas: Sequence[Any]) -> tuple[complex, ...]:
    """The nudges of a group of phases."""
    if not betas:
        raise DataError("beta: a group of phases needs at least one nudge")
    for beta in betas:
        if isinstance(beta, bool) or not isinstance(beta, (int, float, complex, np.number)) or not np.isfinite(beta):
            raise DataError(f"beta: expected a finite number, found {beta!r}")
    return tuple(betas)


def _population_data(values: Any, population: Population, place: str, to_numpy: ToNumpy) -> np.ndarray:
    return _in_shape(_real_numbers(values, place, to_numpy), population, place)


def _in_shape(array: np.ndarray, population: Population, place: str) -> np.ndarray:
    wanted = population.shape
    if array.ndim < 2 or array.shape[1:] not in (wanted, (population.size,)):
        raise DataError(f"{place}: expected (batch, {', '.join(map(str, wanted))}), found {list(array.shape)}")
    if array.shape[0] == 0:
        raise DataError(f"{place}: holds no samples")
    return array.reshape(array.shape[0], *wanted)


def _real_numbers(values: Any, place: str, to_numpy: ToNumpy) -> np.ndarray:
    try:
        array = values if isinstance(values, np.ndarray) else to_numpy(values)
    except ValueError:
        raise DataError(f"{place}: expected an array, found rows of different lengths") from None
    if array.dtype.kind not in "fiub":
        raise DataError(f"{place}: expected real numbers, found dtype {array.dtype}")
    if not all_finite(array):
        raise DataError(f"{place}: holds values that are not finite")
    return array
