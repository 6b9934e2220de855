"""The frozen network evaluated step by step: what its trunk and its heads see, made of planes and predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from pixcodec.exact.heads import fixed_heads
from pixcodec.exact.predict import COMPAND, LIMIT, TOP, UNIT
from pixcodec.exact.trunk import trunk

if TYPE_CHECKING:
    from pixcodec.exact.heads import Heads
    from pixcodec.exact.matmul import Backend
    from pixcodec.exact.network import Network
    from pixcodec.exact.predict import Predictors

_compiled = njit(nogil=True, cache=True, error_model="numpy")


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
def _place(features, rows, shift, target):  # type: ignore[no-untyped-def]
    """Stored features into the heads' inputs."""
    for m in range(rows):
        for j in range(features.shape[1]):
            target[m, j] = np.int32(features[m, j]) + shift


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


class Wavefront:
    """A network's state while one tile is coded.

    In each step: `trunk`, then for each channel `logits` and, once the channel is known, `learn` and `know`.
    """

    def __init__(self, network: Network, backend: Backend, height: int, width: int, heads: Heads | None = None) -> None:
        """Start a tile; `backend` has passed its known-answer test for the network's shapes.

        `heads`: by default the model's, by the same back end.
        """
        self.network = network
        self.trunk_of = trunk(network, backend, height, width)
        lanes = min(height, (width + 1) // 2)
        self.heads = fixed_heads(network, backend, lanes) if heads is None else heads
        self._signed = backend.signed_offset
        self._shift = self.heads.unsigned_offset - backend.unsigned_offset
        self.centres, self._zeros = np.zeros(lanes, np.int32), np.zeros(lanes, np.int32)
        self._first, self._last, self._codes = 0, -1, self.trunk_of.inputs[0]
        self._features = self.trunk_of.features(-1, 0, -1)

    def trunk(self, step: int, first: int, last: int) -> None:
        """Features of the active lanes first..last (none: last < first) from all earlier steps."""
        self._first, self._last = first, last
        self._codes = self.trunk_of.inputs[step % self.trunk_of.depth]
        self._features = self.trunk_of.features(step, first, last)

    def logits(self, channel: int, predictors: Predictors) -> tuple[np.ndarray, np.ndarray]:
        """int16[active lanes, classes] and the centres int32[active lanes] of a channel whose predictions are made."""
        first, last, network, heads = self._first, self._last, self.network, self.heads
        rows, centre = last - first + 1, network.parameters.centre[channel]
        known, inputs = self._codes[:, : network.first.weight.shape[1]], heads.inputs[channel][0]
        _place(self._features[:, : network.features], rows, self._shift, inputs)
        _head_codes(
            predictors.fixed[channel], centre, COMPAND, known, heads.signed_offset - self._signed,
            2 * network.phases, channel, inputs, network.features, self.centres, first, last,
            heads.signed_offset,
        )  # fmt: skip
        return heads.logits(channel, rows), (self._zeros if network.raw else self.centres)[:rows]

    def learn(self, channel: int, counts: np.ndarray, centres: np.ndarray, symbols: np.ndarray) -> None:
        """The symbols int[active lanes] that came where logits, of these centres, gave counts [active lanes, 256]."""
        self.heads.learn(channel, counts, centres, symbols)

    def know(self, channel: int, predictors: Predictors) -> None:
        """A channel's values (`predictors.values`) become inputs of the steps to come."""
        fixed = predictors.fixed[channel]
        _input_codes(
            predictors.values[channel], fixed, COMPAND, self._codes, channel * (1 + fixed.shape[0]), self._first,
            self._last, self._signed,
        )  # fmt: skip
