"""Images with names to an archive and back: grouped by size, cut into blocks, each group by the model that suits it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec import archive, codec, container, models
from pixcodec import names as archive_names
from pixcodec.errors import ContainerError, DamagedTileError, DigestError, UnsupportedImageError
from pixcodec.progress import Tally, cores, side_by_side

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from pixcodec.exact.network import Network
    from pixcodec.exact.program import Program
    from pixcodec.progress import Effort, Progress

BLOCK_IMAGES = 512
BLOCK_SAMPLES = 4_000_000  # sub-pixels; an image that has more is a block of its own
TRIAL_IMAGES = 16


@dataclass(frozen=True)
class NamedImage:
    """Planes uint8[H, W, C] of a mode, and a name: a relative path with "/"."""

    name: str
    planes: NDArray[np.uint8]
    mode: str


@dataclass(frozen=True)
class Encoded:
    """A file, its ideal code length, and how coding went."""

    data: bytes
    ideal_bits: float
    effort: Effort


def encode(
    images: Sequence[NamedImage],
    *,
    model: str | None = None,
    threads: int | None = None,
    effort: int = codec.DEFAULT_EFFORT,
    experts: int | None = None,
    then: int = 0,
    progress: Progress | None = None,
    **products: str | None,
) -> Encoded:
    """Images to an archive.

    Args:
        images: in any order; the archive has them by mode and size, and in each group in this order.
        model: name or folder, for all images; by default, for each mode and size, that of the models which are here
            that makes the fewest bytes of a few images.
        threads: how many blocks may be coded side by side; by default one a core, on a device always one.
        effort: see `codec.encode`; 9 tries the same models as 7 here.
        experts: see `codec.encode`.
        then: see `codec.encode`.
        progress: called with (sub-pixels done, sub-pixels in all), from any thread.
        products: `backend` and `device`, see `codec.encode`.

    Raises:
        UnsupportedImageError: images that do not fit their mode or the model, unsafe names, or more than an archive
            may hold.
        ModelError: no such model.
    """
    archive_names.check([image.name for image in images], UnsupportedImageError)
    for image in images:
        codec.check_planes(image.planes, image.mode)
        if image.mode not in container.PLAIN_MODES:
            message = f"mode {image.mode} of {image.name} is not kept in archives in this version; expected one of "
            raise UnsupportedImageError(message + f"{', '.join(container.PLAIN_MODES)}, encode it alone or convert it")
    groups, how = _groups(images), (effort, experts)
    networks = [_network(group, model, how, {"threads": threads, **products}) for group in groups]
    work = [(network, block) for network, group in zip(networks, groups, strict=True) for block in _blocks(group)]
    weights = [sum(image.planes.size for image in block) * codec.passes([network], how) for network, block in work]
    tally = Tally(progress, sum(weights) + then * sum(image.planes.size for image in images))
    outer, inner = _threads(threads, len(work), products.get("device"))

    def code(index: int) -> tuple[archive.Block, bytes, float, Effort]:
        network, block = work[index]
        planes, mode = np.stack([image.planes for image in block]), block[0].mode
        count, height, width, _ = planes.shape
        sides = codec.tile_sides(network, height, width)
        part: dict[str, Any] = {"threads": inner, "progress": tally.part(weights[index]), **products}
        best, spent = codec.encode_smallest([(planes, network)], sides, how, **part)
        identity, digest = network.identity[: container.MODEL_ID_BYTES], container.digest(planes, mode)
        form = width, height, sides[1], sides[0], count, digest, best.mask
        return archive.Block(identity, mode, best.settings, *form), container.join(best.streams), best.bits, spent

    done = side_by_side(code, range(len(work)), outer)
    names = [image.name for _, block in work for image in block]
    data = archive.pack([block for block, *_ in done], [payload for _, payload, *_ in done], names)
    return Encoded(data, sum(bits for _, _, bits, _ in done), codec.sum_of([spent for *_, spent in done]))


def decode(
    data: bytes, *, threads: int | None = None, progress: Progress | None = None, **products: str | None
) -> Iterator[NamedImage]:
    """The images of an archive in its order, each block proved by its digest before any image of it is given out.

    Args: see `encode`.

    Raises:
        ContainerError: the bytes are no archive that this version knows, or are cut or damaged.
        DamagedTileError: a block's bytes are damaged.
        ModelError: a model is not here.
        DigestError: the pixels are not those that were encoded.
    """
    header, payloads = archive.unpack(data)
    networks = {block.model_id: models.load_by_id(block.model_id) for block in header.blocks}
    for block in header.blocks:
        codec.check_model(networks[block.model_id], block.mode, ContainerError)
        codec.check_settings(networks[block.model_id], block.settings)
    tally = Tally(progress, header.samples)
    outer, inner = _threads(threads, len(payloads), products.get("device"))

    def code(index: int) -> NDArray[np.uint8]:
        block, network = header.blocks[index], networks[header.blocks[index].model_id]
        where = f"block {index} of {len(payloads)}"
        sides, part = (block.tile_height, block.tile_width), tally.part(block.samples)
        try:
            streams = container.split(payloads[index])
            options: dict[str, Any] = {"threads": inner, "progress": part, **products}
            planes, _ = codec.decode_images(streams, block.shape, network, sides, block.settings, block.mask, **options)
        except DamagedTileError as problem:
            message = f"{where}: {problem}"
            raise DamagedTileError(message, index) from None
        if container.digest(planes, block.mode) != block.digest:
            message = f"{where}: the decoded pixels are not those that were encoded; fetch the file and the model anew"
            raise DigestError(message)
        return planes

    names = iter(header.names)
    with ThreadPoolExecutor(outer) as pool:
        for block, planes in zip(header.blocks, pool.map(code, range(len(payloads))), strict=True):
            yield from (NamedImage(next(names), image, block.mode) for image in planes)


def _groups(images: Sequence[NamedImage]) -> list[list[NamedImage]]:
    """Images of one mode and size, by the first of each."""
    groups: dict[tuple[object, ...], list[NamedImage]] = {}
    for image in images:
        groups.setdefault((image.mode, image.planes.shape), []).append(image)
    return list(groups.values())


def _blocks(group: Sequence[NamedImage]) -> list[Sequence[NamedImage]]:
    """A group in blocks as equal as can be, none larger than the constants say."""
    most = max(1, min(BLOCK_IMAGES, BLOCK_SAMPLES // group[0].planes.size))
    blocks = -(-len(group) // most)
    ends = [len(group) * number // blocks for number in range(blocks + 1)]
    return [group[first:last] for first, last in pairwise(ends)]


def _network(
    group: Sequence[NamedImage], model: str | None, how: tuple[int, int | None], options: dict[str, Any]
) -> Network | Program:
    """The model for a group: that asked for, or the one with the fewest bytes for a few images spread over it."""
    mode = group[0].mode
    candidates = [models.load(model)] if model else codec.candidates(mode, max(group[0].planes.shape[:2]))
    if not candidates:
        candidates = [models.load(models.DEFAULTS[mode])]  # whose absence is said by name
    for network in candidates:
        codec.check_model(network, mode, UnsupportedImageError)
    if len(candidates) == 1:
        return candidates[0]
    count = min(len(group), TRIAL_IMAGES)
    trial = np.stack([group[len(group) * number // count].planes for number in range(count)])

    def size(network: Network | Program) -> int:
        sides, settings = codec.tile_sides(network, *trial.shape[1:3]), codec.settings_of(network, *how)
        return sum(map(len, codec.encode_images(trial, network, sides, *settings, **options)[0]))

    return min(candidates, key=size)


def _threads(threads: int | None, blocks: int, device: str | None) -> tuple[int, int]:
    """How many blocks go side by side, one on a device of torch, and the threads of each."""
    threads = threads or cores()
    outer = max(1, min(threads, blocks)) if device is None else 1
    return outer, threads // outer
