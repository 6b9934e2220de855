"""A discretised logistic mixture instead of the softmax (Salimans and others, *PixelCNN++*, 2017, section 2.1).

A component is three logistic distributions, one a channel; the mean of G's is linear in R, that of B's in R and G, so
that a network without colour groups says all three channels in one pass.  A value's probability is the mass between
its edges; 0 and 255 take the tails.

Unlike there, means count from the MED prediction (median of left, upper, and left + upper - upper left), and what is
linear are the differences of R and G to theirs: then 8 bits of precision in the network are 8 bits of a small number.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

MEAN_LEVELS, SCALE_LEVELS = 16.0, 8.0  # levels that a mean of 1 and a log-scale of 0 stand for
LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE = -4.5, 5.5  # scales of 0.09 and 1,957 levels


def median_edge(values: torch.Tensor) -> torch.Tensor:
    """MED prediction, float32[N, C, H, W] minus 128, of values uint8[N, C, H, W]; outside the image is 128."""
    x = functional.pad(values.float() - 128, (1, 0, 1, 0))
    left, upper, corner = x[:, :, 1:, :-1], x[:, :, :-1, 1:], x[:, :, :-1, :-1]
    low, high = torch.minimum(left, upper), torch.maximum(left, upper)
    return torch.maximum(low, torch.minimum(high, left + upper - corner))


class Mixture:
    """A pixel's parameters: each component's weight, a mean and a log-scale a channel, for colour three coefficients.

    Order: [component weights | means, channel by channel | log-scales | coefficients R to G, R to B, G to B], each
    `components` long.
    """

    def __init__(self, components: int, channels: int) -> None:
        self.components, self.channels = components, channels
        self.outputs = components * (1 + 2 * channels + (3 if channels == 3 else 0))

    def units(self) -> list[float]:
        """What a step of each output's integer is worth (`exact.mixture`)."""
        k, channels = self.components, self.channels
        octave = math.log(2) / 256
        each = [octave] + [1 / (64 * MEAN_LEVELS)] * channels + [octave] * channels
        return [unit for unit in each + [1 / 256] * (3 if channels == 3 else 0) for _ in range(k)]

    def nats(self, outputs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Code lengths in nats, float32[N, C, H, W], of values uint8[N, C, H, W] given outputs [N, outputs, H, W]."""
        k, channels = self.components, self.channels
        parts = outputs.float().unflatten(1, (-1, k))  # [N, 1 + 2 C + 3, K, H, W]
        errors = values.float() - 128 - median_edge(values)
        means = [MEAN_LEVELS * parts[:, 1 + c] for c in range(channels)]
        if channels == 3:
            a = parts[:, 1 + 2 * channels :].tanh()
            r, g = errors[:, 0:1], errors[:, 1:2]
            means = [means[0], means[1] + a[:, 0] * r, means[2] + a[:, 1] * r + a[:, 2] * g]
        lengths, joint = [], torch.log_softmax(parts[:, 0], dim=1)
        for c in range(channels):
            log_scale = parts[:, 1 + channels + c].clamp(LOWEST_LOG_SCALE, HIGHEST_LOG_SCALE) + math.log(SCALE_LEVELS)
            joint = joint + _log_mass(values[:, c : c + 1], errors[:, c : c + 1] - means[c], log_scale)
            lengths.append(-torch.logsumexp(joint, 1))
            joint = torch.log_softmax(joint, dim=1)  # of the components given the channels so far
        return torch.stack(lengths, dim=1)


def _log_mass(value: torch.Tensor, distance: torch.Tensor, log_scale: torch.Tensor) -> torch.Tensor:
    """Log of each component's probability of a value that lies `distance` levels from its mean."""
    inverse = torch.exp(-log_scale)
    above, below = inverse * (distance + 0.5), inverse * (distance - 0.5)
    lower, upper = -functional.softplus(-above), -functional.softplus(below)
    # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), which loses no digit in either tail.
    inner = lower + upper + torch.log(-torch.expm1(-inverse))
    return torch.where(value == 0, lower, torch.where(value == 255, upper, inner))
