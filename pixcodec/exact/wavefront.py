"""The frozen network evaluated step by step: what its trunk and its heads see, made of planes and predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.exact.compiled import compiled, specialise
from pixcodec.exact.emit import F32, FLOATS, I16, I32, INTP, INTS, LANES, Value, emitted, loop
from pixcodec.exact.heads import fixed_heads
from pixcodec.exact.predict import SHORTS, TOP, UNIT
from pixcodec.exact.trunk import trunk

if TYPE_CHECKING:
    from pixcodec.exact.heads import Heads
    from pixcodec.exact.matmul import Backend
    from pixcodec.exact.network import Network
    from pixcodec.exact.predict import Predictors

_compiled = compiled()
SIXTEEN = UNIT  # where the codes of differences begin to be logarithmic, too
EXPONENT_OF_16 = 131  # in binary32


@_compiled
def place(features, rows, shift, target):  # type: ignore[no-untyped-def]
    """Stored features into the heads' inputs."""
    for m in range(rows):
        for j in range(features.shape[1]):
            target[m, j] = np.int32(features[m, j]) + shift


def _companded(difference: Value) -> Value:
    """Codes of differences in sixteenths, int32, as `predict.COMPAND` has them: the leading bits of a binary32."""
    far = difference > 0
    m = difference.where(far, difference * -1) + SIXTEEN
    code = ((m.to(F32).bits(INTS) >> 19) - (EXPONENT_OF_16 << 4)).least(127)
    return code.where(far, code * -1)


def _emit_errors(value: Value, fixed: Value, count: Value, stride: Value, out: Value) -> None:
    """Codes of sixteen lanes' values and of what each prediction missed them by: int16[1 + count, 16]."""
    level = value.load(FLOATS).rounded()
    out.store((level - 128).most(-127).to(I16))
    with loop(0, count) as k:
        error = level * SIXTEEN - (fixed + k * stride * 2).load(SHORTS).to(I32)
        (out + (k + 1) * (2 * LANES)).store(_companded(error).to(I16))


def _emit_differences(fixed: Value, centre: Value, count: Value, stride: Value, centres: Value, out: Value) -> None:
    """Codes of the other predictions' differences to the centre, of its fraction and level: int16[1 + count, 16]."""
    p = (fixed + centre * stride * 2).load(SHORTS).to(I32)
    q = (p + SIXTEEN // 2) >> 4
    centres.store(q)

    def differences(start: Value, stop: Value, back: int) -> None:
        with loop(start, stop) as k:
            difference = (fixed + k * stride * 2).load(SHORTS).to(I32) - p
            (out + (k - back) * (2 * LANES)).store(_companded(difference).to(I16))

    differences(centre.of(0), centre, 0)
    differences(centre + 1, count, 1)
    (out + (count - 1) * (2 * LANES)).store(((p - q * SIXTEEN) * 8).to(I16))
    (out + count * (2 * LANES)).store((q - 128).most(-127).to(I16))


def _input_codes(values, fixed, target, column, first, last, offset):  # type: ignore[no-untyped-def]
    """A known channel's inputs of the trunk: its value minus 128, and what each prediction missed it by."""
    count, stride = fixed.shape
    codes = np.empty((count + 1, LANES), np.int16)
    for block in range(first // LANES * LANES, last + 1, LANES):
        lane = block + 1
        errors(  # type: ignore[name-defined] # noqa: F821
            values.ctypes.data + 4 * lane, fixed.ctypes.data + 2 * lane, count, stride, codes.ctypes.data
        )
        for y in range(max(first, block), min(last + 1, block + LANES)):
            row = target[y + TOP]
            for k in range(count + 1):
                row[column + k] = codes[k, y - block] + offset


def _head_codes(fixed, centre, known, shift, places, channel, target, column, centres, first, last, offset):  # type: ignore[no-untyped-def]
    """A head's inputs: differences to the centre, its fraction and level, errors at known channels, the place."""
    count, stride = fixed.shape
    codes, around = np.empty((count + 1, LANES), np.int16), np.empty(LANES, np.int32)
    for block in range(first // LANES * LANES, last + 1, LANES):
        differences(  # type: ignore[name-defined] # noqa: F821
            fixed.ctypes.data + 2 * (block + 1), centre, count, stride, around.ctypes.data, codes.ctypes.data
        )
        for y in range(max(first, block), min(last + 1, block + LANES)):
            row, seen, at = target[y - first], known[y + TOP], column + count + 1
            centres[y - first] = around[y - block]
            for k in range(count + 1):
                row[column + k] = codes[k, y - block] + offset
            for c in range(channel):
                for k in range(count):
                    row[at + k] = np.int32(seen[c * (1 + count) + 1 + k]) + shift
                at += count
            for k in range(places):
                row[at + k] = np.int32(seen[known.shape[1] - places + k]) + shift


input_codes = specialise(_input_codes, "input_codes", errors=emitted([INTP] * 5, _emit_errors))
head_codes = specialise(_head_codes, "head_codes", differences=emitted([INTP] * 6, _emit_differences))


class Wavefront:
    """A network's state while one tile is coded.

    In each step: `trunk`, then for each channel `logits` and, once the channel is known, `know`.

    Attributes:
        signed_offset: of the trunk's inputs.
        shifts: from stored features and signed codes of the trunk to those of the heads.
    """

    def __init__(
        self,
        network: Network,
        backend: Backend,
        height: int,
        width: int,
        heads: Heads | None = None,
        known: np.ndarray | None = None,
    ) -> None:
        """Start a tile; `backend` has passed its known-answer test for the network's shapes.

        Args:
            network: the model.
            backend: of products.
            height: of the tile.
            width: of the tile.
            heads: by default the model's, by the same back end.
            known: planes uint8[H, W, known], where the model has any.
        """
        self.network = network
        self.trunk_of = trunk(network, backend, height, width, known)
        lanes = min(height, (width + 1) // 2)
        self.heads = fixed_heads(network, backend, lanes) if heads is None else heads
        self.signed_offset = backend.signed_offset
        shift = self.heads.unsigned_offset - backend.unsigned_offset
        self.shifts = shift, self.heads.signed_offset - self.signed_offset
        self.centres, self._zeros = np.zeros(lanes, np.int32), np.zeros(lanes, np.int32)
        self._first, self._last, self._codes = 0, -1, self.trunk_of.inputs[0]
        self.trunk(-1, 0, -1)

    def trunk(self, step: int, first: int, last: int) -> None:
        """Features of the active lanes first..last (none: last < first) from all earlier steps."""
        self.begin(step, first, last)
        self.trunk_of.features(step, first, last)

    def begin(self, step: int, first: int, last: int) -> None:
        """The step and its active lanes, whose features are there or will be."""
        self._first, self._last = first, last
        self._codes = self.trunk_of.inputs[step % self.trunk_of.depth]
        self._features = self.trunk_of.output[: max(last - first + 1, 0)]

    def logits(self, channel: int, predictors: Predictors) -> tuple[np.ndarray, np.ndarray]:
        """int16[active lanes, classes] and the centres int32[active lanes] of a channel whose predictions are made."""
        first, last, network, heads = self._first, self._last, self.network, self.heads
        rows, centre = last - first + 1, network.parameters.centre[channel]
        known, inputs = self._codes[:, : network.first.weight.shape[1]], heads.inputs[channel][0]
        place(self._features[:, : network.features], rows, self.shifts[0], inputs)
        head_codes(
            predictors.fixed[channel], centre, known, self.shifts[1], network.places, channel, inputs, heads.column,
            self.centres, first, last, heads.signed_offset,
        )  # fmt: skip
        return heads.logits(channel, rows), (self._zeros if network.raw else self.centres)[:rows]

    def know(self, channel: int, predictors: Predictors) -> None:
        """A channel's values (`predictors.values`) become inputs of the steps to come."""
        fixed = predictors.fixed[channel]
        input_codes(
            predictors.values[channel], fixed, self._codes, channel * (1 + fixed.shape[0]), self._first,
            self._last, self.signed_offset,
        )  # fmt: skip
