"""What pixels say of the JPEG that they were decoded from: its grid, its sampling, its tables.

All of it is statistics of coefficients.  On the right grid those of luma are multiples of their steps, but for the
noise of rounding, 0.29 rms; the likeliest step of each frequency is that with the greatest mean of log(step) less half
the square of the distance to its nearest multiple, in units of the noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.origins import jpeg_decoder, jpeg_kernels
from pixcodec.origins.jpeg_decoder import ACROSS, DOWN, FULL, HALF, standard
from pixcodec.origins.jpeg_kernels import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from pixcodec.origins.jpeg_decoder import Factors

Box = tuple[int, int, int, int]  # top, left, height, width of a part of a picture

# Pixels on a side, windows that are looked at, that the grid is sought in, and that it needs at least.
_WINDOW, _WINDOWS, _LOOK, _LEAST_WINDOWS = 15, 256, 64, 16
_GRAY, _COLOURED = 128, 0.5  # chroma without colour, and the part of pixels that has another where there is colour
_STEPS = 12  # of quantisation that the look knows
_CLEAR = 3.0  # nats a window by which the grid must beat all others
_QUALITIES, _TRIED = range(100, 0, -1), 3  # of IJG's, and how many of the likeliest are tried
# Of the least price, and bits a sample more, that IJG's likeliest tables may have; and that those of luma's may.
_ALIKE, _NEARLY, _NAMED = 1.05, 0.01, 0.03
_SMALL, _LEAST_BLIND = 4, 3  # steps that levels near 0 tell best; one that is beyond noise
_UNLIKELY, _ANYWAY = 1.8, 50.0  # nats a block, and in all, by which they may be less likely than the likeliest steps
_BLOCKS, _KINDS = 1500, 8  # that tables are found from: how many, and of how many values at least
_LOUDEST = 64  # coefficients that are looked at where few are above the noise
MISSING = 0.02  # of pixels that nothing clips, that may come from no luma and chroma
# Samples between what least squares finds and what the coefficients give, at most; bits for each that is farther, and
# for each pixel that least squares is far from.
_CLOSE, _COARSE_CLOSE, _MISS_BITS, _FAR_BITS = 0.7, 1.5, 4, 20
_ROUNDING = 1 / 12  # the variance of what is lost by rounding
_REGION = 256  # pixels on a side that the sampling is found from
SWEEPS, RELAXED = 12, 1.3  # of least squares


def _inverse_table(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """The chroma, or UNKNOWN, of each difference from -256 to 255, by one of the decoder's tables."""
    out = np.full(512, UNKNOWN, np.int64)
    out[table + 256] = np.arange(256)
    return out


_STANDARD = np.array([[standard(each, n) for each in _QUALITIES] for n in range(3)], np.int64)  # [3, 100, 64]
_RED, _BLUE = _inverse_table(jpeg_decoder.RED_OF_CR), _inverse_table(jpeg_decoder.BLUE_OF_CB)


def _basis() -> NDArray[np.float32]:
    """float32[64, 64]: the samples of each coefficient; its transpose, as it is orthonormal, gives coefficients."""
    place = np.arange(8)
    one = np.cos((2 * place[None] + 1) * place[:, None] * np.pi / 16) / 2
    one[0] /= np.sqrt(2)
    return np.kron(one, one).astype(np.float32)


BASIS = _basis()


def invert(planes: NDArray[np.uint8]) -> tuple[NDArray[np.int16], float]:
    """Luma and chroma int16[C, H, W] of planes [H, W, C], UNKNOWN where clipped; the share of pixels without any."""
    height, width, channels = planes.shape
    if channels == 1:
        return planes[None, :, :, 0].astype(np.int16), 0.0
    known = np.empty((3, height, width), np.int16)
    tables = _RED, _BLUE, jpeg_decoder.GREEN_OF_CB, jpeg_decoder.GREEN_OF_CR
    missing = jpeg_kernels.invert(planes, *tables, known)
    clear = missing + int((known[0] != UNKNOWN).sum())
    return known, missing / max(clear, 1)


def look(planes: NDArray[np.uint8]) -> tuple[int, int] | None:
    """Where the first block begins, 0..-7 rows and columns before the picture; None if it has no such grid."""
    height, width, _ = planes.shape
    if min(height, width) < 2 * _WINDOW:
        return None
    rng = np.random.default_rng(0)
    rows, columns = (8 * rng.integers(0, (side - _WINDOW) // 8 + 1, _WINDOWS) for side in (height, width))
    inside = np.arange(_WINDOW)
    windows = planes[rows[:, None, None] + inside[:, None], columns[:, None, None] + inside]
    known, missing = invert(np.ascontiguousarray(windows.reshape(-1, _WINDOW, planes.shape[2])))
    luma = known[0].reshape(_WINDOWS, _WINDOW, _WINDOW)
    clear = ((luma > 0) & (luma < 255)).all(axis=(1, 2))
    if planes.shape[2] == 3:
        # All grays come from some luma, and the pixels of many drawings are gray.
        coloured = clear & ((known[1:].reshape(2, _WINDOWS, -1) != _GRAY).any(axis=0).mean(axis=1) > _COLOURED)
        if missing > MISSING or coloured.sum() >= _LEAST_WINDOWS:
            clear = coloured
    luma = luma[clear].astype(np.float32)
    luma = luma[np.argsort(-luma.var(axis=(1, 2)))][:_LOOK]
    if len(luma) < _LEAST_WINDOWS:
        return None
    views = np.lib.stride_tricks.sliding_window_view(luma, (8, 8), axis=(1, 2))
    coefficients = (views.transpose(1, 2, 0, 3, 4).reshape(-1, 64) @ BASIS.T).reshape(64, len(luma), 64)
    likely = _likelihoods(jpeg_kernels.likelihoods, coefficients, _STEPS, 1, 1)[:, 1:].max(axis=2).sum(axis=1)
    down, across = divmod(int(np.argmax(likely)), 8)
    # Offsets in the same row or column share the edges of half of the blocks.
    second = np.delete(np.delete(likely.reshape(8, 8), down, 0), across, 1).max()
    if likely.max() - second < max(_CLEAR * len(luma), second - np.median(likely)):
        return None
    return -down % 8, -across % 8


def box(planes: NDArray[np.uint8], known: NDArray[np.int16], grid: tuple[int, int]) -> Box:
    """The part of a picture in colour that a JPEG on this grid may fill: (top, left, height, width).

    Its cells of 8x8 pixels have luma and chroma, coloured and not all the same; where they are dense it begins, and it
    goes on for less than a cell beyond them.
    """
    (top, left), (height, width, _) = (-cut % 8 for cut in grid), planes.shape
    rows, columns = (height - top) // 8, (width - left) // 8
    coloured = (known[0] != UNKNOWN) & (known[1:] != _GRAY).any(axis=0)
    odd = is_missing(planes, known)
    where = np.s_[top : top + 8 * rows, left : left + 8 * columns]
    cells = known[0][where].reshape(rows, 8, columns, 8)
    good = (cells != UNKNOWN).all(axis=(1, 3)) & (cells.max(axis=(1, 3)) > cells.min(axis=(1, 3)))
    good &= coloured[where].reshape(rows, 8, columns, 8).mean(axis=(1, 3)) > _COLOURED
    if not good.any():
        return 0, 0, 0, 0
    down, across = slice(0, rows), slice(0, columns)
    for _ in range(2):
        down = _densest(good[:, across].sum(axis=1))
        across = _densest(good[down].sum(axis=0))
    ends, sides = [top + 8 * down.start, top + 8 * down.stop], [left + 8 * across.start, left + 8 * across.stop]

    def goes_on(line: tuple[Any, ...]) -> bool:
        return bool(odd[line].mean() <= MISSING and coloured[line].mean() > _COLOURED / 2)

    for _ in range(7):
        if ends[0] > 0 and goes_on(np.s_[ends[0] - 1, sides[0] : sides[1]]):
            ends[0] -= 1
        if ends[1] < height and goes_on(np.s_[ends[1], sides[0] : sides[1]]):
            ends[1] += 1
        if sides[0] > 0 and goes_on(np.s_[ends[0] : ends[1], sides[0] - 1]):
            sides[0] -= 1
        if sides[1] < width and goes_on(np.s_[ends[0] : ends[1], sides[1]]):
            sides[1] += 1
    return ends[0], sides[0], ends[1] - ends[0], sides[1] - sides[0]


def is_missing(planes: NDArray[np.uint8], known: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Which pixels that nothing clips come from no luma and chroma, bool[H, W]."""
    clipped = (planes.min(axis=2) == 0) | (planes.max(axis=2) == 255)
    return np.asarray((known[0] == UNKNOWN) & ~clipped)


def _densest(counts: NDArray[np.int64]) -> slice:
    """Of the runs of counts of at least a sixteenth of the greatest, the one with the greatest sum."""
    high = counts * 16 >= max(int(counts.max()), 1)
    ends = np.flatnonzero(np.diff(high, prepend=False, append=False))
    runs = [slice(int(start), int(stop)) for start, stop in ends.reshape(-1, 2)]
    return max(runs, key=lambda run: int(counts[run].sum()), default=slice(0, 0))


def _likelihoods(
    kernel: Callable[..., None], coefficients: NDArray[np.float32], most: int, down: int, across: int
) -> NDArray[np.float32]:
    """[M, 64, most] of the steps 1..most of coefficients [M, N, 64].

    Args:
        kernel: `jpeg_kernels.likelihoods` or `jpeg_kernels.evidence`.
        coefficients: of samples as they were rounded, if `down` and `across` are 1; else what least squares makes of
            their upsampling, which has been rounded too.
        most: the largest step.
        down: rows of the upsampling to a row of samples.
        across: columns likewise.
    """
    sets, count, _ = coefficients.shape
    rows = np.ascontiguousarray(coefficients.transpose(0, 2, 1)).reshape(-1, count)
    variance = np.full((8, 8), _ROUNDING)
    if (down, across) != (1, 1):
        # The triangle filter's power at each frequency of the DCT, two samples to one.
        power = 1.25 + 0.75 * np.cos(np.arange(8) * np.pi / 8)
        variance += _ROUNDING / np.outer(power if down == 2 else np.ones(8), power if across == 2 else np.ones(8))
    deviations = np.tile(np.sqrt(variance).astype(np.float32).reshape(-1), sets)
    out = np.empty((len(rows), most + 1), np.float32)
    kernel(rows, most, deviations, out)
    return out.reshape(sets, 64, most + 1)[:, :, 1:]


def tables(
    samples: NDArray[Any], down: int, across: int, component: int, named: int | None = None
) -> tuple[NDArray[np.int64], int | None, float]:
    """The steps of a component, their IJG quality if they have one, and the price of the samples by them.

    Args:
        samples: blocks [N, 64], UNKNOWN where they are hidden.
        down: of upsampling, see `_likelihoods`.
        across: likewise.
        component: its number.
        named: a quality that is tried first.
    """
    every = _busy(samples)
    busy = every[:_BLOCKS]
    likely = np.zeros((64, 255), np.float32)
    if len(busy):
        (likely,) = _likelihoods(jpeg_kernels.evidence, busy[None], 255, down, across)
    close = _CLOSE if down == across == 1 else _COARSE_CLOSE
    steps = _likeliest(likely, busy, every, down, across)
    own = price(samples, steps, close)
    totals = likely[np.arange(64), _STANDARD[component] - 1].sum(axis=1)
    worst = likely.max(axis=1).sum() - _UNLIKELY * len(busy) - _ANYWAY
    order = [named or 0, *(_QUALITIES[int(n)] for n in np.argsort(totals)[: -_TRIED - 1 : -1])]
    tried = {each: standard(each, component) for each in order if each and totals[_QUALITIES.index(each)] >= worst}
    prices = {each: price(samples, table, close) for each, table in tried.items()}
    for each, bits in prices.items():
        if bits <= _ALIKE * min(own, *prices.values()) + (_NAMED if each == named else _NEARLY):
            return tried[each].astype(np.int64), each, bits
    return steps, None, own


def _likeliest(
    evidence: NDArray[np.float32], busy: NDArray[np.float32], every: NDArray[np.float32], down: int, across: int
) -> NDArray[np.int64]:
    """Steps int64[64]: what the far ones of busy coefficients [M, 64] say, and of small steps what all of them do.

    Where none is above the noise, by the largest ones of all blocks [N, 64]; where none of these is, any step will do:
    the largest of the others.
    """
    loudest = np.take_along_axis(every, np.argsort(-np.abs(every), axis=0)[:_LOUDEST], 0)
    steps = np.zeros(64, np.int64)
    for coefficients in (busy, loudest):
        if len(coefficients):
            (likely,) = _likelihoods(jpeg_kernels.likelihoods, coefficients[None], 255, down, across)
            above = likely[:, 0] < 0  # the noise: then a step of 1 has something against it
            steps = np.where((steps == 0) & above, likely.argmax(axis=1) + 1, steps)
    small = (steps > 0) & (steps <= _SMALL)
    steps[small] = evidence[small, :_SMALL].argmax(axis=1) + 1
    steps[steps == 0] = max(int(steps.max()), _LEAST_BLIND)
    return steps


def _busy(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Coefficients [M, 64] of those blocks [N, 64] that are known and have many values, those with most first.

    Where few samples differ their roundings are alike, and not noise.
    """
    samples = samples[((samples > 0) & (samples < 255)).all(axis=1)]
    kinds = (np.diff(np.sort(np.rint(samples), axis=1), axis=1) != 0).sum(axis=1)
    order = np.argsort(-kinds, kind="stable")
    return (samples[order[kinds[order] >= _KINDS]].astype(np.float32) - 128) @ BASIS.T


def blocks(plane: NDArray[Any]) -> NDArray[Any]:
    """[N, 64] of the whole blocks of a plane [H, W]."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    whole = plane[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8)
    return whole.transpose(0, 2, 1, 3).reshape(-1, 64)


def layout(chroma: NDArray[np.int16], grid: tuple[int, int], named: int | None) -> tuple[Factors, tuple[int, int]]:
    """The sampling that makes least of the chroma planes, and how many rows and columns more their first blocks lack.

    Args:
        chroma: int16[2, H, W], UNKNOWN where it is not known.
        grid: of luma.
        named: the quality that luma's tables have, if any.
    """
    top, left = (max((side - _REGION) // 2, 0) // 16 * 16 for side in chroma.shape[1:])
    part = chroma[:, top : top + _REGION, left : left + _REGION]
    known = np.full((2, grid[0] + part.shape[1], grid[1] + part.shape[2]), UNKNOWN, np.int16)
    known[:, grid[0] :, grid[1] :] = part
    least, found = np.inf, (FULL, (0, 0))
    for factors in (FULL, HALF, ACROSS, DOWN):
        (h, v), _, _ = factors
        planes = [deconvolved(each, v, h) for each in known]
        for py in range(0, 8 * v, 8):
            for px in range(0, 8 * h, 8):
                bits = 0.0
                for number, (samples, far) in enumerate(planes, 1):
                    shifted = blocks(np.pad(samples, ((py // v, 0), (px // h, 0)), constant_values=UNKNOWN))
                    bits += tables(shifted, v, h, number, named)[2] / (v * h) + _FAR_BITS * far
                if bits < least:
                    least, found = bits, (factors, (py, px))
    return found


def price(samples: NDArray[Any], steps: NDArray[Any], close: float) -> float:
    """Roughly the bits a sample of blocks [N, 64]: of their levels, and of the samples that these miss."""
    samples = samples[(samples != UNKNOWN).all(axis=1)]
    if not len(samples):
        return np.inf
    levels = np.rint((samples - np.float32(128)) @ BASIS.T / steps)
    missed = np.abs((levels * steps).astype(np.float32) @ BASIS + 128 - samples) > close
    return float((2 * np.log2(1 + np.abs(levels)) + _MISS_BITS * missed).mean())


def deconvolved(known: NDArray[np.int16], down: int, across: int) -> tuple[NDArray[np.float32], float]:
    """Chroma float32[h, w] by least squares from its upsampling int16[H, W]; UNKNOWN where that is not known.

    And the share of the known pixels that it is far from.
    """
    if down == across == 1:
        return known.astype(np.float32), 0.0
    rows, columns = -(-known.shape[0] // down), -(-known.shape[1] // across)
    padded = np.full((rows * down, columns * across), UNKNOWN, np.int16)
    padded[: known.shape[0], : known.shape[1]] = known
    near = padded.reshape(rows, down, columns, across).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    hidden = (near == UNKNOWN).any(axis=2)
    plane = np.where(hidden, 128, near.mean(axis=2)).astype(np.float32)
    moving = np.ones((-(-rows // 8), -(-columns // 8)), np.uint8)
    far = jpeg_kernels.deconvolve(known, down, across, SWEEPS, RELAXED, moving, plane)
    plane[hidden] = UNKNOWN
    return plane, far
