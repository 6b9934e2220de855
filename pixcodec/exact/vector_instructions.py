"""numba's side of `vectors`: types of vectors, Python's operators on them, and the instructions."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from llvmlite import ir
from numba import types
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, models, register_model

from pixcodec.exact import logistics
from pixcodec.exact.emit import F32, I8, I32, I64, Value, constant, processor_features, splat, vector_function

if TYPE_CHECKING:
    from collections.abc import Callable


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


INT32X16, INT32X8, INT32X4 = (Vector(32, count, signed=True) for count in (16, 8, 4))
UINT64X8, UINT8X64 = Vector(64, 8, signed=False), Vector(8, 64, signed=False)
_MASKS = {count: Vector(1, count, signed=False) for count in (4, 8, 16, 64)}


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


load_int32x16, load_int32x4, load_uint64x8 = _loader(INT32X16, 4), _loader(INT32X4, 4), _loader(UINT64X8, 8)


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
    kind = next((each for each in (first, second) if isinstance(each, Vector)), INT32X16)

    def emit(_context: Any, builder: ir.IRBuilder, own: Any, args: Any) -> ir.Value:
        a, b = (_fitting(builder, value, each, kind.ir) for value, each in zip(args[1:], own.args[1:], strict=True))
        return builder.select(args[0], a, b)

    return kind(mask, first, second), emit


@intrinsic
def mask16(_context: Any, bits: Any) -> Any:
    """The mask whose element i is bit i of an integer."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        return builder.bitcast(builder.trunc(args[0], ir.IntType(16)), _MASKS[16].ir)

    return _MASKS[16](types.int64), emit


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
lower_halves = _converter(INT32X8, UINT64X8, lambda builder, vector: builder.trunc(vector, INT32X8.ir))
float_bits = _converter(INT32X16, INT32X16, _float_bits)  # of the nearest binary32: exact below 2^24


def _spreader(vector: Vector) -> Any:
    """Intrinsic: a number in every element."""

    @intrinsic
    def spread(_context: Any, value: Any) -> Any:
        def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
            return _fitting(builder, args[0], value, vector.ir)

        return vector(value), emit

    return spread


spread, spread4 = _spreader(INT32X16), _spreader(INT32X4)


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


def _halves(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """The sum of both halves."""
    half = vector.type.count // 2
    parts = (ir.Constant(ir.VectorType(I32, half), [I32(i + k) for i in range(half)]) for k in (0, half))
    return builder.add(*(builder.shuffle_vector(vector, vector, part) for part in parts))


def _woven(builder: ir.IRBuilder, first: ir.Value, second: ir.Value, size: int) -> ir.Value:
    """Of each four elements of two vectors: runs of `size` of both in turn, the first runs plus the second ones."""
    count = first.type.count
    places: list[list[int]] = [[], []]
    for start in range(0, count, 4):
        for k, part in enumerate(places):
            for run in range(k * 2, k * 2 + 2, size):
                part += [start + run + i + where for where in (0, count) for i in range(size)]
    masks = (ir.Constant(ir.VectorType(I32, count), [I32(i) for i in part]) for part in places)
    return builder.add(*(builder.shuffle_vector(first, second, mask) for mask in masks))


def _cut(builder: ir.IRBuilder, vector: ir.Value) -> ir.Value:
    """The lower 16 bits of each element with their sign, so that LLVM sees that there are no more."""
    sixteen = constant(vector.type, 16)
    return builder.ashr(builder.shl(vector, sixteen), sixteen)


@intrinsic
def three_dots(_context: Any, first: Any, second: Any, third: Any, numbers: Any) -> Any:
    """Sums of products of the upper halves of three vectors with numbers of 16 bits, modulo 2^32, and 0."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        sixteen, x = constant(INT32X16.ir, 16), _cut(builder, args[3])
        a, b, c = (_halves(builder, builder.mul(builder.ashr(each, sixteen), x)) for each in args[:3])
        both, other = _woven(builder, a, b, 1), _woven(builder, c, constant(c.type, 0), 1)
        return _halves(builder, _woven(builder, both, other, 2))

    return INT32X4(*[INT32X16] * 4), emit


@intrinsic
def total(_context: Any, numbers: Any) -> Any:
    """Their sum modulo 2^32, int64."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        name = f"llvm.vector.reduce.add.v{numbers.ir.count}i32"
        return builder.sext(builder.call(vector_function(builder, name, I32, [numbers.ir]), args), I64)

    return types.int64(numbers), emit


def _has(instructions: str) -> bool:
    """Whether the processor that code is made for has a set of instructions."""
    return instructions in processor_features()


def _place(builder: ir.IRBuilder, address: ir.Value, places: ir.Value, i: int) -> ir.Value:
    """A pointer to the int32 at the i-th place, which is not negative."""
    place = builder.zext(builder.extract_element(places, I32(i)), I64)
    return _pointer(builder, builder.add(address, builder.shl(place, I64(2))), I32)


def _gathered(builder: ir.IRBuilder, address: ir.Value, places: ir.Value) -> ir.Value:
    """Elements of the int32 array at an address at sixteen places."""
    if _has("avx512f"):
        kinds = [INT32X16.ir, I8.as_pointer(), INT32X16.ir, _MASKS[16].ir, I32]
        gather = vector_function(builder, "llvm.x86.avx512.mask.gather.dpi.512", INT32X16.ir, kinds)
        zero, every = constant(INT32X16.ir, 0), constant(_MASKS[16].ir, 1)
        return builder.call(gather, [zero, _pointer(builder, address, I8), places, every, I32(4)])
    found = constant(INT32X16.ir, 0)
    for i in range(16):
        value = builder.load(_place(builder, address, places, i), align=4)
        found = builder.insert_element(found, value, I32(i))
    return found


@intrinsic
def gathered(_context: Any, address: Any, places: Any) -> Any:
    """Elements of the int32 array at an address at sixteen places."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        return _gathered(builder, *args)

    return INT32X16(types.intp, INT32X16), emit


@intrinsic
def scatter(_context: Any, address: Any, places: Any, values: Any, mask: Any) -> Any:
    """Set elements of the int32 array at an address where the mask is set; of equal places the last one counts.

    All places must be in the array.
    """

    def emit(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        address, places, values, mask = args
        if _has("avx512f"):
            kinds = [I8.as_pointer(), _MASKS[16].ir, INT32X16.ir, INT32X16.ir, I32]
            put = vector_function(builder, "llvm.x86.avx512.mask.scatter.dpi.512", ir.VoidType(), kinds)
            builder.call(put, [_pointer(builder, address, I8), mask, places, values, I32(4)])
            return context.get_dummy_value()
        for i in range(16):
            where_to = _place(builder, address, places, i)
            value, before = builder.extract_element(values, I32(i)), builder.load(where_to, align=4)
            chosen = builder.select(builder.extract_element(mask, I32(i)), value, before)
            builder.store(chosen, where_to, align=4)
        return context.get_dummy_value()

    return types.void(types.intp, INT32X16, INT32X16, _MASKS[16]), emit


@intrinsic
def chosen(_context: Any, address: Any, places: Any) -> Any:
    """Of the sixteen int32 at an address those at places 0 to 15."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        if not _has("avx512f"):
            return _gathered(builder, *args)
        table = builder.load(_pointer(builder, args[0], INT32X16.ir), align=4)
        permute = vector_function(builder, "llvm.x86.avx512.permvar.si.512", INT32X16.ir, [INT32X16.ir] * 2)
        return builder.call(permute, [table, args[1]])

    return INT32X16(types.intp, INT32X16), emit


@intrinsic
def bits_of(_context: Any, mask: Any) -> Any:
    """A mask of sixteen as an integer, bit i of element i."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        return builder.zext(builder.bitcast(args[0], ir.IntType(16)), I64)

    return types.int64(_MASKS[16]), emit


@intrinsic
def lowest(_context: Any, bits: Any) -> Any:
    """The number of the lowest bit that is set."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        count = vector_function(builder, "llvm.cttz.i64", I64, [I64, ir.IntType(1)])
        return builder.call(count, [args[0], ir.Constant(ir.IntType(1), 1)])

    return types.int64(types.int64), emit


@intrinsic
def shares(_context: Any, ones: Any, zeros: Any) -> Any:
    """2^24 ones div (ones + zeros), of sums up to 2^24."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        f64 = ir.VectorType(ir.DoubleType(), 16)
        both = builder.add(*args)
        number = builder.fmul(builder.sitofp(args[0], f64), constant(f64, float(1 << 24)))
        return builder.fptosi(builder.fdiv(number, builder.sitofp(both, f64)), INT32X16.ir)

    return INT32X16(INT32X16, INT32X16), emit


@intrinsic
def byte_sums(_context: Any, counts: Any) -> Any:
    """Of the eight bytes of each element, below 256."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        if _has("avx512bw"):
            add = vector_function(builder, "llvm.x86.avx512.psad.bw.512", UINT64X8.ir, [UINT8X64.ir] * 2)
            return builder.call(add, [args[0], constant(UINT8X64.ir, 0)])
        total = builder.bitcast(args[0], UINT64X8.ir)
        for shift in (32, 16, 8):
            total = builder.add(total, builder.lshr(total, constant(UINT64X8.ir, shift)))
        return builder.and_(total, constant(UINT64X8.ir, 255))

    return UINT64X8(UINT8X64), emit


@intrinsic
def bytes_at(_context: Any, address: Any, places: Any) -> Any:
    """Bytes at an address, which 4 divides, and sixteen places behind it."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        two, three, byte = (constant(INT32X16.ir, n) for n in (2, 3, 255))
        words = _gathered(builder, args[0], builder.lshr(args[1], two))
        shift = builder.shl(builder.and_(args[1], three), three)
        return builder.and_(builder.lshr(words, shift), byte)

    return INT32X16(types.intp, INT32X16), emit


@intrinsic
def ratios(_context: Any, numbers: Any, divisor: Any) -> Any:
    """Numbers from 0 on div an integer above 0, in binary64, of which none is rounded up to the next integer."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        floats = ir.VectorType(ir.DoubleType(), 16)
        divisors = splat(builder, builder.sitofp(args[1], ir.DoubleType()), floats)
        return builder.fptosi(builder.fdiv(builder.sitofp(args[0], floats), divisors), INT32X16.ir)

    return INT32X16(INT32X16, types.int64), emit


@intrinsic
def logistics_below(_context: Any, mixtures: Any, stride: Any, edges: Any) -> Any:
    """See `logistics.below`."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        return logistics.below(*(Value(builder, each) for each in args)).value

    return INT32X16(types.intp, types.intp, INT32X16), emit


@intrinsic
def row_below(_context: Any, mixture: Any, first: Any, step: Any) -> Any:
    """See `logistics.row_below`."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> ir.Value:
        return logistics.row_below(*(Value(builder, each) for each in args)).value

    return INT32X16(types.intp, types.int64, types.int64), emit
