"""The paper's networks by name, and the sizes it gives them (table 1)."""

from __future__ import annotations

from typing import Any

from pixcodec.nets.autoregressive import Autoregressive, Configuration
from pixcodec.nets.diagonal_bilstm import DiagonalBiLSTM
from pixcodec.nets.gated import GatedPixelCNN
from pixcodec.nets.pixelcnn import PixelCNN
from pixcodec.nets.row_lstm import RowLSTM

NETWORKS: dict[str, type[Autoregressive]] = {
    "pixelcnn": PixelCNN,
    "row_lstm": RowLSTM,
    "diagonal_bilstm": DiagonalBiLSTM,
    "gated_pixelcnn": GatedPixelCNN,
}
_MNIST: dict[str, Any] = {"channels": 1, "levels": 2, "hidden": 32}
PRESETS = {
    "mnist_diagonal_bilstm": Configuration("diagonal_bilstm", features=16, layers=7, **_MNIST),
    "mnist_row_lstm": Configuration("row_lstm", features=16, layers=7, **_MNIST),
    "mnist_pixelcnn": Configuration("pixelcnn", features=16, layers=7, **_MNIST),
    "cifar10_diagonal_bilstm": Configuration("diagonal_bilstm", features=128, layers=12),
    "cifar10_row_lstm": Configuration("row_lstm", features=128, layers=12),
    "cifar10_pixelcnn": Configuration("pixelcnn", features=128, layers=15),
    "imagenet32_row_lstm": Configuration("row_lstm", features=384, layers=12),
    "imagenet64_row_lstm": Configuration("row_lstm", features=512, layers=4),
}


def make(configuration: Configuration) -> Autoregressive:
    """A network with new weights."""
    return NETWORKS[configuration.kind](configuration)
