"""Pictures made from one luma and two coarser chroma planes: what Photo CD and YCbCr share.

A pixel that nothing clips says its luma and chroma exactly, by a named conversion. Chroma is gathered from these; what
clipped pixels hide is deduced from what they show (`hidden`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pixcodec.origins import kernels
from pixcodec.origins.base import Origin, Planes, Shape, require
from pixcodec.origins.hidden import reveal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from typing_extensions import Self

    from pixcodec.varint import Reader

# Pixels of each look, the last of which ranks conversions, and how many of the solvable ones may fail.
_LOOKS = ((1 << 7, 0.15), (1 << 11, 0.03), (1 << 14, 0.03))
_ENOUGH = 0.005  # may differ from a layout


@dataclass(frozen=True)
class Conversion:
    """Luma and chroma to pixels.

    Args:
        name: for people.
        tables: int64[3, 256, 3] of luma and both chroma planes, see `kernels`.
    """

    name: str
    tables: NDArray[np.int64]

    def inverse(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Where to look for (Y, C1, C2) of a pixel v: matrix @ (v + 1/2 - offsets)."""
        slopes = (self.tables[:, 255] - self.tables[:, 0]).T / 255 / 65536
        # By the mean of tables that are rounded down themselves, nothing is far from where it is looked for.
        return np.linalg.inv(slopes), self.tables.mean(axis=1).sum(axis=0) / 65536 - slopes.sum(axis=1) * 127.5


@dataclass(frozen=True)
class LumaChroma(Origin):
    """Two chroma planes [h, w, 1], of which the second knows the first, and luma [H, W, 1], which knows both.

    Args:
        conversion: its place in `CONVERSIONS`.
        factors: luma samples to a chroma sample, down and across: 1 or 2.
        phases: of the first chroma sample, below the factors.
        replicated: whether chroma is that of the sample before, not the mean of two.
    """

    coloured = True

    CONVERSIONS: ClassVar[tuple[Conversion, ...]] = ()
    # Factors, and whether replicated, that are looked for; the first that fits is taken.
    LAYOUTS: ClassVar[tuple[tuple[tuple[int, int], bool], ...]] = ()

    conversion: int
    factors: tuple[int, int]
    phases: tuple[int, int]
    replicated: bool

    @property
    def _layout(self) -> tuple[int, int, int, int, bool]:
        return (*self.factors, *self.phases, self.replicated)

    @classmethod
    def _kinds(cls) -> Iterator[tuple[tuple[int, int], tuple[int, int], bool]]:
        for factors, replicated in cls.LAYOUTS:
            for py in range(factors[0]):
                for px in range(factors[1]):
                    yield factors, (py, px), replicated

    @classmethod
    def recover(cls, planes: Planes) -> tuple[Origin, list[Planes]] | None:
        """See `Origin`."""
        height, width, channels = planes.shape
        if channels != 3 or height < 4 or width < 4:
            return None
        # Of conversions that differ in few roundings several may fit; the best one first.
        for _, number in sorted(cls._fitting(planes.reshape(-1, 3))):
            solved = _solved(planes.reshape(-1, 3), cls.CONVERSIONS[number])[1].reshape(planes.shape)
            for factors, phases, replicated in cls._kinds():
                own = cls(number, factors, phases, replicated)
                if (groups := own._groups(planes, solved)) is not None:
                    return own, groups
        return None

    @classmethod
    def _fitting(cls, flat: Planes) -> Iterator[tuple[float, int]]:
        """Conversions by which most pixels [n, 3] that nothing clips have a luma and chroma, by how many have none."""
        for number, conversion in enumerate(cls.CONVERSIONS):
            for look, most in _LOOKS:
                missing, solved = _solved(flat[:: max(1, len(flat) // look)], conversion)
                known = int((solved[:, 0] != kernels.UNKNOWN).sum())
                if missing > most * (known + missing):
                    break
            else:
                if known:
                    yield missing / known, number

    def _groups(self, planes: Planes, solved: NDArray[np.int64]) -> list[Planes] | None:
        """Chroma and luma; None where pixels that nothing clips do not agree with this layout."""
        tables, layout = self.CONVERSIONS[self.conversion].tables, self._layout
        c1, c2 = (np.full(shape[:2], kernels.UNKNOWN, np.int64) for shape in self.shapes(planes.shape)[:2])
        wrong = kernels.gather(solved, layout, c1, c2)
        known, differ = kernels.disagreements(solved, layout, c1, c2)
        if known == 0 or wrong + differ > _ENOUGH * known:
            return None
        reveal(planes, tables, layout, c1, c2)
        y = np.zeros(planes.shape[:2], np.int64)
        kernels.luma(planes, tables, layout, c1, c2, y)
        return [plane.astype(np.uint8)[:, :, None] for plane in (c1, c2, y)]

    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:
        """See `Origin`."""
        if [group.shape for group in groups] != self.shapes(shape):  # compiled loops look at no bounds
            message = f"groups must be {self.shapes(shape)}, found {[group.shape for group in groups]}"
            raise ValueError(message)
        planes = np.empty(shape, np.uint8)
        c1, c2, y = (group[:, :, 0].astype(np.int64) for group in groups)
        kernels.render(y, c1, c2, self.CONVERSIONS[self.conversion].tables, self._layout, planes)
        return planes

    def known(self, groups: Sequence[Planes], shape: Shape) -> Planes:
        """See `Origin`: of the first chroma plane, whose model knows one, a plane of zeros."""
        if not groups:
            return np.zeros(self.shapes(shape)[0], np.uint8)
        if len(groups) == 1:
            return groups[0]
        return np.concatenate([self.enlarged(chroma, *shape[:2]) for chroma in groups], axis=2)

    def enlarged(self, chroma: Planes, height: int, width: int) -> Planes:
        """Chroma uint8[h, w, 1] at every pixel of a luma of this size."""
        planes = np.empty((height, width, 1), np.uint8)
        kernels.enlarge(chroma[:, :, 0], self._layout, planes[:, :, 0])
        return planes

    def shapes(self, shape: Shape) -> list[Shape]:
        """See `Origin`."""
        height, width = (max(-(-(shape[axis] - self.phases[axis]) // self.factors[axis]), 1) for axis in (0, 1))
        return [(height, width, 1), (height, width, 1), (*shape[:2], 1)]

    def transposed(self) -> Self | None:
        """See `Origin`: there is no layout of chroma that is coarse along columns alone."""
        return replace(self, phases=self.phases[::-1]) if self.factors[0] == self.factors[1] else None

    def pack(self) -> bytes:
        """Two bytes: the conversion, and the layout's place in `_kinds`."""
        own = self.factors, self.phases, self.replicated
        return bytes([self.conversion, [*self._kinds()].index(own)])

    @classmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """See `Origin`."""
        conversion, layout = reader.take(2)
        kinds = [*cls._kinds()]
        known = conversion < len(cls.CONVERSIONS) and layout < len(kinds) and shape[2] == 3
        require(known, reader, f"conversion {conversion} of layout {layout} and {shape[2]} channels")
        return cls(conversion, *kinds[layout])

    def words(self) -> str:
        """See `Origin`."""
        size = {(1, 1): "full", (1, 2): "half horizontal", (2, 2): "half"}[self.factors]
        return f"{self.CONVERSIONS[self.conversion].name}, chroma at {size} resolution"


def _solved(pixels: Planes, conversion: Conversion) -> tuple[int, NDArray[np.int64]]:
    """How many pixels [n, 3] that nothing clips have no luma and chroma, and those of the others."""
    out = np.empty(pixels.shape, np.int64)
    return kernels.invert(pixels, conversion.tables, *conversion.inverse(), out), out
