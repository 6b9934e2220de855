"""What experts remember of a tile, and the room they work in: arrays for compiled functions."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pixcodec.exact.compiled import compiled
from pixcodec.exact.emit import LANES, aligned
from pixcodec.exact.frequencies import Classes, row_size
from pixcodec.exact.logistics import OUTPUTS
from pixcodec.exact.tables import LOG_UNIT, SQUASH, SQUASH_OCTAVES
from pixcodec.exact.vectors import load_int32x16

LISTS, MATCH, COUNTERS, PLAIN, EXPERTS = 7, 7, 8, 11, 13  # numbers of the first expert of each form, and of all
INPUTS = 16  # of a mixer: the experts', the network's, and two that are 0, for whole vectors
SETS = 3
TOGETHER = 64  # lanes whose decisions are made together: y div TOGETHER is the same
LIMIT = 22 * LOG_UNIT  # of odds: probabilities of 2^-22
SURE = 8 * LOG_UNIT  # beyond it the network decides alone
WEIGHT_UNIT = 1 << 28  # of weights, the upper 16 bits of which are mixed by
EXPERT_WEIGHT = 6000 << 12  # to begin with
MAP_COUNT = 3  # to begin with; learning rates are 1 / (count + 1.5)
REACH = 13  # of the maps: buckets of one bit from -13 to 13
BUCKETS = 32
LIST_STATES, NEW = 48, 36  # 36: a context that was never seen
STATES = np.array([LIST_STATES] * PLAIN + [256, 256])
MAP_SIZE = int(STATES.sum()) * BUCKETS  # of a channel
NODES = 256
LIST_BITS, MATCH_BITS = 16, 16  # slots of a table
COUNTER_NODES = 17 * 16  # cells of a context: the first four decisions together, then the others by what those were
COUNTER_SIZE = (12 + 6 * 256) * COUNTER_NODES

# Rows of `Work.known`: contexts of the lists, the key of the match, levels from which experts without memory measure
# cuts and what they add, where the counters of contexts begin, the repeated pixel's value and its count.
CONTEXT, KEY, LEVEL, SLOPE, COUNTER, REPEATED = 0, 7, 8, 10, 12, 15
KNOWN = 17
# Rows of `Work.lanes`: the first of the values that are left, which of the tree's nodes they are, frequencies below
# them and with them, below the cut, odds, predicted value, symbol with more and how much, cells of the counters, where
# these are, probability of 1, decision, value.
LOW, NODE, LOWER, UPPER, MIDDLE, ODDS, CENTRE, PEAK, MORE = range(9)
CELL, PLACE, SHARE, BIT, VALUE = 9, 12, 15, 16, 17
NUMBERS = 18
_FIRST = np.arange(LANES, dtype=np.int32)
_inlined = compiled(_nrt=False, inline="always")


class Memory(NamedTuple):
    """What a tile has taught.

    Attributes:
        lists: uint64[LISTS slots 2], see `value_lists`. counters: uint32[COUNTER_SIZE].
        matches: int32[], the last pixel, as y W + x, with a hash of its neighbourhood.
        maps, last: uint32[], the experts' maps and the last one.
        weights: int32[SETS, C 512, INPUTS]. second: int32[C 64, SETS + 1], the last 0.
        trust: int64[C], the odds beyond which the network decides alone, in 1/32.
        pointer: int32[H], the pixel that a row's last one may repeat, or -1; length: int32[H], how long it did.
    """

    lists: np.ndarray
    counters: np.ndarray
    matches: np.ndarray
    maps: np.ndarray
    weights: np.ndarray
    second: np.ndarray
    last: np.ndarray
    trust: np.ndarray
    pointer: np.ndarray
    length: np.ndarray


class Work(NamedTuple):
    """Scratch, of `TOGETHER` lanes; where a vector of those that ask is meant, V of them.

    Attributes:
        residuals: int32[511], the class of each residual.
        bases: int32[lanes, row size], of `frequencies.begin`.
        mixtures: int32[OUTPUTS, lanes], bits of what `logistics.below` takes of each.
        known: int32[2, KNOWN, lanes], what lanes are known by; those to come take turns with those that are coded.
        around: int32[H + LANES], hashes of the neighbourhoods of a step's pixels.
        lanes: int32[NUMBERS, lanes].
        slots: int64[lanes, 8], where each list is. lists: uint64[lanes, 3, 8], values, counts and what is unseen.
        offsets: uint64[lanes, 8], of the lists. words: uint64[4, 8], before and after lists learn.
        new: uint64[8], `NEW` of those that take part, else 0.
        evidence: int32[lanes, 8], see `mixing.see_evidence`.
        alone: int64[], masks of the lanes whose network decides alone. asked: int32[lanes], the others, in order.
        inputs, turns, cells, learners: int32[V, INPUTS, LANES], what experts say and what of them learns.
        rows: int32[lanes, INPUTS], the inputs of each. sets: int32[8, lanes], weights of each and their errors.
        ways: int32[lanes, 4], odds by each set. mixed: int32[lanes].
        ends: int32[V, 3, LANES], probability before the last map, its cell that learns, and where that is.
        joint: int32[LANES], probabilities that decisions of every sixteenth lane are the likely ones.
        spent: float64[lanes], the product of probabilities.
    """

    residuals: np.ndarray
    bases: np.ndarray
    mixtures: np.ndarray
    known: np.ndarray
    around: np.ndarray
    lanes: np.ndarray
    slots: np.ndarray
    lists: np.ndarray
    offsets: np.ndarray
    words: np.ndarray
    new: np.ndarray
    evidence: np.ndarray
    alone: np.ndarray
    asked: np.ndarray
    inputs: np.ndarray
    turns: np.ndarray
    cells: np.ndarray
    learners: np.ndarray
    rows: np.ndarray
    sets: np.ndarray
    ways: np.ndarray
    mixed: np.ndarray
    ends: np.ndarray
    joint: np.ndarray
    spent: np.ndarray


@_inlined
def vectors_of(number):  # type: ignore[no-untyped-def]
    """How many vectors so many lanes need."""
    return (number + LANES - 1) // LANES


@_inlined
def present(number, v):  # type: ignore[no-untyped-def]
    """Bits of those of the v-th sixteen lanes that are there, of so many."""
    return (1 << min(number - LANES * v, LANES)) - 1


@_inlined
def numbers_from(first):  # type: ignore[no-untyped-def]
    """Sixteen numbers from the first one on."""
    return load_int32x16(_FIRST.ctypes.data) + first


@_inlined
def lanes_at(work, row, v):  # type: ignore[no-untyped-def]
    """Address of the v-th sixteen lanes' numbers."""
    return work.lanes.ctypes.data + 4 * (TOGETHER * row + LANES * v)


@_inlined
def known_at(work, turn, row, v):  # type: ignore[no-untyped-def]
    """Address of what the v-th sixteen lanes are known by."""
    return work.known.ctypes.data + 4 * (TOGETHER * (KNOWN * turn + row) + LANES * v)


def work(height: int, mask: int, classes: Classes) -> Work:
    """Room for a tile of this height, a mask of experts and classes of residuals."""
    vectors = TOGETHER // LANES
    new = np.array([NEW * (mask >> e & 1) << 16 for e in range(MATCH + 1)], np.uint64)
    return Work(
        residuals=classes.of.astype(np.int32),
        bases=aligned((TOGETHER, row_size(classes.number)), np.int32),
        mixtures=aligned((OUTPUTS, TOGETHER), np.int32),
        known=aligned((2, KNOWN, TOGETHER), np.int32),
        around=np.zeros(height + LANES, np.int32),
        lanes=aligned((NUMBERS, TOGETHER), np.int32),
        slots=np.zeros((TOGETHER, 8), np.int64),
        lists=aligned((TOGETHER, 3, 8), np.uint64),
        offsets=aligned((TOGETHER, 8), np.uint64),
        words=aligned((4, 8), np.uint64),
        new=new,
        evidence=aligned((TOGETHER, 8), np.int32),
        alone=np.zeros(vectors, np.int64),
        asked=aligned((TOGETHER,), np.int32),
        inputs=aligned((vectors, INPUTS, LANES), np.int32),
        turns=aligned((vectors, INPUTS, LANES), np.int32),
        cells=aligned((vectors, INPUTS, LANES), np.int32),
        learners=aligned((vectors, INPUTS, LANES), np.int32),
        rows=aligned((TOGETHER, INPUTS), np.int32),
        sets=aligned((8, TOGETHER), np.int32),
        ways=aligned((TOGETHER, SETS + 1), np.int32),
        mixed=aligned((TOGETHER,), np.int32),
        ends=aligned((vectors, 3, LANES), np.int32),
        joint=aligned((LANES,), np.int32),
        spent=np.zeros(TOGETHER),
    )


def memory(height: int, channels: int, maps: np.ndarray | None, last: np.ndarray | None) -> Memory:
    """Nothing learned yet but what a model has; see `experts.Experts`."""
    weights = aligned((SETS, channels * 512, INPUTS), np.int32)
    weights[:, :, :EXPERTS], weights[:, :, EXPERTS] = EXPERT_WEIGHT, WEIGHT_UNIT
    second = aligned((channels * 64, SETS + 1), np.int32)
    second[:, :SETS] = WEIGHT_UNIT // SETS
    return Memory(
        lists=aligned((LISTS * 2 << LIST_BITS,), np.uint64),
        counters=aligned((COUNTER_SIZE,), np.uint32, 1 << 31),
        matches=np.full(1 << MATCH_BITS, -1, np.int32),
        maps=_starting_maps(channels * MAP_SIZE, maps),
        weights=weights,
        second=second,
        last=_starting_maps(channels * NODES * BUCKETS, last),
        trust=np.full(channels, SURE << 5, np.int64),
        pointer=np.full(height, -1, np.int32),
        length=np.zeros(height, np.int32),
    )


def starting_map(size: int) -> np.ndarray:
    """uint32[size]: cells that leave the odds as they are."""
    buckets = np.minimum(np.arange(BUCKETS), 2 * REACH) - REACH
    p = SQUASH[(buckets + SQUASH_OCTAVES) * (SQUASH.size // (2 * SQUASH_OCTAVES))] >> 2
    row = (p.astype(np.uint32) << np.uint32(10)) | np.uint32(MAP_COUNT)
    return np.tile(row, size // BUCKETS)


def _starting_maps(size: int, trained: np.ndarray | None) -> np.ndarray:
    """uint32[size]: `starting_map`, but for the last channels what was trained of them, if anything."""
    cells = aligned((size,), np.uint32)
    cells[:] = starting_map(size)
    if trained is not None:
        cells[size - trained.size :] = trained.ravel()
    return cells
