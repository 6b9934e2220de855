"""Row LSTM: rows from top to bottom, all of a row at once; it sees a triangle above the pixel (paper, section 3.1)."""

from __future__ import annotations

import torch
from torch import nn

from pixcodec.nets.autoregressive import Autoregressive
from pixcodec.nets.masked import MaskedConv2d, colour_mask, pointwise, row_taps
from pixcodec.nets.recurrence import GATES, Recurrence


class RowStates(Recurrence):
    """State to state along the rows."""

    def forward(self, gates: torch.Tensor) -> torch.Tensor:
        """[N, 4h, H, W] to the states [N, h, H, W]: a line is a row."""
        lines = gates.permute(2, 3, 0, 1)[:, None]  # [H, 1, W, N, 4h]
        spans = ((0, gates.shape[3]),) * gates.shape[2]
        return self.scan(lines, spans)[:, 0].permute(2, 3, 0, 1)


class RowLSTMLayer(nn.Module):
    """Input to state kernel x 1 under mask B over the whole map, state to state kernel x 1 from the row above."""

    def __init__(self, features: int, kernel: int, groups: int, context: int = 0) -> None:
        """`features`: h; `groups`: colours; `context`: features of what the layer is conditioned on (section 3.6)."""
        super().__init__()
        h, reach = features, kernel // 2
        mask = colour_mask("B", 2 * h, h, groups, GATES)
        self.input_to_state = MaskedConv2d(2 * h, GATES * h, row_taps(kernel, itself=True), mask)
        self.states = RowStates(h, tuple(range(-reach, reach + 1)))
        self.wide = pointwise(h, 2 * h, groups)
        self.condition = nn.Conv2d(context, GATES * h, 1, bias=False) if context else None

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """[N, 2h, H, W] to what is added to it (or, without residual connections, takes its place)."""
        gates = self.input_to_state(x)
        if self.condition is not None:
            gates = gates + self.condition(context)
        return self.wide(self.states(gates))


class RowLSTM(Autoregressive):
    """The network of such layers."""

    layer = RowLSTMLayer
