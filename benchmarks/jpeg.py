"""Pictures that were JPEGs, found in their pixels: python benchmarks/jpeg.py --photos-list FILE --photos DIR.

Each photograph is written as a JPEG by Pillow (optimised Huffman tables) at every quality and sampling, decoded, every
other one cropped at random, and looked through for a JPEG; the record of a file is written, read, rendered, compared.
Prints and writes how many blocks of 8x8 pixels came back exactly, how many pixels are exceptions, bytes against those
of the JPEG (of the whole picture, also where it is cropped), and seconds of processor time.
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
import pictures
from PIL import Image

from pixcodec import codec, container, origins
from pixcodec.origins.exceptions import Exceptions
from pixcodec.origins.jpeg import Jpeg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}  # and Pillow's numbers of them
MOST_CUT = 16  # pixels that a crop takes from each side, fewer than so many


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


def container_bytes() -> int:
    """Return what a file of a picture without groups has besides its record."""
    data = codec.encode(np.zeros((16, 16, 3), np.uint8), "RGB", origin="constant").data
    return len(data) - len(container.read_header(data).record)


def no_cost(_planes: NDArray[np.uint8], _known: NDArray[np.uint8]) -> int:
    """Return bytes of planes that nobody asks for when one origin is chosen."""
    raise AssertionError


def no_groups(_leaf: origins.Leaf, _known: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return planes that a JPEG's record does not need."""
    raise AssertionError


def measure(planes: NDArray[np.uint8], more: int) -> dict[str, Any]:
    """Recover, write, read, render, compare: figures of a picture uint8[H, W, 3], with `more` bytes of a container."""
    began = time.process_time()
    tree = origins.find(planes, 256, b"", Jpeg.name, no_cost)
    record: dict[str, Any] = {"found": isinstance(tree, origins.Node), "seconds": time.process_time() - began}
    if isinstance(tree, origins.Leaf):
        return record
    data = origins.write(tree, "RGB", (b"", b""), iter(()))
    _, again = origins.read(data, "RGB", planes.shape, 256)
    if not np.array_equal(origins.render(again, no_groups, planes.shape), planes):
        sys.exit("other pixels came back")
    jpeg = tree.groups[0] if isinstance(tree.origin, Exceptions) else tree
    wrong = (origins.render(jpeg, no_groups, planes.shape) != planes).any(axis=2)
    padded = np.pad(wrong, [(0, -side % 8) for side in wrong.shape])
    blocks = padded.reshape(padded.shape[0] // 8, 8, padded.shape[1] // 8, 8).any(axis=(1, 3))
    figures = {"exceptions": int(wrong.sum()), "pixels": wrong.size, "exact_blocks": 1 - float(blocks.mean())}
    return record | figures | {"bytes": len(data) + more, "words": origins.words(tree)}


def table(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return lines of sums by quality, sampling and whether cropped."""
    lines = [f"quality {'':16}{'pictures':>9}{'exact blocks':>14}{'exceptions':>12}{'of the JPEG':>13}{'seconds':>9}"]
    groups = sorted({(each["quality"], each["sampling"], each["cropped"]) for each in records})
    for quality, sampling, cropped in groups:
        own = [
            each
            for each in records
            if (each["quality"], each["sampling"], each["cropped"]) == (quality, sampling, cropped)
        ]
        good = [each for each in own if each["found"]]
        line = f"{quality:<8}{sampling:7}{'cropped' if cropped else 'whole':9}{len(good):4} of {len(own):2}"
        if good:
            exact = statistics.mean(each["exact_blocks"] for each in good)
            missed = sum(each["exceptions"] for each in good) / sum(each["pixels"] for each in good)
            share = sum(each["bytes"] for each in good) / sum(each["jpeg_bytes"] for each in good)
            line += f"{exact:13.2%}{missed:12.3%}{share:13.3f}"
        lines.append(line + f"{statistics.mean(each['seconds'] for each in own):9.2f}")
    return lines


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
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
    parser.add_argument("--qualities", type=int, nargs="+", default=[50, 75, 85, 90, 95, 98])
    parser.add_argument("--name", default="jpeg", help="of the result's file")
    parser.add_argument(
        "--results", type=Path, default=pictures.RESULTS, metavar="DIR", help="default: benchmarks/results"
    )
    options = parser.parse_args(arguments)
    about = pictures.circumstances("jpeg.py", arguments)
    print(about["command"], about["machine"], about["versions"], sep="\n")
    samples = list(pictures.from_paths(options.files))
    if options.photos_list and options.photos:
        listed = pictures.from_list(options.photos_list, options.split, options.photos)
        samples += [each for each in listed if each.source in options.sources]
    if not samples:
        parser.error("expected files, or a list and where its photographs lie")
    records, more = [], container_bytes()
    for place, sample in enumerate(samples):
        planes, _ = sample.load()
        random = np.random.default_rng(place)
        for number, (quality, sampling) in enumerate((q, s) for q in options.qualities for s in SAMPLINGS):
            decoded, size = through_jpeg(planes, quality, sampling)
            cropped = (place + number) % 2 == 1
            measured = measure(crop(decoded, random) if cropped else decoded, more)
            about_it = {"name": sample.name, "source": sample.source, "quality": quality, "sampling": sampling}
            records.append(about_it | {"cropped": cropped, "jpeg_bytes": size} | measured)
        print(f"{sample.name}: {sum(each['found'] for each in records)} of {len(records)} so far", flush=True)
    print("", *table(records), sep="\n")
    target = pictures.save({"benchmark": "jpeg", **about, "pictures": records}, options.results, options.name)
    print(f"\nresults: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
