"""Weights as pictures: receptive fields where a synapse sees an image, the matrix where small, else a histogram."""

from __future__ import annotations

import math
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neuro_eq.errors import FileError, SpecError, did_you_mean
from neuro_eq.figures.choice import Choice, LackingError
from neuro_eq.figures.style import BLUE, DIVERGING, MUTED, colour_bar, dress, page_margins, units_on_both_axes
from neuro_eq.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BESIDE = "weights.npz"
FIELDS = 64
"""Receptive fields in one panel."""

LARGEST = 300
"""A matrix with more rows or columns than this shows nothing as an image."""

PANELS = 6


@dataclass(frozen=True)
class Matrix:
    """One weight matrix ``(post, pre)`` and what it connects.

    ``fields`` holds one image a unit, ``(unit, height, width)``, where an end of the synapse is an image.
    """

    name: str
    weight: np.ndarray
    post: str
    pre: str
    fields: np.ndarray | None = None
    seen_by: str = ""


def weight_images(axes: Axes, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """The synapse that sees the data, or the first of a chosen population.

    Raises:
        LackingError: there are no weights, or none of the network's parameters is a matrix.
        FileError: the weights cannot be read, or belong to another network.
    """
    _draw(axes, _matrices(trajectory, choice)[0])


def weights_page(figure: Figure, trajectory: Trajectory, choice: Choice = Choice()) -> None:
    """Every weight matrix, those that see images first."""
    matrices = _matrices(trajectory, choice)[:PANELS]
    columns = min(len(matrices), 3)
    lines = -(-len(matrices) // columns)
    width, height = 5.0 * columns + 1.0, 4.3 * lines + 1.0
    figure.set_size_inches(width, height)
    page_margins(figure, width, height)
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat[len(matrices) :]:
        axes.remove()
    for axes, matrix in zip(grid.flat, matrices, strict=False):
        _draw(axes, matrix)


def mosaic(fields: np.ndarray, columns: int) -> np.ndarray:
    """Images ``(unit, height, width)`` in rows of ``columns``, one empty pixel (NaN) between neighbours."""
    count, height, width = fields.shape
    lines = -(-count // columns)
    tiled = np.full((lines * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    for i, field in enumerate(fields):
        top, left = (i // columns) * (height + 1), (i % columns) * (width + 1)
        tiled[top : top + height, left : left + width] = field
    return tiled


def _draw(axes: Axes, matrix: Matrix) -> None:
    if matrix.fields is not None:
        _receptive_fields(axes, matrix)
        return
    post, pre = matrix.weight.shape
    if max(matrix.weight.shape) <= LARGEST:
        dress(axes, f"Weights {matrix.name}", f"{post} × {pre}", f"unit of {matrix.pre}", f"unit of {matrix.post}")
        _image(axes, matrix.weight, aspect="auto")
        units_on_both_axes(axes)
    else:
        dress(axes, f"Weights {matrix.name}", f"{post} × {pre}", "weight", "number of weights")
        axes.hist(matrix.weight.ravel(), bins=80, color=BLUE)
        axes.axvline(0.0, color=MUTED, lw=0.8)


def _receptive_fields(axes: Axes, matrix: Matrix) -> None:
    fields = matrix.fields
    assert fields is not None
    norms = np.linalg.norm(fields.reshape(len(fields), -1), axis=1)
    order = np.argsort(-norms, kind="stable")[:FIELDS]
    height, width = fields.shape[1:]
    # As many columns as make the whole about square.
    columns = max(1, min(len(order), round(math.sqrt(len(order) * height / width))))
    some = (
        f"the {len(order)} largest of {len(fields)} units" if len(order) < len(fields) else "all units, largest first"
    )
    dress(axes, f"Receptive fields of {matrix.seen_by}", some)
    _image(axes, mosaic(fields[order], columns), aspect="equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _image(axes: Axes, values: np.ndarray, aspect: Any) -> None:
    known = np.abs(values[np.isfinite(values)])
    # A few weights far outside would leave the others grey.
    limit = float(np.quantile(known, 0.998)) or 1.0
    axes.set_anchor("NW")
    image = axes.imshow(values, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect=aspect, interpolation="nearest")
    figure = axes.get_figure()
    assert figure is not None
    colour_bar(axes, figure, image, "weight")


def _matrices(trajectory: Trajectory, choice: Choice) -> list[Matrix]:
    """The network's matrices, those that see an image first, then in the network's order."""
    weights = _read(trajectory, choice)
    spec = trajectory.spec
    if choice.population is not None and choice.population not in spec.shapes:
        raise SpecError(f'no population "{choice.population}"' + did_you_mean(choice.population, spec.shapes),
                        "population")  # fmt: skip
    found: list[Matrix] = []
    for synapse in spec.synapses:
        if choice.population is not None and choice.population not in synapse.populations:
            continue
        for name, shape in synapse.parameter_shapes(spec.shapes).items():
            if len(shape) == 2:
                ends = getattr(synapse, "target", "target"), getattr(synapse, "source", "source")
                full = f"{synapse.name}.{name}"
                found.append(_with_fields(trajectory, Matrix(full, weights[full], *ends)))
    if not found:
        of = "" if choice.population is None else f' of "{choice.population}"'
        raise LackingError(trajectory, "weights", f"no parameter{of} is a matrix")
    return sorted(found, key=lambda matrix: matrix.fields is None)


def _with_fields(trajectory: Trajectory, matrix: Matrix) -> Matrix:
    """The matrix with its images, where one of its ends is clamped to images."""
    for end, other, weight in (
        (matrix.pre, matrix.post, matrix.weight), (matrix.post, matrix.pre, matrix.weight.T),
    ):  # fmt: skip
        shape = _image_shape(trajectory, end)
        if shape is not None and math.prod(shape) == weight.shape[1]:
            images = _grey(weight.reshape(len(weight), *shape))
            return Matrix(matrix.name, matrix.weight, matrix.post, matrix.pre, images, other)
    return matrix


def _image_shape(trajectory: Trajectory, population: str) -> tuple[int, ...] | None:
    """The shape of the data's images, told by the training loop or by the population's own axes."""
    clamped = [p for p in trajectory.spec.clamped if p.name == population]
    if not clamped:
        return None
    told = trajectory.attrs.get("image_shape")
    shapes = [clamped[0].shape] if told is None else [tuple(int(n) for n in np.atleast_1d(told)), clamped[0].shape]
    for shape in shapes:
        is_image = len(shape) == 2 or (len(shape) == 3 and (shape[0] in (1, 3) or shape[2] in (1, 3)))
        if is_image and min(sorted(shape)[-2:]) > 1 and math.prod(shape) == clamped[0].size:
            return shape
    return None


def _grey(images: np.ndarray) -> np.ndarray:
    """``(unit, height, width)``: what a grey picture would be weighted with, the sum over colours."""
    if images.ndim == 3:
        return images
    return images.sum(axis=1 if images.shape[1] in (1, 3) else 3)


def _read(trajectory: Trajectory, choice: Choice) -> dict[str, np.ndarray]:
    """The network's parameters; nothing that stands in the file is executed."""
    path = choice.weights or trajectory.path.with_name(BESIDE)
    if choice.weights is None and not path.is_file():
        raise LackingError(trajectory, "weights", f"there is no {BESIDE} beside it; name a file with --weights")
    if "spec" not in trajectory.attrs:
        raise LackingError(trajectory, "weights", "it holds no relaxation, so it names no network to read weights for")
    shapes = trajectory.spec.parameter_shapes
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            weights = {name: np.asarray(archive[name]) for name in archive.files}
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "is no .npz file of numbers"
        raise FileError(f"{path}: cannot read weights from it ({reason})") from None
    for name, shape in shapes.items():
        if name not in weights:
            raise FileError(f"{path}: has no {name}, so it holds the weights of another network than {trajectory.path}")
        if weights[name].shape != shape or weights[name].dtype.kind != "f":
            raise FileError(
                f"{path}: {name} should be {list(shape)} floating numbers, found {list(weights[name].shape)} of "
                f"{weights[name].dtype}, so it holds the weights of another network than {trajectory.path}"
            )
        if not np.isfinite(weights[name]).all():
            raise FileError(f"{path}: {name} holds values that are not finite")
    return weights
