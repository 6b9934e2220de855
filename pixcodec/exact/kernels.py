"""Compiled vector kernels: LLVM vectors emitted through numba, one rounding an operation, the same bits everywhere.

numba's ``@intrinsic`` lets a function emit LLVM IR: a value of type <16 x float> is sixteen lanes of the wavefront, and
LLVM splits it for processors with narrower registers.  LLVM never fuses a multiplication with an addition unless it is
told to, so each operation below is one IEEE-754 operation on every processor.  Only integer products depend on the
processor (`matmul.py`).

A kernel is a plain function compiled by `specialise` with the intrinsics of one size put in its globals, under a name
of its own: numba then keeps it on disk, which it does not do for closures over intrinsics.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from llvmlite.binding import llvm_version_info
from numba import njit, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from pixcodec.exact.vectors import FLOATS, I8, I16, I32, INTS, LANES, constant, splat, vector_function

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["I32", "splat", "vector_function"]  # what `expert_kernels` takes from here
FLUSH = 1e-20  # statistics smaller than this become zero: denormals are slow, and not the same on every processor


def specialise(function: Callable[..., Any], name: str, **intrinsics: Any) -> Callable[..., Any]:
    """Compile `function` under `name`, with `intrinsics` as globals; cached on disk by name, source and processor."""
    replaced: dict[str, Any] = {"co_name": name}
    if hasattr(function.__code__, "co_qualname"):
        replaced["co_qualname"] = name
    copy = FunctionType(function.__code__.replace(**replaced), {**function.__globals__, **intrinsics}, name)
    copy.__module__, copy.__qualname__ = function.__module__, name
    compiled: Callable[..., Any] = njit(nogil=True, cache=True, error_model="numpy")(copy)
    return compiled


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


@dataclass(frozen=True)
class ProductForm:
    """An instruction for products: int32 lanes, terms that it adds to a lane, type of a stored activation, its name."""

    lanes: int
    terms: int
    stored: type
    name: str
    rows: int  # of a register tile
    vectors: int  # of a register tile


PRODUCTS = {
    "vnni512": ProductForm(16, 4, np.uint8, "llvm.x86.avx512.vpdpbusd.512", 6, 4),
    "vnni256": ProductForm(8, 4, np.uint8, "llvm.x86.avx512.vpdpbusd.256", 3, 4),
    "madd512": ProductForm(16, 2, np.int16, "llvm.x86.avx512.pmaddw.d.512", 6, 4),
    "madd256": ProductForm(8, 2, np.int16, "llvm.x86.avx2.pmadd.wd", 3, 4),
    "plain": ProductForm(16, 1, np.int16, "", 4, 4),
}


def product_kind() -> str | None:
    """The best instruction that numba compiles for here; "plain" multiplies and adds vectors of int32 anywhere."""
    features = {f[1:] for f in cpu_target.target_context.codegen().magic_tuple()[2].split(",") if f.startswith("+")}
    if "avx512vnni" in features and llvm_version_info >= (22,):
        return "vnni512"
    if "avxvnni" in features and llvm_version_info >= (22,):
        return "vnni256"
    if "avx512bw" in features:
        return "madd512"
    return "madd256" if "avx2" in features else "plain"


def wide_product_kind() -> str:
    """The best instruction here for operands of 16 bits."""
    return {"vnni512": "madd512", "vnni256": "madd256"}.get(kind := product_kind() or "plain", kind)


def _product_tile(form: ProductForm, rows: int) -> Any:
    """Intrinsic: c[rows, lanes * vectors] += a[rows, steps * terms] b, sums in registers throughout."""
    lanes, terms, vectors = form.lanes, form.terms, form.vectors
    width = np.dtype(form.stored).itemsize
    sums = ir.VectorType(I32, lanes)
    element = I8 if width == 1 else I16
    operand = ir.VectorType(element, terms * lanes)
    group = ir.IntType(8 * width * terms)

    @intrinsic
    def tile(_context: Any, a: Any, a_stride: Any, b: Any, steps: Any, c: Any, c_stride: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, _signature: Any, args: Any) -> Any:
            a, a_stride, b, steps, c, c_stride = args
            word = a.type
            add, mul = builder.add, builder.mul

            def number(value: int) -> ir.Constant:
                return ir.Constant(word, value)

            def pointer(address: ir.Value, kind: ir.Type) -> ir.Value:
                return builder.inttoptr(address, kind.as_pointer())

            def multiply(total: ir.Value, x: ir.Value, w: ir.Value) -> ir.Value:
                if terms == 4:
                    return builder.call(
                        vector_function(builder, form.name, sums, [sums, operand, operand]), [total, x, w]
                    )
                if terms == 2:
                    return add(
                        total, builder.call(vector_function(builder, form.name, sums, [operand, operand]), [x, w])
                    )
                return add(total, mul(builder.sext(x, sums), builder.sext(w, sums)))

            cells = [(r, j) for r in range(rows) for j in range(vectors)]
            places = [add(c, mul(add(mul(number(r), c_stride), number(lanes * j)), number(4))) for r, j in cells]
            start = [builder.load(pointer(place, sums), align=4) for place in places]
            before, loop, after = builder.block, builder.append_basic_block("k"), builder.append_basic_block("end")
            builder.branch(loop)
            builder.position_at_end(loop)
            k = builder.phi(word)
            k.add_incoming(number(0), before)
            total = [builder.phi(sums) for _ in cells]
            for phi, value in zip(total, start, strict=True):
                phi.add_incoming(value, before)
            step_bytes = width * terms
            row_of_b = add(b, mul(k, number(step_bytes * lanes * vectors)))
            weights = [
                builder.load(pointer(add(row_of_b, number(step_bytes * lanes * j)), operand), align=1)
                for j in range(vectors)
            ]
            done = []
            for r in range(rows):
                at = add(add(a, mul(number(r), a_stride)), mul(k, number(step_bytes)))
                x = builder.load(pointer(at, group), align=1)
                x = builder.bitcast(splat(builder, x, ir.VectorType(group, lanes)), operand)
                done += [multiply(total[r * vectors + j], x, weights[j]) for j in range(vectors)]
            following = add(k, number(1))
            k.add_incoming(following, loop)
            for phi, value in zip(total, done, strict=True):
                phi.add_incoming(value, loop)
            builder.cbranch(builder.icmp_signed("<", following, steps), loop, after)
            builder.position_at_end(after)
            for place, value in zip(places, done, strict=True):
                builder.store(value, pointer(place, sums), align=4)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), emit

    return tile


def _convolve(source, slots, starts, rows, weight, bias, out):  # type: ignore[no-untyped-def]
    """Sums of `rows` lanes over taps, panels of outputs at a time; see `matmul.Backend.convolve`."""
    panels, taps, steps, width, _ = weight.shape
    columns = out.shape[1]
    stride = source.shape[2] * source.itemsize
    for m in range(rows):
        for j in range(columns):
            out[m, j] = bias[j]
    for p in range(panels):
        m = 0
        while m < rows:
            block = BLOCK if m + BLOCK <= rows else 1  # type: ignore[name-defined] # noqa: F821
            place = out.ctypes.data + (m * columns + p * width) * 4
            for t in range(taps):
                a = source[slots[t]].ctypes.data + (starts[t] + m) * stride
                b = weight[p, t].ctypes.data
                if block == 1:
                    row_tile(a, stride, b, steps, place, columns)  # type: ignore[name-defined] # noqa: F821
                else:
                    block_tile(a, stride, b, steps, place, columns)  # type: ignore[name-defined] # noqa: F821
            m += block


@lru_cache
def convolution_kernel(kind: str) -> Callable[..., None]:
    """`convolve(source, slots, starts, rows, weight, bias, out)` for one of `PRODUCTS`."""
    form = PRODUCTS[kind]
    tiles = {"block_tile": _product_tile(form, form.rows), "row_tile": _product_tile(form, 1)}
    return specialise(_convolve, f"convolve_{kind}", BLOCK=form.rows, **tiles)
