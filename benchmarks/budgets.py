"""What each network is worth: python benchmarks/budgets.py [FILES or DIRS].

Every photo model alone (effort 1: network and predictors) and with all that learns (effort 7) and, with --origins, the
models of luma and chroma on pictures that are found to be made of these; real files, each decoded and compared; PNG,
WebP and JPEG XL beside them.  Bits are means over pictures of bits per sub-pixel, seconds those of a megapixel.  Prints
a table, writes JSON and the curve of bits against multiply-adds a pixel.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import other_codecs
import pictures
import vs_png

from pixcodec import models
from pixcodec.errors import PixcodecError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODELS = ("photo_fast", "photo")
EFFORTS = {1: "alone", 7: "and all that learns"}
PLANES = "gray, chroma, luma"
# Of a pixel of 4:2:0: one of luma that knows both of chroma, a quarter of one of these, the second of which knows one.
SHARES = {models.DEFAULTS["L"]: 1 / 4, models.KNOWING[1]: 1 / 4, models.KNOWING[2]: 1}


def multiply_adds(name: str) -> int:
    """Return how many a pixel takes, forward: what a model's products have weights."""
    return sum(product.weight.size for product in models.load(name).products().values())


@dataclass(frozen=True)
class Setting:
    """Networks and an effort, as a line of the table."""

    model: str
    effort: int
    multiply_adds: int
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the line."""
        return f"{self.model} {EFFORTS[self.effort]}"

    def codec(self, threads: int | None) -> other_codecs.Codec:
        """Return it as the other codecs are."""
        return other_codecs.ours(self.name, threads, effort=self.effort, **self.options)


def settings(*, origins: bool) -> list[Setting]:
    """Return all, the cheapest first, but luma and chroma at the end."""
    found = [
        Setting(model, effort, multiply_adds(model), {"model": model, "origin": "none"})
        for model in MODELS
        for effort in EFFORTS
    ]
    if not origins:
        return found
    planes = round(sum(share * multiply_adds(name) for name, share in SHARES.items()))
    # With an origin, what a model is for is what the groups are: none is named.
    return found + [Setting(PLANES, effort, planes, {"origin": "auto"}) for effort in EFFORTS]


def measure(
    samples: Sequence[pictures.Sample], codecs: Sequence[other_codecs.Codec]
) -> tuple[dict[str, list[other_codecs.Measured]], int, list[str]]:
    """Measure every colour picture; return what each codec gave, all pixels, and a line for each that was skipped."""
    found: dict[str, list[other_codecs.Measured]] = {each.name: [] for each in codecs}
    pixels, skipped = 0, list[str]()
    for sample, planes, mode in pictures.loaded(samples, skipped):
        if mode != "RGB":
            skipped.append(f"{sample.name}: {mode}, and these are models of RGB")
            continue
        measured = {each.name: each.measure(planes, mode) for each in codecs}
        pixels += planes.shape[0] * planes.shape[1]
        for name, one in measured.items():
            found[name].append(one)
        print(f"{sample.name:26}" + "".join(f"{one.bytes:9}" for one in measured.values()), flush=True)
    return found, pixels, skipped


def table(
    found: dict[str, list[other_codecs.Measured]], pixels: int, adds: dict[str, int], effort: dict[str, int]
) -> list[dict[str, Any]]:
    """Return a line a codec: mean bits, all bytes of JPEG XL's, seconds a megapixel."""
    jxl = sum(each.bytes for each in found.get("JXL 9", []))
    return [
        {
            "name": name,
            "effort": effort.get(name),
            "multiply_adds": adds.get(name),
            "mean_bits_per_dim": float(np.mean([each.bits_per_dim for each in measured])),
            "bytes": sum(each.bytes for each in measured),
            "of_jxl_9": sum(each.bytes for each in measured) / jxl if jxl else None,
            "encode_seconds_per_megapixel": 1e6 * sum(each.encode_seconds for each in measured) / pixels,
            "decode_seconds_per_megapixel": 1e6 * sum(each.decode_seconds for each in measured) / pixels,
        }
        for name, measured in found.items()
    ]


def lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table as text."""
    found = [f"\n{'':40}{'K mult-adds':>12}{'bits':>8}{'of JXL 9':>10}{'encode':>10}{'decode':>10}  s a megapixel"]
    for each in rows:
        adds = f"{each['multiply_adds'] / 1e3:12.0f}" if each["multiply_adds"] else f"{'':12}"
        of_jxl = f"{each['of_jxl_9']:10.3f}" if each["of_jxl_9"] else f"{'-':>10}"
        seconds = f"{each['encode_seconds_per_megapixel']:10.2f}{each['decode_seconds_per_megapixel']:10.2f}"
        found.append(f"{each['name']:40}{adds}{each['mean_bits_per_dim']:8.3f}{of_jxl}{seconds}")
    return found


def draw(rows: Sequence[dict[str, Any]], target: Path, title: str) -> str:
    """Draw bits against multiply-adds; return a line that says where, or why not."""
    plt = pictures.pyplot()
    if plt is None:
        return pictures.NO_PICTURE
    figure, axes = plt.subplots(figsize=(7.5, 4.8), layout="constrained")
    for effort, label in EFFORTS.items():
        own = [each for each in rows if each["effort"] == effort]
        curve = [each for each in own if not each["name"].startswith(PLANES)]
        (line,) = axes.plot(
            [each["multiply_adds"] / 1e3 for each in curve],
            [each["mean_bits_per_dim"] for each in curve],
            "o-",
            label=f"RGB, networks {label}",
        )
        for each in own:
            point = each["multiply_adds"] / 1e3, each["mean_bits_per_dim"]
            if each not in curve:
                axes.plot(*point, "s", color=line.get_color(), label=f"origins sought, networks {label}")
            name = each["name"].removesuffix(f" {label}")
            axes.annotate(name, point, xytext=(4, 6), textcoords="offset points", fontsize=7)
    others = [each for each in rows if each["multiply_adds"] is None]
    for each, style in zip(others, (":", "-.", (0, (1, 3)), "--"), strict=False):
        axes.axhline(each["mean_bits_per_dim"], color="gray", linestyle=style, label=each["name"], linewidth=1)
    axes.set_xscale("log")
    ticks = [50, 100, 200, 400, 800]
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("thousand multiply-adds a pixel")
    axes.set_ylabel("bits per sub-pixel of the whole file, mean")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return pictures.drawn(figure, target)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    vs_png.add_pictures(parser)
    parser.add_argument("--name", help="of the results' files (default: the first argument's)")
    parser.add_argument(
        "--origins", action="store_true", help="pictures are made of luma and chroma: their models, too"
    )
    parser.add_argument("--threads", type=int)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code: 1 when nothing could be measured."""
    options = parse(arguments)
    samples, name = vs_png.chosen(options)
    name = options.name or name
    others, left_out = other_codecs.available()
    about = pictures.circumstances("budgets.py", arguments)
    print(about["command"], about["machine"], about["versions"], *left_out, sep="\n")
    own = settings(origins=options.origins)
    codecs = [*others, *(each.codec(options.threads) for each in own)]
    print("bytes: " + ", ".join(each.name for each in codecs))
    for each in codecs:  # what is loaded once a process is paid here
        with suppress(PixcodecError):
            each.measure(np.zeros((16, 16, 3), np.uint8), "RGB")
    found, pixels, skipped = measure(samples, codecs)
    print(*(f"skipped: {each}" for each in skipped), sep="\n")
    if not pixels:
        print("nothing was measured")
        return 1
    rows = table(found, pixels, {each.name: each.multiply_adds for each in own}, {e.name: e.effort for e in own})
    print(*lines(rows), sep="\n")
    record = {
        "benchmark": "budgets",
        "name": name,
        **about,
        "left_out": left_out,
        "skipped": skipped,
        "pictures": len(samples) - len(skipped),
        "pixels": pixels,
        "table": rows,
    }
    target = pictures.save(record, options.results, f"budgets_{name}")
    print(f"\nresults: {target}", draw(rows, target.with_suffix(".png"), f"{name}: bits for products"), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
