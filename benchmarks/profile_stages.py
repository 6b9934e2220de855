"""Where the time goes: python benchmarks/profile_stages.py [FILE].

Seconds by stage of encoding and decoding one picture with each photo model on one thread, what learns included, in this
process; multiply-adds a second of each trunk beside the most that this core does; and a process's start-up, with
bytecode (`speed.environment`).  Without a file it takes 768x512 of scikit-image's photographs.  Prints tables, writes
JSON.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import budgets
import numpy as np
import pictures
import speed

from pixcodec import codec, image, models
from pixcodec.exact import matmul
from pixcodec.exact.network import Network, Product

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SHAPE = 512, 768
# Products (rows, inputs of all taps, outputs): of a long step of a trunk, and one all of which lies in the first cache.
STEP, CACHED = (220, 320, 64), (40, 256, 64)
FLOATS = 768  # a side of the binary32 product that is measured beside


def rate(function: Callable[[], object], seconds: float = 0.5) -> float:
    """Return how often a second a function runs: the median of five."""
    function()
    found = []
    for _ in range(5):
        count, began = 0, time.perf_counter()
        while count < 8 or time.perf_counter() - began < seconds / 5:
            function()
            count += 1
        found.append(count / (time.perf_counter() - began))
    return statistics.median(found)


def product_rate(rows: int, inputs: int, outputs: int) -> float:
    """Return multiply-adds a second of one product of int8 codes by the back end in use."""
    random = np.random.default_rng(0)
    backend, _ = matmul.choose(None, ((1, inputs, outputs),))
    weight = random.integers(-20, 21, (1, inputs, outputs)).astype(np.int8)
    product = Product(weight, np.zeros(outputs, np.int32), np.ones(outputs, np.float32))
    packed = matmul.pack(backend, product, np.zeros(inputs, bool))
    source: NDArray[Any] = random.integers(0, 100, (1, rows, inputs)).astype(backend.stored)
    out: NDArray[Any] = np.empty((rows, packed.bias.size), backend.sums)
    slots, starts = np.zeros(1, np.int64), np.zeros(1, np.int64)
    again = rate(lambda: backend.convolve(source, slots, starts, rows, packed, out))
    return again * rows * inputs * outputs


def float_rate() -> float:
    """Return multiply-adds a second of a large binary32 product by NumPy's library, which may use several threads."""
    a, b = (np.random.default_rng(n).random((FLOATS, FLOATS), np.float32) for n in (0, 1))
    return rate(lambda: a @ b) * float(FLOATS) ** 3


def channels_of(planes: NDArray[np.uint8], network: Network) -> tuple[NDArray[np.uint8], str]:
    """Return the picture as a model takes it, and its mode."""
    return (planes, "RGB") if network.channels == 3 else (np.ascontiguousarray(planes[:, :, 1:2]), "L")


def measure(name: str, planes: NDArray[np.uint8]) -> dict[str, Any]:
    """Return a model's seconds by stage; of models that know planes there are none: they code no picture alone."""
    network = models.load(name)
    if not isinstance(network, Network):
        sys.exit(f"{name} is no photo model")
    own, mode = channels_of(planes, network)
    pixels, adds = own.shape[0] * own.shape[1], budgets.multiply_adds(name)
    encoded = codec.encode(own, mode, model=name, threads=1)
    encodings, decodings = [], []
    for _ in range(3):
        encodings.append(codec.encode(own, mode, model=name, threads=1).seconds)
        decoded = codec.decode(encoded.data, threads=1)
        decodings.append(decoded.seconds)
    if not np.array_equal(decoded.planes, own):
        sys.exit("other pixels came back")
    record: dict[str, Any] = {"model": name, "multiply_adds": adds, "bytes": len(encoded.data)}
    for way, found in (("encode", encodings), ("decode", decodings)):
        record[way] = {stage: statistics.median(each[stage] for each in found) for stage in found[0]}
    heads = sum(head.input.weight.size + head.hidden.weight.size + head.output.weight.size for head in network.heads)
    record["trunk_multiply_adds_per_second"] = (adds - heads) * pixels / record["encode"]["trunk"]
    return record


def starts() -> dict[str, float]:
    """Return median seconds of processes that do next to nothing."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        source, packed = Path(folder) / "a.png", str(Path(folder) / "a.pxc")
        with source.open("wb") as stream:
            image.write(np.zeros((16, 16, 3), np.uint8), "RGB", stream, "PNG")
        encode = ["encode", str(source), "-o", packed, "--origin", "none", "--quiet", "--force"]
        speed.process(*encode)
        commands = {
            "--version": ["--version"],
            "info": ["info", packed],
            "decode of 16x16": ["decode", packed, "-o", str(Path(folder) / "b.png"), "--quiet", "--force"],
            "encode of 16x16": encode,
        }
        for name, command in commands.items():
            found[name] = statistics.median(speed.process(*command)[0] for _ in range(7))
    return found


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--models", nargs="+", default=[*budgets.MODELS, models.DEFAULTS["L"]])
    parser.add_argument("--name", default="profile", help="of the result's file")
    parser.add_argument("--results", type=Path, default=pictures.RESULTS, metavar="DIR")
    options = parser.parse_args(arguments)
    about = pictures.circumstances("profile_stages.py", arguments)
    print(about["command"], about["machine"], about["versions"], sep="\n")
    planes = speed.mosaic(SHAPE) if options.file is None else image.read(options.file).planes
    peaks = {
        "int8": max(product_rate(*STEP), product_rate(*CACHED)),
        "binary32": float_rate(),
    }
    records = [measure(name, planes) for name in options.models]
    for way in ("encode", "decode"):
        stages = list(dict.fromkeys(stage for each in records for stage in each[way]))
        print(f"\n{way}, s" + " " * 10 + "".join(f"{stage:>12}" for stage in [*stages, "sum"]))
        for each in records:
            seconds = [each[way].get(stage, 0.0) for stage in stages]
            print(f"{each['model']:18}" + "".join(f"{spent:12.3f}" for spent in [*seconds, sum(seconds)]))
    print("\nG multiply-adds a second: " + ", ".join(f"{name} {value / 1e9:.0f}" for name, value in peaks.items()))
    for each in records:
        own = each["trunk_multiply_adds_per_second"]
        print(f"{each['model']}: trunk {own / 1e9:.0f}, {own / peaks['int8']:.0%} of the most")
    starting = starts()
    print("\nstart-up, s: " + ", ".join(f"{name} {spent:.3f}" for name, spent in starting.items()))
    whole = {
        "benchmark": "profile",
        **about,
        "width": planes.shape[1],
        "height": planes.shape[0],
        "multiply_adds_per_second": peaks,
        "models": records,
        "start_up_seconds": starting,
    }
    print(f"\nresults: {pictures.save(whole, options.results, options.name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
