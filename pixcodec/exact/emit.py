"""LLVM's values with Python's operators, for kernels that are emitted through numba.

numba's ``@intrinsic`` lets a function emit LLVM IR.  A `Value` of type <16 x float> is sixteen binary32 numbers; each
of its operators is one instruction, rounded once, and LLVM splits it for processors with narrower registers and never
fuses two of them unless it is told to: the same bits everywhere.  Python numbers become constants of the other
operand's type.
"""

from __future__ import annotations

from contextlib import contextmanager
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from llvmlite import ir

from pixcodec.exact.compiled import Lazy
from pixcodec.exact.rounding import ROUND
from pixcodec.exact.store import processor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Operand: TypeAlias = "Value | int | float"

LANES = 16
ALIGNMENT = 64  # bytes of a cache line
INTP, FLOAT32 = "intp", "float32"  # numba's names of types
I1, I8, I16, I32, I64, F32 = (*(ir.IntType(bits) for bits in (1, 8, 16, 32, 64)), ir.FloatType())
FLOATS = ir.VectorType(F32, LANES)
INTS = ir.VectorType(I32, LANES)
_ROUND_BITS = int(ROUND.view(np.int32))


def processor_features() -> set[str]:
    """Names of the instruction sets that numba compiles for."""
    return {f[1:] for f in processor()[2].split(",") if f.startswith("+")}


def aligned(shape: tuple[int, ...], dtype: Any, value: float = 0) -> np.ndarray:
    """An array of one value that begins at a cache line: vectors of 64 bytes lie in one line each."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(size + ALIGNMENT, np.uint8)  # pages of zeros take no time before they are written to
    start = -room.ctypes.data % ALIGNMENT
    result = room[start : start + size].view(dtype).reshape(shape)
    if value:
        result[...] = value
    return result


def vector(element: ir.Type, like: ir.Type) -> ir.Type:
    """Elements of a type, as many as `like` has (one, where it is no vector)."""
    return ir.VectorType(element, like.count) if isinstance(like, ir.VectorType) else element


def element(kind: ir.Type) -> ir.Type:
    """The type of an element."""
    return kind.element if isinstance(kind, ir.VectorType) else kind


class Value:
    """A number, a vector of numbers or a mask, and the builder that makes more of it."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: ir.IRBuilder, value: ir.Value) -> None:
        self.builder, self.value = builder, value

    @property
    def type(self) -> ir.Type:
        """LLVM's type."""
        return self.value.type

    def of(self, number: float) -> Value:
        """A constant of this type."""
        return Value(self.builder, constant(self.type, number))

    def _other(self, other: Operand) -> ir.Value:
        return other.value if isinstance(other, Value) else constant(self.type, other)

    def _binary(self, name: str, other: Operand) -> Value:
        name = f"f{name}" if element(self.type) == F32 else name
        return Value(self.builder, getattr(self.builder, name)(self.value, self._other(other)))

    def __add__(self, other: Operand) -> Value:
        return self._binary("add", other)

    def __sub__(self, other: Operand) -> Value:
        return self._binary("sub", other)

    def __mul__(self, other: Operand) -> Value:
        return self._binary("mul", other)

    def __truediv__(self, other: Operand) -> Value:
        """Integers: towards zero."""
        return self._binary("div" if element(self.type) == F32 else "sdiv", other)

    def __and__(self, other: Operand) -> Value:
        return self._binary("and_", other)

    def __or__(self, other: Operand) -> Value:
        return self._binary("or_", other)

    def __xor__(self, other: Operand) -> Value:
        return self._binary("xor", other)

    def __lshift__(self, other: Operand) -> Value:
        return self._binary("shl", other)

    def __rshift__(self, other: Operand) -> Value:
        """Arithmetic: rounded down."""
        return self._binary("ashr", other)

    def _compared(self, operator: str, other: Operand) -> Value:
        compare = self.builder.fcmp_ordered if element(self.type) == F32 else self.builder.icmp_signed
        return Value(self.builder, compare(operator, self.value, self._other(other)))

    def __gt__(self, other: Operand) -> Value:
        return self._compared(">", other)

    def __lt__(self, other: Operand) -> Value:
        return self._compared("<", other)

    def __ge__(self, other: Operand) -> Value:
        return self._compared(">=", other)

    def __le__(self, other: Operand) -> Value:
        return self._compared("<=", other)

    def equals(self, other: Operand) -> Value:
        """Where both are the same."""
        return self._compared("==", other)

    def where(self, mask: Value, other: Operand) -> Value:
        """This where the mask is set, elsewhere the other."""
        return Value(self.builder, self.builder.select(mask.value, self.value, self._other(other)))

    def least(self, other: Operand) -> Value:
        """The smaller; the other where there is no telling (NaN)."""
        return self.where(self < other, other)

    def most(self, other: Operand) -> Value:
        """The larger; the other where there is no telling (NaN)."""
        return self.where(self > other, other)

    def to(self, kind: ir.Type, *, signed: bool = True) -> Value:
        """Converted to elements of another type: integers are cut, or extended by the sign or by zeros."""
        source, target = element(self.type), vector(kind, self.type)
        b = self.builder
        if source == kind:
            return self
        if kind == F32:
            make = b.sitofp
        elif source == F32:
            make = b.fptosi
        elif source.width > kind.width:
            make = b.trunc
        else:
            make = b.sext if signed else b.zext
        return Value(b, make(self.value, target))

    def bits(self, kind: ir.Type) -> Value:
        """The same bits as another type."""
        return Value(self.builder, self.builder.bitcast(self.value, kind))

    def rounded(self) -> Value:
        """int32 of binary32 below 2^22, half to even."""
        kind = vector(I32, self.type)
        return (self + float(ROUND)).bits(kind) - _ROUND_BITS

    def splat(self, kind: ir.VectorType) -> Value:
        """This number in every element."""
        return Value(self.builder, splat(self.builder, self.value, kind))

    def shuffled(self, other: Value, places: Sequence[int]) -> Value:
        """Elements of this (from 0 on) and of the other (behind them)."""
        mask = ir.Constant(ir.VectorType(I32, len(places)), [I32(place) for place in places])
        return Value(self.builder, self.builder.shuffle_vector(self.value, other.value, mask))

    def __getitem__(self, place: int) -> Value:
        return Value(self.builder, self.builder.extract_element(self.value, I32(place)))

    def replaced(self, place: int, other: Value) -> Value:
        """With another element at a place."""
        return Value(self.builder, self.builder.insert_element(self.value, other.value, I32(place)))

    def reduced(self, operation: str) -> Value:
        """All elements by "add", "smax" or "smin"."""
        name = f"llvm.vector.reduce.{operation}.v{self.type.count}i{self.type.element.width}"
        function = vector_function(self.builder, name, self.type.element, [self.type])
        return Value(self.builder, self.builder.call(function, [self.value]))

    def called(self, name: str, *others: Value, result: ir.Type | None = None) -> Value:
        """LLVM's function of this name, of this and others; by default its result has the type of this."""
        values = [self.value, *(other.value for other in others)]
        function = vector_function(self.builder, name, result or self.type, [value.type for value in values])
        return Value(self.builder, self.builder.call(function, values))

    def assembled(self, code: str, constraints: str, *others: Value) -> Value:
        """An instruction of this and others, as LLVM's inline assembly has it; its result is of this type."""
        values = [self.value, *(other.value for other in others)]
        kind = ir.FunctionType(self.type, [value.type for value in values])
        return Value(self.builder, self.builder.asm(kind, code, constraints, values, side_effect=False))

    def load(self, kind: ir.Type, align: int = 1) -> Value:
        """What lies at this address."""
        return Value(self.builder, self.builder.load(self._pointer(kind), align=align))

    def store(self, value: Value, align: int = 1) -> None:
        """Put a value at this address."""
        self.builder.store(value.value, self._pointer(value.type), align=align)

    def acquire(self) -> Value:
        """The int64 at this address, which 8 divides, and with it all that the thread that put it there did before."""
        return Value(self.builder, self.builder.load_atomic(self._pointer(I64), "acquire", 8))

    def release(self, value: Value) -> None:
        """Put an int64 at this address, for a thread that acquires it."""
        self.builder.store_atomic(value.value, self._pointer(I64), "release", 8)

    def prefetch(self) -> None:
        """Ask for the cache line at this address, so that it is near (in the second level) when it is needed."""
        b, pointer = self.builder, self._pointer(I8)
        kinds = [pointer.type, I32, I32, I32]
        function = vector_function(b, "llvm.prefetch.p0", ir.VoidType(), kinds)
        b.call(function, [pointer, I32(1), I32(2), I32(1)])  # to be written, middle locality, data

    def _pointer(self, kind: ir.Type) -> ir.Value:
        return self.builder.inttoptr(self.value, kind.as_pointer())


class Variable:
    """A value that changes in loops; LLVM keeps it in a register."""

    def __init__(self, start: Value) -> None:
        from numba.core import cgutils

        self._builder = start.builder
        self._place = cgutils.alloca_once(self._builder, start.type)
        self.set(start)

    def get(self) -> Value:
        """What it is now."""
        return Value(self._builder, self._builder.load(self._place))

    def set(self, value: Value) -> None:
        """What it is from now on."""
        self._builder.store(value.value, self._place)


@contextmanager
def loop(start: Operand, stop: Value, step: int = 1) -> Iterator[Value]:
    """Emit the body once, for all numbers from start to before stop."""
    from numba.core import cgutils

    b, word = stop.builder, stop.type
    first = start.value if isinstance(start, Value) else ir.Constant(word, start)
    with cgutils.for_range_slice(b, first, stop.value, ir.Constant(word, step), intp=word) as (index, _):
        yield Value(b, index)


def constant(kind: ir.Type, number: float) -> ir.Constant:
    """A number in every element of a type."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [ir.Constant(kind.element, number)] * kind.count)
    return ir.Constant(kind, number)


def splat(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType) -> ir.Value:
    """`value` in every element of a vector."""
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, I32(0))
    zeros = ir.Constant(ir.VectorType(I32, kind.count), [I32(0)] * kind.count)
    return builder.shuffle_vector(first, undefined, zeros)


def vector_function(builder: ir.IRBuilder, name: str, result: ir.Type, arguments: list[ir.Type]) -> ir.Function:
    """LLVM's function `name`, declared once a module."""
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def emitted(arguments: Sequence[str], emit: Callable[..., Value | None], result: str = "void") -> Lazy:
    """An intrinsic of numba; `emit` is given its arguments as `Value`s, addresses as integers.

    Args:
        arguments: their types by numba's names, `INTP` and `FLOAT32`.
        emit: emits its code, and returns its result if there is one.
        result: the type of it.
    """

    def make() -> Any:
        from numba import types
        from numba.extending import intrinsic

        own = getattr(types, result)(*(getattr(types, each) for each in arguments))

        def made(_context: Any, *_types: Any) -> Any:
            def code(context: Any, builder: ir.IRBuilder, _signature: Any, values: Any) -> Any:
                found = emit(*(Value(builder, value) for value in values))
                return context.get_dummy_value() if found is None else found.value

            return own, code

        names = ["context", *(f"argument{k}" for k in range(len(arguments)))]
        parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        made.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return intrinsic(made)

    return Lazy(make)
