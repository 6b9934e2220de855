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
    from collections.abc import Callable

VECTOR = 4 * LANES  # bytes of sixteen lanes
TILE = 4  # rows and columns of a tile that stays in registers; half as many where they are few
MOST_ROWS = 4  # of a tile: there are at most three values
FLUSH = 1e-20  # statistics smaller than this become zero: denormals are slow, and not the same on every processor


def triangle(row: int, column: int) -> int:
    """Place of (row, column), column <= row, in a lower triangle stored by rows."""
    return row * (row + 1) // 2 + column


class _Lanes:
    """Addresses of sixteen lanes' statistics, lower triangles in binary32[1 + blocks of lanes, triangle, 16].

    A block lies in one piece, so that it streams through the caches; block 0 is zeros, above the first lane.
    """

    def __init__(self, base: Value, rows: int, y: Value) -> None:
        self._above = base + y * (4 * triangle(rows, 0))
        self._here = self._above + 4 * LANES * triangle(rows, 0)

    def load(self, place: Value | int) -> tuple[Value, Value]:
        """S[y] and S[y-1] of the sixteen lanes at a place of the triangle."""
        here, above = (base + place * VECTOR for base in (self._here, self._above))
        left = here.load(FLOATS)
        return left, above.load(FLOATS).shuffled(left, range(LANES - 1, 2 * LANES - 1))

    def store(self, value: Value, place: int) -> None:
        (self._here + place * VECTOR).store(value)

    def prefetch(self, place: int) -> None:
        """The block above the one above, which comes next."""
        (self._above * 2 - self._here + place * VECTOR).prefetch()


class _Factors:
    """L D L^T of sixteen lanes, tile by tile: the loops over earlier columns stay short code and work in registers.

    With `height` rows from i0 on and `width` columns from j0 on, A_ij -= A_ik L_jk for k < j in ascending order, and
    L_ij = A_ij / d_j.  A of the rows at work, L, 1 / d and u lie in `work`.
    """

    def __init__(self, statistics: _Lanes, work: Value, size: int, coefficients: tuple[Value, Value, Value]) -> None:
        self.statistics, self.size = statistics, size
        self.a, self.b, self.ridge = coefficients
        self._raw, self._inverse, self._u = (work + VECTOR * k * size for k in (0, MOST_ROWS, MOST_ROWS + 1))
        self._low = work + VECTOR * (MOST_ROWS + 2) * size

    def prior(self, place: Value | int) -> Value:
        left, above = self.statistics.load(place)
        return self.a * left + self.b * above

    def inverse_pivot(self, d: Value) -> Value:
        return d.of(1.0) / d.where(d > self.ridge * 0.5, self.ridge)

    def raw(self, row: int, k: Value) -> Value:
        return self._raw + (k + row * self.size) * VECTOR

    def inverse(self, k: Value) -> Value:
        return self._inverse + k * VECTOR

    def u(self, k: Value) -> Value:
        return self._u + k * VECTOR

    def low(self, i: Value, k: Value) -> Value:
        return self._low + (_place(i) - i + k) * VECTOR

    def tile(self, i0: Value, height: int, j0: Value, width: int) -> None:
        """Rows left of the diagonal."""
        total = [[Variable(self.prior(_place(i0 + r) + j0 + c)) for c in range(width)] for r in range(height)]
        with loop(0, j0) as k:
            rows = [self.raw(r, k).load(FLOATS) for r in range(height)]
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
                self.low(i0 + r, j0 + c).store(value * self.inverse(j0 + c).load(FLOATS))

    def diagonal(self, i0: Value, height: int, features: Callable[[Value], Value]) -> None:
        """The tile on the diagonal, its pivots, and u = L^-1 f."""
        total = [[Variable(self.prior(_place(i0 + r) + i0 + c)) for c in range(r)] for r in range(height)]
        pivots = [Variable(self.prior(_place(i0 + r) + i0 + r) + self.ridge) for r in range(height)]
        us = [Variable(features(i0 + r)) for r in range(height)]
        with loop(0, i0) as k:
            rows = [self.raw(r, k).load(FLOATS) for r in range(height)]
            columns, u = [self.low(i0 + r, k).load(FLOATS) for r in range(height)], self.u(k).load(FLOATS)
            for r in range(height):
                for c in range(r):
                    total[r][c].set(total[r][c].get() - rows[r] * columns[c])
                pivots[r].set(pivots[r].get() - rows[r] * columns[r])
                us[r].set(us[r].get() - columns[r] * u)
        low: dict[tuple[int, int], Value] = {}
        inverse: list[Value] = []
        for r in range(height):
            done: list[Value] = []
            pivot, v = pivots[r].get(), us[r].get()
            for c in range(r):
                value = total[r][c].get()
                for b, before in enumerate(done):
                    value = value - before * low[c, b]
                done.append(value)
                low[r, c] = value * inverse[c]
                self.low(i0 + r, i0 + c).store(low[r, c])
                pivot, v = pivot - value * low[r, c], v - low[r, c] * self.u(i0 + c).load(FLOATS)
            inverse.append(self.inverse_pivot(pivot))
            self.inverse(i0 + r).store(inverse[r])
            self.u(i0 + r).store(v)


def _place(i: Value) -> Value:
    """Place of (i, 0) in a lower triangle stored by rows."""
    return (i * (i + 1)) >> 1


@lru_cache
def regression(unknowns: int, channels: int, orders: tuple[int, ...]) -> Any:
    """Intrinsic: solve the local least squares of sixteen lanes for every order at once.

    `state` holds the statistics of `unknowns` features and then the `channels` values (`_Lanes`); in features and out
    column y + 1 belongs to lane y; `work` is room for `working(unknowns, channels)` vectors.  With P =
    a S[y] + b S[y-1] = L D L^T by rows, u = L^-1 f gives the prediction of the first channel by the first m features as
    sum_{j<m} L[unknowns, j] u_j: one factorisation serves all orders m and all channels (see `predict.py`).

    out, float32[rows, stride], for each order: the first channel's prediction r0; then, with three channels, l10, r1,
    l20, l21, r2 such that  u0 = f0 - r0;  second = r1 + l10 u0;  u1 = f1 - second;  third = (r2 + l20 u0) + l21 u1.
    """
    step = TILE if "avx512f" in processor_features() else TILE // 2

    def emit(
        state: Value,
        features: Value,
        out: Value,
        work: Value,
        stride: Value,
        y: Value,
        a: Value,
        b: Value,
        ridge: Value,
    ) -> None:
        def column(base: Value, row: Value | int) -> Value:
            return base + (stride * row + y + 1) * 4

        coefficients = a.splat(FLOATS), b.splat(FLOATS), ridge.splat(FLOATS)
        factors = _Factors(_Lanes(state, unknowns + channels, y), work, unknowns, coefficients)
        whole, rest, zero = unknowns // step * step, unknowns % step, y.of(0)

        def rows(i0: Value, height: int, before: Value) -> None:
            with loop(0, before, step) as j0:
                factors.tile(i0, height, j0, step)

        with loop(0, zero + whole, step) as i0:
            rows(i0, step, i0)
            factors.diagonal(i0, step, lambda i: column(features, i).load(FLOATS))
        if rest:
            rows(zero + whole, rest, zero + whole)
            factors.diagonal(zero + whole, rest, lambda i: column(features, i).load(FLOATS))
        values = zero + unknowns
        rows(values, channels, zero + whole)
        if rest:
            factors.tile(values, channels, zero + whole, rest)
        known = [(c, e) for c in range(channels - 1) for e in range(c + 1)]  # pivots: all channels but the last
        known += [(channels - 1, e) for e in range(channels - 1)]
        left = {}
        for c, e in known:
            prior = factors.prior(triangle(unknowns + c, unknowns + e))
            left[c, e] = Variable(prior + factors.ridge if c == e else prior)
        r, done, row = [Variable(factors.ridge.of(0.0)) for _ in range(channels)], 0, 0
        for order in orders:
            with loop(done, zero + order) as j:
                low, u = [factors.low(values + c, j).load(FLOATS) for c in range(channels)], factors.u(j).load(FLOATS)
                for c in range(channels):
                    r[c].set(r[c].get() + low[c] * u)
                for c, e in known:
                    left[c, e].set(left[c, e].get() - factors.raw(c, j).load(FLOATS) * low[e])
            done = order
            results = [r[0].get()]
            if channels == 3:
                now = {place: value.get() for place, value in left.items()}
                inverse0 = factors.inverse_pivot(now[0, 0])
                l10, l20 = now[1, 0] * inverse0, now[2, 0] * inverse0
                inverse1 = factors.inverse_pivot(now[1, 1] - now[1, 0] * l10)
                l21 = (now[2, 1] - now[2, 0] * l10) * inverse1
                results += [l10, r[1].get(), l20, l21, r[2].get()]
            for value in results:
                column(out, row).store(value)
                row += 1

    return emitted([*[INTP] * 6, *[FLOAT32] * 3], emit)


def working(unknowns: int, channels: int) -> int:
    """How many vectors a regression works in."""
    return (MOST_ROWS + 2) * unknowns + triangle(unknowns + channels, 0)


@lru_cache
def accumulation(rows: int) -> Any:
    """Intrinsic: S[y] = (a S[y] + b S[y-1]) + f f^T for those of sixteen lanes that lie in first..last.

    `f` is float32[rows, stride]; values within `FLUSH` of zero become zero.  Call it with y descending.
    """

    def emit(state: Value, f: Value, stride: Value, y: Value, a: Value, b: Value, first: Value, last: Value) -> None:
        statistics = _Lanes(state, rows, y)
        a, b = a.splat(FLOATS), b.splat(FLOATS)
        lane = y.to(I32).splat(INTS) + Value(y.builder, ir.Constant(INTS, [I32(i) for i in range(LANES)]))
        active = (lane >= first.to(I32).splat(INTS)) & (lane <= last.to(I32).splat(INTS))
        values = [(f + (stride * i + y + 1) * 4).load(FLOATS) for i in range(rows)]
        for i in range(rows):
            for j in range(i + 1):
                old, above = statistics.load(triangle(i, j))
                new = (a * old + b * above) + values[i] * values[j]
                new = new.where(new.called("llvm.fabs.v16f32") > FLUSH, 0.0)
                statistics.store(new.where(active, old), triangle(i, j))
                statistics.prefetch(triangle(i, j))

    return emitted([*[INTP] * 4, *[FLOAT32] * 2, *[INTP] * 2], emit)


def statistics(memories: int, rows: int, lanes: int) -> np.ndarray:
    """No statistics yet of `rows` features and values: zeros, float32[memories, 1 + blocks, triangle, 16]."""
    return aligned((memories, 1 + (lanes + LANES - 1) // LANES, triangle(rows, 0), LANES), np.float32)
