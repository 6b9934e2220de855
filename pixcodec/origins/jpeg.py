"""JPEG: a picture that was decoded from one, as the quantised coefficients that it held."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from pixcodec.exact import coefficients
from pixcodec.origins import jpeg_decoder, numbers
from pixcodec.origins.base import MAX_SAMPLES, Origin, Planes, Shape, require
from pixcodec.origins.exceptions import Exceptions
from pixcodec.origins.jpeg_decoder import LAYOUTS, Source, cells, spread
from pixcodec.varint import varint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from pixcodec.origins.jpeg_decoder import Cut, Factors
    from pixcodec.origins.jpeg_recovery import Found
    from pixcodec.origins.jpeg_tables import Box
    from pixcodec.varint import Reader

_NAMES = "gray", "4:4:4", "4:2:0", "4:2:2", "4:4:0"
TRANSFORMS = {1: "gray", 3: "ycbcr"}  # of files, by channels
FREE = 0  # in the place of a quality, 1..100: a table of its own
DEAR, LEAST_SAVED = 0.25, 512  # bytes that a sub-pixel may cost as one, and that cells of pixels must save in all
SURE = 1.0  # bits a sub-pixel: what needs less is smaller by its nature


@dataclass(frozen=True)
class Jpeg(Origin):
    """No groups: the coefficients are in the record.

    Args:
        factors: of sampling, of each component.
        cut: what of the JPEG lies above, before, below and behind the picture.
        tables: uint16[64] of each component.
        payload: of `coefficients`.
        pixels: of the picture.
        components: what the payload holds, where that is known.
    """

    number, name = 10, "jpeg"
    missed = 1 / 16  # by little, at edges that a crop cuts

    factors: Factors
    cut: Cut
    tables: list[NDArray[np.uint16]]
    payload: bytes
    pixels: int
    components: list[NDArray[np.int16]] | None = field(default=None, compare=False, repr=False)

    @property
    def unsure(self) -> bool:  # type: ignore[override]
        """Coefficients with steps of 1 may need more than the pixels."""
        return 8 * len(self.payload) > SURE * self.pixels * len(self.factors)

    @classmethod
    def recover(cls, planes: Planes) -> tuple[Origin, list[Planes]] | None:
        """See `Origin`."""
        from pixcodec.origins import jpeg_recovery  # brings tables that only the search wants

        found = jpeg_recovery.recover(planes) if planes.shape[2] in {1, 3} else None
        if found is None:
            return None
        return JpegPart.of_found(found, planes) or (cls.of_source(found.source, planes.shape), [])

    @classmethod
    def of_file(cls, data: bytes, shape: Shape) -> tuple[Jpeg, list[Planes]] | None:
        """What a JPEG file holds whose picture has this shape; None where it is of a kind that is not read."""
        from pixcodec import jpeg_file

        file = jpeg_file.read(data)
        if file is None or (file.height, file.width) != shape[:2] or file.transform != TRANSFORMS.get(shape[2]):
            return None
        factors, blocks = tuple(file.factors), [each.shape[:2] for each in file.components]
        if factors not in LAYOUTS or blocks != jpeg_decoder.shapes(factors, *shape[:2]):
            return None
        source = Source(factors, (0, 0, 0, 0), file.tables, file.components)
        try:
            return cls.of_source(source, shape), []
        except ValueError:  # steps or levels that no encoder writes
            return None

    @classmethod
    def of_source(cls, source: Source, shape: Shape) -> Jpeg:
        """The origin of a picture of this shape; `ValueError` for coefficients that the coder has no place for."""
        payload = coefficients.encode(source.components, source.tables)
        return cls(source.factors, source.cut, source.tables, payload, shape[0] * shape[1], source.components)

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:  # noqa: ARG002
        """See `Origin`; `DamagedTileError` for a payload that holds no coefficients."""
        components = self.components
        if components is None:
            shapes = jpeg_decoder.shapes(self.factors, *jpeg_decoder.size(shape, self.cut))
            components = coefficients.decode(self.payload, shapes, self.tables)
        return Source(self.factors, self.cut, self.tables, components).render(shape)

    def shapes(self, shape: Shape) -> list[Shape]:  # noqa: ARG002
        """See `Origin`."""
        return []

    def pack(self) -> bytes:
        """The layout, what is cut off, the tables, the coefficients."""
        head = bytes([LAYOUTS.index(self.factors), *self.cut])
        tables = [_pack_table(table, n) for n, table in enumerate(self.tables)]
        return b"".join([head, *tables, varint(len(self.payload)), self.payload])

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """See `Origin`."""
        layout, top, left, bottom, right = reader.take(5)
        require(layout < len(LAYOUTS), reader, f"layout {layout} of a JPEG")
        factors, cut = LAYOUTS[layout], (top, left, bottom, right)
        across, down = factors[0]
        sound = len(factors) == shape[2] and max(top, bottom) < 8 * down and max(left, right) < 8 * across
        height, width = jpeg_decoder.size(shape, cut)
        require(sound and height * width * shape[2] <= MAX_SAMPLES, reader, f"a JPEG {width} wide and {height} high")
        tables = [_read_table(reader, n) for n in range(shape[2])]
        return cls(factors, cut, tables, reader.take(reader.number()), shape[0] * shape[1])

    def words(self) -> str:
        """See `Origin`."""
        named = [_quality(table, n) for n, table in enumerate(self.tables)]
        grade = f"quality {named[0]}" if named[0] and len(set(named)) == 1 else "tables of its own"
        words = f"JPEG, {grade}, {_NAMES[LAYOUTS.index(self.factors)]}"
        return f"{words}, grid {self.cut[:2]}" if any(self.cut) else words


@dataclass(frozen=True)
class JpegPart(Origin):
    """A picture that is a JPEG's in part: its group is the rest, as far as that reaches, of one colour where it is not.

    Args:
        box: top, left, height and width of the JPEG in the picture.
        pixels: bool[rows, columns], the cells of 8x8 pixels on the JPEG's grid in the box that are not the JPEG's.
        jpeg: of the box.
    """

    number, name, again = 11, "jpeg", True
    missed = 1 / 8  # also at edges of what was drawn

    box: Box
    pixels: NDArray[np.bool_]
    jpeg: Jpeg

    @property
    def unsure(self) -> bool:  # type: ignore[override]
        """See `Jpeg`."""
        return self.jpeg.unsure

    @classmethod
    def recover(cls, planes: Planes) -> None:  # noqa: ARG003
        """None: `Jpeg.recover` finds parts too."""
        return

    @classmethod
    def of_found(cls, found: Found, planes: Planes) -> tuple[JpegPart, list[Planes]] | None:
        """The origin and its group where cells cost less as pixels than their exceptions do; None where it is all."""
        (top, left, height, width), source = found
        part = planes[top : top + height, left : left + width]
        rendered, price = source.render(part.shape), DEAR * 64 * planes.shape[2]
        counts = cells((rendered != part).any(axis=2), source.cut)
        exceptions = Exceptions.between(part, rendered, 1) if counts.any() else None
        costs = counts * (len(exceptions.pack()) / counts.sum() if exceptions else 0)
        pixels = np.asarray(costs > price)
        if (height, width) == planes.shape[:2] and (costs[pixels] - price).sum() < LEAST_SAVED:
            return None
        own = cls(found.box, pixels, Jpeg.of_source(_without(source, pixels), part.shape))
        rest, where = own._rest(planes.shape)
        group, outside = planes[where].copy(), rest[where]
        # A colour that is there already costs least.
        known = group[outside]
        keys = known.astype(np.int64) @ (1 << 8 * np.arange(planes.shape[2]))
        _, first, many = np.unique(keys, return_index=True, return_counts=True)
        group[~outside] = known[first[many.argmax()]]
        return own, [group]

    def _rest(self, shape: Shape) -> tuple[NDArray[np.bool_], tuple[slice, slice]]:
        """Which pixels [H, W] are not the JPEG's, and the least rectangle that has them all."""
        top, left, height, width = self.box
        rest = np.ones(shape[:2], bool)
        rest[top : top + height, left : left + width] = spread(self.pixels, self.jpeg.cut, (height, width))
        rows, columns = (np.flatnonzero(rest.any(axis=axis)) for axis in (1, 0))
        return rest, (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:
        """See `Origin`; errors of `Jpeg.render`."""
        top, left, height, width = self.box
        rest, where = self._rest(shape)
        planes = np.zeros(shape, np.uint8)
        planes[top : top + height, left : left + width] = self.jpeg.render([], (height, width, shape[2]))
        planes[where] = np.where(rest[where][:, :, None], groups[0], planes[where])
        return planes

    def shapes(self, shape: Shape) -> list[Shape]:
        """See `Origin`."""
        _, (rows, columns) = self._rest(shape)
        return [(rows.stop - rows.start, columns.stop - columns.start, shape[2])]

    def pack(self) -> bytes:
        """The box, the JPEG, and runs of cells that are its own and that are not, in turn."""
        ends = np.flatnonzero(np.diff(self.pixels.reshape(-1), prepend=False))
        runs = np.diff(ends, prepend=0, append=self.pixels.size)
        head = b"".join(map(varint, self.box)) + self.jpeg.pack()
        return head + varint(len(runs)) + numbers.pack(runs.astype(np.int64)[:, None])

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """See `Origin`."""
        require(shape[0] * shape[1] * shape[2] <= MAX_SAMPLES, reader, f"a JPEG in {shape[0]} rows of {shape[1]}")
        top, left, height, width = (reader.number() for _ in range(4))
        inside = 0 < height <= shape[0] - top and 0 < width <= shape[1] - left
        require(inside, reader, f"a JPEG of {height} rows and {width} columns at ({top}, {left})")
        jpeg = Jpeg.read(reader, (height, width, shape[2]))
        sides = -(-(jpeg.cut[0] + height) // 8), -(-(jpeg.cut[1] + width) // 8)
        count, size = reader.number(), sides[0] * sides[1]
        require(0 < count <= size + 1, reader, f"{count} runs of {size} cells")
        runs = numbers.read(reader, count, 1)[:, 0]
        require(runs[0] >= 0 and bool((runs[1:] > 0).all()) and runs.sum() == size, reader, "runs of cells")
        pixels = (np.arange(count) % 2 == 1).repeat(runs).reshape(sides)
        own = cls((top, left, height, width), pixels, jpeg)
        whole = (height, width) == shape[:2] and not spread(pixels, jpeg.cut, shape).any()
        require(not whole, reader, "a JPEG in part that is whole")
        return own

    def words(self) -> str:
        """See `Origin`."""
        own = ~spread(self.pixels, self.jpeg.cut, self.box[2:])
        return f"{self.jpeg.words()}, in {int(own.sum())} pixels"


def _without(source: Source, pixels: NDArray[np.bool_]) -> Source:
    """A JPEG with levels of 0 where no cell needs them that is not of pixels."""
    components = []
    # Coarse chroma is also that of the nearest pixels around its block.
    near = np.pad(pixels, 1, constant_values=True)
    around = np.lib.stride_tricks.sliding_window_view(near, (3, 3)).all(axis=(2, 3))
    for component, (h, v) in zip(source.components, source.factors, strict=True):
        down, across = source.factors[0][1] // v, source.factors[0][0] // h
        unused = pixels if down == across == 1 else around
        rows, columns = component.shape[:2]
        more = [(0, count - side) for count, side in zip((rows * down, columns * across), pixels.shape, strict=True)]
        padded = np.pad(unused, more, constant_values=True)
        idle = np.asarray(padded.reshape(rows, down, columns, across).all(axis=(1, 3)))
        components.append(np.where(idle[:, :, None], 0, component).astype(np.int16))
    return replace(source, components=components)


def _quality(table: NDArray[np.uint16], component: int) -> int:
    """IJG's quality of a table, or FREE."""
    for each in range(100, 0, -1):
        if (table == jpeg_decoder.standard(each, component)).all():
            return each
    return FREE


def _pack_table(table: NDArray[np.uint16], component: int) -> bytes:
    quality = _quality(table, component)
    own = b"" if quality else numbers.pack(table.astype(np.int64)[:, None])
    return bytes([quality]) + own


def _read_table(reader: Reader, component: int) -> NDArray[np.uint16]:
    (quality,) = reader.take(1)
    require(quality <= 100, reader, f"a JPEG's quality of {quality}")
    if quality != FREE:
        return jpeg_decoder.standard(quality, component)
    table = numbers.read(reader, 64, 1)[:, 0]
    require(bool(table.min() >= 1 and table.max() < 1 << 16), reader, "a step of quantisation beyond 16 bits")
    return table.astype(np.uint16)
