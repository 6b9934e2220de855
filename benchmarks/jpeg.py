"""Pictures that were JPEGs, found in their pixels: python benchmarks/jpeg.py --photos-list FILE --photos DIR.

Each photograph is written as a JPEG by Pillow (optimised Huffman tables) at every quality and sampling, decoded, every
other one cropped at random at all sides, and encoded as any picture is (`--origin auto`).  The file is decoded and
compared.  Prints and writes how many blocks of 8x8 pixels came back exactly, how many pixels are exceptions, bytes
against those of the JPEG (times the share of its pixels that are left, where it is cropped), seconds of the processor
each way; and, of every so many pictures, bytes of the same pixels by PNG, WebP and JPEG XL, decoded and compared.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import other_codecs
import pictures
from PIL import Image

from pixcodec import codec, container, origins
from pixcodec.origins import tree as trees
from pixcodec.origins.exceptions import Exceptions
from pixcodec.origins.jpeg import Jpeg, JpegPart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}  # and Pillow's numbers of them
MOST_CUT = 16  # pixels that a crop takes from each side, fewer than so many
# What is asked for: of which qualities, whether cropped; of the JPEG's bytes the most that may be, and the aim.
TARGETS = (
    ("whole, up to quality 95", range(1, 96), False, 0.88, 0.78),
    ("whole, quality 98", range(98, 99), False, 0.95, 0.85),
    ("cropped", range(1, 101), True, 1.00, 0.85),
)


def through_jpeg(planes: NDArray[np.uint8], quality: int, sampling: str) -> tuple[NDArray[np.uint8], int]:
    """Return uint8[H, W, 3] as Pillow decodes its own JPEG, and that one's bytes."""
    stream = io.BytesIO()
    Image.fromarray(planes).save(stream, "JPEG", quality=quality, subsampling=SAMPLINGS[sampling], optimize=True)
    with Image.open(stream) as image:
        return np.asarray(image).copy(), stream.getbuffer().nbytes


def crop(planes: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a picture without some pixels at each side."""
    top, left, bottom, right = random.integers(1, MOST_CUT, 4)
    return np.ascontiguousarray(planes[top : planes.shape[0] - bottom, left : planes.shape[1] - right])


def measure(planes: NDArray[np.uint8], mode: str = "RGB", origin: str = origins.AUTO) -> dict[str, Any]:
    """Encode, decode, compare: figures of a picture uint8[H, W, C]; `origin` is what is looked for."""
    began = time.process_time()
    data = codec.encode(planes, mode, origin=origin).data
    encoded = time.process_time()
    decoded = codec.decode(data).planes
    seconds = {"seconds": encoded - began, "decode_seconds": time.process_time() - encoded}
    if not np.array_equal(decoded, planes):
        sys.exit("other pixels came back")
    record: dict[str, Any] = {"found": False, "bytes": len(data), "pixels": planes[:, :, 0].size, **seconds}
    header = container.read_header(data)
    if not header.has_origin:
        return record
    _, tree = codec.read_record(header)
    record["words"] = origins.words(tree)
    nodes = [tree, tree.groups[0]] if isinstance(tree, origins.Node) and isinstance(tree.origin, Exceptions) else [tree]
    if not isinstance(nodes[-1], origins.Node) or not isinstance(nodes[-1].origin, (Jpeg, JpegPart)):
        return record
    jpeg = nodes[-1].origin
    # Of a JPEG in part what is not the JPEG's is wrong here.
    blank = [np.zeros(shape, np.uint8) for shape in jpeg.shapes(planes.shape)]
    wrong = (jpeg.render(blank, planes.shape) != planes).any(axis=2)
    padded = np.pad(wrong, [(0, -side % 8) for side in wrong.shape])
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8).any(axis=(1, 3))
    exceptions = sum(len(each.rows) for each in trees.nodes(tree) if isinstance(each, Exceptions))
    return record | {"found": True, "exceptions": exceptions, "exact_blocks": 1 - float(blocks.mean())}


def of_the_jpeg(records: Sequence[dict[str, Any]]) -> float:
    """Return the bytes of files as a share of those of their JPEGs, of these times what is left of their pixels."""
    return sum(each["bytes"] for each in records) / sum(each["jpeg_bytes"] * each["kept"] for each in records)


def table(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield lines of sums by quality, sampling and whether cropped."""
    yield (
        f"quality {'':16}{'pictures':>9}{'exact blocks':>14}{'exceptions':>12}{'of the JPEG':>13}"
        f"{'encode':>9}{'decode':>9} seconds"
    )
    groups = sorted({(each["quality"], each["sampling"], each["cropped"]) for each in records})
    for quality, sampling, cropped in groups:
        own = [each for each in records if (each["quality"], each["sampling"]) == (quality, sampling)]
        own = [each for each in own if each["cropped"] == cropped]
        good = [each for each in own if each["found"]]
        line = f"{quality:<8}{sampling:7}{'cropped' if cropped else 'whole':9}{len(good):4} of {len(own):2}"
        if good:
            exact = statistics.mean(each["exact_blocks"] for each in good)
            missed = sum(each["exceptions"] for each in good) / sum(each["pixels"] for each in good)
            line += f"{exact:13.2%}{missed:12.3%}"
        else:
            line += f"{'':25}"
        times = (statistics.mean(each[name] for each in own) for name in ("seconds", "decode_seconds"))
        yield line + f"{of_the_jpeg(own):13.3f}" + "".join(f"{each:9.2f}" for each in times)


def goals(records: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str, float, float, float]]:
    """Yield of each target and sampling their names, the share of the JPEG's bytes, the most asked for, the aim."""
    for name, qualities, cropped, most, aim in TARGETS:
        for sampling in SAMPLINGS:
            own = [each for each in records if (each["cropped"], each["sampling"]) == (cropped, sampling)]
            own = [each for each in own if each["quality"] in qualities]
            if own:
                yield name, sampling, of_the_jpeg(own), most, aim


def beside(records: Sequence[dict[str, Any]]) -> Iterator[tuple[int, int, dict[str, int]]]:
    """Yield quality, pictures, and bytes by codec of those that other codecs were tried on."""
    tried = [each for each in records if "others" in each]
    for quality in sorted({each["quality"] for each in tried}):
        own = [each for each in tried if each["quality"] == quality]
        kept = round(sum(each["jpeg_bytes"] * each["kept"] for each in own))
        sizes = {"JPEG": kept, "pixcodec": sum(each["bytes"] for each in own)}
        sizes |= {name: sum(each["others"][name] for each in own) for name in own[0]["others"]}
        yield quality, len(own), sizes


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options, and whatever pictures they name as `samples`."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument(
        "--photos-list", type=Path, metavar="FILE", help="photos.txt, of which those without loss are taken"
    )
    parser.add_argument("--photos", type=Path, metavar="DIR", help="where its photographs lie")
    parser.add_argument("--split", default="val", help="of the list (default val)")
    parser.add_argument(
        "--sources", nargs="+", default=["cid22", "gb82"], help="of the list (default: those without loss)"
    )
    parser.add_argument("--qualities", type=int, nargs="+", default=[50, 60, 70, 75, 80, 85, 90, 92, 95, 98])
    parser.add_argument(
        "--others", type=int, default=9, metavar="N", help="the other codecs on every N-th picture (default 9), 0: none"
    )
    parser.add_argument("--name", default="jpeg", help="of the result's file")
    parser.add_argument(
        "--results", type=Path, default=pictures.RESULTS, metavar="DIR", help="default: benchmarks/results"
    )
    options = parser.parse_args(arguments)
    options.samples = list(pictures.from_paths(options.files))
    if options.photos_list and options.photos:
        listed = pictures.from_list(options.photos_list, options.split, options.photos)
        options.samples += [each for each in listed if each.source in options.sources]
    if not options.samples:
        parser.error("expected files, or a list and where its photographs lie")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    began, options = time.perf_counter(), parse(arguments)
    about = pictures.circumstances("jpeg.py", arguments)
    codecs, left_out = other_codecs.available()
    print(about["command"], about["machine"], about["versions"], *left_out, sep="\n")
    # Compiled code is loaded, or made, before a clock runs.
    measure(through_jpeg(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), 50, "4:2:0")[0])
    records: list[dict[str, Any]] = []
    for place, sample in enumerate(options.samples):
        planes, _ = sample.load()
        random = np.random.default_rng(place)
        for number, (quality, sampling) in enumerate((q, s) for q in options.qualities for s in SAMPLINGS):
            whole, size = through_jpeg(planes, quality, sampling)
            # By turns, so that each quality and sampling is cropped of every other photograph.
            cropped = (place + number) % 2 == 1
            pixels = crop(whole, random) if cropped else whole
            about_it = {"name": sample.name, "source": sample.source, "quality": quality, "sampling": sampling}
            about_it |= {"cropped": cropped, "jpeg_bytes": size, "kept": pixels.size / whole.size}
            records.append(about_it | measure(pixels))
            if options.others and (place + number) % options.others == 0:
                records[-1]["others"] = {each.name: each.measure(pixels, "RGB").bytes for each in codecs}
        print(f"{sample.name}: {sum(each['found'] for each in records)} of {len(records)} so far", flush=True)
        minutes = (time.perf_counter() - began) / 60
        result = {"benchmark": "jpeg", **about, "minutes": minutes, "others_left_out": left_out, "pictures": records}
        target = pictures.save(result, options.results, options.name)  # what there is, if a long run is cut short
    print("", *table(records), sep="\n")
    print("\nbytes of the JPEG:")
    for name, sampling, share, most, aim in goals(records):
        print(f"{name:24}{sampling:7}{share:8.3f}, asked for {most:.2f}, aim {aim:.2f}")
    for quality, count, sizes in beside(records):
        print(f"quality {quality}, {count} pictures: {', '.join(f'{codec} {size:,}' for codec, size in sizes.items())}")
    print(f"\n{minutes:.1f} minutes; results: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
