"""Chroma that clipped pixels hide: what every pixel that a sample touches allows, and the nearest of that.

A pixel of which one channel is clipped allows few values of its chroma: those by which some luma renders to the other
two. So a sample between samples that are known has one possible value, mostly, and is known in turn (`deduce`). Where
that ends in contradiction, the samples around it are deduced again from all sides, and what is left is annealed.
Nothing here decides what a file says: pixels that are still wrong become exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.exact.compiled import compiled
from pixcodec.origins.kernels import UNKNOWN, around, chroma_of, lumas

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FAR = 28  # how far from its neighbours' mean a sample is looked for, along each plane
_NEAR = 800  # places that are looked at first
_MANY = 8  # so many possible values are as good as any number
_CONTRADICTION = 20  # ranks from here on: no value does without misses
_LAST, _UNSEEN = 100, 127  # ranks of samples of which no value fits their own pixel, or that were not looked at
_REACHES = (1, 2)  # samples around a pixel without luma that are deduced again
_MOVES, _MOST_MOVES = 300, 1 << 20  # of the annealing: for each pixel without luma, and in all
_WARM, _COLD, _STAGES = 2.0, 0.3, 64  # its temperatures, in units of `_cost`
_MOST_COST = 13
_TRIES = 24  # random steps of which one must help a pixel
_STEPS = (1, 2, 3, 4, 6)  # their lengths at most

_compiled = compiled()
_called = compiled(_nrt=False)


def _offsets() -> NDArray[np.int64]:
    """Steps of two chroma values, [n, 2], the shortest first."""
    steps = np.stack(np.meshgrid(*[np.arange(-_FAR, _FAR + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.ascontiguousarray(steps[np.argsort((steps**2).sum(axis=1), kind="stable")])


def _odds() -> NDArray[np.int64]:
    """By stage and by what a move costs, how often it is made, of 2^16: int64[stages, costs]."""
    temperatures = _WARM * (_COLD / _WARM) ** (np.arange(_STAGES) / _STAGES)
    costs = np.arange(36 * _MOST_COST)
    return np.rint(np.exp(-costs / temperatures[:, None]) * 65536).astype(np.int64)


def reveal(
    pixels: NDArray[np.uint8],
    tables: NDArray[np.int64],
    layout: tuple[Any, ...],
    c1: NDArray[np.int64],
    c2: NDArray[np.int64],
) -> None:
    """Find values for the samples of both chroma planes that are `UNKNOWN`; at least one must be known.

    Args:
        pixels: uint8[H, W, 3].
        tables: of the conversion, see `kernels`.
        layout: of the planes, see `kernels.render`.
        c1: the first plane, int64[h, w].
        c2: the second plane.
    """
    hidden = c1 == UNKNOWN
    offsets = _offsets()
    deduce(pixels, tables, layout, ~hidden, offsets, c1, c2)
    wrong = np.empty(pixels.shape[:2], np.bool_)
    count = without_luma(pixels, tables, layout, c1, c2, wrong)
    for reach in _REACHES:
        if count == 0:
            return
        known, again = np.ones_like(hidden), (c1.copy(), c2.copy())
        forget(wrong, layout, reach, hidden, known)
        deduce(pixels, tables, layout, known, offsets, *again)
        found = np.empty_like(wrong)
        if (left := without_luma(pixels, tables, layout, *again, found)) <= count:
            c1[:], c2[:], wrong, count = *again, found, left
    anneal(pixels, tables, layout, hidden, wrong, _odds(), c1, c2)


@_called
def _span(pixels, tables, layout, c1, c2, row, column):  # type: ignore[no-untyped-def]
    """The least and greatest luma of a pixel, none where the least is the greater."""
    down, across, phase_y, phase_x, replicated = layout
    y0, y1 = around(row, phase_y, down, c1.shape[0], replicated)
    x0, x1 = around(column, phase_x, across, c1.shape[1], replicated)
    return lumas(pixels[row, column], chroma_of(c1, y0, y1, x0, x1), chroma_of(c2, y0, y1, x0, x1), tables)


@_compiled
def without_luma(pixels, tables, layout, c1, c2, wrong):  # type: ignore[no-untyped-def]
    """Which pixels have no luma by this chroma, to bool[H, W]; their number."""
    count = 0
    for row in range(pixels.shape[0]):
        for column in range(pixels.shape[1]):
            least, most = _span(pixels, tables, layout, c1, c2, row, column)
            wrong[row, column] = least > most
            count += least > most
    return count


@_compiled
def forget(wrong, layout, reach, hidden, known):  # type: ignore[no-untyped-def]
    """Make hidden samples around wrong pixels, so far around, unknown again."""
    down, across, phase_y, phase_x, _ = layout
    for row in range(wrong.shape[0]):
        for column in range(wrong.shape[1]):
            if wrong[row, column]:
                y, x = (row - phase_y) // down, (column - phase_x) // across
                for near_y in range(max(y - reach + 1, 0), min(y + reach + 1, hidden.shape[0])):
                    for near_x in range(max(x - reach + 1, 0), min(x + reach + 1, hidden.shape[1])):
                        known[near_y, near_x] &= not hidden[near_y, near_x]


@_called
def _misses(pixels, tables, layout, known, c1, c2, y, x, most):  # type: ignore[no-untyped-def]
    """How many of the pixels that sample (y, x) and else known ones decide have no luma; counts to `most` + 1."""
    down, across, phase_y, phase_x, replicated = layout
    misses = 0
    for row in range(max(phase_y + down * (y - 1), 0), min(phase_y + down * (y + 1), pixels.shape[0])):
        y0, y1 = around(row, phase_y, down, c1.shape[0], replicated)
        for column in range(max(phase_x + across * (x - 1), 0), min(phase_x + across * (x + 1), pixels.shape[1])):
            x0, x1 = around(column, phase_x, across, c1.shape[1], replicated)
            if (y0 == y or y1 == y) and (x0 == x or x1 == x):  # noqa: PLR1714  numba has no such sets
                decided = True
                for near_y in range(y0, y1 + 1):
                    for near_x in range(x0, x1 + 1):
                        decided &= known[near_y, near_x] or (near_y == y and near_x == x)
                if decided:
                    u, v = chroma_of(c1, y0, y1, x0, x1), chroma_of(c2, y0, y1, x0, x1)
                    least, highest = lumas(pixels[row, column], u, v, tables)
                    misses += least > highest
                    if misses > most:
                        return misses
    return misses


@_called
def _possible(pixels, tables, layout, known, offsets, count, enough, c1, c2, y, x):  # type: ignore[no-untyped-def]
    """The values of a sample with the fewest misses: how many, up to `enough`, the nearest one, its misses.

    `count` places are looked at, around the mean of the known neighbours, of which there must be one.
    """
    down, across, phase_y, phase_x, _ = layout
    total, total_u, total_v = 0, 0, 0
    for near_y in range(max(y - 1, 0), min(y + 2, c1.shape[0])):
        for near_x in range(max(x - 1, 0), min(x + 2, c1.shape[1])):
            if known[near_y, near_x]:
                weight = 2 if near_y == y or near_x == x else 1
                total += weight
                total_u += weight * c1[near_y, near_x]
                total_v += weight * c2[near_y, near_x]
    mean_u, mean_v = (2 * total_u + total) // (2 * total), (2 * total_v + total) // (2 * total)
    best_u, best_v, fewest, found = mean_u, mean_v, 99, 0
    before_u, before_v = c1[y, x], c2[y, x]
    row, column = phase_y + down * y, phase_x + across * x
    inside = row < pixels.shape[0] and column < pixels.shape[1]
    for n in range(count):
        u, v = mean_u + offsets[n, 0], mean_v + offsets[n, 1]
        if min(u, v) < 0 or max(u, v) > 255:
            continue
        if inside:  # the pixel at the sample excludes most
            least, most = lumas(pixels[row, column], u, v, tables)
            if least > most:
                continue
        c1[y, x], c2[y, x] = u, v
        misses = _misses(pixels, tables, layout, known, c1, c2, y, x, fewest)
        if misses < fewest:
            best_u, best_v, fewest, found = u, v, misses, 1
        elif misses == fewest:
            found += 1
        if fewest == 0 and found >= enough:
            break
    c1[y, x], c2[y, x] = before_u, before_v
    return found, best_u, best_v, fewest


@_compiled
def deduce(pixels, tables, layout, known, offsets, c1, c2):  # type: ignore[no-untyped-def]
    """Give all samples a value that are not known, and make them so.

    A sample that has one possible value takes it, which may leave one to its neighbours. Where there is none such,
    those with the fewest values take the nearest to their neighbours; last those that are in contradiction.
    """
    height, width = known.shape
    size = height * width
    rank = np.full(size, _UNSEEN, np.int64)  # logarithm of the number of possible values
    value_u, value_v = np.zeros(size, np.int64), np.zeros(size, np.int64)
    queue, queued = np.empty(size, np.int64), np.zeros(size, np.bool_)
    head, waiting, left = 0, 0, 0
    for place in range(size):
        y, x = place // width, place % width
        if not known[y, x]:
            left += 1
            beside = (x > 0 and known[y, x - 1]) or (x + 1 < width and known[y, x + 1])
            if beside or (y > 0 and known[y - 1, x]) or (y + 1 < height and known[y + 1, x]):
                queued[place] = True
                queue[(head + waiting) % size] = place
                waiting += 1
    turn = 0  # where to go on through all samples, once nothing waits
    lowest = _UNSEEN
    while left:
        if waiting:
            place = queue[head]
            head, waiting, queued[place] = (head + 1) % size, waiting - 1, False
            y, x = place // width, place % width
            if known[y, x]:
                continue
            found, value_u[place], value_v[place], misses = _possible(
                pixels, tables, layout, known, offsets, _NEAR, _MANY, c1, c2, y, x
            )
            rank[place] = 0
            while (1 << rank[place]) < found:
                rank[place] += 1
            if misses:
                rank[place] = _CONTRADICTION + misses if found else _LAST
            if rank[place] > 0:
                lowest = min(lowest, rank[place])
                continue
        else:
            if turn == 0:
                lowest = _UNSEEN
                for other in range(size):
                    if not known[other // width, other % width]:
                        lowest = min(lowest, rank[other])
            if lowest == _UNSEEN:
                return  # nothing was known
            place, turn = turn, (turn + 1) % size
            y, x = place // width, place % width
            if known[y, x] or rank[place] != lowest:
                continue
            if lowest >= _CONTRADICTION:
                _, value_u[place], value_v[place], _ = _possible(
                    pixels, tables, layout, known, offsets, len(offsets), 1, c1, c2, y, x
                )
        c1[y, x], c2[y, x], known[y, x] = value_u[place], value_v[place], True
        left -= 1
        for near_y in range(max(y - 1, 0), min(y + 2, height)):
            for near_x in range(max(x - 1, 0), min(x + 2, width)):
                near = near_y * width + near_x
                # With one in a corner a pixel is decided only if both between are known.
                new = near_y == y or near_x == x or (known[near_y, x] and known[y, near_x])
                if new and not known[near_y, near_x] and not queued[near]:
                    queued[near] = True
                    queue[(head + waiting) % size] = near
                    waiting += 1


@_called
def _next(state):  # type: ignore[no-untyped-def]
    """A whole number below 2^31 from a generator whose int64 state is `state[0]` (Knuth's linear congruences)."""
    state[0] = state[0] * 6364136223846793005 + 1442695040888963407
    return (state[0] >> 33) & 0x7FFFFFFF


@_called
def _cost(pixels, tables, layout, c1, c2, y0, y1, x0, x1):  # type: ignore[no-untyped-def]
    """Of the pixels that samples (y0..y1, x0..x1) touch: 1 for each without luma and 1 for each level it lacks."""
    down, across, phase_y, phase_x, _ = layout
    cost = 0
    for row in range(max(phase_y + down * (y0 - 1), 0), min(phase_y + down * (y1 + 1), pixels.shape[0])):
        for column in range(max(phase_x + across * (x0 - 1), 0), min(phase_x + across * (x1 + 1), pixels.shape[1])):
            least, most = _span(pixels, tables, layout, c1, c2, row, column)
            if least > most:
                cost += min(least - most + 1, _MOST_COST)
    return cost


@_compiled
def anneal(pixels, tables, layout, hidden, wrong, odds, c1, c2):  # type: ignore[no-untyped-def]
    """Move hidden samples around pixels without luma, `wrong`, by simulated annealing.

    A move takes one of the pixel's samples, or all of them, a step further by which the pixel lacks less. `wrong` is
    kept up to date.
    """
    down, across, phase_y, phase_x, replicated = layout
    height, width = wrong.shape
    state = np.ones(1, np.int64)
    places, index = np.empty(wrong.size, np.int64), np.full(wrong.size, -1, np.int64)
    count = 0
    for place in range(wrong.size):
        if wrong[place // width, place % width]:
            places[count], index[place] = place, count
            count += 1
    moves = min(_MOVES * count, _MOST_MOVES)
    before = np.empty((2, 2, 2), np.int64)
    for move in range(moves):
        if count == 0:
            return
        stage = move * _STAGES // moves
        place = places[_next(state) % count]
        row, column = place // width, place % width
        y0, y1 = around(row, phase_y, down, c1.shape[0], replicated)
        x0, x1 = around(column, phase_x, across, c1.shape[1], replicated)
        which = _next(state) >> 8
        if which & 4:  # one sample, else all
            y0 = y1 = y1 if which & 1 else y0
            x0 = x1 = x1 if which & 2 else x0
        if not hidden[y0 : y1 + 1, x0 : x1 + 1].any():
            continue
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                before[0, y - y0, x - x0], before[1, y - y0, x - x0] = c1[y, x], c2[y, x]
        least, most = _span(pixels, tables, layout, c1, c2, row, column)
        cost = _cost(pixels, tables, layout, c1, c2, y0, y1, x0, x1)
        length = _STEPS[(_next(state) >> 8) % len(_STEPS)]
        helps = False
        for _ in range(_TRIES):
            step = _next(state) >> 8
            du, dv = step % (2 * length + 1) - length, (step >> 10) % (2 * length + 1) - length
            inside = True
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    if hidden[y, x]:
                        c1[y, x], c2[y, x] = before[0, y - y0, x - x0] + du, before[1, y - y0, x - x0] + dv
                        inside &= min(c1[y, x], c2[y, x]) >= 0 and max(c1[y, x], c2[y, x]) <= 255
            if inside:
                lower, higher = _span(pixels, tables, layout, c1, c2, row, column)
                helps = lower - higher < least - most
                if helps:
                    break
        if helps:
            more = _cost(pixels, tables, layout, c1, c2, y0, y1, x0, x1) - cost
            helps = more <= 0 or _next(state) >> 15 < odds[stage, more]
        if not helps:
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    c1[y, x], c2[y, x] = before[0, y - y0, x - x0], before[1, y - y0, x - x0]
            continue
        for row in range(max(phase_y + down * (y0 - 1), 0), min(phase_y + down * (y1 + 1), height)):
            for column in range(max(phase_x + across * (x0 - 1), 0), min(phase_x + across * (x1 + 1), width)):
                least, most = _span(pixels, tables, layout, c1, c2, row, column)
                place = row * width + column
                if least > most and index[place] < 0:
                    places[count], index[place] = place, count
                    count += 1
                elif least <= most and index[place] >= 0:
                    count -= 1
                    places[index[place]], index[places[count]] = places[count], index[place]
                    index[place] = -1
                wrong[row, column] = least > most
