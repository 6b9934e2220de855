"""What a network says of a pixel, a row of numbers, in one of two forms, and who makes rows and codes by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pixcodec.exact import cuts, frequencies, range_coder
from pixcodec.exact.emit import aligned
from pixcodec.exact.frequencies import Classes, row_size
from pixcodec.exact.logistics import MIXTURE, make_mixtures

if TYPE_CHECKING:
    from collections.abc import Callable


class Form(NamedTuple):
    """Compiled functions for rows of a form.

    Attributes:
        kind: of their numbers.
        make: fills rows[n, ..] from (outputs int16[n, ..], centres int[n], classes, how many symbols there are).
        put, take: see `range_coder.put_lanes` and `take_lanes`, with rows in the place of counts.
        code_length: bits that an ideal coder spends, by (rows, centres, classes, symbols).
        symbol_counts: fills float32[n, 256] with counts, from (rows, centres, classes).
    """

    kind: Any
    make: Callable[..., None]
    put: Callable[..., None]
    take: Callable[..., None]
    code_length: Callable[..., float]
    symbol_counts: Callable[..., None]

    def room(self, shape: tuple[int, ...], classes: Classes) -> np.ndarray:
        """For so many rows, one behind the other."""
        width = MIXTURE if self.kind is np.float32 else row_size(classes.number)
        return aligned((*shape[:-1], shape[-1] * width), self.kind).reshape(*shape, width)


# Counts of classes of residuals.
COUNTS = Form(
    np.int32, frequencies.class_counts, range_coder.put_lanes, range_coder.take_lanes, frequencies.code_length,
    frequencies.symbol_counts,
)  # fmt: skip
# Mixtures of logistics.
MIXTURES = Form(np.float32, make_mixtures, cuts.put_lanes, cuts.take_lanes, cuts.code_length, cuts.symbol_counts)
