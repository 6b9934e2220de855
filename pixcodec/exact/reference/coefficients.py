"""Coefficients of JPEG blocks as predicted decisions, in Python's integers (the definition).

`exact.coefficients` tells what each context serves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pixcodec.exact.reference import range_coder
from pixcodec.exact.reference.decisions import Decisions, Reader, Said, Writer
from pixcodec.exact.reference.experts import Coder, clamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COUNT, INNER, EDGE, DC = 0, 2, 4, 6
ZIGZAG = (
    *(0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21),
    *(28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61),
    *(54, 47, 55, 62, 63),
)
INNERS = [at for at in ZIGZAG if at % 8 and at // 8]
EDGES = [at * step for at in range(1, 8) for step in (1, 8)]
BORDER = (181, *[256] * 7)
FAR = 1 << 18


def size(n: int) -> int:
    """Class of a number >= 0."""
    n = min(n, (1 << 24) - 1)
    bits = n.bit_length()
    return n if n < 4 else 2 * (bits - 1) + (n >> bits - 2 & 1)


def signed(n: int) -> int:
    """Class of a number with its sign, 32 for 0."""
    return 32 + min(size(n), 31) if n >= 0 else 32 - min(size(-n), 31)


def clipped(n: int, most: int) -> int:
    """0..2 most."""
    return clamp(n, -most, most) + most


def packed(*parts: int) -> int:
    """Up to four numbers below 64 as a context."""
    return sum(part << 6 * n for n, part in enumerate(parts))


def scale(a: int, b: int, c: int = 0) -> int:
    """Three numbers as the context of a scale."""
    return (min(a, 63) * 32 + min(b, 31)) * 8 + min(c, 7)


class Block(NamedTuple):
    """A block's coefficients, how many inner ones are not 0, the sum of their magnitudes, what was coded of the DC."""

    values: list[int]
    inner: int = 0
    total: int = 0
    missed: int = 0


NONE = Block([0] * 64)


class Near(NamedTuple):
    """What is known around a block."""

    above: Block
    left: Block
    corner: Block
    right: Block
    above2: Block
    left2: Block
    luma: Block
    luma_end: Block
    other: Block
    has_above: bool
    has_left: bool


class Coefficients:
    """Everything that is learned, over all components."""

    def __init__(self, shapes: Sequence[tuple[int, int]], tables: Sequence[NDArray[np.uint16]], coder: Coder) -> None:
        blocks = sum(rows * columns for rows, columns in shapes)
        self._shapes, self._coder = shapes, coder
        self._steps = [[int(step) for step in table] for table in tables]
        self._decisions = Decisions(clamp(blocks.bit_length() + 3, 12, 17))
        self._slopes: dict[tuple[int, int, bool], tuple[int, int]] = {}
        self.blocks: list[dict[tuple[int, int], Block]] = [{} for _ in shapes]

    def code_block(self, component: int, y: int, x: int, values: Sequence[int]) -> None:
        """A block, `values` if it is written."""
        near = self._near(component, y, x)
        count = self._count(component, x, near, sum(values[at] != 0 for at in INNERS))
        if not 0 <= count <= 49:
            raise ValueError("a block has at most 49 inner coefficients")
        known = [0] * 64
        self._inner(component, near, known, count, values)
        total = sum(abs(n) for n in known)
        edges = self._edges(component, near, known, count, values)
        missed = self._dc(component, near, known, count + edges, values[0])
        if not all(-2048 <= n <= 2047 for n in known):
            raise ValueError("coefficients are -2048..2047")
        self.blocks[component][y, x] = Block(known, count, total, missed)

    def _near(self, component: int, y: int, x: int) -> Near:
        own, columns = self.blocks[component], self._shapes[component][1]
        above = own[y - 1, x] if y else own[y, x - 1] if x else NONE
        left = own[y, x - 1] if x else above
        luma = luma_end = other = NONE
        if component:
            rows, across = self._shapes[0]
            down = -(-rows // self._shapes[component][0])
            wide = -(-across // columns)
            luma = self.blocks[0][min(y * down, rows - 1), min(x * wide, across - 1)]
            luma_end = self.blocks[0][min(y * down + down, rows) - 1, min(x * wide + wide, across) - 1]
        if component == 2:
            rows, across = self._shapes[1]
            other = self.blocks[1][min(y, rows - 1), min(x, across - 1)]
        return Near(
            above,
            left,
            own[y - 1, x - 1] if x and y else above,
            own[y - 1, x + 1] if y and x + 1 < columns else above,
            own[y - 2, x] if y > 1 else above,
            own[y, x - 2] if x > 1 else left,
            luma,
            luma_end,
            other,
            y > 0,
            x > 0,
        )

    def _code(self, value: int, group: int, component: int, said: Said) -> int:
        return self._decisions.code(value, group + min(component, 1), said, self._coder)

    def _count(self, component: int, x: int, near: Near, count: int) -> int:
        """How many inner coefficients are not 0."""
        a, l, al, ar, a2, l2 = (block.inner for block in near[:6])
        y, b = (near.luma.inner + near.luma_end.inner) >> 1, near.other.inner
        six = 2 * (a + l) + al + ar
        mean, total = (six + 3) // 6, size(near.above.total + near.left.total)
        contexts = (
            packed(mean),
            packed((a + l) // 2, b, size(y)),
            packed(y, b),
            packed(al, ar),
            packed((a + l + al + ar + 1) >> 2, min(x >> 3, 63)),
            packed(a, size(l)),
            packed(size(a), l),
            packed((2 * a + a2) // 6, (2 * l + l2) // 6),
        )
        means = [six * 64 // 6] * 4
        if component == 2:
            means[2] = b * 64
        scales = (
            scale(mean, abs(a - l) >> 1),
            scale(total, size(abs(a - l))),
            scale(b if component else mean, size(abs(ar - al))),
            scale(b, size(y)) if component else scale(total, mean >> 1),
        )
        return self._code(count, COUNT, component, Said(contexts, means, scales, (0, mean, size(abs(a - l)), 0, mean)))

    def _inner(self, component: int, near: Near, known: list[int], count: int, values: Sequence[int]) -> None:
        """The inner coefficients, while any is left."""
        before = before2 = total = around = 0
        for k, at in enumerate(INNERS):
            if count == 0:
                break
            u, v = at % 8, at // 8
            a, l, al, ar, a2, l2 = (abs(block.values[at]) for block in near[:6])
            m = 13 * (a + l) + 6 * al
            near_size = size(m >> 1)
            x1, y1, d = abs(known[at - 1]), abs(known[at - 8]), abs(known[at - 9])
            x2, y2 = abs(known[at - 2]) if u > 2 else 0, abs(known[at - 16]) if v > 2 else 0
            e1, e2 = abs(known[at - 7]) if u < 7 else 0, abs(known[at + 7]) if v < 7 else 0
            local = 4 * (x1 + y1) + 2 * (d + x2 + y2 + e1 + e2)
            sides = [at - 1, at - 8, *[at + 1] * (u < 7), *[at + 8] * (v < 7)]
            cross = sum(abs(block.values[side]) for block in (near.above, near.left) for side in sides)
            share = count * 16 // (49 - k)
            gain = min(size((total * 8 + 4) // (around // 32 + 1)), 63)
            luma, other = abs(near.luma.values[at]) + abs(near.luma_end.values[at]), near.other.values[at]
            third = other if component == 2 else known[at - 9]
            everything = m + 3 * local + 2 * cross
            far = ar + a2 + l2
            contexts = (
                packed(k, count),
                packed(k, size(x1 + y1), size(d)),
                packed(size(cross), near_size, share),
                packed(min(before, 3), min(before2, 3), share, k >> 3),
                packed(k, size(everything >> 3), count * 4 // (49 - k)),
                packed(k, size(luma), size(abs(other)), 1) if component else packed(k, size(far), near_size >> 1),
                packed(gain, near_size, k >> 2),
                packed(k, 5 * clipped(near.above.values[at], 2) + clipped(near.left.values[at], 2), clipped(third, 3)),
            )
            scales = (
                scale(k, near_size),
                scale(size(everything >> 2), share),
                scale(k, size(local >> 1), size(count) >> 1),
                scale(k, size(luma), size(abs(other))) if component else scale(k, size(far), near_size >> 1),
            )
            choices = k, min(near_size, 15) * 4 + min(k // 12, 3), size(count), k, near_size
            known[at] = self._code(values[at], INNER, component, Said(contexts, (0, 0, 0, 0), scales, choices))
            before, before2 = abs(known[at]), before
            count -= known[at] != 0
            total += before
            around += m

    @staticmethod
    def _beyond(block: Block, known: list[int], steps: list[int], at: int, stride: int) -> int:
        """What the sum along a border is more in the other block, in 1/256."""
        places = [at + stride * k for k in range(8)]
        there = sum(
            s * steps[n] * block.values[n] * (-1) ** k for k, (s, n) in enumerate(zip(BORDER, places, strict=True))
        )
        return there - sum(s * steps[n] * known[n] for s, n in zip(BORDER, places, strict=True))

    def _edges(self, component: int, near: Near, known: list[int], count: int, values: Sequence[int]) -> int:
        """The coefficients with one frequency; how many are not 0."""
        steps = self._steps[component]
        found = [0, 0]
        for k, at in enumerate(EDGES):
            side = k % 2
            stride, along = (1, 8) if side else (8, 1)
            has = near.has_left if side else near.has_above
            across = near.left if side else near.above
            guess = 0
            if has:
                guess = self._beyond(across, known, steps, at, stride) * 64 // (181 * steps[at])
            guess = clamp(guess, -FAR, FAR)
            both, square = self._slopes.get((component, k, has), (1 << 20, 1 << 20))
            mean = clamp(guess * (both >> 10) // (square >> 10), -FAR, FAR)
            inside = sum(abs(known[at + stride * n]) * (8 - n) for n in range(1, 8))
            a, l = abs(near.above.values[at]), abs(near.left.values[at])
            m = 13 * (a + l) + 6 * abs(near.corner.values[at])
            near_size = size(m >> 1)
            fine, coarse = signed(mean // 8), signed(mean // 16)
            opposite = abs(known[at % 8 * 8 + at // 8]) if side else 0
            before = abs(known[at - along]) if k > 1 else 0
            before2 = abs(known[at - 2 * along]) if k > 3 else 0
            next_in = abs(known[at + stride])
            luma, other = near.luma.values[at], near.other.values[at]
            contexts = (
                packed(fine, size(inside)),
                packed(k, size(count), found[side], coarse),
                packed(k, size(before), size(before2)),
                packed(k, size(next_in), size(inside >> 1)),
                packed(near_size, fine, size(inside >> 2)),
                packed(k, size(inside + 4 * (next_in + before) + (m >> 3)), coarse),
                packed(k, size(abs(luma)), clipped(other, 7)) if component else packed(k, size(opposite), coarse),
                packed(k, signed(luma), signed(other), coarse) if component else packed(k, size(a), size(l)),
            )
            scales = (
                scale(k, near_size),
                scale(k, size(inside), size(abs(mean) >> 5) >> 1),
                scale(k, size((m >> 3) + (inside >> 1)), size(before)),
                scale(k, size(abs(luma)), size(abs(other)))
                if component
                else scale(k, size(before + next_in), near_size >> 1),
            )
            far = abs(fine - 32)
            choices = k, min(far, 15) * 4 + min(near_size // 3, 3), size(count), k, far
            value = self._code(values[at], EDGE, component, Said(contexts, (mean, mean, 0, mean), scales, choices))
            known[at] = value
            found[side] += value != 0
            guess = clamp(guess, -4096, 4096)
            self._slopes[component, k, has] = (
                both + guess * value * 64 - (both >> 7),
                max(square + guess * guess - (square >> 7), 1 << 14),
            )
        return sum(found)

    def _dc(self, component: int, near: Near, known: list[int], count: int, value: int) -> int:
        """The DC; what was coded of it."""
        steps = self._steps[component]
        unit = 181 * steps[0]
        sums_above = [self._beyond(near.above, known, steps, f, 8) for f in range(8)]
        sums_left = [self._beyond(near.left, known, steps, 8 * f, 1) for f in range(8)]
        above, left = (clamp(sums[0] * 64 // unit, -FAR, FAR) for sums in (sums_above, sums_left))
        rough_above, rough_left = (
            min(sum(abs(n) for n in sums[1:]) * 64 // unit, FAR) for sums in (sums_above, sums_left)
        )
        if not near.has_above:
            above, rough_above = left, rough_left
        if not near.has_left:
            left, rough_left = above, rough_above
        guess = (above * (rough_left + 8) + left * (rough_above + 8)) // (rough_above + rough_left + 16)
        guess = clamp(guess, -2048 * 64, 2047 * 64)
        whole = (guess + 32) // 64
        part = guess - whole * 64
        rough, apart = size((rough_above + rough_left) >> 3), size(abs(above - left) >> 3)
        missed_a, missed_l = abs(near.above.missed), abs(near.left.missed)
        corner, other = near.corner.values[0], signed(near.other.missed)
        contexts = (
            packed(rough, apart),
            packed(signed((above - left) >> 4)),
            packed(size(abs(above) >> 4), size(abs(left) >> 4)),
            packed(rough >> 1, *(signed((block.values[0] - corner) >> 1) for block in (near.above, near.left))),
            packed(other),
            packed(other, apart),
            packed(size(missed_a), size(missed_l)),
            packed(size(missed_a + missed_l), rough),
        )
        scales = (
            scale(rough, apart),
            scale(rough, size(missed_a + missed_l)),
            scale(min(count, 63), apart),
            scale(apart, size(missed_a + missed_l), abs(other - 32)),
        )
        said = Said(contexts, [part] * 4, scales, (0, rough, apart, 0, rough))
        missed = self._code(value - whole, DC, component, said)
        known[0] = missed + whole
        return missed


def encode(components: Sequence[NDArray[np.int16]], tables: Sequence[NDArray[np.uint16]]) -> list[int]:
    """Words of components int16[By, Bx, 64]."""
    words = range_coder.Encoder()
    coder = Coefficients([component.shape[:2] for component in components], tables, Writer(words))
    for number, component in enumerate(components):
        for y, x in np.ndindex(component.shape[:2]):
            coder.code_block(number, y, x, [int(n) for n in component[y, x]])
    return words.words()


def decode(
    words: Sequence[int], shapes: Sequence[tuple[int, int]], tables: Sequence[NDArray[np.uint16]]
) -> list[NDArray[np.int16]]:
    """What `encode` was given; `ValueError` where the words fit nothing."""
    reader = range_coder.Decoder(words)
    coder = Coefficients(shapes, tables, Reader(reader))
    for number, shape in enumerate(shapes):
        for y, x in np.ndindex(shape):
            coder.code_block(number, y, x, [0] * 64)
    reader.finish()
    return [
        np.array([coder.blocks[number][place].values for place in np.ndindex(shape)], np.int16).reshape(*shape, 64)
        for number, shape in enumerate(shapes)
    ]
