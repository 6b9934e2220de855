"""The operations that frozen networks of the paper are made of; `reference/program.py` says what they compute.

A tap (dy, dx) looks at the pixel (y - dy, x + dx) of a map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from pixcodec.exact.network import Product

BYTE = 255
SIGNED = 127
GATES = 4  # of an LSTM: o, f, i, g
HALVES = 2  # of a gated unit
REACH = 4  # rows or columns that a tap may look away
IMAGE = "image"
KNOWN = "known"  # of several scales: what the small image tells of the large one
Taps = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _OfOneMap:
    """What makes the map `target` from the map `source`."""

    source: str
    target: str

    @property
    def sources(self) -> tuple[str, ...]:
        """Maps that are read."""
        return (self.source,)


@dataclass(frozen=True)
class Convolve(_OfOneMap):
    """target = clamp(rint((bias + sum over taps of source W) * scale), low, high)."""

    taps: Taps
    product: Product
    low: int
    high: int
    parts: int


@dataclass(frozen=True)
class Rescale(_OfOneMap):
    """target = clamp(rint(source * scale), low, high), a scale for each feature."""

    scale: np.ndarray
    low: int
    high: int


@dataclass(frozen=True)
class Add:
    """target = clamp(first + second)."""

    sources: tuple[str, str]
    target: str


@dataclass(frozen=True)
class Gate(_OfOneMap):
    """target = tanh(first half of source) sigmoid(second half), by tables, in 1/128."""


@dataclass(frozen=True)
class Recur(_OfOneMap):
    """The states of an LSTM from its gates, line after line (paper, equation 3).

    Attributes:
        source: gates, input to state, in 1/256.
        target: states, in 1/128; the cells are beside it, in 1/2048.
        direction: "rows": from the row above; "left": from the left and from above; "right": from the right and above.
        product: state to state, one weight a place (`SEES`), biases 0.
        initial: int32[2, h], state and cell outside the image.
    """

    direction: str
    product: Product
    initial: np.ndarray

    SEES: ClassVar[dict[str, Callable[[int], Taps]]] = {
        "rows": lambda taps: tuple((1, dx) for dx in range(-(taps // 2), taps // 2 + 1)),
        "left": lambda _: ((1, 0), (0, -1)),
        "right": lambda _: ((1, 0), (0, 1)),
    }

    @property
    def taps(self) -> Taps:
        """Where the states lie that a state is made from, in the order of the weights; the cell comes from `carry`."""
        return self.SEES[self.direction](len(self.product.weight))

    @property
    def carry(self) -> tuple[int, int]:
        """Where the cell lies that a cell goes on from."""
        return {"rows": (1, 0), "left": (0, -1), "right": (0, 1)}[self.direction]


@dataclass(frozen=True)
class Join:
    """target = first(y, x) + second(y - 1, x): both directions of a Diagonal BiLSTM, the right one a row down."""

    sources: tuple[str, str]
    target: str


Operation = Convolve | Rescale | Add | Gate | Recur | Join
