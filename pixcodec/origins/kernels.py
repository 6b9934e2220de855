"""Compiled loops of luma and chroma: to pixels, and back from pixels as far as they say.

A conversion is three tables, int64[256, 3], of luma, the first and the second chroma: channel k of a pixel is

    clamp((luma[Y, k] + first[C1, k] + second[C2, k]) >> 16, 0, 255)

and luma's tables never fall. Chroma is `across` and `down` (1 or 2) times coarser than luma, and
its first sample lies at the pixel (phase_y, phase_x); between samples it is their mean, rounded up, or, `replicated`,
that of the sample before; outside of all samples the nearest one.
"""

from __future__ import annotations

import numpy as np

from pixcodec.exact.compiled import compiled

UNKNOWN = -1
_compiled = compiled()
_inlined = compiled(inline="always")


@_inlined
def around(place, phase, factor, count, replicated):  # type: ignore[no-untyped-def]
    """The two samples, perhaps the same, whose mean is at a place."""
    before = (place - phase) >> (factor - 1)  # by 1 or 2
    after = before
    if (place - phase) & (factor - 1) and not replicated:
        after = before + 1
    return min(max(before, 0), count - 1), min(max(after, 0), count - 1)


@_inlined
def chroma_of(plane, y0, y1, x0, x1):  # type: ignore[no-untyped-def]
    """Their mean; two equal samples count as one, which changes nothing."""
    return (plane[y0, x0] + plane[y0, x1] + plane[y1, x0] + plane[y1, x1] + 2) >> 2


@_compiled
def render(y, c1, c2, tables, layout, planes):  # type: ignore[no-untyped-def]
    """Pixels uint8[H, W, 3] of int64 luma [H, W] and chroma [h, w]; `layout` is (down, across, phases, replicated)."""
    down, across, phase_y, phase_x, replicated = layout
    height, width, _ = planes.shape
    for row in range(height):
        y0, y1 = around(row, phase_y, down, c1.shape[0], replicated)
        for column in range(width):
            x0, x1 = around(column, phase_x, across, c1.shape[1], replicated)
            u, v, luma = chroma_of(c1, y0, y1, x0, x1), chroma_of(c2, y0, y1, x0, x1), y[row, column]
            for k in range(3):
                value = (tables[0, luma, k] + tables[1, u, k] + tables[2, v, k]) >> 16
                planes[row, column, k] = min(max(value, 0), 255)


@_compiled
def enlarge(plane, layout, out):  # type: ignore[no-untyped-def]
    """Chroma [h, w] at every pixel of `out` [H, W], any integers."""
    down, across, phase_y, phase_x, replicated = layout
    wide = plane.astype(np.int64)
    for row in range(out.shape[0]):
        y0, y1 = around(row, phase_y, down, wide.shape[0], replicated)
        for column in range(out.shape[1]):
            x0, x1 = around(column, phase_x, across, wide.shape[1], replicated)
            out[row, column] = chroma_of(wide, y0, y1, x0, x1)


@_compiled
def invert(pixels, tables, inverse, offsets, out):  # type: ignore[no-untyped-def]
    """Y, C1, C2 of pixels [n, 3] to `out` int64[n, 3], UNKNOWN where a channel is clipped; how many have none.

    Floats only say where to look; what is found renders to the pixel.
    """
    missing = 0
    for n in range(len(pixels)):
        p = pixels[n]
        out[n] = UNKNOWN
        if min(p[0], p[1], p[2]) == 0 or max(p[0], p[1], p[2]) == 255:
            continue
        r, g, b = p[0] + 0.5 - offsets[0], p[1] + 0.5 - offsets[1], p[2] + 0.5 - offsets[2]
        guess_y = int(np.rint(inverse[0, 0] * r + inverse[0, 1] * g + inverse[0, 2] * b))
        guess_1 = int(np.rint(inverse[1, 0] * r + inverse[1, 1] * g + inverse[1, 2] * b))
        guess_2 = int(np.rint(inverse[2, 0] * r + inverse[2, 1] * g + inverse[2, 2] * b))
        best = 99
        for luma in range(max(guess_y - 1, 0), min(guess_y + 2, 256)):
            for u in range(max(guess_1 - 2, 0), min(guess_1 + 3, 256)):
                for v in range(max(guess_2 - 2, 0), min(guess_2 + 3, 256)):
                    fits = True
                    for k in range(3):
                        fits &= (tables[0, luma, k] + tables[1, u, k] + tables[2, v, k]) >> 16 == p[k]
                    far = abs(luma - guess_y) + abs(u - guess_1) + abs(v - guess_2)
                    if fits and far < best:
                        best = far
                        out[n, 0], out[n, 1], out[n, 2] = luma, u, v
        missing += best == 99
    return missing


@_inlined
def _first(tables, k, bound, start, stop):  # type: ignore[no-untyped-def]
    """The least Y from `start` on whose luma is `bound` or more; `stop` where none below it is.

    Luma is nearly a line, so a float says where to look.
    """
    least, most = tables[0, 0, k], tables[0, 255, k]
    luma = min(max(np.int64((bound - least) * (255.0 / (most - least))), start), stop)
    while luma > start and tables[0, luma - 1, k] >= bound:
        luma -= 1
    while luma < stop and tables[0, luma, k] < bound:
        luma += 1
    return luma


@_inlined
def lumas(pixel, u, v, tables):  # type: ignore[no-untyped-def]
    """The least and greatest Y that render to a pixel, given its chroma; none where the least is the greater."""
    least, most = 0, 255
    for k in range(3):
        bound = (np.int64(pixel[k]) << 16) - tables[1, u, k] - tables[2, v, k]
        if pixel[k] > 0:
            least = _first(tables, k, bound, least, 256)
        if pixel[k] < 255:
            most = _first(tables, k, bound + 65536, 0, most + 1) - 1
    return least, most


@_compiled
def gather(solved, layout, c1, c2):  # type: ignore[no-untyped-def]
    """Chroma samples [h, w] from pixels [H, W, 3] that say them alone; how many pixels disagree with another."""
    down, across, phase_y, phase_x, replicated = layout
    wrong = 0
    for row in range(solved.shape[0]):
        y0, y1 = around(row, phase_y, down, c1.shape[0], replicated)
        for column in range(solved.shape[1]):
            x0, x1 = around(column, phase_x, across, c1.shape[1], replicated)
            if solved[row, column, 0] == UNKNOWN or y0 != y1 or x0 != x1:
                continue
            u, v = solved[row, column, 1], solved[row, column, 2]
            if c1[y0, x0] == UNKNOWN:
                c1[y0, x0], c2[y0, x0] = u, v
            wrong += c1[y0, x0] != u or c2[y0, x0] != v
    return wrong


@_compiled
def disagreements(solved, layout, c1, c2):  # type: ignore[no-untyped-def]
    """Pixels whose chroma is known all around, those of them that it does not give; [2]."""
    down, across, phase_y, phase_x, replicated = layout
    known, wrong = 0, 0
    for row in range(solved.shape[0]):
        y0, y1 = around(row, phase_y, down, c1.shape[0], replicated)
        for column in range(solved.shape[1]):
            x0, x1 = around(column, phase_x, across, c1.shape[1], replicated)
            if solved[row, column, 0] == UNKNOWN or min(c1[y0, x0], c1[y0, x1], c1[y1, x0], c1[y1, x1]) == UNKNOWN:
                continue
            known += 1
            wrong += (
                chroma_of(c1, y0, y1, x0, x1) != solved[row, column, 1]
                or chroma_of(c2, y0, y1, x0, x1) != solved[row, column, 2]
            )
    return known, wrong


@_compiled
def luma(pixels, tables, layout, c1, c2, y):  # type: ignore[no-untyped-def]
    """Luma [H, W] given the chroma: the one that renders right, of several the nearest to what MED predicts."""
    down, across, phase_y, phase_x, replicated = layout
    for row in range(pixels.shape[0]):
        y0, y1 = around(row, phase_y, down, c1.shape[0], replicated)
        for column in range(pixels.shape[1]):
            x0, x1 = around(column, phase_x, across, c1.shape[1], replicated)
            least, most = lumas(
                pixels[row, column], chroma_of(c1, y0, y1, x0, x1), chroma_of(c2, y0, y1, x0, x1), tables
            )
            w = y[row, column - 1] if column else (y[row - 1, 0] if row else 128)
            n = y[row - 1, column] if row else w
            nw = y[row - 1, column - 1] if row and column else n
            guess = min(max(w + n - nw, min(w, n)), max(w, n))
            y[row, column] = min(max(guess, min(least, most)), max(least, most))
            y[row, column] = min(max(y[row, column], 0), 255)
