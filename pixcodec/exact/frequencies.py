"""Logits to frequencies: an integer softmax by table, restricted to the possible symbols.

Class j covers the residuals starts[j]..ends[j] around the rounded centre q of its pixel (with the raw output q = 0 and
every symbol is its own class); each symbol has the logit of its class.  With logits in 1/256 of a bit and `top` the
largest of the classes that some symbol 0..255 belongs to,

    w_j = EXP2[d mod 256] >> (d div 256)   with d = top - logit_j,        T = sum over the 256 symbols of w
    count = (w * floor((2^24 - 256) 2^28 / T)) >> 28

and what is missing to the sum 2^24 - 256 goes to the first symbol with the largest count.  The coder adds 1 to each.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir

from pixcodec.exact.compiled import compiled, specialise
from pixcodec.exact.emit import F32, FLOATS, I16, I32, I64, INTP, INTS, LANES, Value, Variable, constant, emitted, loop
from pixcodec.exact.network import LOGIT_UNIT, SYMBOLS

TOTAL = (1 << 24) - SYMBOLS  # sum of the counts of a row
EXP2_BITS = 24
SHIFT = 28
LOGIT_BITS = LOGIT_UNIT.bit_length() - 1
MOST_CLASSES = 512  # rounded up to whole vectors
TOGETHER = 4  # rows that a kernel works on
WORK = 2 * MOST_CLASSES + LANES  # numbers of 32 bits that it needs for each
NONE = -(1 << 30)
SHORTS, LONGS = ir.VectorType(I16, LANES), ir.VectorType(I64, LANES)


def _exp2_table() -> np.ndarray:
    """int64[256]: 2^(24 - f / 256), rounded, by integer arithmetic only: the root by eight integer square roots."""
    from math import isqrt

    precision = 160
    root = 1 << (precision << 8) - 1  # 2^(256 precision - 1): its 256th root is 2^precision 2^(-1/256)
    for _ in range(8):
        root = isqrt(root)
    table, power = np.empty(LOGIT_UNIT, np.int64), 1 << precision
    drop = precision - EXP2_BITS
    for f in range(LOGIT_UNIT):
        table[f] = (power + (1 << drop - 1)) >> drop
        power = power * root >> precision
    return table


EXP2 = _exp2_table()


def class_intervals(classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First and last residual of each class, from the class of each residual -255..255 (ascending)."""
    numbers = np.arange(int(classes.max()) + 1)
    starts = np.searchsorted(classes, numbers, side="left") - 255
    ends = np.searchsorted(classes, numbers, side="right") - 256
    return starts, ends


class _Row:
    """A row of a kernel: where its parts lie, as addresses, and what is found on the way."""

    def __init__(self, logits: Value, least: Value, out: Value, work: Value) -> None:
        self.logits, self.least, self.out = logits, least, out
        self.smallest = least.to(I32).splat(INTS)  # possible residual
        self.sizes, self.weights = work, work + 4 * MOST_CLASSES
        none = Value(work.builder, constant(INTS, NONE))
        self.top, self.largest, self.found = Variable(none), Variable(none), Variable(none * -1)
        self.total, self.taken = Variable(none.of(0).to(I64)), Variable(none.of(0))

    def logit(self, j: Value) -> Value:
        return (self.logits + j * 2).load(SHORTS).to(I32)

    def size(self, j: Value) -> Value:
        return _at(self.sizes, j).load(INTS)


def _at(base: Value, place: Value) -> Value:
    return base + place * 4


def _emit_rows(
    logits: Value, least: Value, out: Value, work: Value, form: Value, low: Value, high: Value, exp2: Value,
    symbols: Value,
) -> None:  # fmt: skip
    """Counts of rows whose addresses are in arrays, side by side: one alone would wait for its own sums."""
    word = logits.type
    rows = []
    for r in range(TOGETHER):
        own, possible, target = ((base + 8 * r).load(word) for base in (logits, least, out))
        rows.append(_Row(own, possible, target, work + 4 * WORK * r))
    classes, first, last = ((form + 4 * k).load(I32).to(word) for k in range(3))
    span = (symbols.to(I32) - 1).splat(INTS)
    with loop(0, classes, LANES) as j:
        lowest, highest = _at(low, j).load(INTS), _at(high, j).load(INTS)
        for row in rows:
            size = highest.least(row.smallest + span) - lowest.most(row.smallest) + 1  # symbols of the class
            _at(row.sizes, j).store(size.most(0))
            row.top.set(row.top.get().most(row.logit(j).where(size > 0, NONE)))
    tops = [row.top.get().reduced("smax").splat(INTS) for row in rows]
    with loop(0, classes, LANES) as j:
        for row, top in zip(rows, tops, strict=True):
            drop = (top - row.logit(j)).most(0)  # below 0 only where the class has no symbol
            weight = _gathered(exp2, drop & (LOGIT_UNIT - 1)) >> (drop >> LOGIT_BITS).least(31)
            _at(row.weights, j).store(weight)
            row.total.set(row.total.get() + weight.to(I64) * row.size(j).to(I64))
    whole = (symbols - (1 << EXP2_BITS)) * -1
    reciprocals = [((whole << SHIFT) / row.total.get().reduced("add")).splat(LONGS) for row in rows]
    with loop(0, classes, LANES) as j:
        for row, reciprocal in zip(rows, reciprocals, strict=True):
            count = ((_at(row.weights, j).load(INTS).to(I64) * reciprocal) >> SHIFT).to(I32)
            _at(row.weights, j).store(count.to(F32))
            row.taken.set(row.taken.get() + count * row.size(j))
            row.largest.set(row.largest.get().most(count.where(row.size(j) > 0, NONE)))
    largest = [row.largest.get().reduced("smax") for row in rows]
    lanes = Value(logits.builder, ir.Constant(INTS, [I32(k) for k in range(LANES)]))
    with loop(0, classes, LANES) as j:
        for row, count in zip(rows, largest, strict=True):
            same = _at(row.weights, j).load(FLOATS).equals(count.to(F32).splat(FLOATS)) & (row.size(j) > 0)
            row.found.set(row.found.get().least((lanes + j.to(I32).splat(INTS)).where(same, -NONE)))
    for row, count in zip(rows, largest, strict=True):
        _spread(row, low, first.of(0), first)
        shift = _at(low, first).load(I32).to(word) - row.least
        begin, end = (shift * -1).most(0), (symbols - shift).least(last - first)
        with loop(begin, end, LANES) as k:  # a symbol each
            _at(row.out, shift + k).store(_at(row.weights, first + k).load(FLOATS))
        _spread(row, low, last, classes)
        place = _begin(row, low, row.found.get().reduced("smin").to(word))
        rest = whole.to(I32) - row.taken.get().reduced("add")
        _at(row.out, place).store((count + rest).to(F32))


def _gathered(table: Value, places: Value) -> Value:
    """int32 of a table at sixteen places."""
    found = places
    for k in range(LANES):
        found = found.replaced(k, _at(table, places[k].to(table.type)).load(I32))
    return found


def _begin(row: _Row, low: Value, j: Value) -> Value:
    """The first symbol of a class that has one."""
    return _at(low, j).load(I32).to(j.type).most(row.least) - row.least


def _spread(row: _Row, low: Value, start: Value, stop: Value) -> None:
    """Counts of these classes at their symbols: they ascend, so that what is too many is written over."""
    with loop(start, stop) as j:
        count, place = _at(row.weights, j).load(F32).splat(FLOATS), _begin(row, low, j)
        with loop(0, _at(row.sizes, j).load(I32).to(j.type), LANES) as k:
            _at(row.out, place + k).store(count)


@compiled()
def _longest_run(starts, ends):  # type: ignore[no-untyped-def]
    """The first of neighbouring classes of one symbol each, as many as there are anywhere, and where they end."""
    first, last, begin = 0, 0, 0
    for j in range(starts.size + 1):
        if j == starts.size or starts[j] != ends[j]:
            if j - begin > last - first:
                first, last = begin, j
            begin = j + 1
    return first, last


def _counts_of_logits(logits, centres, starts, ends, exp2, counts):  # type: ignore[no-untyped-def]
    """Fill `counts`, float32[n, s] holding integers of sum 2^24 - s, from int16[n, classes] and centres int[n].

    There are s = 256 symbols; bilevel images have 2, each its own class, and the centre 0.
    """
    classes, symbols = starts.size, counts.shape[1]
    low, high = np.empty(MOST_CLASSES, np.int32), np.empty(MOST_CLASSES, np.int32)
    for j in range(MOST_CLASSES):
        low[j], high[j] = (starts[j], ends[j]) if j < classes else (SYMBOLS, -SYMBOLS)
    table, form = np.empty(exp2.size, np.int32), np.empty(3, np.int32)
    for f in range(exp2.size):
        table[f] = exp2[f]
    form[0] = classes
    form[1], form[2] = _longest_run(starts, ends)
    padded, work = np.zeros((TOGETHER, MOST_CLASSES), np.int16), np.empty((TOGETHER, WORK), np.float32)
    beyond = np.empty((TOGETHER, symbols + LANES), np.float32)  # last rows: vectors would write past the end
    rows, least, outs = np.empty(TOGETHER, np.int64), np.empty(TOGETHER, np.int64), np.empty(TOGETHER, np.int64)
    whole = logits.strides[1] == 2 and logits.strides[0] >= 2 * (classes + LANES - 1)  # rows of whole vectors
    final = logits.shape[0] - 1
    inside = final - (LANES - 1) // symbols
    for start in range(0, final + 1, TOGETHER):
        for r in range(TOGETHER):
            i = min(start + r, final)
            rows[r], least[r] = logits.ctypes.data + i * logits.strides[0], -np.int64(centres[i])
            if not whole:
                for j in range(classes):
                    padded[r, j] = logits[i, j]
                rows[r] = padded.ctypes.data + r * padded.strides[0]
            outs[r] = counts.ctypes.data + i * counts.strides[0] if i < inside else beyond[r].ctypes.data
        row_counts(  # type: ignore[name-defined] # noqa: F821
            rows.ctypes.data, least.ctypes.data, outs.ctypes.data, work.ctypes.data, form.ctypes.data, low.ctypes.data,
            high.ctypes.data, table.ctypes.data, symbols,
        )  # fmt: skip
        for r in range(TOGETHER):
            i = min(start + r, final)
            for v in range(symbols if i >= inside else 0):
                counts[i, v] = beyond[r, v]


counts_of_logits = specialise(_counts_of_logits, "counts_of_logits", row_counts=emitted([INTP] * 9, _emit_rows))


@compiled()
def code_length(counts, symbols):  # type: ignore[no-untyped-def]
    """Bits that an ideal coder spends on `symbols` with these counts (for reports, never for coding)."""
    bits = 0.0
    for i in range(symbols.size):
        bits += 24.0 - np.log2(np.float64(counts[i, symbols[i]]) + 1.0)
    return bits


@compiled()
def spend(counts, planes, step, first, channel, bits):  # type: ignore[no-untyped-def]
    """Add `code_length` of a channel of planes uint8[H, W, C] at a step's lanes from `first` on to bits[0]."""
    spent = 0.0
    for i in range(counts.shape[0]):
        y = first + i
        spent += 24.0 - np.log2(np.float64(counts[i, planes[y, step - 2 * y, channel]]) + 1.0)
    bits[0] += spent
