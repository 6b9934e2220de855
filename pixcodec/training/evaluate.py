"""Bits per sub-pixel of validation pictures, source by source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from pixcodec.nets.heads import BITS
from pixcodec.training.data import Item, codes, window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pixcodec.exact.predict import Parameters
    from pixcodec.nets.photo import Configuration, PhotoNet
    from pixcodec.training.data import Batch

MARGIN = 16  # rows and columns around what is measured, so that the network sees what it would see in the whole picture


@dataclass(frozen=True)
class Bits:
    """Bits per sub-pixel: of all, and of each source."""

    total: float
    sources: dict[str, float]

    def line(self) -> str:
        """For the terminal."""
        return (
            f"{self.total:.4f} (" + " ".join(f"{name} {bits:.3f}" for name, bits in sorted(self.sources.items())) + ")"
        )


def crop(item: Item, parameters: Parameters, form: Configuration | None = None) -> tuple[Batch, tuple[slice, slice]]:
    """Inputs for the measured window of a validation picture with a margin, and where in them the window is."""
    rows, columns = window(item.planes)
    top, left = max(rows.start - MARGIN, 0), max(columns.start - MARGIN, 0)
    part = slice(top, rows.stop), slice(left, columns.stop + MARGIN)
    inside = slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)
    planes, predicted = (np.ascontiguousarray(array[part]) for array in (item.planes, item.predictions))
    return codes(planes, predicted, parameters, form, (top, left)), inside


def summary(
    items: Sequence[Item],
    parameters: Parameters,
    nats: Callable[[Batch], np.ndarray],
    form: Configuration | None = None,
) -> Bits:
    """Bits of the validation windows by any model.

    Args:
        items: validation pictures.
        parameters: their predictors.
        nats: code lengths [C, 1, H, W] of a batch of one.
        form: the network, for what it sees of places and known planes.
    """
    sums: dict[str, list[float]] = {}
    for item in items:
        batch, (rows, columns) = crop(item, parameters, form)
        lengths = nats(batch)[:, :, rows, columns]
        entry = sums.setdefault(item.version.picture.source, [0.0, 0.0])
        entry[0] += float(lengths.sum(dtype=np.float64)) * BITS
        entry[1] += lengths.size
    bits, samples = (sum(entry[k] for entry in sums.values()) for k in (0, 1))
    return Bits(bits / max(samples, 1), {name: entry[0] / entry[1] for name, entry in sums.items()})


def tensors(batch: Batch, device: torch.device | str) -> tuple[torch.Tensor, ...]:
    """A batch as the arguments of `PhotoNet.nats`."""
    arrays = (batch.trunk, batch.heads, batch.centre, batch.values)
    return tuple(torch.from_numpy(array).to(device, non_blocking=True) for array in arrays)


def validate(network: PhotoNet, items: Sequence[Item], parameters: Parameters, device: torch.device) -> Bits:
    """Bits of the validation windows by a float network, in bfloat16 products as in training."""

    def nats(batch: Batch) -> np.ndarray:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            return network.nats(*tensors(batch, device)).float().cpu().numpy()

    return summary(items, parameters, nats, network.configuration)
