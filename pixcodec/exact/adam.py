"""A step of Adam of all weights of a product that learns, while its gradients' sums are in registers or tiles.

Gradients are exact integer products of activations and errors (`products`, `matrix_tiles`); moments and weights are
binary32, each operation rounded once in the order of `reference/learn.py`, the definition.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.exact import matrix_tiles
from pixcodec.exact.compiled import specialise
from pixcodec.exact.emit import (
    ALIGNMENT,
    F32,
    FLOAT32,
    I16,
    INTP,
    Value,
    Variable,
    constant,
    emitted,
    vector,
)
from pixcodec.exact.products import FINE, FORMS, accumulate, in_halves, of_outputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.exact.products import ProductForm

LARGEST = 127.0  # weight
FLUSH = 1e-20  # moments smaller than this become zero


def _adam(
    form: ProductForm, sums: list[list[Value]], inverse: Value, b1: Value, b2: Value, rate: Value, epsilon: Value,
    weights: Value, first: Value, second: Value, relative: Value, row_bytes: Value, coarse: Value, coarse_bytes: Value,
) -> list[list[Value]]:  # fmt: skip
    """A step of Adam of some inputs and a panel of outputs, by sums of gradients; the weights in 1/128, int32."""
    floats = vector(F32, form.sums)
    inverse, b1, b2, rate, epsilon = (each.splat(floats) for each in (inverse, b1, b2, rate, epsilon))
    fine: list[list[Value]] = [[] for _ in sums]
    for j in range(form.vectors):
        factor = of_outputs(form, relative, form.lanes * j)
        for r, row in enumerate(sums):
            w, m, v = (each + row_bytes * r + 4 * form.lanes * j for each in (weights, first, second))
            g, before, squares = row[j].to(F32) * inverse, m.load(floats), v.load(floats)
            mean = before + (g - before) * b1
            square = squares + (g * g - squares) * b2
            mean = mean.where(mean.called(f"llvm.fabs.v{form.lanes}f32") > FLUSH, 0.0)
            square = square.where(square > FLUSH, 0.0)
            m.store(mean)
            v.store(square)
            change = (rate * mean) / (square.called(f"llvm.sqrt.v{form.lanes}f32") + epsilon)
            weight = (w.load(floats) - change).most(-LARGEST).least(LARGEST)
            w.store(weight)
            fine[r].append((weight * FINE).rounded())
            (coarse + coarse_bytes * r + 2 * form.lanes * j).store((weight * factor).rounded().to(I16))
    return fine


def _prefetch(form: ProductForm, rows: int, row_bytes: Value, *places: Value) -> None:
    for each in places:
        for r, k in np.ndindex(rows, -(-4 * form.width // ALIGNMENT)):
            (each + row_bytes * r + ALIGNMENT * k).prefetch()


def _update_tile(form: ProductForm, rows: int) -> Any:
    """Intrinsic: gradients of some inputs and a panel of outputs, and their step of Adam (see `learn`)."""

    def emit(
        x: Value, x_step: Value, e: Value, e_step: Value, steps: Value, inverse: Value, b1: Value, b2: Value,
        rate: Value, epsilon: Value, weights: Value, first: Value, second: Value, relative: Value, row_bytes: Value,
        fine: Value, coarse: Value, coarse_bytes: Value,
    ) -> None:  # fmt: skip
        zero = Value(x.builder, constant(form.sums, 0))
        sums = [[Variable(zero) for _ in range(form.vectors)] for _ in range(rows)]
        _prefetch(form, rows, row_bytes, weights, first, second)
        size = 2 * form.terms
        accumulate(form, sums, (x, size, x_step), (e, e_step), steps)
        rounded = _adam(
            form, [[total.get() for total in row] for row in sums], inverse, b1, b2, rate, epsilon, weights, first,
            second, relative, row_bytes, coarse, coarse_bytes,
        )  # fmt: skip
        for r, j in np.ndindex(rows // form.terms, form.vectors):
            group = rounded[form.terms * r][j].to(I16)
            if form.terms == 2:
                order = [place + k for place in range(form.lanes) for k in (0, form.lanes)]
                group = group.shuffled(rounded[2 * r + 1][j].to(I16), order)
            (fine + (r * form.width + form.lanes * j) * size).store(group)

    return emitted([*[INTP] * 5, *[FLOAT32] * 5, *[INTP] * 8], emit)


def _learn_four(
    form: ProductForm, sums: list[list[Value]], r: Value, inverse: Value, b1: Value, b2: Value, rate: Value,
    epsilon: Value, weights: Value, first: Value, second: Value, relative: Value, row_bytes: Value, fine: Value,
    coarse: Value, coarse_bytes: Value,
) -> None:  # fmt: skip
    """The step of Adam of four inputs from number r on, for `matrix_tiles.gradient`."""
    weights, first, second = (each + r * row_bytes for each in (weights, first, second))
    rounded = _adam(
        form, sums, inverse, b1, b2, rate, epsilon, weights, first, second, relative, row_bytes,
        coarse + r * coarse_bytes, coarse_bytes,
    )  # fmt: skip
    place = fine + (r >> 2) * form.group_bytes
    for j in range(form.vectors):
        low, high = in_halves([row[j] for row in rounded])
        (place + form.group * form.lanes * j).store(low)
        (place + form.group * (form.width + form.lanes * j)).store(high)


def _update(  # type: ignore[no-untyped-def]
    x, e, rows, inverse, b1, b2, rate, epsilon, weights, first, second, relative, fine, coarse, _signed
):
    """A step of Adam of all weights of a product; see `update_kernel`."""
    inputs = weights.shape[0]
    panels, _, _, width, terms = fine.shape
    steps, row_bytes, coarse_bytes = (rows + terms - 1) // terms, weights.strides[0], coarse.strides[0]
    for p in range(panels):
        here, i = 4 * p * width, 0
        while i < inputs:
            at = here + i * row_bytes
            packed = fine.ctypes.data + p * fine.strides[0] + i // terms * fine.strides[2]
            seen, errors = x.ctypes.data + i * x.strides[1], e.ctypes.data + p * width * e.strides[1]
            rough = coarse.ctypes.data + i * coarse_bytes + 2 * p * width
            if i + BLOCK <= inputs:  # type: ignore[name-defined] # noqa: F821
                block_tile(  # type: ignore[name-defined] # noqa: F821
                    seen, x.strides[0], errors, e.strides[0], steps, inverse, b1, b2, rate, epsilon,
                    weights.ctypes.data + at, first.ctypes.data + at, second.ctypes.data + at,
                    relative.ctypes.data + here, row_bytes, packed, rough, coarse_bytes,
                )  # fmt: skip
                i += BLOCK  # type: ignore[name-defined] # noqa: F821
            else:
                pair_tile(  # type: ignore[name-defined] # noqa: F821
                    seen, x.strides[0], errors, e.strides[0], steps, inverse, b1, b2, rate, epsilon,
                    weights.ctypes.data + at, first.ctypes.data + at, second.ctypes.data + at,
                    relative.ctypes.data + here, row_bytes, packed, rough, coarse_bytes,
                )  # fmt: skip
                i += 2


def _matrix_update(  # type: ignore[no-untyped-def]
    x, e, rows, inverse, b1, b2, rate, epsilon, weights, first, second, relative, fine, coarse, signed
):
    """The same by tiles of matrices, of weights in halves; inputs from number `signed` on are signed codes."""
    inputs, row_bytes, coarse_bytes = weights.shape[0], weights.strides[0], coarse.strides[0]
    panels, _, _, width, _ = fine.shape
    chunks, half = (rows + LANES - 1) // LANES, e.strides[0] // 2  # type: ignore[name-defined] # noqa: F821
    configure(ROWS, ROWS)  # type: ignore[name-defined] # noqa: F821
    for p in range(panels):
        here = 4 * p * width
        for i in range(0, inputs, ROWS):  # type: ignore[name-defined] # noqa: F821
            at = here + i * row_bytes
            seen, errors = x.ctypes.data + i * x.strides[0], e.ctypes.data + here
            packed = fine.ctypes.data + p * fine.strides[0] + i // 4 * fine.strides[2]
            rough = coarse.ctypes.data + i * coarse_bytes + here // 2
            if i < signed:
                unsigned_tile(  # type: ignore[name-defined] # noqa: F821
                    seen, x.strides[0], errors, e.strides[0], half, chunks, inverse, b1, b2, rate, epsilon,
                    weights.ctypes.data + at, first.ctypes.data + at, second.ctypes.data + at,
                    relative.ctypes.data + here, row_bytes, packed, rough, coarse_bytes,
                )  # fmt: skip
            else:
                signed_tile(  # type: ignore[name-defined] # noqa: F821
                    seen, x.strides[0], errors, e.strides[0], half, chunks, inverse, b1, b2, rate, epsilon,
                    weights.ctypes.data + at, first.ctypes.data + at, second.ctypes.data + at,
                    relative.ctypes.data + here, row_bytes, packed, rough, coarse_bytes,
                )  # fmt: skip
    configure(0, 0)  # type: ignore[name-defined] # noqa: F821


@lru_cache
def update_kernel(kind: str) -> Callable[..., None]:
    """`update(x, e, rows, inverse, b1, b2, rate, epsilon, weights, first, second, relative, fine, coarse, signed)`.

    Returns:
        A function compiled for one of `FORMS` with weights of 16 bits.  x, int16[groups, inputs, terms], and e, int16
        [groups, outputs, terms], hold activations and errors of `rows` pixels, in groups of as many as the instruction
        takes terms; weights and their moments are float32[inputs, outputs], inputs even; fine are the weights in 1/128,
        packed as by `pack`, coarse, int16[inputs, outputs], by `relative`, float32[outputs].

        With weights in halves, there are sixteen inputs or a multiple of it, of which those from `signed` on are signed
        codes; x is uint8[inputs, pixels], and e a row of bytes for each four pixels (`in_halves`), the upper ones in
        its second half, zero behind the last pixel up to a whole tile.
    """
    form = FORMS[kind]
    if form.halves:
        tiles = {
            f"{sign}_tile": matrix_tiles.gradient(form, name, _learn_four)
            for sign, name in (("unsigned", "tdpbusd"), ("signed", "tdpbssd"))
        }
        places = {"ROWS": form.rows, "LANES": form.rows * form.terms, "configure": matrix_tiles.configure()}
        return specialise(_matrix_update, f"update_{kind}", **places, **tiles)
    rows = form.rows // 2 * 2
    return specialise(
        _update, f"update_{kind}", BLOCK=rows, block_tile=_update_tile(form, rows), pair_tile=_update_tile(form, 2)
    )
