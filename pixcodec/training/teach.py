"""Starting values for experts: `python -m pixcodec.training.teach MODEL --data DIR...`.

Experts code pictures in a row, each as if it were a file but that maps go on from one to the next; what the maps hold
at the end goes into the model, with low counts.  The pictures are crops of training photographs as they are and with a
past: chroma at a quarter of the pixels, JPEG, a tone curve, a palette, noise, and drawn text.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from pixcodec import models, tiles
from pixcodec.errors import ModelError
from pixcodec.exact.experts import Experts
from pixcodec.exact.network import EXPERT_MAPS, Network, identity
from pixcodec.training import luma_chroma, sources
from pixcodec.training.freeze import write_model
from pixcodec.training.pasts import jpeg, noise, palette, quarter_chroma, text, tone
from pixcodec.training.terminal import ended, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from pixcodec.training.pasts import Past

    Planes = NDArray[np.uint8]

HEIGHT, WIDTH = 256, 320
MOST = 12  # counts of what was taught


SERIES: tuple[Past | None, ...] = (
    None, quarter_chroma, None, jpeg, tone, None, noise, None, palette, None, jpeg, None, quarter_chroma, text,
    None, None,
)  # fmt: skip


def pictures(
    folders: Sequence[str | Path], channels: int, count: int, seed: int = 0, *, planes: str = ""
) -> Iterator[Planes]:
    """Crops uint8[256, 320, C] of training photographs, in an order that mixes sources; every second with a past.

    `planes`: what is made of each, of `luma_chroma.NAMES`, or nothing.
    """
    random = np.random.default_rng(seed)
    found = [each for each in sources.find(folders) if not each.validates]
    for number, place in enumerate(random.permutation(len(found))[:count]):
        whole = sources.read(found[place], 3)
        top, left = (int(random.integers(max(whole.shape[k] - size, 0) + 1)) for k, size in ((0, HEIGHT), (1, WIDTH)))
        crop = np.ascontiguousarray(whole[top : top + HEIGHT, left : left + WIDTH])
        past = SERIES[number % len(SERIES)]
        if past is not None and crop.shape[:2] == (HEIGHT, WIDTH):
            crop = past(crop, random)
        if planes:
            yield luma_chroma.converted(crop, planes, int(random.integers(1 << 31)))
            continue
        yield crop if channels == 3 else np.asarray(Image.fromarray(crop).convert("L"))[:, :, None]


def teach(network: Network, series: Iterator[Planes], say: Callable[[str], None]) -> tuple[np.ndarray, np.ndarray]:
    """What the experts' maps and the last map have learned from pictures, beginning with what they start from."""
    start: tuple[np.ndarray, ...] = ()
    for number, planes in enumerate(series):
        experts = Experts(*planes.shape, *start, known=network.known, classes=network.classes)
        bits = tiles.learn(planes, network, experts)
        start = experts.taught(1023)
        say(f"picture {number}: {bits / planes.size:.3f} bits per sub-pixel")
    return experts.taught(MOST)


def run(folder: Path, folders: Sequence[str | Path], count: int, say: Callable[[str], None]) -> str:
    """Teach experts and write the model's folder anew; the new id.

    Raises:
        ModelError: the folder holds no photo model.
        TrainingError: no pictures, or the folder cannot be written.
    """
    network = models.load(str(folder))
    if not isinstance(network, Network):
        raise ModelError(f"{folder} must hold a photo model, whose experts can be taught; give another one")
    planes = network.card.get("training", {}).get("recipe", {}).get("data", {}).get("planes", "")
    learned = teach(network, pictures(folders, network.channels, count, planes=planes), say)
    tensors = {name: tensor for name, tensor in load_file(folder / models.WEIGHTS).items() if name not in EXPERT_MAPS}
    tensors |= dict(zip(EXPERT_MAPS, learned, strict=True))
    card = json.loads((folder / models.CARD).read_text(encoding="utf-8"))
    card["id"] = identity(card, tensors).hex()
    card["training"]["experts"] = {"pictures": count}
    write_model(folder, card, tensors)
    return str(card["id"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; an exit code."""
    parser = argparse.ArgumentParser(prog="python -m pixcodec.training.teach", description="Teach a model's experts.")
    parser.add_argument("folder", type=Path, help="the model's folder, which is written anew")
    parser.add_argument("--data", dest="folders", nargs="+", required=True, help="folders of pictures")
    parser.add_argument("--pictures", dest="count", type=int, default=48)

    return ended(lambda: say(f"model {run(**vars(parser.parse_args(arguments)), say=say)[:16]}"))


if __name__ == "__main__":
    sys.exit(main())
