"""How fast and in how much memory: python benchmarks/speed.py [FILES].

Each picture is encoded and decoded by the command line in fresh processes (the median of several runs, whole process,
start-up included; peak memory as the system counts it) and as often inside this process, warm, beside PNG, WebP and
JPEG XL; at the default effort with one thread, too.  With --growth, mosaics of scikit-image's photographs of so many
megapixels say how time and memory grow.  Without files it takes a photograph of scikit-image's.

Processes start as they do for whoever has installed pixcodec: with bytecode (`environment`).
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import other_codecs
import pictures

from pixcodec import codec, image
from pixcodec.progress import cores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

Result = TypeVar("Result")
SIDES = 4, 3  # of a mosaic
LOOK = 0.005  # seconds between looks at a process
SHORT = 1e6  # pixels of a picture that is coded several times


def mosaic(shape: tuple[int, int]) -> NDArray[np.uint8]:
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


@cache
def _bytecode() -> tempfile.TemporaryDirectory[str]:
    """A folder that goes when this process ends."""
    return tempfile.TemporaryDirectory()


def environment() -> dict[str, str]:
    """Return that of processes that are timed: Python keeps bytecode, which whoever installs pixcodec has.

    Where this process is told to write none, it goes to a folder that does not stay, not beside the sources.
    """
    own = dict(os.environ)
    if own.pop("PYTHONDONTWRITEBYTECODE", ""):
        own["PYTHONPYCACHEPREFIX"] = _bytecode().name
    return own


@cache
def _start() -> None:
    """Code a picture untimed, so that there is bytecode of all that is imported."""
    with tempfile.TemporaryDirectory() as folder:
        source, packed = Path(folder) / "a.png", str(Path(folder) / "a.pxc")
        with source.open("wb") as stream:
            image.write(np.zeros((16, 16, 3), np.uint8), "RGB", stream, "PNG")
        for origin in ("auto", "none"):
            _run("encode", str(source), "-o", packed, "--origin", origin, "--quiet", "--force")
            _run("decode", packed, "-o", str(source), "--quiet", "--force")
        _run("info", packed)


def process(*arguments: str) -> tuple[float, float]:
    """Run the command line, its output thrown away; return its seconds and its peak memory in MB."""
    _start()
    return _run(*arguments)


def _run(*arguments: str) -> tuple[float, float]:
    """See `process`.

    Of Linux's own count, which goes on from what this process had when it made the other, nothing is taken.
    """
    command = [sys.executable, "-m", "pixcodec", *arguments]
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    began = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, environment(), file_actions=silent)
    seen = 0.0
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        seen = max(seen, _peak_so_far(child))
        time.sleep(LOOK)
    seconds = time.perf_counter() - began
    if status != 0:
        sys.exit(f"{' '.join(command)} failed")
    return seconds, seen or usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _peak_so_far(child: int) -> float:
    """Return the peak memory of a running process in MB; 0 where the system does not say."""
    try:
        status = Path(f"/proc/{child}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 2**10 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


@dataclass(frozen=True)
class How:
    """What is asked of the command line: effort, threads and origin."""

    effort: int
    threads: int | None
    origin: str

    @property
    def options(self) -> dict[str, Any]:
        """Of `codec.encode`."""
        return {"effort": self.effort, "threads": self.threads, "origin": self.origin}


def measure(planes: NDArray[np.uint8], mode: str, runs: int, how: How, *, warm: bool = True) -> dict[str, Any]:
    """Return the figures of one picture, uint8[H, W, C]; those within this process only if asked for `warm` ones."""
    threads = [] if how.threads is None else ["--threads", str(how.threads)]
    asked = ["--effort", str(how.effort), "--origin", how.origin, "--no-verify", *threads]
    pixels, last = planes.shape[0] * planes.shape[1], ("--quiet", "--force")
    with tempfile.TemporaryDirectory() as folder:
        source, packed, back = (str(Path(folder) / name) for name in ("a.png", "a.pxc", "b.png"))
        with Path(source).open("wb") as stream:
            image.write(planes, mode, stream, "PNG")
        encoding = [process("encode", source, "-o", packed, *asked, *last) for _ in range(runs)]
        decoding = [process("decode", packed, "-o", back, *threads, *last) for _ in range(runs)]
        if not np.array_equal(image.read(back).planes, planes):
            sys.exit("other pixels came back")
        data = Path(packed).read_bytes()
    record: dict[str, Any] = {"width": planes.shape[1], "height": planes.shape[0], "mode": mode, "bytes": len(data)}
    record |= {**how.options, "threads": how.threads or cores(), "runs": runs}
    for name, both in (("encode", encoding), ("decode", decoding)):
        seconds = statistics.median(spent for spent, _ in both)
        record[name] = {
            "seconds": seconds,
            "pixels_per_second": pixels / seconds,
            "megabytes_per_second": planes.size / 1e6 / seconds,
            "peak_megabytes": max(peak for _, peak in both),
        }
    if not warm:
        return record
    encoded, seconds = timed(lambda: codec.encode(planes, mode, **how.options), runs)
    record["encode"] |= {"warm_seconds": seconds, "stages_seconds": encoded.seconds}
    decoded, seconds = timed(lambda: codec.decode(data, threads=how.threads), runs)
    record["decode"] |= {"warm_seconds": seconds, "stages_seconds": decoded.seconds}
    return record | {"steps": encoded.steps}


def many(folder: Path, how: How) -> dict[str, Any]:
    """Return seconds and memory of one command for all pictures of a folder, each of which becomes a file."""
    names = sorted(each.name for each in folder.iterdir() if each.suffix.lower() in pictures.SUFFIXES)
    paths, asked = [str(folder / name) for name in names], ["--effort", str(how.effort), "--origin", how.origin]
    with tempfile.TemporaryDirectory() as place:
        packed, back = Path(place) / "packed", Path(place) / "back"
        encode = process("encode", *paths, "-o", str(packed), *asked, "--no-verify", "--quiet")
        decode = process("decode", str(packed), "-o", str(back), "--quiet")
        pixels = 0
        for name in names:
            planes = image.read(folder / name).planes
            if not np.array_equal(planes, image.read((back / name).with_suffix(".png")).planes):
                sys.exit(f"{name}: other pixels came back")
            pixels += planes.shape[0] * planes.shape[1]
    record = {"folder": folder.resolve().name, "files": len(names), "pixels": pixels, **how.options}
    for way, (seconds, peak) in (("encode", encode), ("decode", decode)):
        record[way] = {"seconds": seconds, "seconds_per_file": seconds / len(names), "peak_megabytes": peak}
    return record


def timed(function: Callable[[], Result], runs: int) -> tuple[Result, float]:
    """Return what a function gives, and the median of its seconds."""
    found = []
    for _ in range(runs):
        began = time.perf_counter()
        result = function()
        found.append(time.perf_counter() - began)
    return result, statistics.median(found)


def beside(planes: NDArray[np.uint8], mode: str, runs: int) -> dict[str, Any]:
    """Return bytes and median seconds of other codecs on a picture, in this process."""
    found = {}
    for codec_ in other_codecs.available()[0]:
        measured = [codec_.measure(planes, mode) for _ in range(runs)]
        found[codec_.name] = {
            "bytes": measured[0].bytes,
            "encode_seconds": statistics.median(each.encode_seconds for each in measured),
            "decode_seconds": statistics.median(each.decode_seconds for each in measured),
        }
    return found


def saved(record: dict[str, Any], other: dict[str, Any]) -> float | None:
    """Return seconds of encoding and decoding a kilobyte that is saved against another codec; None: none is."""
    fewer = (other["bytes"] - record["bytes"]) / 1e3
    spent = sum(record[way]["warm_seconds"] - other[f"{way}_seconds"] for way in ("encode", "decode"))
    return spent / fewer if fewer > 0 else None


def line(record: dict[str, Any]) -> str:
    """Return a record as text."""
    encoding, decoding = record["encode"], record["decode"]
    peak = max(encoding["peak_megabytes"], decoding["peak_megabytes"])
    stages = ", ".join(f"{stage} {spent:.2f}" for stage, spent in decoding.get("stages_seconds", {}).items())
    size = f"{record['width']:>6}x{record['height']:<5}{record['effort']:3}{record['threads']:3} {record['origin']:6}"
    times = "".join(
        f"{each['seconds']:8.2f}s" + (f"{each['warm_seconds']:7.2f}s" if "warm_seconds" in each else " " * 8)
        for each in (encoding, decoding)
    )
    return f"{record['name'][:16]:17}{size}{record['bytes']:9}{times}{peak:6.0f}  {stages}"


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--runs", type=int, default=5, help="of each command (default 5)")
    parser.add_argument("--efforts", type=int, nargs="+", default=[1, 3, codec.DEFAULT_EFFORT], help="default: 1 3 7")
    parser.add_argument("--origins", nargs="+", default=["none"], help="what pictures may be made from (default: none)")
    parser.add_argument("--growth", type=float, nargs="*", default=[], metavar="MEGAPIXELS", help="of mosaics")
    parser.add_argument("--many", type=Path, metavar="DIR", help="all pictures of a folder in one command, too")
    parser.add_argument("--name", default="speed", help="of the result's file")
    parser.add_argument(
        "--results", type=Path, default=pictures.RESULTS, metavar="DIR", help="default: benchmarks/results"
    )
    options = parser.parse_args(arguments)
    about = pictures.circumstances("speed.py", arguments)
    print(about["command"], about["machine"], about["versions"], sep="\n")
    if options.files:
        read = [(each.name, image.read(each)) for each in options.files]
        tasks = [(name, picture.planes, picture.mode) for name, picture in read]
    else:
        coffee = next(sample for sample in pictures.scikit_image() if sample.name == "coffee")
        tasks = [("coffee", *coffee.load())]
    default = codec.DEFAULT_EFFORT
    small = [("growth", np.zeros((16, 16, 3), np.uint8), "RGB")] if options.growth else []
    for _, planes, mode in [*tasks, *small]:  # compiles what is not yet
        for effort, origin in itertools.product({*options.efforts, default}, options.origins):
            codec.decode(codec.encode(planes, mode, effort=effort, origin=origin).data)
    print("\nseconds of whole processes and, behind each, warm within this one")
    print(f"{'':17}{'size':>12}{'effort, threads':>16}{'bytes':>8}{'encode':>16}{'decode':>16}{'MB':>7}  decode")
    records, others = [], {}
    for name, planes, mode in tasks:
        hows = [How(effort, None, origin) for origin in options.origins for effort in options.efforts]
        hows += [How(default, 1, origin) for origin in options.origins if default in options.efforts]
        own = [{"name": name, **measure(planes, mode, options.runs, how)} for how in hows]
        print(*map(line, own), sep="\n", flush=True)
        others[name] = beside(planes, mode, options.runs)
        for codec_name, each in others[name].items():
            each["seconds_per_kilobyte_saved"] = saved(own[len(options.efforts) - 1], each)
            spent = each["seconds_per_kilobyte_saved"]
            times = f"{each['bytes']:9}{each['encode_seconds']:16.2f}s{each['decode_seconds']:15.2f}s"
            note = f"   {1e3 * spent:.0f} ms a kilobyte saved" if spent else ""
            print(f"{name[:16]:17}{codec_name:30}{times}{note}", flush=True)
        records += own
    growth = []
    for megapixels in options.growth:
        height = round((megapixels * 1e6 * SIDES[1] / SIDES[0]) ** 0.5)
        planes = mosaic((height, round(height * SIDES[0] / SIDES[1])))
        runs = options.runs if planes[..., 0].size <= SHORT else 1
        growth.append(
            {"name": f"{megapixels:g} MP", **measure(planes, "RGB", runs, How(default, None, "none"), warm=False)}
        )
        print(line(growth[-1]), flush=True)
    whole: dict[str, Any] = {"benchmark": "speed", **about, "pictures": records, "others": others, "growth": growth}
    if options.many:
        whole["many"] = many(options.many, How(default, None, "none"))
        each = {way: whole["many"][way]["seconds_per_file"] for way in ("encode", "decode")}
        print(f"{whole['many']['files']} files in one command: {each['encode']:.2f} s, {each['decode']:.2f} s a file")
    print(f"\nresults: {pictures.save(whole, options.results, options.name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
