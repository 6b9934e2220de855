"""Logits to frequencies: an integer softmax by table, restricted to the possible symbols.

Class j covers the residuals starts[j]..ends[j] around the rounded centre q of its pixel (with the raw output q = 0 and
every symbol is its own class); each symbol has the logit of its class.  With logits in 1/256 of a bit and `top` the
largest of the classes that some symbol 0..255 belongs to,

    w_j = EXP2[d mod 256] >> (d div 256)   with d = top - logit_j,        T = sum over the 256 symbols of w
    count = (w * floor((2^24 - 256) 2^28 / T)) >> 28

and what is missing to the sum 2^24 - 256 goes to the first symbol with the largest count.  The coder adds 1 to each.

A pixel's *row* is int32[`row_size`]: the count that each symbol of a class has, and in the end a symbol and what it has
more, if it is not alone in its class (alone, its count has it already).  `begin` and `below` make intervals of it.
"""

from __future__ import annotations

from math import isqrt
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from llvmlite import ir

from pixcodec.exact.compiled import compiled, specialise
from pixcodec.exact.emit import I16, I32, I64, INTP, INTS, LANES, Value, Variable, constant, emitted, loop
from pixcodec.exact.tables import LOGIT_UNIT, SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

TOTAL = (1 << 24) - SYMBOLS  # sum of the counts of a row
EXP2_BITS = 24
SHIFT = 28
LOGIT_BITS = LOGIT_UNIT.bit_length() - 1
MOST_CLASSES = 512  # rounded up to whole vectors
TOGETHER = 4  # rows that a kernel works on
WORK = 2 * (MOST_CLASSES + LANES)  # numbers of 32 bits that it needs for each: sizes of classes, and as many of its own
NONE = -(1 << 30)
_u = np.uint64
_inlined = compiled(_nrt=False, inline="always")
SHORTS, LONGS = ir.VectorType(I16, LANES), ir.VectorType(I64, LANES)


def _exp2_table() -> np.ndarray:
    """int64[256]: 2^(24 - f / 256), rounded, by integer arithmetic only: the root by eight integer square roots."""
    precision = 160
    root = 1 << precision - 1
    for _ in range(8):  # 2^-1 to 2^(-1/256), in 2^-160
        root = isqrt(root << precision)
    table, power = np.empty(LOGIT_UNIT, np.int64), 1 << precision
    drop = precision - EXP2_BITS
    for f in range(LOGIT_UNIT):
        table[f] = (power + (1 << drop - 1)) >> drop
        power = power * root >> precision
    return table


EXP2 = _exp2_table()
_EXP2 = EXP2.astype(np.int32)  # for gathers


class Classes(NamedTuple):
    """The classes of residuals, for compiled functions.

    Attributes:
        number: how many.
        of: int16[511], the class of each residual from -255 on.
        low, high: int32[MOST_CLASSES], first and last residual of each; none of those that are too many.
    """

    number: int
    of: np.ndarray
    low: np.ndarray
    high: np.ndarray


def class_table(classes: np.ndarray, symbols: int = SYMBOLS) -> Classes:
    """Of the class of each residual -255..255, ascending; of fewer symbols as many classes, the first ones."""
    starts, ends = class_intervals(classes)
    number = len(starts) if symbols == SYMBOLS else symbols
    low, high = np.full(MOST_CLASSES, SYMBOLS, np.int32), np.full(MOST_CLASSES, -SYMBOLS, np.int32)
    low[:number], high[:number] = starts[:number], ends[:number]
    return Classes(number, classes.astype(np.int16), low, high)


def row_size(number: int) -> int:
    """Numbers of a row of so many classes: whole vectors."""
    return -(-(number + 2) // LANES) * LANES


def class_intervals(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last residual of each class, from the class of each residual -255..255 (ascending)."""
    numbers = np.arange(int(classes.max()) + 1)
    starts = np.searchsorted(classes, numbers, side="left") - 255
    ends = np.searchsorted(classes, numbers, side="right") - 256
    return starts, ends


class Row:
    """A row of a kernel: where its parts lie, as addresses, and what is found on the way."""

    def __init__(self, logits: Value, least: Value, out: Value, sizes: Value) -> None:
        self.logits, self.least, self.out, self.sizes = logits, least, out, sizes
        self.smallest = least.to(I32).splat(INTS)  # possible residual
        none = Value(out.builder, constant(INTS, NONE))
        self.top, self.largest, self.found = Variable(none), Variable(none), Variable(none * -1)
        self.total, self.taken = Variable(none.of(0).to(I64)), Variable(none.of(0))

    def logit(self, j: Value) -> Value:
        """Sixteen logits."""
        return (self.logits + j * 2).load(SHORTS).to(I32)

    def measure(self, j: Value, lowest: Value, highest: Value, symbols: Value) -> Value:
        """How many possible symbols sixteen classes have, of their first and last residuals; kept."""
        size = highest.least(self.smallest + (symbols - 1)) - lowest.most(self.smallest) + 1
        at(self.sizes, j).store(size.most(0))
        return size

    def size(self, j: Value) -> Value:
        """What `measure` kept."""
        return at(self.sizes, j).load(INTS)

    def give(self, j: Value, count: Value) -> None:
        """Sixteen classes' counts of each symbol."""
        at(self.out, j).store(count)
        self.taken.set(self.taken.get() + count * self.size(j))
        self.largest.set(self.largest.get().most(count.where(self.size(j) > 0, NONE)))

    def count(self, j: Value) -> Value:
        """What was stored."""
        return at(self.out, j).load(INTS)


def at(base: Value, place: Value) -> Value:
    """The address of a number of 32 bits."""
    return base + place * 4


def _emit_rows(
    logits: Value, least: Value, out: Value, work: Value, classes: Value, low: Value, high: Value, exp2: Value,
    symbols: Value, last: Value,
) -> None:  # fmt: skip
    """Rows whose addresses are in arrays, side by side: one alone would wait for its own sums."""
    word = logits.type
    rows = []
    for r in range(TOGETHER):
        own, possible, target = ((base + 8 * r).load(word) for base in (logits, least, out))
        rows.append(Row(own, possible, target, work + 4 * WORK * r))
    span = symbols.to(I32).splat(INTS)
    with loop(0, classes, LANES) as j:
        lowest, highest = at(low, j).load(INTS), at(high, j).load(INTS)
        for row in rows:
            size = row.measure(j, lowest, highest, span)
            row.top.set(row.top.get().most(row.logit(j).where(size > 0, NONE)))
    tops = [row.top.get().reduced("smax").splat(INTS) for row in rows]
    with loop(0, classes, LANES) as j:
        for row, top in zip(rows, tops, strict=True):
            drop = (top - row.logit(j)).most(0)  # below 0 only where the class has no symbol
            weight = _gathered(exp2, drop & (LOGIT_UNIT - 1)) >> (drop >> LOGIT_BITS).least(31)
            at(row.out, j).store(weight)
            row.total.set(row.total.get() + weight.to(I64) * row.size(j).to(I64))
    whole = (symbols - (1 << EXP2_BITS)) * -1
    reciprocals = [((whole << SHIFT) / row.total.get().reduced("add")).splat(LONGS) for row in rows]
    with loop(0, classes, LANES) as j:
        for row, reciprocal in zip(rows, reciprocals, strict=True):
            row.give(j, ((row.count(j).to(I64) * reciprocal) >> SHIFT).to(I32))
    give_rest(rows, whole, classes, low, last)


def give_rest(rows: Sequence[Row], whole: Value, classes: Value, low: Value, last: Value) -> None:
    """What the counts lack to the sum `whole` goes to the first symbol with the largest, and to the row's end."""
    word = whole.type
    largest = [row.largest.get().reduced("smax") for row in rows]
    lanes = Value(whole.builder, ir.Constant(INTS, [I32(k) for k in range(LANES)]))
    with loop(0, classes, LANES) as j:
        for row, count in zip(rows, largest, strict=True):
            same = row.count(j).equals(count.splat(INTS)) & (row.size(j) > 0)
            row.found.set(row.found.get().least((lanes + j.to(I32).splat(INTS)).where(same, -NONE)))
    for row, count in zip(rows, largest, strict=True):
        j = row.found.get().reduced("smin").to(word)
        rest, none = whole.to(I32) - row.taken.get().reduced("add"), count.of(0)
        alone = at(row.sizes, j).load(I32).equals(1)
        at(row.out, j).store(count + rest.where(alone, none))
        at(row.out, last).store((at(low, j).load(I32).to(word).most(row.least) - row.least).to(I32))
        at(row.out, last + 1).store(none.where(alone, rest))


def _gathered(table: Value, places: Value) -> Value:
    """int32 of a table at sixteen places."""
    found = places
    for k in range(LANES):
        found = found.replaced(k, at(table, places[k].to(table.type)).load(I32))
    return found


def _make_rows(logits, centres, classes, symbols, rows):  # type: ignore[no-untyped-def]
    """Fill `rows`, int32[n, row_size], from int16[n, outputs] and centres int[n].

    There are 256 symbols; bilevel images have 2, each its own class, and the centre 0.
    """
    number, width = logits.shape[1], rows.shape[1]
    padded, work = np.zeros((TOGETHER, MOST_CLASSES), np.int16), np.empty((TOGETHER, WORK), np.int32)
    sources, least, outs = np.empty(TOGETHER, np.int64), np.empty(TOGETHER, np.int64), np.empty(TOGETHER, np.int64)
    spare = np.empty((TOGETHER, width), np.int32)  # for the last row, again
    whole = logits.strides[1] == 2 and logits.strides[0] >= 2 * ((number + LANES - 1) & -LANES)  # of whole vectors
    final = logits.shape[0] - 1
    for start in range(0, final + 1, TOGETHER):
        for r in range(TOGETHER):
            i = min(start + r, final)
            sources[r], least[r] = logits.ctypes.data + i * logits.strides[0], -np.int64(centres[i])
            if not whole:
                for j in range(number):
                    padded[r, j] = logits[i, j]
                sources[r] = padded.ctypes.data + r * padded.strides[0]
            outs[r] = rows.ctypes.data + i * rows.strides[0] if start + r == i else spare[r].ctypes.data
        emit_rows(  # type: ignore[name-defined] # noqa: F821
            sources.ctypes.data, least.ctypes.data, outs.ctypes.data, work.ctypes.data, classes.number,
            classes.low.ctypes.data, classes.high.ctypes.data, _EXP2.ctypes.data, symbols, width - 2,
        )  # fmt: skip


# Its arguments: outputs int16[n, ..], centres int[n], classes, how many symbols there are, rows int32[n, row_size].
class_counts = specialise(_make_rows, "class_counts", emit_rows=emitted([INTP] * 10, _emit_rows))


def _emit_bases(row: Value, centre: Value, low: Value, high: Value, classes: Value, out: Value) -> None:
    """Of each class the sum of all counts before it, less its own for each symbol before its first one; modulo 2^32."""
    least = (centre * -1).to(I32).splat(INTS)
    before = Variable(Value(row.builder, constant(INTS, 0)))
    with loop(0, classes, LANES) as j:
        count, first = at(row, j).load(INTS), at(low, j).load(INTS).most(least)
        taken = count * (at(high, j).load(INTS).least(least + (SYMBOLS - 1)) - first + 1).most(0)
        sums, shift = taken, 1
        while shift < LANES:
            order = [i if i < shift else LANES + i - shift for i in range(LANES)]
            sums, shift = sums + sums.of(0).shuffled(sums, order), 2 * shift
        at(out, j).store(before.get() + sums - taken - count * (first - least))
        before.set(before.get() + sums.shuffled(sums, [LANES - 1] * LANES))


_find_bases: Any = emitted([INTP] * 6, _emit_bases)


@_inlined
def begin(row, centre, classes, bases):  # type: ignore[no-untyped-def]
    """Make ready for `below` of a pixel's row, int32[row_size]: `bases` is int32[MOST_CLASSES]."""
    _find_bases(
        row.ctypes.data, centre, classes.low.ctypes.data, classes.high.ctypes.data, classes.number, bases.ctypes.data
    )


@_inlined
def below(row, centre, classes, bases, v):  # type: ignore[no-untyped-def]
    """Frequencies of the symbols below v, 0 to 255, in 2^-24, after `begin`."""
    j, last = np.int64(classes.of[_u(v - centre + (SYMBOLS - 1))]), row.size - 1
    more = np.int64(row[_u(last)]) & -np.int64(v > row[_u(last - 1)])
    return np.int64(np.int32(np.int64(bases[_u(j)]) + np.int64(row[_u(j)]) * v)) + v + more


@_inlined
def count_of(row, centre, classes, v):  # type: ignore[no-untyped-def]
    """Of a symbol, by a pixel's row."""
    last = row.size - 1
    more = row[last] if v == row[last - 1] else np.int32(0)
    return row[classes.of[v - centre + (SYMBOLS - 1)]] + more


@compiled()
def symbol_counts(rows, centres, classes, counts):  # type: ignore[no-untyped-def]
    """Fill `counts`, float32[n, symbols] holding integers, from rows int32[n, row_size]."""
    for i in range(counts.shape[0]):
        for v in range(counts.shape[1]):
            counts[i, v] = count_of(rows[i], np.int64(centres[i]), classes, v)


def counts_of_logits(logits: np.ndarray, centres: np.ndarray, classes: Classes, counts: np.ndarray) -> None:
    """Fill `counts`, float32[n, s] holding integers of sum 2^24 - s, from logits int16[n, ..] and centres int[n]."""
    rows = np.empty((len(logits), row_size(classes.number)), np.int32)
    class_counts(logits, centres, classes, counts.shape[1], rows)
    symbol_counts(rows, centres, classes, counts)


@compiled()
def code_length(rows, centres, classes, symbols):  # type: ignore[no-untyped-def]
    """Bits that an ideal coder spends on `symbols` by these rows (for reports, never for coding)."""
    bits = 0.0
    for i in range(symbols.size):
        count = count_of(rows[i], np.int64(centres[i]), classes, np.int64(symbols[i]))
        bits += 24.0 - np.log2(np.float64(count) + 1.0)
    return bits
