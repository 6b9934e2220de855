"""Gray stored as RGB: R = G = B = Y."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pixcodec.origins.base import Origin, Planes, Shape, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from pixcodec.varint import Reader


SMALL = 1 << 12  # pixels: to code them all and compare costs next to nothing
LARGE = 1 << 18  # beyond it three channels, of which experts know two at once, take too long for the few bytes less
FLAT = 1 / 2  # of the pixels that are as their left neighbours: text and drawings, which colour models may know better


@dataclass(frozen=True)
class Gray(Origin):
    """One channel, three times.

    Args:
        unsure: of what is found, see `Origin`; in a file there is no such thing.
    """

    number, name = 3, "gray"
    needs = 1.01  # it has a third of the samples, so it takes a third of the time

    unsure: bool = field(default=False, compare=False)  # type: ignore[misc]

    @classmethod
    def recover(cls, planes: Planes) -> tuple[Gray, list[Planes]] | None:
        """See `Origin`."""
        if planes.shape[2] != 3:
            return None
        first = planes[:, :, :1]
        for rows in (slice(0, 1), slice(None)):  # one row is enough for nearly all others
            if not (planes[rows, :, 1:] == first[rows]).all():
                return None
        gray = np.ascontiguousarray(first)
        unsure = gray.size <= SMALL or (gray.size <= LARGE and _is_flat(gray))
        return cls(unsure), [gray]

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


def _is_flat(gray: Planes) -> bool:
    return bool(np.count_nonzero(gray[:, 1:] == gray[:, :-1]) >= FLAT * gray.size)
