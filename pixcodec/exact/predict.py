"""Predictors: local least squares of several memories and orders, their stack, and MED.

For each memory (a, b, ridge) the statistics of features f and values v run along the wavefront,

    P = a S(y, x-1) + b S(y-1, x+1);   S(y, x) = P + g g^T,   g = (f, v)

with S zero before a row's first pixel and kept after its last.  f holds, for each neighbour and each channel, the
neighbour minus the mean of the left and the upper pixel (the reference); v the channels of the pixel minus theirs.
The factorisation P + ridge I = L D L^T and u = L^-1 f give the least-squares prediction of v by the first m features
as the first m terms of one sum, so that one factorisation serves all orders and all channels: green uses red's and blue
red's and green's errors under the same predictor.  The stack is a local least squares of the value on all of these
predictions and MED, as differences to one of them; MED works on R, G - R, B - G.

All of it is binary32, one rounding an operation, in the order written here and in `kernels.py`; the definition is
`reference/predict.py`.  Predictions are int16 in 1/16 of a level, clamped to 0..255 (NaN to 0) before they are rounded
half to even.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from pixcodec.exact.kernels import regression_kernels, statistics
from pixcodec.exact.rounding import ROUND
from pixcodec.exact.steps import active_lanes, number_of_steps
from pixcodec.exact.vectors import LANES

if TYPE_CHECKING:
    from collections.abc import Mapping

UNIT = 16  # predictions count sixteenths of a level
LIMIT = 255 * UNIT
OUTSIDE = 128  # the value of what lies left of the first row
TOP = 4  # lanes kept above lane 0, more than any neighbour reaches
REACH = 4  # lanes outside the image that neighbours can reach, on either side

_compiled = njit(nogil=True, cache=True, error_model="numpy")


def _compand_table() -> np.ndarray:
    """int8[2 * LIMIT + 1]: differences in sixteenths to codes, logarithmic as in ITU-T G.711: sixteen codes an octave.

    With m = |d| + 16 and s = floor(log2 m) - 4 the code is 16 s + (m >> s) - 16, with the sign of d, at most 127.
    """
    codes = np.empty(2 * LIMIT + 1, np.int8)
    for d in range(LIMIT + 1):
        m = d + 16
        s = m.bit_length() - 5
        code = min(16 * s + (m >> s) - 16, 127)
        codes[LIMIT + d], codes[LIMIT - d] = code, -code
    return codes


COMPAND = _compand_table()


@dataclass(frozen=True)
class Memory:
    """How fast statistics fade: the weight of the left state, of the upper right state, and the ridge."""

    a: float
    b: float
    ridge: float


@dataclass(frozen=True)
class Parameters:
    """The predictors of a model: a part of the model file.

    Attributes:
        channels: 3 or 1.
        neighbours: (dy, dx) for the pixel at (y - dy, x + dx), without (1, 0), which the reference implies.
        orders: how many leading neighbours the predictions of each memory use, ascending.
        memories: the memories of the first level.
        stack: the memory of the stack.
        base: the prediction that the stack's differences are taken to.
        centre: for each channel the prediction that the classes of the softmax are centred on.
    """

    channels: int
    neighbours: tuple[tuple[int, int], ...]
    orders: tuple[int, ...]
    memories: tuple[Memory, ...]
    stack: Memory
    base: int
    centre: tuple[int, ...]

    @classmethod
    def load(cls, card: Mapping[str, Any]) -> Parameters:
        """Parameters from their JSON form; `ValueError` where they are out of bounds."""
        parameters = cls(
            int(card["channels"]),
            tuple((int(dy), int(dx)) for dy, dx in card["neighbours"]),
            tuple(int(order) for order in card["orders"]),
            tuple(Memory(*map(float, memory)) for memory in card["memories"]),
            Memory(*map(float, card["stack"])),
            int(card["base"]),
            tuple(int(centre) for centre in card["centre"]),
        )
        parameters.check()
        return parameters

    def save(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "channels": self.channels,
            "neighbours": [list(neighbour) for neighbour in self.neighbours],
            "orders": list(self.orders),
            "memories": [[m.a, m.b, m.ridge] for m in self.memories],
            "stack": [self.stack.a, self.stack.b, self.stack.ridge],
            "base": self.base,
            "centre": list(self.centre),
        }

    def check(self) -> None:
        """Raise `ValueError` unless the wavefront can compute these predictors."""
        if self.channels not in (1, 3) or len(self.centre) != self.channels:
            raise ValueError(f"1 or 3 channels, a centre each: found {self.channels} and {len(self.centre)}")
        for dy, dx in self.neighbours:
            if not (0 <= dy < TOP and abs(dx) < REACH and 2 * dy - dx >= 1):
                raise ValueError(f"neighbour ({dy}, {dx}) is out of reach or not yet known in the wavefront's order")
        orders = self.orders
        if not orders or list(orders) != sorted(set(orders)) or orders[0] < 1 or orders[-1] > len(self.neighbours):
            raise ValueError(f"orders must ascend within 1..{len(self.neighbours)}, found {orders}")
        for memory in (*self.memories, self.stack):
            a, b, ridge = (np.float32(value) for value in (memory.a, memory.b, memory.ridge))
            if not (0 <= a < 1 and 0 <= b < 1 and a + b < 1 and np.float32(1e-9) <= ridge < np.float32(1e9)):
                raise ValueError(f"weights must be 0 or more, their sum below 1, the ridge 1e-9 to 1e9: found {memory}")
        if not self.memories or not all(0 <= number < self.count for number in (self.base, *self.centre)):
            raise ValueError("base and centre must be numbers of predictions")
        if self.base == self.stacked:
            raise ValueError("the stack cannot be its own base")

    @property
    def stacked(self) -> int:
        """Number of the stack among the predictions; those before it are the memories' orders."""
        return len(self.memories) * len(self.orders)

    @property
    def count(self) -> int:
        """Predictions a channel: each memory's orders, the stack, MED."""
        return self.stacked + 2

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each prediction."""
        own = [f"{m.a:g} {m.b:g} {m.ridge:g} order {order}" for m in self.memories for order in self.orders]
        return (*own, "stack", "med")

    @cached_property
    def coefficients(self) -> np.ndarray:
        """float32[memories, 3]: a, b, ridge."""
        return np.array([[m.a, m.b, m.ridge] for m in self.memories], np.float32)

    @cached_property
    def stack_coefficients(self) -> np.ndarray:
        """float32[1, 3]: a, b, ridge of the stack."""
        return np.array([[self.stack.a, self.stack.b, self.stack.ridge]], np.float32)


@_compiled
def _fixed(value: np.float32) -> np.int16:
    """A prediction in sixteenths: clamped (NaN to 0), then rounded half to even."""
    # Comparisons in this form take NaN to 0; min and max would not say what they do with it.
    value = value if value > np.float32(0) else np.float32(0)  # noqa: FURB136
    value = value if value < np.float32(255) else np.float32(255)  # noqa: FURB136
    return np.int16((value * np.float32(UNIT) + ROUND) - ROUND)


@_compiled
def _gather(ring, slots, lags, features, reference, first, last):  # type: ignore[no-untyped-def]
    """Reference of each channel (mean of left, slot 0, and upper, slot 1) and the neighbours' differences to it."""
    channels = ring.shape[1]
    for c in range(channels):
        left, upper = ring[slots[0], c], ring[slots[1], c]
        for y in range(first, last + 1):
            reference[c, y + 1] = (left[y + TOP] + upper[y + TOP - 1]) * np.float32(0.5)
        for k in range(len(slots) - 3):
            lane, row = ring[slots[k + 3], c], features[k * channels + c]
            up = TOP - lags[k]
            for y in range(first, last + 1):
                row[y + 1] = lane[y + up] - reference[c, y + 1]


@_compiled
def _predict_first(reference, out, fixed, rows, first, last):  # type: ignore[no-untyped-def]
    """Predictions of the first channel by every memory and order."""
    for m in range(out.shape[0]):
        for o in range(fixed.shape[0] // out.shape[0]):
            k = m * (fixed.shape[0] // out.shape[0]) + o
            for y in range(first + 1, last + 2):
                fixed[k, y] = _fixed(reference[0, y] + out[m, rows * o, y])


@_compiled
def _predict_second(reference, f, out, fixed, first, last):  # type: ignore[no-untyped-def]
    """Predictions of the second channel, which know the first one's value f[0] (minus its reference)."""
    orders = fixed.shape[0] // out.shape[0]
    for m in range(out.shape[0]):
        for o in range(orders):
            r = out[m, 6 * o : 6 * o + 6]
            for y in range(first + 1, last + 2):
                second = r[2, y] + r[1, y] * (f[0, y] - r[0, y])
                fixed[m * orders + o, y] = _fixed(reference[1, y] + second)


@_compiled
def _predict_third(reference, f, out, fixed, first, last):  # type: ignore[no-untyped-def]
    """Predictions of the third channel, which know the values f[0], f[1] of the first two (minus their references)."""
    orders = fixed.shape[0] // out.shape[0]
    for m in range(out.shape[0]):
        for o in range(orders):
            r = out[m, 6 * o : 6 * o + 6]
            for y in range(first + 1, last + 2):
                u0 = f[0, y] - r[0, y]
                u1 = f[1, y] - (r[2, y] + r[1, y] * u0)
                fixed[m * orders + o, y] = _fixed(reference[2, y] + ((r[5, y] + r[3, y] * u0) + r[4, y] * u1))


@_compiled
def _median_edge(ring, slots, values, channel, fixed, first, last):  # type: ignore[no-untyped-def]
    """MED (LOCO-I) of the channel, or of its difference to the channel before it, clamped to 0..255."""
    west, north, north_west = ring[slots[0]], ring[slots[1]], ring[slots[2]]
    for y in range(first, last + 1):
        w, n, nw = west[channel, y + TOP], north[channel, y + TOP - 1], north_west[channel, y + TOP - 1]
        known = np.float32(0)
        if channel > 0:
            known = values[channel - 1, y + 1]
            w -= west[channel - 1, y + TOP]
            n -= north[channel - 1, y + TOP - 1]
            nw -= north_west[channel - 1, y + TOP - 1]
        low, high = min(w, n), max(w, n)
        fixed[y + 1] = _fixed(known + (low if nw >= high else high if nw <= low else w + n - nw))


@_compiled
def _stack_features(fixed, base, features, first, last):  # type: ignore[no-untyped-def]
    """Differences of the predictions (all but the stack, which is the last but one) to the base."""
    sixteenth, k = np.float32(1 / UNIT), 0
    for p in range(fixed.shape[0]):
        if p in (base, fixed.shape[0] - 2):
            continue
        for y in range(first + 1, last + 2):
            features[k, y] = np.float32(fixed[p, y] - fixed[base, y]) * sixteenth
        k += 1


@_compiled
def _stack_predict(base, out, fixed, first, last):  # type: ignore[no-untyped-def]
    """The stack's prediction: the base plus what the least squares adds."""
    for y in range(first + 1, last + 2):
        fixed[y] = _fixed(np.float32(base[y]) * np.float32(1 / UNIT) + out[0, y])


@_compiled
def _differences(values, bases, unit, f, first, last):  # type: ignore[no-untyped-def]
    """F = values - bases * unit, for every channel; `unit` is a power of two."""
    for c in range(values.shape[0]):
        for y in range(first + 1, last + 2):
            f[c, y] = values[c, y] - np.float32(bases[c, y]) * unit


@_compiled
def _push(ring, slot, before, values, height, first, last):  # type: ignore[no-untyped-def]
    """This step's values into the ring, and those that positions outside the image take.

    Right of the image a row's last value is kept; left of it lane y takes what lane y - 1 has in this step (128 in lane
    0); lanes above the image take what lane 0 has.
    """
    for c in range(ring.shape[1]):
        lane = ring[slot, c]
        for y in range(max(0, first - REACH), first):
            lane[y + TOP] = ring[before, c, y + TOP]
        for y in range(first, last + 1):
            lane[y + TOP] = values[c, y + 1]
        for y in range(max(last + 1, 0), min(height, last + 1 + REACH)):
            lane[y + TOP] = lane[y + TOP - 1] if y > 0 else np.float32(OUTSIDE)
        lane[:TOP] = lane[TOP]


class Predictors:
    """The predictors of one tile, step by step.

    In each step: `begin`, then for each channel `predict` and, once the channel is known, `know`; then `learn`.

    Attributes:
        fixed: int16[channels, count, 1 + lanes], predictions of this step; lane y is column y + 1.
        values: float32[channels, 1 + lanes], this step's values.
    """

    def __init__(self, parameters: Parameters, height: int, width: int) -> None:
        """Start a tile of `height` rows and `width` columns."""
        self.parameters, self.height, self.width = parameters, height, width
        channels, neighbours = parameters.channels, parameters.neighbours
        unknowns = len(neighbours) * channels
        self._rows = 6 if channels == 3 else 1
        columns = 1 + (height + LANES - 1) // LANES * LANES
        memories, orders, inputs = len(parameters.memories), len(parameters.orders), parameters.stacked
        self._solve, self._learn = regression_kernels(
            unknowns, channels, tuple(o * channels for o in parameters.orders)
        )
        self._solve_stack, self._learn_stack = regression_kernels(inputs, 1, (inputs,))

        def zeros(*shape: int) -> np.ndarray:
            return np.zeros((*shape, columns), np.float32)

        self._state = statistics(memories, unknowns + channels, height)
        self._stack_state = [statistics(1, inputs + 1, height) for _ in range(channels)]
        self._features = zeros(unknowns + channels)
        self._known = self._features[unknowns:]
        self._stack_features = zeros(channels, inputs + 1)
        self._out, self._stack_out = zeros(memories, self._rows * orders), zeros(1, 1)
        self._reference = zeros(channels)
        self.values = zeros(channels)
        self.fixed = np.zeros((channels, parameters.count, columns), np.int16)
        taps = [(0, -1), (1, 0), (1, -1), *neighbours]
        self._delays = np.array([2 * dy - dx for dy, dx in taps])
        self._lags = np.array([dy for dy, _ in neighbours])
        self._depth = int(self._delays.max()) + 1
        self._ring = np.full((self._depth, channels, height + TOP), OUTSIDE, np.float32)
        self._step, self._first, self._last = -1, 0, -1

    def begin(self, step: int) -> tuple[int, int]:
        """Solve all regressions of a step; return its first and last active lane (last < first: none)."""
        self._step = step
        self._first, self._last = first, last = active_lanes(step, self.height, self.width)
        if last < first:
            return first, last
        self._slots = (step - self._delays) % self._depth
        _gather(self._ring, self._slots, self._lags, self._features, self._reference, first, last)
        coefficients = self.parameters.coefficients
        self._solve(self._state, self._features, self._out, coefficients, first, last)
        return first, last

    def predict(self, channel: int) -> None:
        """Fill `fixed[channel]`; the channels before it are known."""
        first, last, fixed, known = self._first, self._last, self.fixed[channel], self._known
        own = fixed[: self.parameters.stacked]
        if channel == 0:
            _predict_first(self._reference, self._out, own, self._rows, first, last)
        elif channel == 1:
            _predict_second(self._reference, known, self._out, own, first, last)
        else:
            _predict_third(self._reference, known, self._out, own, first, last)
        _median_edge(self._ring, self._slots, self.values, channel, fixed[-1], first, last)
        base, features, state = self.parameters.base, self._stack_features[channel], self._stack_state[channel]
        _stack_features(fixed, base, features, first, last)
        self._solve_stack(state, features, self._stack_out, self.parameters.stack_coefficients, first, last)
        _stack_predict(fixed[base], self._stack_out[0], fixed[-2], first, last)

    def know(self, channel: int, values: np.ndarray) -> None:
        """The channel's values, any number type [active lanes], are known."""
        lanes = slice(self._first + 1, self._last + 2)
        self.values[channel, lanes] = values
        np.subtract(self.values[channel, lanes], self._reference[channel, lanes], self._known[channel, lanes])

    def learn(self) -> None:
        """Take this step's pixels into the statistics and the ring."""
        first, last, step = self._first, self._last, self._step
        parameters = self.parameters
        if last >= first:
            self._learn(self._state, self._features, parameters.coefficients, first, last)
            inputs, sixteenth = parameters.stacked, np.float32(1 / UNIT)
            bases = self.fixed[:, parameters.base]
            _differences(self.values, bases, sixteenth, self._stack_features[:, inputs], first, last)
            for state, features in zip(self._stack_state, self._stack_features, strict=True):
                self._learn_stack(state, features, parameters.stack_coefficients, first, last)
        slot = step % self._depth
        _push(self._ring, slot, (step - 1) % self._depth, self.values, self.height, first, last)


def predictions(planes: np.ndarray, parameters: Parameters) -> np.ndarray:
    """All predictions of a known picture.

    Args:
        planes: uint8[H, W, C].
        parameters: for C channels.

    Returns:
        int16[H, W, C, count] in sixteenths of a level.
    """
    height, width, channels = planes.shape
    predictors = Predictors(parameters, height, width)
    result = np.empty((height, width, channels, parameters.count), np.int16)
    for step in range(number_of_steps(height, width)):
        first, last = predictors.begin(step)
        rows = np.arange(first, last + 1)
        columns = step - 2 * rows
        for c in range(channels if last >= first else 0):
            predictors.predict(c)
            predictors.know(c, planes[rows, columns, c])
            result[rows, columns, c] = predictors.fixed[c, :, first + 1 : last + 2].T
        predictors.learn()
    return result


def rounded_centres(predicted: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Each channel's centre as a level, rounded half up: int32[H, W, C] from `predictions`."""
    channels = range(parameters.channels)
    own = np.stack([predicted[:, :, c, parameters.centre[c]] for c in channels], axis=2).astype(np.int32)
    return (own + UNIT // 2) // UNIT
