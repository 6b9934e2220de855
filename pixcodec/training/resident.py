"""Training data in the memory of the device that trains: pictures go there once, crops and codes are made there.

What `data.Batches` does for a processor, a GPU would wait for.  Planes and predictions of 400 megapixels take 28 GB,
so each picture is there in several of the square's symmetries, each with predictions of its own: predictors learn along
the picture and do not turn with it.
"""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from pixcodec.exact.network import phase_codes
from pixcodec.exact.predict import COMPAND, LIMIT, UNIT
from pixcodec.training import data, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from pixcodec.exact.predict import Parameters
    from pixcodec.nets.photo import Configuration

_LARGEST_CODE = 127
_RACE = 6  # steps that compiled and plain products are compared by


class Batch(NamedTuple):
    """Crops as tensors, the arguments of `PhotoNet.nats`; see `data.Batch`."""

    trunk: torch.Tensor
    heads: torch.Tensor
    centre: torch.Tensor
    values: torch.Tensor


def codes(
    values: torch.Tensor,
    predicted: torch.Tensor,
    parameters: Parameters,
    form: Configuration,
    places: torch.Tensor,
    known: torch.Tensor | None = None,
) -> Batch:
    """The network's inputs for crops, those of `data.codes` bit for bit.

    Args:
        values: uint8[N, H, W, C].
        predicted: int16[N, H, W, C, P] in sixteenths.
        parameters: whose centres are used.
        form: the network, which may see its place and known planes.
        places: int64[N, 2], y and x of each crop's first pixel.
        known: uint8[N, H, W, K, 1 + taps] of known planes, each pixel and those of `form.known_taps`.
    """
    channels, device, phases = range(parameters.channels), values.device, form.phases
    compand, table = (torch.from_numpy(each).to(device) for each in (COMPAND, phase_codes(phases)))
    levels = values.to(torch.int16)
    middle = torch.stack([predicted[..., c, parameters.centre[c]] for c in channels], 3)
    residuals = compand[(levels.unsqueeze(4) * UNIT - predicted + LIMIT).int()]
    differences = compand[(predicted - middle.unsqueeze(4) + LIMIT).int()]
    centre = (middle + UNIT // 2) // UNIT
    fraction = (8 * (middle - UNIT * centre)).to(torch.int8)
    level, around = ((each - 128).clamp_min(-_LARGEST_CODE).to(torch.int8) for each in (levels, centre))
    shape = values.shape[:3]
    y, x = (torch.arange(shape[k + 1], device=device) + places[:, k, None] & 7 for k in (0, 1))
    place = [table[y][:, :, None].expand(*shape, phases), table[x][:, None].expand(*shape, phases)]
    if known is not None:
        here, around_it = known[..., :1].to(torch.int16), known[..., 1:].to(torch.int16)
        seen = (here - 128).clamp_min(-_LARGEST_CODE).to(torch.int8), compand[((around_it - here) * UNIT + LIMIT).int()]
        place.append(torch.cat(seen, 4).flatten(3))
    trunk = [torch.cat([level[..., c, None], residuals[..., c, :]], 3) for c in channels]
    heads = []
    for c in channels:
        others = [p for p in range(parameters.count) if p != parameters.centre[c]]
        known = [residuals[..., j, :] for j in range(c)]
        heads += [differences[..., c, others], fraction[..., c, None], around[..., c, None], *known, *place]
    return Batch(torch.cat([*trunk, *place], 3), torch.cat(heads, 3), centre.to(torch.uint8), values)


class Batches(data.Batches):
    """A numbered series of batches that are made on a device, of other crops than `data.Batches` draws."""

    def __init__(
        self,
        items: Sequence[data.Item],
        parameters: Parameters,
        settings: Mapping[str, Any],
        form: Configuration,
        device: torch.device,
    ) -> None:
        """Copy planes uint8 and predictions int16 of all items to the device; `settings` are a recipe's data."""
        super().__init__(items, parameters, settings, form)
        self._form = form
        shapes = np.array([item.planes.shape[:2] for item in self.items])
        ends = shapes.prod(1).cumsum()
        self._shapes, self._starts = shapes, ends - shapes.prod(1)
        channels, predictors = parameters.channels, parameters.count
        self._planes = torch.empty((ends[-1], parameters.planes), dtype=torch.uint8, device=device)
        self._predictions = torch.empty((ends[-1], channels, predictors), dtype=torch.int16, device=device)
        for item, start, end in zip(self.items, self._starts, ends, strict=True):
            for target, array in ((self._planes, item.planes), (self._predictions, item.predictions)):
                target[start:end] = torch.from_numpy(np.array(array)).flatten(0, 1)

    def draw(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Crops of batch `number`: int64[N, 3] item, top and left, and int64[N, 2] their places modulo 8."""
        random = np.random.default_rng([self.seed, number])
        chosen = np.searchsorted(self._limits, random.random(self.count) * self._limits[-1], side="right")
        chosen = np.minimum(chosen, len(self.items) - 1)
        corners = random.integers(0, self._shapes[chosen] - self.side + 1)
        return np.column_stack([chosen, corners]), corners + random.integers(0, 8, corners.shape) & 7

    def make(self, number: int) -> Batch:  # type: ignore[override]
        """Batch `number`, always the same one."""
        crops, places = self.draw(number)
        device = self._planes.device
        chosen, top, left = crops.T
        widths = self._shapes[chosen, 1]
        first = torch.from_numpy(np.stack([self._starts[chosen] + top * widths + left, widths])).to(device)
        side = torch.arange(self.side, device=device)
        rows = first[0, :, None, None] + side[:, None] * first[1, :, None, None] + side
        planes, predicted = (
            whole.index_select(0, rows.flatten()).view(*rows.shape, *whole.shape[1:])
            for whole in (self._planes, self._predictions)
        )
        values, known = planes[..., self.parameters.known :], self._known(crops) if self.parameters.known else None
        return codes(values, predicted, self.parameters, self._form, torch.from_numpy(places).to(device), known)

    def _known(self, crops: np.ndarray) -> torch.Tensor:
        """Known planes' pixels and those of the taps, uint8[N, H, W, K, 1 + taps]; inside the picture the nearest."""
        chosen, top, left = crops.T
        side, taps = np.arange(self.side), np.array([(0, 0), *self._form.known_taps])
        height, width = (self._shapes[chosen, k, None, None] for k in (0, 1))
        y = np.clip(top[:, None, None] + side[:, None] - taps[:, 0], 0, height - 1)
        x = np.clip(left[:, None, None] + side[:, None] + taps[:, 1], 0, width - 1)
        lines = self._starts[chosen, None, None] + y * width
        rows, columns = (torch.from_numpy(each).to(self._planes.device) for each in (lines, x))
        places = rows[:, :, None] + columns[:, None]
        found = self._planes[:, : self.parameters.known].index_select(0, places.flatten())
        return found.view(*places.shape, -1).transpose(3, 4)

    def run(self, first: int, ahead: int = 0) -> Generator[Batch]:  # type: ignore[override]
        """Batches from number `first` on; a device queues them by itself."""
        del ahead
        for number in count(first):
            yield self.make(number)


class Task(tasks.PhotoTask):
    """Crops of photographs for a photo network, all of it on one device."""

    def __init__(self, recipe: Mapping[str, Any], device: torch.device) -> None:
        super().__init__(recipe)
        self.device = device
        self._lengths: Callable[..., torch.Tensor] = self.network.nats

    def batches(self, loaded: Sequence[data.Item], rank: int = 0, world: int = 1) -> Batches:  # type: ignore[override]
        """Crops of the pictures to train on, which go to the device now."""
        del rank, world
        training = [item for item in loaded if not item.version.picture.validates]
        return Batches(training, self.parameters, self.recipe["data"], self.configuration, self.device)

    def nats(self, batch: Batch, device: torch.device) -> torch.Tensor:  # type: ignore[override]
        """Code lengths of a batch's samples."""
        del device
        return self._lengths(*batch)

    def compile(self, batch: Batch, say: tasks.Say) -> None:
        """Compile the network, and keep that if it works here and is faster on batches like this one."""
        plain, began = self._lengths, time.perf_counter()
        compiled = torch.compile(self.network.nats)
        try:
            seconds = [self._race(lengths, batch) for lengths in (compiled, plain)]
        except Exception as problem:  # noqa: BLE001 - compilers, their compilers and drivers raise what they like
            say(f"not compiled: {str(problem).splitlines()[0] if str(problem) else repr(problem)}")
            return
        self._lengths = compiled if seconds[0] < seconds[1] else plain
        compiled_rate, plain_rate = (batch.values[..., 0].numel() / 1e6 / each for each in seconds)
        say(
            f"{compiled_rate:.3g} M pixels a second forward and backward compiled, {plain_rate:.3g} not; "
            f"found out in {time.perf_counter() - began:.0f} s"
        )

    def _race(self, lengths: Callable[..., torch.Tensor], batch: Batch) -> float:
        """Seconds that a step's products take, after the first two."""
        for step in range(2 + _RACE):
            if step == 2:
                began = time.perf_counter()
            with torch.autocast(self.device.type, torch.bfloat16):
                loss = lengths(*batch).mean()
            loss.backward()
            if step in (1, 1 + _RACE):
                float(loss.detach())  # waits for the device
        self.network.zero_grad(set_to_none=True)
        return (time.perf_counter() - began) / _RACE
