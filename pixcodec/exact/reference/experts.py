"""Experts, mixer and last map in Python's integers (the definition).

The decisions of up to 64 lanes of a step are made together: the first ones of all, by what is known before any of
them, then everything learns from them, then the second ones.

A *cell* is (probability in 2^-22, count).  A decision moves it by ((target - p) floor(65536 / (count + 1.5))) >> 16,
where target is 2^22 - 1 or 0, and counts one more, to a limit.  >> is a floor.  `docs/format.md` tells the whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from pixcodec.exact.reference import joint_decisions
from pixcodec.exact.tables import LOG2, SQUASH

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

Cell = tuple[int, int]
TOGETHER, CHUNK = 64, 16  # lanes that make decisions together, and that trust goes down by together
LISTS, EXPERTS = 7, 13
MATCH, COUNTERS, PLAIN = 7, 8, 11
UNIT, LIMIT, SURE = 1024, 22 * 1024, 8 * 1024
STATES = (*[48] * 11, 256, 256)
NEW = 36
BUCKETS = 32
EXPERT_WEIGHT, NETWORK_WEIGHT, MOST_WEIGHT = 6000 << 12, 1 << 28, 1 << 30  # in 2^-28
INPUT_LIMIT = (1 << 15) - 1
MATCH_COUNTS = ((64, 15), (32, 9), (16, 6), (8, 4), (4, 3), (2, 2), (0, 1))
CLASSES = (0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 6, 6, 7)


class Coder(Protocol):
    """Writes decisions or reads them."""

    def decide(self, bit: int, p: int) -> int:
        """The decision, `bit` if it is written, by the probability p of 1 in 2^-24."""


def clamp(x: int, low: int, high: int) -> int:
    """Keep x within low..high."""
    return min(max(x, low), high)


def signed(x: int) -> int:
    """32 bits of x, with their sign."""
    return (x + (1 << 31)) % (1 << 32) - (1 << 31)


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


def mixed(weights: Sequence[int], inputs: Sequence[int]) -> int:
    """Odds by weights in 2^-28, of which the upper 16 bits count; the sum has 32 bits."""
    total = sum((w >> 16) * x for w, x in zip(weights, inputs, strict=True))
    return clamp(signed(total) >> 12, -LIMIT, LIMIT)


def learn_weights(weights: list[int], inputs: Sequence[int], missing: int, rate: int) -> None:
    """Weights after a decision from whose probability so much of 2^24 was missing."""
    error = missing >> 9
    weights[:] = [
        clamp(w + (x * error >> rate), -MOST_WEIGHT, MOST_WEIGHT) for w, x in zip(weights, inputs, strict=True)
    ]


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

    def empty(self, check: int) -> None:
        """Begin anew, for another context."""
        self.check, self.uses, self.values, self.counts = check, 0, [0] * 7, [0] * 7


class Table:
    """Lists by the hash of a context: two neighbours of 2^16 places are tried."""

    def __init__(self) -> None:
        self._slots: dict[int, List] = {}

    def find(self, context: int) -> List:
        """The slot with the context's list, or the less used one, emptied."""
        check, place = context >> 24, context & 0xFFFF
        first, second = (self._slots.setdefault(at, List()) for at in (place, place ^ 1))
        for slot in (first, second):
            if slot.check == check and slot.uses:
                return slot
        slot, kept = (first, second) if first.uses <= second.uses else (second, first)
        kept.uses -= kept.uses > 1
        slot.empty(check)
        return slot


@dataclass
class Near:
    """Values around a sample, and by how much the channels before it change from its neighbours."""

    left: int
    upper: int
    corner: int
    right: int
    second: int
    before_left: int
    before_upper: int
    change_left: int
    change_up: int


@dataclass
class Lane:
    """A sample that is being coded.

    Attributes:
        value: its value, where it is written.
        sums: by the network, in 2^-24, of the frequencies of all values below each, 0 to 256.
        slots: of its contexts, None of an expert that takes no part, with what is added to their values.
        lists: what was in them, and the match.
        unseen: whether the context of each is new.
        counters: their channel and context.
        near: what is around it.
        low, node: what its decisions have left.
        lower, upper: frequencies below that, and with it.
    """

    value: int
    sums: Sequence[int]
    slots: list[tuple[List | None, int]]
    lists: list[tuple[List, int]]
    unseen: list[bool]
    counters: list[tuple[int, int, int]]
    near: Near
    low: int = 0
    node: int = 1
    lower: int = 0
    upper: int = 1 << 24


@dataclass
class Opinion:
    """What the experts say to a decision, and what of them learns, with the cells as they were read.

    Attributes:
        maps: place and cell of each expert, and whether it is turned.
        inputs: of the mixer.
        sets: numbers of its three rows.
        ways: what they give.
        second: number of the row that mixes these.
        p_mixed: the probability before the last map.
        last: place and cell of that.
        p: the probability.
    """

    maps: list[tuple[int, Cell, bool]]
    inputs: list[int]
    sets: list[int]
    ways: list[int]
    second: int
    p_mixed: int
    last: tuple[int, Cell]
    p: int


@dataclass
class Decision:
    """A decision of a lane before it is made; `opinion` is None if it is the network's alone.

    `middle` are the network's frequencies below its cut.
    """

    middle: int
    odds: int
    p: int
    evidence: list[tuple[int, int]]
    counters: Sequence[tuple[tuple[int, ...], Cell]]
    opinion: Opinion | None


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
        sums: np.ndarray,
        centres: np.ndarray,
        planes: np.ndarray,
        coder: Coder,
    ) -> None:
        """See `exact.experts.code`; values that `coder` says go to `planes`.

        `sums`, int[n, 257], are the network's frequencies below each value (`reference.codec`).
        """
        for _, together in groupby(range(first, first + len(sums)), lambda y: y // TOGETHER):
            places = [(y, step - 2 * y) for y in together]
            if channel == self._known and self._present[MATCH]:
                self._find_matches(planes, places, step)
            lanes = [self._look(planes, y, x, channel, sums[y - first], int(centres[y - first])) for y, x in places]
            for depth in range(8):
                self._decide(lanes, channel, depth, coder)
            for lane, (y, x) in zip(lanes, places, strict=True):
                planes[y, x, channel] = lane.low
                for slot, offset in lane.slots:
                    if slot is not None:
                        slot.learn((lane.low - offset) % 256)

    def _look(self, planes: np.ndarray, y: int, x: int, c: int, sums: np.ndarray, centre: int) -> Lane:
        """A sample with everything that is known of it before its first decision."""
        near, own = self._near(planes, y, x, c), [int(v) for v in planes[y, x, :c]]
        contexts, offsets = self._contexts(planes, y, x, c, near, centre), [0, 0, 0, near.left, near.upper, 0, 0]
        present = self._present[:LISTS]
        slots = [t.find(h) if p else None for t, h, p in zip(self._tables, contexts, present, strict=True)]
        lists = [List() if slot is None else replace(slot) for slot in slots]
        unseen = [p and each.uses == 0 for each, p in zip(lists, present, strict=True)]
        match = self._match(planes, y, x, c) if self._present[MATCH] else None
        third = (near.upper, (near.left - near.before_left + own[-1]) % 256, own[0])[c] if c else near.upper
        return Lane(
            int(planes[y, x, c]),
            sums.tolist(),
            [*zip(slots, offsets, strict=True)],
            [*zip(lists, offsets, strict=True), (match or List(), 0)],
            [*unseen, self._present[MATCH] and match is None],
            [(0, c, x % 2 + 2 * (y % 2)), (1, c, own[-1] if c else near.left), (2, c, third)],
            near,
        )

    def _near(self, planes: np.ndarray, y: int, x: int, c: int) -> Near:
        """See `Near`."""
        if x + y == 0:
            return Near(*[128] * 5, *[0] * 4)
        places = self._neighbours(y, x)
        left, upper, corner, right, second = (int(planes[place][c]) for place in places)
        if c == 0:
            change_left, change_up = ((other - corner) * 512 + right - upper for other in (upper, left))
            return Near(left, upper, corner, right, second, 0, 0, change_left, change_up)
        before_left, before_upper = (int(planes[place][c - 1]) for place in places[:2])
        change_left = change_up = 0
        for k in range(c):
            own = int(planes[y, x, k])
            change_left = change_left * 512 + own - int(planes[places[0]][k]) + 256
            change_up = change_up * 512 + own - int(planes[places[1]][k]) + 256
        return Near(left, upper, corner, right, second, before_left, before_upper, change_left, change_up)

    def _neighbours(self, y: int, x: int) -> list[tuple[int, int]]:
        """Left, upper, upper left, upper right and second left; outside the nearest known pixel."""
        left = (y, x - 1) if x else (max(y - 1, 0), 0)
        upper = (y - 1, x) if y else (0, max(x - 1, 0))
        corner = (max(y - 1, 0), max(x - 1, 0))
        right = (y - 1, min(x + 1, self.width - 1)) if y else upper
        second = (y, x - 2) if x > 1 else (left[0], 0)
        return [left, upper, corner, right, second]

    @staticmethod
    def _packed(planes: np.ndarray, place: tuple[int, int]) -> int:
        number = 0
        for value in planes[place]:
            number = number << 8 | int(value)
        return number

    def _around(self, planes: np.ndarray, y: int, x: int) -> int:
        """A hash of the four nearest pixels."""
        pixels = [self._packed(planes, place) for place in self._neighbours(y, x)] if x + y else [0] * 4
        return hashed(hashed(hashed(pixels[0], pixels[1]), pixels[2]), pixels[3])

    def _contexts(self, planes: np.ndarray, y: int, x: int, c: int, near: Near, centre: int) -> list[int]:
        """Those of the lists."""
        known, parity = c, x % 2 + 2 * (y % 2)
        for value in planes[y, x, :c]:
            known = known * 256 + int(value)
        left, change = near.left, hashed(known, near.left - near.before_left + 256)
        return [
            hashed(known, 0 if c else left),
            hashed(known, left if c else near.second * 256 + left),
            hashed(change, near.upper - near.before_upper + 256),
            hashed(c * 4 + parity + 16, near.change_left),
            hashed(c * 4 + parity + 32, near.change_up),
            hashed(known, centre),
            hashed(known, self._around(planes, y, x)),
        ]

    def _find_matches(self, planes: np.ndarray, places: Sequence[tuple[int, int]], step: int) -> None:
        """The pixel, as y W + x, that each may repeat (-1: none), and for how many pixels it held.

        All look into the table before they are put there.
        """
        keys = []
        for y, x in places:
            far = int(planes[self._neighbours(y, x)[4]][0]) if x + y else 0
            keys.append(hashed(self._around(planes, y, x), far) & 0xFFFF)
            at, long = -1, 0
            before, length = self._pointer.get((y, x - 1), (-1, 0))
            if before >= 0:
                repeated = divmod(before, self.width)
                held = self._packed(planes, repeated) == self._packed(planes, (y, x - 1))
                long = min(length + 1, 400) if held else length >> 2
                at = before + 1 if repeated[1] + 1 < self.width and long else -1
            if at < 0:
                at, long = self._matches.get(keys[-1], -1), 1
            if at >= 0 and at % self.width + 2 * (at // self.width) >= step:
                at = -1
            self._pointer[y, x] = at, long
        for key, (y, x) in zip(keys, places, strict=True):
            self._matches[key] = y * self.width + x

    def _match(self, planes: np.ndarray, y: int, x: int, c: int) -> List | None:
        """The repeated pixel's value as a list of one, where its channels before are this pixel's."""
        at, length = self._pointer[y, x]
        if at < 0 or any(planes[divmod(at, self.width)][k] != planes[y, x, k] for k in range(c)):
            return None
        count = next(count for least, count in MATCH_COUNTS if length >= least)
        return List(values=[int(planes[divmod(at, self.width)][c]), *[0] * 6], counts=[count, *[0] * 6])

    def _decide(self, lanes: Sequence[Lane], c: int, depth: int, coder: Coder) -> None:
        """A decision of each lane: all are prepared, then made, then learned."""
        decisions = [self._prepared(lane, c, depth) for lane in lanes]
        own = [lane.value >> (7 - depth) & 1 for lane in lanes]
        bits = joint_decisions.decide(own, [decision.p for decision in decisions], coder)
        for lane, decision, bit in zip(lanes, decisions, bits, strict=True):
            lane.lower, lane.upper = (decision.middle, lane.upper) if bit else (lane.lower, decision.middle)
            lane.low += bit << (7 - depth)
            lane.node = 2 * lane.node + bit
        for decision, bit in zip(decisions, bits, strict=True):
            for (at, cell), present in zip(decision.counters, self._present[COUNTERS:PLAIN], strict=True):
                if present:
                    self._counters[at] = learned(cell, bit, 250)
            if decision.opinion is not None:
                self._learn(decision.opinion, bit)
        for start in range(0, len(lanes), CHUNK):
            self._learn_trust(c, decisions[start : start + CHUNK], bits[start : start + CHUNK])

    def _prepared(self, lane: Lane, c: int, depth: int) -> Decision:
        """All that is known of a lane's next decision."""
        shift = 7 - depth
        cut = lane.low + (1 << shift)
        middle = clamp(lane.sums[cut], lane.lower + (1 << shift), lane.upper - (1 << shift))  # each value keeps 1
        n0, n1 = middle - lane.lower, lane.upper - middle
        odds, p = logarithm(n1) - logarithm(n0), (n1 << 24) // (n1 + n0)
        evidence = [each.evidence(offset, lane.low >> (shift + 1), shift) for each, offset in lane.lists]
        places = [(*counter, lane.node) for counter in lane.counters]
        counters = [(at, self._counters.get(at, (1 << 21, 0))) for at in places]
        if abs(odds) > self._trust[c] >> 5:
            return Decision(middle, odds, p, evidence, counters, None)
        states = self._states(lane, evidence, [cell for _, cell in counters], cut, odds)
        opinion = self._opinion(states, c, lane.node, depth, odds)
        return Decision(middle, odds, opinion.p, evidence, counters, opinion)

    def _states(
        self, lane: Lane, evidence: Sequence[tuple[int, int]], counters: Sequence[Cell], cut: int, odds: int
    ) -> list[tuple[int, bool]]:
        """State of every expert, and whether it is that of the two halves exchanged; 0 where nothing was learned."""
        states = []
        for (n0, n1), unseen in zip(evidence, lane.unseen, strict=True):
            a, b = CLASSES[min(n0, 15)], CLASSES[min(n1, 15)]
            high, low = max(a, b), min(a, b)
            state = high * (high + 1) // 2 + low
            states.append((NEW if state == 0 and unseen else state, a > b or (a == b and odds < 0)))
        for p, count in counters:
            one, zero = 2 * (p >> 12) + 1, 2047 - 2 * (p >> 12)
            bits = (max(one, zero) // min(one, zero)).bit_length() - 1
            often = 1 if count < 4 else 2 if count < 16 else 3 if count < 100 else 4
            states.append((min(bits, 10) * 4 + often, one < zero) if count else (0, odds < 0))
        near = lane.near
        for level, other in ((near.left, near.upper), (near.upper, near.left)):
            slope = 32 * clamp(((other - near.corner) >> 2) + 4, 0, 7)
            states.append((clamp(cut - level, -16, 15) + 16 + slope, False))
        return states

    def _cell(self, which: str, at: int) -> Cell:
        start, first = self._starts[which], start_of_map(at % BUCKETS)
        if start is not None:
            first = divmod(int(start.ravel()[at - self._known * start.shape[1]]), 1024)
        return self._maps.get((which, at), first)

    def _opinion(self, states: Sequence[tuple[int, bool]], c: int, node: int, depth: int, odds: int) -> Opinion:
        """See `Opinion`."""
        inputs, maps, first = [], [], c * sum(STATES) * BUCKETS
        for (state, turned), number, present in zip(states, STATES, self._present, strict=True):
            place = bucket(-odds if turned else odds)
            part, at = place >> 2 & 255, first + state * BUCKETS + (place >> 10)
            cells = self._cell("maps", at), self._cell("maps", at + 1)
            p = ((cells[0][0] * (256 - part) + cells[1][0] * part) >> 8) | 1
            change = bent(p) - bent((1 << 22) - p) - (place - 13 * UNIT)
            inputs.append(clamp(-change if turned else change, -INPUT_LIMIT, INPUT_LIMIT) if present else 0)
            if present:
                maps.append((at + (part >> 7), cells[part >> 7], turned))
            first += number * BUCKETS
        inputs.append(odds)
        known = [state for state, _ in states[:8] if state not in {0, NEW}]
        best = states[7][0] if states[7][0] not in {0, NEW} else states[6][0]
        best = 0 if best in {0, NEW} else 1 + best // 6
        sets = [
            c * 512 + depth * 16 + min(15, abs(odds) >> 9),
            c * 512 + states[0][0],
            c * 512 + len(known) * 16 + best,
        ]
        start = [EXPERT_WEIGHT] * EXPERTS + [NETWORK_WEIGHT]
        ways = [mixed(self._weights.setdefault((k, at), start[:]), inputs) for k, at in enumerate(sets)]
        second = (c * 8 + depth) * 8 + min(7, abs(odds) >> 10)
        way = mixed(self._second.setdefault(second, [NETWORK_WEIGHT // 3] * 3), ways)
        p = p_mixed = squash(way)
        part, at = bucket(way) & 1023, (c * 256 + node) * BUCKETS + (bucket(way) >> 10)
        cells = self._cell("last", at), self._cell("last", at + 1)
        if abs(way) < 12 * UNIT:
            p = (3 * p_mixed + ((cells[0][0] * (1024 - part) + cells[1][0] * part) >> 8)) >> 2
        p = clamp(p, 128 >> depth, (1 << 24) - (128 >> depth))
        return Opinion(maps, inputs, sets, ways, second, p_mixed, (at + (part >> 9), cells[part >> 9]), p)

    def _learn(self, opinion: Opinion, bit: int) -> None:
        """What an opinion is made from; cells forget what others of this depth have taught them, weights do not."""
        for at, cell, turned in opinion.maps:
            self._maps["maps", at] = learned(cell, bit ^ turned, 1022)
        at, cell = opinion.last
        self._maps["last", at] = learned(cell, bit, 1022)
        for k, (row, way) in enumerate(zip(opinion.sets, opinion.ways, strict=True)):
            learn_weights(self._weights[k, row], opinion.inputs, (bit << 24) - squash(way), 3)
        learn_weights(self._second[opinion.second], opinion.ways, (bit << 24) - opinion.p_mixed, 7)

    def _learn_trust(self, c: int, decisions: Sequence[Decision], bits: Sequence[int]) -> None:
        """By what the network decided alone: first all that was right, then what was wrong where a list was sure."""
        alone = [(each, bit) for each, bit in zip(decisions, bits, strict=True) if each.opinion is None]
        wrong = [(each, bit) for each, bit in alone if (each.odds > 0) != (bit == 1)]
        self._trust[c] = max(self._trust[c] - 2 * (len(alone) - len(wrong)), SURE << 5)
        for decision, bit in wrong:
            if any(halves[bit] > 1 and halves[1 - bit] == 0 for halves in decision.evidence):
                self._trust[c] = min(self._trust[c] + 64 * UNIT, 24 * UNIT << 5)
