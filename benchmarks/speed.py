"""How fast and in how much memory: python benchmarks/speed.py [FILES].

Each picture is encoded and decoded by the command line in fresh processes (the median of several runs, whole process,
start-up included; peak memory as the system counts it) and once more inside this process, for where the time goes.
Without arguments it takes a photograph of scikit-image's and a mosaic of 4000x3000 made of its photographs.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pictures

from pixcodec import codec, image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

MOSAIC = (3000, 4000)
MOSAIC_RUNS = 1  # of a picture that takes a minute


def mosaic(shape: tuple[int, int] = MOSAIC) -> NDArray[np.uint8]:
    """Return uint8[H, W, 3] filled with scikit-image's colour photographs side by side, mirrored at each repeat."""
    parts = [sample.load()[0] for sample in pictures.scikit_image()]
    parts = [part for part in parts if part.shape[2] == 3]
    side = min(min(part.shape[:2]) for part in parts)
    cells = [part[:side, :side] for part in parts]
    rows, columns = (-(-size // side) for size in shape)
    grid = [
        [cells[(y * columns + x) % len(cells)][:: 1 - 2 * (y % 2), :: 1 - 2 * (x % 2)] for x in range(columns)]
        for y in range(rows)
    ]
    whole = np.concatenate([np.concatenate(row, axis=1) for row in grid])
    return np.ascontiguousarray(whole[: shape[0], : shape[1]])


def process(*arguments: str) -> tuple[float, float]:
    """Run the command line; return its seconds and its peak memory in MB."""
    command = [sys.executable, "-m", "pixcodec", *arguments, "--quiet", "--force"]
    began = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, os.environ)
    _, status, usage = os.wait4(child, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)} failed")
    return time.perf_counter() - began, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(planes: NDArray[np.uint8], mode: str, runs: int, threads: int | None, effort: int) -> dict[str, Any]:
    """Return the figures of one picture: uint8[H, W, C]."""
    extra = [] if threads is None else ["--threads", str(threads)]
    pixels, how = planes.shape[0] * planes.shape[1], ("--effort", str(effort), "--origin", "none")
    with tempfile.TemporaryDirectory() as folder:
        source, packed, back = (str(Path(folder) / name) for name in ("a.png", "a.pxc", "b.png"))
        with Path(source).open("wb") as stream:
            image.write(planes, mode, stream, "PNG")
        encoding = [process("encode", source, "-o", packed, "--no-verify", *how, *extra) for _ in range(runs)]
        decoding = [process("decode", packed, "-o", back, *extra) for _ in range(runs)]
        if not np.array_equal(image.read(back).planes, planes):
            sys.exit("other pixels came back")
        data = Path(packed).read_bytes()
    record: dict[str, Any] = {"width": planes.shape[1], "height": planes.shape[0], "mode": mode, "bytes": len(data)}
    record["effort"] = effort
    encoded, decoded = codec.encode(planes, mode, threads=threads, effort=effort), codec.decode(data, threads=threads)
    for name, both, stages in (("encode", encoding, encoded.seconds), ("decode", decoding, decoded.seconds)):
        seconds = statistics.median(spent for spent, _ in both)
        record[name] = {
            "seconds": seconds,
            "pixels_per_second": pixels / seconds,
            "peak_megabytes": max(peak for _, peak in both),
            "stages_seconds": stages,
        }
    return record | {"steps": encoded.steps, "runs": runs}


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--runs", type=int, default=5, help="of each command (default 5)")
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--efforts", type=int, nargs="+", default=[1, 3, codec.DEFAULT_EFFORT], help="default: 1, 3 and 7"
    )
    parser.add_argument("--name", default="speed", help="of the result's file")
    parser.add_argument(
        "--results", type=Path, default=pictures.RESULTS, metavar="DIR", help="default: benchmarks/results"
    )
    options = parser.parse_args(arguments)
    about = pictures.circumstances("speed.py", arguments)
    print(about["command"], about["machine"], about["versions"], sep="\n")
    if options.files:
        read = [(each.name, image.read(each)) for each in options.files]
        tasks = [(name, picture.planes, picture.mode, options.runs) for name, picture in read]
    else:
        coffee = next(sample for sample in pictures.scikit_image() if sample.name == "coffee")
        tasks = [("coffee", *coffee.load(), options.runs), ("mosaic", mosaic(), "RGB", MOSAIC_RUNS)]
    for mode in {mode for _, _, mode, _ in tasks}:  # compiles what is not compiled yet
        for effort in options.efforts:
            codec.decode(
                codec.encode(np.zeros((16, 16, 3 if mode == "RGB" else 1), np.uint8), mode, effort=effort).data
            )
    records = []
    print(f"\n{'':20}{'size':>12}{'encode':>9}{'decode':>9}{'K pixels/s':>12}{'MB':>6}{'steps':>7}  decode by stage")
    for name, planes, mode, runs, effort in ((*task, effort) for task in tasks for effort in options.efforts):
        record: dict[str, Any] = {"name": name, **measure(planes, mode, runs, options.threads, effort)}
        records.append(record)
        encoding, decoding = record["encode"], record["decode"]
        peak = max(encoding["peak_megabytes"], decoding["peak_megabytes"])
        stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in decoding["stages_seconds"].items())
        print(
            f"{name[:17]:18}{effort:2}{record['width']:>7}x{record['height']:<4}{encoding['seconds']:8.2f}s{decoding['seconds']:8.2f}s"
            f"{decoding['pixels_per_second'] / 1e3:12.0f}{peak:6.0f}{record['steps']:7}  {stages}",
            flush=True,
        )
    whole = {"benchmark": "speed", **about, "pictures": records}
    target = pictures.save(whole, options.results, options.name)
    print(f"\nresults: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
