"""PixelCNN's layer: a residual block of masked convolutions (paper, section 3.5 and figure 5, left)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from pixcodec.nets.autoregressive import Autoregressive
from pixcodec.nets.masked import MaskedConv2d, colour_mask, kernel_taps, pointwise


class ResidualBlock(nn.Module):
    """2h -> h -> h -> 2h: 1x1, kernel x kernel under mask B, 1x1, a ReLU before each."""

    def __init__(self, features: int, kernel: int, groups: int, context: int = 0) -> None:
        """`features`: h; `groups`: colours; `context`: features of what the block is conditioned on (section 3.6)."""
        super().__init__()
        h = features
        self.narrow = pointwise(2 * h, h, groups)
        self.conv = MaskedConv2d(h, h, kernel_taps(kernel, itself=True), colour_mask("B", h, h, groups))
        self.wide = pointwise(h, 2 * h, groups)
        self.condition = nn.Conv2d(context, h, 1, bias=False) if context else None

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """[N, 2h, H, W] to what is added to it (or, without residual connections, takes its place)."""
        inner = self.conv(functional.relu(self.narrow(functional.relu(x))))
        if self.condition is not None:
            inner = inner + self.condition(context)
        return self.wide(functional.relu(inner))


class PixelCNN(Autoregressive):
    """The network of such layers."""

    layer = ResidualBlock
