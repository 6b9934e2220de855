"""The experts by name: the one table that the command line, reports and docs share; masks say which take part.

A mask is a number with bit e for expert e, as files have it (docs/format.md, section 10).
"""

from __future__ import annotations

from typing import NamedTuple


class Expert(NamedTuple):
    """An expert's name, the context that it knows, and the pictures that it is for."""

    name: str
    context: str
    serves: str


EXPERTS = (
    Expert("known", "this pixel's channels before (of the first one: the left value)", "film scans, YCbCr, palettes"),
    Expert("known-left", "and the value to the left", "palettes, drawings"),
    Expert("known-slopes", "and by how much left and upper differ from the channel before", "smooth colour"),
    Expert("change-left", "how the channels before differ from the left pixel's, parity", "chroma at a quarter"),
    Expert("change-up", "how they differ from the upper pixel's, parity of row and column", "chroma at a quarter"),
    Expert("known-centre", "known and the predicted value", "tone curves, photographs"),
    Expert("neighbourhood", "known and the four pixels around", "text, screenshots"),
    Expert("match", "the pixel after the last same neighbourhood", "tiles, text"),
    Expert("histogram", "parity of row and column", "gaps in the histogram"),
    Expert("before", "the value of the channel before", "colour given colour"),
    Expert("other", "the other known channel, the upper value, or the left difference", "colour given colour"),
    Expert("left", "distance of the cut from the left value, the slope there", "photographs, edges"),
    Expert("upper", "distance of the cut from the upper value, the slope there", "photographs, edges"),
)
NAMES = tuple(expert.name for expert in EXPERTS)
ALL = (1 << len(EXPERTS)) - 1


def mask_of(names: str) -> int:
    """The mask of "all", "none", or names with commas between them; `ValueError` names what is no expert."""
    if names in {"all", "none"}:
        return ALL if names == "all" else 0
    mask = 0
    for name in names.split(","):
        if name not in NAMES:
            raise ValueError(f"expected all, none, or names of {', '.join(NAMES)}, found {name!r}")
        mask |= 1 << NAMES.index(name)
    return mask


REPETITION = mask_of("neighbourhood,match")  # what is for pictures that repeat themselves


def names_of(mask: int) -> str:
    """Inverse of `mask_of`."""
    if mask in {0, ALL}:
        return "all" if mask else "none"
    return ",".join(name for e, name in enumerate(NAMES) if mask >> e & 1)


def without(mask: int, expert: int) -> int:
    """The mask with an expert switched off."""
    return mask & ~(1 << expert)
