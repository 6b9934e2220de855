"""One value everywhere, in each channel: an opaque alpha, an empty page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pixcodec.origins.base import MAX_SAMPLES, Origin, Planes, Shape, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from pixcodec.varint import Reader


@dataclass(frozen=True)
class Constant(Origin):
    """No group at all, and a byte a channel.

    Args:
        values: of the channels.
    """

    number, name, bilevel = 4, "constant", True

    values: bytes

    @classmethod
    def recover(cls, planes: Planes) -> tuple[Constant, list[Planes]] | None:
        """See `Origin`."""
        if planes.size > MAX_SAMPLES:
            return None
        for rows in (slice(0, 1), slice(None)):
            if not (planes[rows] == planes[0, 0]).all():
                return None
        return cls(planes[0, 0].tobytes()), []

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:  # noqa: ARG002
        """See `Origin`."""
        return np.broadcast_to(np.frombuffer(self.values, np.uint8), shape).copy()

    def shapes(self, shape: Shape) -> list[Shape]:  # noqa: ARG002
        """See `Origin`."""
        return []

    def pack(self) -> bytes:
        """The values."""
        return self.values

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """See `Origin`."""
        require(shape[0] * shape[1] * shape[2] <= MAX_SAMPLES, reader, f"{shape[1]}x{shape[0]} pixels of one value")
        return cls(reader.take(shape[2]))

    def words(self) -> str:
        """See `Origin`."""
        return f"one value everywhere ({', '.join(map(str, self.values))})"
