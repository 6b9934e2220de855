"""What Row LSTM and Diagonal BiLSTM have in common: an LSTM over lines whose states are convolved (paper, equation 3).

    [o, f, i, g] = sigma(input_to_state(x) + state_to_state * h_before)      sigma: sigmoid; tanh for g
    c = f c_before + i g,     h = o tanh(c)

A line is a row of the image (Row LSTM) or a diagonal (Diagonal BiLSTM, where places of a line are the image's rows).
The state before the first line and outside the image is a learned one.  The gradient is written out: an automatic one
through hundreds of small steps takes several times as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

GATES = 4  # o, f, i, g in this order

Spans = tuple[tuple[int, int], ...]


class _Scan(torch.autograd.Function):
    """See `scan`."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,  # noqa: ANN401 - torch's context
        pre: torch.Tensor,
        weight: torch.Tensor,
        initial: torch.Tensor,
        offsets: tuple[int, ...],
        spans: Spans,
    ) -> torch.Tensor:
        lines, ways, places, images, gates = pre.shape
        width = gates // GATES
        before, after = max(0, *(-o for o in offsets)), max(0, *offsets)
        start = initial[:, :, None, None]  # [2, ways, 1, 1, width]
        states = start[0].expand(lines + 1, ways, before + places + after, images, width).contiguous()
        cells = start[1].expand(lines + 1, ways, places, images, width).contiguous()
        active = torch.empty_like(pre)
        for t, (first, last) in enumerate(spans):
            seen = torch.cat([states[t, :, before + o + first : before + o + last] for o in offsets], dim=-1)
            gate = torch.baddbmm(pre[t, :, first:last].flatten(1, 2), seen.flatten(1, 2), weight)
            gate = gate.view(ways, last - first, images, gates)
            gate[..., : 3 * width].sigmoid_()
            gate[..., 3 * width :].tanh_()
            active[t, :, first:last] = gate
            o, f, i, g = gate.chunk(GATES, dim=-1)
            cell = torch.addcmul(f * cells[t, :, first:last], i, g)
            cells[t + 1, :, first:last] = cell
            states[t + 1, :, before + first : before + last] = cell.tanh_().mul_(o)
        ctx.save_for_backward(weight, states, cells, active)
        ctx.offsets, ctx.spans, ctx.before = offsets, spans, before
        return states[1:, :, before : before + places].clone()

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]  # noqa: ANN401
        weight, states, cells, active = ctx.saved_tensors
        offsets, spans, before = ctx.offsets, ctx.spans, ctx.before
        lines, ways, _, images, gates = active.shape
        width = gates // GATES
        d_pre = torch.zeros_like(active)
        d_state = torch.zeros_like(states[0])  # of the line before the one at hand, with its borders
        d_cell = torch.zeros_like(cells[0])
        d_initial = states.new_zeros(2, ways, width)
        d_weight = torch.zeros_like(weight)
        transposed = weight.transpose(1, 2).contiguous()
        for t in range(lines - 1, -1, -1):
            first, last = spans[t]
            own = slice(before + first, before + last)
            d_h = slope[t, :, first:last] + d_state[:, own]
            # What lies outside of this line's span is the initial state.
            d_state[:, own] = 0
            d_initial[0] += d_state.sum((1, 2))
            o, f, i, g = active[t, :, first:last].chunk(GATES, dim=-1)
            bent = cells[t + 1, :, first:last].tanh()
            d_c = d_cell[:, first:last].addcmul(d_h * o, 1 - bent * bent)
            d_cell[:, first:last] = 0
            d_initial[1] += d_cell.sum((1, 2))
            d_cell.zero_()
            d_gate = [d_h * bent, d_c * cells[t, :, first:last], d_c * g, d_c * i]
            d = torch.cat(d_gate, dim=-1)
            gate = active[t, :, first:last]
            d[..., : 3 * width] *= gate[..., : 3 * width] * (1 - gate[..., : 3 * width])
            d[..., 3 * width :] *= 1 - g * g
            d_pre[t, :, first:last] = d
            d_cell[:, first:last] = d_c * f
            flat = d.flatten(1, 2)
            d_seen = torch.bmm(flat, transposed).view(ways, last - first, images, -1).split(width, dim=-1)
            seen = torch.cat([states[t, :, before + o + first : before + o + last] for o in offsets], dim=-1)
            d_weight.baddbmm_(seen.flatten(1, 2).transpose(1, 2), flat)
            d_state.zero_()
            for offset, part in zip(offsets, d_seen, strict=True):
                d_state[:, before + offset + first : before + offset + last] += part
        d_initial[0] += d_state.sum((1, 2))
        d_initial[1] += d_cell.sum((1, 2))
        return d_pre, d_weight, d_initial, None, None


def scan(
    pre: torch.Tensor, weight: torch.Tensor, initial: torch.Tensor, offsets: tuple[int, ...], spans: Spans
) -> torch.Tensor:
    """The states h of an LSTM, line after line.

    Args:
        pre: input to state, [lines, ways, places, images, 4 h], gates in the order o, f, i, g; ways are independent.
        weight: state to state, [ways, len(offsets) * h, 4 h].
        initial: state and cell outside the image, [2, ways, h].
        offsets: place s of a line sees places s + offset of the line before.
        spans: first and last + 1 of the places of each line that lie inside the image.

    Returns:
        [lines, ways, places, images, h]; outside the image the initial state, from which no gradient comes back.
    """
    return _Scan.apply(pre, weight, initial, offsets, spans)


def skew(x: torch.Tensor) -> torch.Tensor:
    """[H, W, ...] to [W + H - 1, H, ...]: row y begins at column y, so that columns are diagonals (figure 3)."""
    height, width = x.shape[:2]
    wide = torch.cat([x, x.new_zeros(height, height, *x.shape[2:])], dim=1).flatten(0, 1)
    return wide[: height * (width + height - 1)].unflatten(0, (height, width + height - 1)).transpose(0, 1)


def unskew(x: torch.Tensor) -> torch.Tensor:
    """[W + H - 1, H, ...] back to [H, W, ...]."""
    columns, height = x.shape[:2]
    flat = x.transpose(0, 1).flatten(0, 1)
    wide = torch.cat([flat, x.new_zeros(height, *x.shape[2:])], dim=0).unflatten(0, (height, columns + 1))
    return wide[:, : columns + 1 - height]


class Recurrence(nn.Module):
    """State to state of one LSTM in some directions, and what the state is outside the image."""

    def __init__(self, features: int, offsets: tuple[int, ...], ways: int = 1) -> None:
        super().__init__()
        self.features, self.offsets = features, offsets
        terms = len(offsets) * features
        self.weight = nn.Parameter(torch.empty(ways, terms, GATES * features).uniform_(-1, 1) / terms**0.5)
        self.initial = nn.Parameter(torch.zeros(2, ways, features))  # state, cell

    def scan(self, pre: torch.Tensor, spans: Spans) -> torch.Tensor:
        """See the function `scan`; in the weights' type (binary32 as a rule) whatever `pre` is."""
        with torch.autocast(pre.device.type, enabled=False):
            initial = torch.stack([self.initial[0].tanh(), self.initial[1]])  # a state is below 1, as all states are
            return scan(pre.to(self.weight.dtype), self.weight, initial, self.offsets, spans)
