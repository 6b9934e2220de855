"""Experts, mixer and last map, one sample after the other in Python's integers (the definition).

A *cell* is (probability in 2^-22, count).  A decision moves it by ((target - p) floor(65536 / (count + 1.5))) >> 16,
where target is 2^22 - 1 or 0, and counts one more, to a limit.  >> is a floor.  `docs/format.md` tells the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pixcodec.exact.tables import LOG2, SQUASH

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

Cell = tuple[int, int]
LISTS, EXPERTS = 7, 13
MATCH, COUNTERS, PLAIN = 7, 8, 11
UNIT, LIMIT, SURE = 1024, 22 * 1024, 8 * 1024
STATES = (*[48] * 11, 256, 256)
NEW = 36
BUCKETS = 32
WEIGHT_LIMIT = 1 << 20
MATCH_COUNTS = ((64, 15), (32, 9), (16, 6), (8, 4), (4, 3), (2, 2), (0, 1))
CLASSES = (0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7)


class Coder(Protocol):
    """Writes a sample's interval of 0..2^24 - 1, or reads where in it the words point."""

    def point(self) -> int | None:
        """Where the words point; None where they are written."""

    def done(self, below: int, size: int) -> None:
        """The interval that was found."""


@dataclass
class Interval:
    """What the decisions of a sample have left of 0..2^24 - 1, and where in it the words point, if they are read."""

    point: int | None
    below: int = 0
    size: int = 1 << 24

    def decide(self, bit: int, p: int, leaves: int) -> int:
        """Cut by the probability of 1 in 2^-24; each half keeps 1 for each of its `leaves`.  The decision."""
        upper = clamp(self.size * p >> 24, leaves, self.size - leaves)
        if self.point is not None:
            bit = int(self.point >= self.below + self.size - upper)
        self.below += self.size - upper if bit else 0
        self.size = upper if bit else self.size - upper
        return bit


def clamp(x: int, low: int, high: int) -> int:
    """Keep x within low..high."""
    return min(max(x, low), high)


def hashed(a: int, b: int) -> int:
    """32 bits of two numbers."""
    a = (a * 0x2545F491 + b + 0x1234567) & 0xFFFFFFFF
    a ^= a >> 15
    a = (a * 0x9E3779B1) & 0xFFFFFFFF
    return a ^ (a >> 13)


def logarithm(n: int) -> int:
    """log2 n in 1/1024, by the eleven bits after the first."""
    exponent = n.bit_length() - 1
    return exponent * UNIT + int(LOG2[(n << 11 >> exponent) & 2047])


def bent(n: int) -> int:
    """log2 n in 1/1024 again, but 1 + f to f + 0.35 f (1 - f), within 0.009: what maps say is read so."""
    exponent = n.bit_length() - 1
    part = (n << 11 >> exponent) & 2047
    return exponent * UNIT + (part >> 1) + (part * (2048 - part) * 359 >> 22)


def squash(x: int) -> int:
    """Probability in 2^-24 of odds with the logarithm x."""
    x = clamp(x, -LIMIT, LIMIT) + 24 * UNIT
    i, part = x >> 5, x & 31
    return (int(SQUASH[i]) * (32 - part) + int(SQUASH[i + 1]) * part) >> 5


def learned(cell: Cell, bit: int, limit: int) -> Cell:
    """A cell after a decision."""
    p, count = cell
    target = (1 << 22) - 1 if bit else 0
    return p + ((target - p) * int(65536 / (count + 1.5)) >> 16), min(count + 1, limit)


def bucket(x: int) -> int:
    """Odds in the range of maps, from 0 on."""
    return clamp(x + 13 * UNIT, 0, 26 * UNIT - 1)


def start_of_map(number: int) -> Cell:
    """The cell of a bucket that leaves the odds as they are."""
    return int(SQUASH[(min(number, 26) - 13 + 24) * 32]) >> 2, 3


@dataclass
class List:
    """Values that followed a context, the most frequent first; a count of 0 is a free place."""

    check: int = 0
    uses: int = 0
    values: list[int] = field(default_factory=lambda: [0] * 7)
    counts: list[int] = field(default_factory=lambda: [0] * 7)

    def learn(self, value: int) -> None:
        """A value came."""
        used = [v for v, count in zip(self.values, self.counts, strict=True) if count]
        if value in used:
            place = next(i for i in range(7) if self.counts[i] and self.values[i] == value)
            own = min(self.counts[place] + 1, 31)
        else:
            place = next((i for i in range(7) if not self.counts[i]), 6)
            own = 1
        self.counts = [count - ((count + 4) >> 3) for count in self.counts]
        self.values[place], self.counts[place] = value, own
        if place and self.counts[place - 1] <= own:
            for row in (self.values, self.counts):
                row[place - 1], row[place] = row[place], row[place - 1]
        self.uses = min(self.uses + 1, 250)

    def evidence(self, offset: int, prefix: int, shift: int) -> tuple[int, int]:
        """Counts of values plus an offset whose upper bits are `prefix`, then 0 or 1; `shift` bits follow."""
        halves = [0, 0]
        for value, count in zip(self.values, self.counts, strict=True):
            upper = (value + offset) % 256 >> shift
            if upper >> 1 == prefix:
                halves[upper & 1] += count
        return halves[0], halves[1]


class Table:
    """Lists by the hash of a context: two neighbours of 2^16 places are tried."""

    def __init__(self) -> None:
        self._slots: dict[int, List] = {}

    def find(self, context: int) -> List:
        """The context's list, or a new one in the place of the less used."""
        check, place = context >> 24, context & 0xFFFF
        for at in (place, place ^ 1):
            slot = self._slots.setdefault(at, List())
            if slot.check == check and slot.uses:
                return slot
        first, second = self._slots[place], self._slots[place ^ 1]
        at, kept = (place, second) if first.uses <= second.uses else (place ^ 1, first)
        kept.uses -= kept.uses > 1
        self._slots[at] = List(check)
        return self._slots[at]


@dataclass
class Seen:
    """What is looked up for a sample: lists with their offsets, counters' places, and what plain states need."""

    lists: list[tuple[List, int]]
    unseen: list[bool]
    counters: list[tuple[int, int, int]]
    left: int
    upper: int
    slope_up: int
    slope_left: int


class Experts:
    """What a tile teaches; see `exact.experts.Experts` for the arguments."""

    def __init__(
        self,
        height: int,
        width: int,
        channels: int,
        maps: np.ndarray | None = None,
        last: np.ndarray | None = None,
        *,
        mask: int = (1 << EXPERTS) - 1,
        known: int = 0,
    ) -> None:
        self.height, self.width, self.channels = height, width, channels
        self._present = [bool(mask >> e & 1) for e in range(EXPERTS)]
        self._starts = {"maps": maps, "last": last}
        self._known = known  # channels that come first and are not coded, so that nothing was trained for them
        self._tables = [Table() for _ in range(LISTS)]
        self._counters: dict[tuple[int, ...], Cell] = {}
        self._maps: dict[tuple[str, int], Cell] = {}
        self._matches: dict[int, int] = {}
        self._pointer: dict[tuple[int, int], tuple[int, int]] = {}
        self._weights: dict[tuple[int, int], list[int]] = {}
        self._second: dict[int, list[int]] = {}
        self._trust = [SURE << 5] * channels

    def code(
        self,
        channel: int,
        step: int,
        first: int,
        counts: np.ndarray,
        centres: np.ndarray,
        planes: np.ndarray,
        coder: Coder,
    ) -> None:
        """See `exact.experts.code`; values that `coder` says go to `planes`."""
        for lane, row in enumerate(counts):
            y = first + lane
            x, centre = step - 2 * y, int(centres[lane])
            seen, contexts = self._look(planes, y, x, channel, step, centre)
            frequencies = [int(count) + 1 for count in row]
            value = self._value(seen, channel, frequencies, int(planes[y, x, channel]), coder)
            planes[y, x, channel] = value
            for (each, offset), context, present in zip(seen.lists, contexts, self._present, strict=False):
                if present:
                    each.check = context >> 24
                    each.learn((value - offset) % 256)

    def _look(self, planes: np.ndarray, y: int, x: int, c: int, step: int, centre: int) -> tuple[Seen, list[int]]:
        """Everything that is known of a sample before its first decision."""
        places = self._neighbours(y, x)
        own = [int(v) for v in planes[y, x, :c]]
        known = c
        for value in own[:1] + own[1:]:
            known = known * 256 + value
        if x + y == 0:
            left = upper = corner = right = second = 128
            pixels = [0] * 5
            before_left = before_upper = change_left = change_up = 0
        else:
            left, upper, corner, right, second = (int(planes[place][c]) for place in places)
            if y == 0:
                corner = left
            pixels = [self._packed(planes, place) for place in places]
            before_left, before_upper = (int(planes[place][c - 1]) if c else 0 for place in places[:2])
            change_left = change_up = 0
            for k in range(c):
                change_left = change_left * 512 + own[k] - int(planes[places[0]][k]) + 256
                change_up = change_up * 512 + own[k] - int(planes[places[1]][k]) + 256
            if c == 0:
                change_left = (upper - corner) * 512 + right - upper
                change_up = (left - corner) * 512 + right - upper
        parity = x % 2 + 2 * (y % 2)
        neighbourhood = hashed(hashed(hashed(pixels[0], pixels[1]), pixels[2]), pixels[3])
        if c == self._known and self._present[MATCH]:
            far = int(planes[places[4]][0]) if x + y else 0
            self._find_match(planes, y, x, step, hashed(neighbourhood, far) & 0xFFFF)
        contexts = [
            hashed(known, 0 if c else left),
            hashed(known, left if c else second * 256 + left),
            hashed(hashed(known, left - before_left + 256), upper - before_upper + 256),
            hashed(c * 4 + parity + 16, change_left),
            hashed(c * 4 + parity + 32, change_up),
            hashed(known, centre),
            hashed(known, neighbourhood),
        ]
        offsets = [0, 0, 0, left, upper, 0, 0]
        present = self._present[:LISTS]
        found = [t.find(h) if p else List() for t, h, p in zip(self._tables, contexts, present, strict=True)]
        unseen = [p and each.uses == 0 for each, p in zip(found, present, strict=True)]
        match = self._match(planes, y, x, c) if self._present[MATCH] else None
        lists = [*zip(found, offsets, strict=True), (match or List(), 0)]
        unseen.append(self._present[MATCH] and match is None)
        third = (upper, (left - before_left + own[-1]) % 256, own[0])[c] if c else upper
        counters = [(0, c, parity), (1, c, own[-1] if c else left), (2, c, third)]
        seen = Seen(
            lists,
            unseen,
            counters,
            left,
            upper,
            32 * clamp(((upper - corner) >> 2) + 4, 0, 7),
            32 * clamp(((left - corner) >> 2) + 4, 0, 7),
        )
        return seen, contexts

    def _neighbours(self, y: int, x: int) -> list[tuple[int, int]]:
        """Left, upper, upper left, upper right and second left; outside the nearest known pixel."""
        left = (y, x - 1) if x else (max(y - 1, 0), 0)
        upper = (y - 1, x) if y else (0, max(x - 1, 0))
        corner = (y - 1 if y else left[0], max(x - 1, 0))
        right = (y - 1, min(x + 1, self.width - 1)) if y else upper
        second = (y, x - 2) if x > 1 else (left[0], 0)
        return [left, upper, corner, right, second]

    @staticmethod
    def _packed(planes: np.ndarray, place: tuple[int, int]) -> int:
        number = 0
        for value in planes[place]:
            number = number << 8 | int(value)
        return number

    def _find_match(self, planes: np.ndarray, y: int, x: int, step: int, key: int) -> None:
        """The pixel, as y W + x, that this one may repeat (-1: none), and for how many pixels it held."""
        at, long = -1, 0
        before, length = self._pointer.get((y, x - 1), (-1, 0))
        if before >= 0:
            repeated = divmod(before, self.width)
            held = self._packed(planes, repeated) == self._packed(planes, (y, x - 1))
            long = min(length + 1, 400) if held else length >> 2
            at = before + 1 if repeated[1] + 1 < self.width and long else -1
        if at < 0:
            at, long = self._matches.get(key, -1), 1
        if at >= 0 and at % self.width + 2 * (at // self.width) >= step:
            at = -1
        self._pointer[y, x] = at, long
        self._matches[key] = y * self.width + x

    def _match(self, planes: np.ndarray, y: int, x: int, c: int) -> List | None:
        """The repeated pixel's value as a list of one, where its channels before are this pixel's."""
        at, length = self._pointer[y, x]
        if at < 0 or any(planes[divmod(at, self.width)][k] != planes[y, x, k] for k in range(c)):
            return None
        count = next(count for least, count in MATCH_COUNTS if length >= least)
        return List(values=[int(planes[divmod(at, self.width)][c]), *[0] * 6], counts=[count, *[0] * 6])

    def _value(self, seen: Seen, c: int, frequencies: Sequence[int], value: int, coder: Coder) -> int:
        """Eight decisions."""
        low, node, interval = 0, 1, Interval(coder.point())
        for depth in range(8):
            shift = 7 - depth
            cut, bit = low + (1 << shift), value >> shift & 1
            n0, n1 = sum(frequencies[low:cut]), sum(frequencies[cut : cut + (1 << shift)])
            odds = logarithm(n1) - logarithm(n0)
            evidence = [each.evidence(offset, low >> (shift + 1), shift) for each, offset in seen.lists]
            if abs(odds) > self._trust[c] >> 5:
                bit = interval.decide(bit, (n1 << 24) // (n1 + n0), 1 << shift)
                if (odds > 0) == (bit == 1):
                    self._trust[c] = max(self._trust[c] - 2, SURE << 5)
                elif any(halves[bit] > 1 and halves[1 - bit] == 0 for halves in evidence):
                    self._trust[c] = min(self._trust[c] + 64 * UNIT, 24 * UNIT << 5)
            else:
                bit = self._mixed_decision(seen, evidence, c, node, depth, cut, odds, bit, interval)
            for counter, present in zip(seen.counters, self._present[COUNTERS:PLAIN], strict=True):
                if not present:
                    continue
                at = (*counter, node)
                self._counters[at] = learned(self._counters.get(at, (1 << 21, 0)), bit, 250)
            low += bit << shift
            node = 2 * node + bit
        coder.done(interval.below, interval.size)
        return low

    def _states(
        self, seen: Seen, evidence: Sequence[tuple[int, int]], node: int, cut: int, odds: int
    ) -> list[tuple[int, bool]]:
        """State of every expert, and whether it is that of the two halves exchanged; 0 where nothing was learned."""
        states = []
        for (n0, n1), unseen in zip(evidence, seen.unseen, strict=True):
            a, b = CLASSES[min(n0, 15)], CLASSES[min(n1, 15)]
            high, low = max(a, b), min(a, b)
            state = high * (high + 1) // 2 + low
            states.append((NEW if state == 0 and unseen else state, a > b or (a == b and odds < 0)))
        for counter in seen.counters:
            p, count = self._counters.get((*counter, node), (1 << 21, 0))
            one, zero = 2 * (p >> 12) + 1, 2047 - 2 * (p >> 12)
            bits = (max(one, zero) // min(one, zero)).bit_length() - 1
            often = 1 if count < 4 else 2 if count < 16 else 3 if count < 100 else 4
            states.append((min(bits, 10) * 4 + often, one < zero) if count else (0, odds < 0))
        states.append((clamp(cut - seen.left, -16, 15) + 16 + seen.slope_up, False))
        states.append((clamp(cut - seen.upper, -16, 15) + 16 + seen.slope_left, False))
        return states

    def _cell(self, which: str, at: int) -> Cell:
        start, first = self._starts[which], start_of_map(at % BUCKETS)
        if start is not None:
            first = divmod(int(start.ravel()[at - self._known * start.shape[1]]), 1024)
        return self._maps.get((which, at), first)

    def _mixed_decision(
        self,
        seen: Seen,
        evidence: Sequence[tuple[int, int]],
        c: int,
        node: int,
        depth: int,
        cut: int,
        odds: int,
        bit: int,
        interval: Interval,
    ) -> int:
        """A decision by all experts, and what they learn from it."""
        states = self._states(seen, evidence, node, cut, odds)
        change, cells, first = [], [], c * sum(STATES) * BUCKETS
        for (state, turned), number, present in zip(states, STATES, self._present, strict=True):
            own = -odds if turned else odds
            place = bucket(own)
            part, cell = place >> 2 & 255, first + state * BUCKETS + (place >> 10)
            p = ((self._cell("maps", cell)[0] * (256 - part) + self._cell("maps", cell + 1)[0] * part) >> 8) | 1
            more = bent(p) - bent((1 << 22) - p) - (place - 13 * UNIT)
            change.append((-more if turned else more) if present else 0)
            if present:
                cells.append((cell + (part >> 7), turned))
            first += number * BUCKETS
        known = [state for state, _ in states[:8] if state not in {0, NEW}]
        best = states[7][0] if states[7][0] not in {0, NEW} else states[6][0]
        best = 0 if best in {0, NEW} else 1 + best // 6
        sets = [
            c * 512 + depth * 16 + min(15, abs(odds) >> 9),
            c * 512 + states[0][0],
            c * 512 + len(known) * 16 + best,
        ]
        weights = [self._weights.setdefault((k, at), [6000] * EXPERTS + [65536]) for k, at in enumerate(sets)]
        inputs = [*change, odds]
        ways = [clamp(sum(w * x for w, x in zip(own, inputs, strict=True)) >> 16, -LIMIT, LIMIT) for own in weights]
        second = self._second.setdefault((c * 8 + depth) * 8 + min(7, abs(odds) >> 10), [65536 // 3] * 3)
        mixed = clamp(sum(w * x for w, x in zip(second, ways, strict=True)) >> 16, -LIMIT, LIMIT)
        p_mixed = squash(mixed)
        part, cell = bucket(mixed) & 1023, (c * 256 + node) * BUCKETS + (bucket(mixed) >> 10)
        p = p_mixed
        if abs(mixed) < 12 * UNIT:
            a, b = self._cell("last", cell)[0] * (1024 - part), self._cell("last", cell + 1)[0] * part
            p = (3 * p_mixed + ((a + b) >> 8)) >> 2
        bit = interval.decide(bit, clamp(p, 1, (1 << 24) - 1), 128 >> depth)
        cell += part >> 9
        self._maps["last", cell] = learned(self._cell("last", cell), bit, 1022)
        error = ((bit << 24) - p_mixed) >> 8
        second[:] = [
            clamp(w + (x * error >> 20), -WEIGHT_LIMIT, WEIGHT_LIMIT) for w, x in zip(second, ways, strict=True)
        ]
        for row, way in zip(weights, ways, strict=True):
            error = ((bit << 24) - squash(way)) >> 9
            row[:] = [
                clamp(w + ((x * error + (1 << 14)) >> 15), -WEIGHT_LIMIT, WEIGHT_LIMIT)
                for w, x in zip(row, inputs, strict=True)
            ]
        for cell, turned in cells:
            self._maps["maps", cell] = learned(self._cell("maps", cell), bit ^ turned, 1022)
        return bit
