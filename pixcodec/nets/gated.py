"""Gated PixelCNN: two stacks without a blind spot (van den Oord and others, *Conditional Image Generation*, 2016).

The vertical stack sees the rows above (kernel x kernel, rows y and above of features that hold nothing of row y); the
horizontal one sees its row to the left, and the vertical stack at the pixel.  A unit is tanh(a) sigmoid(b).
"""

from __future__ import annotations

import torch
from torch import nn

from pixcodec.nets.autoregressive import Autoregressive, Configuration
from pixcodec.nets.masked import MaskedConv2d, Taps, colour_mask, pointwise, row_taps

PARTS = 2  # of a gate: what is squashed by tanh, what opens it


class Gate(nn.Module):
    """tanh(a) sigmoid(b)."""

    def forward(self, gates: torch.Tensor) -> torch.Tensor:
        """[N, 2 h, H, W] to [N, h, H, W]."""
        a, b = gates.chunk(PARTS, dim=1)
        return a.tanh() * b.sigmoid()


def vertical_taps(size: int, *, own_row: bool) -> Taps:
    """What the vertical stack's kernel sees: the rows above, and its own where that holds nothing of the row."""
    reach = size // 2
    return tuple((dy, dx) for dy in range(reach, -1 if own_row else 0, -1) for dx in range(-reach, reach + 1))


class GatedLayer(nn.Module):
    """One layer of both stacks (figure 2 of that paper), the residual connection on the horizontal one."""

    def __init__(self, features: int, kernel: int, groups: int, context: int = 0) -> None:
        """`features`: h; the horizontal stream has 2h, the vertical stack h."""
        super().__init__()
        h = features
        self.vertical = MaskedConv2d(h, PARTS * h, vertical_taps(kernel, own_row=True))
        self.across = nn.Conv2d(PARTS * h, PARTS * h, 1, bias=False)
        mask = colour_mask("B", 2 * h, h, groups, PARTS) if groups > 1 else None
        self.horizontal = MaskedConv2d(2 * h, PARTS * h, row_taps(kernel, itself=True), mask)
        self.condition = nn.Conv2d(context, PARTS * h, 1, bias=False) if context else None
        self.gate = Gate()
        self.wide = pointwise(h, 2 * h, groups)

    def forward(
        self, x: torch.Tensor, v: torch.Tensor, context: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Horizontal stream [N, 2h, H, W] and vertical [N, h, H, W] to what is added to the one, and the next other."""
        above = self.vertical(v)
        gates = self.horizontal(x) + self.across(above)
        if self.condition is not None:
            gates = gates + self.condition(context)
        return self.wide(self.gate(gates)), self.gate(above)


class GatedPixelCNN(Autoregressive):
    """The network of such layers."""

    layer = GatedLayer

    def __init__(self, configuration: Configuration) -> None:
        super().__init__(configuration)
        c = configuration
        colour = c.groups > 1
        mask = colour_mask("A", c.channels, 2 * c.features, c.groups) if colour else None
        self.first = MaskedConv2d(c.channels, 2 * c.features, row_taps(c.first, itself=colour), mask)
        self.above = MaskedConv2d(c.channels, PARTS * c.features, vertical_taps(c.first, own_row=False))
        self.gate = Gate()

    def start(self, codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The horizontal stream and the vertical stack before the first layer."""
        return self.first(codes), self.gate(self.above(codes))

    def advance(
        self, layer: nn.Module, x: torch.Tensor, state: torch.Tensor, context: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One layer: what is added to the stream, and the next vertical stack."""
        return layer(x, state) if context is None else layer(x, state, context)
