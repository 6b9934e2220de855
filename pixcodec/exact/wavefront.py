"""The frozen network evaluated step by step: rings of past steps for each layer, all lanes of a step at once.

Lane y is row y + TOP of a ring, so that a tap (dy, dx) is rows shifted up by dy of the slot 2 dy - dx steps ago.  Rows
around the active lanes hold the layer's pad value, the code of zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from pixcodec.exact.heads import FixedHeads, to_bytes, to_stream
from pixcodec.exact.matmul import OUTPUTS, TERMS, pack, padded
from pixcodec.exact.network import STREAM_LIMIT, phase_codes
from pixcodec.exact.predict import COMPAND, LIMIT, REACH, TOP, UNIT
from pixcodec.exact.rounding import rescaled

if TYPE_CHECKING:
    from pixcodec.exact.heads import Heads
    from pixcodec.exact.matmul import Backend
    from pixcodec.exact.network import Network
    from pixcodec.exact.predict import Predictors

_compiled = njit(nogil=True, cache=True, error_model="numpy")
_ZERO, _BYTE = np.float32(0), np.float32(255)
_LIMIT = np.float32(STREAM_LIMIT)


@_compiled
def _add_to_stream(sums, scale, rows, stream):  # type: ignore[no-untyped-def]
    """stream[m] = clamp(stream[m] + clamp(rint(sums * scale)))."""
    for m in range(rows):
        for j in range(scale.size):
            total = np.int32(rescaled(sums[m, j], scale[j], -_LIMIT, _LIMIT)) + np.int32(stream[m, j])
            stream[m, j] = min(max(total, -STREAM_LIMIT), STREAM_LIMIT)


@_compiled
def _stream_to_bytes(stream, alpha, rows, target, start, offset):  # type: ignore[no-untyped-def]
    """target[start + m] = clamp(rint(stream * alpha), 0, 255) + offset."""
    for m in range(rows):
        for j in range(stream.shape[1]):
            target[start + m, j] = np.int32(rescaled(stream[m, j], alpha, _ZERO, _BYTE)) + offset


@_compiled
def _pad(ring, slot, first, last, pad):  # type: ignore[no-untyped-def]
    """Rows around the active lanes become the pad value."""
    for y in range(max(first - REACH, -TOP), first):
        ring[slot, y + TOP] = pad
    for y in range(last + 1, last + 1 + REACH):
        ring[slot, y + TOP] = pad


@_compiled
def _input_codes(values, fixed, compand, target, column, first, last, offset):  # type: ignore[no-untyped-def]
    """A known channel's inputs of the trunk: its value minus 128, and what each prediction missed it by."""
    for y in range(first, last + 1):
        value = np.int32(values[y + 1])
        row = target[y + TOP]
        row[column] = max(value - 128, -127) + offset
        for k in range(fixed.shape[0]):
            row[column + 1 + k] = compand[value * UNIT - fixed[k, y + 1] + LIMIT] + offset


@_compiled
def _phase_codes(step, phases, target, first, last, offset):  # type: ignore[no-untyped-def]
    """The trunk's last inputs from this step's pixels: bits of y, then of x."""
    count = phases.shape[1]
    for y in range(first, last + 1):
        row, x, column = target[y + TOP], step - 2 * y, target.shape[1] - 2 * count
        for k in range(count):
            row[column + k] = phases[y & 7, k] + offset
            row[column + count + k] = phases[x & 7, k] + offset


@_compiled
def _head_codes(fixed, centre, compand, known, shift, places, channel, target, column, centres, first, last, offset):  # type: ignore[no-untyped-def]
    """A head's inputs: differences to the centre, its fraction and level, errors at known channels, the place."""
    count = fixed.shape[0]
    for y in range(first, last + 1):
        row, at = target[y - first], column
        p = np.int32(fixed[centre, y + 1])
        q = (p + UNIT // 2) // UNIT
        centres[y - first] = q
        for k in range(count):
            if k != centre:
                row[at] = compand[np.int32(fixed[k, y + 1]) - p + LIMIT] + offset
                at += 1
        row[at] = 8 * (p - UNIT * q) + offset
        row[at + 1] = max(q - 128, -127) + offset
        at += 2
        for c in range(channel):
            for k in range(count):
                row[at] = np.int32(known[y + TOP, c * (1 + count) + 1 + k]) + shift
                at += 1
        for k in range(places):
            row[at + k] = np.int32(known[y + TOP, known.shape[1] - places + k]) + shift


class _Taps:
    """Where a masked convolution finds its taps: slots of a ring and shifts of lanes."""

    def __init__(self, taps: tuple[tuple[int, int], ...]) -> None:
        self.delays = np.array([2 * dy - dx for dy, dx in taps])
        self.shifts = np.array([TOP - dy for dy, _ in taps])
        self.depth = int(self.delays.max()) + 1

    def slots(self, step: int) -> np.ndarray:
        return (step - self.delays) % self.depth


class Wavefront:
    """A network's state while one tile is coded.

    In each step: `trunk`, then for each channel `logits` and, once the channel is known, `learn` and `know`.
    """

    def __init__(self, network: Network, backend: Backend, height: int, width: int, heads: Heads | None = None) -> None:
        """Start a tile; `backend` has passed its known-answer test for the network's shapes.

        `heads`: by default the model's, by the same back end.
        """
        self.network, self.backend = network, backend
        lanes = min(height, (width + 1) // 2)
        self.heads = FixedHeads(network, backend, lanes) if heads is None else heads
        rows, features = height + TOP + REACH, network.features
        self._unsigned, self._signed = backend.unsigned_offset, backend.signed_offset
        self._first_taps, self._taps = _Taps(network.first_taps), _Taps(network.taps)
        inputs = network.first.weight.shape[1]
        self._phases = phase_codes(network.phases)
        self._first_depth = self._first_taps.depth  # a tap is at least one step back: its slot is free by then
        self._inputs = self._full((self._first_depth, rows, padded(inputs, TERMS)), self._signed)
        ring = (self._taps.depth, rows, padded(features, TERMS))
        self._rings = [self._full(ring, self._unsigned) for _ in network.blocks]
        self._hidden = self._full((1, lanes, padded(features, TERMS)), 0)
        self._sums: np.ndarray = np.zeros((lanes, padded(features, OUTPUTS)), backend.sums)
        self._stream = np.zeros((lanes, features), np.int16)
        self._features = np.zeros((lanes, features), self.heads.inputs[0].dtype)
        self.centres = np.zeros(lanes, np.int32)
        self._raw = network.raw
        self._zero = np.zeros(1, np.int64)
        unsigned, signed = np.zeros(features, bool), np.ones(inputs, bool)
        self._first = pack(backend, network.first, signed)
        self._blocks = [(pack(backend, b.conv, unsigned), pack(backend, b.pointwise, unsigned)) for b in network.blocks]
        self._step, self._first_lane, self._last_lane = -1, 0, -1

    def _full(self, shape: tuple[int, ...], value: int) -> np.ndarray:
        return np.full(shape, value, self.backend.stored)

    def trunk(self, step: int, first: int, last: int) -> None:
        """Features of the active lanes first..last (none: last < first) from all earlier steps."""
        self._step, self._first_lane, self._last_lane = step, first, last
        network, backend, stream, rows = self.network, self.backend, self._stream, last - first + 1
        _pad(self._inputs, step % self._first_depth, first, last, self._signed)
        slot = step % self._taps.depth
        for ring in self._rings:
            _pad(ring, slot, first, last, self._unsigned)
        if rows <= 0:
            return
        own = self._inputs[step % self._first_depth, :, : network.first.weight.shape[1]]
        _phase_codes(step, self._phases, own, first, last, self._signed)
        slots, starts = self._first_taps.slots(step), self._first_taps.shifts + first
        sums = self._sums
        backend.convolve(self._inputs, slots, starts, rows, self._first, sums)
        to_stream(sums, network.first.scale, rows, stream)
        slots, starts = self._taps.slots(step), self._taps.shifts + first
        hidden = self._hidden
        for block, ring, (conv, pointwise) in zip(network.blocks, self._rings, self._blocks, strict=True):
            _stream_to_bytes(stream, block.alpha, rows, ring[slot], first + TOP, self._unsigned)
            backend.convolve(ring, slots, starts, rows, conv, sums)
            to_bytes(sums, block.conv.scale, rows, hidden[0], 0, self._unsigned)
            backend.convolve(hidden, self._zero, self._zero, rows, pointwise, sums)
            _add_to_stream(sums, block.pointwise.scale, rows, stream)
        _stream_to_bytes(stream, network.alpha, rows, self._features, 0, self.heads.unsigned_offset)

    def logits(self, channel: int, predictors: Predictors) -> tuple[np.ndarray, np.ndarray]:
        """int16[active lanes, classes] and the centres int32[active lanes] of a channel whose predictions are made."""
        first, last = self._first_lane, self._last_lane
        rows, centre, heads = last - first + 1, self.network.parameters.centre[channel], self.heads
        known = self._inputs[self._step % self._first_depth, :, : self.network.first.weight.shape[1]]
        column, inputs = self.network.features, heads.inputs[channel][0]
        inputs[:rows, :column] = self._features[:rows]
        _head_codes(
            predictors.fixed[channel], centre, COMPAND, known, heads.signed_offset - self._signed,
            2 * self.network.phases, channel, inputs, column, self.centres, first, last, heads.signed_offset,
        )  # fmt: skip
        centres = self._zero.repeat(rows) if self._raw else self.centres[:rows]
        return heads.logits(channel, rows), centres

    def learn(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> None:
        """The symbols int[active lanes] that came where logits, of these centres, gave counts [active lanes, 256]."""
        self.heads.learn(channel, counts, centres, symbols)

    def know(self, channel: int, predictors: Predictors) -> None:
        """A channel's values (`predictors.values`) become inputs of the steps to come."""
        fixed = predictors.fixed[channel]
        _input_codes(
            predictors.values[channel], fixed, COMPAND, self._inputs[self._step % self._first_depth],
            channel * (1 + fixed.shape[0]), self._first_lane, self._last_lane, self._signed,
        )  # fmt: skip
