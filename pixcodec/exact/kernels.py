"""Compiled vector kernels: LLVM vectors emitted through numba, one rounding an operation, the same bits everywhere.

numba's ``@intrinsic`` lets a function emit LLVM IR: a value of type <16 x float> is sixteen lanes of the wavefront, and
LLVM splits it for processors with narrower registers.  LLVM never fuses a multiplication with an addition unless it is
told to, so each operation below is one IEEE-754 operation on every processor.  Only integer products depend on the
processor (`matmul.py`).

A kernel is a plain function compiled by `specialise` with the intrinsics of one size put in its globals, under a name
of its own, by which its code is kept on disk (`compiled`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir

from pixcodec.exact.emit import (
    FLOAT32,
    FLOATS,
    I32,
    INTP,
    INTS,
    LANES,
    Value,
    Variable,
    aligned,
    emitted,
    loop,
    processor_features,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Address = Callable[[Value], Value]

VECTOR = 4 * LANES  # bytes of sixteen lanes
TILE = 4  # rows and columns of a tile that stays in registers; half as many where they are few
MOST_ROWS = 4  # of a tile: at most three values, and the features
FLUSH = 1e-20  # statistics smaller than this become zero: denormals are slow, and not the same on every processor


def triangle(row: int, column: int) -> int:
    """Place of (row, column), column <= row, in a lower triangle stored by rows."""
    return row * (row + 1) // 2 + column


class _Factors:
    """L D L^T of sixteen lanes, tile by tile: the loops over earlier columns stay short code and work in registers.

    With `height` rows from i0 on and `width` columns from j0 on, A_ij -= A_ik L_jk for k < j in ascending order, and
    L_ij = A_ij / d_j.  In `work` lie L with 1 / d on its diagonal, a triangle by rows, A of the rows at work, and L of
    the values.  A begins as P of a block of lanes (`statistics`).
    """

    def __init__(self, statistics: Value, work: Value, size: int, ridge: Value) -> None:
        self._statistics, self.size, self.ridge = statistics, size, ridge.splat(FLOATS)
        self._low, self._raw = work, work + VECTOR * triangle(size, 0)
        self._last = self._raw + VECTOR * MOST_ROWS * size

    def prior(self, place: Value | int) -> Value:
        return (self._statistics + place * VECTOR).load(FLOATS)

    def inverse_pivot(self, d: Value) -> Value:
        return d.of(1.0) / d.where(d > self.ridge * 0.5, self.ridge)

    def raw(self, row: int, k: Value) -> Value:
        return self._raw + (k + row * self.size) * VECTOR

    def low(self, i: Value, k: Value) -> Value:
        return self._low + (_place(i) + k) * VECTOR

    def last(self, row: int, k: Value) -> Value:
        """L of the values' rows."""
        return self._last + (k + row * self.size) * VECTOR

    def tile(self, starts: Sequence[Address], lows: Sequence[Address | None], j0: Value, width: int) -> None:
        """Rows left of the diagonal: what each begins with by column, and where its L goes, if anywhere."""
        total = [[Variable(start(j0 + c)) for c in range(width)] for start in starts]
        with loop(0, j0) as k:
            rows = [self.raw(r, k).load(FLOATS) for r in range(len(starts))]
            columns = [self.low(j0 + c, k).load(FLOATS) for c in range(width)]
            for row, x in zip(total, rows, strict=True):
                for cell, y in zip(row, columns, strict=True):
                    cell.set(cell.get() - x * y)
        for r, row in enumerate(total):
            done: list[Value] = []
            for c, cell in enumerate(row):
                value = cell.get()
                for b, before in enumerate(done):
                    value = value - before * self.low(j0 + c, j0 + b).load(FLOATS)
                done.append(value)
                self.raw(r, j0 + c).store(value)
                if low := lows[r]:
                    low(j0 + c).store(value * self.low(j0 + c, j0 + c).load(FLOATS))

    def diagonal(self, i0: Value, height: int) -> None:
        """The tile on the diagonal and its pivots."""
        total = [[Variable(self.prior(_place(i0 + r) + i0 + c)) for c in range(r)] for r in range(height)]
        pivots = [Variable(self.prior(_place(i0 + r) + i0 + r) + self.ridge) for r in range(height)]
        with loop(0, i0) as k:
            rows = [self.raw(r, k).load(FLOATS) for r in range(height)]
            columns = [self.low(i0 + r, k).load(FLOATS) for r in range(height)]
            for r in range(height):
                for c in range(r):
                    total[r][c].set(total[r][c].get() - rows[r] * columns[c])
                pivots[r].set(pivots[r].get() - rows[r] * columns[r])
        low: dict[tuple[int, int], Value] = {}
        inverse: list[Value] = []
        for r in range(height):
            done: list[Value] = []
            pivot = pivots[r].get()
            for c in range(r):
                value = total[r][c].get()
                for b, before in enumerate(done):
                    value = value - before * low[c, b]
                done.append(value)
                low[r, c] = value * inverse[c]
                self.low(i0 + r, i0 + c).store(low[r, c])
                pivot = pivot - value * low[r, c]
            inverse.append(self.inverse_pivot(pivot))
            self.low(i0 + r, i0 + r).store(inverse[r])

    def factorise(self, step: int) -> None:
        """All rows of the features, `step` at a time."""

        def rows(i0: Value, height: int) -> None:
            starts = [lambda j, i=i0 + r: self.prior(_place(i) + j) for r in range(height)]
            lows = [lambda j, i=i0 + r: self.low(i, j) for r in range(height)]
            with loop(0, i0, step) as j0:
                self.tile(starts, lows, j0, step)
            self.diagonal(i0, height)

        zero = self._low.of(0)
        whole, rest = self.size // step * step, self.size % step
        with loop(0, zero + whole, step) as i0:
            rows(i0, step)
        if rest:
            rows(zero + whole, rest)

    def solve(self, step: int, channels: int, orders: Sequence[int], features: Callable[[Value], Value]) -> list[Value]:
        """The rows of the values and, as one more, u = L^-1 f; then what `regression` puts out, order by order."""
        size, zero = self.size, self._low.of(0)
        starts = [*(lambda j, c=c: self.prior(j + triangle(size + c, 0)) for c in range(channels)), features]
        lows = [*(lambda j, c=c: self.last(c, j) for c in range(channels)), None]
        whole, rest = size // step * step, size % step
        with loop(0, zero + whole, step) as j0:
            self.tile(starts, lows, j0, step)
        if rest:
            self.tile(starts, lows, zero + whole, rest)
        known = [(c, e) for c in range(channels - 1) for e in range(c + 1)]  # pivots: all channels but the last
        known += [(channels - 1, e) for e in range(channels - 1)]
        left = {}
        for c, e in known:
            prior = self.prior(triangle(size + c, size + e))
            left[c, e] = Variable(prior + self.ridge if c == e else prior)
        r, done, results = [Variable(self.ridge.of(0.0)) for _ in range(channels)], 0, []
        for order in orders:
            with loop(done, zero + order) as j:
                low, u = [self.last(c, j).load(FLOATS) for c in range(channels)], self.raw(channels, j).load(FLOATS)
                for c in range(channels):
                    r[c].set(r[c].get() + low[c] * u)
                for c, e in known:
                    left[c, e].set(left[c, e].get() - self.raw(c, j).load(FLOATS) * low[e])
            done = order
            results.append(r[0].get())
            if channels == 3:
                now = {place: value.get() for place, value in left.items()}
                inverse0 = self.inverse_pivot(now[0, 0])
                l10, l20 = now[1, 0] * inverse0, now[2, 0] * inverse0
                inverse1 = self.inverse_pivot(now[1, 1] - now[1, 0] * l10)
                l21 = (now[2, 1] - now[2, 0] * l10) * inverse1
                results += [l10, r[1].get(), l20, l21, r[2].get()]
        return results


def _place(i: Value) -> Value:
    """Place of (i, 0) in a lower triangle stored by rows."""
    return (i * (i + 1)) >> 1


@lru_cache
def regression(unknowns: int, channels: int, orders: tuple[int, ...]) -> Any:
    """Intrinsic: solve the local least squares of sixteen lanes for every order at once.

    `state` is the address of the lanes' P of `unknowns` features and then the `channels` values, a triangle of vectors
    by rows; in features and out column y + 1 belongs to lane y; `work` is room for `working(unknowns, channels)`
    vectors.  With P + ridge I = L D L^T by rows, u = L^-1 f gives the prediction of the first channel by the first m
    features as sum_{j<m} L[unknowns, j] u_j: one factorisation serves all orders m and all channels (see `predict.py`).

    out, float32[rows, stride], for each order: the first channel's prediction r0; then, with three channels, l10, r1,
    l20, l21, r2 such that  u0 = f0 - r0;  second = r1 + l10 u0;  u1 = f1 - second;  third = (r2 + l20 u0) + l21 u1.
    """
    step = TILE if "avx512f" in processor_features() else TILE // 2

    def emit(state: Value, features: Value, out: Value, work: Value, stride: Value, y: Value, ridge: Value) -> None:
        def column(base: Value, row: Value | int) -> Value:
            return base + (stride * row + y + 1) * 4

        factors = _Factors(state, work, unknowns, ridge)
        factors.factorise(step)
        results = factors.solve(step, channels, orders, lambda j: column(features, j).load(FLOATS))
        for row, value in enumerate(results):
            column(out, row).store(value)

    return emitted([*[INTP] * 6, FLOAT32], emit)


def working(unknowns: int, channels: int) -> int:
    """How many vectors a regression works in."""
    return triangle(unknowns, 0) + (MOST_ROWS + channels) * unknowns


@lru_cache
def accumulation(rows: int) -> Any:
    """Intrinsic: sixteen lanes' statistics take in a step, and become P of those that the next one has.

    S = P + f f^T for the lanes in first..last, and P = a S[y] + b S[y-1] for those in next_first..next_last.  `state`
    is the address of the block of lane y, `f` float32[rows, stride]; at `above` lies S of the block above, `kept` gets
    that of this one: where they are one, blocks can follow each other by ascending lanes.  Values of S within `FLUSH`
    of zero become zero.
    """

    def emit(
        state: Value, above: Value, kept: Value, f: Value, stride: Value, y: Value, a: Value, b: Value, first: Value,
        last: Value, next_first: Value, next_last: Value,
    ) -> None:  # fmt: skip
        a, b = a.splat(FLOATS), b.splat(FLOATS)
        lane = y.to(I32).splat(INTS) + Value(y.builder, ir.Constant(INTS, [I32(i) for i in range(LANES)]))

        def within(first: Value, last: Value) -> Value:
            return (lane >= first.to(I32).splat(INTS)) & (lane <= last.to(I32).splat(INTS))

        active, following = within(first, last), within(next_first, next_last)
        values = [(f + (stride * i + y + 1) * 4).load(FLOATS) for i in range(rows)]
        for i in range(rows):
            for j in range(i + 1):
                place = triangle(i, j) * VECTOR
                before, upper = (state + place).load(FLOATS), (above + place).load(FLOATS)
                new = before + values[i] * values[j]
                new = new.where(new.called("llvm.fabs.v16f32") > FLUSH, 0.0).where(active, before)
                (kept + place).store(new)
                prior = a * new + b * upper.shuffled(new, range(LANES - 1, 2 * LANES - 1))
                (state + place).store(prior.where(following, new))
                (state + (triangle(rows, 0) * VECTOR + place)).prefetch()

    return emitted([*[INTP] * 6, *[FLOAT32] * 2, *[INTP] * 4], emit)


def statistics(memories: int, rows: int, lanes: int) -> np.ndarray:
    """No statistics yet of `rows` features and values: zeros, float32[memories, 1 + blocks, triangle, 16].

    Lower triangles by rows, of sixteen lanes each: a block lies in one piece, so that it streams through the caches;
    block 0 is above the first lane.  Lanes that the next step has hold P, the others S (see `accumulation`).
    """
    return aligned((memories, 1 + (lanes + LANES - 1) // LANES, triangle(rows, 0), LANES), np.float32)
