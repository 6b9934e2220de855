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
    F32,
    I8,
    I16,
    I32,
    INTP,
    Value,
    Variable,
    aligned,
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


@dataclass(frozen=True)
class ProductForm:
    """An instruction for products: int32 lanes, terms that it adds to a lane, type of a stored activation, its name.

    The name is LLVM's of a function; with constraints, those of inline assembly, it is the assembler's.  Weights of 16
    bits may be in two halves: of a group of terms, all lower bytes and behind them the upper ones, rounded.
    """

    lanes: int
    terms: int
    stored: type
    name: str
    rows: int  # of a register tile
    vectors: int  # of a register tile
    constraints: str = ""
    halves: bool = False

    @property
    def width(self) -> int:
        """Outputs of a panel."""
        return self.lanes * self.vectors

    @property
    def group(self) -> int:
        """Bytes of the terms of a lane."""
        return self.terms * int(np.dtype(self.stored).itemsize)

    @property
    def group_bytes(self) -> int:
        """Bytes of a panel's weights of a group of terms."""
        return self.group * self.width * (1 + self.halves)

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
    "amx16": ProductForm(16, 4, np.uint8, "llvm.x86.tdpbusd", 16, 2, halves=True),  # inputs in whole tiles
    "vnni512": ProductForm(16, 4, np.uint8, "llvm.x86.avx512.vpdpbusd.512", 6, 4),
    "vnni256": ProductForm(8, 4, np.uint8, "llvm.x86.avx512.vpdpbusd.256", 3, 4),
    "dot512": ProductForm(16, 2, np.int16, "vpdpwssd", 6, 4, "=v,0,v,v"),
    "dot256": ProductForm(8, 2, np.int16, "{vex} vpdpwssd", 3, 4, "=x,0,x,x"),
    "madd512": ProductForm(16, 2, np.int16, "llvm.x86.avx512.pmaddw.d.512", 6, 4),
    "madd256": ProductForm(8, 2, np.int16, "llvm.x86.avx2.pmadd.wd", 3, 4),
    "plain": ProductForm(16, 1, np.int16, "", 4, 4),
}


FEW, NARROW, WIDE = 16, 64, 80  # outputs are padded to the first, or to a multiple of one of the others
# Behind an instruction's name: panels of five vectors (a fifth of it in halves), or of sixteen outputs.  Rows of their
# tiles:
FIVE, SLIM = "x5", "x1"
_FIVES = {"amx": 16, "vnni512": 5, "vnni256": 2, "dot512": 5, "dot256": 2, "madd512": 4, "madd256": 2, "plain": 3}
_SLIM = {
    "amx": 16,
    "amx16": 16,
    "vnni512": 12,
    "vnni256": 6,
    "dot512": 12,
    "dot256": 6,
    "madd512": 12,
    "madd256": 6,
    "plain": 8,
}
FORMS = (
    PRODUCTS
    | {f"{kind}{FIVE}": replace(PRODUCTS[kind], rows=r, vectors=5) for kind, r in _FIVES.items()}
    | {f"amx16{FIVE}": replace(PRODUCTS["amx16"], vectors=1)}
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
    wide = {"amx": "amx16", "vnni512": "dot512", "vnni256": "dot256"}
    return wide.get(kind := product_kind() or "plain", kind)


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


def of_outputs(form: ProductForm, base: Value, j: int) -> Value:
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
            code = scaled(total, of_outputs(form, scale, j), 0, BYTE)
            (out + out_bytes * r + size * j).store(code.to(form.element))

    @staticmethod
    def logits(form: ProductForm, sums: Sums, out: Value, out_bytes: Value, scale: Value, *_: Value) -> None:
        """int16."""
        for r, j, total in _each(form, sums):
            logit = scaled(total, of_outputs(form, scale, j), -STREAM, STREAM)
            (out + out_bytes * r + 2 * j).store(logit.to(I16))

    @staticmethod
    def stream(
        form: ProductForm, sums: Sums, out: Value, out_bytes: Value, scale: Value, other: Value, other_bytes: Value,
        alpha: Value, *, before: bool = False,
    ) -> None:  # fmt: skip
        """The residual stream `other`, int16, and what it becomes in 8 bits by the scale at `alpha`."""
        size, factor = np.dtype(form.stored).itemsize, alpha.load(F32).splat(vector(F32, form.sums))
        for r, j, total in _each(form, sums):
            now = scaled(total, of_outputs(form, scale, j), -STREAM, STREAM)
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
        __: Value, *, kind: ir.Type = I16,
    ) -> None:  # fmt: skip
        """Errors that are carried back to the activations `other`, of a type, where the ReLU let them pass."""
        for r, j, total in _each(form, sums):
            activation = (other + other_bytes * r + kind.width // 8 * j).load(vector(kind, form.sums))
            error = ((total + (1 << ERROR_SHIFT - 1)) >> ERROR_SHIFT).most(1 - ERROR).least(ERROR - 1)
            stopped = activation.equals(0)
            (out + out_bytes * r + 2 * j).store(error.of(0).where(stopped, error).to(I16))

    @staticmethod
    def errors_of_bytes(form: ProductForm, sums: Sums, *rest: Value) -> None:
        """As `errors`, to activations that are bytes."""
        _Finish.errors(form, sums, *rest, kind=I8)


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
    whole_panel(  # type: ignore[name-defined] # noqa: F821
        places, taps, rows, row_bytes, steps, group_bytes, w, b, out, out_bytes, factor, other, other_bytes, alpha
    )


def _whole_panel(  # type: ignore[no-untyped-def]
    places, taps, rows, row_bytes, steps, group_bytes, w, b, out, out_bytes, factor, other, other_bytes, alpha
):  # fmt: skip
    """The same of inputs that are whole tiles, of few lanes by tiles of as many."""
    depth, lanes = min(steps, ROWS), min(rows, ROWS)  # type: ignore[name-defined] # noqa: F821
    configure(depth, lanes)  # type: ignore[name-defined] # noqa: F821
    m = 0
    while m < rows:
        begin = min(m, rows - lanes)
        matrix_tile(  # type: ignore[name-defined] # noqa: F821
            places, taps, begin * row_bytes, row_bytes, steps // depth, depth * group_bytes, w, b, m - begin, lanes,
            out + begin * out_bytes, out_bytes, factor, other + begin * other_bytes, other_bytes, alpha,
        )  # fmt: skip
        m = begin + lanes
    configure(0, 0)  # type: ignore[name-defined] # noqa: F821


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


def _panel_kernel(kind: str, finish: str, unsigned: int | None) -> Callable[..., None]:
    """`_panel`, or by tiles of matrices."""
    form, make, name = FORMS[kind], getattr(_Finish, finish), f"panel_{finish}_{kind}"
    if not kind.startswith("amx"):
        tiles = {"block_tile": _tile(form, form.rows, make), "row_tile": _tile(form, 1, make)}
        return specialise(_panel, name, BLOCK=form.rows, **tiles)
    name = f"{name}_{unsigned}" if unsigned is not None else name
    tiles = {"configure": matrix_tiles.configure(), "matrix_tile": matrix_tiles.tile(form, make, unsigned)}
    whole = specialise(_whole_panel, f"whole_{name}", ROWS=form.rows, **tiles)
    if form.halves:
        return whole
    few = _panel_kernel(kind.replace("amx", "vnni512"), finish, None)
    return specialise(_matrix_panel, name, ROWS=form.rows, few_lanes=few, whole_panel=whole)


@lru_cache
def layer_kernel(kind: str, finish: str, unsigned: int | None = None) -> Callable[..., None]:
    """`layer(source, slots, starts, rows, weight, bias, out, first, scale, other, alpha)` by one of `FORMS`.

    out[first : first + rows] = finish(bias + sum over taps i of source[slots[i], starts[i] : starts[i] + rows] W[i])

    Args:
        kind: of the product.
        finish: what is made of the sums, see `_Finish`.
        unsigned: of forms with weights in halves: so many whole tiles of inputs are codes from 0, those behind them
            signed ones; by default there are none of these.

    Returns:
        A compiled function.  source is [depth, lanes, inputs or more], weight packed by `pack`, bias int32[outputs],
        scale float32[outputs], out and other [lanes, outputs or more], alpha float32[1]; outputs are whole panels.
    """
    name = f"{finish}_{kind}" if unsigned is None else f"{finish}_{kind}_{unsigned}"
    return specialise(_layer, name, panel=_panel_kernel(kind, finish, unsigned))


def in_halves(numbers: list[Value]) -> tuple[Value, Value]:
    """Words of four numbers' lower and upper bytes: a number is 256 times its upper one and its lower one, signed."""
    bytes_of = numbers, [(each + 128) >> 8 for each in numbers]
    low, high = ([(byte & 255) << 8 * k for k, byte in enumerate(each)] for each in bytes_of)
    return (low[0] | low[1]) | (low[2] | low[3]), (high[0] | high[1]) | (high[2] | high[3])


def pack(form: ProductForm, weight: np.ndarray) -> np.ndarray:
    """Integers [taps, inputs, outputs] in whole panels and groups: [panels, taps, groups, outputs of a panel, terms].

    With weights in halves a group's bytes are in another order (`in_halves`).
    """
    taps, inputs, outputs = weight.shape
    grouped = weight.reshape(taps, inputs // form.terms, form.terms, outputs // form.width, form.width)
    grouped = grouped.transpose(3, 0, 1, 4, 2)
    stored = np.int8 if form.stored is np.uint8 and not form.halves else np.int16
    packed = aligned(grouped.shape, stored)
    if form.halves:
        groups = packed.view(np.int8).reshape(*grouped.shape[:3], 2, *grouped.shape[3:])
        groups[..., 0, :, :] = grouped & 255
        groups[..., 1, :, :] = (grouped + 128) >> 8
    else:
        packed[...] = grouped
    return packed
