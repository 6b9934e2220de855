"""What the paper's networks share: mask A, layers with residual and skip connections, two 1x1 layers, the output.

    x = first(image)                       kernel 7x7, mask A, 2h features
    x = x + layer(x), once for each layer  PixelCNN: residual block; Row LSTM; Diagonal BiLSTM; gated: two stacks
    logits = output(two 1x1 layers(x, or the sum of every layer's skip connection))

Table 1 of the paper gives the sizes (`presets`).  Layers are in a file each; this one does not know how they work.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from pixcodec.nets.masked import MaskedConv2d, colour_mask, kernel_taps, pointwise
from pixcodec.nets.mixture import Mixture

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CODE_UNIT = 32.0  # input codes are divided by it
LARGEST = 4096  # what features, layers, ... may be: more is a slip that would take all memory
KINDS = ("pixelcnn", "row_lstm", "diagonal_bilstm", "gated_pixelcnn")


@dataclass(frozen=True)
class Configuration:
    """A network's shape: the `network` part of recipes and cards.

    Attributes:
        kind: which layers, one of `KINDS`.
        channels: 1 or 3.
        levels: values of a channel, 256, or 2 for bilevel images.
        features: h; the stream between layers has 2h.
        layers: how many.
        first: side of the first kernel, mask A.
        kernel: side of the layers' kernel, mask B.
        hidden: width of the two 1x1 layers before the output.
        output: "softmax" (of 2 levels: a sigmoid) or "mixture".
        components: of the mixture.
        residual: x + layer(x) between layers, or layer(x) alone (section 3.3).
        skip: every layer adds to what the output sees, or the last alone does (section 3.3).
        context: features of what the network is conditioned on at every layer (section 3.6); 0: on nothing.
    """

    kind: str
    channels: int = 3
    levels: int = 256
    features: int = 128
    layers: int = 15
    first: int = 7
    kernel: int = 3
    hidden: int = 1024
    output: str = "softmax"
    components: int = 10
    residual: bool = True
    skip: bool = True
    context: int = 0

    def __post_init__(self) -> None:
        """Check what can be wrong in a recipe."""
        for field in fields(self):
            if type(getattr(self, field.name)).__name__ != field.type:
                raise ValueError(f"{field.name} must be {field.type}, found {getattr(self, field.name)!r}")
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, found {self.kind!r}")
        if self.channels not in (1, 3) or self.levels not in (2, 256):
            raise ValueError("a network needs 1 or 3 channels of 2 or 256 levels")
        if min(self.features, self.hidden) < self.channels or min(self.layers, self.context) < 0 or self.components < 1:
            raise ValueError("sizes must be positive, and no feature map narrower than the channels")
        if max(self.features, self.hidden, self.components, self.layers, self.context) > LARGEST:
            raise ValueError(f"sizes must be {LARGEST} at most")
        if not all(side % 2 and 1 <= side <= 9 for side in (self.first, self.kernel)) or self.first < 3:
            raise ValueError("kernels must be of odd sides up to 9, the first of 3 at least")
        if self.output not in ("softmax", "mixture") or (self.output == "mixture" and self.levels != 256):
            raise ValueError(f'output must be "softmax", or "mixture" for 256 levels, found {self.output!r}')

    @classmethod
    def load(cls, card: Mapping[str, Any]) -> Configuration:
        """From the `network` part of a recipe or card; `ValueError` or `TypeError` where it makes no network."""
        return cls(**card)

    def save(self) -> dict[str, Any]:
        """The `network` part of a card."""
        return asdict(self)

    @property
    def groups(self) -> int:
        """Colour groups of the features: one a channel, but the mixture says all channels at once."""
        return 1 if self.output == "mixture" else self.channels

    @property
    def outputs(self) -> int:
        """Numbers a pixel that the network gives."""
        if self.output == "mixture":
            return Mixture(self.components, self.channels).outputs
        return self.channels * (self.levels if self.levels > 2 else 1)


class Autoregressive(nn.Module):
    """The frame of the paper's networks; `networks.make` fills it.

    Attributes:
        layer: makes a layer from features, kernel, groups and context.
    """

    layer: Callable[[int, int, int, int], nn.Module]

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.configuration = c = configuration
        h, groups = c.features, c.groups
        colour = groups > 1
        first_mask = colour_mask("A", c.channels, 2 * h, groups) if colour else None
        self.first = MaskedConv2d(c.channels, 2 * h, kernel_taps(c.first, itself=colour), first_mask)
        self.layers = nn.ModuleList(type(self).layer(h, c.kernel, groups, c.context) for _ in range(c.layers))
        self.skips = nn.ModuleList(pointwise(2 * h, 2 * h, groups) for _ in range(c.layers + 1 if c.skip else 0))
        self.hidden = nn.ModuleList(
            (pointwise(2 * h, c.hidden, groups), pointwise(c.hidden, c.hidden, groups)),
        )
        self.output = pointwise(c.hidden, c.outputs, groups)
        self._scale_down()

    def _scale_down(self) -> None:
        """Start with layers that add little, so that the stream's variance does not grow with their number."""
        c = self.configuration
        with torch.no_grad():
            if c.residual:
                for layer in self.layers:
                    layer.wide.weight *= max(c.layers, 1) ** -0.5
            for skip in self.skips:
                skip.weight *= (c.layers + 1) ** -0.5

    def forward(self, codes: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Logits or parameters [N, outputs, H, W].

        Args:
            codes: float[N, C, H, W], the image as `codes` gives it.
            context: float[N, context, H, W] if the network is conditioned on something.
        """
        c = self.configuration
        x, state = self.start(codes)
        seen = self.skips[0](x) if c.skip else x
        for i, layer in enumerate(self.layers):
            change, state = self.advance(layer, x, state, context)
            x = x + change if c.residual else change
            seen = seen + self.skips[i + 1](x) if c.skip else x
        for hidden in self.hidden:
            seen = hidden(functional.relu(seen))
        return self.output(functional.relu(seen))

    def start(self, codes: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """The stream before the first layer, and what else goes from layer to layer (nothing, but see `gated`)."""
        return self.first(codes), None

    def advance(
        self,
        layer: nn.Module,
        x: torch.Tensor,
        state: Any,  # noqa: ANN401 - see `start`
        context: torch.Tensor | None,
    ) -> tuple[torch.Tensor, Any]:
        """One layer: what it adds to the stream, and what else goes on."""
        return (layer(x) if context is None else layer(x, context)), state

    def nats(self, values: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        """Code lengths in nats, float32[N, C, H, W], of values uint8[N, C, H, W]."""
        return code_lengths(self.configuration, self(codes(values, self.configuration.levels), context), values)


def codes(values: torch.Tensor, levels: int) -> torch.Tensor:
    """Values to what the network sees: (v - 128) / 32, or -1 and 1 for 2 levels; outside the image is 0."""
    if levels == 2:
        return values.float() * 2 - 1
    return (values.float() - 128) / CODE_UNIT


def code_lengths(configuration: Configuration, outputs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Code lengths in nats, float32[N, C, H, W], of values uint8[N, C, H, W] given a network's outputs."""
    c = configuration
    if c.output == "mixture":
        return Mixture(c.components, c.channels).nats(outputs, values)
    if c.levels == 2:
        return functional.binary_cross_entropy_with_logits(outputs.float(), values.float(), reduction="none")
    logits = outputs.float().unflatten(1, (c.channels, c.levels)).transpose(1, 2)
    return functional.cross_entropy(logits, values.long(), reduction="none")
