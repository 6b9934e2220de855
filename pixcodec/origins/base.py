"""What every origin is: a way of making pictures, undone by `recover` and done again, exactly, by `render`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from pixcodec.exact.predict import no_planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

    from pixcodec.varint import Reader

Planes = NDArray[np.uint8]  # [H, W, C]
Shape = tuple[int, int, int]  # H, W, C of planes
# What makes much of few bytes is refused beyond this: a small file must not reserve the memory of a huge one.
MAX_SAMPLES = 2**28


class Origin(ABC):
    """The parameters of one origin; the planes that it makes pictures from are its groups.

    Attributes:
        number: in files.
        name: for people, and of the option ``--origin``.
        bilevel: whether groups of a bilevel picture are bilevel again.
        unsure: whether it is not smaller by its nature, so that its groups must be coded to know; those have its size.
        needs: of the bytes without it, how many an unsure one may need at most.
        coloured: whether it knows no more of a picture in gray than that it is gray.
        again: whether its groups may have the same origin again.
        missed: of the pixels, how many a rendering may miss: one that misses more explains nothing.
    """

    number: ClassVar[int]
    name: ClassVar[str]
    bilevel: ClassVar[bool] = False
    unsure: ClassVar[bool] = False
    needs: ClassVar[float] = 0.99
    coloured: ClassVar[bool] = False
    again: ClassVar[bool] = False
    missed: ClassVar[float] = 1 / 32

    @classmethod
    @abstractmethod
    def recover(cls, planes: Planes) -> tuple[Origin, list[Planes]] | None:
        """Parameters and groups that render to `planes`, but for a few pixels at most; None where there are none."""

    @abstractmethod
    def render(self, groups: Sequence[Planes], shape: Shape) -> Planes:
        """The picture that groups of `shapes` are made into, uint8 of `shape`; integers only, the same everywhere."""

    @abstractmethod
    def shapes(self, shape: Shape) -> list[Shape]:
        """The shapes of the groups of a picture of this shape."""

    def known(self, groups: Sequence[Planes], shape: Shape) -> Planes:
        """What the model of the group that follows `groups` may know, uint8[h, w, K] of its size; nothing, K = 0.

        `shape` is the picture's. Planes of which nothing can be known yet are 0.
        """
        return no_planes(*self.shapes(shape)[len(groups)][:2])

    def transposed(self) -> Origin | None:
        """That which makes the transposed picture of transposed groups; None unless there is one that is known."""
        return None

    @abstractmethod
    def pack(self) -> bytes:
        """The parameters in a file; `read` knows where they end."""

    @classmethod
    @abstractmethod
    def read(cls, reader: Reader, shape: Shape) -> Self:
        """Parameters from a file, for a picture of `shape`; the reader's error for any that `recover` never gives."""

    @abstractmethod
    def words(self) -> str:
        """What was found, for people."""


def require(sound: bool, reader: Reader, what: str) -> None:  # noqa: FBT001
    """Raise the reader's error unless a parameter is sound."""
    if not sound:
        message = f"{reader.what} is damaged: {what} cannot be; fetch the file anew"
        raise reader.error(message)
