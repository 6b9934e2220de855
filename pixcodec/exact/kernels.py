"""Compiled vector kernels: LLVM vectors emitted through numba, one rounding an operation, the same bits everywhere.

numba's ``@intrinsic`` lets a function emit LLVM IR: a value of type <16 x float> is sixteen lanes of the wavefront, and
LLVM splits it for processors with narrower registers.  LLVM never fuses a multiplication with an addition unless it is
told to, so each operation below is one IEEE-754 operation on every processor.  Only integer products depend on the
processor (`matmul.py`).

A kernel is a plain function compiled by `specialise` with the intrinsics of one size put in its globals, under a name
of its own: numba then keeps it on disk, which it does not do for closures over intrinsics.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pixcodec.exact.vectors import FLOATS, I32, INTS, LANES, constant, specialise, splat, vector_function

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["I32", "splat", "vector_function"]  # what `expert_kernels` takes from here
FLUSH = 1e-20  # statistics smaller than this become zero: denormals are slow, and not the same on every processor


def triangle(row: int, column: int) -> int:
    """Place of (row, column), column <= row, in a lower triangle stored by rows."""
    return row * (row + 1) // 2 + column


class _Lanes:
    """Loads and stores of <16 x float> at (row, column) of binary32 arrays with `stride` columns."""

    def __init__(self, builder: ir.IRBuilder, stride: ir.Value) -> None:
        self.builder, self.stride = builder, stride

    def pointer(self, base: ir.Value, row: int, column: ir.Value) -> ir.Value:
        b, number = self.builder, ir.Constant(base.type, row)
        offset = b.mul(b.add(b.mul(number, self.stride), column), ir.Constant(base.type, 4))
        return b.inttoptr(b.add(base, offset), FLOATS.as_pointer())

    def load(self, base: ir.Value, row: int, column: ir.Value) -> ir.Value:
        return self.builder.load(self.pointer(base, row, column), align=4)

    def store(self, value: ir.Value, base: ir.Value, row: int, column: ir.Value) -> None:
        self.builder.store(value, self.pointer(base, row, column), align=4)


class _Statistics:
    """The lower triangle of sixteen lanes' statistics, in binary32[1 + blocks of lanes, triangle, 16].

    A block lies in one piece, so that it streams through the caches; block 0 is zeros, above the first lane.
    """

    def __init__(self, builder: ir.IRBuilder, base: ir.Value, rows: int, y: ir.Value) -> None:
        def block(lane: ir.Value) -> ir.Value:
            return builder.add(base, builder.mul(lane, ir.Constant(base.type, 4 * rows)))

        self.builder = builder
        self._here, self._above = block(builder.add(y, ir.Constant(y.type, LANES))), block(y)
        self._shift = ir.Constant(INTS, [I32(LANES - 1 + i) for i in range(LANES)])

    def pointer(self, block: ir.Value, row: int) -> ir.Value:
        place = self.builder.add(block, ir.Constant(block.type, 4 * LANES * row))
        return self.builder.inttoptr(place, FLOATS.as_pointer())

    def load(self, row: int) -> tuple[ir.Value, ir.Value]:
        """S[y] and S[y-1] of the sixteen lanes."""
        here = self.builder.load(self.pointer(self._here, row), align=4)
        above = self.builder.load(self.pointer(self._above, row), align=4)
        return here, self.builder.shuffle_vector(above, here, self._shift)

    def store(self, value: ir.Value, row: int) -> None:
        self.builder.store(value, self.pointer(self._here, row), align=4)


def _regression(unknowns: int, channels: int, orders: tuple[int, ...]) -> Any:
    """Intrinsic: solve the local least squares of sixteen lanes for every order at once.

    `state` holds the statistics of `unknowns` features and then the `channels` values (`_Statistics`); in the other
    arrays column y + 1 belongs to lane y.  With P = a S[y] + b S[y-1] =
    L D L^T by rows, u = L^-1 f gives the prediction of the first channel by the first m features as
    sum_{j<m} L[unknowns, j] u_j: one factorisation serves all orders m and all channels (see `predict.py`).

    out, float32[rows, stride], for each order: the first channel's prediction r0; then, with three channels, l10, r1,
    l20, l21, r2 such that  u0 = f0 - r0;  second = r1 + l10 u0;  u1 = f1 - second;  third = (r2 + l20 u0) + l21 u1.
    """

    @intrinsic
    def regression(
        _context: Any, state: Any, features: Any, out: Any, stride: Any, y: Any, a: Any, b: Any, ridge: Any
    ) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> Any:
            state, features, out, stride, y, a, b, ridge = args
            lanes = _Lanes(builder, stride)
            statistics = _Statistics(builder, state, triangle(unknowns + channels, 0), y)
            av, bv, rv = (splat(builder, v, FLOATS) for v in (a, b, ridge))
            half, one, zero = builder.fmul(rv, constant(FLOATS, 0.5)), constant(FLOATS, 1.0), constant(FLOATS, 0.0)
            here = builder.add(y, ir.Constant(y.type, 1))
            mul, add, sub = builder.fmul, builder.fadd, builder.fsub

            def prior(i: int, j: int) -> ir.Value:
                left, above = statistics.load(triangle(i, j))
                return add(mul(av, left), mul(bv, above))

            def inverse_pivot(d: ir.Value) -> ir.Value:
                return builder.fdiv(one, builder.select(builder.fcmp_ordered(">", d, half), d, rv))

            low: dict[tuple[int, int], ir.Value] = {}
            raw: dict[tuple[int, int], ir.Value] = {}
            inverse: list[ir.Value] = []
            u: list[ir.Value] = []
            for i in range(unknowns + channels):
                m = min(i, unknowns)
                g = [prior(i, j) for j in range(m)]
                for j in range(m):
                    for k in range(j):
                        g[j] = sub(g[j], mul(g[k], low[j, k]))
                for j in range(m):
                    low[i, j] = mul(g[j], inverse[j])
                    if i >= unknowns:
                        raw[i, j] = g[j]
                if i < unknowns:
                    d = add(prior(i, i), rv)
                    for j in range(i):
                        d = sub(d, mul(g[j], low[i, j]))
                    inverse.append(inverse_pivot(d))
                    v = lanes.load(features, i, here)
                    for k in range(i):
                        v = sub(v, mul(low[i, k], u[k]))
                    u.append(v)
            known = [(c, e) for c in range(channels - 1) for e in range(c + 1)]  # pivots: all channels but the last
            known += [(channels - 1, e) for e in range(channels - 1)]
            left = {
                (c, e): add(prior(unknowns + c, unknowns + c), rv) if c == e else prior(unknowns + c, unknowns + e)
                for c, e in known
            }
            r, done, row = [zero] * channels, 0, 0
            for order in orders:
                for j in range(done, order):
                    for c in range(channels):
                        r[c] = add(r[c], mul(low[unknowns + c, j], u[j]))
                    for c, e in known:
                        left[c, e] = sub(left[c, e], mul(raw[unknowns + c, j], low[unknowns + e, j]))
                done = order
                results = [r[0]]
                if channels == 3:
                    inverse0 = inverse_pivot(left[0, 0])
                    l10, l20 = mul(left[1, 0], inverse0), mul(left[2, 0], inverse0)
                    inverse1 = inverse_pivot(sub(left[1, 1], mul(left[1, 0], l10)))
                    l21 = mul(sub(left[2, 1], mul(left[2, 0], l10)), inverse1)
                    results += [l10, r[1], l20, l21, r[2]]
                for value in results:
                    lanes.store(value, out, row, here)
                    row += 1
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5, *[types.float32] * 3), emit

    return regression


def _accumulation(rows: int) -> Any:
    """Intrinsic: S[y] = (a S[y] + b S[y-1]) + f f^T for those of sixteen lanes that lie in first..last.

    `f` is float32[rows, stride]; values within `FLUSH` of zero become zero.  Call it with y descending.
    """

    @intrinsic
    def accumulation(
        _context: Any, state: Any, f: Any, stride: Any, y: Any, a: Any, b: Any, first: Any, last: Any
    ) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> Any:
            state, f, stride, y, a, b, first, last = args
            lanes = _Lanes(builder, stride)
            statistics = _Statistics(builder, state, triangle(rows, 0), y)
            av, bv = splat(builder, a, FLOATS), splat(builder, b, FLOATS)
            here = builder.add(y, ir.Constant(y.type, 1))
            lane = builder.add(
                splat(builder, builder.trunc(y, I32), INTS), ir.Constant(INTS, [I32(i) for i in range(LANES)])
            )
            active = builder.and_(
                builder.icmp_signed(">=", lane, splat(builder, builder.trunc(first, I32), INTS)),
                builder.icmp_signed("<=", lane, splat(builder, builder.trunc(last, I32), INTS)),
            )
            fabs = vector_function(builder, "llvm.fabs.v16f32", FLOATS, [FLOATS])
            values = [lanes.load(f, i, here) for i in range(rows)]
            for i in range(rows):
                for j in range(i + 1):
                    row = triangle(i, j)
                    old, above = statistics.load(row)
                    prior = builder.fadd(builder.fmul(av, old), builder.fmul(bv, above))
                    new = builder.fadd(prior, builder.fmul(values[i], values[j]))
                    large = builder.fcmp_ordered(">", builder.call(fabs, [new]), constant(FLOATS, FLUSH))
                    new = builder.select(large, new, constant(FLOATS, 0.0))
                    statistics.store(builder.select(active, new, old), row)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 4, types.float32, types.float32, types.intp, types.intp), emit

    return accumulation


def _solve(states, features, out, coefficients, first, last):  # type: ignore[no-untyped-def]
    """Regressions of lanes first..last (whole vectors of sixteen) for every memory."""
    stride = features.shape[1]
    for m in range(states.shape[0]):
        a, b, ridge = coefficients[m]
        for y in range(first // LANES * LANES, last + 1, LANES):
            regression(states[m].ctypes.data, features.ctypes.data, out[m].ctypes.data, stride, y, a, b, ridge)  # type: ignore[name-defined] # noqa: F821


def _learn(states, f, coefficients, first, last):  # type: ignore[no-untyped-def]
    """Statistics of lanes first..last of every memory take in this step's pixels."""
    stride = f.shape[1]
    for m in range(states.shape[0]):
        a, b, _ = coefficients[m]
        for y in range(last // LANES * LANES, first // LANES * LANES - 1, -LANES):
            accumulation(states[m].ctypes.data, f.ctypes.data, stride, y, a, b, first, last)  # type: ignore[name-defined] # noqa: F821


def statistics(memories: int, rows: int, lanes: int) -> np.ndarray:
    """No statistics yet of `rows` features and values: zeros, float32[memories, 1 + blocks, triangle, 16]."""
    return np.zeros((memories, 1 + (lanes + LANES - 1) // LANES, triangle(rows, 0), LANES), np.float32)


@lru_cache
def regression_kernels(
    unknowns: int, channels: int, orders: tuple[int, ...]
) -> tuple[Callable[..., None], Callable[..., None]]:
    """`solve(states, features, out, coefficients, first, last)` and `learn(states, f, coefficients, first, last)`.

    Args:
        unknowns: number of features.
        channels: 3, or 1 when only one value is predicted.
        orders: numbers of leading features to predict from, ascending, the last at most `unknowns`.

    Returns:
        Functions on float32 arrays.  states is [memories, 1 + blocks of sixteen lanes, triangle, 16], its first block
        zeros (`statistics` makes it).  The last axis of the others is lanes: lane y is column y + 1, and there are
        1 + 16 blocks of them.  out has an axis of memories in front, coefficients is [memories, 3] (a, b, ridge); f and
        features are shared.
    """
    suffix = f"{unknowns}_{channels}_{'_'.join(map(str, orders))}"
    solve = specialise(_solve, f"solve_{suffix}", regression=_regression(unknowns, channels, orders))
    learn = specialise(_learn, f"learn_{unknowns + channels}", accumulation=_accumulation(unknowns + channels))
    return solve, learn
