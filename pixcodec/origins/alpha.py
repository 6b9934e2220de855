"""Alpha beside gray or colour: a group of one channel, coded before the others. Not found but known, by the mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec.origins.base import Origin, Planes, Shape, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from pixcodec.varint import Reader


class Alpha(Origin):
    """The last channel by itself; the colour under alpha 0 is kept as it is."""

    number, name = 2, "alpha"

    @classmethod
    def recover(cls, planes: Planes) -> tuple[Alpha, list[Planes]] | None:
        """See `Origin`."""
        if planes.shape[2] not in {2, 4}:
            return None
        return cls(), [np.ascontiguousarray(planes[:, :, -1:]), np.ascontiguousarray(planes[:, :, :-1])]

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:  # noqa: ARG002
        """See `Origin`."""
        return np.concatenate([groups[1], groups[0]], axis=2)

    def shapes(self, shape: Shape) -> list[Shape]:
        """See `Origin`."""
        return [(*shape[:2], 1), (*shape[:2], shape[2] - 1)]

    def pack(self) -> bytes:
        """No parameters."""
        return b""

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """See `Origin`."""
        require(shape[2] in {2, 4}, reader, f"alpha of {shape[2]} channels")
        return cls()

    def words(self) -> str:
        """See `Origin`."""
        return "alpha by itself"
