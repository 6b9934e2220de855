"""The integer network of `exact.network` as a differentiable one: calibration, and fake quantisation for fine-tuning.

Every activation is an integer held in a float: its *unit* is what one step of it is worth in the float network.  Units
are calibrated once and may differ by channel, since rescaling has a scale for each output and the next product's
weights take the inputs' units in.  Rounding passes gradients straight through, clamping stops them.  In binary32 the
forward pass is exactly what the frozen network computes; under bfloat16 autocast (fine-tuning) only sums are rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from pixcodec.exact.network import BOUND, STREAM_LIMIT
from pixcodec.nets.photo import CODE_UNIT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pixcodec.nets.masked import MaskedConv2d
    from pixcodec.nets.photo import Block, PhotoNet

LARGEST_WEIGHT, LARGEST_CODE = 127, 255
QUANTILE = 0.9995  # of activations; the rest is clamped
STREAM_RANGE = 8000  # what the stream's quantile becomes, well below its clamp
_SAMPLES = 9216  # positions of a batch that calibration looks at
_BALANCE = 0.25  # units follow this power of a channel's own range, and the whole layer's for the rest


@dataclass(frozen=True)
class Units:
    """What one step of each integer is worth in the float network.

    Attributes:
        stream: float32[features].
        alphas: steps of a block's input u a step of the stream, for each block and for the trunk's output.
        hidden: float32[features] for each block, after its convolution.
        heads: float32[width] twice for each head, after its input and its hidden product.
    """

    stream: torch.Tensor
    alphas: tuple[float, ...]
    hidden: tuple[torch.Tensor, ...]
    heads: tuple[tuple[torch.Tensor, torch.Tensor], ...]


def quantile_range(samples: torch.Tensor, quantile: float) -> tuple[torch.Tensor, float]:
    """Quantile of each channel's samples [M, channels], and of all."""
    ordered = samples.sort(0).values
    own = ordered[min(math.ceil(quantile * (len(samples) - 1)), len(samples) - 1)]
    flat = samples.flatten().sort().values
    return own, max(float(flat[min(math.ceil(quantile * (len(flat) - 1)), len(flat) - 1)]), 1e-6)


def balanced(own: torch.Tensor, whole: float) -> torch.Tensor:
    """A range for each channel, between its own and the layer's, never below its own."""
    own = own.clamp_min(0)
    return torch.maximum(own, own.clamp_min(whole / 64) ** _BALANCE * whole ** (1 - _BALANCE))


def calibrate(network: PhotoNet, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Units:
    """Units for a float network from what its activations are on batches of (trunk, head) codes."""
    kept: dict[str, list[torch.Tensor]] = {}

    def keep(name: str, value: torch.Tensor) -> None:
        flat = value.flatten(0, -2)
        places = torch.randint(len(flat), (min(_SAMPLES, len(flat)),), generator=generator)
        kept.setdefault(name, []).append(flat[places].float())

    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for trunk, heads in batches:
            x = network.first((trunk.float() / CODE_UNIT).permute(0, 3, 1, 2))
            keep("stream 0", x.permute(0, 2, 3, 1))
            for i, block in enumerate(network.blocks):
                v = functional.relu(block.conv(functional.relu(x)))
                keep(f"hidden {i}", v.permute(0, 2, 3, 1))
                x = x + block.pointwise(v)
                keep(f"stream {i + 1}", x.permute(0, 2, 3, 1))
            features = functional.relu(x).permute(0, 2, 3, 1)
            known = (heads.float() / CODE_UNIT).split(network.configuration.head_codes, 3)
            for c, head in enumerate(network.heads):
                a = functional.relu(head.input(torch.cat([features, known[c]], 3)))
                keep(f"input {c}", a)
                keep(f"head {c}", functional.relu(head.hidden(a)))
    samples = {name: torch.cat(values) for name, values in kept.items()}

    def ranges(name: str) -> torch.Tensor:
        return balanced(*quantile_range(samples[name], QUANTILE))

    count = len(network.blocks)
    positive = [samples[f"stream {i}"].relu() for i in range(count + 1)]
    relative = torch.stack([balanced(*quantile_range(p, QUANTILE)) / quantile_range(p, QUANTILE)[1] for p in positive])
    shape = relative.log().mean(0).exp()  # one for all blocks, since the stream has one unit
    largest = max(quantile_range(samples[f"stream {i}"].abs() / shape, QUANTILE)[1] for i in range(count + 1))
    stream = shape * (largest / STREAM_RANGE)
    alphas = tuple(LARGEST_CODE / quantile_range(p / stream, QUANTILE)[1] for p in positive)
    return Units(
        stream,
        alphas,
        tuple(ranges(f"hidden {i}") / LARGEST_CODE for i in range(count)),
        tuple(
            (ranges(f"input {c}") / LARGEST_CODE, ranges(f"head {c}") / LARGEST_CODE) for c in range(len(network.heads))
        ),
    )


def _rint(x: torch.Tensor) -> torch.Tensor:
    """Round half to even; the gradient passes straight through."""
    return x + (x.round() - x).detach() if torch.is_grad_enabled() else x.round()


@dataclass(frozen=True)
class IntegerProduct:
    """A product's integers, held in float32: weight as the float layer has it, bias[outputs], scale[outputs]."""

    weight: torch.Tensor
    bias: torch.Tensor
    scale: torch.Tensor


def quantise(weight: torch.Tensor, bias: torch.Tensor, inputs: torch.Tensor, outputs: torch.Tensor) -> IntegerProduct:
    """Integers of a product.

    Args:
        weight: [outputs, inputs, ...], zero where masked.
        bias: [outputs].
        inputs: units of the inputs.
        outputs: units of the outputs.

    The step of each output's weights is the smallest that keeps them within 127 and 256 sum|w| + |bias| below 2^24;
    rounding can add half a step to each weight and to the bias, which the bound takes in beforehand.
    """
    shape = (-1, *[1] * (weight.dim() - 1))
    worth = weight * inputs.view(1, -1, *[1] * (weight.dim() - 2))
    with torch.no_grad():
        size = worth.flatten(1).abs().double()
        room = BOUND - 2 - (LARGEST_CODE + 1) // 2 * size.shape[1]
        needed = ((LARGEST_CODE + 1) * size.sum(1) + bias.abs()) / room
        step = torch.maximum(size.amax(1) / LARGEST_WEIGHT, needed).clamp_min(1e-12).float()
        step = torch.maximum(step, torch.nextafter(step, step * 2))  # so that no quotient exceeds 127 by rounding
    integers = _rint(worth / step.view(shape)).clamp(-LARGEST_WEIGHT, LARGEST_WEIGHT)
    return IntegerProduct(integers, _rint(bias / step), step / outputs)


class Quantised(nn.Module):
    """A float network as the integers that it will be frozen to; it shares the network's parameters."""

    def __init__(self, network: PhotoNet, units: Units) -> None:
        super().__init__()
        self.network = network
        self.outputs, self._worth = network.outputs, torch.tensor(network.outputs.units())
        self.units = units

    def block_products(self, i: int) -> tuple[IntegerProduct, IntegerProduct]:
        """Convolution and pointwise product of block i."""
        block: Block = self.network.blocks[i]
        stream, hidden = self.units.stream, self.units.hidden[i]
        return (
            quantise(block.conv.weight * block.conv.mask, block.conv.bias, stream / self.units.alphas[i], hidden),
            quantise(block.pointwise.weight, block.pointwise.bias, hidden, stream),
        )

    def first_product(self) -> IntegerProduct:
        """The first layer."""
        first: MaskedConv2d = self.network.first
        inputs = torch.full((first.in_channels,), 1 / CODE_UNIT)
        return quantise(first.weight * first.mask, first.bias, inputs, self.units.stream)

    def head_products(self, c: int) -> tuple[IntegerProduct, IntegerProduct, IntegerProduct]:
        """Input (features, then codes), hidden and output product of a head."""
        head = self.network.heads[c]
        a, b = self.units.heads[c]
        codes = torch.full((head.input.in_features - head.features,), 1 / CODE_UNIT)
        seen = torch.cat([self.units.stream / self.units.alphas[-1], codes])
        # What all logits have in common would take range from the weights.
        weight, bias = (self.outputs.needed(each) for each in (head.output.weight, head.output.bias))
        return (
            quantise(head.input.weight, head.input.bias, seen, a),
            quantise(head.hidden.weight, head.hidden.bias, a, b),
            quantise(weight, bias, b, self._worth),
        )

    def forward(self, trunk: torch.Tensor, heads: torch.Tensor) -> list[torch.Tensor]:
        """Outputs [N, H, W, outputs] of each channel; arguments as of `PhotoNet.forward`."""
        kind = self.network._type  # noqa: SLF001 - the same choice
        first = self.first_product()
        layer = self.network.first
        x = _convolve(trunk.to(kind).permute(0, 3, 1, 2), first, layer.padding)
        x = _rint(_scaled(x, first)).clamp(-STREAM_LIMIT, STREAM_LIMIT)
        for i, block in enumerate(self.network.blocks):
            conv, pointwise = self.block_products(i)
            v = _bytes(_scaled(_convolve(_bytes(x * self._alpha(i)), conv, block.conv.padding), conv))
            added = _scaled(functional.conv2d(v, pointwise.weight, pointwise.bias), pointwise)
            x = (x + _rint(added).clamp(-STREAM_LIMIT, STREAM_LIMIT)).clamp(-STREAM_LIMIT, STREAM_LIMIT)
        features = _bytes(x * self._alpha(-1)).permute(0, 2, 3, 1)
        known = heads.to(kind).split(self.network.configuration.head_codes, 3)
        logits = []
        for c, codes in enumerate(known):
            seen, hidden, output = self.head_products(c)
            a = _bytes(functional.linear(torch.cat([features, codes], 3), seen.weight, seen.bias) * seen.scale)
            b = _bytes(functional.linear(a, hidden.weight, hidden.bias) * hidden.scale)
            with torch.autocast(b.device.type, enabled=False):
                l = functional.linear(b.float(), output.weight, output.bias) * output.scale
            logits.append(_rint(l).clamp(-STREAM_LIMIT, STREAM_LIMIT) * self._worth)
        return logits

    def nats(
        self, trunk: torch.Tensor, heads: torch.Tensor, centre: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """As `PhotoNet.nats`, from the integers."""
        return self.network.lengths(self(trunk, heads), centre, values)

    def _alpha(self, i: int) -> torch.Tensor:
        return torch.tensor(self.units.alphas[i], dtype=torch.float32)


def _convolve(x: torch.Tensor, product: IntegerProduct, padding: Sequence[int]) -> torch.Tensor:
    return functional.conv2d(x, product.weight, product.bias, padding=tuple(padding))[:, :, : x.shape[2]]


def _scaled(sums: torch.Tensor, product: IntegerProduct) -> torch.Tensor:
    return sums * product.scale.view(1, -1, 1, 1)


def _bytes(x: torch.Tensor) -> torch.Tensor:
    return _rint(x.clamp(0, LARGEST_CODE))
