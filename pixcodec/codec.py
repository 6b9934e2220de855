"""The stages in order: planes to a .pxc file and back.

What codes the symbols is one of two: `tiles`, a tile after the other by the wavefront, or `regions`, all
`_tiles` of a size side by side by one of the paper's networks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pixcodec import container, models, origins, tiles
from pixcodec.container import NO_COLOURS, Colours
from pixcodec.errors import ContainerError, DamagedTileError, DigestError, ModelError, UnsupportedImageError
from pixcodec.expert_names import ALL, REPETITION
from pixcodec.progress import Effort, Tally
from pixcodec.repeats import share_of_repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from typing_extensions import TypeIs

    from pixcodec.exact.network import Network
    from pixcodec.exact.program import Program
    from pixcodec.progress import Progress

    _Group = tuple[origins.Leaf, NDArray[np.uint8], Network | Program]  # with what is known of it, and its model

EFFORTS = range(1, 10)
DEFAULT_EFFORT, FAST_TO, EXPERTS_FROM, LEARNING_FROM, MOST_EFFORT = 7, 3, 3, 7, 9
LOSS, LOSS_BITS = 0.0005, 32  # that what learns may cost, of the bits and besides, before it is left out
REPAIR = 0.02  # of the bits: where experts save more, they put right what heads that learn spoil
REPEATED = 0.2  # of a picture's pixels, from which on experts of repetition take part
SMALL = 1 << 16  # pixels, which take no time
NEVER = 1 << 62  # bytes
TILE_SIDE = 2048  # tiles of about 4 megapixels at most: what is learned starts anew in each (docs/decisions)


@dataclass(frozen=True)
class Encoded:
    """A file and how it came about: seconds by stage (summed over threads), steps of the wavefront, ideal code length.

    `note` says, where the fastest products had to be given up, why; `origin` in words what the picture was made from.
    """

    data: bytes
    seconds: dict[str, float]
    steps: int
    ideal_bits: float
    note: str = ""
    origin: str = ""


@dataclass(frozen=True)
class Decoded:
    """Planes uint8[H, W, C] with their mode, seconds by stage (summed over threads), steps of the wavefront, a note.

    `colours` are palette and transparency.
    """

    planes: NDArray[np.uint8]
    mode: str
    seconds: dict[str, float]
    steps: int
    note: str = ""
    colours: Colours = NO_COLOURS


def is_stacked(network: Network | Program) -> TypeIs[Program]:
    """Whether it codes stacks of tiles side by side, and not each tile by the wavefront."""
    return bool(getattr(network, "stacked", False))


def tile_sides(network: Network | Program, height: int, width: int, longest: int | None = None) -> tuple[int, int]:
    """(height, width) of an image's equal tiles: multiples of 16, at most `longest` or what the model asks for."""
    if longest is None:
        longest = -(-network.tile // container.TILE_UNIT) * container.TILE_UNIT if is_stacked(network) else TILE_SIDE
    longest = max(longest, container.TILE_UNIT)
    return _tile_side(height, longest), _tile_side(width, longest)


def _tile_side(length: int, longest: int) -> int:
    """Length of equal tiles, a multiple of the container's unit, at most `longest`."""
    unit = container.TILE_UNIT
    parts = -(-length // (longest // unit * unit))
    return -(-length // (parts * unit)) * unit


def check_model(network: Network | Program, mode: str, error: type[ContainerError | UnsupportedImageError]) -> None:
    """Raise `error` unless the network is for images of this mode."""
    _check_kind(network, container.CHANNELS[mode], container.LEVELS[mode], 0, error)


def _check_kind(
    network: Network | Program,
    channels: int,
    levels: int,
    known: int,
    error: type[ContainerError | UnsupportedImageError],
) -> None:
    if network.known not in {0, known}:
        raise error(
            f"the model codes a group that knows {network.known} planes of others, here {known} are known; "
            + ("fetch the file anew" if error is ContainerError else "choose another model")
        )
    found, expected = (network.channels, int(getattr(network, "levels", 256))), (channels, levels)
    if found == expected:
        return
    if error is ContainerError:
        message = f"the file's mode has {expected[0]} channels, its model {found[0]}, of {expected[1]} and {found[1]} "
        raise error(message + "levels; fetch the file anew")
    message = (
        f"the model codes {found[0]} channels of {found[1]} levels, the image has {expected[0]} of {expected[1]}; "
    )
    raise error(message + "choose another model")


def encode_images(
    images: NDArray[np.uint8],
    network: Network | Program,
    sides: tuple[int, int],
    settings: int,
    mask: int,
    **options: Any,  # noqa: ANN401
) -> tuple[list[bytes], float, Effort]:
    """Images uint8[N, H, W, known + C] in tiles of `sides` to streams, with their ideal bits and how it went.

    `settings` and `mask` are the container's; `options` are threads, backend, device and progress, see `encode`.
    """
    if is_stacked(network):
        from pixcodec import regions

        return regions.encode(images, network, sides, **options)
    return tiles.encode(images, network, sides, **_learners(settings, mask), **options)


def decode_images(
    streams: Sequence[bytes],
    shape: tuple[int, int, int, int],
    network: Network | Program,
    sides: tuple[int, int],
    settings: int,
    mask: int,
    **options: Any,  # noqa: ANN401
) -> tuple[NDArray[np.uint8], Effort]:
    """Streams to images uint8[N, H, W, C] of this shape, and how it went; `DamagedTileError` if they are of others."""
    if is_stacked(network):
        from pixcodec import regions

        return regions.decode(streams, shape, network, sides, **options)
    return tiles.decode(streams, shape, network, sides, **_learners(settings, mask), **options)


def _learners(settings: int, mask: int) -> dict[str, Any]:
    """What learns, by the container's settings and mask, as `tiles` takes it."""
    return {"experts": container.experts_of(settings, mask), "learning": bool(settings & container.LEARNING)}


def stream_count(network: Network | Program, shape: tuple[int, int, int], sides: tuple[int, int]) -> int:
    """Streams of an image [H, W, C] in tiles of `sides`."""
    if is_stacked(network):
        from pixcodec import regions

        return regions.stream_count((1, *shape), sides)
    return -(-shape[0] // sides[0]) * -(-shape[1] // sides[1])


def settings_of(network: Network | Program, effort: int, experts: int | None = None) -> tuple[int, int]:
    """The container's settings and mask for a model and an effort, or for given experts.

    Raises:
        ValueError: the effort is not one of `EFFORTS`, or there are no such experts.
        ModelError: experts were asked for, and the model codes without.
    """
    if effort not in EFFORTS:
        raise ValueError(f"effort must be of {EFFORTS[0]} to {EFFORTS[-1]}, found {effort}")
    if is_stacked(network):
        if experts:
            raise ModelError("the model codes without experts, some were asked for; choose a model with predictors")
        return container.ONE_STREAM, 0
    if experts is None:
        experts = ALL if effort >= EXPERTS_FROM else 0
    settings, mask = container.settings_of(experts)
    return settings | (container.LEARNING if effort >= LEARNING_FROM and network.learns else 0), mask


def default_model(mode: str, effort: int) -> str:
    """The name of the model for a mode and an effort."""
    return (models.FAST if effort <= FAST_TO else models.DEFAULTS).get(mode, models.DEFAULTS[mode])


def candidates(mode: str, side: int) -> list[Network | Program]:
    """Models for the mode; of those for small images the ones that code this side in one piece, if there are any."""
    kind = container.CHANNELS[mode], container.LEVELS[mode]
    listed = [each for each in models.available() if (each.channels, each.levels, each.known) == (*kind, 0)]
    found = [models.load(str(each.folder)) for each in listed if each.name not in models.FAST.values()]
    return [network for network in found if not is_stacked(network) or side <= network.tile] or found


def check_settings(network: Network | Program, settings: int) -> None:
    """Raise `ContainerError` unless a file's settings fit its model."""
    learns = not is_stacked(network) and network.learns
    if bool(settings & container.ONE_STREAM) != is_stacked(network) or (settings & container.LEARNING and not learns):
        raise ContainerError(f"settings {settings} do not fit the file's model; fetch the file anew")


def encode(
    planes: NDArray[np.uint8],
    mode: str,
    *,
    model: str | None = None,
    threads: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    tile: int | None = None,
    effort: int = DEFAULT_EFFORT,
    experts: int | None = None,
    origin: str = origins.NONE,
    colours: Colours = NO_COLOURS,
    jpeg: bytes = b"",
    then: int = 0,
    progress: Progress | None = None,
) -> Encoded:
    """Planes to a .pxc file.

    Args:
        planes: uint8[H, W, C] with C as in `container.CHANNELS`; of mode "1", samples are 0 or 1.
        mode: of `container.MODES`.
        model: name or folder; by default the shipped model for the mode. Of a picture in several groups of planes, it
            codes those that it is for.
        threads: how many may work, on tiles side by side or, where there are few, behind each; by default one a core.
        backend: for products, see `exact.matmul`; by default the fastest that is exact here.
        device: of torch ("cpu", "cuda", ...), which then evaluates the network over whole tiles at once, or, of a
            stacked one, step by step; by default it is evaluated step by step by compiled kernels, without torch.
        tile: longest side of a tile.
        effort: 1 to 9: the network alone, up to 3 a smaller one, see `default_model`; from 3 on experts that learn the
            image while it is coded, and from 7 on the network's heads, which learn it too; 9 is the smallest file of
            several, see `_choices`.
        experts: the mask of those that take part (`expert_names`), 0 for none; by default the effort says.
        origin: what the picture may have been made from: "auto", "none" or a name, of `origins.search.NAMES`.
        colours: palette and transparency.
        jpeg: the JPEG file that the planes were decoded from, if they were; what it holds need not be looked for.
        then: how many passes over all planes will follow the encoding, for its progress.
        progress: called with (sub-pixels coded, sub-pixels to be coded), from any thread: of all passes but trials of a
            part. The second grows once a pass is found to be worth repeating.

    Raises:
        UnsupportedImageError: the planes do not fit the mode, or the mode the model.
        ModelError: no such model, or one without experts for which some were asked.
        BackendError: the back end or device asked for is not here, or not exact.
        ValueError: no such effort, experts or origin.
    """
    check_planes(planes, mode, colours)
    options: dict[str, Any] = {"threads": threads, "backend": backend, "device": device}
    coder = _Groups(model, (effort, experts), tile, options)
    tree: origins.Node | origins.Leaf = origins.Leaf(planes.shape, container.LEVELS[mode], planes)
    trees = [tree]
    if origin != origins.NONE or mode not in container.PLAIN_MODES or colours:
        from pixcodec.origins import search

        tree = search.find(planes, container.LEVELS[mode], colours.palette, origin, coder.cost, jpeg)
        trees = search.turns(tree, planes) if effort == MOST_EFFORT and origin == origins.AUTO else [tree]
    ways: list[tuple[int, Callable[[Progress], Encoded]]] = []
    for each in trees:
        if isinstance(each, origins.Node) or mode not in container.PLAIN_MODES or colours:
            groups = coder.groups(each, (planes.shape[0], planes.shape[1], planes.shape[2]))
            ways.append((coder.work(groups), partial(coder.encode, planes, mode, colours, each, groups)))
            continue
        for network in coder.networks(mode, max(planes.shape[:2])):
            work = passes([network], coder.how) * planes.size
            ways.append((work, partial(coder.encode_plain, planes, mode, network)))
    samples = sum(leaf.samples for leaf in origins.leaves(tree))
    tally = Tally(progress, sum(work for work, _ in ways) + then * samples)
    made = [encode(tally.part(work)) for work, encode in ways]
    all_of_them = sum_of([Effort(each.seconds, each.steps, each.note) for each in made])
    smallest = min(made, key=lambda each: len(each.data))
    return replace(smallest, seconds=all_of_them.seconds, steps=all_of_them.steps, note=all_of_them.note)


class Coded(NamedTuple):
    """Streams of images with the settings and the mask that they were coded with, and their ideal bits.

    `network_bits` and `fixed_bits` are those without what learns, see `tiles.Trial`.
    """

    settings: int
    mask: int
    streams: list[bytes]
    bits: float
    network_bits: float
    fixed_bits: float

    @property
    def size(self) -> int:
        """Bytes of the streams."""
        return sum(map(len, self.streams))

    def followed_by(self, trial: tiles.Trial) -> Coded:
        """Of the streams here and those of more images."""
        return self._replace(
            streams=self.streams + trial.streams,
            bits=self.bits + trial.ideal_bits,
            network_bits=self.network_bits + trial.network_bits,
            fixed_bits=self.fixed_bits + trial.fixed_bits,
        )

    def useful(self) -> tuple[int, int]:
        """The settings and mask that are left without what cost more than it saved."""
        settings, mask = self.settings, self.mask
        if self.bits > self.network_bits * (1 + LOSS) + LOSS_BITS:
            settings, mask = settings & ~(container.EXPERTS | container.MASKED), 0
        little = self.bits > self.network_bits * (1 - REPAIR)
        if little and self.network_bits > self.fixed_bits * (1 + LOSS) + LOSS_BITS:
            settings &= ~container.LEARNING
        return settings, mask


def _choices(networks: Sequence[Network | Program], how: tuple[int, int | None]) -> list[tuple[int, int]]:
    """Settings with masks, each of which all of the networks can do: what (effort, experts) says, or what it tries."""
    effort, experts = how
    # Networks of a file are of one kind, and only some of them may have heads that learn.
    settings, mask = min((settings_of(network, *how) for network in networks), default=(0, 0))
    if effort < MOST_EFFORT or not networks or settings & container.ONE_STREAM:
        return [(settings, mask)]
    learners = map(container.settings_of, [ALL, 0] if experts is None else [experts])
    heads = dict.fromkeys([settings & container.LEARNING, 0])
    return [(learning | settings, mask) for (settings, mask), learning in product(learners, heads)]


def passes(networks: Sequence[Network | Program], how: tuple[int, int | None]) -> int:
    """How often planes are coded for `_choices`: once for all that are alike in whether heads learn."""
    return len({settings & container.LEARNING for settings, _ in _choices(networks, how)})


def encode_smallest(
    groups: Sequence[tuple[NDArray[np.uint8], Network | Program]],
    sides: tuple[int, int],
    how: tuple[int, int | None],
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401
) -> tuple[Coded, Effort]:
    """Groups of planes, each by its network, coded by that of their `_choices` that gives the fewest bytes.

    Where the effort leaves one, experts of repetition do not take part where hardly anything repeats, and if what
    learns cost more than it saved, groups are coded again without that: nothing to be learned, nothing lost.

    Args:
        groups: images uint8[N, H, W, known + C] with their networks, which are stacked or none of them is.
        sides: of a tile.
        how: effort and experts, see `encode`.
        progress: see `encode`.
        options: threads, backend and device.
    """
    networks = [network for _, network in groups]
    tally = Tally(progress, passes(networks, how) * _samples(groups))
    effort, experts = how
    choices = _choices(networks, how)
    repetition = container.experts_of(*choices[0]) & REPETITION
    if repetition and experts is None and effort < MOST_EFFORT and _hardly_repeats(groups, sides):
        choices = [_without_repetition(*choices[0])]
    coded, spent = _code_each(groups, sides, choices, tally, options)
    best = min(coded, key=lambda each: each.size)
    while experts is None and effort < MOST_EFFORT and best.useful() != (best.settings, best.mask):
        tally.more(_samples(groups))
        (again,), more = _code_each(groups, sides, [best.useful()], tally, options)
        spent = sum_of([spent, more])
        if again.size >= best.size:
            break
        best = again
    return best, spent


def _hardly_repeats(groups: Sequence[tuple[NDArray[np.uint8], Network | Program]], sides: tuple[int, int]) -> bool:
    """Whether experts of repetition would take more time than they are worth (docs/decisions, 38)."""
    large = all(images[..., 0].size >= SMALL for images, _ in groups)
    return large and all(share_of_repeats(images, sides) < REPEATED for images, _ in groups)


def _without_repetition(settings: int, mask: int) -> tuple[int, int]:
    """Settings and mask without experts of repetition."""
    others, mask = container.settings_of(container.experts_of(settings, mask) & ~REPETITION)
    return settings & ~(container.EXPERTS | container.MASKED) | others, mask


def _samples(groups: Sequence[tuple[NDArray[np.uint8], Network | Program]]) -> int:
    """Sub-pixels that are coded of them."""
    return sum(images[..., network.known :].size for images, network in groups)


def _code_each(
    groups: Sequence[tuple[NDArray[np.uint8], Network | Program]],
    sides: tuple[int, int],
    choices: Sequence[tuple[int, int]],
    tally: Tally,
    options: dict[str, Any],
) -> tuple[list[Coded], Effort]:
    """Groups of planes coded with each of several settings and masks, in their order, and how it went.

    See `encode_smallest`. A network is evaluated once for all that are alike in whether its heads learn.
    """
    coded = {choice: Coded(*choice, [], 0.0, 0.0, 0.0) for choice in choices}
    efforts = []
    for images, network in groups:
        for learning in dict.fromkeys(settings & container.LEARNING for settings, _ in choices):
            alike = [choice for choice in choices if choice[0] & container.LEARNING == learning]
            part = {"progress": tally.part(_samples([(images, network)])), **options}
            if is_stacked(network):
                from pixcodec import regions

                streams, bits, spent = regions.encode(images, network, sides, **part)
                trials = [tiles.Trial(0, streams, bits, bits, bits)]
            else:
                masks = [container.experts_of(*choice) for choice in alike]
                trials, spent = tiles.encode_each(images, network, sides, masks, learning=bool(learning), **part)
            for choice, trial in zip(alike, trials, strict=True):
                coded[choice] = coded[choice].followed_by(trial)
            efforts.append(spent)
    return [coded[choice] for choice in choices], sum_of(efforts)


class _Groups:
    """Pictures in one or several groups of planes, each by the model for it.

    Args:
        model: name or folder of the model asked for, for the groups that it fits.
        how: effort and experts, see `encode`.
        tile: longest side of a tile.
        options: threads, backend and device.
    """

    def __init__(
        self, model: str | None, how: tuple[int, int | None], tile: int | None, options: dict[str, Any]
    ) -> None:
        self.asked = None if model is None else models.load(model)
        self.how, self.tile, self.options = how, tile, options

    def network(self, channels: int, levels: int, known: int) -> Network | Program:
        """The model for planes of so many channels and levels, of which others are known."""
        asked = self.asked
        kind = asked and (asked.channels, int(getattr(asked, "levels", 256)))
        if asked is not None and kind == (channels, levels) and asked.known in {0, known}:
            return asked
        if known and (channels, levels) == (1, 256):
            return models.load(models.KNOWING[known])
        mode = "1" if levels == 2 else {1: "L", 3: "RGB"}[channels]
        return models.load(default_model(mode, self.how[0]))

    def cost(self, planes: NDArray[np.uint8], known: NDArray[np.uint8]) -> int:
        """Bytes of planes of 256 levels; of those without a model, LA and RGBA, nothing is asked.

        More than any where the model asked for is for fewer channels: whatever has these is worth it.
        """
        if self.asked is not None and self.asked.channels < planes.shape[2]:
            return NEVER
        network = self.network(planes.shape[2], 256, known.shape[2])
        sides, settings = tile_sides(network, *planes.shape[:2]), settings_of(network, *self.how)
        images = _knowing(network, known, planes)[None]
        return sum(map(len, encode_images(images, network, sides, *settings, **self.options)[0]))

    def networks(self, mode: str, side: int) -> list[Network | Program]:
        """Those that are tried on a picture of a plain mode, of which this is the longest side."""
        if self.asked is not None:
            return [self.asked]
        effort, experts = self.how
        tried = candidates(mode, side) if effort == MOST_EFFORT else []
        return [each for each in tried if not (experts and is_stacked(each))] or [
            models.load(default_model(mode, effort))
        ]

    def encode_plain(
        self, planes: NDArray[np.uint8], mode: str, network: Network | Program, progress: Progress
    ) -> Encoded:
        """The file of a picture that was made from nothing else, without a record."""
        check_model(network, mode, UnsupportedImageError)
        sides = tile_sides(network, planes.shape[0], planes.shape[1], self.tile)
        best, spent = encode_smallest([(planes[None], network)], sides, self.how, progress, **self.options)
        header = container.Header(
            width=planes.shape[1],
            height=planes.shape[0],
            mode=mode,
            model_id=network.identity[: container.MODEL_ID_BYTES],
            settings=best.settings,
            tile_width=sides[1],
            tile_height=sides[0],
            digest=container.digest(planes, mode),
            mask=best.mask,
        )
        data = container.pack(header, [container.join(best.streams)] if is_stacked(network) else best.streams)
        return Encoded(data, spent.seconds, spent.steps, best.bits, spent.note)

    def groups(self, tree: origins.Node | origins.Leaf, shape: tuple[int, int, int]) -> list[_Group]:
        """Those of the tree of a picture of `shape`, each with what is known of it and its model."""
        return [
            (leaf, known, self.network(leaf.shape[2], leaf.levels, known.shape[2]))
            for leaf, known in origins.known_leaves(tree, shape)
        ]

    def work(self, groups: Sequence[_Group]) -> int:
        """Sub-pixels of groups, as often as they are coded."""
        return passes([network for *_, network in groups], self.how) * sum(leaf.samples for leaf, *_ in groups)

    def encode(
        self,
        planes: NDArray[np.uint8],
        mode: str,
        colours: Colours,
        tree: origins.Node | origins.Leaf,
        groups: Sequence[_Group],
        progress: Progress,
    ) -> Encoded:
        """The file of a picture, its tree and the groups of that, with a record."""
        height, width = planes.shape[:2]
        if len({is_stacked(network) for *_, network in groups}) > 1:
            message = "the model asked for codes no group of planes beside those of other models; choose another model"
            raise UnsupportedImageError(message)
        ids = [network.identity[: container.MODEL_ID_BYTES] for *_, network in groups]
        first = ids[0] if ids else bytes(container.MODEL_ID_BYTES)
        # The picture's size decides; smaller groups have fewer or smaller tiles.
        sides = tile_sides(groups[0][2], height, width, self.tile) if groups else (container.TILE_UNIT,) * 2
        parts = [(_knowing(network, known, leaf.found())[None], network) for leaf, known, network in groups]
        best, spent = encode_smallest(parts, sides, self.how, progress, **self.options)
        record = origins.write(
            tree, mode, (colours.palette, colours.transparency), iter(b"" if each == first else each for each in ids)
        )
        header = container.Header(
            width=width,
            height=height,
            mode=mode,
            model_id=first,
            settings=best.settings | container.ORIGIN,
            tile_width=sides[1],
            tile_height=sides[0],
            digest=container.digest(planes, mode, colours),
            record=record,
            mask=best.mask,
        )
        data = container.pack(header, [container.join(best.streams)])
        return Encoded(data, spent.seconds, spent.steps, best.bits, spent.note, origins.words(tree))


def _knowing(network: Network | Program, known: NDArray[np.uint8], planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Planes with those that are known in front of them, if the network wants to know any."""
    return np.concatenate([known, planes], axis=2) if network.known else planes


def sum_of(efforts: Sequence[Effort]) -> Effort:
    """Several efforts as one."""
    seconds: dict[str, float] = {}
    for effort in efforts:
        for stage, spent in effort.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent
    notes = dict.fromkeys(effort.note for effort in efforts if effort.note)
    return Effort(seconds, sum(effort.steps for effort in efforts), "; ".join(notes))


def check_planes(planes: NDArray[np.uint8], mode: str, colours: Colours = NO_COLOURS) -> None:
    """Raise `UnsupportedImageError` unless planes [H, W, C] and colours are of the mode."""
    if (
        mode not in container.CHANNELS
        or planes.dtype != np.uint8
        or planes.ndim != 3
        or planes.shape[2] != container.CHANNELS[mode]
        or not planes.size
        or planes.max() >= container.LEVELS[mode]
    ):
        raise UnsupportedImageError(
            f"expected uint8 planes [H, W, C] of mode {', '.join(container.MODES)}, found {planes.dtype}{planes.shape} "
            f"{mode}; convert them"
        )
    if not colours.fits(mode):
        raise UnsupportedImageError(f"expected palette and transparency of mode {mode}, found {colours}; remove them")


def decode(
    data: bytes,
    *,
    threads: int | None = None,
    backend: str | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> Decoded:
    """A .pxc file to its planes, proved by the digest of the pixels that were encoded.

    Args: see `encode`; with a `device` only the products of each step are computed there, or, of a stacked network,
        all of it.

    Raises:
        ContainerError: the bytes are not a .pxc file that this version knows, or are cut or damaged.
        DamagedTileError: a tile's bytes are damaged.
        ModelError: the file's model is not here.
        DigestError: the pixels are not those that were encoded.
    """
    header, payloads = container.unpack(data)
    if header.has_origin:
        return _decode_groups(header, payloads[0], {"threads": threads, "backend": backend, "device": device}, progress)
    network = models.load_by_id(header.model_id)
    check_model(network, header.mode, ContainerError)
    check_settings(network, header.settings)
    shape, sides = (1, header.height, header.width, header.channels), (header.tile_height, header.tile_width)
    options = {"threads": threads, "backend": backend, "device": device, "progress": progress}
    streams = container.split(payloads[0]) if header.one_stream else payloads
    images, spent = decode_images(streams, shape, network, sides, header.settings, header.mask, **options)
    if container.digest(images, header.mode) != header.digest:
        raise DigestError("the decoded pixels are not those that were encoded; fetch the file and the model anew")
    return Decoded(images[0], header.mode, spent.seconds, spent.steps, spent.note)


def read_record(header: container.Header) -> tuple[Colours, origins.Node | origins.Leaf]:
    """Palette, transparency and tree of a file with a record; `ContainerError` where it has none that we know."""
    from pixcodec.origins import search

    shape = header.height, header.width, header.channels
    found, tree = search.read(header.record, header.mode, shape, container.LEVELS[header.mode])
    colours = Colours(*found)
    if not colours.fits(header.mode):
        raise ContainerError(f"the file has colours that mode {header.mode} cannot have; fetch the file anew")
    return colours, tree


def _decode_groups(
    header: container.Header, payload: bytes, options: dict[str, Any], progress: Progress | None
) -> Decoded:
    """The picture of a file with a record; see `decode`."""
    colours, tree = read_record(header)
    groups = [*origins.leaves(tree)]
    settings, sides = header.settings & ~container.ORIGIN, (header.tile_height, header.tile_width)
    if not groups and (any(header.model_id) or settings or payload):
        raise ContainerError("the file has a model or symbols but no planes for them; fetch the file anew")
    networks = [models.load_by_id(leaf.model_id or header.model_id) for leaf in groups]
    for network in networks:
        check_settings(network, settings)
    streams, efforts, left = container.split(payload), [], iter(networks)
    tally = Tally(progress, sum(leaf.samples for leaf in groups))

    def code(leaf: origins.Leaf, known: NDArray[np.uint8]) -> NDArray[np.uint8]:
        nonlocal streams
        network = next(left)
        _check_kind(network, leaf.shape[2], leaf.levels, known.shape[2], ContainerError)
        count = stream_count(network, leaf.shape, sides)
        own, streams = streams[:count], streams[count:]
        part = {"progress": tally.part(leaf.samples), **options}
        if network.known:
            part["known"] = known[None]
        images, spent = decode_images(own, (1, *leaf.shape), network, sides, settings, header.mask, **part)
        efforts.append(spent)
        return images[0]

    planes = origins.render(tree, code, (header.height, header.width, header.channels))
    if streams:
        raise DamagedTileError(f"the file has {len(streams)} streams too many; fetch the file anew")
    if container.digest(planes, header.mode, colours) != header.digest:
        raise DigestError("the decoded pixels are not those that were encoded; fetch the file and the model anew")
    spent = sum_of(efforts)
    return Decoded(planes, header.mode, spent.seconds, spent.steps, spent.note, colours)
