"""One tile's network and predictors, step by step, in a few calls of compiled functions that other threads can make.

A step has parts, whole vectors of lanes: what a channel does of one part needs of the channel before no more than the
same part, so that one thread may work on frequencies while another one codes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.exact import learn
from pixcodec.exact.compiled import compiled, specialise
from pixcodec.exact.emit import LANES, aligned
from pixcodec.exact.frequencies import row_size
from pixcodec.exact.predict import Predictors
from pixcodec.exact.ring import Repeated
from pixcodec.exact.steps import active_lanes, number_of_steps
from pixcodec.exact.tables import SYMBOLS
from pixcodec.exact.wavefront import Wavefront, head_codes, input_codes, place

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixcodec.exact.heads import Heads
    from pixcodec.exact.matmul import Backend
    from pixcodec.exact.network import Network
    from pixcodec.exact.ring import Call

Part = tuple[int, int]  # first and last lane
ROOMS = 2  # steps whose counts are kept


@compiled()
def _know(  # type: ignore[no-untyped-def]
    step, first, start, stop, channel, planes, values, features, reference, all_fixed, inputs, signed, all_symbols
):
    """A part's symbols as planes have them, to the predictors and to the inputs of the trunk."""
    fixed, symbols = all_fixed[channel], all_symbols[channel]
    channels, count = values.shape[0], fixed.shape[0]
    own, plane = features.shape[1] - channels + channel, planes.shape[2] - channels + channel
    for y in range(start, stop + 1):
        symbol = planes[y, step - 2 * y, plane]
        value = np.float32(symbol)
        symbols[y - first] = symbol
        values[channel, y + 1] = value
        features[step & 1, own, y + 1] = value - reference[channel, y + 1]
    codes = inputs[step % inputs.shape[0]]
    input_codes(values[channel], fixed, codes, channel * (1 + count), start, stop, signed)


def _see(  # type: ignore[no-untyped-def]
    step, first, start, stop, channel, predictors, codes, inputs, features, shifts, head, raw, table, centres, counts,
    planes, signed, symbols,
):  # fmt: skip
    """Predictions, a head and its frequencies at lanes of a step; `first` is the step's first one."""
    (
        ring, slots, values, zeros, reference, known, out, rows, fixed, base, stack_features, stack_state, stack_out,
        coefficients,
    ) = predictors  # fmt: skip
    if channel > 0:
        _know(step, first, start, stop, channel - 1, planes, values, known, reference, fixed, inputs, signed, symbols)
    known = known[step & 1, known.shape[1] - ring.shape[1] :]
    predict(  # type: ignore[name-defined] # noqa: F821
        ring, slots[step % slots.shape[0]], values, zeros, reference, known, out, rows, channel, fixed[channel], base,
        stack_features[channel], stack_state[channel], stack_out, coefficients, start, stop,
    )  # fmt: skip
    source, products, a, b, logits, outputs = head
    width, centre, places, offset = codes
    at, behind = start - first, stop - first + 1
    place(features[at:behind, :width], behind - at, shifts[0], source[0, at:])
    head_codes(
        fixed[channel], centre, inputs[step % inputs.shape[0]], shifts[1], places, channel, source[0, at:], width,
        centres[at:], start, stop, offset,
    )  # fmt: skip
    if raw:
        centres[at:behind] = 0
    head_layers(  # type: ignore[name-defined] # noqa: F821
        source[:, at:], behind - at, products[0], products[1], products[2], a[:, at:], b[:, at:], logits[at:]
    )
    make_rows(logits[at:behind, :outputs], centres[at:behind], table, SYMBOLS, counts[at:behind])  # type: ignore[name-defined] # noqa: F821


@lru_cache
def _seeing(predict: Any, head: Any, make_rows: Any) -> Callable[..., None]:
    name = f"see_{predict.name}_{head.name}_{make_rows.name}"
    return specialise(_see, name, predict=predict, head_layers=head, make_rows=make_rows)


class Tile:
    """What the steps of a tile do.

    In each step: `begin`, and the calls of `trunk`, which may be made earlier; then for each part `see`, channel by
    channel, whose calls need that the part's channel before is in `planes`, and `know`; then the calls of `learn` and,
    for each channel, of `teach`.

    Attributes:
        planes: uint8[H, W, known + C], those that are known and those that are coded.
        part: lanes of the step.
        whole: whether steps have one part only, and calls do not go to other threads.
    """

    def __init__(self, network: Network, backend: Backend, planes: np.ndarray, heads: Heads | None = None) -> None:
        """Start a tile: of `planes` only what is known beforehand need be there.

        Args:
            network: the model.
            backend: of products.
            planes: uint8[H, W, known + C], C-contiguous.
            heads: by default the model's.
        """
        self.network, self.planes = network, planes
        height, width, _ = planes.shape
        known = planes[:, :, : network.known]
        self._predictors = Predictors(network.parameters, height, width, known)
        self._wavefront = Wavefront(network, backend, height, width, heads, known)
        self._heads = self._wavefront.heads
        lanes = min(height, (width + 1) // 2)
        rooms = ROOMS, network.channels, lanes
        self._counts = aligned((*rooms, row_size(network.classes.number)), np.int32)
        self._centres, self._symbols = np.zeros(rooms, np.int32), np.zeros(rooms, np.int32)
        steps = number_of_steps(height, width) + 1
        self._active = [active_lanes(step, height, width) for step in range(steps)]
        self._step, self.part = -1, (0, -1)
        kernel, last, every = self._heads.kernel, network.channels - 1, range(network.channels)
        self.whole = kernel is None
        self._see: list[list[Repeated]] = []
        if kernel is not None:
            see = _seeing(self._predictors.kernels.predict, kernel, network.make_rows)
            self._see = [[self._seeing(see, room, channel) for channel in every] for room in range(ROOMS)]
        self._know = [self._knowing(room, last) for room in range(ROOMS)]
        learning, symbols = self._heads.learning, self._symbols
        self._teach = [[learning(c, *self.room(room, c), symbols[room, c]) for c in every] for room in range(ROOMS)]

    def _seeing(self, see: Callable[..., None], room: int, channel: int) -> Repeated:
        """`_see` of a channel in every step that has this room."""
        network, wavefront, trunk = self.network, self._wavefront, self._wavefront.trunk_of
        parameters = network.parameters
        codes = network.features, parameters.centre[channel], network.places, self._heads.signed_offset
        inputs = trunk.inputs[:, :, : network.first.weight.shape[1]]
        return Repeated(
            see, 4, channel, self._predictors.arrays, codes, inputs, trunk.output, wavefront.shifts,
            self._heads.parts(channel), network.raw, network.classes, self._centres[room, channel],
            self._counts[room, channel], self.planes, wavefront.signed_offset, self._symbols[room],
        )  # fmt: skip

    def _knowing(self, room: int, channel: int) -> Repeated:
        """`_know` of a channel in every step that has this room."""
        predictors, wavefront = self._predictors, self._wavefront
        return Repeated(
            _know, 4, channel, self.planes, predictors.values, predictors.features, predictors.reference,
            predictors.fixed, wavefront.trunk_of.inputs, wavefront.signed_offset, self._symbols[room],
        )  # fmt: skip

    def begin(self, step: int) -> Part:
        """Begin a step."""
        self._step, self.part = step, self._predictors.begin(step)
        return self.part

    def prepare(self, step: int) -> None:
        """Make ready for the trunk of a step, when the step before has begun."""
        self._wavefront.trunk_of.prepare(step, *self._active[step])

    def trunk(self, step: int, start: int = 0, stop: int | None = None) -> Call | None:
        """What makes features of a step's lanes, from `start` to before `stop`; of the step before they are known."""
        first, last = self._active[step]
        part = max(first, start), last if stop is None else min(last, stop - 1)
        return self._wavefront.trunk_of.layers(step, first, part) if part[1] >= part[0] else None

    def parts(self, number: int) -> list[Part]:
        """The step in at most so many parts."""
        first, last = self.part
        block = first // LANES
        blocks = last // LANES + 1 - block
        if self.whole or blocks < 2 * number:
            return [self.part] if last >= first else []
        starts = [first, *[LANES * (block + blocks * k // number) for k in range(1, number)], last + 1]
        return [(starts[k], starts[k + 1] - 1) for k in range(number)]

    @property
    def lanes(self) -> int:
        """How many pixels the step has."""
        return self.part[1] - self.part[0] + 1

    def room(self, room: int, channel: int) -> tuple[np.ndarray, np.ndarray]:
        """Counts int32[lanes, row_size] (`frequencies`) and centres int32[lanes] of a channel.

        Those of step t are in room t % ROOMS, from the step's first lane on, and kept for one more step.
        """
        return self._counts[room, channel], self._centres[room, channel]

    def coding(self, part: Part) -> tuple[int, int, int, int]:
        """Step and first lane of a part, where it begins in the room, and its number of lanes."""
        return self._step, part[0], part[0] - self.part[0], part[1] - part[0] + 1

    def see(self, channel: int, part: Part) -> Call:
        """What fills the room of a part."""
        if self.whole:
            return Repeated(self._see_by_steps, 1), (channel,)
        return self._see[self._step % ROOMS][channel], (self._step, self.part[0], *part)

    def _see_by_steps(self, channel: int) -> None:
        counts, around = (each[: self.lanes] for each in self.room(self._step % ROOMS, channel))
        if channel > 0:
            self._knowing(self._step % ROOMS, channel - 1)(self._step, self.part[0], *self.part)
        self._wavefront.begin(self._step, *self.part)
        self._predictors.predict(channel)
        logits, around[:] = self._wavefront.logits(channel, self._predictors)
        self.network.make_rows(logits, around, self.network.classes, SYMBOLS, counts)

    def know(self, part: Part) -> None:
        """All channels of a part are in `planes` now."""
        self._know[self._step % ROOMS](self._step, self.part[0], *part)

    def learn(self) -> Call:
        """What the predictors learn from the step, and do for the next."""
        return self._predictors.learning()

    def teach(self, channel: int) -> Call | None:
        """What a channel's head learns from the step, if it learns; it must be done before the next `see` of it.

        The channel is known: by `see` of the next one, or `know`.
        """
        room, lanes = self._step % ROOMS, self.lanes
        if self._heads.watches:
            own = *self.room(room, channel), self._symbols[room, channel]
            self._heads.seen(channel, *(each[:lanes] for each in own))
        call = self._teach[room][channel]
        return None if call is None else (call, (min(lanes, learn.TEACHERS),))
