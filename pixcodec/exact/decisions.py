"""Numbers as binary decisions, each predicted by counters and distributions that learn, mixed; all in integers.

A number is: whether it is 0, its sign, the length of its magnitude in bits by unary, then the bits below the highest.
Eight contexts that the caller names give a *slot* of 16 counters each, one a decision.  Four logistic distributions,
whose means the caller gives and whose scales are averages of what they missed by in the same context, say what the two
sides of a decision have of them: they know large numbers that counters have never seen, and are good from the first
one on.  The logarithms of all odds, those of young counters drawn to 0, and a constant are weighted three times, by
weights that something else chooses each time; a second layer makes one of the three, and two maps, by the same
choices, correct it by half.  All of them learn from each decision at once.  `coefficients` has the contexts,
`reference/decisions.py` the definition.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pixcodec.exact.compiled import compiled
from pixcodec.exact.decision_weights import STAGES, START
from pixcodec.exact.emit import LANES
from pixcodec.exact.expert_memory import LIMIT
from pixcodec.exact.range_coder import put_decision, take_decision
from pixcodec.exact.tables import LOG2, LOG_UNIT, PROBABILITY_BITS, SQUASH, SQUASH_OCTAVES
from pixcodec.exact.vectors import dot, limited, load_int32x16, store

CONTEXTS, DISTRIBUTIONS, SETS, MAPS = 8, 4, 3, 2
INPUTS = LANES  # of a mixer: contexts, distributions, the constant, and three that are 0, for whole vectors
GROUPS = 8  # of numbers, which share no contexts, weights or maps
CHOICES = 64  # of weights and maps, in a group
DECISIONS = 32  # that have weights and maps of their own
NODES = 16  # counters of a slot
SCALE_CONTEXTS = GROUPS * 64 * 32 * 8
UNIT = 64  # means and scales are in 1/64
SCALE_BITS = 8  # more, of the averages
LONGEST = 12  # bits of a magnitude
COUNTER_LIMIT, MAP_LIMIT, SCALE_LIMIT = 255, 1022, 60
YOUNG = 8  # odds of a counter that learned n times are taken n / (n + 8)
ERROR_BITS, RATE, SECOND_RATE, WEIGHT_LIMIT = 15, 16, 20, 1 << 20
CONSTANT = 512
REACH = 12  # of maps: buckets of one bit from -12 to 12
BUCKETS = 2 * REACH + 2
LEAST = 1 << 10  # probability, of 2^24
FREE = 4  # bits below the highest that are predicted; the others are worth a bit each
SCALE_START, LEAST_SCALE = UNIT << SCALE_BITS, 6
SLOPE = 2 * LOG_UNIT << 16  # odds of a distribution, 2 bits a mean error

_RECIPROCAL = np.array([int(65536 / (n + 1.5)) for n in range(1024)], np.int64)
_SURE = np.array([1024 * n // (n + YOUNG) for n in range(1024)], np.int32)
_BEND = np.int32(359)  # log2(1 + f) is f + 0.35 f (1 - f), within 0.009
_ALL = 1 << PROBABILITY_BITS
_FULL = np.int32((1 << 22) - 1)  # of probabilities in maps and counters, in 2^-22; below them are 10 bits of count
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_compiled = compiled(_nrt=False)
_inlined = compiled(_nrt=False, inline="always")


@_compiled
def logarithm(n):  # type: ignore[no-untyped-def]
    """log2 of an int32 1..2^24 in 1/1024: the exponent of its binary32, and a table by 11 bits of the fraction."""
    bits = np.float32(n).view(np.int32)
    return np.int32(((bits >> 23) - 127) * LOG_UNIT + LOG2[(bits >> 12) & 2047])


@_compiled
def squash(x):  # type: ignore[no-untyped-def]
    """Probability in 2^-24 of odds with the logarithm x."""
    x = min(max(x, -LIMIT), LIMIT) + SQUASH_OCTAVES * LOG_UNIT
    i, part = x >> 5, x & 31
    return (np.int64(SQUASH[i]) * (32 - part) + np.int64(SQUASH[i + 1]) * part) >> 5


@_compiled
def learned(cell, bit, limit):  # type: ignore[no-untyped-def]
    """A cell, 22 bits of probability and 10 of count, after a decision."""
    count, p = np.int32(cell & np.uint32(1023)), np.int32(cell >> np.uint32(10))
    p += np.int32((np.int64(np.int32(-bit & _FULL) - p) * _RECIPROCAL[count]) >> 16)
    return (np.uint32(p) << np.uint32(10)) | np.uint32(min(count + np.int32(1), np.int32(limit)))


class Memory(NamedTuple):
    """What was learned.

    Attributes:
        counters: uint32[16 slots], cells as the experts', 22 bits of probability and 10 of count.
        shift: 64 less the logarithm of the number of slots.
        averages, seen: int32[DISTRIBUTIONS, SCALE_CONTEXTS], mean errors in 1/64 / 256 and how often they learned.
        weights: int32[SETS, GROUPS CHOICES DECISIONS, INPUTS]. second: int64[GROUPS DECISIONS, SETS].
        maps: uint32[MAPS, GROUPS CHOICES DECISIONS BUCKETS], cells.
    """

    counters: np.ndarray
    shift: int
    averages: np.ndarray
    seen: np.ndarray
    weights: np.ndarray
    second: np.ndarray
    maps: np.ndarray


class Work(NamedTuple):
    """What is said of a number before it is coded, and scratch.

    Attributes:
        contexts: int64[CONTEXTS], numbers below 2^24.
        means: int64[DISTRIBUTIONS] in 1/64. scales: int64[DISTRIBUTIONS], contexts of their scales below 2^14.
        choices: int64[SETS + MAPS], of weights and maps, below CHOICES.
        places: int64[CONTEXTS] of slots. slopes: int64[DISTRIBUTIONS].
        p, sure, inputs: int32[INPUTS].
    """

    contexts: np.ndarray
    means: np.ndarray
    scales: np.ndarray
    choices: np.ndarray
    places: np.ndarray
    slopes: np.ndarray
    p: np.ndarray
    sure: np.ndarray
    inputs: np.ndarray


def memory(slot_bits: int) -> Memory:
    """Nothing learned, 2^slot_bits slots."""
    rows = GROUPS * CHOICES * DECISIONS
    start = np.zeros((GROUPS, 1, DECISIONS, INPUTS), np.int32)
    start[..., : START.shape[-1]] = (START << 8)[:, None, STAGES]
    buckets = np.minimum(np.arange(BUCKETS), 2 * REACH) - REACH
    p = SQUASH[(buckets + SQUASH_OCTAVES) * (SQUASH.size // (2 * SQUASH_OCTAVES))] >> 2
    row = (p.astype(np.uint32) << np.uint32(10)) | np.uint32(6)
    return Memory(
        np.full(NODES << slot_bits, 1 << 31, np.uint32),
        64 - slot_bits,
        np.full((DISTRIBUTIONS, SCALE_CONTEXTS), SCALE_START, np.int32),
        np.zeros((DISTRIBUTIONS, SCALE_CONTEXTS), np.int32),
        np.broadcast_to(start, (SETS, GROUPS, CHOICES, DECISIONS, INPUTS)).reshape(SETS, rows, INPUTS),
        np.full((GROUPS * DECISIONS, SETS), 65536 // SETS, np.int64),
        np.tile(row, (MAPS, rows)),
    )


def work() -> Work:
    """Everything 0."""
    numbers = [np.zeros(n, np.int64) for n in (CONTEXTS, DISTRIBUTIONS, DISTRIBUTIONS, SETS + MAPS, CONTEXTS)]
    slopes = np.zeros(DISTRIBUTIONS, np.int64)
    return Work(*numbers, slopes, *np.zeros((3, INPUTS), np.int32))  # type: ignore[call-arg]


@_inlined
def _find_slots(memory, work, group, length):  # type: ignore[no-untyped-def]
    """Where the counters of the contexts are; those of long magnitudes have slots of their own."""
    for i in range(CONTEXTS):
        key = work.contexts[i] + (i << 24) + (group << 28) + (length << 32)
        work.places[i] = np.int64((np.uint64(key) * _GOLDEN) >> np.uint64(memory.shift)) * NODES


@_compiled
def _below(edge, mean, slope):  # type: ignore[no-untyped-def]
    """What a distribution has below an edge, given in half units, of 2^24."""
    return squash(((edge * (UNIT // 2) - mean) * slope) >> 16)


@_compiled
def _odds(one, zero):  # type: ignore[no-untyped-def]
    return np.int32(logarithm(max(one, np.int64(1))) - logarithm(max(zero, np.int64(1))))


@_inlined
def _see_counters(memory, work, node):  # type: ignore[no-untyped-def]
    """The counters' odds; loops are split so that all but the look-ups become vectors."""
    for i in range(CONTEXTS):
        cell = memory.counters[work.places[i] + node]
        work.p[i], work.sure[i] = np.int32(cell >> np.uint32(10)), _SURE[cell & np.uint32(1023)]
    for i in range(INPUTS):
        p = work.p[i] | np.int32(1)
        a = np.float32(p).view(np.int32)
        b = np.float32(np.int32(np.int32(1 << 22) - p)).view(np.int32)
        odds = np.int32(np.int32(np.int32(a >> 23) - np.int32(b >> 23)) * np.int32(LOG_UNIT))
        a, b = np.int32(a >> 12) & np.int32(2047), np.int32(b >> 12) & np.int32(2047)
        a = np.int32(a >> 1) + np.int32(np.int32(np.int32(a * np.int32(np.int32(2048) - a)) * _BEND) >> 22)
        b = np.int32(b >> 1) + np.int32(np.int32(np.int32(b * np.int32(np.int32(2048) - b)) * _BEND) >> 22)
        odds = np.int32(odds + np.int32(a - b))
        work.inputs[i] = np.int32(np.int32(odds * work.sure[i]) >> 10)


@_inlined
def _row(weights, k, number):  # type: ignore[no-untyped-def]
    """Address of the weights `number` of set k."""
    return weights.ctypes.data + 4 * INPUTS * (k * weights.shape[1] + number)


@_inlined
def _mixed(memory, work, label, group):  # type: ignore[no-untyped-def]
    """Probability of 1, also before the maps, the three odds that it was made of, and the places that learn."""
    first, inputs = group * CHOICES, load_int32x16(work.inputs.ctypes.data)
    r0 = _row(memory.weights, 0, (first + work.choices[0]) * DECISIONS + label)
    r1 = _row(memory.weights, 1, (first + work.choices[1]) * DECISIONS + label)
    r2 = _row(memory.weights, 2, (first + work.choices[2]) * DECISIONS + label)
    x0 = min(max(dot(load_int32x16(r0), inputs) >> 16, -LIMIT), LIMIT)
    x1 = min(max(dot(load_int32x16(r1), inputs) >> 16, -LIMIT), LIMIT)
    x2 = min(max(dot(load_int32x16(r2), inputs) >> 16, -LIMIT), LIMIT)
    w = memory.second[group * DECISIONS + label]
    mixed = min(max((x0 * w[0] + x1 * w[1] + x2 * w[2]) >> 16, -LIMIT), LIMIT)
    place = min(max(mixed + REACH * LOG_UNIT, 0), 2 * REACH * LOG_UNIT - 1)
    part = place & (LOG_UNIT - 1)
    cell0 = ((first + work.choices[3]) * DECISIONS + label) * BUCKETS + (place >> 10)
    cell1 = ((first + work.choices[4]) * DECISIONS + label) * BUCKETS + (place >> 10)
    p_mixed = squash(mixed)
    p = p_mixed * 2 + _read_map(memory.maps[0], cell0, part) + _read_map(memory.maps[1], cell1, part)
    p = min(max(p >> 2, np.int64(LEAST)), np.int64(_ALL - LEAST))
    return p, p_mixed, (x0, x1, x2), (r0, r1, r2), w, (cell0 + (part >> 9), cell1 + (part >> 9))


@_inlined
def _read_map(cells, cell, part):  # type: ignore[no-untyped-def]
    """Probability in 2^-24 between two cells."""
    a, b = np.int64(cells[cell] >> np.uint32(10)), np.int64(cells[cell + 1] >> np.uint32(10))
    return (a * (LOG_UNIT - part) + b * part) >> 8


@_inlined
def _learn(memory, work, mix, node, bit):  # type: ignore[no-untyped-def]
    """Everything learns from a decision; `mix` as `_mixed` gave it."""
    _, p_mixed, odds, rows, w, cells = mix
    target, inputs = bit << PROBABILITY_BITS, load_int32x16(work.inputs.ctypes.data)
    for k in range(MAPS):
        memory.maps[k, cells[k]] = learned(memory.maps[k, cells[k]], bit, MAP_LIMIT)
    error_mixed = (target - p_mixed) >> 8
    for k in range(SETS):
        w[k] = min(max(w[k] + ((odds[k] * error_mixed) >> SECOND_RATE), -WEIGHT_LIMIT), WEIGHT_LIMIT)
        step = inputs * ((target - squash(odds[k])) >> (PROBABILITY_BITS - ERROR_BITS)) + (1 << RATE - 1)
        store(rows[k], limited(load_int32x16(rows[k]) + (step >> RATE), -WEIGHT_LIMIT, WEIGHT_LIMIT))
    for i in range(CONTEXTS):
        at = work.places[i] + node
        memory.counters[at] = learned(memory.counters[at], bit, COUNTER_LIMIT)


@_inlined
def _code_bit(decoding, bit, p, coder, words):  # type: ignore[no-untyped-def]
    """A decision, with the probability p of 1 in 2^-24."""
    if decoding:
        taken, coder[0], coder[1], coder[2], wrong = take_decision(coder[0], coder[1], coder[2], words, np.uint64(p))
        coder[3] |= wrong
        return np.int64(taken)
    coder[0], coder[1], coder[2] = put_decision(coder[0], coder[1], coder[2], words, np.uint64(p), np.uint64(bit))
    return bit


@_inlined
def _see_distributions(work, stage, length, sign, low, mid, high):  # type: ignore[no-untyped-def]
    """Their odds at a decision."""
    for i in range(DISTRIBUTIONS):
        mean, slope = sign * work.means[i], work.slopes[i]
        if stage == 0:
            a, b = _below(-1, mean, slope), _below(1, mean, slope)
            odds = _odds(_ALL - b + a, b - a)
        elif stage == 1:
            odds = _odds(_below(-1, mean, slope), _ALL - _below(1, mean, slope))
        elif stage == 2:
            a, b = _below((1 << length) - 1, mean, slope), _below((2 << length) - 1, mean, slope)
            odds = _odds(_ALL - b, b - a)
        else:
            b = _below(2 * mid - 1, mean, slope)
            odds = _odds(_below(2 * high - 1, mean, slope) - b, b - _below(2 * low - 1, mean, slope))
        work.inputs[CONTEXTS + i] = odds
    work.inputs[CONTEXTS + DISTRIBUTIONS] = CONSTANT


@_compiled
def code_number(decoding, value, group, coder, words, memory, work):  # type: ignore[no-untyped-def]
    """Write a number of magnitude below 2^12, or read one, and learn from it.

    Args:
        decoding: whether the number comes from the words.
        value: int64, the number, if it is written.
        group: which contexts, weights and maps are used.
        coder: of `range_coder`, its state.
        words: its words, with room for 24.
        memory: what was learned so far.
        work: with contexts, means, scales and choices.

    Returns:
        The number, int64.
    """
    _find_slots(memory, work, group, 0)
    for i in range(DISTRIBUTIONS):
        at = (group << 14) + work.scales[i]
        work.slopes[i] = SLOPE // max(np.int64(memory.averages[i, at]) >> SCALE_BITS, LEAST_SCALE)
    magnitude, negative = abs(value), np.int64(value < 0)
    stage, length, sign = 0, np.int64(1), np.int64(1)
    low = mid = high = np.int64(0)
    node = label = tree = shift = np.int64(0)
    bit = np.int64(0)
    while True:
        if stage == 0:
            bit, node, label = np.int64(magnitude > 0), np.int64(0), np.int64(0)
        elif stage == 1:
            bit, node, label = negative, np.int64(1), np.int64(1)
        elif stage == 2:
            bit = np.int64(magnitude >> length > 0)
            node = label = min(length + 1, np.int64(11))
        else:
            bit, mid, high = (magnitude >> shift) & 1, low + (1 << shift), low + (2 << shift)
            node = tree + (11 if length == 2 else 12 if length == 3 else 0)
            label = node if length < 4 else 16 + min(length - 4, 3) * 4 + min(length - 2 - shift, 3)
        if stage == 3 and length - 2 - shift >= FREE:
            bit = _code_bit(decoding, bit, np.int64(_ALL >> 1), coder, words)
        else:
            _see_counters(memory, work, node)
            _see_distributions(work, stage, length, sign, low, mid, high)
            mix = _mixed(memory, work, label, group)
            bit = _code_bit(decoding, bit, mix[0], coder, words)
            _learn(memory, work, mix, node, bit)
        if stage == 0:
            if bit == 0:
                break
            stage, low = 1, np.int64(1)
        elif stage == 1:
            stage, sign = 2, 1 - 2 * bit
        elif stage == 2:
            length += bit
            if bit == 0 or length == LONGEST:
                low, shift, tree, stage = np.int64(1) << (length - 1), length - 2, np.int64(1), 3
                if length > 3:
                    _find_slots(memory, work, group, length)
        else:
            low, tree, shift = low + (bit << shift), 2 * tree + bit, shift - 1
        if stage == 3 and shift < 0:
            break
    value = sign * low
    for i in range(DISTRIBUTIONS):
        at = (group << 14) + work.scales[i]
        count = memory.seen[i, at]
        error = abs(value * UNIT - work.means[i]) << SCALE_BITS
        average = np.int64(memory.averages[i, at])
        memory.averages[i, at] = np.int32(average + (((error - average) * _RECIPROCAL[count]) >> 16))
        memory.seen[i, at] = min(count + 1, SCALE_LIMIT)
    return value
