"""Numbers as predicted binary decisions, in Python's integers (the definition; see `exact.decisions` for the idea).

A cell is (probability in 2^-22, count), as the experts'.  >> and // are floors.  `docs/format.md` tells the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pixcodec.exact.decision_weights import STAGES, START
from pixcodec.exact.reference.experts import LIMIT, UNIT, Cell, bent, clamp, learned, logarithm, squash
from pixcodec.exact.tables import SQUASH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pixcodec.exact.reference import range_coder
    from pixcodec.exact.reference.experts import Coder

ALL = 1 << 24
COUNTER_LIMIT, MAP_LIMIT, SCALE_LIMIT = 255, 1022, 60
CONSTANT = 512
WEIGHT_LIMIT = 1 << 20
GOLDEN = 0x9E3779B97F4A7C15


class Writer:
    """Decisions to words."""

    def __init__(self, words: range_coder.Encoder) -> None:
        self._words = words

    def decide(self, bit: int, p: int) -> int:
        """See `experts.Coder`: 1 has the upper end of the interval."""
        self._words.put_interval(*((ALL - p, p) if bit else (0, ALL - p)))
        return bit


class Reader:
    """Words to decisions."""

    def __init__(self, words: range_coder.Decoder) -> None:
        self._words = words

    def decide(self, bit: int, p: int) -> int:
        """See `experts.Coder`; `ValueError` where the words fit none."""
        bit = int(self._words.point() >= ALL - p)
        self._words.take(*((ALL - p, p) if bit else (0, ALL - p)))
        return bit


class Said(NamedTuple):
    """What is said of a number: eight contexts, four means and contexts of scales, five choices."""

    contexts: Sequence[int]
    means: Sequence[int]
    scales: Sequence[int]
    choices: Sequence[int]


class Decisions:
    """Everything that learns."""

    def __init__(self, slot_bits: int) -> None:
        self._shift = 64 - slot_bits
        self._counters: dict[tuple[int, int], Cell] = {}
        self._averages: dict[tuple[int, int, int], tuple[int, int]] = {}
        self._weights: dict[tuple[int, ...], list[int]] = {}
        self._second: dict[tuple[int, int], list[int]] = {}
        self._maps: dict[tuple[int, ...], Cell] = {}

    def code(self, value: int, group: int, said: Said, coder: Coder) -> int:
        """A number of magnitude below 2^12, `value` if it is written."""
        spread = []
        for i, context in enumerate(said.scales):
            average, _ = self._averages.get((i, group, context), (64 << 8, 0))
            spread.append((2 * UNIT << 16) // max(average >> 8, 6))

        def below(edge: int, sign: int) -> list[int]:
            """What the distributions have below an edge in half units."""
            return [squash((edge * 32 - sign * m) * slope >> 16) for m, slope in zip(said.means, spread, strict=True)]

        def decide(bit: int, node: int, label: int, length: int, odds: Callable[[], list[tuple[int, int]]]) -> int:
            slots = self._slots(said.contexts, group, length)
            return self._decide(bit, [(slot, node) for slot in slots], group, label, odds(), said.choices, coder)

        def zero_or_not() -> list[tuple[int, int]]:
            return [(ALL - b + a, b - a) for a, b in zip(below(-1, 1), below(1, 1), strict=True)]

        def negative_or_not() -> list[tuple[int, int]]:
            return [(a, ALL - b) for a, b in zip(below(-1, 1), below(1, 1), strict=True)]

        result = 0
        if decide(int(value != 0), 0, 0, 0, zero_or_not):
            sign = 1 - 2 * decide(int(value < 0), 1, 1, 0, negative_or_not)
            result = sign * self._magnitude(abs(value), sign, decide, below, coder)
        for i, (mean, context) in enumerate(zip(said.means, said.scales, strict=True)):
            average, count = self._averages.get((i, group, context), (64 << 8, 0))
            error = abs(result * 64 - mean) << 8
            average += (error - average) * int(65536 / (count + 1.5)) >> 16
            self._averages[i, group, context] = average, min(count + 1, SCALE_LIMIT)
        return result

    @staticmethod
    def _magnitude(
        value: int,
        sign: int,
        decide: Callable[[int, int, int, int, Callable[[], list[tuple[int, int]]]], int],
        below: Callable[[int, int], list[int]],
        coder: Coder,
    ) -> int:
        """1..2^12 - 1: its length in bits by unary, then the bits below the highest."""

        def halves(low: int, mid: int, high: int) -> list[tuple[int, int]]:
            edges = [below(2 * edge - 1, sign) for edge in (low, mid, high)]
            return [(c - b, b - a) for a, b, c in zip(*edges, strict=True)]

        def longer_or_not(length: int) -> list[tuple[int, int]]:
            edges = below((1 << length) - 1, sign), below((2 << length) - 1, sign)
            return [(ALL - b, b - a) for a, b in zip(*edges, strict=True)]

        length, more = 1, 1
        while more and length < 12:
            node = min(length + 1, 11)
            more = decide(int(value >> length > 0), node, node, 0, lambda: longer_or_not(length))  # noqa: B023  called now
            length += more
        low, tree = 1 << length - 1, 1
        for shift in range(length - 2, -1, -1):
            bit, depth = value >> shift & 1, length - 2 - shift
            mid, high = low + (1 << shift), low + (2 << shift)
            if depth >= 4:
                bit = coder.decide(bit, ALL >> 1)
            elif length > 3:
                label = 16 + min(length - 4, 3) * 4 + depth
                bit = decide(bit, tree, label, length, lambda: halves(low, mid, high))  # noqa: B023
            else:
                node = tree + (11 if length == 2 else 12)
                bit = decide(bit, node, node, 0, lambda: halves(low, mid, high))  # noqa: B023
            low, tree = low + (bit << shift), 2 * tree + bit
        return low

    def _slots(self, contexts: Sequence[int], group: int, length: int) -> list[int]:
        keys = [c + (i << 24) + (group << 28) + (length << 32) for i, c in enumerate(contexts)]
        return [(key * GOLDEN & (1 << 64) - 1) >> self._shift for key in keys]

    def _map_cell(self, at: tuple[int, ...]) -> Cell:
        return self._maps.get(at, (int(SQUASH[(min(at[-1], 24) - 12 + 24) * 32]) >> 2, 6))

    def _decide(
        self,
        bit: int,
        counters: Sequence[tuple[int, int]],
        group: int,
        label: int,
        distributions: Sequence[tuple[int, int]],
        choices: Sequence[int],
        coder: Coder,
    ) -> int:
        """A decision by everything that is known, and what learns from it."""
        inputs = []
        for at in counters:
            p, count = self._counters.get(at, (1 << 21, 0))
            odds = bent(p | 1) - bent((1 << 22) - (p | 1))
            inputs.append(odds * (1024 * count // (count + 8)) >> 10)
        inputs += [logarithm(max(one, 1)) - logarithm(max(zero, 1)) for one, zero in distributions]
        inputs.append(CONSTANT)
        rows = [
            self._weights.setdefault((k, group, choice, label), [int(w) << 8 for w in START[group, STAGES[label]]])
            for k, choice in enumerate(choices[:3])
        ]
        ways = [clamp(sum(w * x for w, x in zip(row, inputs, strict=True)) >> 16, -LIMIT, LIMIT) for row in rows]
        second = self._second.setdefault((group, label), [65536 // 3] * 3)
        mixed = clamp(sum(w * x for w, x in zip(second, ways, strict=True)) >> 16, -LIMIT, LIMIT)
        p_mixed = squash(mixed)
        place = clamp(mixed + 12 * UNIT, 0, 24 * UNIT - 1)
        part, p, cells = place & 1023, 2 * p_mixed, []
        for k, choice in enumerate(choices[3:]):
            cell = (k, group, choice, label, place >> 10)
            after = (*cell[:-1], cell[-1] + 1)
            p += (self._map_cell(cell)[0] * (1024 - part) + self._map_cell(after)[0] * part) >> 8
            cells.append(after if part >> 9 else cell)
        bit = coder.decide(bit, clamp(p >> 2, 1 << 10, ALL - (1 << 10)))
        for cell in cells:
            self._maps[cell] = learned(self._map_cell(cell), bit, MAP_LIMIT)
        error = ((bit << 24) - p_mixed) >> 8
        second[:] = [
            clamp(w + (x * error >> 20), -WEIGHT_LIMIT, WEIGHT_LIMIT) for w, x in zip(second, ways, strict=True)
        ]
        for row, way in zip(rows, ways, strict=True):
            error = ((bit << 24) - squash(way)) >> 9
            row[:] = [
                clamp(w + ((x * error + (1 << 15)) >> 16), -WEIGHT_LIMIT, WEIGHT_LIMIT)
                for w, x in zip(row, inputs, strict=True)
            ]
        for at in counters:
            self._counters[at] = learned(self._counters.get(at, (1 << 21, 0)), bit, COUNTER_LIMIT)
        return bit
