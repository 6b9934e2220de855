"""How fast networks of the photo recipes train: python benchmarks/training.py [RECIPES].

Steps of the training loop on batches of random codes, which is what the network costs, without pictures; pixels a
second against multiply-adds a pixel, and as a share of what a large bfloat16 product reaches on the same device.  A
processor's seconds are those of this process (the sum of its threads' divided by their number), so that others who use
the machine matter less; wall-clock seconds are recorded beside them.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pictures
import torch

from pixcodec.exact.predict import predictions
from pixcodec.training import checkpoint, loop, resident

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pixcodec.exact.predict import Parameters

RECIPES = Path(loop.__file__).parent / "recipes"
NAMES = ("photo_fast", "photo", "photo_max")
PRODUCT = (4096, 4096, 512)  # of a processor; a GPU is not filled by it
LARGE_PRODUCT = (8192, 8192, 8192)
PLANES = (512, 512, 3)


class Clock:
    """Seconds of a device: a processor's own, per thread, or those that pass until a GPU is done."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def now(self) -> float:
        """Seconds since some time."""
        if self.device.type == "cpu":
            return time.process_time() / torch.get_num_threads()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def rate(self, function: Callable[[], object], seconds: float) -> tuple[float, float]:
        """How often a second a function runs, after one run that does not count; wall-clock seconds a run."""
        function()
        began, wall, count = self.now(), time.perf_counter(), 0
        while count == 0 or time.perf_counter() - wall < seconds:
            function()
            count += 1
        return count / (self.now() - began), (time.perf_counter() - wall) / count


def random_batch(task: resident.Task, crops: int, side: int) -> resident.Batch:
    """A batch of random codes of the right shapes on the task's device."""
    random, c = np.random.default_rng(0), task.configuration

    def codes(low: int, high: int, count: int, kind: type) -> torch.Tensor:
        return torch.from_numpy(random.integers(low, high, (crops, side, side, count)).astype(kind)).to(task.device)

    values = [codes(0, 256, c.channels, np.uint8) for _ in range(2)]
    return resident.Batch(
        codes(-127, 128, c.trunk_codes, np.int8), codes(-127, 128, sum(c.head_codes), np.int8), *values
    )


def product_rate(clock: Clock, seconds: float) -> float:
    """Multiply-adds a second of a large bfloat16 product."""
    m, k, n = PRODUCT if clock.device.type == "cpu" else LARGE_PRODUCT
    a, b = (torch.randn(shape, device=clock.device).bfloat16() for shape in ((m, k), (k, n)))
    return clock.rate(lambda: a @ b, seconds)[0] * m * k * n


def planes_seconds(parameters: Parameters) -> float:
    """Seconds of one core that a megapixel's predictor planes take."""
    planes = np.cumsum(np.random.default_rng(0).integers(-3, 4, PLANES), 1).astype(np.uint8)
    predictions(planes[:16, :16], parameters)  # compiles
    began = time.process_time()
    predictions(planes, parameters)
    return (time.process_time() - began) / (PLANES[0] * PLANES[1] / 1e6)


def measure(name: str, device: torch.device, seconds: float, batch: int | None) -> dict[str, Any]:
    """The figures of one recipe."""
    recipe = checkpoint.load_recipe(RECIPES / f"{name}.json")
    trainer = loop.Trainer(recipe, device, make=lambda given: resident.Task(given, device))
    task: resident.Task = trainer.task  # type: ignore[assignment]
    crops, side = batch or int(recipe["data"]["batch"]), int(recipe["data"]["crop"])
    made, clock = random_batch(task, crops, side), Clock(device)
    if device.type != "cpu":
        task.compile(made, print)
    product = product_rate(clock, min(seconds / 10, 2))
    steps, wall = clock.rate(lambda: trainer.step(made), seconds)
    pixels = steps * crops * side**2
    return {
        "recipe": name,
        "threads": torch.get_num_threads(),
        "multiply_adds_a_pixel": task.multiply_adds,
        "pixels_a_step": crops * side**2,
        "pixels_a_second": round(pixels),
        "pixels_a_wall_second": round(crops * side**2 / wall),
        "multiply_adds_a_second": round(pixels * task.training_multiply_adds),
        "product_multiply_adds_a_second": round(product),
        "share_of_product": round(pixels * task.training_multiply_adds / product, 3),
        "planes_seconds_a_megapixel": round(planes_seconds(task.parameters), 3),
    }


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("recipes", nargs="*", default=list(NAMES), metavar="RECIPE", help="default: the photo recipes")
    parser.add_argument("--threads", type=int, nargs="+", default=[1], help="numbers of threads (default 1)")
    parser.add_argument("--seconds", type=float, default=60, help="of each (default 60)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="crops a step (default: the recipe's)")
    parser.add_argument("--name", default="training", help="of the result's file")
    parser.add_argument("--note", default="", help="about the machine's other work, for the result's file")
    parser.add_argument(
        "--results", type=Path, default=pictures.RESULTS, metavar="DIR", help="default: benchmarks/results"
    )
    options = parser.parse_args(arguments)
    about = pictures.circumstances("training.py", arguments)
    device = loop.device_called(options.device)
    gpu = {} if device.type == "cpu" else {"device": torch.cuda.get_device_name(device)}
    print(about["command"], about["machine"], *gpu.values(), sep="\n")
    loop.keep_memory()
    records = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for name in options.recipes:
            records.append(record := measure(name, device, options.seconds, options.batch))
            print(
                f"{name:12}{threads:2} threads{record['multiply_adds_a_pixel'] / 1e3:8.0f} K multiply-adds a pixel"
                f"{record['pixels_a_second'] / 1e3:10.1f} K pixels a second, {record['share_of_product']:.2f} of the "
                f"product's {record['product_multiply_adds_a_second'] / 1e9:.0f} G; planes "
                f"{record['planes_seconds_a_megapixel']:.2f} s a megapixel and core",
                flush=True,
            )
    load = [round(each, 1) for each in os.getloadavg()] if hasattr(os, "getloadavg") else None
    whole = {"benchmark": "training", **about, **gpu, "note": options.note, "load": load, "networks": records}
    print(f"\nresults: {pictures.save(whole, options.results, options.name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
