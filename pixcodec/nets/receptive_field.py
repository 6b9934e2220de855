"""What a pixel's outputs depend on, from the configuration alone (paper, figures 2 and 4).

Each layer is walked backwards, from places of its outputs to the places of its inputs that they see.  A place is
(y, x, group): a pixel and a colour group of the features there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixcodec.nets.gated import vertical_taps
from pixcodec.nets.masked import kernel_taps, row_taps

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixcodec.nets.autoregressive import Configuration
    from pixcodec.nets.masked import Taps

    Place = tuple[int, int, int]


def receptive_field(configuration: Configuration, radius: int) -> set[tuple[int, int]]:
    """The taps (dy, dx) of a whole network: the pixels (y - dy, x + dx) that the outputs of pixel (y, x) see.

    Looked at are those at most `radius` rows and columns away; no edge of the image is near.  The pixel itself is not
    among them, whatever of it the groups G and B see.
    """
    # Twice as wide as what is asked for, since the way to a pixel may lead around it.
    y, x = radius, 2 * radius
    seen = values_seen(configuration, (y + 1, 2 * x + 1), (y, x, configuration.groups - 1))
    taps = {(y - row, column - x) for row, column, _ in seen} - {(0, 0)}
    return {(dy, dx) for dy, dx in taps if abs(dx) <= radius}


def values_seen(configuration: Configuration, size: tuple[int, int], output: Place) -> set[Place]:
    """The values of an image that an output depends on.

    Args:
        configuration: of the network.
        size: height and width of the image; what lies outside tells nothing.
        output: row, column and colour group of the output (the mixture has but one group, 0).

    Returns:
        Row, column and channel of each value.
    """
    c = configuration
    walk = _Walk(size, c.groups)
    seen = walk.through({output}, ((0, 0),))  # the 1x1 layers
    if c.kind == "gated_pixelcnn":
        return _through_stacks(c, walk, seen)
    for _ in range(c.layers):
        seen |= _through_layer(c, walk, seen)
    return walk.values(seen, kernel_taps(c.first, itself=c.groups > 1), c.channels)


def _through_layer(c: Configuration, walk: _Walk, seen: set[Place]) -> set[Place]:
    """The inputs of a layer that these of its outputs see."""
    if c.kind == "pixelcnn":
        return walk.through(seen, kernel_taps(c.kernel, itself=True))
    if c.kind == "row_lstm":
        above: Taps = tuple((1, dx) for dx in range(-(c.kernel // 2), c.kernel // 2 + 1))
        return walk.through(walk.back(seen, above), row_taps(c.kernel, itself=True))
    lower = {(y - 1, x, group) for y, x, group in seen if y > 0}  # the second map is moved down by a row
    return walk.through(walk.back(seen, ((0, -1), (1, 0))) | walk.back(lower, ((0, 1), (1, 0))), ((0, 0),))


def _through_stacks(c: Configuration, walk: _Walk, seen: set[Place]) -> set[Place]:
    """The values that these places of the horizontal stack see through all layers of both stacks."""
    vertical: set[Place] = set()
    for _ in range(c.layers):
        vertical = walk.through(walk.all_groups(seen | vertical), vertical_taps(c.kernel, own_row=True))
        seen |= walk.through(seen, row_taps(c.kernel, itself=True))
    across = walk.values(vertical, vertical_taps(c.first, own_row=False), c.channels)
    return across | walk.values(seen, row_taps(c.first, itself=c.groups > 1), c.channels)


class _Walk:
    """Steps backwards inside an image."""

    def __init__(self, size: tuple[int, int], groups: int) -> None:
        _, self.width = size
        self.groups = range(groups)

    def through(self, places: Iterable[Place], taps: Taps) -> set[Place]:
        """What a convolution sees under mask B: at the pixel itself the groups up to its own, elsewhere all."""
        return {
            (row, column, other)
            for y, x, group in places
            for row, column, itself in self._pixels(y, x, taps)
            for other in self.groups
            if not itself or other <= group
        }

    def values(self, places: Iterable[Place], taps: Taps, channels: int) -> set[Place]:
        """What a convolution sees of the image under mask A: at the pixel itself the channels before its own."""
        return {
            (row, column, channel)
            for y, x, group in places
            for row, column, itself in self._pixels(y, x, taps)
            for channel in range(channels)
            if not itself or channel < group
        }

    def back(self, states: set[Place], taps: Taps) -> set[Place]:
        """The states that states come from in any number of steps, with themselves; a step sees all groups."""
        found, new = set(states), set(states)
        while new:
            new = {
                (row, column, other)
                for y, x, _ in new
                for row, column, _ in self._pixels(y, x, taps)
                for other in self.groups
            } - found
            found |= new
        return found

    def all_groups(self, places: Iterable[Place]) -> set[Place]:
        """All groups of the places' pixels."""
        return {(y, x, group) for y, x, _ in places for group in self.groups}

    def _pixels(self, y: int, x: int, taps: Taps) -> list[tuple[int, int, bool]]:
        """Row and column of what taps look at, as far as it is inside, and whether that is the pixel itself."""
        each = [(y - dy, x + dx, dy == dx == 0) for dy, dx in taps]
        return [(row, column, itself) for row, column, itself in each if row >= 0 and 0 <= column < self.width]
