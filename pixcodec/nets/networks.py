"""The paper's networks by name, and the sizes it gives them (table 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from pixcodec.nets import multiscale
from pixcodec.nets.autoregressive import Autoregressive, Configuration
from pixcodec.nets.diagonal_bilstm import DiagonalBiLSTM
from pixcodec.nets.gated import GatedPixelCNN
from pixcodec.nets.masked import MaskedConv2d
from pixcodec.nets.multiscale import FACTOR, MultiScale
from pixcodec.nets.pixelcnn import PixelCNN
from pixcodec.nets.recurrence import Recurrence
from pixcodec.nets.row_lstm import RowLSTM

if TYPE_CHECKING:
    from collections.abc import Mapping

    Shape = Configuration | multiscale.Configuration
    Network = Autoregressive | MultiScale

NETWORKS: dict[str, type[Autoregressive]] = {
    "pixelcnn": PixelCNN,
    "row_lstm": RowLSTM,
    "diagonal_bilstm": DiagonalBiLSTM,
    "gated_pixelcnn": GatedPixelCNN,
}
_MNIST: dict[str, Any] = {"channels": 1, "levels": 2, "hidden": 32}
_SMALLER = Configuration("row_lstm", features=256, layers=8)
_CONDITIONAL = Configuration("row_lstm", features=256, layers=8, context=64)
PRESETS: dict[str, Shape] = {
    "mnist_diagonal_bilstm": Configuration("diagonal_bilstm", features=16, layers=7, **_MNIST),
    "mnist_row_lstm": Configuration("row_lstm", features=16, layers=7, **_MNIST),
    "mnist_pixelcnn": Configuration("pixelcnn", features=16, layers=7, **_MNIST),
    "cifar10_diagonal_bilstm": Configuration("diagonal_bilstm", features=128, layers=12),
    "cifar10_row_lstm": Configuration("row_lstm", features=128, layers=12),
    "cifar10_pixelcnn": Configuration("pixelcnn", features=128, layers=15),
    "imagenet32_multi_scale": multiscale.Configuration(_SMALLER, _CONDITIONAL),
    "imagenet64_multi_scale": multiscale.Configuration(multiscale.Configuration(_SMALLER, _CONDITIONAL), _CONDITIONAL),
    "imagenet32_row_lstm": Configuration("row_lstm", features=384, layers=12),
    "imagenet64_row_lstm": Configuration("row_lstm", features=512, layers=4),
}


def load_shape(card: Mapping[str, Any]) -> Shape:
    """What the `network` part of a recipe or card describes; `ValueError`, `KeyError` or `TypeError` if nothing."""
    return (multiscale.Configuration if card.get("kind") == multiscale.KIND else Configuration).load(card)


def make(shape: Shape) -> Network:
    """A network with new weights."""
    if isinstance(shape, Configuration):
        return NETWORKS[shape.kind](shape)
    return MultiScale(shape, make(shape.small), NETWORKS[shape.full.kind](shape.full))


def multiply_adds(network: nn.Module) -> int:
    """Multiply-adds a pixel, forward, without masked weights; a small image has a quarter of the pixels."""
    if isinstance(network, MultiScale):
        return multiply_adds(network.full) + multiply_adds(network.small) // FACTOR**2
    products = [
        int(layer.mask.expand_as(layer.weight).sum()) if isinstance(layer, MaskedConv2d) else layer.weight.numel()
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | Recurrence)
    ]
    return sum(products)
