"""A mixture's outputs to counts, in integers (`nets.mixture` has the float form and the order of the outputs).

Everything is of one pixel.  Component weights w are EXP2 of the logits, as in `frequencies`, at most 2^24.  Edges and
means count 1/64 of a level from the MED prediction p: the lower edge of value j is 64 (j - p) - 32, and the means of G
and B are the outputs plus (a (r - p_r) + b (g - p_g)) >> 6 for coefficients a, b of `tables.TANH`.  A component's
distribution function at an edge is F = LOGISTIC[z + 65536], z = clamp(((edge - mean) inverse) >> 16, +-65536) in
1/4096, with inverse = 2^16 * 64 / 8 * 2^(-s / 256) for the log-scale s; F is 0 below the value 0 and 2^24 above 255.
The mass of a value is the sum over components of w (F(j + 1) - F(j)), >> 20, and becomes its count as in `frequencies`.
Once a channel is known, each weight is multiplied by its component's mass of the value, and all are brought back to 24
bits.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from pixcodec.exact.compiled import compiled
from pixcodec.exact.frequencies import EXP2_BITS, SHIFT
from pixcodec.exact.tables import GATE_LIMIT, logistic

LOGISTIC_UNIT, LOGISTIC_RANGE, LOGISTIC_BITS = 4096, 16, 24
MEAN_UNIT = 64  # means count 1/64 of a level
SCALE_UNIT = 256  # log-scales count 1/256 of a factor of two, of 8 levels
LOWEST, HIGHEST = -1662, 2031  # log-scales: -4.5 and 5.5 in nats
_LIMIT = LOGISTIC_UNIT * LOGISTIC_RANGE
_FACTOR = 1 << 19  # 2^16 * 64 / 8
_DROP = 20
_ONE = 1 << LOGISTIC_BITS


@cache
def table() -> np.ndarray:
    """int32[131073]: LOGISTIC."""
    return logistic(_LIMIT, LOGISTIC_UNIT, _ONE)


@compiled()
def begin(outputs, components, exp2, weights):  # type: ignore[no-untyped-def]
    """Fill weights, int64[n, components], from outputs int32[n, ...]."""
    for i in range(outputs.shape[0]):
        top = outputs[i, 0]
        for k in range(components):
            top = max(top, outputs[i, k])
        for k in range(components):
            d = np.int64(top) - np.int64(outputs[i, k])
            weights[i, k] = exp2[d & 255] >> min(d >> 8, 63)


@compiled()
def _mean(row, components, channels, channel, k, errors, tanh):  # type: ignore[no-untyped-def]
    """A component's mean; G's and B's are linear in the prediction errors of the channels before."""
    mean = np.int64(row[(1 + channel) * components + k])
    first = (1 + 2 * channels) * components + k
    if channel == 1:
        a = tanh[min(max(row[first], -GATE_LIMIT), GATE_LIMIT) + GATE_LIMIT]
        mean += (a * errors[0]) >> 6
    elif channel == 2:
        a = tanh[min(max(row[first + components], -GATE_LIMIT), GATE_LIMIT) + GATE_LIMIT]
        b = tanh[min(max(row[first + 2 * components], -GATE_LIMIT), GATE_LIMIT) + GATE_LIMIT]
        mean += (a * errors[0] + b * errors[1]) >> 6
    return mean


@compiled()
def _inverse(scale, exp2):  # type: ignore[no-untyped-def]
    """2^16 * 64 / 8 * 2^(-scale / 256)."""
    e = -min(max(np.int64(scale), np.int64(LOWEST)), np.int64(HIGHEST))
    f = -e & 255
    return (exp2[f] * _FACTOR) >> (EXP2_BITS - ((e + f) >> 8))


@compiled()
def _below(j, centre, inverse, logistic):  # type: ignore[no-untyped-def]
    """A component's distribution function at the lower edge of value j, with its mean at centre - 32."""
    if j == 0:
        return np.int64(0)
    if j == 256:
        return np.int64(_ONE)
    z = ((MEAN_UNIT * j - centre) * inverse) >> 16
    return np.int64(logistic[min(max(z, -_LIMIT), _LIMIT) + _LIMIT])


@compiled()
def counts_of_mixture(outputs, components, channels, channel, centres, errors, weights, exp2, tanh, logistic, counts):  # type: ignore[no-untyped-def]
    """Fill counts, float32[n, 256] of sum 2^24 - 256.

    Args:
        outputs: int32[n, outputs].
        components: of the mixture.
        channels: of the image.
        channel: whose counts.
        centres: int64[n, C], MED predictions 0..255.
        errors: int64[n, C], values minus predictions of the channels before this one.
        weights: int64[n, components].
        exp2: table of `frequencies`.
        tanh: table of `tables`.
        logistic: `table()`.
        counts: the result.
    """
    total_count = np.int64((1 << 24) - 256)
    mass = np.empty(256, np.int64)
    for i in range(outputs.shape[0]):
        mass[:] = 0
        row = outputs[i]
        for k in range(components):
            w = weights[i, k]
            if w == 0:
                continue
            mean = _mean(row, components, channels, channel, k, errors[i], tanh)
            centre = MEAN_UNIT * centres[i, channel] + mean + MEAN_UNIT // 2
            inverse = _inverse(row[(1 + channels + channel) * components + k], exp2)
            before = np.int64(0)
            for j in range(256):
                after = _below(j + 1, centre, inverse, logistic)
                mass[j] += w * (after - before)
                before = after
        total = np.int64(0)
        for j in range(256):
            mass[j] >>= _DROP
            total += mass[j]
        reciprocal = (total_count << SHIFT) // total
        rest, largest = total_count, 0
        for j in range(256):
            mass[j] = (mass[j] * reciprocal) >> SHIFT
            rest -= mass[j]
            if mass[j] > mass[largest]:
                largest = j
        mass[largest] += rest
        for j in range(256):
            counts[i, j] = np.float32(mass[j])


@compiled()
def learn(outputs, components, channels, channel, centres, errors, weights, exp2, tanh, logistic):  # type: ignore[no-untyped-def]
    """Weights after a channel is known: each times its component's mass of the value centres + errors."""
    product = np.empty(components, np.int64)
    for i in range(outputs.shape[0]):
        row, top = outputs[i], np.int64(0)
        value = centres[i, channel] + errors[i, channel]
        for k in range(components):
            mean = _mean(row, components, channels, channel, k, errors[i], tanh)
            centre = MEAN_UNIT * centres[i, channel] + mean + MEAN_UNIT // 2
            inverse = _inverse(row[(1 + channels + channel) * components + k], exp2)
            own = _below(value + 1, centre, inverse, logistic) - _below(value, centre, inverse, logistic)
            product[k] = weights[i, k] * own
            top = max(top, product[k])
        if top == 0:
            continue
        shift = 0
        while top >> shift > _ONE:
            shift += 1
        up = 0
        while top << (up + 1) <= _ONE:
            up += 1
        for k in range(components):
            weights[i, k] = (product[k] << up) >> shift
