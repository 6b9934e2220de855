"""Products by x86's tiles of matrices (AMX): sixteen rows of activations times sixteen outputs in one instruction.

A tile is a register of sixteen rows of 64 bytes.  One holds 64 of a tap's inputs of each of sixteen lanes, as they lie
in memory; one the weights of these inputs and of sixteen outputs, packed as for vectors (`products.pack`); and each of
the others sixteen outputs' sums, int32.  Sums leave through memory; what a layer makes of them is as with vectors.

Weights of 16 bits (`ProductForm.halves`) are 256 times a signed byte plus another one, each of which has its sums.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from pixcodec.exact.emit import (
    ALIGNMENT,
    FLOAT32,
    I8,
    I16,
    I64,
    INTP,
    Value,
    Variable,
    constant,
    emitted,
    loop,
    vector_function,
)

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
    """Intrinsic: make tiles ready for so many groups of four inputs and so many lanes, at most `ROWS` each.

    With no groups, leave them.
    """

    def emit(steps: Value, lanes: Value) -> None:
        b = steps.builder
        with b.if_else(b.icmp_signed("==", steps.value, constant(steps.type, 0))) as (end, begin):
            with end:
                _call(b, "tilerelease")
            with begin:
                at = _room(steps, ROW_BYTES)
                at.store(Value(b, constant(ir.VectorType(I8, ROW_BYTES), 0)))
                at.store(Value(b, I8(PALETTE)))
                for k in range(TILES):
                    columns = (steps * 4).to(I16) if k == ACTIVATIONS else Value(b, I16(ROW_BYTES))
                    (at + (_COLUMN_BYTES + 2 * k)).store(columns)
                    (at + (_ROWS + k)).store(steps.to(I8) if k in WEIGHTS else lanes.to(I8))
                _call(b, "ldtilecfg", _pointer(at))

    return emitted([INTP] * 2, emit)


def tile(form: ProductForm, finish: Callable[..., None], unsigned: int | None = None) -> Lazy:
    """Intrinsic: as `products._tile`, of as many lanes as tiles are ready for, of which those from `skip` on count.

    Each tap has `chunks` times the groups of inputs that tiles are ready for (`configure`), so many bytes of weights.
    Activations are signed from chunk number `unsigned` on, if it is given.
    """

    def emit(
        taps: Value, count: Value, offset: Value, row_bytes: Value, chunks: Value, chunk_bytes: Value, weights: Value,
        bias: Value, skip: Value, lanes: Value, out: Value, out_bytes: Value, scale: Value, other: Value,
        other_bytes: Value, alpha: Value,
    ) -> None:  # fmt: skip
        b = taps.builder
        for j in range(form.vectors):
            _call(b, "tileloadd64", j, _pointer(bias + ROW_BYTES * j), taps.of(0))
            if form.halves:
                _call(b, "tilezero", form.vectors + j)
        bound = chunks if unsigned is None else chunks.least(unsigned)
        with loop(0, count) as t:
            x, w = (taps + t * 8).load(taps.type) + offset, weights + t * chunks * chunk_bytes
            for begin, end, name in ((0, bound, "tdpbusd"), (bound, chunks, "tdpbssd"))[: 1 + (unsigned is not None)]:
                with loop(begin, end) as c:
                    _call(b, "tileloadd64", ACTIVATIONS, _pointer(x + c * ROW_BYTES), row_bytes)
                    _multiply(form, name, w + c * chunk_bytes, taps.of(form.group_bytes), form.group * form.width)
        sums = _Sums(form, taps)
        with loop(skip, lanes) as r:
            row = [Variable(sums.row(r, j)) for j in range(form.vectors)]
            finish(form, [row], out + r * out_bytes, out_bytes, scale, other + r * other_bytes, other_bytes, alpha)

    return emitted([INTP] * 16, emit)


def gradient(form: ProductForm, product: str, finish: Callable[..., None]) -> Lazy:
    """Intrinsic: of sixteen inputs and a panel of outputs, sums over lanes of activations times errors.

    Activations lie at `x`, a row of bytes an input; errors at `e`, a row for each four lanes, of words of their lower
    bytes and, `half` bytes behind, of their upper ones.  There are `chunks` times 64 lanes.  Of four inputs at a time
    `finish(form, sums, input, *rest)` gets rows of vectors and the number of the first.
    """

    def emit(x: Value, x_bytes: Value, e: Value, e_bytes: Value, half: Value, chunks: Value, *rest: Value) -> None:
        b = x.builder
        for j in range(2 * form.vectors):
            _call(b, "tilezero", j)
        with loop(0, chunks) as c:
            _call(b, "tileloadd64", ACTIVATIONS, _pointer(x + c * ROW_BYTES), x_bytes)
            _multiply(form, product, e + c * ROWS * e_bytes, e_bytes, half)
        sums = _Sums(form, x)
        with loop(0, x.of(ROWS), form.terms) as r:
            rows = [[sums.row(r + k, j) for j in range(form.vectors)] for k in range(form.terms)]
            finish(form, rows, r, *rest)

    return emitted([*[INTP] * 6, *[FLOAT32] * 5, *[INTP] * 8], emit)


def _multiply(form: ProductForm, name: str, weights: Value, row_bytes: Value, half: Value | int) -> None:
    """Add the products of the activations' tile and the weights at an address, whose upper bytes are behind."""
    b, parts = weights.builder, 1 + form.halves
    for number in range(parts * form.vectors):
        part, j = divmod(number, form.vectors)
        own = WEIGHTS[number % len(WEIGHTS)]
        place = weights + ROW_BYTES * j
        _call(b, "tileloadd64", own, _pointer(place + half if part else place), row_bytes)
        _call(b, name, number, ACTIVATIONS, own)


class _Sums:
    """Tiles of sums in memory."""

    def __init__(self, form: ProductForm, like: Value) -> None:
        self.form, self.parts = form, 1 + form.halves
        self.place = _room(like, 4 * ROWS * form.width * self.parts)
        for number in range(self.parts * form.vectors):
            at, stride = _pointer(self.place + ROW_BYTES * number), like.of(4 * form.width * self.parts)
            _call(like.builder, "tilestored64", number, at, stride)

    def row(self, r: Value, j: int) -> Value:
        """A vector of sums."""
        form = self.form
        place = self.place + (r * (form.width * self.parts) + form.lanes * j) * 4
        low = place.load(form.sums)
        return low + ((place + 4 * form.width).load(form.sums) << 8) if form.halves else low
