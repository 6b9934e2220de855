"""numba's side of `vectors`: types of vectors, Python's operators on them, and the instructions."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from pixcodec.exact.emit import F32, I8, I32, I64, constant, splat, vector_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Vector(types.Type):  # type: ignore[misc]
    """The type of `count` integers of `bits` bits, which right shifts take as signed or not."""

    def __init__(self, bits: int, count: int, *, signed: bool) -> None:
        self.signed = signed
        self.ir = ir.VectorType(ir.IntType(bits), count)
        super().__init__(name=f"{'int' if signed else 'uint'}{bits}x{count}")


@register_model(Vector)
class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.ir)


INT32X16, INT32X8 = Vector(32, 16, signed=True), Vector(32, 8, signed=True)
UINT64X8, UINT8X64 = Vector(64, 8, signed=False), Vector(8, 64, signed=False)
_MASKS = {count: Vector(1, count, signed=False) for count in (8, 16, 64)}


def _fitting(builder: ir.IRBuilder, value: ir.Value, kind: Any, vector: ir.VectorType) -> ir.Value:
    """A vector as it is; a number, widened by its own sign or cut, in every element."""
    if isinstance(kind, Vector):
        return value
    width = vector.element.width
    if value.type.width > width:
        value = builder.trunc(value, vector.element)
    elif value.type.width < width:
        value = (builder.sext if kind.signed else builder.zext)(value, vector.element)
    return splat(builder, value, vector)


def _define(function: Any, result: Callable[[Vector], Vector], emit: Callable[..., ir.Value]) -> None:
    """Let an operator of Python take vectors, or a vector and a number; emit(builder, vector's type, a, b)."""

    @infer_global(function)
    class _Template(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, _keywords: Any) -> Any:
            vectors = [each for each in args if isinstance(each, Vector)]
            if not vectors or any(each != vectors[0] for each in vectors):
                return None
            return signature(result(vectors[0]), *args)

    def lower(_context: Any, builder: ir.IRBuilder, own: Any, args: Any) -> ir.Value:
        kind = next(each for each in own.args if isinstance(each, Vector))
        both = (_fitting(builder, value, each, kind.ir) for value, each in zip(args, own.args, strict=True))
        return emit(builder, kind, *both)

    for pair in ((Vector, Vector), (Vector, types.Integer), (types.Integer, Vector)):
        lower_builtin(function, *pair)(lower)


def _shift_right(builder: ir.IRBuilder, kind: Vector, a: ir.Value, b: ir.Value) -> ir.Value:
    return (builder.ashr if kind.signed else builder.lshr)(a, b)


def _compare(sign: str) -> Callable[..., ir.Value]:
    def emit(builder: ir.IRBuilder, kind: Vector, a: ir.Value, b: ir.Value) -> ir.Value:
        return (builder.icmp_signed if kind.signed else builder.icmp_unsigned)(sign, a, b)

    return emit


def _plain(name: str) -> Callable[..., ir.Value]:
    def emit(builder: ir.IRBuilder, _kind: Vector, a: ir.Value, b: ir.Value) -> ir.Value:
        return getattr(builder, name)(a, b)

    return emit


for _operators, _name in (
    ((operator.add, operator.iadd), "add"), ((operator.sub, operator.isub), "sub"),
    ((operator.mul, operator.imul), "mul"), ((operator.and_, operator.iand), "and_"),
    ((operator.or_, operator.ior), "or_"), ((operator.xor, operator.ixor), "xor"),
    ((operator.lshift, operator.ilshift), "shl"),
):  # fmt: skip
    for _operator in _operators:
        _define(_operator, lambda kind: kind, _plain(_name))
for _operator in (operator.rshift, operator.irshift):
    _define(_operator, lambda kind: kind, _shift_right)
for _operator, _name in ((operator.eq, "=="), (operator.ne, "!="), (operator.lt, "<"), (operator.gt, ">")):
    _define(_operator, lambda kind: _MASKS[kind.ir.count], _compare(_name))


def _pointer(builder: ir.IRBuilder, address: ir.Value, kind: ir.Type) -> ir.Value:
    return builder.inttoptr(address, kind.as_pointer())


def _loader(kind: Vector, size: int) -> Any:
    """Intrinsic: the vector at an address that `size` divides."""

    @intrinsic
    def load(_context: Any, address: Any) -> Any:
        def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
            return builder.load(_pointer(builder, args[0], kind.ir), align=size)

        return kind(types.intp), emit

    return load


load_int32x16, load_int32x8, load_uint64x8 = _loader(INT32X16, 4), _loader(INT32X8, 4), _loader(UINT64X8, 8)


@intrinsic
def store(_context: Any, address: Any, vector: Any) -> Any:
    """Write a vector to an address that its elements' size divides."""

    def emit(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        builder.store(args[1], _pointer(builder, args[0], vector.ir), align=vector.ir.element.width // 8)
        return context.get_dummy_value()

    return types.void(types.intp, vector), emit


@intrinsic
def prefetch(_context: Any, address: Any) -> Any:
    """Have the line of the cache at an address fetched: it will be read and written soon."""

    def emit(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        byte = I8.as_pointer()
        fetch = vector_function(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, I32, I32, I32])
        builder.call(fetch, [_pointer(builder, args[0], I8), I32(1), I32(3), I32(1)])
        return context.get_dummy_value()

    return types.void(types.intp), emit


@intrinsic
def where(_context: Any, mask: Any, first: Any, second: Any) -> Any:
    """Elements of `first` where the mask is set, else of `second`; one of them may be a number."""
    kind = first if isinstance(first, Vector) else second

    def emit(_context: Any, builder: ir.IRBuilder, own: Any, args: Any) -> ir.Value:
        a, b = (_fitting(builder, value, each, kind.ir) for value, each in zip(args[1:], own.args[1:], strict=True))
        return builder.select(args[0], a, b)

    return kind(mask, first, second), emit


def _masker(count: int) -> Any:
    """Intrinsic: the mask whose element i is bit i of an integer."""

    @intrinsic
    def mask(_context: Any, bits: Any) -> Any:
        def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
            return builder.bitcast(builder.trunc(args[0], ir.IntType(count)), _MASKS[count].ir)

        return _MASKS[count](types.int64), emit

    return mask


mask8, mask16 = _masker(8), _masker(16)


@intrinsic
def how_many(_context: Any, mask: Any) -> Any:
    """The number of elements that are set in a mask of eight, int64."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        count = vector_function(builder, "llvm.ctpop.i8", I8, [I8])
        return builder.zext(builder.call(count, [builder.bitcast(args[0], I8)]), I64)

    return types.int64(_MASKS[8]), emit


def _converter(result: Vector, given: Vector, convert: Callable[[ir.IRBuilder, ir.Value], ir.Value]) -> Any:
    """Intrinsic: one vector to another."""

    @intrinsic
    def converted(_context: Any, vector: Any) -> Any:
        def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
            return convert(builder, args[0])

        return result(given), emit

    return converted


def _float_bits(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    return builder.bitcast(builder.sitofp(vector, ir.VectorType(F32, 16)), INT32X16.ir)


as_bytes = _converter(UINT8X64, UINT64X8, lambda builder, vector: builder.bitcast(vector, UINT8X64.ir))
as_words = _converter(UINT64X8, UINT8X64, lambda builder, vector: builder.bitcast(vector, UINT64X8.ir))
lower_halves = _converter(INT32X8, UINT64X8, lambda builder, vector: builder.trunc(vector, INT32X8.ir))
flags = _converter(INT32X8, _MASKS[8], lambda builder, mask: builder.zext(mask, INT32X8.ir))  # 1 where set, else 0
float_bits = _converter(INT32X16, INT32X16, _float_bits)  # of the nearest binary32: exact below 2^24


def _joined(builder: ir.IRBuilder, first: ir.Value, second: ir.Value) -> ir.Value:
    return builder.shuffle_vector(first, second, ir.Constant(INT32X16.ir, [I32(i) for i in range(16)]))


@intrinsic
def joined(_context: Any, first: Any, second: Any) -> Any:
    """Two vectors of eight as one of sixteen."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        return _joined(builder, *args)

    return INT32X16(INT32X8, INT32X8), emit


@intrinsic
def three(_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Three numbers and five zeros."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        vector = constant(INT32X8.ir, 0)
        for i, value in enumerate(args):
            vector = builder.insert_element(vector, builder.trunc(value, I32), I32(i))
        return vector

    return INT32X8(*[types.int64] * 3), emit


@intrinsic
def element(_context: Any, vector: Any, place: Any) -> Any:
    """An element, int64."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        return builder.sext(builder.extract_element(*args), I64)

    return types.int64(vector, types.int64), emit


@intrinsic
def spread(_context: Any, value: Any) -> Any:
    """A number in sixteen elements."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        return _fitting(builder, args[0], value, INT32X16.ir)

    return INT32X16(value), emit


@intrinsic
def product(_context: Any, first: Any, second: Any, shift: Any) -> Any:
    """(first * second) >> shift, the product of 64 bits."""
    wide = ir.VectorType(I64, first.ir.count)

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        a, b = (builder.sext(value, wide) for value in args[:2])
        moved = builder.ashr(builder.mul(a, b), splat(builder, args[2], wide))
        return builder.trunc(moved, first.ir)

    return first(first, second, types.int64), emit


@intrinsic
def dot(_context: Any, first: Any, second: Any) -> Any:
    """The sum of products, int64."""
    wide = ir.VectorType(I64, 16)

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        a, b = (builder.sext(value, wide) for value in args)
        total = vector_function(builder, "llvm.vector.reduce.add.v16i64", I64, [wide])
        return builder.call(total, [builder.mul(a, b)])

    return types.int64(INT32X16, INT32X16), emit


def _quotients(builder: ir.IRBuilder, dividends: ir.Value, divisors: ir.Value) -> ir.Value:
    """In binary32, of integers below 2^17.

    One that is no integer, nor a power of two, is at least 1 / divisor away from the next, and rounding moves it by
    2^-24 of itself: it stays on its side.
    """
    floats = ir.VectorType(F32, dividends.type.count)
    return builder.fdiv(builder.sitofp(dividends, floats), builder.sitofp(divisors, floats))


@intrinsic
def reciprocals(_context: Any, counts: Any) -> Any:
    """131072 div (2 n + 3) of numbers n from 0 to 1023."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        two, three, dividend = (constant(counts.ir, n) for n in (2, 3, 131072))
        divisor = builder.add(builder.mul(args[0], two), three)
        return builder.fptosi(_quotients(builder, dividend, divisor), counts.ir)

    return counts(counts), emit


@intrinsic
def octaves(_context: Any, larger: Any, smaller: Any) -> Any:
    """floor(log2(larger / smaller)) of numbers from 1 to 2^17, the exponents of their quotients."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        exponents = builder.lshr(builder.bitcast(_quotients(builder, *args), larger.ir), constant(larger.ir, 23))
        return builder.sub(exponents, constant(larger.ir, 127))

    return larger(larger, smaller), emit


def _each(builder: ir.IRBuilder, vector: ir.Value, scratch: ir.Value, count: int) -> Iterator[ir.Value]:
    """The first elements, by way of memory: the processor takes longer to bring one after the other out of a register.

    The loads are volatile, or LLVM would do just that.
    """
    builder.store(vector, _pointer(builder, scratch, vector.type), align=4)
    for i in range(count):
        load = builder.load(_pointer(builder, builder.add(scratch, I64(4 * i)), I32), align=4)
        load.volatile = True
        yield load


def _place(builder: ir.IRBuilder, address: ir.Value, place: ir.Value, kind: ir.Type) -> ir.Value:
    return _pointer(builder, builder.add(address, builder.shl(builder.zext(place, I64), I64(2))), kind)


def pairs_of(count: int) -> Any:
    """Intrinsic: elements of the int32 array at an address, and those behind them, at the first `count` places.

    What is not looked up is 0.  `scratch` is the address of 64 bytes.
    """

    @intrinsic
    def look_up(_context: Any, address: Any, places: Any, scratch: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, own: Any, args: Any) -> ir.Value:
            halves = [constant(UINT64X8.ir, 0)] * 2
            for i, place in enumerate(_each(builder, args[1], args[2], count)):
                pair = builder.load(_place(builder, args[0], place, I64), align=4)
                halves[i // 8] = builder.insert_element(halves[i // 8], pair, I32(i % 8))
            right = constant(UINT64X8.ir, 32)
            both = [
                _joined(builder, *(builder.trunc(each, INT32X8.ir) for each in parts))
                for parts in (halves, [builder.lshr(each, right) for each in halves])
            ]
            return context.make_tuple(builder, own.return_type, both)

        return types.UniTuple(INT32X16, 2)(types.intp, INT32X16, types.intp), emit

    return look_up


def setter_of(count: int) -> Any:
    """Intrinsic: set elements of the int32 array at an address, at the first `count` places, which must differ."""

    @intrinsic
    def put(_context: Any, address: Any, places: Any, values: Any, scratch: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
            address, places, values, scratch = args
            where_to = _each(builder, places, scratch, count)
            what = _each(builder, values, builder.add(scratch, I64(64)), count)
            for place, value in zip(where_to, what, strict=True):
                builder.store(value, _place(builder, address, place, I32), align=4)
            return context.get_dummy_value()

        return types.void(types.intp, INT32X16, INT32X16, types.intp), emit

    return put
