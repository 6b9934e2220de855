"""Products by x86's tiles of matrices (AMX): sixteen rows of activations times sixteen outputs in one instruction.

A tile is a register of sixteen rows of 64 bytes.  One holds 64 of a tap's inputs of each of sixteen lanes, as they lie
in memory; one the weights of these inputs and of sixteen outputs, packed as for vectors (`products.pack`); and each of
the others sixteen outputs' sums, int32.  Sums leave through memory; what a layer makes of them is as with vectors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from pixcodec.exact.emit import ALIGNMENT, I8, I16, I64, INTP, Value, Variable, constant, emitted, loop, vector_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.exact.compiled import Lazy
    from pixcodec.exact.products import ProductForm

ROWS, ROW_BYTES = 16, 64  # of a tile
TILES = 8
ACTIVATIONS, WEIGHTS = 5, (6, 7)  # tiles; those before are sums
PALETTE = 1
_COLUMN_BYTES, _ROWS = 16, 48  # places in a configuration


def _room(value: Value, size: int) -> Value:
    """Address of so many bytes on the stack, at a cache line."""
    from numba.core import cgutils

    b = value.builder
    place = cgutils.alloca_once(b, ir.ArrayType(I8, size + ALIGNMENT))
    return (Value(b, b.ptrtoint(place, I64)) + (ALIGNMENT - 1)) & -ALIGNMENT


def _call(builder: ir.IRBuilder, name: str, *arguments: Value | int) -> None:
    """An instruction of tiles: their numbers, addresses, bytes from row to row."""
    values = [I8(each) if isinstance(each, int) else each.value for each in arguments]
    function = vector_function(builder, f"llvm.x86.{name}", ir.VoidType(), [each.type for each in values])
    builder.call(function, values)


def _pointer(address: Value) -> Value:
    return Value(address.builder, address.builder.inttoptr(address.value, I8.as_pointer()))


def configure() -> Lazy:
    """Intrinsic: make tiles ready for so many groups of four inputs, at most `ROWS`; with 0, leave them."""

    def emit(steps: Value) -> None:
        b = steps.builder
        with b.if_else(b.icmp_signed("==", steps.value, constant(steps.type, 0))) as (end, begin):
            with end:
                _call(b, "tilerelease")
            with begin:
                at, whole = _room(steps, ROW_BYTES), Value(b, I8(ROWS))
                at.store(Value(b, constant(ir.VectorType(I8, ROW_BYTES), 0)))
                at.store(Value(b, I8(PALETTE)))
                for k in range(TILES):
                    columns = (steps * 4).to(I16) if k == ACTIVATIONS else Value(b, I16(ROW_BYTES))
                    (at + (_COLUMN_BYTES + 2 * k)).store(columns)
                    (at + (_ROWS + k)).store(steps.to(I8) if k in WEIGHTS else whole)
                _call(b, "ldtilecfg", _pointer(at))

    return emitted([INTP], emit)


def tile(form: ProductForm, finish: Callable[..., None]) -> Lazy:
    """Intrinsic: as `products._tile`, of sixteen lanes, of which those from `skip` on are finished.

    Each tap has `chunks` times the groups of inputs that tiles are ready for (`configure`), so many bytes of weights.
    """

    def emit(
        taps: Value, count: Value, offset: Value, row_bytes: Value, chunks: Value, chunk_bytes: Value, weights: Value,
        bias: Value, skip: Value, out: Value, out_bytes: Value, scale: Value, other: Value, other_bytes: Value,
        alpha: Value,
    ) -> None:  # fmt: skip
        b, stride = taps.builder, taps.of(form.group * form.width)
        for j in range(form.vectors):
            _call(b, "tileloadd64", j, _pointer(bias + ROW_BYTES * j), taps.of(0))
        with loop(0, count) as t:
            x, w = (taps + t * 8).load(taps.type) + offset, weights + t * chunks * chunk_bytes
            with loop(0, chunks) as c:
                _call(b, "tileloadd64", ACTIVATIONS, _pointer(x + c * ROW_BYTES), row_bytes)
                for j in range(form.vectors):
                    own = WEIGHTS[j % len(WEIGHTS)]
                    _call(b, "tileloadd64", own, _pointer(w + c * chunk_bytes + ROW_BYTES * j), stride)
                    _call(b, "tdpbusd", j, ACTIVATIONS, own)
        sums = _room(taps, 4 * ROWS * form.width)
        for j in range(form.vectors):
            _call(b, "tilestored64", j, _pointer(sums + ROW_BYTES * j), taps.of(4 * form.width))
        with loop(skip, taps.of(ROWS)) as r:
            places = [sums + (r * form.width + form.lanes * j) * 4 for j in range(form.vectors)]
            row = [Variable(place.load(form.sums)) for place in places]
            finish(form, [row], out + r * out_bytes, out_bytes, scale, other + r * other_bytes, other_bytes, alpha)

    return emitted([INTP] * 15, emit)
