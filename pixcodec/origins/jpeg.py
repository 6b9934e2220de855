"""JPEG: a picture that was decoded from one, as the quantised coefficients that it held."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pixcodec import jpeg_file
from pixcodec.exact import coefficients
from pixcodec.origins import jpeg_decoder, jpeg_recovery, numbers
from pixcodec.origins.base import MAX_SAMPLES, Origin, Planes, Shape, require
from pixcodec.origins.jpeg_decoder import LAYOUTS
from pixcodec.varint import varint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from pixcodec.origins.jpeg_decoder import Cut, Factors
    from pixcodec.varint import Reader

_NAMES = "gray", "4:4:4", "4:2:0", "4:2:2", "4:4:0"
TRANSFORMS = {1: "gray", 3: "ycbcr"}  # of files, by channels
FREE = 0  # in the place of a quality, 1..100: a table of its own
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
        source = jpeg_recovery.recover(planes) if planes.shape[2] in {1, 3} else None
        if source is None:
            return None
        return cls.of_source(source, planes.shape), []

    @classmethod
    def of_file(cls, data: bytes, shape: Shape) -> tuple[Jpeg, list[Planes]] | None:
        """What a JPEG file holds whose picture has this shape; None where it is of a kind that is not read."""
        file = jpeg_file.read(data)
        if file is None or (file.height, file.width) != shape[:2] or file.transform != TRANSFORMS.get(shape[2]):
            return None
        factors, blocks = tuple(file.factors), [each.shape[:2] for each in file.components]
        if factors not in LAYOUTS or blocks != jpeg_decoder.shapes(factors, *shape[:2]):
            return None
        source = jpeg_decoder.Source(factors, (0, 0, 0, 0), file.tables, file.components)
        try:
            return cls.of_source(source, shape), []
        except ValueError:  # steps or levels that no encoder writes
            return None

    @classmethod
    def of_source(cls, source: jpeg_decoder.Source, shape: Shape) -> Jpeg:
        """The origin of a picture of this shape; `ValueError` for coefficients that the coder has no place for."""
        payload = coefficients.encode(source.components, source.tables)
        return cls(source.factors, source.cut, source.tables, payload, shape[0] * shape[1], source.components)

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:  # noqa: ARG002
        """See `Origin`; `DamagedTileError` for a payload that holds no coefficients."""
        components = self.components
        if components is None:
            shapes = jpeg_decoder.shapes(self.factors, *jpeg_decoder.size(shape, self.cut))
            components = coefficients.decode(self.payload, shapes, self.tables)
        return jpeg_decoder.Source(self.factors, self.cut, self.tables, components).render(shape)

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
