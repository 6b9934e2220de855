"""Batches of crops: predictor planes computed once and cached, turned into int8 codes while training goes on.

A version of a picture (a dihedral transform, cut to at most so many pixels) is two files in the cache, named by the
digest of everything they depend on: planes uint8[H, W, C] and predictions int16[H, W, C, P].  Both are mapped into
memory; a loader thread cuts crops out of them.  Batch number n depends on the recipe's seed and n alone, so that
training resumes exactly by its number.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from pixcodec.errors import TrainingError
from pixcodec.exact.network import known_codes, phase_codes
from pixcodec.exact.predict import COMPAND, LIMIT, REACH, UNIT, Parameters, predictions
from pixcodec.training import luma_chroma
from pixcodec.training.pasts import with_past
from pixcodec.training.sources import Picture, read

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from pixcodec.nets.masked import Taps
    from pixcodec.nets.photo import Configuration

CACHE_FORMAT = 1
VALIDATION_WINDOW = 192  # side of what is measured of each validation picture
_WARM_UP = 96  # rows and columns before it on which its predictors learn
_MAXIMUM_CODE = 127


@dataclass(frozen=True)
class Version:
    """One transform of one picture: `turn` 0..7 of the square's symmetries, `pixels` at most, perhaps with a past.

    `past` is the number of a past that is drawn by it (`pasts.with_past`), or None; `planes` what is made of it: a
    group of `luma_chroma.NAMES`, or nothing but the picture itself.
    """

    picture: Picture
    turn: int
    pixels: int
    past: int | None = None
    planes: str = ""


@dataclass(frozen=True)
class Item:
    """A version's planes uint8[H, W, known + C] and predictions int16[H, W, C, P], mapped from the cache."""

    version: Version
    planes: np.ndarray
    predictions: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Crops: trunk int8[N, H, W, trunk codes], heads int8[N, H, W, head codes], centre and values uint8[N, H, W, C]."""

    trunk: np.ndarray
    heads: np.ndarray
    centre: np.ndarray
    values: np.ndarray


@njit(nogil=True, cache=True)
def _fill_codes(planes, predictions, centres, compand, phases, known, top, left, trunk, heads, centre):  # type: ignore[no-untyped-def]
    height, width, channels, count = predictions.shape
    bits, more = phases.shape[1], known.shape[2]
    for y in range(height):
        for x in range(width):
            k = 0
            for c in range(channels):
                trunk[y, x, c * (1 + count)] = max(np.int64(planes[y, x, c]) - 128, -_MAXIMUM_CODE)
                value = np.int64(planes[y, x, c]) * UNIT
                for p in range(count):
                    trunk[y, x, c * (1 + count) + 1 + p] = compand[value - predictions[y, x, c, p] + LIMIT]
                middle = np.int64(predictions[y, x, c, centres[c]])
                for p in range(count):
                    if p != centres[c]:
                        heads[y, x, k] = compand[predictions[y, x, c, p] - middle + LIMIT]
                        k += 1
                q = (middle + UNIT // 2) // UNIT
                centre[y, x, c] = q
                heads[y, x, k] = 8 * (middle - UNIT * q)
                heads[y, x, k + 1] = max(q - 128, -_MAXIMUM_CODE)
                k += 2
                for j in range(c):
                    for p in range(count):
                        heads[y, x, k] = trunk[y, x, j * (1 + count) + 1 + p]
                        k += 1
                for place in (y + top, x + left):
                    heads[y, x, k : k + bits] = phases[place & 7]
                    k += bits
                heads[y, x, k : k + more] = known[y, x]
                k += more
            k = channels * (1 + count)
            trunk[y, x, k : k + bits] = phases[(y + top) & 7]
            trunk[y, x, k + bits : k + 2 * bits] = phases[(x + left) & 7]
            trunk[y, x, k + 2 * bits :] = known[y, x]


def codes(
    planes: np.ndarray,
    predicted: np.ndarray,
    parameters: Parameters,
    form: Configuration | None = None,
    place: tuple[int, int] = (0, 0),
) -> Batch:
    """The network's inputs for one picture or crop.

    Args:
        planes: uint8[H, W, known + C].
        predicted: int16[H, W, C, P] in sixteenths, `exact.predict.predictions`.
        parameters: whose centres are used.
        form: the network, which may see its place and known planes; by default it sees neither.
        place: of the crop's first pixel in its picture.

    Returns:
        A batch of one.
    """
    height, width, _ = planes.shape
    batch = _empty(1, height, width, parameters, form)
    _fill(batch, 0, planes, (slice(0, height), slice(0, width)), predicted, parameters, form, place)
    return batch


def _empty(crops: int, height: int, width: int, parameters: Parameters, form: Configuration | None) -> Batch:
    channels, count, places = parameters.channels, parameters.count, form.places if form else 0
    shape = (crops, height, width)
    return Batch(
        np.empty((*shape, channels * (1 + count) + places), np.int8),
        np.empty((*shape, sum(count + 1 + c * count + places for c in range(channels))), np.int8),
        np.empty((*shape, channels), np.uint8),
        np.empty((*shape, channels), np.uint8),
    )


def _fill(
    batch: Batch,
    n: int,
    planes: np.ndarray,
    part: tuple[slice, slice],
    predicted: np.ndarray,
    parameters: Parameters,
    form: Configuration | None,
    place: tuple[int, int],
) -> None:
    """Values and codes of crop `n`: `part` of a picture's planes, at a place that may be another one modulo 8."""
    arrays, phases = (batch.trunk[n], batch.heads[n], batch.centre[n]), phase_codes(form.phases if form else 0)
    batch.values[n] = planes[part][:, :, parameters.known :]
    known = _known_codes(planes[:, :, : parameters.known], part, form.known_taps if form and form.known else None)
    _fill_codes(batch.values[n], predicted, np.array(parameters.centre), COMPAND, phases, known, *place, *arrays)


def _known_codes(known: np.ndarray, part: tuple[slice, slice], taps: Taps | None) -> np.ndarray:
    """`exact.network.known_codes` of a part of a picture's known planes, as they are in the whole."""
    rows, columns = part
    if taps is None:
        return np.empty((rows.stop - rows.start, columns.stop - columns.start, 0), np.int8)
    top, left = max(rows.start - REACH, 0), max(columns.start - REACH, 0)
    around = known_codes(known[top : rows.stop + REACH, left : columns.stop + REACH], taps)
    return around[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]


def turned(planes: np.ndarray, turn: int) -> np.ndarray:
    """One of the square's eight symmetries: quarter turns by `turn` % 4, mirrored from 4 on."""
    planes = np.rot90(planes, turn % 4)
    return np.ascontiguousarray(planes[:, ::-1] if turn >= 4 else planes)


def cut(planes: np.ndarray, pixels: int) -> np.ndarray:
    """The middle of a picture, of its own proportions, with at most so many pixels."""
    height, width = planes.shape[:2]
    if height * width <= pixels:
        return planes
    factor = (pixels / (height * width)) ** 0.5
    rows = max(int(height * factor), 1)
    columns = max(min(int(width * factor), pixels // rows), 1)
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(planes[top : top + rows, left : left + columns])


def validation_part(planes: np.ndarray) -> np.ndarray:
    """The middle square that is measured, with what its predictors learn on above and beside it."""
    height, width = planes.shape[:2]
    rows, columns = min(height, VALIDATION_WINDOW + _WARM_UP), min(width, VALIDATION_WINDOW + 2 * _WARM_UP)
    top = max(min((height - VALIDATION_WINDOW) // 2 - _WARM_UP, height - rows), 0)
    left = (width - columns) // 2
    return np.ascontiguousarray(planes[top : top + rows, left : left + columns])


def window(planes: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a validation part that are measured."""
    height, width = planes.shape[:2]
    side = min(width, VALIDATION_WINDOW)
    left = (width - side) // 2
    return slice(max(height - VALIDATION_WINDOW, 0), height), slice(left, left + side)


def versions(pictures: Sequence[Picture], data: Mapping[str, Any]) -> list[Version]:
    """The versions of each training picture that a recipe's `data` part asks for, and one of each validation picture.

    Turns are chosen by the seed and the picture's name: different ones for one picture.  `data["pasts"]` asks for one
    more version of a share of the pictures, with a past: {"share": .., "max_pixels": ..}; `data["planes"]` what is made
    of each, see `Version`.
    """
    planes, result = str(data.get("planes", "")), []
    if planes and planes not in luma_chroma.NAMES:
        raise TrainingError(
            f"planes must be one of {', '.join(luma_chroma.NAMES)}, found {planes!r}; change the recipe"
        )
    counts: Mapping[str, int] = data.get("versions", {})
    for picture in pictures:
        if picture.validates:
            result.append(Version(picture, 0, 0, planes=planes))
            continue
        number = min(int(counts.get(picture.kind, counts.get("default", 1))), 8)
        seed = hashlib.blake2b(f"{data.get('seed', 0)} {picture.name}".encode(), digest_size=8).digest()
        random = np.random.default_rng(int.from_bytes(seed, "little"))
        turns = random.permutation(8)
        most = int(data.get("max_pixels", 1 << 20))
        result += [Version(picture, int(turn), most, planes=planes) for turn in turns[:number]]
        if "pasts" in data and random.random() < data["pasts"]["share"]:
            past = int(random.integers(1 << 31))
            result.append(Version(picture, int(turns[-1]), int(data["pasts"]["max_pixels"]), past, planes))
    return result


def _key(version: Version, parameters: Parameters) -> str:
    picture = version.picture
    about = [CACHE_FORMAT, parameters.save(), picture.scale, version.turn, version.pixels]
    if picture.validates:
        about.append([VALIDATION_WINDOW, _WARM_UP])
    if version.past is not None:
        about.append(version.past)
    if version.planes:
        about.append(version.planes)
    digest = hashlib.blake2b(json.dumps(about, sort_keys=True).encode(), digest_size=16)
    digest.update(picture.path.read_bytes())
    return digest.hexdigest()


def _prepare(version: Version, parameters: Parameters, cache: Path) -> tuple[Path, Path]:
    """Make a version's files unless they are there; the second one is written last."""
    key = _key(version, parameters)
    names = cache / f"{key}.planes.npy", cache / f"{key}.predictions.npy"
    if not all(name.is_file() for name in names):
        planes = read(version.picture, 3 if version.planes else parameters.channels)
        if version.picture.validates:
            planes = validation_part(planes)
        else:
            planes = turned(cut(planes, version.pixels), version.turn)
            planes = planes if version.past is None else with_past(planes, version.past)
        if version.planes:
            planes = luma_chroma.converted(planes, version.planes, int(key[:12], 16))
        for name, array in zip(names, (planes, predictions(planes, parameters)), strict=True):
            temporary = name.with_suffix(f".{os.getpid()}.tmp")
            with temporary.open("wb") as stream:
                np.save(stream, array)
            temporary.replace(name)
    return names


def prepare(
    wanted: Sequence[Version],
    parameters: Parameters,
    cache: Path,
    *,
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[Item]:
    """Planes and predictions of all versions, computed in parallel where the cache has none.

    Args:
        wanted: the versions.
        parameters: the predictors.
        cache: a folder, made if it is missing.
        processes: how many compute at once.
        progress: is told how many of how many are done.

    Raises:
        TrainingError: a picture cannot be read, or the cache not be written.
    """
    for version in wanted:
        if not version.picture.path.is_file():
            raise TrainingError(f"{version.picture.path} must be a picture, found none; remove it from the list")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Large ones first, so that no process ends with one; fresh processes: torch's threads do not survive a fork.
        order = sorted(range(len(wanted)), key=lambda k: -wanted[k].picture.path.stat().st_size)
        paths: list[tuple[Path, Path] | None] = [None] * len(wanted)
        with ProcessPoolExecutor(max(processes, 1), get_context("spawn")) as pool:
            futures = [(k, pool.submit(_prepare, wanted[k], parameters, cache)) for k in order]
            for done, (k, future) in enumerate(futures, 1):
                paths[k] = future.result()
                if progress is not None:
                    progress(done, len(wanted))
    except OSError as problem:
        raise TrainingError(f"the cache {cache} must be a folder with room, found {problem}; give another") from None
    return [
        Item(version, *map(_mapped, names)) for version, names in zip(wanted, paths, strict=True) if names is not None
    ]


def _mapped(name: Path) -> np.ndarray:
    """An array of the cache, mapped into memory."""
    try:
        array: np.ndarray = np.load(name, mmap_mode="r")
    except (OSError, ValueError, EOFError) as problem:
        raise TrainingError(f"{name} of the cache is damaged ({problem}); remove it and start again") from None
    return array


def weights(items: Sequence[Item], boost: Mapping[str, float]) -> np.ndarray:
    """How often each item is drawn: sources by the root of their pixels times their kind's boost, items by theirs."""
    pixels = np.array([item.planes[:, :, 0].size for item in items], float)
    total: dict[str, float] = {}
    for item, count in zip(items, pixels, strict=True):
        source = item.version.picture.source
        total[source] = total.get(source, 0.0) + count
    result = np.empty(len(items))
    for k, item in enumerate(items):
        picture = item.version.picture
        result[k] = pixels[k] / total[picture.source] ** 0.5 * float(boost.get(picture.kind, 1.0))
    return result / result.sum()


class Batches:
    """An endless, numbered series of batches, made ahead by a thread."""

    def __init__(
        self,
        items: Sequence[Item],
        parameters: Parameters,
        data: Mapping[str, Any],
        form: Configuration | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Prepare to draw `data["batch"]` crops of side `data["crop"]` at a time; part `rank` of `world` of them.

        `form` is the network; a place is one in a picture that was perhaps cut off its grid.
        """
        self.rank, self.world = rank, world
        side = int(data.get("crop", 96))
        self.items = [item for item in items if min(item.planes.shape[:2]) >= side]
        if not self.items:
            raise TrainingError(f"crops of {side} pixels need pictures as large, found none; add larger pictures")
        self.parameters, self.form = parameters, form
        self.side, self.count = side, int(data.get("batch", 3))
        self.seed = int(data.get("seed", 0))
        self._limits = np.cumsum(weights(self.items, data.get("boost", {})))

    @property
    def pixels(self) -> int:
        """Pixels in a batch."""
        return self.count * self.side**2

    def make(self, number: int) -> Batch:
        """Batch `number`, always the same one."""
        draw = np.random.default_rng([self.seed, number * self.world + self.rank])
        batch = _empty(self.count, self.side, self.side, self.parameters, self.form)
        for n in range(self.count):
            chosen = int(np.searchsorted(self._limits, draw.random() * self._limits[-1], side="right"))
            item = self.items[min(chosen, len(self.items) - 1)]
            top, left = (int(draw.integers(0, size - self.side + 1)) for size in item.planes.shape[:2])
            part = slice(top, top + self.side), slice(left, left + self.side)
            place = top + int(draw.integers(8)), left + int(draw.integers(8))
            predicted = np.ascontiguousarray(item.predictions[part])
            _fill(batch, n, item.planes, part, predicted, self.parameters, self.form, place)
        return batch

    def run(self, first: int, ahead: int = 6) -> Generator[Batch]:
        """Batches from number `first` on, `ahead` of them made in advance."""
        made: queue.Queue[Batch | BaseException] = queue.Queue(ahead)
        stop = threading.Event()

        def work() -> None:
            number = first
            while not stop.is_set():
                try:
                    result: Batch | BaseException = self.make(number)
                except BaseException as problem:  # noqa: BLE001 - raised again where the batch is wanted
                    result = problem
                while not stop.is_set():
                    try:
                        made.put(result, timeout=0.2)
                        break
                    except queue.Full:
                        continue
                number += 1

        loader = threading.Thread(target=work, daemon=True, name="loader")
        loader.start()
        try:
            while True:
                batch = made.get()
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            stop.set()
            loader.join()
