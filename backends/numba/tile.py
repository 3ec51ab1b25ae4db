r"""Products with weights that stay the same for a whole relaxation.

A relaxation multiplies the activities of a few dozen samples with the same weights at every step.  BLAS copies the
weights into its own order each time, which for so few rows costs as much as the product.  Here they are brought into
that order once (:func:`pack`), and each step runs the innermost loop alone: a tile of ``ROWS × LANES·VECTORS``
accumulators that stay in registers while ``k`` runs (Goto and van de Geijn, 2008).  ``benchmarks/`` compares the two.

The loop is written in LLVM's own vectors, as a compiler does not keep a local array of accumulators in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from neuro_eq.backends.numba.compilation import Kernel, compiled, entry

FEATURES = llvm.get_host_cpu_features()
WIDE = bool(FEATURES.get("avx512f"))
ARM = llvm.get_default_triple().startswith(("aarch64", "arm64"))
BYTES = 64 if WIDE else 32 if FEATURES.get("avx") else 16
"""Width of a vector register."""
FUSED = ARM or bool(FEATURES.get("fma"))
"""Whether the processor multiplies and adds in one instruction; asked for without one, it would be a function call."""
ROWS = 8 if WIDE or ARM else 4
"""Rows of the largest tile; its ``3·ROWS`` accumulators fill the 32 or 16 vector registers."""
VECTORS = 3
"""Vectors in a row of the largest tile."""
DEPTH = 512
"""Terms of a sum that one pass over a tile takes: a panel of weights of that depth stays in the second-level cache."""
LANES: dict[str | np.dtype[Any], int] = {
    key: BYTES // np.dtype(dtype).itemsize for dtype in ("float32", "float64") for key in (dtype, np.dtype(dtype))
}
"""Numbers in a vector register, by a dtype or its name."""


def stride(size: int, dtype: str | np.dtype[Any]) -> int:
    """Numbers in a row of ``size`` units, filled up to whole vectors; the filling holds zeros."""
    lanes = LANES[dtype]
    return -(-size // lanes) * lanes


def packed_size(depth: int, size: int, dtype: str | np.dtype[Any]) -> int:
    """Numbers in a packed matrix ``(depth, size)``."""
    return depth * stride(size, dtype)


def _with_or_without(builder: Any, base: Any, none: Any) -> Iterator[tuple[AbstractContextManager[Any], bool]]:
    """The two ways on: there is something at ``base`` that the sums are added to, and there is not."""
    with builder.if_else(builder.icmp_signed("!=", base, none)) as (added, alone):
        yield added, True
        yield alone, False


def _spread(builder: Any, value: Any, vector: Any) -> Any:
    """A vector of one number."""
    nothing = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(nothing, value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(
        first, nothing, ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    )


def _named(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function by a name of its own.

    Compiled code finds what it calls by names, which Numba makes of a function's name, the types of its arguments and a
    count that begins anew in every process.  So closures that differ in what they close over must not share a name:
    kernels that different processes have compiled would call each other's.
    """
    function.__name__ = function.__qualname__ = name
    return function


def _tile(rows: int, vectors: int, transposed: bool) -> Kernel:
    """``c = base + a · b`` of ``rows × vectors·lanes`` numbers, by addresses and leading dimensions; base 0 is none.

    With ``transposed`` it is ``aᵀ``: what stands in one row of a goes into all rows of the tile.
    """

    def emit(
        size: int, context: Any, builder: Any, a: Any, lda: Any, b: Any, c: Any, ldc: Any, depth: Any, base: Any
    ) -> Any:
        scalar = ir.FloatType() if size == 4 else ir.DoubleType()
        lanes = BYTES // size
        vector = ir.VectorType(scalar, lanes)
        i64 = a.type
        name = f"llvm.fma.v{lanes}f{8 * size}"
        fused = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)

        def constant(value: int) -> Any:
            return ir.Constant(i64, value)

        def at(base: Any, offset: Any, kind: Any) -> Any:
            return builder.inttoptr(builder.add(base, offset), kind.as_pointer())

        def load(base: Any, offset: Any, kind: Any) -> Any:
            value = builder.load(at(base, offset, kind))
            value.align = size
            return value

        whole, number = builder.mul(constant(size), lda), constant(size)
        # From one row of the tile to the next, and from one term to the next.
        row_bytes, term_bytes = (number, whole) if transposed else (whole, number)
        bytes_of = [builder.mul(constant(r), row_bytes) for r in range(rows)]
        start, loop, end = builder.block, builder.append_basic_block("terms"), builder.append_basic_block("sums")
        builder.branch(loop)
        builder.position_at_end(loop)
        k = builder.phi(i64)
        k.add_incoming(constant(0), start)
        sums = [[builder.phi(vector) for _ in range(vectors)] for _ in range(rows)]
        for phi in (phi for row in sums for phi in row):
            phi.add_incoming(ir.Constant(vector, [0.0] * lanes), start)
        weights = [
            load(b, builder.add(builder.mul(k, constant(vectors * BYTES)), constant(v * BYTES)), vector)
            for v in range(vectors)
        ]
        term = builder.mul(k, term_bytes)
        for r, row in enumerate(sums):
            activity = _spread(builder, load(a, builder.add(bytes_of[r], term), scalar), vector)
            for v, phi in enumerate(row):
                if FUSED:
                    total = builder.call(fused, [activity, weights[v], phi])
                else:
                    total = builder.fadd(builder.fmul(activity, weights[v]), phi)
                row[v] = total
                phi.add_incoming(total, loop)
        following = builder.add(k, constant(1))
        k.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, end)
        builder.position_at_end(end)

        for sums_of, into in _with_or_without(builder, base, constant(0)):
            with sums_of:
                for r, row in enumerate(sums):
                    for v, total in enumerate(row):
                        where = builder.add(builder.mul(constant(r * size), ldc), constant(v * BYTES))
                        result = builder.fadd(load(base, where, vector), total) if into else total
                        builder.store(result, at(c, where, vector)).align = size
        return context.get_dummy_value()

    @intrinsic
    def single(typing: Any, a: Any, lda: Any, b: Any, c: Any, ldc: Any, depth: Any, base: Any) -> Any:
        signature = types.void(*[types.intp] * 7)
        return signature, lambda context, builder, _, args: emit(4, context, builder, *args)

    @intrinsic
    def double(typing: Any, a: Any, lda: Any, b: Any, c: Any, ldc: Any, depth: Any, base: Any) -> Any:
        signature = types.void(*[types.intp] * 7)
        return signature, lambda context, builder, _, args: emit(8, context, builder, *args)

    def tile(like: Any, a: Any, lda: Any, b: Any, c: Any, ldc: Any, depth: Any, base: Any) -> None:
        """``like`` is an array whose precision is meant."""

    @overload(tile)
    def _of_precision(like: Any, a: Any, lda: Any, b: Any, c: Any, ldc: Any, depth: Any, base: Any) -> Any:
        chosen: Any = single if like.dtype == types.float32 else double

        def call(like: Any, a: Any, lda: Any, b: Any, c: Any, ldc: Any, depth: Any, base: Any) -> None:
            chosen(a, lda, b, c, ldc, depth, base)

        return _named(call, f"tile_{rows}_{vectors}_{transposed}")

    return tile


def _tiles(rows: int, transposed: bool) -> Kernel:
    """Tiles of so many rows and of as many vectors as they are called with."""
    three, two, one = (_tile(rows, vectors, transposed) for vectors in (3, 2, 1))

    def tile(like, vectors, a, lda, b, c, ldc, depth, base):  # type: ignore[no-untyped-def]
        """``like`` is an array whose precision is meant."""

    @overload(tile)
    def _of_any_width(like, vectors, a, lda, b, c, ldc, depth, base):  # type: ignore[no-untyped-def]
        def call(like, vectors, a, lda, b, c, ldc, depth, base):  # type: ignore[no-untyped-def]
            if vectors == 3:
                three(like, a, lda, b, c, ldc, depth, base)
            elif vectors == 2:
                two(like, a, lda, b, c, ldc, depth, base)
            else:
                one(like, a, lda, b, c, ldc, depth, base)

        return _named(call, f"tiles_{rows}_{transposed}")

    return tile


def strip_of(transposed: bool = False) -> Kernel:
    """All rows of one panel, ``c = base + a · b`` or with ``aᵀ``, by tiles as large as there are rows for."""
    large, small, single = (_tiles(rows, transposed) for rows in (ROWS, 2, 1))

    def strip(like, vectors, rows, a, lda, b, c, ldc, depth, base):  # type: ignore[no-untyped-def]
        """``like`` is an array whose precision is meant."""

    @overload(strip)
    def _of_all_rows(like, vectors, rows, a, lda, b, c, ldc, depth, base):  # type: ignore[no-untyped-def]
        def call(like, vectors, rows, a, lda, b, c, ldc, depth, base):  # type: ignore[no-untyped-def]
            size = like.itemsize
            step = size if transposed else lda * size
            r = 0
            while r < rows:
                at, down = a + r * step, r * ldc * size
                on = base + down if base != 0 else 0
                if rows - r >= ROWS:
                    large(like, vectors, at, lda, b, c + down, ldc, depth, on)
                    r += ROWS
                elif rows - r >= 2:
                    small(like, vectors, at, lda, b, c + down, ldc, depth, on)
                    r += 2
                else:
                    single(like, vectors, at, lda, b, c + down, ldc, depth, on)
                    r += 1

        return _named(call, f"strip_{transposed}")

    return strip


_strip = strip_of()


@compiled
def panel_vectors(remaining):  # type: ignore[no-untyped-def]
    """Vectors in the next panel: four are left to two panels of two, as one alone would wait for its loads."""
    return 2 if remaining == 4 else min(VECTORS, remaining)


@entry
def multiply_add(x, x_begin, x_stride, depth, packed, packed_begin, out, out_begin, out_stride, rows):  # type: ignore[no-untyped-def]
    """``out[rows, out_stride] += x[rows, :depth] · w`` with ``w (depth, out_stride)`` packed, all in flat buffers."""
    base = out.ctypes.data + out_begin * out.itemsize
    _passes(x, x_begin, x_stride, depth, packed, packed_begin, out, out_begin, out_stride, out_stride, rows, base)


@compiled
def add_product(  # type: ignore[no-untyped-def]
    x, x_begin, x_stride, depth, packed, packed_begin, base, out, out_begin, out_stride, size, rows
):
    """``out = base + x · w`` in ``size`` numbers of every row; ``base`` is laid out as ``out``."""
    added = base.ctypes.data + out_begin * out.itemsize
    _passes(x, x_begin, x_stride, depth, packed, packed_begin, out, out_begin, out_stride, size, rows, added)


@entry
def multiply(x, x_begin, x_stride, depth, packed, packed_begin, out, out_begin, out_stride, rows):  # type: ignore[no-untyped-def]
    """``out = x · w``, whatever stood there."""
    _passes(x, x_begin, x_stride, depth, packed, packed_begin, out, out_begin, out_stride, out_stride, rows, 0)


@compiled
def _passes(  # type: ignore[no-untyped-def]
    x, x_begin, x_stride, depth, packed, packed_begin, out, out_begin, out_stride, numbers, rows, base
):
    size = x.itemsize
    lanes = BYTES // size
    columns = numbers // lanes
    a = x.ctypes.data + x_begin * size
    b = packed.ctypes.data + packed_begin * size
    c = out.ctypes.data + out_begin * size
    # A pass over a part of the depth at a time: the weights of a panel stay in cache for all rows.
    for first in range(0, depth, DEPTH):
        terms = min(DEPTH, depth - first)
        panel = 0
        while panel < columns:
            vectors = panel_vectors(columns - panel)
            begin = (panel * depth + first * vectors) * lanes
            place = panel * lanes * size
            _strip(
                x, vectors, rows, a + first * size, x_stride, b + begin * size, c + place, out_stride, terms,
                base + place if base != 0 else 0,
            )  # fmt: skip
            panel += vectors
        # What comes next is added to what this has left.
        base = c
