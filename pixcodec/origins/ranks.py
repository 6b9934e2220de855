"""Few of the possible values in use: each channel as ranks in its list of values, so that neighbours lie densely."""

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

GAPS = 1 / 8  # of the values between the least and the greatest that must be missing in some channel


@dataclass(frozen=True)
class Ranks(Origin):
    """Ranks instead of values.

    Args:
        values: for each channel the values in use, uint8, by rank; usually ascending, of a palette's indices by colour.
    """

    number, name, unsure = 6, "ranks", True

    values: tuple[NDArray[np.uint8], ...]

    @classmethod
    def recover(cls, planes: Planes) -> tuple[Ranks, list[Planes]] | None:
        """See `Origin`."""
        used = [np.flatnonzero(count).astype(np.uint8) for count in _histograms(planes)]
        if not any(len(own) < (1 - GAPS) * (int(own[-1]) - int(own[0]) + 1) for own in used):
            return None
        return cls.of(planes, used)

    @classmethod
    def of(cls, planes: Planes, values: Sequence[NDArray[np.uint8]]) -> tuple[Ranks, list[Planes]]:
        """By lists that hold every sample of their channels."""
        ranks = np.empty_like(planes)
        for channel, own in enumerate(values):
            table = np.zeros(256, np.uint8)
            table[own] = np.arange(len(own))
            ranks[:, :, channel] = table[planes[:, :, channel]]
        return cls(tuple(values)), [ranks]

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:
        """See `Origin`; a rank beyond the list, which no writer writes, is 0."""
        planes = np.empty(shape, np.uint8)
        for channel, own in enumerate(self.values):
            table = np.zeros(256, np.uint8)
            table[: len(own)] = own
            planes[:, :, channel] = table[groups[0][:, :, channel]]
        return planes

    def shapes(self, shape: Shape) -> list[Shape]:
        """See `Origin`."""
        return [shape]

    def pack(self) -> bytes:
        """For each channel how many, and a table of the differences, the first to -1, less 1."""
        parts = []
        for own in self.values:
            steps = np.ediff1d(own.astype(np.int64), to_begin=int(own[0]) + 1) - 1
            parts += [varint(len(own)), numbers.pack(steps[:, None])]
        return b"".join(parts)

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """See `Origin`."""
        lists = []
        for _ in range(shape[2]):
            count = reader.number()
            require(0 < count <= 256, reader, f"a list of {count} values")
            own = np.cumsum(numbers.read(reader, count, 1)[:, 0] + 1) - 1
            sound = own.min() >= 0 and own.max() < 256 and len(np.unique(own)) == count
            require(bool(sound), reader, "a list of values that are beyond 0..255 or listed twice")
            lists.append(own.astype(np.uint8))
        return cls(tuple(lists))

    def words(self) -> str:
        """See `Origin`."""
        return f"{' x '.join(str(len(own)) for own in self.values)} values by rank"


def _histograms(planes: Planes) -> list[NDArray[np.int64]]:
    return [np.bincount(planes[:, :, channel].ravel(), minlength=256) for channel in range(planes.shape[2])]
