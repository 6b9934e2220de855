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
from pixcodec.exact.predict import Predictors
from pixcodec.exact.ring import Repeated
from pixcodec.exact.schedule import ROOMS, Shape
from pixcodec.exact.tables import SYMBOLS
from pixcodec.exact.wavefront import Wavefront, head_codes, input_codes, place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pixcodec.exact.heads import Heads
    from pixcodec.exact.matmul import Backend
    from pixcodec.exact.network import Network

    # Given (plane, rows, centres), where those of a step's pixels will be: calls with (step, first, at, number) that
    # write the symbols of so many lanes from `first` on, whose rows begin at `at`, or fill them in.  Those that write
    # may be made behind.
    Coding = Callable[[int, np.ndarray, np.ndarray], Sequence[Repeated]]


PARTS = 2  # of a step that is read while a thread makes frequencies


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


def _look(  # type: ignore[no-untyped-def]
    step, first, start, stop, channel, predictors, inputs, planes, signed, symbols,
):  # fmt: skip
    """Predictions of a channel at lanes of a step; `first` is the step's first one."""
    (
        ring, slots, values, zeros, reference, known, out, numbers, fixed, base, stack_features, stack_state, stack_out,
        coefficients,
    ) = predictors  # fmt: skip
    if channel > 0:
        _know(step, first, start, stop, channel - 1, planes, values, known, reference, fixed, inputs, signed, symbols)
    known = known[step & 1, known.shape[1] - ring.shape[1] :]
    predict(  # type: ignore[name-defined] # noqa: F821
        ring, slots[step % slots.shape[0]], values, zeros, reference, known, out, numbers, channel, fixed[channel],
        base, stack_features[channel], stack_state[channel], stack_out, coefficients, start, stop,
    )  # fmt: skip


def _say(  # type: ignore[no-untyped-def]
    step, first, start, stop, channel, fixed, codes, inputs, features, shifts, head, raw, table, centres, rows,
):  # fmt: skip
    """A head and its rows at lanes of a step, whose predictions are there, and the channels before."""
    source, products, a, b, logits, outputs = head
    width, column, centre, places, offset = codes
    at, behind = start - first, stop - first + 1
    place(features[at:behind, :width], behind - at, shifts[0], source[0, at:])
    head_codes(
        fixed, centre, inputs[step % inputs.shape[0]], shifts[1], places, channel, source[0, at:], column, centres[at:],
        start, stop, offset,
    )  # fmt: skip
    if raw:
        centres[at:behind] = 0
    head_layers(  # type: ignore[name-defined] # noqa: F821
        source[:, at:], behind - at, products[0], products[1], products[2], a[:, at:], b[:, at:], logits[at:]
    )
    make_rows(logits[at:behind, :outputs], centres[at:behind], table, SYMBOLS, rows[at:behind])  # type: ignore[name-defined] # noqa: F821


@lru_cache
def _looking(predict: Any) -> Callable[..., None]:
    return specialise(_look, f"look_{predict.name}", predict=predict)


@lru_cache
def _saying(head: Any, make_rows: Any) -> Callable[..., None]:
    return specialise(_say, f"say_{head.name}_{make_rows.name}", head_layers=head, make_rows=make_rows)


class Tile:
    """A tile's network and predictors, whose calls `schedule` has in their order.

    Attributes:
        planes: uint8[H, W, known + C], those that are known and those that are coded.
    """

    def __init__(
        self,
        network: Network,
        backend: Backend,
        planes: np.ndarray,
        heads: Heads | None = None,
    ) -> None:
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
        rooms = ROOMS, network.channels, min(height, (width + 1) // 2)
        self._rows = network.rows.room(rooms, network.classes)
        self._centres, self._symbols = np.zeros(rooms, np.int32), np.zeros(rooms, np.int32)

    def calls(self, coding: Coding) -> tuple[list[Repeated], Shape]:
        """All calls of the tile as `schedule` numbers them, those of `coding` last; and what it knows of the tile.

        Rows and centres of step t are in room t % ROOMS, from the step's first lane on, and kept for one more step.
        """
        network, trunk, heads = self.network, self._wavefront.trunk_of, self._heads
        rooms = [(room, channel) for room in range(ROOMS) for channel in range(network.channels)]
        taught = [(c, self._rows[room, c], self._centres[room, c], self._symbols[room, c]) for room, c in rooms]
        teach, watch = (
            [heads.learning(*each) for each in taught],
            [heads.watching(c, *others) for c, _, *others in taught],
        )
        codes = [coding(network.known + c, self._rows[room, c], self._centres[room, c]) for room, c in rooms]
        learning = self._predictors.learning  # also in the place of calls that there are not
        calls = [
            trunk.preparing, learning, trunk.layers,
            *(self._know(room, network.channels - 1) for room in range(ROOMS)),
            *(self._look(room, channel) for room, channel in rooms),
            *(self._say(room, channel) for room, channel in rooms),
            *(call or learning for call in (*teach, *watch)),
            *(call for each in codes for call in each),
        ]  # fmt: skip
        height, width, _ = self.planes.shape
        parts, teachers = 1 if heads.kernel is None else PARTS, 0 if teach[0] is None else learn.TEACHERS
        return calls, Shape(
            height, width, network.channels, parts, teachers, watch[0] is not None, len(codes[0])
        )  # fmt: skip

    def _look(self, room: int, channel: int) -> Repeated:
        """`_look` of a channel in every step that has this room."""
        predictors, wavefront = self._predictors, self._wavefront
        return Repeated(
            _looking(predictors.kernels.predict), 4, channel, predictors.arrays, wavefront.trunk_of.inputs, self.planes,
            wavefront.signed_offset, self._symbols[room],
        )  # fmt: skip

    def _say(self, room: int, channel: int) -> Repeated:
        """`_say` of a channel in every step that has this room; by steps where heads have no kernel."""
        network, wavefront, trunk = self.network, self._wavefront, self._wavefront.trunk_of
        parameters = network.parameters
        if self._heads.kernel is None:
            return Repeated(self._say_by_steps, 4, channel)
        heads = self._heads
        codes = network.features, heads.column, parameters.centre[channel], network.places, heads.signed_offset
        inputs = trunk.inputs[:, :, : network.first.weight.shape[1]]
        return Repeated(
            _saying(self._heads.kernel, network.rows.make), 4, channel, self._predictors.fixed[channel], codes, inputs,
            trunk.output, wavefront.shifts, self._heads.parts(channel), network.raw, network.classes,
            self._centres[room, channel], self._rows[room, channel],
        )  # fmt: skip

    def _say_by_steps(self, step: int, first: int, _start: int, last: int, channel: int) -> None:
        room, lanes = step % ROOMS, slice(last - first + 1)
        self._wavefront.begin(step, first, last)
        logits, centres = self._wavefront.logits(channel, self._predictors)
        self._centres[room, channel, lanes] = centres
        rows = self._rows[room, channel, lanes]
        self.network.rows.make(logits, centres, self.network.classes, SYMBOLS, rows)

    def _know(self, room: int, channel: int) -> Repeated:
        """`_know` of a channel in every step that has this room."""
        predictors, wavefront = self._predictors, self._wavefront
        return Repeated(
            _know, 4, channel, self.planes, predictors.values, predictors.features, predictors.reference,
            predictors.fixed, wavefront.trunk_of.inputs, wavefront.signed_offset, self._symbols[room],
        )  # fmt: skip
