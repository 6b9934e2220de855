"""Float weights to the exact integer network: `python -m pixcodec.training.freeze FOLDER --data DIR... --out DIR`.

Units are calibrated on training crops; with `minutes` the weights are then fine-tuned under fake quantisation.  What
freezing costs is measured on the validation pictures, in bits per sub-pixel: float weights in binary32 against the
integers.  The result is a model's folder, `card.json` and `model.safetensors`, whose bound `exact.network` has proved.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import nn

from pixcodec.errors import TrainingError
from pixcodec.exact.network import Network, identity
from pixcodec.models import CARD, WEIGHTS
from pixcodec.nets.autoregressive import Autoregressive
from pixcodec.nets.heads import BITS
from pixcodec.nets.multiscale import MultiScale
from pixcodec.training import checkpoint, data, freeze_program, sources, tasks
from pixcodec.training.evaluate import Bits, summary, tensors
from pixcodec.training.loop import keep_memory
from pixcodec.training.quantise import IntegerProduct, Quantised, calibrate
from pixcodec.training.terminal import ended, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pixcodec.nets.photo import PhotoNet
    from pixcodec.training.freeze_program import FrozenProgram

_CALIBRATION_BATCHES = 32
_TUNING_RATE = 2e-4
_REPORT_SECONDS = 30.0
# How heads learn while they code (`exact.learn`): chosen on validation photographs, see decisions 11 and 25.
LEARNING = {"rates": [0.2, 0.07, 0.04], "betas": [0.3, 0.99], "epsilon": 1.0}


@dataclass(frozen=True)
class Frozen:
    """What freezing gave: the exact network, and validation bits per sub-pixel before and after."""

    network: Network
    before: Bits
    after: Bits


def integers(model: Quantised) -> dict[str, np.ndarray]:
    """The tensors of `exact.network` by name."""
    result: dict[str, np.ndarray] = {}

    def put(name: str, product: IntegerProduct, **weights: torch.Tensor) -> None:
        for part, weight in weights.items():
            result[f"{name}.{part}"] = np.ascontiguousarray(weight.numpy().astype(np.int8))
        result[f"{name}.bias"] = product.bias.numpy().astype(np.int32)
        result[f"{name}.scale"] = product.scale.numpy().astype(np.float32)

    with torch.no_grad():
        network = model.network
        first = model.first_product()
        put("first", first, weight=network.first.at_taps(first.weight))
        for i, block in enumerate(network.blocks):
            conv, pointwise = model.block_products(i)
            result[f"blocks.{i}.alpha"] = np.array([model.units.alphas[i]], np.float32)
            put(f"blocks.{i}.conv", conv, weight=block.conv.at_taps(conv.weight))
            put(f"blocks.{i}.pointwise", pointwise, weight=pointwise.weight[:, :, 0, 0].T)
        result["alpha"] = np.array([model.units.alphas[-1]], np.float32)
        for c, head in enumerate(network.heads):
            seen, hidden, output = model.head_products(c)
            features, codes = seen.weight[:, : head.features].T, seen.weight[:, head.features :].T
            put(f"heads.{c}.input", seen, features=features, codes=codes)
            put(f"heads.{c}.hidden", hidden, weight=hidden.weight.T)
            put(f"heads.{c}.output", output, weight=output.weight.T)
    return result


def measure(model: nn.Module, items: Sequence[data.Item], parameters: Any) -> Bits:  # noqa: ANN401 - predictors
    """Validation bits of a float or quantised network in binary32: of the latter, what the integers give."""

    def nats(batch: data.Batch) -> np.ndarray:
        with torch.inference_mode():
            lengths: np.ndarray = model.nats(*tensors(batch, "cpu")).numpy()
        return lengths

    return summary(items, parameters, nats, getattr(model, "network", model).configuration)


def tune(
    model: Quantised,
    batches: data.Batches,
    first: int,
    minutes: float,
    rate: float = _TUNING_RATE,
    say: Callable[[str], None] | None = None,
) -> int:
    """Fine-tune the network under fake quantisation, its rate falling to nothing.

    Args:
        model: whose network's weights change.
        batches: training crops.
        first: number of the first batch.
        minutes: how long.
        rate: of AdamW at the start.
        say: takes lines about progress.

    Returns:
        Pixels seen.
    """
    optimiser = torch.optim.AdamW(model.network.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    began = reported = time.monotonic()
    sums, steps, pixels = 0.0, 0, 0
    series = batches.run(first)
    while (share := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * share))
        with torch.autocast("cpu", torch.bfloat16):
            loss = model.nats(*tensors(next(series), "cpu")).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.network.parameters(), 1.0)
        optimiser.step()
        sums, steps, pixels = sums + float(loss.detach()) * BITS, steps + 1, pixels + batches.pixels
        if say is not None and time.monotonic() - reported > _REPORT_SECONDS:
            reported = time.monotonic()
            speed = pixels / (reported - began) / 1e3
            say(f"fine-tuning {share:.0%}: {sums / steps:.4f} bits per sub-pixel, {speed:.0f} K pixels a second")
            sums, steps = 0.0, 0
    series.close()
    return pixels


def freeze(
    network: PhotoNet,
    card: Mapping[str, Any],
    items: Sequence[data.Item],
    *,
    minutes: float = 0.0,
    rate: float = _TUNING_RATE,
    say: Callable[[str], None] | None = None,
) -> tuple[Frozen, dict[str, np.ndarray]]:
    """Calibrate, fine-tune if told to, and round.

    Args:
        network: the float network; fine-tuning changes it.
        card: of the float weights (`checkpoint.load_network`).
        items: prepared pictures of both splits.
        minutes: of fine-tuning under fake quantisation.
        rate: its learning rate.
        say: takes lines about progress.

    Returns:
        The frozen network with its costs, and its tensors.
    """
    say = say or (lambda _: None)
    recipe = card["training"]["recipe"]
    parameters, configuration = tasks.parts(card)
    validation = [item for item in items if item.version.picture.validates]
    training = [item for item in items if not item.version.picture.validates]
    if not validation:
        raise TrainingError("what freezing costs is measured on validation pictures, found none; give more --data")
    batches = data.Batches(training, parameters, recipe["data"], configuration)
    before = measure(network, validation, parameters)
    say(f"float: {before.line()}")
    first = int(card["training"].get("steps", 0))  # crops that training has not seen
    crops = (tensors(batches.make(first + n), "cpu")[:2] for n in range(_CALIBRATION_BATCHES))
    units = calibrate(network, ((trunk, heads) for trunk, heads in crops))
    model = Quantised(network, units)
    calibrated = measure(model, validation, parameters)
    say(f"calibrated: {calibrated.line()}, {calibrated.total / before.total - 1:+.3%}")
    about = {"float": round(before.total, 5), "calibrated": round(calibrated.total, 5)}
    after = calibrated
    if minutes > 0:
        pixels = tune(model, batches, first + _CALIBRATION_BATCHES, minutes, rate, say)
        after = measure(model, validation, parameters)
        say(f"fine-tuned: {after.line()}, {after.total / before.total - 1:+.3%}")
        about |= {"tuned": round(after.total, 5), "tuning_minutes": minutes, "tuning_pixels": pixels}
    exact = integers(model)
    whole: dict[str, Any] = {
        "format": freeze_program.CARD_FORMAT,
        "name": card["name"],
        "channels": parameters.channels,
        "predictors": parameters.save(),
        "network": {**configuration.save(), "learning": LEARNING},
        "training": {**card["training"], "freezing": about},
    }
    whole["id"] = identity(whole, exact).hex()
    return Frozen(Network.build(whole, exact), before, after), exact


def run(
    folder: str | Path,
    data_folders: Sequence[str | Path],
    out: str | Path,
    *,
    cache: str | Path | None = None,
    minutes: float = 0.0,
    rate: float = _TUNING_RATE,
    threads: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Frozen | FrozenProgram:
    """Freeze the float weights in `folder` into a model in `out`.

    Args:
        folder: with `float.safetensors` and `float.json`.
        data_folders: the pictures, as for training.
        out: the model's folder: `card.json`, `model.safetensors`; with fine-tuning, or for one of the paper's networks,
            its float weights too.
        cache: folder of predictor planes; by default `cache` in `folder`.
        minutes: of fine-tuning under fake quantisation.
        rate: its learning rate.
        threads: of torch.
        say: takes lines about progress.

    Raises:
        TrainingError: weights or data cannot be used, or the model cannot be written.
    """
    keep_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    folder, out = Path(folder), Path(out)
    network, card = checkpoint.load_network(folder)
    if isinstance(network, Autoregressive | MultiScale):
        if minutes > 0:
            raise TrainingError("--minutes of fine-tuning are for photo models; leave it out")
        found = tasks.ImageSetTask(card["training"]["recipe"]).load(data_folders, Path(), 1, say or (lambda _: None))
        program, exact = freeze_program.freeze(network, card, found, say)
        write_model(out, program.network.card, exact)
        _copy(folder, out)
        return program
    wanted = data.versions(sources.find(data_folders), card["training"]["recipe"]["data"])
    parameters = tasks.parts(card)[0]
    cache = folder / "cache" if cache is None else Path(cache)
    items = data.prepare(wanted, parameters, cache, processes=torch.get_num_threads())
    frozen, exact = freeze(network, card, items, minutes=minutes, rate=rate, say=say)
    write_model(out, frozen.network.card, exact)
    if minutes > 0:
        checkpoint.save_weights(out, network, {**card, "training": frozen.network.card["training"]})
    return frozen


def write_model(out: Path, card: Mapping[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """Write a model's folder, `card.json` and `model.safetensors`; `TrainingError` where that cannot be."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        save_file(tensors, out / WEIGHTS)
        (out / WEIGHTS).chmod(0o644)  # safetensors writes for the owner alone
        (out / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    except OSError as problem:
        raise TrainingError(f"{out} must be a folder with room for a model, found {problem}") from None


def _copy(folder: Path, out: Path) -> None:
    """Float weights and their card to the model's folder: to go on from, and small enough to lie beside it."""
    try:
        for name in (checkpoint.WEIGHTS, checkpoint.CARD):
            with suppress(shutil.SameFileError):  # it lies there already
                shutil.copyfile(folder / name, out / name)
                (out / name).chmod(0o644)
    except OSError as problem:
        raise TrainingError(f"{out} must be a folder with room for float weights, found {problem}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; an exit code."""
    parser = argparse.ArgumentParser(prog="python -m pixcodec.training.freeze", description="Freeze float weights.")
    parser.add_argument("folder", type=Path, help="folder with float.safetensors and float.json")
    parser.add_argument("--data", dest="data_folders", nargs="+", required=True, help="folders of pictures")
    parser.add_argument("--out", required=True, type=Path, help="the model's folder")
    parser.add_argument(
        "--cache", type=Path, help="folder for predictor planes (default: cache in the weights' folder)"
    )
    parser.add_argument("--minutes", type=float, default=0.0, help="of fine-tuning under fake quantisation")
    parser.add_argument("--rate", type=float, default=_TUNING_RATE, help="learning rate of fine-tuning")
    parser.add_argument("--threads", type=int)

    options = parser.parse_args(arguments)

    def work() -> None:
        frozen = run(**vars(options), say=say)
        bound = max(product.bound() for product in frozen.network.products().values())
        say(f"model {frozen.network.identity.hex()[:16]}, largest sum {bound} < 2^24")

    return ended(work)


if __name__ == "__main__":
    sys.exit(main())
