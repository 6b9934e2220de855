"""PixelCNN: masked convolutions over all earlier pixels (the trunk) and a head for each channel.

Inputs are int8 codes (`training.data.codes`): for the trunk the values of earlier pixels and what each predictor
missed there, for the heads this pixel's predictions and what they missed on its channels known already.  They are
the codes that the frozen network sees; here they are divided by 32.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from pixcodec.nets.heads import EDGES, Head, Logistics, Outputs, Raw, Residual
from pixcodec.nets.masked import FIRST_TAPS, TAPS, MaskedConv2d, Taps, check_taps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CODE_UNIT = 32.0
OUTPUTS: dict[str, type[Residual | Logistics | Raw]] = {"residual": Residual, "logistics": Logistics, "raw": Raw}
MOST_PHASES = 3  # blocks of 8 are the largest that are common
_PLAIN = ("features", "blocks", "head", "output", "phases")  # fields that a card holds as they are


@dataclass(frozen=True)
class Configuration:
    """A network's shape: the `network` part of recipes and cards.

    Attributes:
        channels: 3 or 1.
        predictions: predictors a channel (`exact.predict.Parameters.count`).
        features: width of the trunk.
        blocks: residual blocks.
        head: width of the heads.
        output: "residual", "logistics" or "raw".
        edges: lower edges of the far classes of the first two.
        first_taps: taps of the first layer, mask A.
        taps: taps of the blocks, mask B.
        phases: how many bits of x and of y are inputs, 0 to 3: what was made in blocks differs by place.
        known: planes that are known beforehand (`exact.predict.Parameters.known`).
        known_taps: (dy, dx), on any side, of what is seen of them besides the pixel itself.
    """

    channels: int
    predictions: int
    features: int = 64
    blocks: int = 6
    head: int = 64
    output: str = "residual"
    edges: tuple[int, ...] = EDGES
    first_taps: Taps = FIRST_TAPS
    taps: Taps = TAPS
    phases: int = 0
    known: int = 0
    known_taps: Taps = ()

    def __post_init__(self) -> None:
        """Check what can be wrong in a recipe."""
        if not all(isinstance(size, int) for size in (self.features, self.blocks, self.head, self.phases)):
            raise ValueError("features, blocks, head and phases must be whole numbers")
        if not 0 <= self.phases <= MOST_PHASES:
            raise ValueError(f"phases must be 0 to {MOST_PHASES}, found {self.phases}")
        check_taps(self.first_taps, sees_itself=False)
        check_taps(self.taps, sees_itself=True)
        if self.channels not in (1, 3) or min(self.predictions, self.features, self.head) < 1 or self.blocks < 0:
            raise ValueError("a network needs 1 or 3 channels and positive sizes")
        if bool(self.known) < bool(self.known_taps):
            raise ValueError("taps of known planes need known planes")
        if self.output not in OUTPUTS:
            raise ValueError(f"output must be one of {', '.join(OUTPUTS)}, found {self.output!r}")
        if (
            not self.edges
            or list(self.edges) != sorted(set(self.edges))
            or not 1 <= self.edges[0] <= self.edges[-1] <= 255
        ):
            raise ValueError(f"edges must ascend within 1..255, found {self.edges}")

    @classmethod
    def load(cls, card: Mapping[str, Any], channels: int, predictions: int, known: int = 0) -> Configuration:
        """From the `network` part of a recipe or card; `ValueError` where it makes no network."""
        fields: dict[str, Any] = {key: card[key] for key in _PLAIN if key in card}
        if "edges" in card:
            fields["edges"] = tuple(map(int, card["edges"]))
        for key in ("first_taps", "taps", "known_taps"):
            if key in card:
                fields[key] = tuple((int(dy), int(dx)) for dy, dx in card[key])
        return cls(channels, predictions, known=known, **fields)

    def save(self) -> dict[str, Any]:
        """The `network` part of a card."""
        fields = asdict(self)
        del fields["channels"], fields["predictions"], fields["known"]
        fields["edges"] = list(self.edges)
        fields["first_taps"], fields["taps"] = [list(t) for t in self.first_taps], [list(t) for t in self.taps]
        fields["known_taps"] = [list(tap) for tap in self.known_taps]
        for key in ("phases", "known_taps"):
            if not fields[key]:
                del fields[key]  # models from before there were any keep their identity
        return {**fields, "classes": self.outputs.number}

    @property
    def outputs(self) -> Outputs:
        """What the heads' outputs mean."""
        return OUTPUTS[self.output](self.edges)

    @property
    def places(self) -> int:
        """Codes a pixel that are known beforehand: of its place, and of known planes."""
        return 2 * self.phases + self.known * (1 + len(self.known_taps))

    @property
    def trunk_codes(self) -> int:
        """Codes a pixel that the trunk sees of earlier pixels."""
        return self.channels * (1 + self.predictions) + self.places

    @property
    def head_codes(self) -> tuple[int, ...]:
        """Codes that each head sees of its own pixel."""
        return tuple(self.predictions + 1 + c * self.predictions + self.places for c in range(self.channels))

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds a pixel, forward, without masked taps."""
        h, d, outputs = self.features, self.head, self.outputs.outputs
        trunk = len(self.first_taps) * self.trunk_codes * h + self.blocks * (len(self.taps) + 1) * h * h
        return trunk + sum((h + codes) * d + d * d + d * outputs for codes in self.head_codes)


class Block(nn.Module):
    """x + pointwise(relu(conv(relu(x)))), the convolution under mask B."""

    def __init__(self, features: int, taps: Taps) -> None:
        super().__init__()
        self.conv = MaskedConv2d(features, features, taps)
        self.pointwise = nn.Conv2d(features, features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, features, H, W] to the same."""
        return x + self.pointwise(functional.relu(self.conv(functional.relu(x))))


class PhotoNet(nn.Module):
    """The trainable network."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.configuration = c = configuration
        self.outputs = c.outputs
        self.first = MaskedConv2d(c.trunk_codes, c.features, c.first_taps)
        self.blocks = nn.ModuleList(Block(c.features, c.taps) for _ in range(c.blocks))
        self.heads = nn.ModuleList(Head(c.features, codes, c.head, self.outputs.outputs) for codes in c.head_codes)
        with torch.no_grad():
            for block in self.blocks:  # the stream's variance stays that of one layer whatever their number
                block.pointwise.weight *= max(c.blocks, 1) ** -0.5

    def trunk(self, codes: torch.Tensor) -> torch.Tensor:
        """int8[N, H, W, trunk codes] to features [N, H, W, features], which see earlier pixels only."""
        x = self.first((codes.to(self._type) / CODE_UNIT).permute(0, 3, 1, 2))
        for block in self.blocks:
            x = block(x)
        return functional.relu(x).permute(0, 2, 3, 1)

    def forward(self, trunk: torch.Tensor, heads: torch.Tensor) -> list[torch.Tensor]:
        """Logits [N, H, W, outputs] of each channel.

        Args:
            trunk: int8[N, H, W, trunk codes].
            heads: int8[N, H, W, sum of head codes], channel after channel.
        """
        features = self.trunk(trunk)
        known = (heads.to(self._type) / CODE_UNIT).split(self.configuration.head_codes, 3)
        return [head(features, codes) for head, codes in zip(self.heads, known, strict=True)]

    def nats(
        self, trunk: torch.Tensor, heads: torch.Tensor, centre: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Code lengths in nats, float32[C, N, H, W], of values uint8[N, H, W, C] around centres of the same form."""
        return self.lengths(self(trunk, heads), centre, values)

    def lengths(self, logits: Sequence[torch.Tensor], centre: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Code lengths as `nats` gives them, from the logits of each channel."""
        flat = [l.reshape(-1, l.shape[-1]) for l in logits]
        each = [
            self.outputs.nats(l, centre[..., c].reshape(-1), values[..., c].reshape(-1)) for c, l in enumerate(flat)
        ]
        return torch.stack(each).view(-1, *values.shape[:3])

    @property
    def _type(self) -> torch.dtype:
        """What products are computed in: codes are exact in both."""
        kind = self.first.weight.device.type
        if torch.is_autocast_enabled(kind):
            return torch.get_autocast_dtype(kind)
        return self.first.weight.dtype


def parameter_count(network: nn.Module, names: Sequence[str] = ()) -> int:
    """Weights and biases, of all parts or of those whose name begins with one of `names`."""
    every = network.named_parameters()
    return sum(p.numel() for name, p in every if not names or name.startswith(tuple(names)))
