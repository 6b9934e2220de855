"""Diagonal BiLSTM: diagonals from both upper corners; it sees all earlier pixels (paper, section 3.2).

Row y of the map is moved right by y (skewed), so that a diagonal is a column: the state left of the pixel and the one
above it are then the column before, at places y and y - 1.  The second direction is the same on the mirrored image;
its states are moved down by one row before the sum, so that it sees no later pixel.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from pixcodec.nets.autoregressive import Autoregressive
from pixcodec.nets.masked import MaskedConv2d, colour_mask, pointwise
from pixcodec.nets.recurrence import GATES, Recurrence, skew, unskew


class DiagonalStates(Recurrence):
    """State to state along the diagonals of both directions."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Gates [N, 4h, H, W] of the two directions to the sum of their states [N, h, H, W]."""
        height, width = left.shape[2:]
        both = torch.stack([left, right.flip(3)]).permute(3, 4, 0, 1, 2)  # [H, W, 2, N, 4h]
        lines = skew(both).transpose(1, 2)  # [W + H - 1, 2, H, N, 4h]
        spans = tuple((max(0, t - width + 1), min(t + 1, height)) for t in range(width + height - 1))
        left, right = unskew(self.scan(lines, spans).transpose(1, 2)).permute(2, 3, 4, 0, 1).unbind(0)
        later = functional.pad(right.flip(3), (0, 0, 1, -1))  # down by one row, zeros at the top
        return left + later


class DiagonalBiLSTMLayer(nn.Module):
    """Input to state 1x1 under mask B, state to state 2x1 down the column, in both directions."""

    def __init__(self, features: int, kernel: int, groups: int, context: int = 0) -> None:
        """`features`: h; `kernel` is not used; `groups`: colours; `context`: as in the other layers (section 3.6)."""
        super().__init__()
        del kernel
        h = features
        mask = colour_mask("B", 2 * h, h, groups, GATES)
        self.input_to_state = nn.ModuleList(MaskedConv2d(2 * h, GATES * h, ((0, 0),), mask) for _ in range(2))
        self.states = DiagonalStates(h, (-1, 0), ways=2)
        self.wide = pointwise(h, 2 * h, groups)
        ways = range(2) if context else ()
        self.condition = nn.ModuleList(nn.Conv2d(context, GATES * h, 1, bias=False) for _ in ways)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """[N, 2h, H, W] to what is added to it (or, without residual connections, takes its place)."""
        left, right = self.input_to_state[0](x), self.input_to_state[1](x)
        if self.condition:
            left, right = left + self.condition[0](context), right + self.condition[1](context)
        return self.wide(self.states(left, right))


class DiagonalBiLSTM(Autoregressive):
    """The network of such layers."""

    layer = DiagonalBiLSTMLayer
