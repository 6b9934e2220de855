"""Multi-Scale: a small image first, then the large one that it is a part of (paper, section 3.6).

The small image is every second pixel of every second row, the first one included, so a height of h gives it
(h + 1) // 2.  Its network sees nothing else, and may be of several scales itself.  The large image's network is
conditioned on it: known pixels are spread over the large grid with zeros between, a convolution of that (which is a
deconvolution of stride two of the small image) and another one make a map of the large image's size, and every layer
adds a 1x1 product of it.  Neither is masked, since all of the small image is known by then.  Pixels that it told cost
nothing again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from pixcodec.nets import autoregressive
from pixcodec.nets.autoregressive import codes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pixcodec.nets.autoregressive import Autoregressive

KIND = "multi_scale"
FACTOR = 2  # rows and columns of the large image a row and column of the small one
SPREAD, AROUND = 7, 3  # sides of the two kernels


@dataclass(frozen=True)
class Configuration:
    """The networks' shapes: the `network` part of recipes and cards, whose "kind" is "multi_scale".

    Attributes:
        small: of the small image's network.
        full: of the large image's, with as many features of context as the small image is brought to.
    """

    small: autoregressive.Configuration | Configuration
    full: autoregressive.Configuration

    def __post_init__(self) -> None:
        """Check that they are for one image."""
        if (self.small.channels, self.small.levels) != (self.channels, self.levels):
            raise ValueError("both networks must be for as many channels and levels")
        if self.full.context < 1:
            raise ValueError("the large image's network needs features of context")

    @classmethod
    def load(cls, card: Mapping[str, Any]) -> Configuration:
        """From the `network` part of a recipe or card; `ValueError`, `KeyError` or `TypeError` where it makes none."""
        small = card["small"]
        kind = cls if small.get("kind") == KIND else autoregressive.Configuration
        return cls(kind.load(small), autoregressive.Configuration.load(card["full"]))

    def save(self) -> dict[str, Any]:
        """The `network` part of a card."""
        return {"kind": KIND, "small": self.small.save(), "full": self.full.save()}

    @property
    def kind(self) -> str:
        """Its name in cards."""
        return KIND

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.full.channels

    @property
    def levels(self) -> int:
        """Values of a channel."""
        return self.full.levels


def known_codes(values: torch.Tensor, levels: int) -> torch.Tensor:
    """What the small image tells, on the large grid: codes and where they are, float32[N, C + 1, H, W], else zero.

    Args:
        values: uint8[N, C, H, W], of which only the small image's pixels are looked at.
        levels: 2 or 256.
    """
    grid = torch.zeros_like(values[:, :1], dtype=torch.float32)
    grid[:, :, ::FACTOR, ::FACTOR] = 1
    return torch.cat([codes(values, levels) * grid, grid], dim=1)


class Conditional(nn.Module):
    """The large image's network, and what brings the small image to it."""

    def __init__(self, network: Autoregressive) -> None:
        super().__init__()
        c = network.configuration
        self.spread = nn.Conv2d(c.channels + 1, c.context, SPREAD, padding=SPREAD // 2)
        self.around = nn.Conv2d(c.context, c.context, AROUND, padding=AROUND // 2)
        self.network = network
        with torch.no_grad():
            self.spread.weight *= FACTOR  # one pixel in four is known

    def forward(self, image: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        """Outputs [N, outputs, H, W] from an image's codes and from what `known_codes` gives."""
        context = functional.relu(self.around(functional.relu(self.spread(known))))
        return self.network(image, context)


class MultiScale(nn.Module):
    """Both networks.

    Args:
        configuration: their shapes.
        small: the small image's network.
        full: the large image's.
    """

    def __init__(self, configuration: Configuration, small: nn.Module, full: Autoregressive) -> None:
        super().__init__()
        self.configuration = configuration
        self.small = small
        self.full = Conditional(full)

    def nats(self, values: torch.Tensor) -> torch.Tensor:
        """Code lengths in nats, float32[N, C, H, W], of values uint8[N, C, H, W]: the small image's at its pixels."""
        c = self.configuration.full
        outputs = self.full(codes(values, c.levels), known_codes(values, c.levels))
        lengths = autoregressive.code_lengths(c, outputs, values).clone()
        lengths[:, :, ::FACTOR, ::FACTOR] = self.small.nats(values[:, :, ::FACTOR, ::FACTOR].contiguous())
        return lengths
