"""The ideal code length of a model's float weights, before they were frozen to integers. Needs torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pixcodec import container, models
from pixcodec.errors import PixcodecError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    FloatLength = Callable[[NDArray[np.uint8], container.Header], float]

STRIP_ROWS = 64  # rows at once; more would only take more memory


def available(folders: Sequence[Path]) -> tuple[dict[str, FloatLength], list[str]]:
    """Return a function for each mode that has float weights, and one line for each reason why another has not.

    Args:
        folders: with float.safetensors and float.json; empty: those of the default models.
    """
    try:
        import torch  # noqa: F401 - that it is here

        from pixcodec.training import checkpoint
    except ImportError as error:
        return {}, [f"the float model's ideal length is left out: {error}; pip install 'pixcodec[train]'"]
    modes = [mode for mode in container.PLAIN_MODES if container.LEVELS[mode] == 256]
    names = {models.DEFAULTS[mode] for mode in modes}
    defaults = {each.folder for each in models.available() if each.name in names}
    found: dict[str, FloatLength] = {}
    for folder in folders or sorted(defaults):
        if (folder / checkpoint.CARD).is_file():
            channels, function = _length(folder)
            found[next(mode for mode in modes if container.CHANNELS[mode] == channels)] = function
    missing = [mode for mode in modes if mode not in found]
    said = [f"the float model's ideal length is left out for {mode}: no float weights are here" for mode in missing]
    return found, said


def _length(folder: Path) -> tuple[int, FloatLength]:
    import torch

    from pixcodec.exact.predict import predictions
    from pixcodec.nets.heads import BITS
    from pixcodec.training import checkpoint, data, evaluate, tasks

    network, card = checkpoint.load_network(folder)
    network.eval()
    parameters, _ = tasks.parts(card)

    def of_tile(planes: NDArray[np.uint8]) -> float:
        predicted = predictions(planes, parameters)
        total = 0.0
        for top in range(0, len(planes), STRIP_ROWS):
            above = max(top - evaluate.MARGIN, 0)
            rows = slice(above, top + STRIP_ROWS)
            part = np.ascontiguousarray(predicted[rows])
            batch = data.codes(planes[rows], part, parameters, network.configuration, (above, 0))
            with torch.inference_mode():
                nats = network.nats(*evaluate.tensors(batch, "cpu"))
            total += float(nats[:, :, top - above :].double().sum())
        return total * BITS

    def of_picture(planes: NDArray[np.uint8], header: container.Header) -> float:
        if planes.shape[2] != parameters.channels:
            message = f"the float weights are for {parameters.channels} channels, the picture has {planes.shape[2]}"
            raise PixcodecError(message)
        boxes = map(header.tile_box, range(header.tile_count))
        return sum(of_tile(np.ascontiguousarray(planes[top:bottom, left:right])) for left, top, right, bottom in boxes)

    return parameters.channels, of_picture
