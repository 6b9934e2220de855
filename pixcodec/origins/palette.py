"""At most 256 colours: indices into a list of colours that is ordered so that likely neighbours have near indices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pixcodec.origins import numbers
from pixcodec.origins.base import Origin, Planes, Shape, require
from pixcodec.varint import varint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from pixcodec.varint import Reader

MOST = 256
_LOOK = 1 << 12  # pixels that are looked at first
_LUMINANCE = np.array([299, 587, 114])


@dataclass(frozen=True)
class Palette(Origin):
    """Colours and one plane of indices.

    Args:
        colours: uint8[n, 3], none twice.
    """

    number, name, unsure, coloured = 7, "palette", True, True

    colours: NDArray[np.uint8]

    @classmethod
    def recover(cls, planes: Planes) -> tuple[Palette, list[Planes]] | None:
        """See `Origin`."""
        if planes.shape[2] != 3:
            return None
        flat = planes.reshape(-1, 3)
        step = max(1, len(flat) // _LOOK)
        if len(_packed(flat[::step])[1]) > MOST:
            return None
        codes, found = _packed(flat)
        if len(found) > MOST:
            return None
        colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8)
        order = by_luminance(colours)
        rank = np.empty(len(order), np.uint8)
        rank[order] = np.arange(len(order))
        indices = rank[np.searchsorted(found, codes)].reshape(*planes.shape[:2], 1)
        return cls(colours[order]), [indices]

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:
        """See `Origin`; an index beyond the list, which no writer writes, is black."""
        table = np.zeros((256, shape[2]), np.uint8)
        table[: len(self.colours)] = self.colours
        return table[groups[0][:, :, 0]]

    def shapes(self, shape: Shape) -> list[Shape]:
        """See `Origin`."""
        return [(*shape[:2], 1)]

    def pack(self) -> bytes:
        """How many, and a table of differences to the colour before: G, R - G, B - G."""
        return varint(len(self.colours)) + pack_colours(self.colours)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """See `Origin`."""
        count = reader.number()
        require(shape[2] == 3 and 0 < count <= MOST, reader, f"{count} colours")
        colours = read_colours(reader, count)
        require(len(np.unique(colours, axis=0)) == count, reader, "a colour that is listed twice")
        return cls(colours)

    def words(self) -> str:
        """See `Origin`."""
        return f"{len(self.colours)} colours"


def by_luminance(colours: NDArray[np.uint8]) -> NDArray[np.intp]:
    """The order of colours uint8[n, 3] by how light they are, and then by their numbers."""
    keys = (*colours.T[::-1], colours.astype(np.int64) @ _LUMINANCE)
    return np.lexsort(keys)


def pack_colours(colours: NDArray[np.uint8]) -> bytes:
    """The table of colours uint8[n, 3]; also of a palette, where one may be there twice."""
    r, g, b = colours.astype(np.int64).T
    return numbers.pack(np.diff(np.stack([g, r - g, b - g], axis=1), axis=0, prepend=0))


def read_colours(reader: Reader, count: int) -> NDArray[np.uint8]:
    """Colours uint8[count, 3] that `pack_colours` wrote."""
    g, rg, bg = np.cumsum(numbers.read(reader, count, 3), axis=0).T
    colours = np.stack([rg + g, g, bg + g], axis=1)
    require(bool(((colours >= 0) & (colours < 256)).all()), reader, "a colour beyond 0..255")
    return colours.astype(np.uint8)


def _packed(flat: Planes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Colours [n, 3] as numbers of 24 bits, and the different ones, ascending."""
    r, g, b = flat.astype(np.int64).T
    codes = r << 16 | g << 8 | b
    return codes, np.unique(codes)
