"""The paper's tables with this project's figures beside them.

    python benchmarks/paper_tables.py --mnist DIR --cifar10 DIR [--train-minutes M] [--work DIR] [--only NAME ...]

Every network gets the same minutes of training on this machine, on one thread unless --threads says otherwise, is
frozen, and codes test images in real streams, which are decoded and compared.  Runs that --work already holds are not
trained again.  The shipped models, trained longer, are measured beside them.  Results: benchmarks/results/
paper_tables.json, and docs/learning_curves.png.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import other_codecs
import pictures
import torch

from pixcodec import models, stacks
from pixcodec.exact.program import Program
from pixcodec.nets import autoregressive, multiscale, networks
from pixcodec.nets.autoregressive import Configuration
from pixcodec.training import checkpoint, freeze_program, image_sets, loop

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).parent.parent
BLOCK = 250
OPTIMISER = {
    "name": "adamw",
    "rate": 0.003,
    "betas": [0.9, 0.98],
    "weight_decay": 0.01,
    "warm_up": 100,
    "decay": 0.5,
    "clip": 1.0,
}
# What the paper reports (tables 2 to 5): nats an image of binarised MNIST, bits per dimension of CIFAR-10's test set.
PAPER = {
    "mnist pixelcnn": 81.30,
    "mnist row_lstm": 80.54,
    "mnist diagonal_bilstm": 79.20,
    "cifar10 pixelcnn": 3.14,
    "cifar10 row_lstm": 3.07,
    "cifar10 diagonal_bilstm": 3.00,
}


@dataclass(frozen=True)
class Run:
    """One network that is trained: what it shows, its set, its shape, images a batch."""

    name: str
    table: str
    data: str
    configuration: networks.Shape
    batch: int = 32


_DIGITS = Configuration("pixelcnn", channels=1, levels=2, features=16, layers=7, hidden=32)
_COLOURS = Configuration("row_lstm", features=24, layers=3, hidden=96)


def runs() -> Iterator[Run]:
    """All networks, table by table."""
    for kind in autoregressive.KINDS:
        yield Run(f"mnist {kind}", "networks on binarised MNIST", "binarized_mnist", replace(_DIGITS, kind=kind))
    for kind in autoregressive.KINDS:
        yield Run(f"cifar10 {kind}", "networks on CIFAR-10", "cifar10", replace(_COLOURS, kind=kind), 16)
    small = replace(_COLOURS, kind="pixelcnn")
    scales = multiscale.Configuration(small, replace(small, context=16))
    yield Run("cifar10 multi_scale", "networks on CIFAR-10", "cifar10", scales, 16)
    for residual in (False, True):
        for skip in (False, True):
            name = f"row_lstm{' residual' if residual else ''}{' skip' if skip else ''}"
            shape = replace(_DIGITS, kind="row_lstm", residual=residual, skip=skip)
            yield Run(f"ablation {name}", "residual and skip connections, Row LSTM", "binarized_mnist", shape)
    for layers in (1, 2, 3, 6):
        shape = replace(_DIGITS, kind="row_lstm", layers=layers)
        yield Run(f"depth {layers}", "layers of Row LSTM", "binarized_mnist", shape)
    for output in ("softmax", "mixture"):
        shape = replace(_COLOURS, kind="pixelcnn", output=output)
        yield Run(f"output {output}", "softmax and mixture, PixelCNN", "cifar10", shape, 16)


def train(run: Run, folder: Path, data: Path, minutes: float, threads: int) -> None:
    """Train a run for so many minutes, unless it has been."""
    done = folder / "float.json"
    if done.is_file() and json.loads(done.read_text(encoding="utf-8"))["training"]["minutes"] >= 0.9 * minutes:
        return
    folder.mkdir(parents=True, exist_ok=True)
    recipe = {
        "name": run.name,
        "network": run.configuration.save(),
        "data": {"set": run.data, "batch": run.batch, "seed": 1, "flip": run.data == "cifar10", "validate": 500},
        "optimiser": OPTIMISER,
        "pixels": 1e12,
        "validate_minutes": max(minutes / 4, 0.5),
    }
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe, indent=1), encoding="utf-8")
    loop.run(path, [data], folder, minutes=minutes, threads=threads, say=lambda _: None)


def measure(network: Program, images: np.ndarray) -> dict[str, Any]:
    """Real streams of images, decoded and compared."""
    size = ideal = 0.0
    for first in range(0, len(images), BLOCK):
        part = images[first : first + BLOCK]
        coded = stacks.encode(part, network)
        if not np.array_equal(stacks.decode(coded.payload, part.shape, network), part):
            raise SystemExit("a stream decoded to other pixels")
        size, ideal = size + 8 * len(coded.payload), ideal + coded.ideal_bits
    return {
        "test_images": len(images),
        "stream_bits_per_dim": round(size / images.size, 5),
        "stream_nats_an_image": round(size / len(images) * math.log(2), 3),
        "ideal_bits_per_dim": round(ideal / images.size, 5),
    }


def result(run: Run, folder: Path, found: image_sets.ImageSet, count: int) -> dict[str, Any]:
    """Everything that a row of a table says about a trained run."""
    network, card = checkpoint.load_network(folder)
    frozen, _ = freeze_program.freeze(network, card, found)  # type: ignore[arg-type]
    images = image_sets.spread(found.test, count)
    training = card["training"]
    pixels = images.shape[1] * images.shape[2]
    floating = freeze_program.measure(network, images) / images.size  # type: ignore[arg-type]
    return {
        "name": run.name,
        "table": run.table,
        "network": run.configuration.save(),
        "parameters": sum(p.numel() for p in network.parameters()),
        "multiply_adds": networks.multiply_adds(network),
        "images_seen": training["pixels"] // pixels,
        "minutes": training["minutes"],
        "paper": PAPER.get(run.name),
        "float_bits_per_dim": round(floating, 5),
        **measure(frozen.network, images),
        "curve": curve(folder),
    }


def curve(folder: Path) -> list[list[float]]:
    """Minutes and validation bits per dimension."""
    lines = (folder / loop.LOG).read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    return [[round(e["seconds"] / 60, 2), e["validation"]] for e in entries if "validation" in e]


def shipped(sets: dict[str, image_sets.ImageSet], count: int) -> Iterator[dict[str, Any]]:
    """The shipped models of the paper's networks on all test images or the first `count`."""
    for model in models.available():
        network = models.load(str(model.folder))
        if isinstance(network, Program) and network.card["set"] in sets:
            found = sets[network.card["set"]]
            images = image_sets.spread(found.test, count)
            shape = networks.load_shape(network.card["network"])
            yield {
                "name": model.name,
                "table": "shipped",
                "network": network.card["network"],
                "parameters": sum(p.numel() for p in networks.make(shape).parameters()),
                "multiply_adds": networks.multiply_adds(networks.make(shape)),
                "images_seen": checkpoint.total(network.card, "pixels") // (images.shape[1] * images.shape[2]),
                "minutes": checkpoint.total(network.card, "minutes"),
                "about": found.about,
                **measure(network, images),
            }


def others(images: np.ndarray) -> list[dict[str, Any]]:
    """PNG, WebP and JPEG XL, each image a file of its own, decoded and compared."""
    rows = []
    for codec in other_codecs.available()[0]:
        size = sum(codec.measure(image, "RGB").bytes for image in images)
        rows.append(
            {"name": codec.name, "test_images": len(images), "file_bits_per_dim": round(8 * size / images.size, 5)}
        )
    return rows


def draw(rows: Sequence[dict[str, Any]], target: Path) -> None:
    """Learning curves, a panel a table."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    tables = list(dict.fromkeys(row["table"] for row in rows if row.get("curve")))
    figure, axes = plt.subplots(1, len(tables), figsize=(4.2 * len(tables), 3.6), squeeze=False)
    for axis, table in zip(axes[0], tables, strict=True):
        for row in rows:
            if row["table"] == table and row.get("curve"):
                axis.plot(*zip(*row["curve"], strict=True), marker=".", label=row["name"])
        axis.set(title=table, xlabel="minutes", ylabel="validation bits/dim", yscale="log")
        axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(target, dpi=110)


def show(record: dict[str, Any]) -> None:
    """Print the tables."""
    table = None
    for row in record["networks"]:
        if row["table"] != table:
            table = row["table"]
            print(f"\n{table}\n  {'network':28}{'weights':>9}{'mult-adds':>10}{'images':>9}{'min':>6}", end="")
            print(f"{'float':>9}{'stream':>9}{'nats':>9}{'paper':>8}")
        print(
            f"  {row['name']:28}{row['parameters']:9}{row['multiply_adds']:10}{row['images_seen']:9}{row['minutes']:6}"
            f"{row.get('float_bits_per_dim', math.nan):9.4f}{row['stream_bits_per_dim']:9.4f}"
            f"{row['stream_nats_an_image']:9.2f}{row.get('paper') or '':>8}"
        )
    for row in record["others"]:
        print(f"  {row['name']:28} {row['file_bits_per_dim']:.4f} bits/dim, a file an image")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, freeze, measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--mnist", type=Path, help="folder with binarised MNIST")
    parser.add_argument("--cifar10", type=Path, help="folder with CIFAR-10")
    parser.add_argument("--train-minutes", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--test-images", type=int, default=500, help="of each set, for the runs")
    parser.add_argument("--shipped-images", type=int, default=10000, help="of each set, for the shipped models")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "paper_tables")
    parser.add_argument("--only", nargs="*", help="runs whose name begins so")
    parser.add_argument("--results", type=Path, default=pictures.RESULTS)
    words = sys.argv[1:] if arguments is None else list(arguments)
    given = parser.parse_args(words)
    torch.set_num_threads(given.threads)
    folders = {"binarized_mnist": given.mnist, "cifar10": given.cifar10}
    sets = {name: image_sets.load(name, folder) for name, folder in folders.items() if folder}
    rows = []
    for run in runs():
        if run.data not in sets or (given.only is not None and not run.name.startswith(tuple(given.only))):
            continue
        folder = given.work / run.name.replace(" ", "_")
        train(run, folder, folders[run.data], given.train_minutes, given.threads)
        rows.append(result(run, folder, sets[run.data], given.test_images))
        print(f"{run.name}: {rows[-1]['stream_bits_per_dim']:.4f} bits/dim", file=sys.stderr, flush=True)
    rows += shipped(sets, given.shipped_images)
    record = {
        **pictures.circumstances("paper_tables.py", words),
        "train_minutes": given.train_minutes,
        "networks": rows,
        "others": others(image_sets.spread(sets["cifar10"].test, given.test_images)) if "cifar10" in sets else [],
        "notes": [
            "Equal minutes on one core beside other work, which slowed some runs more than others; see images seen.",
            "Paper's figures: nats an image (MNIST), bits/dim (CIFAR-10), after days of training on GPUs.",
            "The paper's mixture was another, a conditional Gaussian scale mixture; here it is of logistics.",
            *[found.about for found in sets.values() if found.about],
        ],
    }
    draw(rows, ROOT / "docs" / "learning_curves.png")
    show(record)
    print(f"written: {pictures.save(record, given.results, 'paper_tables')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
