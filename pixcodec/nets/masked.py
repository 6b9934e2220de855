"""Masked convolutions: mask A, which does not see the pixel itself, and mask B, which does (paper, section 3.4).

A tap (dy, dx) looks at the pixel (y - dy, x + dx).  In colour networks of the paper the features are in three groups,
one a channel: at the pixel itself group R sees nothing (mask A) or R (mask B), G also R, B also R and G.

The photo network codes pixels along the wavefront x + 2 y, so there what looks at pixel values may use taps with
2 dy - dx >= 1 and what looks at features of such layers taps with 2 dy - dx >= 0 (`check_taps`); its two kernels are
causal in raster order as well.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn
from torch.nn import functional

Taps = tuple[tuple[int, int], ...]
REACH = 4  # rows above that a tap may look at: what the exact network keeps around its lanes

FIRST_TAPS: Taps = (
    *((0, dx) for dx in (-1, -2)),
    *((1, dx) for dx in (-2, -1, 0, 1)),
    *((2, dx) for dx in (-2, -1, 0, 1, 2)),
)
TAPS: Taps = ((0, 0), (0, -1), (1, -1), (1, 0), (1, 1))


def kernel_taps(size: int, *, itself: bool) -> Taps:
    """What a masked size x size kernel of the paper sees: the rows above, the pixels to the left, perhaps the pixel."""
    reach = size // 2
    above = tuple((dy, dx) for dy in range(reach, 0, -1) for dx in range(-reach, reach + 1))
    return above + row_taps(size, itself=itself)


def row_taps(size: int, *, itself: bool) -> Taps:
    """What a masked size x 1 kernel sees: pixels to the left, perhaps the pixel."""
    return tuple((0, dx) for dx in range(-(size // 2), 1 if itself else 0))


def colour_groups(features: int, groups: int) -> torch.Tensor:
    """int64[features]: the colour group of each feature, groups of nearly equal size in order."""
    return torch.arange(features) * groups // features


def colour_mask(mask: Literal["A", "B"], inputs: int, outputs: int, groups: int, parts: int = 1) -> torch.Tensor:
    """bool[parts * outputs, inputs]: what each output sees of the pixel itself.

    Args:
        mask: "A": groups before its own; "B": its own too.
        inputs: features that are seen, in `groups` groups.
        outputs: features that see them, in as many.
        groups: colours.
        parts: how many times the outputs come, one after the other (the gates of an LSTM).
    """
    own, seen = colour_groups(outputs, groups)[:, None], colour_groups(inputs, groups)[None]
    return (own > seen if mask == "A" else own >= seen).repeat(parts, 1)


def check_taps(taps: Taps, *, sees_itself: bool) -> None:
    """Raise `ValueError` unless each tap is known in the wavefront's order and in raster order.

    Args:
        taps: (dy, dx) each.
        sees_itself: mask B, where (0, 0) and what has the same place in the wavefront may be seen.
    """
    least = 0 if sees_itself else 1
    for dy, dx in taps:
        before_in_raster = dy > 0 or (dy == 0 and dx <= -least)
        if not (before_in_raster and 2 * dy - dx >= least):
            raise ValueError(f"tap ({dy}, {dx}) is not causal: 2 dy - dx must be at least {least}")
        if dy > REACH:
            raise ValueError(f"tap ({dy}, {dx}) looks {dy} rows up, {REACH} are possible")
    if len(set(taps)) != len(taps) or not taps:
        raise ValueError(f"taps must be different ones, found {taps}")


class MaskedConv2d(nn.Conv2d):
    """A convolution whose kernel is zero but at its taps; outside the image is 0.

    `weight` is [outputs, inputs, rows, columns] over the smallest box around the taps that is symmetric in x; `mask`
    is 1 where a weight is used.  The box's last row is the pixel's own.
    """

    def __init__(self, inputs: int, outputs: int, taps: Taps, centre: torch.Tensor | None = None) -> None:
        """`centre`: bool[outputs, inputs], what is seen of the pixel itself at tap (0, 0); everything by default."""
        rows = max(dy for dy, _ in taps) + 1
        reach = max(abs(dx) for _, dx in taps)
        super().__init__(inputs, outputs, (rows, 2 * reach + 1), padding=(rows - 1, reach))
        self.taps = taps
        mask = torch.zeros(1, 1, rows, 2 * reach + 1)
        for dy, dx in taps:
            mask[:, :, rows - 1 - dy, reach + dx] = 1
        if centre is not None:
            mask = mask.repeat(outputs, inputs, 1, 1)
            mask[:, :, rows - 1, reach] *= centre
        self.register_buffer("mask", mask, persistent=False)
        with torch.no_grad():
            self.weight *= mask * (mask.numel() / mask.sum()) ** 0.5  # the variance that a dense kernel would have

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]."""
        rows, reach = self.padding
        if rows or reach:  # by hand, since rows below are not wanted
            features = functional.pad(features, (reach, reach, rows, 0))
        return functional.conv2d(features, self.weight * self.mask, self.bias)

    def at_taps(self, kernel: torch.Tensor) -> torch.Tensor:
        """What a kernel [outputs, inputs, rows, columns] holds at the taps: [taps, inputs, outputs]."""
        rows, columns = self.mask.shape[2:]
        return torch.stack([kernel[:, :, rows - 1 - dy, columns // 2 + dx].T for dy, dx in self.taps])


def pointwise(inputs: int, outputs: int, groups: int) -> MaskedConv2d:
    """A 1x1 convolution under mask B."""
    return MaskedConv2d(inputs, outputs, ((0, 0),), colour_mask("B", inputs, outputs, groups) if groups > 1 else None)
