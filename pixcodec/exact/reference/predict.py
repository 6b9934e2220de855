"""Predictions of each channel at each pixel: local least squares, their stack, MED (the definition).

For each memory (a, b, ridge) statistics run along the wavefront:

    P = a S(y, x-1) + b S(y-1, x+1)            the prior of a pixel
    S(y, x) = flush(P + g g^T), g = (f, v)     after it

f holds, for each of K planes that are known, the pixel minus the mean of the left and the upper one (or of the nearest
pixels inside); then, neighbour by neighbour and in each channel by channel, the neighbour's value minus the channel's
reference, the mean of the left and the upper value; v the pixel's channels minus their references.  What is known and
the first m neighbours predict v by least squares under P: eliminating the first K + m C columns of P + ridge I
(C channels) with u carried along,

    L_ik = A_ik / d_k,   A_ij -= A_ik L_jk,   u_i -= L_ik u_k,   r_c += L_ck u_k        for k = 0, 1, ..., K + m C - 1

leaves r, the predictions of v by f, and in the rows of v what is left of the statistics of their errors: by it a later
channel's prediction is corrected for the errors of the channels before it.

Numbers are binary32.  Each + - * / below rounds once; nothing is fused and no sum is reordered.  Operations on arrays
stand for the same operation on each element.  The lower triangle alone is used (upper elements are by-products).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixcodec.exact.predict import Memory, Parameters

UNIT = 16  # predictions count sixteenths of a level
LEFT_OF_FIRST_ROW = 128
FLUSH = np.float32(1e-20)
HALF, ONE, ZERO, SIXTEENTH = np.float32(0.5), np.float32(1), np.float32(0), np.float32(1 / UNIT)


def value(channel: np.ndarray, y: int, x: int) -> int:
    """V(y, x) of a channel, uint8[H, W], with the rules of the borders."""
    if y < 0:
        y, x = 0, x + 2 * y
    while x < 0 < y:
        y, x = y - 1, x + 2
    if x < 0:
        return LEFT_OF_FIRST_ROW
    return int(channel[y, min(x, channel.shape[1] - 1)])


def known_feature(plane: np.ndarray, y: int, x: int) -> np.float32:
    """A pixel of a known plane, uint8[H, W], minus the mean of the left and the upper one, or of the nearest inside."""
    left, upper = np.float32(plane[y, max(x - 1, 0)]), np.float32(plane[max(y - 1, 0), x])
    return np.float32(plane[y, x]) - (left + upper) * HALF


def fixed(prediction: np.float32) -> int:
    """Sixteenths of a level: clamped to 0..255 with NaN to 0, then rounded half to even."""
    if not prediction > ZERO:
        prediction = ZERO
    if not prediction < np.float32(255):
        prediction = np.float32(255)
    return int(np.rint(prediction * np.float32(UNIT)))


def inverse_pivot(pivot: np.float32, ridge: np.float32) -> np.float32:
    """1 / pivot, of the ridge instead where the pivot is not above half of it (or NaN)."""
    return ONE / (pivot if pivot > ridge * HALF else ridge)


def prior(memory: Memory, left: np.ndarray, upper_right: np.ndarray) -> np.ndarray:
    """P = a S(y, x-1) + b S(y-1, x+1): two products, one sum."""
    return np.float32(memory.a) * left + np.float32(memory.b) * upper_right


def learned(before: np.ndarray, g: np.ndarray) -> np.ndarray:
    """S = P + g g^T; what is not above 1e-20 in magnitude (or NaN) becomes zero."""
    after = before + g[:, None] * g[None, :]
    return np.where(np.abs(after) > FLUSH, after, ZERO)


class Regression(NamedTuple):
    """Predictions `r` of the values from the features alone, and what the error of one adds to another's."""

    r: list[np.float32]
    l10: np.float32 = ZERO
    l20: np.float32 = ZERO
    l21: np.float32 = ZERO

    def prediction(self, known: Sequence[np.float32]) -> np.float32:
        """Of the value after the `known` ones (minus their references)."""
        if not known:
            return self.r[0]
        u0 = known[0] - self.r[0]
        second = self.r[1] + self.l10 * u0
        if len(known) == 1:
            return second
        u1 = known[1] - second
        return (self.r[2] + self.l20 * u0) + self.l21 * u1


def regressions(p: np.ndarray, ridge: np.float32, f: np.ndarray, orders: Sequence[int]) -> list[Regression]:
    """Least squares of the values (1 or 3) by the first `m` features for each m in `orders`.

    p: float32[n + values, n + values], the prior; f: float32[n].
    """
    n = f.size
    values = range(n, len(p))
    a, u, results = p.copy(), f.copy(), []
    a[np.diag_indices_from(a)] += ridge
    r = [ZERO for _ in values]
    for k in range(orders[-1]):
        rest = slice(k + 1, None)
        low = a[:, k] * inverse_pivot(a[k, k], ridge)
        a[rest, rest] -= a[rest, k, None] * low[None, rest]
        u[rest] -= low[k + 1 : n] * u[k]
        r = [r[c] + low[i] * u[k] for c, i in enumerate(values)]
        if k + 1 in orders:
            results.append(Regression(r, *_between_values(a[n:, n:], ridge)))
    return results


def _between_values(left: np.ndarray, ridge: np.float32) -> tuple[np.float32, ...]:
    """l10, l20, l21 of three values from what is left of their statistics; nothing for one value."""
    if len(left) == 1:
        return ()
    inverse0 = inverse_pivot(left[0, 0], ridge)
    l10, l20 = left[1, 0] * inverse0, left[2, 0] * inverse0
    inverse1 = inverse_pivot(left[1, 1] - left[1, 0] * l10, ridge)
    return l10, l20, (left[2, 1] - left[2, 0] * l10) * inverse1


def median_edge(planes: np.ndarray, y: int, x: int, channel: int) -> int:
    """MED (LOCO-I) in sixteenths, of the channel or of its difference to the channel before, clamped to 0..255."""

    def difference(row: int, column: int) -> int:
        before = value(planes[:, :, channel - 1], row, column) if channel > 0 else 0
        return value(planes[:, :, channel], row, column) - before

    west, north, north_west = difference(y, x - 1), difference(y - 1, x), difference(y - 1, x - 1)
    low, high = min(west, north), max(west, north)
    if north_west >= high:
        guess = low
    elif north_west <= low:
        guess = high
    else:
        guess = west + north - north_west
    known = int(planes[y, x, channel - 1]) if channel > 0 else 0
    return UNIT * min(max(known + guess, 0), 255)


class Statistics(NamedTuple):
    """S of a pixel: of each memory, and of each channel's stack."""

    memories: list[np.ndarray]
    stacks: list[np.ndarray]


class _Pixel:
    """One pixel: its priors, its predictions channel by channel, its statistics."""

    def __init__(
        self, planes: np.ndarray, parameters: Parameters, place: tuple[int, int], left: Statistics, above: Statistics
    ) -> None:
        known, self.planes = np.split(planes, [parameters.known], axis=2)
        self.parameters, self.place = parameters, place
        y, x = place
        channels = range(parameters.channels)

        def seen(c: int, dy: int, dx: int) -> np.float32:
            return np.float32(value(self.planes[:, :, c], y - dy, x + dx))

        self.reference = [(seen(c, 0, -1) + seen(c, 1, 0)) * HALF for c in channels]
        ahead = [known_feature(plane, y, x) for plane in np.moveaxis(known, 2, 0)]
        past = [seen(c, dy, dx) - self.reference[c] for dy, dx in parameters.neighbours for c in channels]
        self.features = np.array([*ahead, *past], np.float32)
        self.values = np.array([self.planes[y, x, c] for c in channels], np.float32)
        self.known = self.values - np.array(self.reference, np.float32)
        states = zip(parameters.memories, left.memories, above.memories, strict=True)
        self.priors = [prior(memory, s, t) for memory, s, t in states]
        self.stack_priors = [prior(parameters.stack, s, t) for s, t in zip(left.stacks, above.stacks, strict=True)]
        self.stack_g: list[np.ndarray] = []

    def predictions(self) -> list[list[int]]:
        """Of each channel, each knowing the channels before it."""
        parameters = self.parameters
        orders = [parameters.known + order * parameters.channels for order in parameters.orders]
        solved = [
            regression
            for memory, p in zip(parameters.memories, self.priors, strict=True)
            for regression in regressions(p, np.float32(memory.ridge), self.features, orders)
        ]
        result = []
        for c in range(parameters.channels):
            known = list(self.known[:c])
            own = [fixed(self.reference[c] + regression.prediction(known)) for regression in solved]
            med = median_edge(self.planes, *self.place, c)
            result.append([*own, self.stack(c, own, med), med])
        return result

    def stack(self, channel: int, own: list[int], med: int) -> int:
        """The base plus a least squares by all other predictions minus the base (in whole levels)."""
        parameters = self.parameters
        others = [*own, None, med]  # numbered as the predictions are; the stack itself does not count
        base = others[parameters.base]
        assert base is not None  # noqa: S101 - `Parameters.check` refuses the stack as its own base
        f = np.array(
            [np.float32(p - base) * SIXTEENTH for k, p in enumerate(others) if p is not None and k != parameters.base],
            np.float32,
        )
        level = np.float32(base) * SIXTEENTH
        (regression,) = regressions(self.stack_priors[channel], np.float32(parameters.stack.ridge), f, [f.size])
        self.stack_g.append(np.append(f, self.values[channel] - level))
        return fixed(level + regression.prediction([]))

    def statistics(self) -> Statistics:
        """S(y, x), once the predictions are made."""
        g = np.append(self.features, self.known)
        return Statistics(
            [learned(p, g) for p in self.priors],
            [learned(p, own) for p, own in zip(self.stack_priors, self.stack_g, strict=True)],
        )


@np.errstate(all="ignore")
def predictions(planes: np.ndarray, parameters: Parameters) -> np.ndarray:
    """All predictions of a known picture.

    Args:
        planes: uint8[H, W, known + C]: those that are known, then those that are predicted.
        parameters: for C channels.

    Returns:
        int16[H, W, C, count] in sixteenths of a level: each memory's orders, the stack, MED.
    """
    (height, width), channels = planes.shape[:2], parameters.channels
    own = parameters.known + len(parameters.neighbours) * channels + channels
    stacked = len(parameters.memories) * len(parameters.orders) + 1
    zero = Statistics(
        [np.zeros((own, own), np.float32) for _ in parameters.memories],
        [np.zeros((stacked, stacked), np.float32) for _ in range(channels)],
    )
    result = np.empty((height, width, channels, stacked + 1), np.int16)
    above = [zero] * width
    for y in range(height):
        row: list[Statistics] = []
        for x in range(width):
            pixel = _Pixel(planes, parameters, (y, x), row[x - 1] if x > 0 else zero, above[min(x + 1, width - 1)])
            result[y, x] = pixel.predictions()
            row.append(pixel.statistics())
        above = row
    return result
