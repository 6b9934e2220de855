"""What each expert is worth: python benchmarks/photo.py [FILES or DIRS].

The network alone, experts one after the other, heads that learn, and all experts without each one; real files, each
decoded and compared; PNG, WebP and JPEG XL beside it.  It takes the pictures that are named, or a list's with
--photos-list, and those that it makes itself (--made): photographs with a past, and drawings.  Pictures are cropped to
--size, so that a run of forty takes some twenty minutes on one core: experts learn less on a crop than on the whole, so
gains are too small, never too large.  Prints tables, writes JSON and a picture.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import made_pictures
import numpy as np
import other_codecs
import pictures
import vs_png

from pixcodec.expert_names import ALL, NAMES, without

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

NETWORK, EVERYTHING, LEARNING = "network alone", "all experts", "+ heads that learn"
FIXED_EFFORT, LEARNING_EFFORT = 4, 7


def stages() -> dict[str, tuple[int, int]]:
    """Return masks and efforts by name: none, one expert more each time, heads that learn, all without each."""
    rows = {NETWORK: 0} | {f"+ {name}": (2 << e) - 1 for e, name in enumerate(NAMES[:-1])}
    rows[EVERYTHING] = ALL  # that is: + the last one
    found = {name: (mask, FIXED_EFFORT) for name, mask in rows.items()} | {LEARNING: (ALL, LEARNING_EFFORT)}
    return found | {f"without {name}": (without(ALL, e), FIXED_EFFORT) for e, name in enumerate(NAMES)}


@dataclass(frozen=True)
class Row:
    """A picture's files by stage and by other codec."""

    sample: pictures.Sample
    samples: int
    by_stage: dict[str, other_codecs.Measured]
    by_codec: dict[str, other_codecs.Measured]

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "name": self.sample.name,
            "source": self.sample.source,
            "samples": self.samples,
            "stages": {name: each.record() for name, each in self.by_stage.items()},
            "codecs": {name: each.record() for name, each in self.by_codec.items()},
        }


def measure(sample: pictures.Sample, planes: NDArray[np.uint8], mode: str, codecs: Sequence[other_codecs.Codec]) -> Row:
    """Encode by every stage and codec, decode, compare."""
    by_stage = {
        name: other_codecs.ours(name, 1, experts=mask, effort=effort).measure(planes, mode)
        for name, (mask, effort) in stages().items()
    }
    return Row(sample, planes.size, by_stage, {each.name: each.measure(planes, mode) for each in codecs})


def mean_bits(measured: Sequence[other_codecs.Measured]) -> float:
    """Return the mean over pictures of bits per sub-pixel."""
    return float(np.mean([each.bits_per_dim for each in measured]))


def table(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Return each stage of a group: mean bits, change to what it is compared with, median seconds."""
    before = None
    everything = mean_bits([row.by_stage[EVERYTHING] for row in rows])
    for name in rows[0].by_stage:
        measured = [row.by_stage[name] for row in rows]
        bits = mean_bits(measured)
        against = everything if name.startswith("without") else before
        yield {
            "stage": name,
            "bits_per_dim": bits,
            "change": bits / against - 1 if against else None,
            "encode_seconds": statistics.median(each.encode_seconds for each in measured),
            "decode_seconds": statistics.median(each.decode_seconds for each in measured),
        }
        before = bits


def lines(title: str, rows: Sequence[Row]) -> Iterator[str]:
    """Return the tables of a group as text."""
    yield f"\n{title}: {len(rows)} pictures, {sum(row.samples for row in rows) / 1e6:.2f} M sub-pixels"
    yield f"{'':24}{'bits':>9}{'change':>9}{'encode':>9}{'decode':>9}"
    for each in table(rows):
        change = f"{each['change']:+9.2%}" if each["change"] is not None else f"{'':9}"
        seconds = f"{each['encode_seconds']:8.2f}s{each['decode_seconds']:8.2f}s"
        yield f"{each['stage']:24}{each['bits_per_dim']:9.4f}{change}{seconds}"
    for name in rows[0].by_codec:
        bits = mean_bits([row.by_codec[name] for row in rows])
        of = mean_bits([row.by_stage[EVERYTHING] for row in rows]) / bits
        yield f"{name:24}{bits:9.4f}{'':9}  all experts are at {of:.3f} of it"


def picture_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Return a line a picture: ours beside the others, and who is smallest."""
    names = [NETWORK, EVERYTHING, LEARNING, *rows[0].by_codec]
    yield f"\n{'bytes':26}" + "".join(f"{name:>20}" for name in names)
    for row in rows:
        found = row.by_stage | row.by_codec
        smallest = min(names, key=lambda name: found[name].bytes)
        sizes = "".join(f"{found[name].bytes:20}" for name in names)
        yield f"{row.sample.name[:25]:26}{sizes}  {'' if smallest == LEARNING else smallest}"


def draw(groups: dict[str, list[Row]], target: Path) -> str:
    """Draw each stage's bits, of the network's alone, a line a source; return a line that says where, or why not."""
    plt = pictures.pyplot()
    if plt is None:
        return pictures.NO_PICTURE
    figure, (one, each_off) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    for source, rows in groups.items():
        found = {each["stage"]: each for each in table(rows)}
        alone = found[NETWORK]["bits_per_dim"]
        added = [name for name in found if not name.startswith("without")]
        one.plot([found[name]["bits_per_dim"] / alone for name in added], range(len(added)), "o-", label=source)
        costs = [100 * found[f"without {name}"]["change"] for name in NAMES]
        each_off.plot(costs, range(len(NAMES)), "o", label=source)
    one.set_yticks(range(len(added)), [*added[:-2], f"+ {NAMES[-1]} = all", LEARNING], fontsize=8)
    one.set_xlabel("bits of those of the network alone, one expert after the other")
    each_off.set_yticks(range(len(NAMES)), NAMES, fontsize=8)
    each_off.set_xlabel("what all the others cost without it, %")
    for axes in (one, each_off):
        axes.invert_yaxis()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    return pictures.drawn(figure, target)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    vs_png.add_pictures(parser)
    parser.add_argument("--made", action="store_true", help="the pictures that it makes, too (alone: with --only-made)")
    parser.add_argument("--only-made", action="store_true", help="these alone")
    parser.add_argument(
        "--size", default="384x256", metavar="WxH", help="of the middle that is taken (default 384x256)"
    )
    parser.add_argument("--name", help="of the results' files (default: the first argument's)")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code: 1 when nothing could be measured."""
    options = parse(arguments)
    width, height = map(int, options.size.split("x"))
    samples, name = ([], "made") if options.only_made else vs_png.chosen(options)
    if options.made or options.only_made:
        samples = [*samples, *made_pictures.made(width, height)]
    codecs, left_out = other_codecs.available()
    about = pictures.circumstances("photo.py", arguments)
    print(about["command"], about["machine"], about["versions"], *left_out, sep="\n")
    groups: dict[str, list[Row]] = {}
    skipped: list[str] = []
    for sample, planes, mode in pictures.loaded(samples, skipped):
        row = measure(sample, pictures.cropped(planes, width, height), mode, codecs)
        groups.setdefault(sample.source, []).append(row)
        bits = f"{row.by_stage[NETWORK].bits_per_dim:.3f} -> {row.by_stage[EVERYTHING].bits_per_dim:.3f}"
        bits += f" -> {row.by_stage[LEARNING].bits_per_dim:.3f}"
        print(f"{sample.name}: {bits}", flush=True)
    print(*(f"skipped: {each}" for each in skipped), sep="\n")
    if not groups:
        print("nothing was measured")
        return 1
    for source, rows in groups.items():
        print(*lines(source, rows), *picture_lines(rows), sep="\n")
    record = {
        "benchmark": "photo",
        **about,
        "size": [width, height],
        "left_out": left_out,
        "skipped": skipped,
        "sources": {source: list(table(rows)) for source, rows in groups.items()},
        "pictures": [row.record() for rows in groups.values() for row in rows],
    }
    target = pictures.save(record, options.results, f"photo_{options.name or name}")
    print(f"\nresults: {target}", draw(groups, target.with_suffix(".png")), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
