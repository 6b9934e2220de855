"""Pixels that a rendering misses: where they are, and by how much each sample differs.

They cluster, so distances of 0 and differences of 0 are learned by their columns (`numbers`).
"""

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


@dataclass(frozen=True)
class Exceptions(Origin):
    """The right picture from one that is nearly right.

    Args:
        rows: int64[n, 1 + C], n >= 1: pixels skipped since the exception before, in raster order, then for each channel
            the sample minus the rendered one.
    """

    number, name, bilevel = 1, "exceptions", True

    rows: NDArray[np.int64]

    @classmethod
    def recover(cls, planes: Planes) -> None:  # noqa: ARG003
        """None: there are none without a rendering, see `between`."""
        return

    @classmethod
    def between(cls, planes: Planes, rendered: Planes, most: float) -> Exceptions | None:
        """What makes `planes` of `rendered`, which must differ; None where more than this part of the pixels does."""
        wrong = (planes != rendered).any(axis=2)
        places = np.flatnonzero(wrong)
        if places.size > most * wrong.size:
            return None
        skipped = np.diff(places, prepend=-1) - 1
        return cls(np.column_stack([skipped, planes[wrong].astype(np.int64) - rendered[wrong]]))

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:
        """See `Origin`."""
        planes = groups[0].copy()
        flat, places = planes.reshape(-1, shape[2]), self._places()
        flat[places] = (flat[places] + self.rows[:, 1:]).astype(np.uint8)  # modulo 256, as files say
        return planes

    def _places(self) -> NDArray[np.int64]:
        places: NDArray[np.int64] = np.cumsum(self.rows[:, 0] + 1) - 1
        return places

    def shapes(self, shape: Shape) -> list[Shape]:
        """See `Origin`."""
        return [shape]

    def pack(self) -> bytes:
        """Their number, then the table."""
        return varint(len(self.rows)) + numbers.pack(self.rows)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """See `Origin`."""
        count, pixels = reader.number(), shape[0] * shape[1]
        require(0 < count <= pixels, reader, f"{count} exceptions of {pixels} pixels")
        rows = numbers.read(reader, count, 1 + shape[2])
        own = cls(rows)
        sound = rows[:, 0].min() >= 0 and own._places()[-1] < pixels and np.abs(rows[:, 1:]).max() < 256
        require(bool(sound), reader, "exceptions outside of the picture")
        return own

    def words(self) -> str:
        """See `Origin`."""
        return f"{len(self.rows)} exceptions"
