"""Enlarged by replication, by a whole factor along each axis, and perhaps cropped.

Sample (y, x) is that of the source at ((y + phase_y) div factor_y, (x + phase_x) div factor_x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pixcodec.origins.base import MAX_SAMPLES, Origin, Planes, Shape, require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from pixcodec.varint import Reader

LARGEST = 16
_LOOK = 16  # rows or columns that are looked at first


@dataclass(frozen=True)
class Enlarged(Origin):
    """The source.

    Args:
        factors: 1..16 down and across, not both 1.
        phases: of the first row and column in their sample of the source, below the factors.
    """

    number, name, bilevel = 5, "enlarged", True
    again = True  # by more than one can say

    factors: tuple[int, int]
    phases: tuple[int, int]

    @classmethod
    def recover(cls, planes: Planes) -> tuple[Enlarged, list[Planes]] | None:
        """See `Origin`."""
        if planes.size > MAX_SAMPLES:
            return None
        (fy, py), (fx, px) = _factor(planes), _factor(planes.swapaxes(0, 1))
        if fy == fx == 1:
            return None
        # Each sample of the source at its first place in the picture.
        rows = np.maximum(np.arange(-(-(planes.shape[0] + py) // fy)) * fy - py, 0)
        columns = np.maximum(np.arange(-(-(planes.shape[1] + px) // fx)) * fx - px, 0)
        return cls((fy, fx), (py, px)), [np.ascontiguousarray(planes[rows[:, None], columns])]

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:
        """See `Origin`."""
        rows, columns = ((np.arange(shape[axis]) + self.phases[axis]) // self.factors[axis] for axis in (0, 1))
        return groups[0][rows[:, None], columns]

    def shapes(self, shape: Shape) -> list[Shape]:
        """See `Origin`."""
        height, width = (-(-(shape[axis] + self.phases[axis]) // self.factors[axis]) for axis in (0, 1))
        return [(height, width, shape[2])]

    def pack(self) -> bytes:
        """Two bytes: for each axis 16 (factor - 1) + phase."""
        return bytes(16 * (factor - 1) + phase for factor, phase in zip(self.factors, self.phases, strict=True))

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """See `Origin`."""
        require(shape[0] * shape[1] * shape[2] <= MAX_SAMPLES, reader, f"{shape[1]}x{shape[0]} enlarged pixels")
        (fy, py), (fx, px) = ((byte // 16 + 1, byte % 16) for byte in reader.take(2))
        require(py < fy and px < fx and (fy, fx) != (1, 1), reader, f"an enlargement by {fx}x{fy} from ({px}, {py}) on")
        return cls((fy, fx), (py, px))

    def words(self) -> str:
        """See `Origin`."""
        return f"enlarged {self.factors[1]}x{self.factors[0]} by replication"


def _factor(planes: Planes) -> tuple[int, int]:
    """The largest factor along the first axis, and the phase of the first row."""
    if len(planes) < 2:
        return 1, 0
    for part in (planes[:, :_LOOK], planes):
        changes = np.flatnonzero((part[1:] != part[:-1]).any(axis=(1, 2))) + 1
        if not changes.size:
            factor, first = LARGEST, 0
            continue
        first = int(changes[0])
        common = int(np.gcd.reduce(changes - first))
        # One change alone allows any factor; rows behind the last one must be of its sample too, but need not be many.
        factor = max(k for k in range(1, LARGEST + 1) if common % k == 0)
        if factor == 1:
            return 1, 0
    phase = -first % factor
    return (factor, phase) if -(-(len(planes) + phase) // factor) < len(planes) else (1, 0)
