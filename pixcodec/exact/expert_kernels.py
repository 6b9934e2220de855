"""Sixteen integers at once for the mixer of `experts`: left to itself, LLVM takes such short loops one by one.

Arguments are addresses of int32[16].  Integers alone, so the same on every processor; LLVM splits the vectors where
registers are narrower.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pixcodec.exact.kernels import I32, splat, vector_function

WIDTH = 16
INTS = ir.VectorType(I32, WIDTH)
WIDE = ir.VectorType(ir.IntType(64), WIDTH)


def _pointer(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.inttoptr(address, INTS.as_pointer())


def _constant(value: int) -> ir.Constant:
    return ir.Constant(INTS, [I32(value)] * WIDTH)


@intrinsic
def dot(_context: Any, weights: Any, inputs: Any) -> Any:
    """The sum of products, int64."""

    def emit(_context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> Any:
        a, b = (builder.sext(builder.load(_pointer(builder, address), align=4), WIDE) for address in args)
        total = vector_function(builder, f"llvm.vector.reduce.add.v{WIDTH}i64", ir.IntType(64), [WIDE])
        return builder.call(total, [builder.mul(a, b)])

    return types.int64(types.intp, types.intp), emit


def learner(shift: int, limit: int) -> Any:
    """An intrinsic: weights = clamp(weights + ((inputs * error + half) >> shift), -limit, limit)."""

    @intrinsic
    def learn(_context: Any, weights: Any, inputs: Any, error: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> Any:
            weights, inputs = (_pointer(builder, address) for address in args[:2])
            step = builder.mul(builder.load(inputs, align=4), splat(builder, builder.trunc(args[2], I32), INTS))
            step = builder.ashr(builder.add(step, _constant(1 << shift - 1)), _constant(shift))
            new = builder.add(builder.load(weights, align=4), step)
            for sign, worse in ((-1, "<"), (1, ">")):
                edge = _constant(sign * limit)
                new = builder.select(builder.icmp_signed(worse, new, edge), edge, new)
            builder.store(new, weights, align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 3), emit

    return learn
