"""Activations and errors of a step's pixels in the order in which gradients take them, see `adam.update_kernel`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir

from pixcodec.exact.compiled import specialise
from pixcodec.exact.emit import I8, I16, I32, INTP, LANES, Value, emitted, loop
from pixcodec.exact.products import in_halves

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.exact.products import ProductForm

SHORTS, BYTES = ir.VectorType(I16, LANES), ir.VectorType(I8, LANES)
FIRST, SECOND = range(LANES // 2), range(LANES // 2, LANES)  # halves of a vector


def _emit_group(first: Value, second: Value, width: Value, out: Value) -> None:
    """Two rows of int16 side by side, element by element."""
    order = [place + k for place in range(LANES) for k in (0, LANES)]
    with loop(0, width, LANES) as k:
        a, b = ((row + k * 2).load(SHORTS) for row in (first, second))
        (out + k * 4).store(a.shuffled(b, order))


def _group(source, rows, width, target):  # type: ignore[no-untyped-def]
    """Rows in groups of as many as an instruction takes terms, zeros behind the last row and column."""
    terms = target.shape[2]
    for g in range((rows + terms - 1) // terms):
        first = g * terms
        if terms == 2 and first + 1 < rows:
            pair(  # type: ignore[name-defined] # noqa: F821
                source.ctypes.data + first * source.strides[0], source.ctypes.data + (first + 1) * source.strides[0],
                width, target.ctypes.data + g * target.strides[0],
            )  # fmt: skip
        else:
            for t in range(terms):
                for k in range(width):
                    target[g, k, t] = source[first + t, k] if first + t < rows else 0
        if width < target.shape[1]:
            target[g, width, :] = 0


def _emit_transposed(rows: Value, row_bytes: Value, out: Value, out_bytes: Value) -> None:
    """Sixteen bytes of each of 64 rows to sixteen rows."""
    words = []
    for g in range(LANES):
        four = [(rows + row_bytes * (4 * g + k)).load(BYTES).to(I32, signed=False) << 8 * k for k in range(4)]
        words.append((four[0] | four[1]) | (four[2] | four[3]))
    half = LANES // 2
    for _ in range(half.bit_length()):
        pairs = zip(words[:half], words[half:], strict=True)
        words = [
            a.shuffled(b, [k + each for k in part for each in (0, LANES)]) for a, b in pairs for part in (FIRST, SECOND)
        ]
    for r, row in enumerate(words):
        (out + out_bytes * r).store(row)


def _transpose(source, rows, width, target):  # type: ignore[no-untyped-def]
    """Rows of bytes to columns, 64 at a time: what lies behind the last row does not matter."""
    for column in range(0, width, TILE):  # type: ignore[name-defined] # noqa: F821
        for row in range(0, rows, 4 * TILE):  # type: ignore[name-defined] # noqa: F821
            transposed(  # type: ignore[name-defined] # noqa: F821
                source.ctypes.data + row * source.strides[0] + column, source.strides[0],
                target.ctypes.data + column * target.strides[0] + row, target.strides[0],
            )  # fmt: skip


def _emit_split(a: Value, b: Value, c: Value, d: Value, width: Value, out: Value, half: Value) -> None:
    """Four rows of int16 as words of lower bytes and, so many bytes behind, of upper ones."""
    with loop(0, width, LANES) as k:
        low, high = in_halves([(row + k * 2).load(SHORTS).to(I32) for row in (a, b, c, d)])
        (out + k * 4).store(low)
        (out + half + k * 4).store(high)


def _split(source, rows, width, target):  # type: ignore[no-untyped-def]
    """Rows of int16 in fours, in halves, zeros behind the last one up to 64."""
    none, begin, stride = np.zeros(width, np.int16), source.ctypes.data, source.strides[0]
    for row in range(0, (rows + 4 * TILE - 1) // (4 * TILE) * (4 * TILE), 4):  # type: ignore[name-defined] # noqa: F821
        split(  # type: ignore[name-defined] # noqa: F821
            begin + row * stride if row < rows else none.ctypes.data,
            begin + (row + 1) * stride if row + 1 < rows else none.ctypes.data,
            begin + (row + 2) * stride if row + 2 < rows else none.ctypes.data,
            begin + (row + 3) * stride if row + 3 < rows else none.ctypes.data,
            width, target.ctypes.data + row // 4 * target.strides[0], target.strides[0] // 2,
        )  # fmt: skip


@lru_cache
def grouped(form: ProductForm) -> tuple[Callable[..., None], Callable[..., None]]:
    """What puts activations and what puts errors in order for a form of products with weights of 16 bits.

    Each is a compiled function of rows [pixels, width or more], their number, the width, and where they go.
    """
    if form.halves:
        seen = specialise(_transpose, "transpose", TILE=LANES, transposed=emitted([INTP] * 4, _emit_transposed))
        return seen, specialise(_split, "split", TILE=LANES, split=emitted([INTP] * 7, _emit_split))
    group = specialise(_group, "group", pair=emitted([INTP] * 4, _emit_group))
    return group, group
