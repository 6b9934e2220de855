"""Quantised DCT coefficients of a JPEG to bytes and back, as `decisions` with contexts of their own; all in integers.

Components one after the other, blocks in raster order.  Of a block first how many of the 49 inner coefficients (both
frequencies above 0) are not 0, then these in zigzag order as long as any is left, then the 14 with one frequency, the
DC at last, as the difference from a prediction.  The order is Lepton's (Horn et al., NSDI 2017): so what a block's
neighbours say about it is used where most is known.  Where two blocks meet the picture goes on, hence for each
frequency u along the border

    sum over v of (-1)^v s_v q c(v, u) of the block above  ~  sum over v of s_v q c(v, u),   s_0 = 181/256, else 1

(cosines at the border itself; q are steps), which predicts c(0, u) when those of v > 0 are known.  The same along the
left border, and for the DC both, each weighed by how badly the other frequencies agree along the other one.

`_count`, `_inner`, `_edge` and `_dc` have the contexts, and what each of them serves.  Classes of magnitudes, `size`,
are 0, 1, 2, 3, 4-5, 6-7, 8-11, 12-15, 16-23, ..

Memory: 64 bytes for each of 2^12 to 2^17 slots, by the number of blocks, and 11 MB; the blocks themselves.
`reference/coefficients.py` is the definition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pixcodec.errors import DamagedTileError
from pixcodec.exact import decisions, range_coder
from pixcodec.exact.compiled import compiled
from pixcodec.exact.decisions import UNIT, code_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEAST, MOST = -2048, 2047  # of a coefficient
WORDS_PER_BLOCK = 1024  # at most: 65 numbers of 26 decisions, each at most half a word
MAX_BLOCKS_PER_BYTE = 6000  # 16 decisions at least, each of 8.8e-5 bits
COUNT, INNER, EDGE, DC = 0, 2, 4, 6  # groups of numbers, + 1 for chroma
# The inner coefficients 8 v + u, by diagonals; those of the upper and left edge in turn.
ZIGZAG = np.array(
    sorted(range(64), key=lambda k: (k // 8 + k % 8, k // 8 if (k // 8 + k % 8) % 2 else k % 8)), np.int64
)
INNERS = np.array([k for k in ZIGZAG if k % 8 and k // 8], np.int64)
EDGES = np.array([k * step for k in range(1, 8) for step in (1, 8)], np.int64)
BORDER = np.array([181] + [256] * 7, np.int64)  # s
FAR = 1 << 18  # means are clamped to it: 4096 steps
FORGET = 7  # slopes: 1/128 of what they know at each edge coefficient

_compiled = compiled(_nrt=False)
_inlined = compiled(_nrt=False, inline="always")


class Near(NamedTuple):
    """Blocks, int16[64] each, and notes, int32[3] each, see `Plane`.

    Where there is none above it is the one on the left, and the other way round; zeros at the first one.  `luma` and
    `luma_end` are the first and the last of the blocks at the same place of component 0, `other` is that of component
    1 for component 2 (zeros, for components that are coded before).
    """

    above: np.ndarray
    left: np.ndarray
    corner: np.ndarray
    right: np.ndarray
    above2: np.ndarray
    left2: np.ndarray
    luma: np.ndarray
    luma_end: np.ndarray
    other: np.ndarray
    notes: np.ndarray
    has_above: bool
    has_left: bool


@_compiled
def size(n):  # type: ignore[no-untyped-def]
    """Class of a number >= 0: itself below 4, then two classes for each further bit, to 47."""
    n = min(n, (1 << 24) - 1)
    return np.int64(n) if n < 4 else np.int64(np.float32(n).view(np.int32) >> 22) - 254


@_compiled
def signed(n):  # type: ignore[no-untyped-def]
    """Class of a number with its sign, 1..63, 32 for 0."""
    return 32 + min(size(n), 31) if n >= 0 else 32 - min(size(-n), 31)


@_compiled
def clipped(n, most):  # type: ignore[no-untyped-def]
    """0..2 most."""
    return min(max(np.int64(n), -most), most) + most


@_compiled
def packed(a, b, c, d):  # type: ignore[no-untyped-def]
    """Four numbers below 64 as a context."""
    return a + (b << 6) + (c << 12) + (d << 18)


@_compiled
def scale_context(a, b, c):  # type: ignore[no-untyped-def]
    """Three numbers, kept below 64, 32 and 8, as the context of a scale."""
    return (min(a, 63) * 32 + min(b, 31)) * 8 + min(c, 7)


@_compiled
def magnitude(block, k):  # type: ignore[no-untyped-def]
    """Of a coefficient."""
    return abs(np.int64(block[k]))


@_compiled
def _choose(work, a, b, c, d, e):  # type: ignore[no-untyped-def]
    """Weights of the three sets, and of the two maps."""
    work.choices[0], work.choices[1], work.choices[2] = a, b, c
    work.choices[3], work.choices[4] = d, e


@_compiled
def _code_count(decoding, number, column, chroma, near, coder, words, memory, work):  # type: ignore[no-untyped-def]
    """How many inner coefficients are not 0.

    Contexts: the neighbours' mean; that and the other components at this place; those alone; the blocks on both
    diagonals; where in the row; above and left, one exactly and the other by its class; with the blocks behind them.
    """
    n = near.notes
    a, l, al, ar = np.int64(n[0, 0]), np.int64(n[1, 0]), np.int64(n[2, 0]), np.int64(n[3, 0])
    a2, l2 = np.int64(n[4, 0]), np.int64(n[5, 0])
    y, b = (np.int64(n[6, 0]) + n[7, 0]) >> 1, np.int64(n[8, 0])
    six = 2 * (a + l) + al + ar
    mean = (six + 3) // 6
    total = size(np.int64(n[0, 1]) + n[1, 1])
    c = work.contexts
    c[0] = packed(mean, 0, 0, 0)
    c[1] = packed((a + l) // 2, b, size(y), 0)
    c[2] = packed(y, b, 0, 0)
    c[3] = packed(al, ar, 0, 0)
    c[4] = packed((a + l + al + ar + 1) >> 2, min(column >> 3, 63), 0, 0)
    c[5] = packed(a, size(l), 0, 0)
    c[6] = packed(size(a), l, 0, 0)
    c[7] = packed((2 * a + a2) // 6, (2 * l + l2) // 6, 0, 0)
    work.means[:] = six * UNIT // 6
    if chroma == 2:
        work.means[2] = b * UNIT
    work.scales[0] = scale_context(mean, min(abs(a - l) >> 1, 31), 0)
    work.scales[1] = scale_context(total, size(abs(a - l)), 0)
    work.scales[2] = scale_context(b if chroma else mean, size(abs(ar - al)), 0)
    work.scales[3] = scale_context(b, size(y), 0) if chroma else scale_context(total, mean >> 1, 0)
    _choose(work, 0, mean, size(abs(a - l)), 0, mean)
    return code_number(decoding, number, COUNT + min(chroma, 1), coder, words, memory, work)


@_compiled
def _code_inner(decoding, block, known, count, chroma, near, coder, words, memory, work):  # type: ignore[no-untyped-def]
    """The inner coefficients, while any is left; the sum of their magnitudes.

    Contexts: the place and how many are left (the spectrum's shape); the lower frequencies in this block; in the
    neighbours the frequencies next to this one, and it; the two before (runs); all magnitudes together; the other
    components at this place (of component 0: blocks farther away), by far the best for 4:4:4; how much stronger this
    block is than its neighbours so far; signs, those of component 1 for component 2.
    """
    c = work.contexts
    work.means[:] = 0
    before = before2 = total = around = np.int64(0)
    for k in range(49):
        if count == 0:
            break
        at = INNERS[k]
        u, v = at & 7, at >> 3
        a, l, al, ar = (
            magnitude(near.above, at),
            magnitude(near.left, at),
            magnitude(near.corner, at),
            magnitude(near.right, at),
        )
        m = 13 * (a + l) + 6 * al
        near_size = size(m >> 1)
        x1, y1, d = abs(known[at - 1]), abs(known[at - 8]), abs(known[at - 9])
        x2 = abs(known[at - 2]) if u > 2 else np.int64(0)
        y2 = abs(known[at - 16]) if v > 2 else np.int64(0)
        e1 = abs(known[at - 7]) if u < 7 else np.int64(0)
        e2 = abs(known[at + 7]) if v < 7 else np.int64(0)
        local = 4 * (x1 + y1) + 2 * (d + x2 + y2 + e1 + e2)
        cross = (
            magnitude(near.above, at - 1)
            + magnitude(near.above, at - 8)
            + magnitude(near.left, at - 1)
            + magnitude(near.left, at - 8)
        )
        if u < 7:
            cross += magnitude(near.above, at + 1) + magnitude(near.left, at + 1)
        if v < 7:
            cross += magnitude(near.above, at + 8) + magnitude(near.left, at + 8)
        left = 49 - k
        share = count * 16 // left
        gain = min(size((total * 8 + 4) // (around // 32 + 1)), 63)
        far = ar + magnitude(near.above2, at) + magnitude(near.left2, at)
        luma, other = magnitude(near.luma, at) + magnitude(near.luma_end, at), np.int64(near.other[at])
        third = known[at - 9] if chroma < 2 else other
        everything = m + 3 * local + 2 * cross
        c[0] = packed(k, count, 0, 0)
        c[1] = packed(k, size(x1 + y1), size(d), 0)
        c[2] = packed(size(cross), near_size, share, 0)
        c[3] = packed(min(before, 3), min(before2, 3), share, k >> 3)
        c[4] = packed(k, size(everything >> 3), count * 4 // left, 0)
        c[5] = packed(k, size(luma), size(abs(other)), 1) if chroma else packed(k, size(far), near_size >> 1, 0)
        c[6] = packed(gain, near_size, k >> 2, 0)
        c[7] = packed(k, 5 * clipped(near.above[at], 2) + clipped(near.left[at], 2), clipped(third, 3), 0)
        work.scales[0] = scale_context(k, near_size, 0)
        work.scales[1] = scale_context(size(everything >> 2), share, 0)
        work.scales[2] = scale_context(k, size(local >> 1), size(count) >> 1)
        work.scales[3] = scale_context(k, size(luma if chroma else far), size(abs(other)) if chroma else near_size >> 1)
        _choose(work, k, min(near_size, 15) * 4 + min(k // 12, 3), size(count), k, near_size)
        value = code_number(decoding, np.int64(block[at]), INNER + min(chroma, 1), coder, words, memory, work)
        known[at] = value
        before2, before = before, abs(value)
        count -= value != 0
        total += before
        around += m
    return total


@_compiled
def _beyond(block, known, steps, at, stride):  # type: ignore[no-untyped-def]
    """What the sum along the border is more on the other side than on this one, for `stride`'s direction, in 1/256."""
    sum_ = np.int64(0)
    for k in range(8):
        other = np.int64(block[at + stride * k])
        sum_ += BORDER[k] * steps[at + stride * k] * ((-other if k & 1 else other) - known[at + stride * k])
    return sum_


@_compiled
def _code_edges(decoding, block, known, count, chroma, near, steps, slopes, coder, words, memory, work):  # type: ignore[no-untyped-def]
    """The coefficients with one frequency, the upper edge's and the left one's in turn; how many are not 0.

    Contexts: the prediction, with the magnitudes across the edge that were its evidence; how many coefficients this
    block and this edge have; the two before along the edge, and the next one across it: without these two 0.13 % more
    bytes; the prediction with the neighbours; everything together; then the other components at this place, which
    for 4:4:4 save 0.4 %, or of component 0 the other edge's coefficient and the neighbours'.
    """
    c = work.contexts
    found_above = found_left = np.int64(0)
    for k in range(14):
        at = EDGES[k]
        side = k & 1  # 0: of the upper edge, at = u; 1: of the left one, at = 8 v
        stride = np.int64(1) if side else np.int64(8)
        along = np.int64(8) if side else np.int64(1)
        has = near.has_left if side else near.has_above
        across = near.left if side else near.above
        step = steps[at]
        guess = np.int64(0)
        if has:
            guess = min(max(_beyond(across, known, steps, at, stride) * UNIT // (BORDER[0] * step), -FAR), FAR)
        rule = (chroma * 14 + k) * 2 + np.int64(has)
        mean = min(max(guess * (slopes[rule, 0] >> 10) // (slopes[rule, 1] >> 10), -FAR), FAR)
        inside = np.int64(0)
        for n in range(1, 8):
            inside += abs(known[at + stride * n]) * (8 - n)
        a, l = magnitude(near.above, at), magnitude(near.left, at)
        m = 13 * (a + l) + 6 * magnitude(near.corner, at)
        near_size = size(m >> 1)
        fine, coarse = signed(mean // 8), signed(mean // 16)
        opposite = abs(known[(at & 7) * 8 + (at >> 3)]) if side else np.int64(0)
        before = abs(known[at - along]) if k > 1 else np.int64(0)
        before2 = abs(known[at - 2 * along]) if k > 3 else np.int64(0)
        next_in = abs(known[at + stride])
        luma, other = np.int64(near.luma[at]), np.int64(near.other[at])
        c[0] = packed(fine, size(inside), 0, 0)
        c[1] = packed(k, size(count), found_left if side else found_above, coarse)
        c[2] = packed(k, size(before), size(before2), 0)
        c[3] = packed(k, size(next_in), size(inside >> 1), 0)
        c[4] = packed(near_size, fine, size(inside >> 2), 0)
        c[5] = packed(k, size(inside + 4 * (next_in + before) + (m >> 3)), coarse, 0)
        if chroma:
            c[6] = packed(k, size(abs(luma)), clipped(other, 7), 0)
            c[7] = packed(k, signed(luma), signed(other), coarse)
        else:
            c[6] = packed(k, size(opposite), coarse, 0)
            c[7] = packed(k, size(a), size(l), 0)
        work.means[:] = mean
        work.means[2] = 0
        work.scales[0] = scale_context(k, near_size, 0)
        work.scales[1] = scale_context(k, size(inside), size(abs(mean) >> 5) >> 1)
        work.scales[2] = scale_context(k, size((m >> 3) + (inside >> 1)), size(before))
        if chroma:
            work.scales[3] = scale_context(k, size(abs(luma)), size(abs(other)))
        else:
            work.scales[3] = scale_context(k, size(before + next_in), near_size >> 1)
        _choose(work, k, min(abs(fine - 32), 15) * 4 + min(near_size // 3, 3), size(count), k, abs(fine - 32))
        value = code_number(decoding, np.int64(block[at]), EDGE + min(chroma, 1), coder, words, memory, work)
        known[at] = value
        found_above += value != 0 and side == 0
        found_left += value != 0 and side == 1
        guess = min(max(guess, -4096), 4096)
        slopes[rule, 0] += guess * value * UNIT - (slopes[rule, 0] >> FORGET)
        slopes[rule, 1] = max(slopes[rule, 1] + guess * guess - (slopes[rule, 1] >> FORGET), 1 << 14)
    return found_above + found_left


@_compiled
def _code_dc(decoding, block, known, count, chroma, near, steps, coder, words, memory, work):  # type: ignore[no-untyped-def]
    """The DC; what was coded of it.

    Contexts: how well the borders agree and how far the two predictions are apart; by how much, with the sign; each of
    them; slopes of the DC around; what component 1 missed; what the neighbours missed.
    """
    c = work.contexts
    unit = BORDER[0] * steps[0]
    above, left = _beyond(near.above, known, steps, 0, 8), _beyond(near.left, known, steps, 0, 1)
    rough_above = rough_left = np.int64(0)
    for f in range(1, 8):
        rough_above += abs(_beyond(near.above, known, steps, f, 8))
        rough_left += abs(_beyond(near.left, known, steps, 8 * f, 1))
    above, left = above * UNIT // unit, left * UNIT // unit
    rough_above, rough_left = min(rough_above * UNIT // unit, FAR), min(rough_left * UNIT // unit, FAR)
    if not near.has_above:
        above, rough_above = left, rough_left
    if not near.has_left:
        left, rough_left = above, rough_above
    above, left = min(max(above, -FAR), FAR), min(max(left, -FAR), FAR)
    guess = (above * (rough_left + 8) + left * (rough_above + 8)) // (rough_above + rough_left + 16)
    guess = min(max(guess, LEAST * UNIT), MOST * UNIT)
    whole = (guess + UNIT // 2) // UNIT
    part = guess - whole * UNIT
    n = near.notes
    rough, apart = size((rough_above + rough_left) >> 3), size(abs(above - left) >> 3)
    missed_a, missed_l = abs(np.int64(n[0, 2])), abs(np.int64(n[1, 2]))
    corner, other = np.int64(near.corner[0]), signed(np.int64(n[8, 2]))
    c[0] = packed(rough, apart, 0, 0)
    c[1] = packed(signed((above - left) >> 4), 0, 0, 0)
    c[2] = packed(size(abs(above) >> 4), size(abs(left) >> 4), 0, 0)
    c[3] = packed(rough >> 1, signed((near.above[0] - corner) >> 1), signed((near.left[0] - corner) >> 1), 0)
    c[4] = packed(other, 0, 0, 0)
    c[5] = packed(other, apart, 0, 0)
    c[6] = packed(size(missed_a), size(missed_l), 0, 0)
    c[7] = packed(size(missed_a + missed_l), rough, 0, 0)
    work.means[:] = part
    work.scales[0] = scale_context(rough, apart, 0)
    work.scales[1] = scale_context(rough, size(missed_a + missed_l), 0)
    work.scales[2] = scale_context(min(count, 63), apart, 0)
    work.scales[3] = scale_context(apart, size(missed_a + missed_l), abs(other - 32))
    _choose(work, 0, rough, apart, 0, rough)
    missed = code_number(decoding, block[0] - whole, DC + min(chroma, 1), coder, words, memory, work)
    known[0] = missed + whole
    return missed


@_compiled
def code_row(  # type: ignore[no-untyped-def]
    decoding, row, chroma, planes, shapes, notes, steps, slopes, known, near_notes, coder, words, memory, work
):
    """Code a row of blocks; whether it is sound.

    Args:
        decoding: whether it comes from the words; else it is in the component's plane.
        row: of the component.
        chroma: number of the component.
        planes: three of int16[By Bx + 1, 64], blocks of the components 0 and 1 and of this one, zeros at the end.
        shapes: int64[3, 2], their rows and columns.
        notes: three of int32[By Bx + 1, 3], of each block how many inner coefficients are not 0, the sum of their
            magnitudes, and what was coded of the DC.
        steps: int64[64].
        slopes: int64[84, 2], of the edges' predictions.
        known: int64[64], scratch.
        near_notes: int32[9, 3], scratch.
        coder: of `range_coder`, its state.
        words: its words.
        memory: of `decisions`.
        work: of `decisions`.
    """
    luma, other, own = planes
    luma_notes, other_notes, own_notes = notes
    rows, columns = shapes[2]
    down, across = (shapes[0, 0] + rows - 1) // rows, (shapes[0, 1] + columns - 1) // columns
    sound = True
    for column in range(columns):
        at, none = row * columns + column, rows * columns
        above = at - columns if row else at - 1 if column else none
        left = at - 1 if column else above
        corner = at - columns - 1 if row and column else above
        right = at - columns + 1 if row and column + 1 < columns else above
        above2 = at - 2 * columns if row > 1 else above
        left2 = at - 2 if column > 1 else left
        y = y_end = len(luma) - 1
        b = len(other) - 1
        if chroma:
            y = min(row * down, shapes[0, 0] - 1) * shapes[0, 1] + min(column * across, shapes[0, 1] - 1)
            last = min(row * down + down, shapes[0, 0]) - 1
            y_end = last * shapes[0, 1] + min(column * across + across, shapes[0, 1]) - 1
        if chroma == 2:
            b = min(row, shapes[1, 0] - 1) * shapes[1, 1] + min(column, shapes[1, 1] - 1)
        for k in range(3):
            near_notes[0, k], near_notes[1, k] = own_notes[above, k], own_notes[left, k]
            near_notes[2, k], near_notes[3, k] = own_notes[corner, k], own_notes[right, k]
            near_notes[4, k], near_notes[5, k] = own_notes[above2, k], own_notes[left2, k]
            near_notes[6, k], near_notes[7, k] = luma_notes[y, k], luma_notes[y_end, k]
            near_notes[8, k] = other_notes[b, k]
        near = Near(
            own[above], own[left], own[corner], own[right], own[above2], own[left2], luma[y], luma[y_end], other[b],
            near_notes, row > 0, column > 0,
        )  # fmt: skip
        block = own[at]
        known[:] = 0
        count = np.int64(0)
        for k in range(49):
            count += block[INNERS[k]] != 0
        count = _code_count(decoding, count, column, chroma, near, coder, words, memory, work)
        if count < 0 or count > 49:
            return False
        total = _code_inner(decoding, block, known, count, chroma, near, coder, words, memory, work)
        edges = _code_edges(decoding, block, known, count, chroma, near, steps, slopes, coder, words, memory, work)
        missed = _code_dc(decoding, block, known, count + edges, chroma, near, steps, coder, words, memory, work)
        own_notes[at, 0], own_notes[at, 1], own_notes[at, 2] = count, total, missed
        for k in range(64):
            sound &= known[k] >= LEAST and known[k] <= MOST
            block[k] = known[k]
    return sound


class _Coder:
    """What both directions share: everything that learns, over all components."""

    def __init__(self, shapes: Sequence[tuple[int, int]], tables: Sequence[NDArray[np.uint16]]) -> None:
        blocks = sum(rows * columns for rows, columns in shapes)
        self._memory = decisions.memory(min(max(blocks.bit_length() + 3, 12), 17))
        self._work, self._scratch = decisions.work(), (np.zeros(64, np.int64), np.zeros((9, 3), np.int32))
        self._slopes = np.full((84, 2), 1 << 20, np.int64)
        self._shapes = shapes
        self._steps = [table.astype(np.int64) for table in tables]
        self.planes = [np.zeros((rows * columns + 1, 64), np.int16) for rows, columns in shapes]
        self._notes = [np.zeros((len(plane), 3), np.int32) for plane in self.planes]

    def code_row(self, row: int, chroma: int, coder: range_coder.Encoder | range_coder.Decoder) -> bool:
        """See `code_row`."""
        which = 0, min(1, len(self.planes) - 1), chroma
        planes, notes = (tuple(arrays[k] for k in which) for arrays in (self.planes, self._notes))
        shapes = np.array([self._shapes[k] for k in which], np.int64)
        where = row, chroma, planes, shapes, notes, self._steps[chroma], self._slopes, *self._scratch
        decoding = isinstance(coder, range_coder.Decoder)
        return bool(code_row(decoding, *where, coder.state, coder.words, self._memory, self._work))


def _check(shapes: Sequence[tuple[int, ...]], tables: Sequence[NDArray[np.uint16]]) -> None:
    """`ValueError` where components or tables are none."""
    if len(shapes) not in {1, 3} or len(tables) != len(shapes):
        raise ValueError(f"expected 1 or 3 components and a table each, found {len(shapes)} and {len(tables)}")
    for shape in shapes:
        if len(shape) != 2 or min(shape) < 1:
            raise ValueError(f"expected rows and columns of blocks, 1 at least, found {shape}")
    for table in tables:
        if table.shape != (64,) or table.dtype != np.uint16 or not table.all():
            raise ValueError("expected 64 steps uint16 above 0")


def encode(components: Sequence[NDArray[np.int16]], tables: Sequence[NDArray[np.uint16]]) -> bytes:
    """Words of quantised coefficients.

    Args:
        components: one or three of int16[By, Bx, 64], blocks in raster order, coefficients 8 v + u, within -2048..2047;
            the first one has as many rows and columns as any.
        tables: steps uint16[64] of each, above 0, in the same order.

    Raises:
        ValueError: for other arrays.
    """
    _check([component.shape[:2] for component in components], tables)
    for component in components:
        if component.dtype != np.int16 or component.shape[2:] != (64,):
            raise ValueError(f"expected blocks int16[By, Bx, 64], found {component.dtype}{list(component.shape)}")
        if component.min() < LEAST or component.max() > MOST:
            raise ValueError(f"coefficients must be {LEAST}..{MOST}, found {component.min()}..{component.max()}")
    both = _Coder([(component.shape[0], component.shape[1]) for component in components], tables)
    coder = range_coder.Encoder()
    for chroma, component in enumerate(components):
        both.planes[chroma][:-1] = component.reshape(-1, 64)
        for row in range(component.shape[0]):
            coder.room(component.shape[1] * WORDS_PER_BLOCK)
            both.code_row(row, chroma, coder)
    return coder.payload()


def decode(
    payload: bytes, shapes: Sequence[tuple[int, int]], tables: Sequence[NDArray[np.uint16]]
) -> list[NDArray[np.int16]]:
    """What `encode` was given.

    Args:
        payload: its result.
        shapes: rows and columns of blocks of each component.
        tables: steps, as given to it.

    Raises:
        ValueError: for shapes or tables that `encode` refuses.
        DamagedTileError: for a payload that it never gives; damage may also give other coefficients.
    """
    _check(shapes, tables)
    coder = range_coder.Decoder(payload)
    blocks = sum(rows * columns for rows, columns in shapes)
    if blocks > MAX_BLOCKS_PER_BYTE * (len(payload) + range_coder.WORD_BYTES):
        raise DamagedTileError(f"{len(payload)} bytes cannot hold {blocks} blocks; fetch the file anew")
    both = _Coder(shapes, tables)
    for chroma, (rows, _) in enumerate(shapes):
        for row in range(rows):
            sound = both.code_row(row, chroma, coder)
            coder.check()
            if not sound:
                raise DamagedTileError("the words give no coefficients; fetch the file anew")
    coder.finish()
    return [plane[:-1].reshape(*shape, 64) for plane, shape in zip(both.planes, shapes, strict=True)]
