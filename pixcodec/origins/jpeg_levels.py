"""Compiled search for the levels of blocks: floats say where to look, what is rendered says what is right.

Bounds of samples are int16 pairs, 0 and 255 standing for all that clamps to them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pixcodec.exact.compiled import compiled, specialise
from pixcodec.origins.jpeg_decoder import inverse
from pixcodec.origins.jpeg_kernels import UNKNOWN, rounding, weights

FAR = 1000.0  # beyond all samples
NEVER = 1e-3  # of a step's square: the variance of coefficients that are taken for 0
DEPTH = 12  # levels that are changed at once
DOUBTFUL, DEAREST = 40, 8.0  # levels that a beam changes, and what each may cost
HIDDEN = 32  # width of the bounds of a sample that tells nothing
NARROW, FEW = 32, 1 / 8  # wider beams are for blocks of which so few samples or pixels are hidden
MASKS = 32  # places for what was looked at, to each set that is kept
COST = 0.05  # how much what levels cost counts
# How far samples should be from their bounds, and may be: half a step for their rounding, the rest for the transform's.
TIGHT, SLACK = 0.35, 0.62
COARSE_TIGHT, COARSE_SLACK = 0.5, 1.1  # the same of pixels, whose samples were rounded before they were upsampled
_compiled = compiled()
_fast = compiled(fastmath=True)


@_compiled
def _misses(levels, table, where, work, out):  # type: ignore[no-untyped-def]
    """How many samples of a block [64] decode beyond their bounds, `where` is [64] twice; the samples are in `out`."""
    inverse(levels, table, work, out)
    low, high = where
    count = 0
    for n in range(64):
        count += not low[n] <= out[n] <= high[n]
    return count


@_fast
def _weighted(samples, y, x, down, across):  # type: ignore[no-untyped-def]
    """What the triangle filter sums for a pixel of a block of coarse samples [64], and the sum of its weights."""
    y0, y1, v0, v1 = weights(y, down, 8)
    x0, x1, u0, u1 = weights(x, across, 8)
    total = v0 * (u0 * samples[8 * y0 + x0] + u1 * samples[8 * y0 + x1])
    total += v1 * (u0 * samples[8 * y1 + x0] + u1 * samples[8 * y1 + x1])
    return total, (v0 + v1) * (u0 + u1)


@_compiled
def _coarse_misses(levels, table, where, work, out):  # type: ignore[no-untyped-def]
    """How many known pixels that depend on a block of coarse chroma alone it does not give.

    `where` is the chroma of pixels int16[H, W], UNKNOWN where it is not known, rows and columns of pixels to a sample,
    and the block's row and column.
    """
    inverse(levels, table, work, out)
    known, down, across, row, column = where
    count = 0
    for y in range(down // 2, 8 * down - down // 2):
        for x in range(across // 2, 8 * across - across // 2):
            own = _known(known, 8 * down * row + y, 8 * across * column + x)
            total, _ = _weighted(out, y, x, down, across)
            bias, shift = rounding(y, x, down, across)
            count += own != UNKNOWN and total + bias >> shift != own
    return count


@_compiled
def _known(known, y, x):  # type: ignore[no-untyped-def]
    """A pixel's chroma, UNKNOWN beyond the picture."""
    return known[y, x] if y < known.shape[0] and x < known.shape[1] else UNKNOWN


@_fast
def _beyond(error, basis, scale, room):  # type: ignore[no-untyped-def]
    """Squares of what the errors [P] less a coefficient's samples are beyond their room, in sum."""
    total = np.float32(0)
    for n in range(len(error)):
        beyond = max(abs(error[n] - scale * basis[n]) - room[n], np.float32(0))
        total += beyond * beyond
    return total


@_fast
def _product(matrix, vector, out):  # type: ignore[no-untyped-def]
    """Out [64] = vector @ matrix, row by row."""
    out[:] = 0
    for n in range(64):
        scale = vector[n]
        for m in range(64):
            out[m] += scale * matrix[n, m]


@_compiled
def _copy(source, target):  # type: ignore[no-untyped-def]
    """What `target[:] = source` does; numba's way of it needs what only numba has."""
    for n in range(len(source)):
        target[n] = source[n]


@_compiled
def _doubts(table, rest):  # type: ignore[no-untyped-def]
    """Levels in the order of what the second nearest costs instead, these costs, and what it adds to the coefficients.

    A cost is what is added to the squared distance from the coefficients; `rest` [64] is how far they are now.
    """
    costs, order, added = np.empty(64, np.float32), np.empty(64, np.int64), np.empty(64, np.float32)
    for n in range(64):
        cost, at = np.float32(table[n] * (table[n] - 2 * abs(rest[n]))), n
        while at and costs[at - 1] > cost:
            costs[at], order[at] = costs[at - 1], order[at - 1]
            at -= 1
        costs[at], order[at] = cost, n
    for n in range(64):
        added[n] = table[order[n]] if rest[order[n]] >= 0 else -table[order[n]]
    return order, costs, added


@_compiled
def _change(levels, order, rest, mask):  # type: ignore[no-untyped-def]
    """Take the second nearest of the levels whose places in `order` are bits of a mask."""
    for j in range(DOUBTFUL):
        if (mask >> j) & 1:
            levels[order[j]] += 1 if rest[order[j]] >= 0 else -1


@_compiled
def _seen(table, mask):  # type: ignore[no-untyped-def]
    """Whether a mask, not 0, is in a table of a power of two of them, int64[], 0 where there is none; it is then."""
    place = (mask ^ (mask >> 20)) * 0x9E3779B1 >> 12 & (len(table) - 1)
    while table[place] and table[place] != mask:
        place = (place + 1) & (len(table) - 1)
    before = table[place] == mask
    table[place] = mask
    return before


@_compiled
def _sink(heap, size, scores):  # type: ignore[no-untyped-def]
    """Put the first of a heap's `size` places, the one with the highest score, where its score belongs."""
    at, place = 0, heap[0]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and scores[heap[child + 1]] > scores[heap[child]]:
            child += 1
        if scores[heap[child]] <= scores[place]:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = place


@_compiled
def _rise(heap, at, scores):  # type: ignore[no-untyped-def]
    """The same for the last one."""
    place = heap[at]
    while at and scores[heap[(at - 1) // 2]] < scores[place]:
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = place


def _beam(levels, table, basis, where, rest, error, room, tight, slack, width, work, out):  # type: ignore[no-untyped-def]
    """Take the second nearest of some of a block's levels until nothing is missed: a beam search.

    One level more is changed at each depth, in each of the sets that are kept; the next ones are those after which the
    samples are least beyond what is `tight`, and whose levels cost little.

    Args:
        levels: int16[64], the nearest ones; the result, or what misses least of what was looked at closely.
        table: of steps.
        basis: float32[64, P], the samples, or pixels, of each coefficient.
        where: of `misses`.
        rest: how far each coefficient is from its level.
        error: float32[P], how far each sample is from what the levels give.
        room: float32[P], how far it may be by its bounds.
        tight: how much farther it should be at most.
        slack: how much farther it may be.
        width: sets that are kept at each depth.
        work: int64[64].
        out: int64[64].
    """
    order, costs, scales = _doubts(table, rest)
    doubtful = 0
    while doubtful < DOUBTFUL and costs[doubtful] < DEAREST:
        doubtful += 1
    near, far = room + np.float32(tight), room + np.float32(slack)
    errors = np.empty((2, width, len(error)), np.float32)
    masks, spent = np.zeros((2, width), np.int64), np.zeros((2, width))
    scores, parents, added = np.empty(width), np.empty(width, np.int64), np.empty(width, np.int64)
    heap, known = np.empty(width, np.int64), np.empty(MASKS * width, np.int64)
    _copy(error, errors[0, 0])
    nearest, best, at, count = _beyond(error, error, np.float32(0), far), 0, 0, 1
    tried = levels.copy()
    for _ in range(min(DEPTH, doubtful)):
        kept, room_left = 0, MASKS * width // 2
        following, after = masks[1 - at], errors[1 - at]
        known[:] = 0
        for k in range(count):
            for j in range(doubtful):
                mask = masks[at, k] | (1 << j)
                if mask == masks[at, k]:
                    continue
                cost = spent[at, k] + costs[j]
                score = _beyond(errors[at, k], basis[order[j]], scales[j], near) + COST * cost
                if (kept == width and score >= scores[heap[0]]) or not room_left or _seen(known, mask):
                    continue
                room_left -= 1
                place = kept if kept < width else heap[0]
                scores[place], parents[place], added[place], following[place] = score, k, j, mask
                if kept < width:
                    heap[kept] = kept
                    _rise(heap, kept, scores)
                    kept += 1
                else:
                    _sink(heap, width, scores)
        for i in range(kept):
            k, j = parents[i], added[i]
            _copy(errors[at, k] - scales[j] * basis[order[j]], after[i])
            spent[1 - at, i] = spent[at, k] + costs[j]
            beyond = _beyond(after[i], after[i], np.float32(0), far)
            if beyond < nearest:
                nearest, best = beyond, following[i]
            if beyond == 0:
                _copy(levels, tried)
                _change(tried, order, rest, following[i])
                if misses(tried, table, where, work, out) == 0:  # type: ignore[name-defined] # noqa: F821
                    _copy(tried, levels)
                    return True
        at, count = 1 - at, kept
    _copy(levels, tried)
    _change(tried, order, rest, best)
    missed = misses(tried, table, where, work, out)  # type: ignore[name-defined] # noqa: F821
    if missed < misses(levels, table, where, work, out):  # type: ignore[name-defined] # noqa: F821
        _copy(tried, levels)
    return False


_fine_beam: Any = specialise(_beam, "fine_beam", misses=_misses)
_coarse_beam: Any = specialise(_beam, "coarse_beam", misses=_coarse_misses)


@_fast
def _upsampled(basis, down, across):  # type: ignore[no-untyped-def]
    """The pixels of each coefficient that depend on its block alone, float32[64, P], by the basis float32[64, 64]."""
    rows, columns = 8 * down - 2 * (down // 2), 8 * across - 2 * (across // 2)
    pixels = np.empty((64, rows * columns), np.float32)
    for n in range(64):
        for y in range(rows):
            for x in range(columns):
                total, weight = _weighted(basis[n], y + down // 2, x + across // 2, down, across)
                pixels[n, columns * y + x] = total / weight
    return pixels


@_compiled
def solve_coarse(known, down, across, coefficients, table, basis, width, levels, good):  # type: ignore[no-untyped-def]
    """Levels of blocks of coarse chroma that are not good, judged by the pixels that depend on them alone.

    Args:
        known: int16[H, W], the chroma of pixels.
        down: rows of pixels to a row of samples.
        across: columns likewise.
        coefficients: float32[By, Bx, 64], nearly.
        table: int64[64] of steps.
        basis: float32[64, 64], the samples of each coefficient.
        width: of the beam of doubtful levels.
        levels: int16[By, Bx, 64], the result.
        good: uint8[By, Bx].
    """
    work, out = np.empty(64, np.int64), np.empty(64, np.int64)
    pixels = _upsampled(basis, down, across)
    columns = 8 * across - 2 * (across // 2)
    rest, own = np.empty(64, np.float32), np.empty(64, np.int16)
    error, room = np.empty(pixels.shape[1], np.float32), np.empty(pixels.shape[1], np.float32)
    for row in range(levels.shape[0]):
        for column in range(levels.shape[1]):
            if good[row, column]:
                continue
            hidden = 0
            for p in range(len(error)):
                y, x = 8 * down * row + p // columns + down // 2, 8 * across * column + p % columns + across // 2
                value = _known(known, y, x)
                hidden += value == UNKNOWN
                error[p], room[p] = np.float32(value) - 128, np.float32(FAR if value == UNKNOWN else 0)
            for n in range(64):
                own[n] = np.int16(min(max(np.rint(coefficients[row, column, n] / table[n]), -2048), 2047))
                rest[n] = coefficients[row, column, n] - own[n] * table[n]
                scale = np.float32(own[n] * table[n])
                for p in range(len(error)):
                    error[p] -= scale * pixels[n, p]
            where = known, down, across, row, column
            best = _coarse_misses(levels[row, column], table, where, work, out)
            found = _coarse_misses(own, table, where, work, out) == 0
            if not found and hidden <= (FEW if width > NARROW else 4 * FEW) * len(error):
                found = _coarse_beam(
                    own, table, pixels, where, rest, error, room, COARSE_TIGHT, COARSE_SLACK, width, work, out
                )
            good[row, column] = found
            if found or _coarse_misses(own, table, where, work, out) < best:
                _copy(own, levels[row, column])


@_compiled
def solve(low, high, fill, table, basis, transposed, rounds, width, levels, good):  # type: ignore[no-untyped-def]
    """Levels int16[N, 64] of blocks whose samples have bounds int16[N, 64]; those that are `good` are left.

    Args:
        low: of samples.
        high: of samples.
        fill: float32[N, 64], where to start between them.
        table: int64[64] of steps.
        basis: float32[64, 64], the samples of each coefficient.
        transposed: the coefficients of each sample.
        rounds: of projection, at most: samples into their bounds, coefficients to multiples of their steps.
        width: of the beam of doubtful levels.
        levels: the result.
        good: uint8[N], whether they fit.
    """
    work, out = np.empty(64, np.int64), np.empty(64, np.int64)
    target, wanted, model, scaled = (
        np.empty(64, np.float32),
        np.empty(64, np.float32),
        np.empty(64, np.float32),
        np.empty(64, np.float32),
    )
    least, most = np.empty(64, np.float32), np.empty(64, np.float32)
    middle, room, rest = np.empty(64, np.float32), np.empty(64, np.float32), np.empty(64, np.float32)
    before = np.empty(64, np.int64)
    for block in range(len(levels)):
        if good[block]:
            continue
        own = levels[block]
        for n in range(64):
            least[n] = np.float32(low[block, n] if low[block, n] > 0 else -FAR)
            most[n] = np.float32(high[block, n] if high[block, n] < 255 else FAR)
            middle[n], room[n] = (least[n] + most[n]) / 2 - 128, (most[n] - least[n]) / 2
            target[n] = min(max(fill[block, n], least[n]), most[n]) - 128
        for _ in range(rounds):
            _product(transposed, target, wanted)
            same = True
            for n in range(64):
                level = min(max(np.rint(wanted[n] / table[n]), -2048), 2047)
                same &= level == before[n]
                before[n] = np.int64(level)
                own[n] = np.int16(level)
                scaled[n] = np.float32(level * table[n])
                rest[n] = wanted[n] - scaled[n]
            if _misses(own, table, (low[block], high[block]), work, out) == 0:
                good[block] = 1
                break
            _product(basis, scaled, model)
            if same:
                break
            for n in range(64):
                target[n] = min(max(model[n], least[n] - 128), most[n] - 128)
        before[:] = 99999
        hidden = 0
        for n in range(64):
            hidden += most[n] - least[n] > HIDDEN
            middle[n] -= model[n]
        if not good[block] and (hidden <= FEW * 64 or width <= NARROW):
            where = low[block], high[block]
            good[block] = _fine_beam(own, table, basis, where, rest, middle, room, TIGHT, SLACK, width, work, out)


@_compiled
def _inverted(matrix, size):  # type: ignore[no-untyped-def]
    """The inverse of a positive definite matrix, the first rows and columns of [64, 64], in place."""
    for k in range(size):
        pivot = 1 / matrix[k, k]
        for n in range(size):
            matrix[k, n] *= pivot
        matrix[k, k] = pivot
        for m in range(size):
            if m != k:
                factor = matrix[m, k]
                matrix[m, k] = 0.0
                for n in range(size):
                    matrix[m, n] -= factor * matrix[k, n]


@_compiled
def _most_likely(seen, samples, noise, variances, table, basis, levels):  # type: ignore[no-untyped-def]
    """Levels [64] of a block of which some samples are seen, by a Gaussian prior of its coefficients.

    The surest coefficient is rounded first, and what that says of the others is taken into account before the next:
    Babai's nearest plane in the order of the decision feedback of V-BLAST. Those that are hardly ever anything but 0
    are 0.
    """
    levels[:] = 0
    used, size = np.empty(64, np.int64), 0
    for n in range(64):
        if variances[n] > NEVER * table[n] * table[n]:
            used[size] = n
            size += 1
    matrix, wanted = np.zeros((64, 64)), np.zeros(64)
    row = np.empty(64)
    for j in range(64):
        if seen[j]:
            for n in range(size):
                row[n] = basis[used[n], j]
            for m in range(size):
                scale = row[m] / noise
                wanted[m] += scale * samples[j]
                for n in range(size):
                    matrix[m, n] += scale * row[n]
    for n in range(size):
        matrix[n, n] += 1 / variances[used[n]]
    _inverted(matrix, size)
    mean, open_ = np.zeros(64), np.ones(64)
    for m in range(size):
        for n in range(size):
            mean[m] += matrix[m, n] * wanted[n]
    for _ in range(size):
        best, at = np.inf, 0
        for n in range(size):
            spread = matrix[n, n] / (table[used[n]] * table[used[n]])
            if open_[n] and spread < best:
                best, at = spread, n
        open_[at] = 0
        step = table[used[at]]
        level = min(max(np.rint(mean[at] / step), -2048), 2047)
        levels[used[at]] = np.int16(level)
        if matrix[at, at] < 1e-9:
            continue
        move = (level * step - mean[at]) / matrix[at, at]
        for n in range(size):
            row[n] = open_[n] * matrix[at, n]
            mean[n] += move * row[n]
        pivot = matrix[at, at]
        for m in range(size):
            factor = row[m] / pivot
            if factor:
                for n in range(size):
                    matrix[m, n] -= factor * row[n]


@_compiled
def complete(low, high, noise, variances, scales, table, basis, levels, good):  # type: ignore[no-untyped-def]
    """Levels int16[N, 64] of blocks that are not good and of which some samples are not known, as far as they fit.

    Args:
        low: int16[N, 64], of samples.
        high: likewise; those whose bounds are one value are known.
        noise: variance of known samples.
        variances: float64[64] of coefficients.
        scales: by which these are multiplied, one after the other, until the result fits.
        table: int64[64] of steps.
        basis: see `solve`.
        levels: the result; of those that do not fit, what misses fewest samples.
        good: uint8[N].
    """
    work, out = np.empty(64, np.int64), np.empty(64, np.int64)
    own, seen, samples = np.empty(64, np.int16), np.empty(64, np.bool_), np.empty(64)
    for block in range(len(levels)):
        if good[block]:
            continue
        count = 0
        for n in range(64):
            seen[n] = low[block, n] == high[block, n] and 0 < low[block, n] < 255
            samples[n] = np.float64(low[block, n]) - 128
            count += seen[n]
        if count in (0, 64):
            continue
        fewest = _misses(levels[block], table, (low[block], high[block]), work, out)
        for scale in scales:
            _most_likely(seen, samples, noise, variances * scale, table, basis, own)
            missed = _misses(own, table, (low[block], high[block]), work, out)
            if missed < fewest:
                fewest = missed
                _copy(own, levels[block])
            if missed == 0:
                good[block] = 1
                break
