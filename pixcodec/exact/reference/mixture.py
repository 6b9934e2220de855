"""A mixture's outputs to counts, and its components' weights from channel to channel, in Python's integers.

This is the definition.  A pixel has K components and C channels; its outputs are, K each, [logits | C means | C
log-scales], and for colour three more, the coefficients R to G, R to B, G to B (`nets.mixture`).  p are the channels'
MED predictions, e = value - p the errors of the channels that are known.

    weight       w = EXP2[d mod 256] >> (d div 256),   d = the largest logit - its own
    mean         m = mean + ((sum over channels before of TANH[coefficient] e) >> 6),    in 1/64 of a level from p
    steepness    i = EXP2[s mod 256] 2^19 / 2^(24 + s div 256), rounded down,   s = log-scale, clamped to -1662..2031
    F(j)         0 for j = 0, 2^24 for j = 256, else LOGISTIC[((64 j - 64 p - m - 32) i) >> 16], clamped to +-65536
    mass of v    M = (sum over components of w (F(v + 1) - F(v))) >> 20
    count of v   (M floor((2^24 - 256) 2^28 / sum of M)) >> 28

What the counts lack to the sum 2^24 - 256 goes to the largest of them, the lowest value among equals.  Once a channel
is known to be v, each weight becomes w (F(v + 1) - F(v)), all scaled by the power of two that brings the largest
largest into 2^23 + 1..2^24, rounded down; where all are 0 the weights stay as they were.  So one weight is above 2^23
always, the sum of M is never 0; sums of w (F(v + 1) - F(v)) reach K 2^48, and a product of a count is below 2^52.

LOGISTIC[z] = rint(2^24 / (1 + exp(-z / 4096))).  >> is a floor; TANH's argument is clamped to what it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pixcodec.exact.frequencies import EXP2
from pixcodec.exact.mixture import table
from pixcodec.exact.tables import tanh_gate

if TYPE_CHECKING:
    from collections.abc import Sequence

TANH = tanh_gate()
SYMBOLS = 256
TOTAL = (1 << 24) - SYMBOLS
ONE = 1 << 24
LOWEST, HIGHEST = -1662, 2031
TANH_LIMIT, LOGISTIC_LIMIT = 2048, 65536


class Pixel(NamedTuple):
    """Outputs of a pixel, its predictions, and the errors of channels that are known; all integers."""

    outputs: Sequence[int]
    components: int
    channels: int
    predictions: Sequence[int]
    errors: Sequence[int]

    def output(self, block: int, component: int) -> int:
        """A component's number in a block of `components` outputs."""
        return int(self.outputs[block * self.components + component])


def _exp2(exponent: int) -> tuple[int, int]:
    """2^(24 - exponent / 256) as a table's entry and a number of halvings."""
    return int(EXP2[exponent % 256]), exponent // 256


def weights(pixel: Pixel) -> list[int]:
    """Of each component before a channel is known."""
    logits = [pixel.output(0, k) for k in range(pixel.components)]
    result = []
    for logit in logits:
        entry, halvings = _exp2(max(logits) - logit)
        result.append(entry >> halvings)
    return result


def mean(pixel: Pixel, channel: int, component: int) -> int:
    """In 1/64 of a level from the prediction."""
    first = {0: 0, 1: 0, 2: 1}[channel]  # of the channel's coefficients
    pull = 0
    for before in range(channel):
        x = pixel.output(1 + 2 * pixel.channels + first + before, component)
        pull += int(TANH[max(-TANH_LIMIT, min(TANH_LIMIT, x)) + TANH_LIMIT]) * int(pixel.errors[before])
    return pixel.output(1 + channel, component) + (pull >> 6)


def steepness(log_scale: int) -> int:
    """65536 * 64 / (8 * 2^(log_scale / 256))."""
    entry, halvings = _exp2(max(LOWEST, min(HIGHEST, log_scale)))
    return (entry << 19) >> (24 + halvings)


def below(pixel: Pixel, channel: int, component: int, value: int) -> int:
    """F: a component's share, of 2^24, of the values below `value`."""
    if value in {0, SYMBOLS}:
        return 0 if value == 0 else ONE
    distance = 64 * value - 32 - 64 * int(pixel.predictions[channel]) - mean(pixel, channel, component)
    z = (distance * steepness(pixel.output(1 + pixel.channels + channel, component))) >> 16
    return int(table()[max(-LOGISTIC_LIMIT, min(LOGISTIC_LIMIT, z)) + LOGISTIC_LIMIT])


def counts(pixel: Pixel, channel: int, own: Sequence[int]) -> np.ndarray:
    """int64[256] of sum 2^24 - 256, from the components' weights."""
    edges = [[below(pixel, channel, k, v) for v in range(SYMBOLS + 1)] for k in range(pixel.components)]
    pairs = list(zip(own, edges, strict=True))
    masses = [sum(w * (f[v + 1] - f[v]) for w, f in pairs) >> 20 for v in range(SYMBOLS)]
    reciprocal = (TOTAL << 28) // sum(masses)
    result = [(mass * reciprocal) >> 28 for mass in masses]
    largest = result.index(max(result))
    result[largest] += TOTAL - sum(result)
    return np.array(result, np.int64)


def learned(pixel: Pixel, channel: int, own: Sequence[int]) -> list[int]:
    """The components' weights once a channel is known, whose error is among `pixel.errors`."""
    v = int(pixel.predictions[channel]) + int(pixel.errors[channel])
    products = [w * (below(pixel, channel, k, v + 1) - below(pixel, channel, k, v)) for k, w in enumerate(own)]
    largest = max(products)
    if largest == 0:
        return list(own)
    bits = (largest - 1).bit_length()  # the least with largest <= 2^bits
    return [product << 24 >> bits for product in products]
