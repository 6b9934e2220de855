"""Logits to counts, symbol by symbol in Python's integers (the definition).

Each symbol v = 0..255 has a class: with the output "residual" that of the residual v - q around the rounded centre q,
with the output "raw" its own.  Its weight is that of its class's logit l, in 1/256 of a bit below the largest logit of
the classes that have a symbol,

    w = EXP2[d mod 256] >> (d div 256),   d = top - l,   EXP2[f] = rint(2^(24 - f / 256))

and with T = sum of w over the symbols, count = (w * floor((2^24 - 256) 2^28 / T)) >> 28.  What the counts lack to the
sum 2^24 - 256 goes to the largest of them, the lowest symbol among equals.  The coder's frequency is count + 1.
Bilevel pictures have 2 symbols, and 2 stands for 256 everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.exact.frequencies import EXP2

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SYMBOLS = 256


def residual_class(residual: int, edges: Sequence[int]) -> int:
    """Class of a residual -255..255: below the first edge alone, farther ones in bins; numbered by ascending residual.

    `edges` are the lower edges of the bins of the magnitude; the last bin reaches 255.
    """
    alone = edges[0] - 1  # residuals with a class of their own, each side of 0
    step = min(abs(residual), alone) + sum(abs(residual) >= edge for edge in edges)
    return alone + len(edges) + (step if residual > 0 else -step)


def symbol_classes(form: Mapping[str, Any], centre: int) -> list[int]:
    """Class of each symbol 0..255 at a pixel, by the card's "network" form."""
    if form["output"] == "raw":
        return list(range(SYMBOLS))
    return [residual_class(v - centre, form["edges"]) for v in range(SYMBOLS)]


def counts(logits: Sequence[int], classes: Sequence[int]) -> np.ndarray:
    """int64[256] of sum 2^24 - 256, from the classes' logits and the class of each symbol."""
    own = [int(logits[j]) for j in classes]
    whole = (1 << 24) - len(own)
    top = max(own)
    weights = [int(EXP2[(top - l) % 256]) >> ((top - l) // 256) for l in own]
    reciprocal = (whole << 28) // sum(weights)
    result = [(w * reciprocal) >> 28 for w in weights]
    largest = result.index(max(result))
    result[largest] += whole - sum(result)
    return np.array(result, np.int64)
