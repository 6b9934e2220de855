"""Compiled search for the levels of blocks: floats say where to look, `fits` and `_renders` say what is right.

Bounds of samples are int16 pairs, 0 and 255 standing for all that clamps to them.
"""

from __future__ import annotations

import numpy as np

from pixcodec.exact.compiled import compiled
from pixcodec.origins.jpeg_decoder import inverse
from pixcodec.origins.jpeg_kernels import UNKNOWN, rounding, weights

FAR = 1000.0  # beyond all samples
NEVER = 1e-3  # of a step's square: the variance of coefficients that are taken for 0
DEPTH = 12  # levels that are changed at once
FIRST_LIMIT, LAST_LIMIT = 0.25, 8.0  # of the costs of a subset, in turn
SLACK = 0.62  # of a sample: half for its rounding, the rest for that of the integer transform
_compiled = compiled()
_fast = compiled(fastmath=True)


@_compiled
def fits(levels, table, low, high, work, out):  # type: ignore[no-untyped-def]
    """Whether a block [64] decodes within the bounds [64]; the samples are left in `out`."""
    inverse(levels, table, work, out)
    right = True
    for n in range(64):
        right &= low[n] <= out[n] <= high[n]
    return right


@_fast
def _flipped(error, basis, scale, room, out):  # type: ignore[no-untyped-def]
    """Out [64] = the errors less a coefficient's samples; by how much the worst is beyond its room."""
    worst = np.float32(-FAR)
    for n in range(64):
        out[n] = error[n] - scale * basis[n]
        worst = max(worst, abs(out[n]) - room[n])
    return worst


@_fast
def _product(matrix, vector, out):  # type: ignore[no-untyped-def]
    """Out [64] = vector @ matrix, row by row."""
    out[:] = 0
    for n in range(64):
        scale = vector[n]
        for m in range(64):
            out[m] += scale * matrix[n, m]


@_compiled
def _doubts(table, rest):  # type: ignore[no-untyped-def]
    """Levels in the order of what the second nearest costs instead, and these costs.

    A cost is what is added to the squared distance from the coefficients; `rest` [64] is how far they are now.
    """
    costs = np.empty(64, np.float32)
    for n in range(64):
        costs[n] = table[n] * (table[n] - 2 * abs(rest[n]))
    order = np.argsort(costs)
    return order, costs[order]


@_compiled
def _subsets(levels, table, basis, low, high, rest, error, room, budget, work, out):  # type: ignore[no-untyped-def]
    """Take the second nearest of subsets of a block's levels until it fits, the likeliest subsets first.

    Args:
        levels: int16[64], the nearest ones; the result, if there is one.
        table: of steps.
        basis: see `solve`.
        low: of samples.
        high: of samples.
        rest: how far each coefficient is from its level.
        error: float32[64], how far each sample is from what the levels give.
        room: how far it may be.
        budget: subsets to be tried at most.
        work: int64[64].
        out: int64[64].
    """
    order, costs = _doubts(table, rest)
    errors = np.empty((DEPTH + 1, 64), np.float32)
    errors[0] = error
    chosen = np.zeros(DEPTH + 1, np.int64)
    limit, tried = FIRST_LIMIT, 0
    while tried < budget and limit <= LAST_LIMIT:
        depth, at, total = 0, 0, np.float32(0)
        while True:
            if at < 64 and depth < DEPTH and total + costs[at] <= limit and tried < budget:
                n = order[at]
                step = 1 if rest[n] >= 0 else -1
                levels[n] += step
                tried += 1
                worst = _flipped(errors[depth], basis[n], np.float32(step * table[n]), room, errors[depth + 1])
                if worst <= 0 and fits(levels, table, low, high, work, out):
                    return True
                depth += 1
                chosen[depth] = at
                total += costs[at]
                at += 1
            elif depth:
                at = chosen[depth]
                levels[order[at]] -= 1 if rest[order[at]] >= 0 else -1
                total -= costs[at]
                depth -= 1
                at += 1
            else:
                break
        limit *= 2
    return False


@_compiled
def _renders(known, down, across, row, column, samples):  # type: ignore[no-untyped-def]
    """Whether the known pixels that depend on one block of coarse chroma alone, [64] samples, are what they are."""
    top, left = 8 * down * row, 8 * across * column
    first_y, first_x = (1 if down == 2 else 0), (1 if across == 2 else 0)
    for y in range(first_y, min(8 * down - first_y, known.shape[0] - top)):
        y0, y1, v0, v1 = weights(y, down, 8)
        for x in range(first_x, min(8 * across - first_x, known.shape[1] - left)):
            if known[top + y, left + x] == UNKNOWN:
                continue
            x0, x1, u0, u1 = weights(x, across, 8)
            bias, shift = rounding(y, x, down, across)
            total = v0 * (u0 * samples[8 * y0 + x0] + u1 * samples[8 * y0 + x1])
            total += v1 * (u0 * samples[8 * y1 + x0] + u1 * samples[8 * y1 + x1])
            if total + bias >> shift != known[top + y, left + x]:
                return False
    return True


@_compiled
def solve_coarse(known, down, across, coefficients, table, budget, levels, good):  # type: ignore[no-untyped-def]
    """As `_subsets`, for blocks of coarse chroma that are not good: judged by the pixels that depend on them alone.

    Args:
        known: int16[H, W], the chroma of pixels.
        down: rows of pixels to a row of samples.
        across: columns likewise.
        coefficients: float32[By, Bx, 64], nearly.
        table: int64[64] of steps.
        budget: subsets to be tried for each block, at most.
        levels: int16[By, Bx, 64], the result.
        good: uint8[By, Bx].
    """
    work, out = np.empty(64, np.int64), np.empty(64, np.int64)
    rest = np.empty(64, np.float32)
    chosen = np.zeros(DEPTH + 1, np.int64)
    for row in range(levels.shape[0]):
        for column in range(levels.shape[1]):
            if good[row, column]:
                continue
            own = levels[row, column].copy()
            for n in range(64):
                own[n] = np.int16(min(max(np.rint(coefficients[row, column, n] / table[n]), -2048), 2047))
                rest[n] = coefficients[row, column, n] - own[n] * table[n]
            order, costs = _doubts(table, rest)
            inverse(own, table, work, out)
            if _renders(known, down, across, row, column, out):
                levels[row, column] = own
                good[row, column] = 1
                continue
            limit, tried = FIRST_LIMIT, 0
            while tried < budget and limit <= LAST_LIMIT and not good[row, column]:
                depth, at, total = 0, 0, np.float32(0)
                while True:
                    if at < 64 and depth < DEPTH and total + costs[at] <= limit and tried < budget:
                        n = order[at]
                        own[n] += 1 if rest[n] >= 0 else -1
                        tried += 1
                        inverse(own, table, work, out)
                        if _renders(known, down, across, row, column, out):
                            levels[row, column] = own
                            good[row, column] = 1
                            break
                        depth += 1
                        chosen[depth] = at
                        total += costs[at]
                        at += 1
                    elif depth:
                        at = chosen[depth]
                        own[order[at]] -= 1 if rest[order[at]] >= 0 else -1
                        total -= costs[at]
                        depth -= 1
                        at += 1
                    else:
                        break
                limit *= 2


@_compiled
def solve(low, high, fill, table, basis, transposed, rounds, budget, levels, good):  # type: ignore[no-untyped-def]
    """Levels int16[N, 64] of blocks whose samples have bounds int16[N, 64]; those that are `good` are left.

    Args:
        low: of samples.
        high: of samples.
        fill: float32[N, 64], where to start between them.
        table: int64[64] of steps.
        basis: float32[64, 64], the samples of each coefficient.
        transposed: the coefficients of each sample.
        rounds: of projection, at most: samples into their bounds, coefficients to multiples of their steps.
        budget: subsets of doubtful levels that are tried for a block, at most.
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
            middle[n], room[n] = (least[n] + most[n]) / 2 - 128, (most[n] - least[n]) / 2 + np.float32(SLACK)
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
            if fits(own, table, low[block], high[block], work, out):
                good[block] = 1
                break
            _product(basis, scaled, model)
            if same:
                break
            for n in range(64):
                target[n] = min(max(model[n], least[n] - 128), most[n] - 128)
        before[:] = 99999
        if not good[block] and budget:
            for n in range(64):
                middle[n] -= model[n]
            good[block] = _subsets(own, table, basis, low[block], high[block], rest, middle, room, budget, work, out)


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
    mean = matrix @ wanted
    open_ = np.ones(64)
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
        fewest = 0
        inverse(levels[block], table, work, out)
        for n in range(64):
            fewest += not low[block, n] <= out[n] <= high[block, n]
        for scale in scales:
            _most_likely(seen, samples, noise, variances * scale, table, basis, own)
            inverse(own, table, work, out)
            missed = 0
            for n in range(64):
                missed += not low[block, n] <= out[n] <= high[block, n]
            if missed < fewest:
                fewest = missed
                levels[block] = own
            if missed == 0:
                good[block] = 1
                break
