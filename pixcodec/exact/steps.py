"""The wavefront's order: pixels with the same x + 2 y are coded in one step; lane y holds pixel (y, step - 2 y)."""

from __future__ import annotations

ALL_LANES = 1 << 30  # beyond the last one


def number_of_steps(height: int, width: int) -> int:
    """Steps of a tile: W + 2 (H - 1)."""
    return width + 2 * (height - 1)


def active_lanes(step: int, height: int, width: int) -> tuple[int, int]:
    """First and last lane whose pixel lies inside the tile in this step; last < first when there is none."""
    return max(0, (step - width + 2) // 2), min(height - 1, step // 2)
