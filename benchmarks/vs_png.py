"""pixcodec beside PNG, WebP and JPEG XL: python benchmarks/vs_png.py [FILES or DIRS].

Without arguments it takes scikit-image's lossless photographs. Every file it reports was decoded and compared. The
payload is held against the model's ideal code length, so that bits/dim are seen to become bytes. Prints a table, writes
JSON and a picture. Codecs that are not installed are left out, and it says so.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import float_length
import numpy as np
import other_codecs
import pictures

from pixcodec import codec, container
from pixcodec.errors import ModelError, PixcodecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

OURS = "pixcodec"
# What coding may add to the frozen model's ideal code length: 0.1 %, and 32 bits a tile.
OVERHEAD, OVERHEAD_BITS = 1.001, 32
NAME_WIDTH = 26


@dataclass
class Row:
    """All codecs on one picture. ``ideal`` and ``ideal_float`` are bits/dim, frozen and before freezing."""

    sample: pictures.Sample
    size: tuple[int, int, int]
    by_codec: dict[str, other_codecs.Measured] = field(default_factory=dict)
    model_id: str = ""
    payload_bytes: int = 0
    tiles: int = 0
    ideal: float = 0.0
    ideal_float: float | None = None
    within_bound: bool = False

    @property
    def samples(self) -> int:
        """Sub-pixels: H * W * C."""
        return self.size[0] * self.size[1] * self.size[2]

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        height, width, channels = self.size
        png = self.by_codec["PNG"].bytes
        return {
            "name": self.sample.name,
            "source": self.sample.source,
            "was_jpeg": self.sample.was_jpeg,
            "width": width,
            "height": height,
            "mode": "RGB" if channels == container.CHANNELS["RGB"] else "L",
            "reduction": self.sample.reduction or 1,
            "codecs": {name: each.record() | {"of_png": each.bytes / png} for name, each in self.by_codec.items()},
            "model_id": self.model_id,
            "payload_bytes": self.payload_bytes,
            "tiles": self.tiles,
            "ideal_bits_per_dim": self.ideal,
            "ideal_float_bits_per_dim": self.ideal_float,
            "payload_within_bound": self.within_bound,
        }


def measure_ours(row: Row, planes: NDArray[np.uint8], mode: str, options: dict[str, Any]) -> container.Header:
    """Put pixcodec's figures into the row; return its file's header.

    Raises:
        NotLosslessError: other pixels came back.
        PixcodecError: encoding or decoding failed.
    """

    def encode(planes: NDArray[np.uint8], mode: str) -> bytes:
        encoded = codec.encode(planes, mode, **options)
        row.ideal = encoded.ideal_bits / planes.size
        return encoded.data

    written: list[bytes] = []

    def decode(data: bytes, _: str) -> NDArray[np.uint8]:
        written.append(data)
        return codec.decode(data, threads=options.get("threads"), backend=options.get("backend")).planes

    row.by_codec[OURS] = other_codecs.Codec(OURS, encode, decode).measure(planes, mode)
    header, payloads = container.unpack(written[0])
    row.model_id = header.model_id.hex()
    row.payload_bytes, row.tiles = sum(map(len, payloads)), len(payloads)
    allowed = row.ideal * planes.size * OVERHEAD + OVERHEAD_BITS * row.tiles
    row.within_bound = 8 * row.payload_bytes <= allowed
    return header


def totals(rows: Sequence[Row]) -> dict[str, Any]:
    """Return bytes, ratios and times of a group of pictures, by codec; the mean is over pictures, unweighted."""
    samples = sum(row.samples for row in rows)
    size = {name: sum(row.by_codec[name].bytes for row in rows) for name in rows[0].by_codec}
    return {
        name: {
            "bytes": size[name],
            "bits_per_dim": 8 * size[name] / samples,
            "mean_bits_per_dim": float(np.mean([row.by_codec[name].bits_per_dim for row in rows])),
            "of_png": size[name] / size["PNG"],
            "of_jxl_9": size[name] / size["JXL 9"] if "JXL 9" in size else None,
            "encode_seconds": sum(row.by_codec[name].encode_seconds for row in rows),
            "decode_seconds": sum(row.by_codec[name].decode_seconds for row in rows),
        }
        for name in size
    }


def heading(names: Sequence[str]) -> str:
    """Return the table's first line."""
    sizes = "".join(f"{name:>10}" for name in names)
    ideals = f"{'bits/dim':>9}{'frozen':>8}{'float':>8}"
    return f"{'bytes':{NAME_WIDTH}}{sizes}{'of PNG':>8}{'of JXL 9':>9}{ideals}{'encode':>9}{'decode':>9}"


def line(row: Row) -> str:
    """Return a picture's line: bytes, ratios, bits/dim of the file beside the ideal ones, pixcodec's seconds."""
    ours, png, jxl = row.by_codec[OURS], row.by_codec["PNG"], row.by_codec.get("JXL 9")
    name = row.sample.name[: NAME_WIDTH - 3] + (" *" if row.sample.was_jpeg else "")
    sizes = "".join(f"{each.bytes:10}" for each in row.by_codec.values())
    of_jxl = f"{ours.bytes / jxl.bytes:9.3f}" if jxl else f"{'-':>9}"
    ideal_float = f"{row.ideal_float:8.3f}" if row.ideal_float is not None else f"{'-':>8}"
    rest = (
        f"{ours.bits_per_dim:9.3f}{row.ideal:8.3f}{ideal_float}{ours.encode_seconds:8.2f}s{ours.decode_seconds:8.2f}s"
    )
    warning = "" if row.within_bound else "  PAYLOAD OVER THE BOUND"
    return f"{name:{NAME_WIDTH}}{sizes}{ours.bytes / png.bytes:8.3f}{of_jxl}{rest}{warning}"


def summary(title: str, rows: Sequence[Row]) -> list[str]:
    """Return the lines that sum up a group of pictures, a codec each."""
    lines = [f"\n{title}: {len(rows)} pictures, {sum(row.size[0] * row.size[1] for row in rows) / 1e6:.2f} megapixels"]
    lines.append(
        f"{'':10}{'bytes':>12}{'bits/dim':>10}{'mean':>8}{'of PNG':>8}{'of JXL 9':>10}{'encode':>11}{'decode':>11}"
    )
    for name, each in totals(rows).items():
        of_jxl = f"{each['of_jxl_9']:10.4f}" if each["of_jxl_9"] is not None else f"{'-':>10}"
        figures = f"{each['bytes']:12}{each['bits_per_dim']:10.4f}{each['mean_bits_per_dim']:8.4f}{each['of_png']:8.4f}"
        lines.append(f"{name:10}{figures}{of_jxl}{each['encode_seconds']:10.2f}s{each['decode_seconds']:10.2f}s")
    return lines


def draw(rows: Sequence[Row], target: Path, title: str) -> str:
    """Draw every picture's bits per sub-pixel by codec; return a line that says where, or why not."""
    plt = pictures.pyplot()
    if plt is None:
        return pictures.NO_PICTURE
    figure, axes = plt.subplots(figsize=(8, 1.6 + 0.24 * len(rows)), layout="constrained")
    ordered = sorted(rows, key=lambda row: -row.by_codec[OURS].bits_per_dim)
    for (name, _), marker in zip(rows[0].by_codec.items(), "sDv^o", strict=False):
        bits = [row.by_codec[name].bits_per_dim for row in ordered]
        axes.plot(bits, range(len(bits)), marker, label=name, markersize=7 if name == OURS else 5, alpha=0.85)
    names = [row.sample.name + (" (was JPEG)" if row.sample.was_jpeg else "") for row in ordered]
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.set_xlabel("bits per sub-pixel of the whole file, less is better")
    axes.set_title(title)
    axes.legend(fontsize=8)
    return pictures.drawn(figure, target)


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what to run on, see `chosen`, and where results go."""
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="FILE or DIR", help="default: scikit-image's photographs"
    )
    parser.add_argument("--photos-list", type=Path, metavar="PATH", help="a photos.txt; its reductions are applied")
    parser.add_argument("--split", default="val", help="which of its pictures (default val)")
    parser.add_argument("--root", type=Path, metavar="DIR", help="where its pictures are (default: beside it)")
    parser.add_argument(
        "--results", type=Path, default=pictures.RESULTS, metavar="DIR", help="default: benchmarks/results"
    )


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    add_pictures(parser)
    parser.add_argument("--name", help="of the results' files (default: the first argument's)")
    parser.add_argument(
        "--float-weights",
        type=Path,
        metavar="DIR",
        nargs="+",
        default=[],
        help="folders of unfrozen weights (default: beside the shipped models)",
    )
    parser.add_argument("--model")
    parser.add_argument("--backend")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--effort", type=int)
    parser.add_argument("--origin", default="none", help="what pictures may have been made from (default none; auto)")
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace) -> tuple[list[pictures.Sample], str]:
    """Return the pictures to run on and the results' name."""
    if options.photos_list is not None:
        root = options.root or options.photos_list.parent
        return list(pictures.from_list(options.photos_list, options.split, root)), f"photos_{options.split}"
    if options.paths:
        return list(pictures.from_paths(options.paths)), options.paths[0].resolve().stem
    samples = pictures.scikit_image()
    if not samples:
        sys.exit("scikit-image is not installed: name FILES or DIRS, or pip install 'pixcodec[bench]'")
    return samples, "scikit-image"


def measure_all(
    samples: Iterable[pictures.Sample],
    codecs: Sequence[other_codecs.Codec],
    options: dict[str, Any],
    ideal_float: dict[str, float_length.FloatLength],
) -> tuple[list[Row], list[str]]:
    """Measure every picture, print its line at once; return the rows and a line for each that was skipped."""
    rows: list[Row] = []
    skipped: list[str] = []
    for sample, planes, mode in pictures.loaded(samples, skipped):
        height, width, channels = planes.shape
        row = Row(sample, (height, width, channels))
        row.by_codec = {each.name: each.measure(planes, mode) for each in codecs}
        try:
            header = measure_ours(row, planes, mode, options)
        except ModelError as error:
            skipped.append(f"{sample.name} ({mode}): {error}")
            continue
        if mode in ideal_float and not header.has_origin:
            row.ideal_float = ideal_float[mode](planes, header) / planes.size
        rows.append(row)
        print(line(row), flush=True)
    return rows, skipped


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code: 1 when a payload exceeds its bound or nothing could be measured."""
    options = parse(arguments)
    samples, name = chosen(options)
    name = options.name or name
    codecs, left_out = other_codecs.available()
    ideal_float, reasons = float_length.available(options.float_weights)
    left_out += reasons
    about = pictures.circumstances("vs_png.py", arguments)
    print(about["command"], about["machine"], about["versions"], sep="\n")
    print(*left_out, sep="\n", end="\n\n")
    coding = {
        key: getattr(options, key)
        for key in ("model", "backend", "threads", "effort", "origin")
        if getattr(options, key) is not None
    }
    # Compilation and the model's loading are paid once a process; a small picture pays them here.
    for mode in container.PLAIN_MODES:
        channels = container.CHANNELS[mode]
        with suppress(PixcodecError):  # a model that is missing is reported with the first picture that needs it
            codec.decode(codec.encode(np.zeros((16, 16, channels), np.uint8), mode, **coding).data)
    print(heading([*(each.name for each in codecs), OURS]))
    rows, skipped = measure_all(samples, codecs, coding, ideal_float)
    print(*(f"skipped: {each}" for each in skipped), sep="\n")
    if not rows:
        print("nothing was measured")
        return 1
    return report(rows, skipped, name, options.results, about | {"left_out": left_out})


def report(rows: list[Row], skipped: list[str], name: str, folder: Path, about: dict[str, Any]) -> int:
    """Print the sums, write JSON and picture; return the exit code."""
    sources = {
        source: [row for row in rows if row.sample.source == source]
        for source in sorted({row.sample.source for row in rows})
    }
    if len(sources) > 1:
        for source, group in sources.items():
            print(*summary(source, group), sep="\n")
    print(*summary("total", rows), sep="\n")
    if any(row.sample.was_jpeg for row in rows):
        print("* was JPEG before it was stored without loss")
    record = {
        "benchmark": "vs_png",
        "name": name,
        **about,
        "total": totals(rows),
        "sources": {source: totals(group) for source, group in sources.items()},
        "pictures": [row.record() for row in rows],
        "skipped": skipped,
    }
    target = pictures.save(record, folder, f"vs_png_{name}")
    print(f"\nresults: {target}", draw(rows, target.with_suffix(".png"), f"{name}: bits per sub-pixel"), sep="\n")
    over = [row.sample.name for row in rows if not row.within_bound]
    if over:
        print(f"the payload exceeds the ideal code length by more than 0.1 % and 32 bits a tile: {', '.join(over)}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
