"""What it is worth to look for what a picture was made from: python benchmarks/origins.py [FILES or DIRS].

Every picture is coded with `--origin auto` and `--origin none`, and by PNG, WebP and JPEG XL; every file is decoded and
compared.  Pictures are, by group: `made`, photographs of scikit-image with every past that pixcodec looks for;
`drawings`; `real`, those that are named, or scikit-image's, as they are; `converted`, the same by an ffmpeg to YCbCr
and back (--converter).  They are cropped to --size, so that a run takes a few minutes on one core.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import converted
import made_pasts
import made_pictures
import numpy as np
import other_codecs
import pictures
import vs_png

from pixcodec import codec, origins
from pixcodec.origins import search

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

CHOICES = (origins.AUTO, origins.NONE)
GROUPS = ("made", "drawings", "real", "converted")
# Photographs of scikit-image that were never JPEG, in colour.
PHOTOGRAPHS = ("astronaut", "coffee")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Picture:
    """A picture to run on: its group, its past or name, the photograph it is of, planes uint8[H, W, C]."""

    group: str
    past: str
    name: str
    planes: NDArray[np.uint8]

    @property
    def mode(self) -> str:
        """Of the planes."""
        return MODES[self.planes.shape[2]]


@dataclass(frozen=True)
class Row:
    """A picture's files by choice of origin and by other codec.

    `look_seconds` are those of all origins without trials; `find_seconds` those with them.
    """

    picture: Picture
    found: str
    look_seconds: float
    find_seconds: float
    by_codec: dict[str, other_codecs.Measured]

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        height, width, _ = self.picture.planes.shape
        return {
            "group": self.picture.group,
            "past": self.picture.past,
            "name": self.picture.name,
            "width": width,
            "height": height,
            "mode": self.picture.mode,
            "found": self.found,
            "look_seconds": self.look_seconds,
            "find_seconds": self.find_seconds,
            "codecs": {name: each.record() for name, each in self.by_codec.items()},
        }


def no_trial(_planes: NDArray[np.uint8], _known: NDArray[np.uint8]) -> int:
    """A cost by which no origin that must be tried is worth it."""
    return 0


def cost(planes: NDArray[np.uint8], _known: NDArray[np.uint8]) -> int:
    """Bytes of planes [H, W, C]."""
    return len(codec.encode(planes, MODES[planes.shape[2]], threads=1).data)


def seconds_to_find(planes: NDArray[np.uint8], own_cost: search.Cost) -> float:
    """How long it takes to look for all origins, of the processor's time: what else runs does not count."""
    start = time.process_time()
    search.find(planes, 256, b"", origins.AUTO, own_cost)
    return time.process_time() - start


def measure(picture: Picture, codecs: Sequence[other_codecs.Codec]) -> Row:
    """Look, encode, decode, compare.

    Raises:
        NotLosslessError: other pixels came back.
    """
    found: dict[str, str] = {}

    def encode(planes: NDArray[np.uint8], mode: str, *, origin: str) -> bytes:
        encoded = codec.encode(planes, mode, origin=origin, threads=1)
        found[origin] = encoded.origin
        return encoded.data

    def decode(data: bytes, _: str) -> NDArray[np.uint8]:
        return codec.decode(data, threads=1).planes

    ours = [other_codecs.Codec(choice, partial(encode, origin=choice), decode) for choice in CHOICES]
    by_codec = {each.name: each.measure(picture.planes, picture.mode) for each in (*ours, *codecs)}
    seconds = [seconds_to_find(picture.planes, each) for each in (no_trial, cost)]
    return Row(picture, found[origins.AUTO], seconds[0], seconds[1], by_codec)


def table(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Return each past of a group: bytes of all its pictures, what was found, median seconds."""
    for past in dict.fromkeys(row.picture.past for row in rows):
        own = [row for row in rows if row.picture.past == past]
        yield {
            "past": past,
            "pictures": len(own),
            "found": list(dict.fromkeys(row.found for row in own)),
            "bytes": {name: sum(row.by_codec[name].bytes for row in own) for name in own[0].by_codec},
            "look_seconds": statistics.median(row.look_seconds for row in own),
            "find_seconds": statistics.median(row.find_seconds for row in own),
        }


def lines(title: str, rows: Sequence[Row]) -> Iterator[str]:
    """Return the table of a group as text."""
    names = [*rows[0].by_codec]
    yield f"\n{title}: {len(rows)} pictures"
    yield f"{'bytes':36}" + "".join(f"{name:>10}" for name in names) + f"{'look':>10}{'find':>9}"
    for each in table(rows):
        sizes = "".join(f"{each['bytes'][name]:10}" for name in names)
        seconds = f"{1000 * each['look_seconds']:7.1f} ms{each['find_seconds']:8.2f}s"
        yield f"{each['past'][:35]:36}{sizes}{seconds}  {' / '.join(map(str, each['found']))}"


def made(size: tuple[int, int]) -> Iterator[Picture]:
    """Photographs with every past."""
    for sample in pictures.scikit_image():
        if sample.name in PHOTOGRAPHS:
            photo = pictures.cropped(sample.load()[0], *size)
            for past, make in made_pasts.PASTS.items():
                yield Picture("made", past, sample.name, np.ascontiguousarray(make(photo)))


def drawings(size: tuple[int, int]) -> Iterator[Picture]:
    """Text, pixel art, a chart."""
    for name, planes in made_pictures.drawings(*size):
        yield Picture("drawings", name, name, planes)


def real(samples: Iterable[pictures.Sample], size: tuple[int, int], skipped: list[str]) -> Iterator[Picture]:
    """Pictures as they are; what cannot be read goes to `skipped`."""
    for sample, planes, _ in pictures.loaded(samples, skipped):
        yield Picture("real", sample.name, sample.name, pictures.cropped(planes, *size))


def by_converter(
    converter: Path, samples: Iterable[pictures.Sample], size: tuple[int, int], skipped: list[str]
) -> Iterator[Picture]:
    """Colour pictures after a converter has had them."""
    for each in real(samples, size, skipped):
        if each.mode == "RGB":
            for past, planes in converted.pasts(converter, each.planes):
                yield Picture("converted", past, each.name, planes)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    vs_png.add_pictures(parser)
    parser.add_argument("--groups", default=",".join(GROUPS), help=f"of {', '.join(GROUPS)} (default all)")
    parser.add_argument("--only", default="", metavar="WORDS", help="pasts and pictures with these words in their name")
    parser.add_argument("--converter", type=Path, metavar="PATH", help="an ffmpeg, for the group converted")
    parser.add_argument(
        "--size", default="192x128", metavar="WxH", help="of the middle that is taken (default 192x128)"
    )
    parser.add_argument("--name", default="origins", help="of the results' file (default origins)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code: 1 when nothing could be measured."""
    options = parse(arguments)
    width, height = map(int, options.size.split("x"))
    size, skipped = (width, height), list[str]()
    codecs, left_out = other_codecs.available()
    about = pictures.circumstances("origins.py", arguments)
    chosen = vs_png.chosen(options)[0]
    makers: dict[str, Callable[[], Iterator[Picture]]] = {
        "made": lambda: made(size),
        "drawings": lambda: drawings(size),
        "real": lambda: real(chosen, size, skipped),
        "converted": lambda: by_converter(options.converter, chosen, size, skipped),
    }
    wanted = options.groups.split(",")
    if "converted" in wanted and (options.converter is None or not options.converter.is_file()):
        left_out.append("pictures of a converter are left out: --converter names an ffmpeg")
        wanted.remove("converted")
    print(about["command"], about["machine"], about["versions"], *left_out, sep="\n")
    # Compilation and the models' loading are paid once a process; a small picture pays them here.
    warm = np.random.default_rng(0).integers(99, 102, (16, 16, 3), dtype=np.uint8)
    seconds_to_find(made_pasts.PASTS["Photo CD, from (0, 0)"](warm), cost)
    groups: dict[str, list[Row]] = {}
    for group in wanted:
        for picture in makers[group]():
            if options.only not in picture.past:
                continue
            row = measure(picture, codecs)
            groups.setdefault(group, []).append(row)
            auto, none = (row.by_codec[choice].bytes for choice in CHOICES)
            print(f"{picture.name}, {picture.past}: {none} -> {auto} {row.found}", flush=True)
    print(*(f"skipped: {each}" for each in skipped), sep="\n")
    if not groups:
        print("nothing was measured")
        return 1
    for group, rows in groups.items():
        print(*lines(group, rows), sep="\n")
    record = {
        "benchmark": "origins",
        **about,
        "size": [width, height],
        "left_out": left_out,
        "skipped": skipped,
        "groups": {group: list(table(rows)) for group, rows in groups.items()},
        "pictures": [row.record() for rows in groups.values() for row in rows],
    }
    print(f"\nresults: {pictures.save(record, options.results, options.name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
