"""The coefficients of the JPEG that pixels were decoded from, when its grid, sampling and tables are known or guessed.

At pixels that nothing clips luma and chroma are known, so each component is a problem of its own: levels whose samples
round to the known ones.  Rounding the transform gets nearly all blocks of a quality below 90 right.  Of the others:

* steps of 1 and 2 are about as large as the noise: which of the doubtful levels are others is sought by a beam;
* coarse chroma is seen through the triangle filter: least squares, then the same, judged by the pixels; where that
  fails, integer samples by coordinate descent;
* samples that are clipped, or beyond the picture, are not known: they take what the levels say, in turn with the
  levels, and then the likeliest levels by a Gaussian prior with the variances of all other blocks.

Floats only say where to look; what is found is rendered by `jpeg_decoder`, and what that misses are exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pixcodec.origins import jpeg_decoder, jpeg_kernels, jpeg_levels, jpeg_tables
from pixcodec.origins.jpeg_decoder import GRAY, cells, spread
from pixcodec.origins.jpeg_kernels import UNKNOWN
from pixcodec.origins.jpeg_tables import BASIS, RELAXED, SWEEPS, blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from pixcodec.origins.jpeg_decoder import Cut, Factors, Source
    from pixcodec.origins.jpeg_tables import Box

_ROUNDS, _TURNS = 30, 3  # of projections, and of all ways for coarse chroma, at most
# Beams of doubtful levels, one after the other: how wide, and of all blocks which part must be right to try them.
_COARSE_BEAMS = ((jpeg_levels.NARROW, 0.0), (128, 1 / 4))
_BEAMS = (*_COARSE_BEAMS, (512, 3 / 4))
_PROBE, _EDGE, _LEAST_EXACT = 256, 2, 1 / 4  # side of what is searched first, cells at its sides, exact ones at least
_MOST_WRONG, _LEAST_SIDE = 1 / 16, 32  # pixels beyond which it may be one in part, and that a part has on each side
_DESCENTS = 30  # sweeps of coordinate descent, at most
_SCALES = np.array([0.3, 1.0, 0.1, 3.0, 10.0])  # of the variances of what is hidden
_FINE_NOISE, _COARSE_NOISE, _DC_VARIANCE = 1 / 12, 0.2, 1e5
_TRANSPOSED = np.ascontiguousarray(BASIS.T)
_TABLES = np.stack(
    [jpeg_decoder.RED_OF_CR, jpeg_decoder.BLUE_OF_CB, jpeg_decoder.GREEN_OF_CB, jpeg_decoder.GREEN_OF_CR]
)


class Found(NamedTuple):
    """A JPEG, and the part of the picture that it fills, perhaps not all of it."""

    box: Box
    source: Source


def recover(planes: NDArray[np.uint8]) -> Found | None:
    """The JPEG of a picture uint8[H, W, C], or of a part of it; None where there is none to be seen."""
    grid = jpeg_tables.look(planes)
    if grid is None:
        return None
    known, missing = jpeg_tables.invert(planes)
    whole = (0, 0, *planes.shape[:2])
    source = _recover(planes, known, grid) if missing <= jpeg_tables.MISSING else None
    found = Found(whole, source) if source else None
    if planes.shape[2] == 1 or (source and _missed(source, planes) <= _MOST_WRONG):
        return found
    # A part may be one: blocks in it with pixels that no JPEG gives say nothing.
    box = jpeg_tables.box(planes, known, grid)
    top, left, height, width = box
    if (box == whole and source) or min(height, width) < _LEAST_SIDE:
        return found
    where = np.s_[top : top + height, left : left + width]
    part, grid = np.ascontiguousarray(planes[where]), ((grid[0] + top) % 8, (grid[1] + left) % 8)
    own = np.ascontiguousarray(known[(slice(None), *where)])
    hidden = spread(cells(jpeg_tables.is_missing(part, own), grid) > 0, grid, part.shape)
    own[:, hidden] = UNKNOWN
    inner = _recover(part, own, grid, hidden)
    return Found(box, inner) if inner else found


def _missed(source: Source, planes: NDArray[np.uint8]) -> float:
    return float((source.render(planes.shape) != planes).any(axis=2).mean())


def _recover(
    planes: NDArray[np.uint8],
    known: NDArray[np.int16],
    grid: tuple[int, int],
    hidden: NDArray[np.bool_] | None = None,
) -> Source | None:
    """The JPEG of a picture with this grid, in which it may not be looked at what is hidden; None for a wrong guess."""
    _, named, _ = jpeg_tables.tables(blocks(known[0][-grid[0] % 8 :, -grid[1] % 8 :]), 1, 1, 0)
    factors, phase = GRAY, (0, 0)
    if planes.shape[2] == 3:
        factors, phase = jpeg_tables.layout(known[1:], grid, named)
    top, left = grid[0] + phase[0], grid[1] + phase[1]
    if not _promises(planes, known, factors, (top, left), named):
        return None
    source = _search(planes, known, factors, (top, left, 0, 0), named, hidden)
    # Is an edge that looks wrong where the JPEG goes on? Then its next chroma samples are not those at the edge again.
    (across, down), missed = factors[0], (source.render(planes.shape) != planes).any(axis=2)
    if hidden is not None:
        missed &= ~hidden
    below = _goes_on(missed[-1], missed[:-1], top + planes.shape[0], down)
    behind = _goes_on(missed[:, -1], missed[:, :-1], left + planes.shape[1], across)
    if below or behind:
        other = _search(planes, known, factors, (top, left, below, behind), named, hidden)
        if _missed(other, planes) < _missed(source, planes):
            return other
    return source


def _promises(
    planes: NDArray[np.uint8], known: NDArray[np.int16], factors: Factors, corner: tuple[int, int], named: int | None
) -> bool:
    """Whether many cells come back in the middle of a large picture: a long search in vain is not begun."""
    if planes[:, :, 0].size < 6 * _PROBE**2 or 2 * min(planes.shape[:2]) < 3 * _PROBE:
        return True
    starts = [(side - _PROBE) // 2 for side in planes.shape[:2]]
    places = tuple(
        slice(at - (at + cut) % 16, at - (at + cut) % 16 + _PROBE) for at, cut in zip(starts, corner, strict=True)
    )
    part = np.ascontiguousarray(planes[places])
    source = _search(part, np.ascontiguousarray(known[(slice(None), *places)]), factors, (0, 0, 0, 0), named)
    exact = cells((source.render(part.shape) != part).any(axis=2), (0, 0))[_EDGE:-_EDGE, _EDGE:-_EDGE] == 0
    return bool(exact.mean() >= _LEAST_EXACT)


def _goes_on(edge: NDArray[np.bool_], rest: NDArray[np.bool_], end: int, factor: int) -> int:
    """Rows or columns to the end of the unit, if many pixels of the last one are wrong and the next could be why."""
    return -end % 16 if factor == 2 and end % 2 == 0 and edge.mean() > rest.mean() + 1 / 8 else 0


def _search(
    planes: NDArray[np.uint8],
    known: NDArray[np.int16],
    factors: Factors,
    cut: Cut,
    named: int | None,
    hidden: NDArray[np.bool_] | None = None,
) -> Source:
    """The likeliest levels of a layout, whether they are right or not."""
    height, width = jpeg_decoder.size(planes.shape, cut)
    window = np.s_[cut[0] : cut[0] + planes.shape[0], cut[1] : cut[1] + planes.shape[1]]
    components = []
    for n, (plane, guess) in enumerate(zip(known, _guesses(planes), strict=True)):
        placed = np.full((height, width), UNKNOWN, np.int16)
        placed[window] = plane
        filled = np.pad(guess, ((cut[0], cut[2]), (cut[1], cut[3])), mode="edge")
        across, down = (most // own for most, own in zip(factors[0], factors[n], strict=True))
        components.append((_Fine if down == across == 1 else _Coarse)(placed, filled, (down, across), named, n))
    for component in components[1:]:
        component.search(*component.bounds())
    low, high = components[0].bounds()
    if len(components) == 3:
        _, cb, cr = (component.upsampled()[window] for component in components)
        jpeg_kernels.luma_bounds(planes, cb, cr, _TABLES, low[window], high[window])
    if hidden is not None:
        low[window][hidden], high[window][hidden] = 0, 255
    components[0].search(low, high)
    tables = [component.table.astype(np.uint16) for component in components]
    return jpeg_decoder.Source(factors, cut, tables, [component.levels for component in components])


def _guesses(planes: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """Luma and chroma of the pixels as they are: where clipped ones may come from."""
    if planes.shape[2] == 1:
        return [planes[:, :, 0].astype(np.float32)]
    r, g, b = planes.astype(np.float32).transpose(2, 0, 1)
    y = np.float32(0.299) * r + np.float32(0.587) * g + np.float32(0.114) * b
    return [y, (b - y) / np.float32(1.772) + 128, (r - y) / np.float32(1.402) + 128]


class _Component:
    """What is known of a component, and its levels so far."""

    def __init__(
        self,
        known: NDArray[np.int16],
        guess: NDArray[np.float32],
        factors: tuple[int, int],
        named: int | None,
        number: int,
    ) -> None:
        self.known, (self.down, self.across) = known, factors
        self.rows, self.columns = (-(-side // each) for side, each in zip(known.shape, factors, strict=True))
        self.blocks_down, self.blocks_across = -(-self.rows // 8), -(-self.columns // 8)
        self.soft, _ = jpeg_tables.deconvolved(known, *factors)
        self.table, _, _ = jpeg_tables.tables(blocks(self.soft), *factors, number, named)
        self.guess = self._whole(guess[:: self.down, :: self.across])
        self.levels = np.zeros((self.blocks_down, self.blocks_across, 64), np.int16)

    def bounds(self) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Of the samples at the JPEG's pixels, int16[H, W] each."""
        hidden = self.known == UNKNOWN
        return np.where(hidden, 0, self.known).astype(np.int16), np.where(hidden, 255, self.known).astype(np.int16)

    def samples(self) -> NDArray[np.uint8]:
        """As the levels decode, uint8[8 By, 8 Bx]."""
        return jpeg_decoder.samples(self.levels, self.table)

    def upsampled(self) -> NDArray[np.int64]:
        """The same at the JPEG's pixels, [H, W]."""
        plane = jpeg_decoder.upsample(self.samples()[: self.rows, : self.columns], self.down, self.across)
        return plane[: self.known.shape[0], : self.known.shape[1]]

    def _whole(self, plane: NDArray[Any], beyond: int | None = None) -> NDArray[Any]:
        """A plane of samples, of whole blocks: its edges again, or a value."""
        more = (0, 8 * self.blocks_down - plane.shape[0]), (0, 8 * self.blocks_across - plane.shape[1])
        return np.pad(plane, more, mode="edge") if beyond is None else np.pad(plane, more, constant_values=beyond)

    def _rounded(self, plane: NDArray[np.float32]) -> NDArray[np.int16]:
        """The nearest levels of samples [8 By, 8 Bx]."""
        levels = np.rint(self._transformed(plane) / self.table)
        return np.clip(levels, -2048, 2047).astype(np.int16)

    def _transformed(self, plane: NDArray[np.float32]) -> NDArray[np.float32]:
        coefficients: NDArray[np.float32] = (blocks(plane) - np.float32(128)) @ BASIS.T
        return coefficients.reshape(self.levels.shape)

    def _blocks(self, plane: NDArray[Any], beyond: int | None = None) -> NDArray[Any]:
        """[N, 64] of a plane of samples."""
        return np.ascontiguousarray(blocks(self._whole(plane, beyond)))

    def _solve(
        self,
        low: NDArray[np.int16],
        high: NDArray[np.int16],
        fill: NDArray[np.float32],
        good: NDArray[np.uint8],
        beams: Sequence[tuple[int, float]] = _BEAMS,
    ) -> None:
        """Levels of blocks that are not `good`, uint8[N], from bounds of samples; see the kernel."""
        bounds, flat = (self._blocks(low, 0), self._blocks(high, 255)), self.levels.reshape(-1, 64)
        filled = self._blocks(fill)
        for width, share in beams:
            if good.mean() >= share:
                jpeg_levels.solve(*bounds, filled, self.table, BASIS, _TRANSPOSED, _ROUNDS, width, flat, good)

    def _complete(self, low: NDArray[np.int16], high: NDArray[np.int16], noise: float, good: NDArray[np.uint8]) -> None:
        """Levels of blocks that are not good and not known as a whole, by what the others are like; see the kernel."""
        flat = self.levels.reshape(-1, 64)
        like = flat[good.astype(bool)]
        if not len(like):
            return
        variances = ((like * self.table).astype(np.float64) ** 2).mean(axis=0)
        variances[0] = _DC_VARIANCE
        bounds = self._blocks(low, 0), self._blocks(high, 255)
        jpeg_levels.complete(*bounds, noise, variances, _SCALES, self.table, BASIS, flat, good)


class _Fine(_Component):
    """A component of full resolution: its samples are those of the pixels."""

    def search(self, low: NDArray[np.int16], high: NDArray[np.int16]) -> None:
        """Find the levels, by bounds [H, W] of the samples."""
        good = np.zeros(self.levels[:, :, 0].size, np.uint8)
        self._solve(low, high, self.guess, good)
        self._complete(low, high, _FINE_NOISE, good)


class _Coarse(_Component):
    """Chroma that the triangle filter brought to full resolution."""

    def search(self, _low: NDArray[np.int16], _high: NDArray[np.int16]) -> None:
        """Find the levels."""
        soft = self._whole(self.soft, UNKNOWN)
        hidden = soft == UNKNOWN
        self.levels[:] = self._rounded(np.where(hidden, self.guess, soft))
        bad = self._wrong()
        for _ in range(_TURNS):
            if not bad.any():
                return
            levels = np.where(bad[:, :, None], self._rounded(self._relaxed(bad)), self.levels)
            if (levels == self.levels).all():
                break
            self.levels[:] = levels
            bad = self._wrong()
        for _ in range(_TURNS):
            left = int(bad.sum())
            for way in (self._try_beams, self._see_part, self._descend):
                if bad.any():
                    way(bad)
                    bad = self._wrong()
            if not 0 < bad.sum() < left:
                return

    def _wrong(self) -> NDArray[np.bool_]:
        """Which blocks miss a known pixel that depends on them alone, bool[By, Bx]."""
        return self._misses() > 0

    def _misses(self) -> NDArray[np.int64]:
        wrong = np.zeros((8 * self.blocks_down * self.down, 8 * self.blocks_across * self.across), bool)
        height, width = self.known.shape
        wrong[:height, :width] = (self.known != UNKNOWN) & (self.upsampled() != self.known)
        if self.down == 2:
            wrong[::16] = wrong[15::16] = False
        if self.across == 2:
            wrong[:, ::16] = wrong[:, 15::16] = False
        tiles = wrong.reshape(self.blocks_down, 8 * self.down, self.blocks_across, 8 * self.across)
        return np.asarray(tiles.sum(axis=(1, 3)))

    def _relaxed(self, bad: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The samples [8 By, 8 Bx] as they are, those of bad blocks by least squares."""
        plane = self.samples().astype(np.float32)
        part = np.ascontiguousarray(plane[: self.rows, : self.columns])
        jpeg_kernels.deconvolve(self.known, self.down, self.across, SWEEPS, RELAXED, bad.astype(np.uint8), part)
        plane[: self.rows, : self.columns] = part
        return plane

    def _try_beams(self, bad: NDArray[np.bool_]) -> None:
        coefficients = self._transformed(self._relaxed(bad))
        good = (~bad).astype(np.uint8)
        for width, share in _COARSE_BEAMS:
            if good.mean() >= share:
                jpeg_levels.solve_coarse(
                    self.known, self.down, self.across, coefficients, self.table, BASIS, width, self.levels, good
                )

    def _see_part(self, bad: NDArray[np.bool_]) -> None:
        """Blocks of which some samples are hidden, by what least squares says of the others."""
        before, misses = self.levels.copy(), self._misses()
        seen = np.clip(np.rint(self._relaxed(bad)), 1, 254).astype(np.int16)
        hidden = self._whole(self.soft, UNKNOWN) == UNKNOWN
        low, high = (np.where(hidden, end, seen).astype(np.int16) for end in (0, 255))
        self._complete(low, high, _COARSE_NOISE, (~bad).astype(np.uint8).reshape(-1))
        self._keep_better(before, misses)

    def _keep_better(self, before: NDArray[np.int16], misses: NDArray[np.int64]) -> None:
        worse = self._misses() > misses
        self.levels[worse] = before[worse]

    def _descend(self, bad: NDArray[np.bool_]) -> None:
        """Blocks whose integer samples coordinate descent can tell."""
        before, misses = self.levels.copy(), self._misses()
        moving = bad.repeat(8, axis=0).repeat(8, axis=1)
        plane = np.where(moving, np.clip(np.rint(self._relaxed(bad)), 0, 255), self.samples()).astype(np.int64)
        part = np.ascontiguousarray(plane[: self.rows, : self.columns])
        jpeg_kernels.descend(self.known, self.down, self.across, _DESCENTS, bad.astype(np.uint8), part)
        # Samples that clipped pixels hide, or that do not explain theirs, may be anything.
        height, width = self.known.shape
        fits = jpeg_decoder.upsample(part, self.down, self.across)[:height, :width] == self.known
        more = (0, self.rows * self.down - height), (0, self.columns * self.across - width)
        tiles = np.pad(fits, more).reshape(self.rows, self.down, self.columns, self.across)
        fine = np.asarray(tiles.all(axis=(1, 3)))
        low, high = np.where(fine, part, 0).astype(np.int16), np.where(fine, part, 255).astype(np.int16)
        self._solve(low, high, part.astype(np.float32), (~bad).astype(np.uint8).reshape(-1), _BEAMS[:1])
        self._keep_better(before, misses)
