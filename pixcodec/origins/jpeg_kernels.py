"""Compiled loops over planes: what pixels say of luma and chroma, how likely steps are, chroma before its upsampling.

Planes of luma and chroma are int16, UNKNOWN where pixels do not say them. Floats only say where to look.
"""

from __future__ import annotations

import numpy as np

from pixcodec.exact.compiled import compiled

UNKNOWN = -1
NOISE = 5.0  # deviations: a coefficient below so many may be 0 and noise, and says nothing of its step
CAP = 8.0  # nats that one coefficient can speak against a step
_compiled = compiled()
_inlined = compiled(inline="always")
_fast = compiled(fastmath=True)


@_compiled
def invert(planes, red, blue, green_cb, green_cr, out):  # type: ignore[no-untyped-def]
    """Y, Cb, Cr of uint8[H, W, 3] to int16[3, H, W], UNKNOWN where a channel is clipped; how many pixels have none.

    `red` and `blue` are the inverse tables, [512], of the differences R - Y and B - Y plus 256.
    """
    missing = 0
    for row in range(planes.shape[0]):
        for column in range(planes.shape[1]):
            r, g, b = (
                np.int64(planes[row, column, 0]),
                np.int64(planes[row, column, 1]),
                np.int64(planes[row, column, 2]),
            )
            out[0, row, column] = out[1, row, column] = out[2, row, column] = UNKNOWN
            if min(r, g, b) == 0 or max(r, g, b) == 255:
                continue
            guess = (19595 * r + 38470 * g + 7471 * b + 32768) >> 16
            found = False
            for n in range(5):
                y = guess + ((n + 1) // 2 if n % 2 else -(n // 2))
                cr, cb = red[r - y + 256], blue[b - y + 256]
                if 0 <= y <= 255 and min(cr, cb) != UNKNOWN and y + (green_cb[cb] + green_cr[cr] >> 16) == g:
                    out[0, row, column], out[1, row, column], out[2, row, column] = y, cb, cr
                    found = True
                    break
            missing += not found
    return missing


@_fast
def likelihoods(values, most, deviations, out):  # type: ignore[no-untyped-def]
    """Log-likelihood, float32[M, most + 1], of each step 1..most for rows [M, N] of coefficients.

    Of those that speak, as they are too far from 0 to be noise of the `deviations` [M]: log(step) - half the square of
    the distance to the nearest multiple, in deviations.
    """
    rows, count = values.shape
    weights = np.empty(count, np.float32)
    cap = np.float32(CAP)
    for m in range(rows):
        sharp, least = np.float32(0.5) / deviations[m] ** 2, np.float32(NOISE) * deviations[m]
        total = np.float32(0)
        for n in range(count):
            weights[n] = np.float32(1) if abs(values[m, n]) > least else np.float32(0)
            total += weights[n]
        for step in range(1, most + 1):
            size, one_over = np.float32(step), np.float32(1 / step)
            against = np.float32(0)
            for n in range(count):
                far = values[m, n] - size * np.floor(values[m, n] * one_over + np.float32(0.5))
                against += weights[n] * min(far * far * sharp, cap)
            out[m, step] = total * np.float32(np.log(step)) - against


@_fast
def evidence(values, most, deviations, out):  # type: ignore[no-untyped-def]
    """Log-likelihood in nats, float32[M, most + 1], of each step 1..most for rows [M, N] of coefficients.

    Levels are two-sided geometric, as their own mean size has it; the distance to the level's multiple is noise of the
    `deviations` [M].  Differs from `likelihoods` where most levels are 0: those that are not tell steps of 1 from 2.
    """
    rows, count = values.shape
    cap = np.float32(CAP)
    for m in range(rows):
        sharp = np.float32(0.5) / deviations[m] ** 2
        for step in range(1, most + 1):
            size, one_over = np.float32(step), np.float32(1 / step)
            against, sizes = np.float32(0), np.float32(0)
            for n in range(count):
                level = np.floor(values[m, n] * one_over + np.float32(0.5))
                far = values[m, n] - size * level
                against += min(far * far * sharp, cap)
                sizes += abs(level)
            mean = np.float64(sizes) / count
            if mean > 0:
                root = np.sqrt(1 + mean * mean)
                rate = (root - 1) / mean  # of the geometric distribution
                against -= np.float32(count * (np.log((1 - rate) / (1 + rate)) + mean * np.log(rate)))
            out[m, step] = -against


@_compiled
def weights(place, factor, count):  # type: ignore[no-untyped-def]
    """The nearer and the other chroma sample of a place, with their weights."""
    if factor == 1:
        return place, place, 1, 0
    near = place // 2
    other = min(max(near + (1 if place % 2 else -1), 0), count - 1)
    return near, other, 3, 1


@_compiled
def rounding(row, column, down, across):  # type: ignore[no-untyped-def]
    """What is added before the shift, and the shift."""
    if across == 2 and down == 2:
        return (7 if column % 2 else 8), 4
    if across == 2:
        return (2 if column % 2 else 1), 2
    if down == 2:
        return (2 if row % 2 else 1), 2
    return 0, 0


@_compiled
def reach(samples, factor, count):  # type: ignore[no-untyped-def]
    """The part of each sample in four places from factor (sample - 1) + 1 on, 0 beyond `count`: float32[samples, 4]."""
    parts = np.zeros((samples, 4), np.float32)
    for place in range(count):
        near, other, w0, w1 = weights(place, factor, samples)
        parts[near, place - factor * (near - 1) - 1] += np.float32(w0 / (w0 + w1))
        if w1:
            parts[other, place - factor * (other - 1) - 1] += np.float32(w1 / (w0 + w1))
    return parts


@_compiled
def deconvolve(known, down, across, sweeps, relaxed, moving, plane):  # type: ignore[no-untyped-def]
    """Least squares: chroma float32[h, w] whose upsampling is nearest to the known int16[H, W]; `plane` is the start.

    Only samples of blocks that are `moving`, uint8[ceil(h / 8), ceil(w / 8)], do change. The share of known pixels
    that it is at least one from.
    """
    height, width = known.shape
    rows, columns = plane.shape
    tall, wide = reach(rows, down, height), reach(columns, across, width)
    error, squares = np.zeros((height, width), np.float32), np.zeros((rows, columns), np.float32)
    for y in range(height):
        y0, y1, v0, v1 = weights(y, down, rows)
        for x in range(width):
            if known[y, x] == UNKNOWN:
                continue
            x0, x1, u0, u1 = weights(x, across, columns)
            bias, shift = rounding(y, x, down, across)
            parts = np.float32(1 << shift)
            total = (
                v0 * u0 * plane[y0, x0] + v0 * u1 * plane[y0, x1] + v1 * u0 * plane[y1, x0] + v1 * u1 * plane[y1, x1]
            )
            error[y, x] = known[y, x] - (bias - (parts - 1) / 2) / parts - total / parts
    for sweep in range(sweeps):
        for row in range(rows):
            above = down * (row - 1) + 1
            for column in range(columns):
                if not moving[row // 8, column // 8]:
                    continue
                left = across * (column - 1) + 1
                total = np.float32(0)
                for n in range(4):
                    for m in range(4):
                        part = tall[row, n] * wide[column, m]
                        if part and known[above + n, left + m] != UNKNOWN:
                            total += part * error[above + n, left + m]
                            if sweep == 0:
                                squares[row, column] += part * part
                if squares[row, column] == 0:
                    continue
                change = np.float32(relaxed) * total / squares[row, column]
                plane[row, column] += change
                for n in range(4):
                    for m in range(4):
                        part = tall[row, n] * wide[column, m]
                        if part:
                            error[above + n, left + m] -= part * change
    count, far = 0, 0
    for y in range(height):
        for x in range(width):
            if known[y, x] != UNKNOWN:
                count += 1
                far += abs(error[y, x]) >= 1
    return far / max(count, 1)


@_inlined
def _beyond(total, known, parts):  # type: ignore[no-untyped-def]
    """How far a sum of weighted samples is from those that are shifted to the known value."""
    return max(parts * known - total, 0) + max(total - parts * known - parts + 1, 0)


@_compiled
def _change(sums, known, tall, wide, above, left, parts, by):  # type: ignore[no-untyped-def]
    """What a sample's change does to the sum of `_beyond`."""
    change = 0
    for n in range(4):
        if tall[n]:
            for m in range(4):
                if wide[m] and known[above + n, left + m] != UNKNOWN:
                    total, own = sums[above + n, left + m], np.int64(known[above + n, left + m])
                    change += _beyond(total + by * tall[n] * wide[m], own, parts) - _beyond(total, own, parts)
    return change


@_compiled
def _move(sums, tall, wide, above, left, by):  # type: ignore[no-untyped-def]
    for n in range(4):
        if tall[n]:
            for m in range(4):
                if wide[m]:
                    sums[above + n, left + m] += by * tall[n] * wide[m]


@_compiled
def descend(known, down, across, sweeps, moving, plane):  # type: ignore[no-untyped-def]
    """Coordinate descent: chroma int64[h, w] whose upsampling is the known int16[H, W], as far as may be.

    Single samples and pairs of neighbours in blocks that are `moving` change by one, while the sums that are rounded
    come nearer to what rounds to the known values.
    """
    height, width = known.shape
    rows, columns = plane.shape
    tall = (reach(rows, down, height) * (4 if down == 2 else 1)).astype(np.int64)
    wide = (reach(columns, across, width) * (4 if across == 2 else 1)).astype(np.int64)
    parts = (4 if down == 2 else 1) * (4 if across == 2 else 1)
    sums = np.zeros((height, width), np.int64)
    for y in range(height):
        y0, y1, v0, v1 = weights(y, down, rows)
        for x in range(width):
            x0, x1, u0, u1 = weights(x, across, columns)
            sums[y, x] = rounding(y, x, down, across)[0]
            sums[y, x] += v0 * (u0 * plane[y0, x0] + u1 * plane[y0, x1])
            sums[y, x] += v1 * (u0 * plane[y1, x0] + u1 * plane[y1, x1])
    for _ in range(sweeps):
        changed = 0
        for row in range(rows):
            above = down * (row - 1) + 1
            for column in range(columns):
                if not moving[row // 8, column // 8]:
                    continue
                left = across * (column - 1) + 1
                wrong = False
                for n in range(4):
                    for m in range(4):
                        if tall[row, n] and wide[column, m] and known[above + n, left + m] != UNKNOWN:
                            wrong |= _beyond(sums[above + n, left + m], np.int64(known[above + n, left + m]), parts) > 0
                if not wrong:
                    continue
                best, by, by_other, at_row, at_column = 0, 0, 0, row, column
                for first in (-1, 1):
                    change = _change(sums, known, tall[row], wide[column], above, left, parts, first)
                    if change < best:
                        best, by, by_other = change, first, 0
                    _move(sums, tall[row], wide[column], above, left, first)
                    for near in range(9):
                        r, c = row + near // 3 - 1, column + near % 3 - 1
                        if near == 4 or not (0 <= r < rows and 0 <= c < columns) or not moving[r // 8, c // 8]:
                            continue
                        up, before = down * (r - 1) + 1, across * (c - 1) + 1
                        for second in (-1, 1):
                            more = change + _change(sums, known, tall[r], wide[c], up, before, parts, second)
                            if more < best:
                                best, by, by_other, at_row, at_column = more, first, second, r, c
                    _move(sums, tall[row], wide[column], above, left, -first)
                if best < 0:
                    changed += 1
                    plane[row, column] += by
                    _move(sums, tall[row], wide[column], above, left, by)
                    if by_other:
                        plane[at_row, at_column] += by_other
                        _move(
                            sums,
                            tall[at_row],
                            wide[at_column],
                            down * (at_row - 1) + 1,
                            across * (at_column - 1) + 1,
                            by_other,
                        )
        if not changed:
            return


@_compiled
def luma_bounds(planes, cb, cr, tables, low, high):  # type: ignore[no-untyped-def]
    """The Y, int16[H, W] each, that render to the clipped pixels of uint8[H, W, 3], given chroma; others are left.

    `tables` is int64[4, 256]: of red, of blue, of green's first and second part. Where there is no such Y the nearest
    to all three channels is the only one.
    """
    for row in range(planes.shape[0]):
        for column in range(planes.shape[1]):
            p = planes[row, column]
            if min(p[0], p[1], p[2]) > 0 and max(p[0], p[1], p[2]) < 255:
                continue
            u, v = cb[row, column], cr[row, column]
            least, most = 0, 255
            for k in range(3):
                if k == 0:
                    more = tables[0, v]
                elif k == 1:
                    more = tables[2, u] + tables[3, v] >> 16
                else:
                    more = tables[1, u]
                if p[k] > 0:
                    least = max(least, p[k] - more)
                if p[k] < 255:
                    most = min(most, p[k] - more)
            if least > most:
                least = most = min(max((least + most) // 2, 0), 255)
            low[row, column], high[row, column] = min(max(least, 0), 255), min(max(most, 0), 255)
