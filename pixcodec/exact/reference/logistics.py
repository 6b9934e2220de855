"""Three logistic distributions to frequencies, and their errors (the definition): binary32, one rounding an operation.

The nine outputs o of a pixel are the logits of three weights, three means and the logarithms of three scales.

    power(y) = p(y - n) 2^n,  n = rint(y),  p(f) = (((c0 f + c1) f + c2) f + c3) f + 1
    w_k = power(max(o_k - top, -28 * 256) / 256),  top = max(o_0, o_1, o_2)
    a_k = w_k ((2^24 - 256) / ((w_0 + w_1) + w_2)),  m_k = o_3+k / 256
    h_k = power(clamp(-o_6+k, -7 * 256, 7 * 256) / 256)

The distance from an edge e, a residual, up to the mean of a component is y_k = clamp((m_k - (e - 0.5)) h_k, -28, 28),
d_k = power(y_k) + 1, and below the edge lie

    min(2^24 - 256, floor((a_0 (d_1 d_2) + a_1 (d_0 d_2) + a_2 (d_0 d_1)) / (d_0 (d_1 d_2))))

of 2^24.  The interval of all symbols, 2^24, is cut in two at 128, each half at its middle and so on, eight times: where
the mixture has what lies below the cut, but so that each half keeps 1 for every symbol in it.

Errors are of the symbol that came, with l and u the edges below it and above: b = 1 / d and c = power(y) b, where y is
28 below the symbol 0 and -28 above 255; and with g = -y (b c), D_k = b_u - b_l if
y_l > 0, else c_l - c_u, and x_k = a_k D_k,

    t_k = a_k (1024 / (X + 1)),  X = (x_0 + x_1) + x_2
    of a weight's logit:  t_k (X (1 / (2^24 - 256)) - D_k)
    of a mean:            ((t_k D_k) h_k) (c_l - b_u)
    of a scale's:         (t_k ln 2) (g_u - g_l)

each clamped to -4095..4095 and rounded half to even: derivatives of the code length in nats, times 1024, by an output
in nats; by a mean as if 1/256 of a level were 1/256 of a bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pixcodec.exact.logistics import FAR, LARGEST_ERROR, LN2, ONE_COUNT, POWER

if TYPE_CHECKING:
    from collections.abc import Sequence

    Number = TypeVar("Number", np.float32, np.ndarray)

SYMBOLS, TOTAL = 256, (1 << 24) - 256
F = np.float32
ONE = F(1)


def power(y: Number) -> Number:
    """2^y."""
    whole = np.rint(y)
    f, result = y - whole, F(POWER[0])
    for coefficient in POWER[1:]:
        result = result * f + F(coefficient)
    return np.ldexp(result, whole.astype(np.int32))


class Components:
    """Weights a, means m and h, three of each."""

    def __init__(self, outputs: Sequence[int]) -> None:
        logits, means, scales = (outputs[k : k + 3] for k in (0, 3, 6))
        top = max(logits)
        w = [power(F(max(logit - top, -FAR * 256)) * F(1 / 256)) for logit in logits]
        whole = F(TOTAL) / ((w[0] + w[1]) + w[2])
        self.a = [each * whole for each in w]
        self.m = [F(mean) * F(1 / 256) for mean in means]
        self.h = [power(F(min(max(-scale, -7 * 256), 7 * 256)) * F(1 / 256)) for scale in scales]

    def distance(self, k: int, edge: Number) -> Number:
        """From an edge up to a component's mean."""
        return np.clip((self.m[k] - (edge - F(0.5))) * self.h[k], F(-FAR), F(FAR))

    def share(self, edge: Number) -> Number:
        """What lies below an edge."""
        a, (d, e, f) = self.a, (power(self.distance(k, edge)) + ONE for k in range(3))
        return ((a[0] * (e * f) + a[1] * (d * f)) + a[2] * (d * e)) / (d * (e * f))


def sums(outputs: Sequence[int], q: int) -> np.ndarray:
    """int64[257]: what lies below the values 0 to 256, rounded down; no cut asks for the first and the last."""
    edges = np.arange(SYMBOLS + 1, dtype=np.float32) - F(q)
    return np.minimum(Components(outputs).share(edges).astype(np.int64), TOTAL)


def counts(outputs: Sequence[int], q: int) -> np.ndarray:
    """int64[256] of sum 2^24 - 256: the frequencies of all symbols less 1, from a pixel's outputs and the centre."""
    below, result = sums(outputs, q).tolist(), np.empty(SYMBOLS, np.int64)

    def halve(low: int, size: int, lower: int, upper: int) -> None:
        if size == 1:
            result[low] = upper - lower - 1
            return
        half = size // 2
        middle = min(max(below[low + half], lower + half), upper - half)
        halve(low, half, lower, middle)
        halve(low + half, half, middle, upper)

    halve(0, SYMBOLS, 0, TOTAL + SYMBOLS)
    return result


def errors(outputs: Sequence[int], symbol: int, q: int) -> np.ndarray:
    """int64[9] where a symbol came."""
    components = Components(outputs)
    a, h = components.a, components.h
    sides = []
    for value in (symbol, symbol + 1):
        beyond = {0: F(FAR), SYMBOLS: F(-FAR)}.get(value)
        y = [components.distance(k, F(value - q)) if beyond is None else beyond for k in range(3)]
        b = [ONE / (power(each) + ONE) for each in y]
        c = [power(each) * below for each, below in zip(y, b, strict=True)]
        sides.append((y, b, c, [-y[k] * (b[k] * c[k]) for k in range(3)]))
    (y_l, b_l, c_l, g_l), (_, b_u, c_u, g_u) = sides
    own = [b_u[k] - b_l[k] if y_l[k] > 0 else c_l[k] - c_u[k] for k in range(3)]
    x = [weight * part for weight, part in zip(a, own, strict=True)]
    whole = (x[0] + x[1]) + x[2]
    t = [weight * (F(1024) / (whole + ONE)) for weight in a]
    found = [t[k] * (whole * ONE_COUNT - own[k]) for k in range(3)]
    found += [((t[k] * own[k]) * h[k]) * (c_l[k] - b_u[k]) for k in range(3)]
    found += [(t[k] * LN2) * (g_u[k] - g_l[k]) for k in range(3)]
    return np.rint(np.clip(found, F(-LARGEST_ERROR), F(LARGEST_ERROR))).astype(np.int64)
