"""What learns the image while it is coded: experts, the mixer of their opinions, a last correction; all in integers.

A sample is coded as eight decisions, the most significant bit first: each cuts an interval of values in two.  The
network's frequencies give the logarithm of the odds for the upper half, in 1/1024 of a bit; `mixing` has what experts
make of them, `contexts` what they know samples by.  Decisions that the network is very sure of are its own.

The decisions of `TOGETHER` lanes are made together: all that these are known by is looked up, then the first decisions
of all are coded (`joint_decisions`), then the second ones, and in the end the lists learn the values.  So lanes fill
vectors, and nothing waits for a decision but what follows from it.

`pixcodec.expert_names` has the table of experts, with the context of each and what it serves.  The first seven are
lists of values (`value_lists`), the next one a list of the repeated pixel's value, three are counters of decisions, the
last two have no memory but the map.  A mask says which take part: the others are not looked up and do not learn, and
what they would add is 0.  `reference/experts.py` is the definition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.exact import contexts, expert_memory, joint_decisions, mixing
from pixcodec.exact.compiled import compiled
from pixcodec.exact.emit import ALIGNMENT, LANES
from pixcodec.exact.expert_memory import (
    BIT,
    CENTRE,
    EXPERTS,
    LOW,
    LOWER,
    NODES,
    TOGETHER,
    UPPER,
    present,
    vectors_of,
)
from pixcodec.exact.frequencies import class_table
from pixcodec.exact.range_coder import Decoder
from pixcodec.exact.ring import Repeated
from pixcodec.exact.tables import PROBABILITY_BITS
from pixcodec.exact.vectors import bits_of, lowest, mask16, prefetch

if TYPE_CHECKING:
    from pixcodec.exact import range_coder
    from pixcodec.exact.frequencies import Classes

ALL = (1 << EXPERTS) - 1  # the mask of all experts, bit e for expert e
# Of a sample, at most: its decisions take no more than 164 bits, as each half of an interval keeps 1 for every value,
# and where they are coded by what is known of others, quotients that are rounded down add less than 2 bits to each.
WORDS = 6
_UNIT = 2.0**-PROBABILITY_BITS
_u = np.uint64
_compiled = compiled(_nrt=False)
_inlined = compiled(_nrt=False, inline="always")


@_inlined
def _code_together(number, decoding, channel, smooth, rows, coder, words, memory, work, here, turn):  # type: ignore[no-untyped-def]
    """Eight decisions of each of some lanes; `rows` is the address of theirs."""
    vectors = vectors_of(number)
    for k in range(number, LANES * vectors):  # what is looked up for lanes that are not there must be somewhere
        work.lanes[LOW, k] = work.lanes[CENTRE, k] = work.lanes[BIT, k] = 0
    for depth in range(8):
        asked = 0
        for v in range(vectors):
            there = present(number, v)
            alone = bits_of(mixing.weigh(v, depth, channel, smooth, memory, work, rows, turn, mask16(there)))
            work.alone[v] = alone
            others = there & ~alone
            while others:
                k = LANES * v + lowest(others)
                others &= others - 1
                work.asked[asked] = k
                mixing.see_evidence(k, depth, work)
                asked += 1
        for i in range(asked, LANES * vectors_of(asked)):
            work.asked[i] = 0  # a lane that is there
        for v in range(vectors_of(asked)):
            mixing.ask(v, min(asked - LANES * v, LANES), depth, channel, memory, work, here, turn)
        joint_decisions.decide(number, 7 - depth, decoding, coder, words, work)
        for v in range(vectors_of(asked)):
            mixing.learn(v, min(asked - LANES * v, LANES), memory, work, here)
        for v in range(vectors):
            if work.alone[v]:
                mixing.learn_trust(v, depth, channel, memory, work)
            mixing.go_on(v, depth, memory, work, here, mask16(present(number, v)))


@_compiled
def code(  # type: ignore[no-untyped-def]
    step, first, at, number, decoding, channel, channels, width, known, smooth, every_row, every_centre, classes,
    samples, coder, words, memory, work, here, costs, by_network,
):  # fmt: skip
    """Code a channel of a step's pixels, so many lanes from `first` on, and learn from them.

    Only the last lanes of a step may be fewer than go together.

    Args:
        step: the wavefront's; lane y is the pixel (y, step - 2 y).
        first: the first lane.
        at: its place in rows and centres.
        number: of lanes.
        decoding: whether values come from the words; else they are in `planes` and go to the words.
        channel: their channel.
        channels: how many there are.
        width: of the tile.
        known: how many of them, the first ones, are known and not coded.
        smooth: whether what the network says are mixtures, of which only the cuts are asked, and no counts.
        every_row: of the lanes, int32: counts (`frequencies`), or the bits of mixtures (`logistics.make_mixtures`).
        every_centre: int32[lanes], predicted values.
        classes: of residuals.
        samples: uint8[H W C], known where coded.
        coder: of `range_coder`, its state.
        words: its words.
        memory: what was learned so far.
        work: scratch.
        here: the mask of experts that take part.
        costs: float64[lanes + 1 or more], gets the bits that an ideal coder spends on each (for reports); their sum is
            added to the last one.
        by_network: float64[1], the bits by the network alone are added to it.
    """
    rows, centres = every_row[at : at + number], every_centre[at : at + number]
    size, begins, spent, turn = rows.strides[0], channel == known, costs.size - 1, 0
    lane, together = 0, min(TOGETHER - first % TOGETHER, number)
    contexts.look_ahead(
        memory, work, here, samples.ctypes.data, width, channels, begins, step, first, together, channel, centres, turn
    )
    while lane < number:
        after = lane + together
        following = min(TOGETHER, number - after)
        if following > 0:
            for k in range(size * after, size * (after + following), ALIGNMENT):  # another thread may have made them
                prefetch(rows.ctypes.data + k)
            contexts.look_ahead(
                memory, work, here, samples.ctypes.data, width, channels, begins, step, first + after, following,
                channel, centres[after:], 1 - turn,
            )  # fmt: skip
        for k in range(together):
            contexts.begin(
                k, memory, work, here, samples, width, channels, step, first + lane + k, channel, smooth,
                rows[lane + k], np.int64(centres[lane + k]), classes, turn,
            )  # fmt: skip
        own = rows.ctypes.data + size * lane
        if smooth:
            mixing.take_mixtures(together, own, work)
        _code_together(together, decoding, channel, smooth, own, coder, words, memory, work, here, turn)
        share = 1.0
        for k in range(together):
            y, value = first + lane + k, np.int64(work.lanes[LOW, k])
            samples[_u((y * width + step - 2 * y) * channels + channel)] = value
            contexts.teach(k, memory, work, here, value)
            costs[lane + k] = -np.log2(work.spent[k])
            costs[spent] += costs[lane + k]
            share *= _UNIT * np.float64(work.lanes[UPPER, k] - work.lanes[LOWER, k])
            if k % 32 == 31 or k == together - 1:  # before it is too small for binary64
                by_network[0] -= np.log2(share)
                share = 1.0
        lane, together, turn = after, following, 1 - turn


class Experts:
    """Everything that is learned in a tile.

    Args:
        height, width, channels: of the tile, with planes that are known, which come first and are not coded.
        maps: uint32[C, MAP_SIZE], trained starting values of the experts' maps of those that are coded.
        last: uint32[C, NODES BUCKETS], those of the last map.
        mask: which experts take part, see `pixcodec.expert_names`.
        known: how many of the channels are known and not coded, the first ones.
        classes: those of the residuals that counts are of; by default each residual has its own.
        smooth: whether rows are mixtures (`logistics.make_mixtures`) and not counts.

    Attributes:
        costs: float64[], ideal bits of each of the pixels coded last; the last one is the sum of all so far.
        by_network: float64[1], ideal bits by the network alone of all so far.
    """

    def __init__(
        self,
        height: int,
        width: int,
        channels: int,
        maps: np.ndarray | None = None,
        last: np.ndarray | None = None,
        *,
        mask: int = ALL,
        known: int = 0,
        classes: Classes | None = None,
        smooth: bool = False,
    ) -> None:
        self._classes = classes or class_table(np.arange(2 * NODES - 1))
        self._memory = expert_memory.memory(height, channels, maps, last)
        self._work, self._width = expert_memory.work(height, mask, self._classes), width
        self._here, self._known, self._smooth = mask, known, smooth
        self.costs, self.by_network = np.zeros(height + 1), np.zeros(1)

    def taught(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Both kinds of maps as starting values, their counts `most` at most, so that others can still be learned.

        Of the channels that are coded: uint32[C, MAP_SIZE] and [C, NODES BUCKETS].
        """
        parts = []
        for cells in (self._memory.maps, self._memory.last):
            count = np.minimum(cells & np.uint32(1023), np.uint32(most))
            parts.append(((cells & ~np.uint32(1023)) | count).reshape(len(self._memory.trust), -1)[self._known :])
        return parts[0], parts[1]

    def coding(
        self,
        channel: int,
        rows: np.ndarray,
        centres: np.ndarray,
        planes: np.ndarray,
        coder: range_coder.Encoder | range_coder.Decoder,
    ) -> Repeated:
        """A call that writes some pixels of a step's channel or, by a decoder, reads them into `planes`; see `code`.

        An encoder must have room for `WORDS` each; a decoder must be asked whether what it read was there.
        """
        return Repeated(
            code, 4, isinstance(coder, Decoder), channel, planes.shape[2], self._width, self._known, self._smooth,
            rows.view(np.int32), centres, self._classes, planes.reshape(-1), coder.state, coder.words, self._memory,
            self._work, self._here, self.costs, self.by_network,
        )  # fmt: skip

    def encode(
        self,
        channel: int,
        step: int,
        first: int,
        rows: np.ndarray,
        centres: np.ndarray,
        planes: np.ndarray,
        coder: range_coder.Encoder,
    ) -> float:
        """Write a channel of a step's pixels, see `code`; ideal bits, whose parts are then in `costs`."""
        before = self.costs[-1]
        coder.room(WORDS * len(rows))
        self.coding(channel, rows, centres, planes, coder)(step, first, 0, len(rows))
        return float(self.costs[-1] - before)

    def decode(
        self,
        channel: int,
        step: int,
        first: int,
        rows: np.ndarray,
        centres: np.ndarray,
        planes: np.ndarray,
        coder: range_coder.Decoder,
    ) -> None:
        """Read a channel of a step's pixels into `planes`, see `code`; `DamagedTileError` where the words fit none."""
        self.coding(channel, rows, centres, planes, coder)(step, first, 0, len(rows))
        coder.check()
