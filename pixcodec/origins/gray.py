"""Gray stored as RGB: R = G = B = Y."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.origins.base import Origin, Planes, Shape, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from pixcodec.varint import Reader


class Gray(Origin):
    """One channel, three times."""

    number, name = 3, "gray"

    @classmethod
    def recover(cls, planes: Planes) -> tuple[Gray, list[Planes]] | None:
        """See `Origin`."""
        if planes.shape[2] != 3:
            return None
        first = planes[:, :, :1]
        for rows in (slice(0, 1), slice(None)):  # one row is enough for nearly all others
            if not (planes[rows, :, 1:] == first[rows]).all():
                return None
        return cls(), [np.ascontiguousarray(first)]

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:
        """See `Origin`."""
        return groups[0].repeat(shape[2], axis=2)

    def shapes(self, shape: Shape) -> list[Shape]:
        """See `Origin`."""
        return [(*shape[:2], 1)]

    def pack(self) -> bytes:
        """No parameters."""
        return b""

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """See `Origin`."""
        require(shape[2] == 3, reader, f"gray of {shape[2]} channels")
        return cls()

    def words(self) -> str:
        """See `Origin`."""
        return "gray stored as RGB"
