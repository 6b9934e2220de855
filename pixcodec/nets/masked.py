"""Masked convolutions: mask A, which does not see the pixel itself, and mask B, which does (paper, section 3.4).

A tap (dy, dx) looks at the pixel (y - dy, x + dx).  Pixels are coded along the wavefront x + 2 y, so what looks at
pixel values may use taps with 2 dy - dx >= 1 and what looks at features of such layers taps with 2 dy - dx >= 0; both
kernels here are causal in raster order as well.
"""

from __future__ import annotations

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
    is 1 at the taps.  The box's last row is the pixel's own.
    """

    def __init__(self, inputs: int, outputs: int, taps: Taps) -> None:
        rows = max(dy for dy, _ in taps) + 1
        reach = max(abs(dx) for _, dx in taps)
        super().__init__(inputs, outputs, (rows, 2 * reach + 1), padding=(rows - 1, reach))
        self.taps = taps
        mask = torch.zeros(rows, 2 * reach + 1)
        for dy, dx in taps:
            mask[rows - 1 - dy, reach + dx] = 1
        self.register_buffer("mask", mask, persistent=False)
        with torch.no_grad():
            self.weight *= mask * (mask.numel() / len(taps)) ** 0.5  # the variance that a dense kernel would have

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[N, inputs, H, W] to [N, outputs, H, W]."""
        result = functional.conv2d(features, self.weight * self.mask, self.bias, padding=self.padding)
        # Padding is above and below alike, which is faster than padding above alone; the rows below are not wanted.
        return result[:, :, : features.shape[2]]

    def at_taps(self, kernel: torch.Tensor) -> torch.Tensor:
        """What a kernel [outputs, inputs, rows, columns] holds at the taps: [taps, inputs, outputs]."""
        rows, columns = self.mask.shape
        return torch.stack([kernel[:, :, rows - 1 - dy, columns // 2 + dx].T for dy, dx in self.taps])
