"""Compiled integer products: tiles of sums that stay in registers, and what becomes of them before they leave.

A tile is some rows of stored activations times a panel of packed weights.  Its sums are exact integers, so their order
does not matter; only the instruction depends on the processor (`PRODUCTS`).  What a layer makes of its sums, bytes or
changes of the residual stream, is made in the same registers: `layer_kernel`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import llvm_version_info

from pixcodec.exact import matrix_tiles
from pixcodec.exact.compiled import specialise
from pixcodec.exact.emit import (
    ALIGNMENT,
    F32,
    FLOAT32,
    I8,
    I16,
    I32,
    INTP,
    Value,
    Variable,
    aligned,
    constant,
    emitted,
    loop,
    processor_features,
    vector,
)

if TYPE_CHECKING:
    from collections.abc import Callable

STREAM = 32767  # limit of the residual stream and of logits
BYTE = 255
ERROR = 4096  # the error of a class that has all probability and did not come
ERROR_SHIFT = 8  # of an error carried back
FINE = 128.0  # parts of a weight
LARGEST = 127.0  # weight
FLUSH = 1e-20  # moments smaller than this become zero


@dataclass(frozen=True)
class ProductForm:
    """An instruction for products: int32 lanes, terms that it adds to a lane, type of a stored activation, its name.

    The name is LLVM's of a function; with constraints, those of inline assembly, it is the assembler's.
    """

    lanes: int
    terms: int
    stored: type
    name: str
    rows: int  # of a register tile
    vectors: int  # of a register tile
    constraints: str = ""

    @property
    def width(self) -> int:
        """Outputs of a panel."""
        return self.lanes * self.vectors

    @property
    def group(self) -> int:
        """Bytes of the terms of a lane."""
        return self.terms * int(np.dtype(self.stored).itemsize)

    @property
    def sums(self) -> ir.Type:
        """LLVM's type of a vector of sums."""
        return ir.VectorType(I32, self.lanes)

    @property
    def element(self) -> ir.Type:
        """LLVM's type of a stored activation."""
        return I8 if self.stored is np.uint8 else I16


PRODUCTS = {
    "amx": ProductForm(16, 4, np.uint8, "llvm.x86.tdpbusd", 16, 4),  # of whole tiles, see `matrix_tiles`
    "vnni512": ProductForm(16, 4, np.uint8, "llvm.x86.avx512.vpdpbusd.512", 6, 4),
    "vnni256": ProductForm(8, 4, np.uint8, "llvm.x86.avx512.vpdpbusd.256", 3, 4),
    "dot512": ProductForm(16, 2, np.int16, "vpdpwssd", 6, 4, "=v,0,v,v"),
    "dot256": ProductForm(8, 2, np.int16, "{vex} vpdpwssd", 3, 4, "=x,0,x,x"),
    "madd512": ProductForm(16, 2, np.int16, "llvm.x86.avx512.pmaddw.d.512", 6, 4),
    "madd256": ProductForm(8, 2, np.int16, "llvm.x86.avx2.pmadd.wd", 3, 4),
    "plain": ProductForm(16, 1, np.int16, "", 4, 4),
}


FEW, NARROW, WIDE = 16, 64, 80  # outputs are padded to the first, or to a multiple of one of the others
# Behind an instruction's name: panels of five vectors, or of sixteen outputs.  Rows of their tiles:
FIVE, SLIM = "x5", "x1"
_FIVES = {"amx": 16, "vnni512": 5, "vnni256": 2, "dot512": 5, "dot256": 2, "madd512": 4, "madd256": 2, "plain": 3}
_SLIM = {"amx": 16, "vnni512": 12, "vnni256": 6, "dot512": 12, "dot256": 6, "madd512": 12, "madd256": 6, "plain": 8}
FORMS = (
    PRODUCTS
    | {f"{kind}{FIVE}": replace(PRODUCTS[kind], rows=r, vectors=5) for kind, r in _FIVES.items()}
    | {f"{k}{SLIM}": replace(PRODUCTS[k], rows=r, vectors=FEW // PRODUCTS[k].lanes) for k, r in _SLIM.items()}
)


def columns(outputs: int) -> int:
    """How many outputs products of so many are padded to."""
    return FEW if outputs <= FEW else min(-(-outputs // unit) * unit for unit in (NARROW, WIDE))


def fitting(kind: str, outputs: int) -> str:
    """The name in `FORMS` of products with so many outputs by an instruction."""
    if outputs <= FEW:
        return f"{kind}{SLIM}"
    return kind if columns(outputs) % NARROW == 0 else f"{kind}{FIVE}"


def product_kind() -> str | None:
    """The best instruction that numba compiles for here; "plain" multiplies and adds vectors of int32 anywhere."""
    features = processor_features()
    if "avx512vnni" in features and llvm_version_info >= (22,):
        return "amx" if "amx-int8" in features else "vnni512"
    if "avxvnni" in features and llvm_version_info >= (22,):
        return "vnni256"
    if "avx512bw" in features:
        return "madd512"
    return "madd256" if "avx2" in features else "plain"


def wide_product_kind() -> str:
    """The best instruction here for operands of 16 bits."""
    return {"amx": "dot512", "vnni512": "dot512", "vnni256": "dot256"}.get(kind := product_kind() or "plain", kind)


Sums = list[list[Variable]]


def _multiply(form: ProductForm, total: Value, x: Value, w: Value) -> Value:
    if form.constraints:
        # Written out: LLVM makes two instructions of its own function where sums are waited for, and ours never are.
        return total.assembled(f"{form.name} $3, $2, $0", form.constraints, x, w)
    if form.terms == 4:
        return total.called(form.name, x, w)
    if form.terms == 2:
        return total + x.called(form.name, w, result=form.sums)
    return total + x.to(I32) * w.to(I32)


def accumulate(form: ProductForm, sums: Sums, x: tuple[Value, Any, Any], w: tuple[Value, Any], steps: Value) -> None:
    """Add products to a tile of sums [rows][vectors].

    Args:
        form: the instruction.
        sums: the tile.
        x: address of the activations, bytes from row to row and from group of terms to group.
        w: address of the weights, bytes from group to group.
        steps: how many groups.
    """
    (rows, row_bytes, step_bytes), (weights, weight_bytes) = x, w
    operand = ir.VectorType(form.element, form.terms * form.lanes)
    group = ir.IntType(8 * form.group)
    with loop(0, steps) as k:
        at, here = weights + k * weight_bytes, rows + k * step_bytes
        columns = [(at + form.group * form.lanes * j).load(operand) for j in range(form.vectors)]
        for r, row in enumerate(sums):
            terms = (here + row_bytes * r).load(group).splat(ir.VectorType(group, form.lanes)).bits(operand)
            for total, column in zip(row, columns, strict=True):
                total.set(_multiply(form, total.get(), terms, column))


def scaled(total: Value, scale: Value, low: int, high: int) -> Value:
    """int32: clamp(rint(total * scale), low, high), as `rounding.rescaled`."""
    return (total.to(F32) * scale).most(float(low)).least(float(high)).rounded()


def _each(form: ProductForm, sums: Sums) -> list[tuple[int, int, Value]]:
    """Row, first output and sums of each vector of a tile."""
    return [(r, form.lanes * j, total.get()) for r, row in enumerate(sums) for j, total in enumerate(row)]


def _of_outputs(form: ProductForm, base: Value, j: int) -> Value:
    """binary32 of the outputs from j on."""
    return (base + 4 * j).load(vector(F32, form.sums))


class _Finish:
    """What a layer makes of its sums: `_Finish.NAME(form, sums, out, out_bytes, scale, other, other_bytes, alpha)`.

    All but the first two are addresses, or bytes from row to row.
    """

    @staticmethod
    def sums(form: ProductForm, sums: Sums, out: Value, out_bytes: Value, *_: Value) -> None:
        """int32 as they are."""
        for r, j, total in _each(form, sums):
            (out + out_bytes * r + 4 * j).store(total)

    @staticmethod
    def bytes(form: ProductForm, sums: Sums, out: Value, out_bytes: Value, scale: Value, *_: Value) -> None:
        """Stored activations 0..255."""
        size = np.dtype(form.stored).itemsize
        for r, j, total in _each(form, sums):
            code = scaled(total, _of_outputs(form, scale, j), 0, BYTE)
            (out + out_bytes * r + size * j).store(code.to(form.element))

    @staticmethod
    def logits(form: ProductForm, sums: Sums, out: Value, out_bytes: Value, scale: Value, *_: Value) -> None:
        """int16."""
        for r, j, total in _each(form, sums):
            logit = scaled(total, _of_outputs(form, scale, j), -STREAM, STREAM)
            (out + out_bytes * r + 2 * j).store(logit.to(I16))

    @staticmethod
    def stream(
        form: ProductForm, sums: Sums, out: Value, out_bytes: Value, scale: Value, other: Value, other_bytes: Value,
        alpha: Value, *, before: bool = False,
    ) -> None:  # fmt: skip
        """The residual stream `other`, int16, and what it becomes in 8 bits by the scale at `alpha`."""
        size, factor = np.dtype(form.stored).itemsize, alpha.load(F32).splat(vector(F32, form.sums))
        for r, j, total in _each(form, sums):
            now = scaled(total, _of_outputs(form, scale, j), -STREAM, STREAM)
            place = other + other_bytes * r + 2 * j
            if before:
                now = (now + place.load(vector(I16, form.sums)).to(I32)).most(-STREAM).least(STREAM)
            place.store(now.to(I16))
            (out + out_bytes * r + size * j).store(scaled(now, factor, 0, BYTE).to(form.element))

    @staticmethod
    def added(form: ProductForm, sums: Sums, *rest: Value) -> None:
        """As `stream`, added to what it was before."""
        _Finish.stream(form, sums, *rest, before=True)

    @staticmethod
    def errors(
        form: ProductForm, sums: Sums, out: Value, out_bytes: Value, _: Value, other: Value, other_bytes: Value,
        __: Value,
    ) -> None:  # fmt: skip
        """Errors that are carried back to the activations `other`, int16, where the ReLU let them pass."""
        for r, j, total in _each(form, sums):
            passed = (other + other_bytes * r + 2 * j).load(vector(I16, form.sums)) > 0
            error = ((total + (1 << ERROR_SHIFT - 1)) >> ERROR_SHIFT).most(1 - ERROR).least(ERROR - 1)
            (out + out_bytes * r + 2 * j).store(error.to(I16).where(passed, 0))


def _tile(form: ProductForm, rows: int, finish: Callable[..., None]) -> Any:
    """Intrinsic: a tile of a layer, from addresses; taps is the address of those of the taps' first rows."""

    def emit(
        taps: Value, count: Value, offset: Value, row_bytes: Value, steps: Value, weights: Value, bias: Value,
        *rest: Value,
    ) -> None:  # fmt: skip
        start = [(bias + 4 * form.lanes * j).load(form.sums) for j in range(form.vectors)]
        sums = [[Variable(each) for each in start] for _ in range(rows)]
        step_bytes = form.group * form.width
        with loop(0, count) as t:
            x, w = (taps + t * 8).load(taps.type) + offset, weights + t * steps * step_bytes
            accumulate(form, sums, (x, row_bytes, form.group), (w, step_bytes), steps)
        finish(form, sums, *rest)

    return emitted([INTP] * 13, emit)


def _panel(  # type: ignore[no-untyped-def]
    places, taps, rows, row_bytes, steps, group_bytes, w, b, out, out_bytes, factor, other, other_bytes, alpha
):  # fmt: skip
    """A panel of outputs at `rows` lanes, from addresses; `places` is that of the taps' first rows."""
    m = 0
    while m < rows:
        if m + BLOCK <= rows:  # type: ignore[name-defined] # noqa: F821
            block_tile(  # type: ignore[name-defined] # noqa: F821
                places, taps, m * row_bytes, row_bytes, steps, w, b, out + m * out_bytes, out_bytes, factor,
                other + m * other_bytes, other_bytes, alpha,
            )  # fmt: skip
            m += BLOCK  # type: ignore[name-defined] # noqa: F821
        else:
            row_tile(  # type: ignore[name-defined] # noqa: F821
                places, taps, m * row_bytes, row_bytes, steps, w, b, out + m * out_bytes, out_bytes, factor,
                other + m * other_bytes, other_bytes, alpha,
            )  # fmt: skip
            m += 1


def _matrix_panel(  # type: ignore[no-untyped-def]
    places, taps, rows, row_bytes, steps, group_bytes, w, b, out, out_bytes, factor, other, other_bytes, alpha
):  # fmt: skip
    """The same by tiles of matrices, the last of which begins earlier, so that it is whole; few lanes by vectors."""
    depth = min(steps, ROWS)  # type: ignore[name-defined] # noqa: F821
    if rows < ROWS or steps % depth:  # type: ignore[name-defined] # noqa: F821
        few_lanes(  # type: ignore[name-defined] # noqa: F821
            places, taps, rows, row_bytes, steps, group_bytes, w, b, out, out_bytes, factor, other, other_bytes, alpha
        )
        return
    configure(depth)  # type: ignore[name-defined] # noqa: F821
    m = 0
    while m < rows:
        begin = min(m, rows - ROWS)  # type: ignore[name-defined] # noqa: F821
        matrix_tile(  # type: ignore[name-defined] # noqa: F821
            places, taps, begin * row_bytes, row_bytes, steps // depth, depth * group_bytes, w, b, m - begin,
            out + begin * out_bytes, out_bytes, factor, other + begin * other_bytes, other_bytes, alpha,
        )  # fmt: skip
        m = begin + ROWS  # type: ignore[name-defined] # noqa: F821
    configure(0)  # type: ignore[name-defined] # noqa: F821


def _layer(source, slots, starts, rows, weight, bias, out, first, scale, other, alpha):  # type: ignore[no-untyped-def]
    """A layer at `rows` lanes, panels of outputs at a time; see `layer_kernel`."""
    panels, taps, steps, width, _ = weight.shape
    row_bytes, out_bytes, other_bytes = source.strides[1], out.strides[0], other.strides[0]
    places = np.empty(taps, np.int64)
    for t in range(taps):
        places[t] = source.ctypes.data + slots[t] * source.strides[0] + starts[t] * row_bytes
    for p in range(panels):
        column = p * width
        panel(  # type: ignore[name-defined] # noqa: F821
            places.ctypes.data, taps, rows, row_bytes, steps, weight.strides[2],
            weight.ctypes.data + p * weight.strides[0], bias.ctypes.data + 4 * column,
            out.ctypes.data + first * out_bytes + column * out.itemsize, out_bytes, scale.ctypes.data + 4 * column,
            other.ctypes.data + column * other.itemsize, other_bytes, alpha.ctypes.data,
        )  # fmt: skip


def _panel_kernel(kind: str, finish: str) -> Callable[..., None]:
    """`_panel` or `_matrix_panel`."""
    form, make = FORMS[kind], getattr(_Finish, finish)
    if kind.startswith("amx"):
        few = _panel_kernel(kind.replace("amx", "vnni512"), finish)
        tiles = {"configure": matrix_tiles.configure(), "matrix_tile": matrix_tiles.tile(form, make)}
        return specialise(_matrix_panel, f"panel_{finish}_{kind}", ROWS=form.rows, few_lanes=few, **tiles)
    tiles = {"block_tile": _tile(form, form.rows, make), "row_tile": _tile(form, 1, make)}
    return specialise(_panel, f"panel_{finish}_{kind}", BLOCK=form.rows, **tiles)


@lru_cache
def layer_kernel(kind: str, finish: str) -> Callable[..., None]:
    """`layer(source, slots, starts, rows, weight, bias, out, first, scale, other, alpha)` by one of `FORMS`.

    out[first : first + rows] = finish(bias + sum over taps i of source[slots[i], starts[i] : starts[i] + rows] W[i])

    Args:
        kind: of the product.
        finish: what is made of the sums, see `_Finish`.

    Returns:
        A compiled function.  source is [depth, lanes, inputs or more], weight packed by `pack`, bias int32[outputs],
        scale float32[outputs], out and other [lanes, outputs or more], alpha float32[1]; outputs are whole panels.
    """
    return specialise(_layer, f"{finish}_{kind}", panel=_panel_kernel(kind, finish))


def _update_tile(form: ProductForm, rows: int) -> Any:
    """Intrinsic: gradients of some inputs and a panel of outputs, and their step of Adam (see `learn`)."""

    def emit(
        x: Value, x_step: Value, e: Value, e_step: Value, steps: Value, inverse: Value, b1: Value, b2: Value,
        rate: Value, epsilon: Value, weights: Value, first: Value, second: Value, relative: Value, row_bytes: Value,
        fine: Value, coarse: Value, coarse_bytes: Value,
    ) -> None:  # fmt: skip
        floats, size = vector(F32, form.sums), 2 * form.terms
        zero = Value(x.builder, constant(form.sums, 0))
        sums = [[Variable(zero) for _ in range(form.vectors)] for _ in range(rows)]
        for each in (weights, first, second):
            for r, k in np.ndindex(rows, 4 * form.width // ALIGNMENT):
                (each + row_bytes * r + ALIGNMENT * k).prefetch()
        accumulate(form, sums, (x, size, x_step), (e, e_step), steps)
        inverse, b1, b2, rate, epsilon = (each.splat(floats) for each in (inverse, b1, b2, rate, epsilon))
        for j in range(form.vectors):
            factor, rounded = _of_outputs(form, relative, form.lanes * j), []
            for r in range(rows):
                w, m, v = (each + row_bytes * r + 4 * form.lanes * j for each in (weights, first, second))
                g, before, squares = sums[r][j].get().to(F32) * inverse, m.load(floats), v.load(floats)
                mean = before + (g - before) * b1
                square = squares + (g * g - squares) * b2
                mean = mean.where(mean.called(f"llvm.fabs.v{form.lanes}f32") > FLUSH, 0.0)
                square = square.where(square > FLUSH, 0.0)
                m.store(mean)
                v.store(square)
                change = (rate * mean) / (square.called(f"llvm.sqrt.v{form.lanes}f32") + epsilon)
                weight = (w.load(floats) - change).most(-LARGEST).least(LARGEST)
                w.store(weight)
                rounded.append((weight * FINE).rounded().to(I16))
                (coarse + coarse_bytes * r + 2 * form.lanes * j).store((weight * factor).rounded().to(I16))
            for r in range(0, rows, form.terms):
                group = rounded[r]
                if form.terms == 2:
                    order = [place + k for place in range(form.lanes) for k in (0, form.lanes)]
                    group = group.shuffled(rounded[r + 1], order)
                (fine + (r // form.terms * form.width + form.lanes * j) * size).store(group)

    return emitted([*[INTP] * 5, *[FLOAT32] * 5, *[INTP] * 8], emit)


def _update(  # type: ignore[no-untyped-def]
    x, e, rows, inverse, b1, b2, rate, epsilon, weights, first, second, relative, fine, coarse
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


@lru_cache
def update_kernel(kind: str) -> Callable[..., None]:
    """`update(x, e, rows, inverse, b1, b2, rate, epsilon, weights, first, second, relative, fine, coarse)`.

    Returns:
        A function compiled for one of `FORMS` of 16 bits.  x, int16[groups, inputs, terms], and e, int16[groups,
        outputs, terms], hold activations and errors of `rows` pixels, in groups of as many as the instruction takes
        terms; weights and their moments are float32[inputs, outputs], inputs even; fine are the weights in 1/128,
        packed as by `pack`, coarse, int16[inputs, outputs], by `relative`, float32[outputs].
    """
    form = FORMS[kind]
    rows = form.rows // 2 * 2
    return specialise(
        _update, f"update_{kind}", BLOCK=rows, block_tile=_update_tile(form, rows), pair_tile=_update_tile(form, 2)
    )


def pack(form: ProductForm, weight: np.ndarray) -> np.ndarray:
    """int8[taps, inputs, outputs] in whole panels and groups: [panels, taps, groups, outputs of a panel, terms]."""
    taps, inputs, outputs = weight.shape
    grouped = weight.reshape(taps, inputs // form.terms, form.terms, outputs // form.width, form.width)
    stored = np.int8 if form.stored is np.uint8 else np.int16
    packed = aligned((outputs // form.width, taps, inputs // form.terms, form.width, form.terms), stored)
    packed[...] = grouped.transpose(3, 0, 1, 4, 2)
    return packed
