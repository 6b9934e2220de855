"""Three logistic distributions around the centre: what they have below an edge, and the errors of their outputs.

A pixel's nine outputs are the logits of the three weights, in 1/256 of a bit, the means, in 1/256 of a level from the
centre, and the logarithms s of the scales, in 1/256 of an octave of levels.  With weights a, means m and h = 2^-s,

    F(e) = sum of a / (1 + 2^((m - e) h))

is what all symbols below the edge e have of the frequencies.  Symbols are coded by halves (`cuts`, `experts`), so that
F is asked at each cut alone: `below`.  For errors a symbol has the difference of its two edges, and what lies beyond
the first and the last symbol is theirs.

All is binary32, one rounding an operation in the order of `reference/logistics.py`, the definition; powers of two are
an exponent and a polynomial, so that sixteen edges are made at once and nothing is looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from llvmlite import ir

from pixcodec.exact import products
from pixcodec.exact.compiled import specialise
from pixcodec.exact.emit import F32, FLOATS, I1, I16, I32, INTP, INTS, LANES, Value, emitted
from pixcodec.exact.frequencies import SHORTS, TOTAL
from pixcodec.exact.rounding import ROUND
from pixcodec.exact.tables import LOGIT_UNIT, SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPONENTS = 3
WEIGHTS, MEANS, SCALES = (range(k * COMPONENTS, (k + 1) * COMPONENTS) for k in range(3))
OUTPUTS = 3 * COMPONENTS
MIXTURE = LANES  # numbers of a pixel's mixture, of which OUTPUTS count
MEAN_UNIT = 256  # means count 1/256 of a level
OCTAVES = 7  # scales are so many octaves from one level at most
FAR = 28  # bits of distance: what is farther counts as at this distance
ERROR = 1024  # of the logit of a component that has all weight and did not come
LARGEST_ERROR = products.ERROR - 1  # others may be larger, and are cut to what is carried back
# 2^f for -1/2 <= f <= 1/2, within 2^-18: least squares of the relative error, from f^4 on, rounded
POWER = tuple(map(float.fromhex, ("0x1.3a95f4p-7", "0x1.ca123ap-5", "0x1.ec017ap-3", "0x1.62e0e2p-1", "1")))
LN2 = np.float32(0.69314718)
ONE_COUNT = np.float32(1 / TOTAL)


def _mask(value: Value, places: Sequence[int]) -> Value:
    return Value(value.builder, ir.Constant(ir.VectorType(I1, LANES), [I1(k in places) for k in range(LANES)]))


def _spread(value: Value, *places: int) -> Value:
    """Elements of a vector at these places, and the last of them behind."""
    return value.shuffled(value, [*places, *[places[-1]] * (LANES - len(places))])


def _power(y: Value) -> Value:
    """2^y of numbers between -125 and 126."""
    shifted = y + float(ROUND)  # the last bits are those of rint(y)
    fraction = y - (shifted - float(ROUND))
    result = y.of(POWER[0])
    for coefficient in POWER[1:]:
        result = result * fraction + coefficient
    return (result.bits(INTS) + (shifted.bits(INTS) << 23)).bits(FLOATS)


def _sum(parts: Value) -> Value:
    """Of three components, everywhere."""
    return (_spread(parts, 0) + _spread(parts, 1)) + _spread(parts, 2)


def _distance(edge: Value, mean: Value, sharpness: Value) -> Value:
    """From the edge below a residual up to a mean, in bits."""
    return (mean - (edge.to(F32) - 0.5)) * sharpness


def _bounded(distance: Value) -> Value:
    return distance.least(FAR).most(-FAR)


def _emit_mixture(outputs: Value, out: Value) -> None:
    """Weights, means and h of a pixel, and others behind them; outputs behind the ninth are read, too."""
    v = outputs.load(SHORTS).to(I32)
    top = _spread(v, 0).most(_spread(v, 1)).most(_spread(v, 2))
    below = (v - top).most(-FAR * LOGIT_UNIT)
    octaves = (v * -1).most(-OCTAVES * LOGIT_UNIT).least(OCTAVES * LOGIT_UNIT)
    powers = _power(below.where(_mask(v, WEIGHTS), octaves).to(F32) * (1 / LOGIT_UNIT))
    weights, means = powers * (powers.of(TOTAL) / _sum(powers)), v.to(F32) * (1 / MEAN_UNIT)
    out.store(weights.where(_mask(v, WEIGHTS), means.where(_mask(v, MEANS), powers)))


def _make_mixtures(outputs, _centres, _classes, _symbols, mixtures):  # type: ignore[no-untyped-def]
    """Fill `mixtures`, float32[n, MIXTURE], from outputs int16[n, OUTPUTS]; the others are for `frequencies` alone."""
    padded = np.zeros(LANES, np.int16)
    whole = outputs.strides[1] == 2 and outputs.strides[0] >= 2 * LANES  # so many are read
    for i in range(outputs.shape[0]):
        source = outputs.ctypes.data + i * outputs.strides[0]
        if not whole:
            for k in range(OUTPUTS):
                padded[k] = outputs[i, k]
            source = padded.ctypes.data
        make(source, mixtures.ctypes.data + i * mixtures.strides[0])  # type: ignore[name-defined] # noqa: F821


make_mixtures = specialise(_make_mixtures, "mixtures", make=emitted([INTP] * 2, _emit_mixture))


def below(mixtures: Value, stride: Value, edges: Value) -> Value:
    """F at the edges below sixteen pixels' residuals, rounded down, whatever is possible.

    Args:
        mixtures: the address of their weights, means and h: nine vectors of binary32.
        stride: bytes from one vector to the next.
        edges: int32.
    """
    return _share([(mixtures + stride * k).load(FLOATS) for k in range(OUTPUTS)], edges)


def row_below(mixture: Value, first: Value, step: Value) -> Value:
    """The same of a pixel, by the address of its mixture, at sixteen edges: one, and each a step further."""
    row = mixture.load(FLOATS)
    places = Value(row.builder, ir.Constant(INTS, [I32(k) for k in range(LANES)]))
    edges = places * step.to(I32).splat(INTS) + first.to(I32).splat(INTS)
    return _share([_spread(row, k) for k in range(OUTPUTS)], edges)


def _share(mixtures: Sequence[Value], edges: Value) -> Value:
    """F, rounded down, by weights, means and h, three of each."""
    a, b, c = (mixtures[k] for k in WEIGHTS)
    components = zip((mixtures[k] for k in MEANS), (mixtures[k] for k in SCALES), strict=True)
    x, y, z = (_power(_bounded(_distance(edges, mean, h))) + 1 for mean, h in components)
    share = ((a * (y * z) + b * (x * z)) + c * (x * y)) / (x * (y * z))
    return share.to(I32).least(TOTAL)


def _emit_errors(mixture: Value, residual: Value, centre: Value, out: Value) -> None:
    """Errors of a pixel's outputs, zeros behind, where a residual around a centre came."""
    row = mixture.load(FLOATS)
    weights, means, sharpness = (_spread(row, *part, *part) for part in (WEIGHTS, MEANS, SCALES))
    lower, upper = _mask(row, WEIGHTS), MEANS
    edge = residual.to(I32).splat(INTS).where(lower, (residual + 1).to(I32).splat(INTS))
    smallest = (centre * -1).to(I32).splat(INTS)
    y = _bounded(_distance(edge, means, sharpness))
    y = y.where(edge > smallest, FAR).where(edge < smallest + SYMBOLS, -FAR)
    power = _power(y)
    below = y.of(1) / (power + 1)
    above = power * below
    slope = (y * -1) * (below * above)
    own = (_spread(below, *upper) - below).where(y > 0, above - _spread(above, *upper))
    whole = _sum(weights * own)
    weight = weights * (y.of(ERROR) / (whole + 1))
    errors = (
        (weight * (whole * float(ONE_COUNT) - own), WEIGHTS),
        (((weight * own) * sharpness) * (above - _spread(below, *upper)), MEANS),
        ((weight * float(LN2)) * (_spread(slope, *upper) - slope), SCALES),
    )
    result = y.of(0)
    for error, places in errors:
        moved = error.shuffled(error, [k - places[0] if k in places else 0 for k in range(LANES)])
        result = moved.where(_mask(moved, places), result)
    out.store(result.least(LARGEST_ERROR).most(-LARGEST_ERROR).rounded().to(I16))


def _errors(_outputs, mixtures, centres, symbols, _classes, errors):  # type: ignore[no-untyped-def]
    """errors[n, outputs]: derivatives of the code length by the outputs, see `reference/logistics.py`."""
    for i in range(symbols.size):
        q = np.int64(centres[i])
        row_errors(  # type: ignore[name-defined] # noqa: F821
            mixtures.ctypes.data + i * mixtures.strides[0], np.int64(symbols[i]) - q, q,
            errors.ctypes.data + i * errors.strides[0],
        )  # fmt: skip


logistic_errors = specialise(_errors, "logistic_errors", row_errors=emitted([INTP] * 4, _emit_errors))
