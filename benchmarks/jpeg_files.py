"""JPEGs of other makers, found in their pixels: python benchmarks/jpeg_files.py --photos-list FILE --photos DIR.

JPEG files, or those of a list, are decoded by Pillow, cut at random, and looked through for a JPEG (`--origin jpeg`);
the file that is written is decoded and compared. Small ones are taken whole too. Prints and writes how many are
recovered, and what those have in common that are not. Files that are not JPEG are pictures that may have been: their
bytes with `--origin auto` and `none`, and those of other codecs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jpeg
import numpy as np
import other_codecs
import pictures

from pixcodec import codec, image, jpeg_file
from pixcodec.errors import PixcodecError
from pixcodec.origins import jpeg_decoder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

SIDE = 384  # of what is cut out
SMALL = 512 * 512  # pixels of files that are taken whole
CLIPPED, FINE = 1 / 8, 1.5  # of the pixels; the mean of the ten lowest steps of luma: what makes recovery hard
LOWEST = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24]  # of the coefficients, in the order of JPEG's zigzag


def _cut(planes: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    top, left = (int(random.integers(max(side - SIDE, 0) + 1)) for side in planes.shape[:2])
    return np.ascontiguousarray(planes[top : top + SIDE, left : left + SIDE])


def why(data: bytes, planes: NDArray[np.uint8]) -> str:
    """Return what may be why the JPEG of a file's pixels is not found."""
    file = jpeg_file.read(data)
    if file is None:
        return "a file of a kind that is not read"
    if tuple(file.factors) not in jpeg_decoder.LAYOUTS:
        return "another sampling"
    if ((planes == 0) | (planes == 255)).any(axis=2).mean() > CLIPPED:
        return "clipping: more than an eighth of the pixels"
    if file.tables[0][LOWEST].mean() <= FINE:
        return "steps: half of the lowest ones of luma are 1"
    return "neither"


def of_file(sample: pictures.Sample, random: np.random.Generator) -> Iterator[dict[str, Any]]:
    """Yield records of a JPEG file: of a part of it, and of all if it is small."""
    data, picture = sample.path.read_bytes(), image.read(sample.path)
    parts = {"cropped": _cut(picture.planes, random)}
    if picture.planes[:, :, 0].size <= SMALL:
        parts["whole"] = picture.planes
    for part, planes in parts.items():
        record = jpeg.measure(planes, picture.mode, "jpeg")
        reason = "" if record["found"] else why(data, planes)
        yield {"name": sample.name, "source": sample.source, "part": part, "why": reason, **record}


def before_and_after(sample: pictures.Sample, codecs: Sequence[other_codecs.Codec]) -> dict[str, Any]:
    """Return the record of a picture that may have been a JPEG, of the middle of a large one."""
    picture = image.read(sample.path)
    planes = pictures.cropped(picture.plain(), 2 * SIDE, 2 * SIDE)
    without = len(codec.encode(planes, picture.mode).data)
    others = {each.name: each.measure(planes, picture.mode).bytes for each in codecs}
    about = {"name": sample.name, "height": planes.shape[0], "width": planes.shape[1], "none": without}
    return {**about, **jpeg.measure(planes, picture.mode), "others": others}


def report(files: Sequence[dict[str, Any]], were: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield lines for people."""
    for part in ("whole", "cropped"):
        own = [each for each in files if each["part"] == part]
        if own:
            yield f"{part}: {sum(each['found'] for each in own)} of {len(own)} recovered"
    for reason, count in Counter(each["why"] for each in files if not each["found"]).most_common():
        yield f"  not: {count:3} {reason}"
    for each in were:
        sizes = {"none": each["none"], "auto": each["bytes"], **each["others"]}
        told = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
        yield f"{each['name']} {each['width']}x{each['height']}: {told}; {each.get('words') or 'nothing found'}"


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--photos-list", type=Path, metavar="FILE", help="photos.txt, of which JPEG files are taken")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="where its photographs lie")
    parser.add_argument("--split", default="train", help="of the list (default train)")
    parser.add_argument("--each", type=int, default=3, metavar="N", help="of a source, at most (default 3)")
    parser.add_argument("--name", default="jpeg_files", help="of the result's file")
    parser.add_argument(
        "--results", type=Path, default=pictures.RESULTS, metavar="DIR", help="default: benchmarks/results"
    )
    options = parser.parse_args(arguments)
    began, about = time.perf_counter(), pictures.circumstances("jpeg_files.py", arguments)
    codecs, left_out = other_codecs.available()
    print(about["command"], about["machine"], about["versions"], *left_out, sep="\n")
    samples: list[pictures.Sample] = []
    taken: Counter[str] = Counter()
    for sample in pictures.from_list(options.photos_list, options.split, options.photos) if options.photos_list else ():
        if sample.path.suffix.lower() in {".jpg", ".jpeg"} and taken[sample.source] < options.each:
            taken[sample.source] += 1
            samples.append(sample)
    samples += pictures.from_paths(options.files)
    if not samples:
        parser.error("expected files, or a list and where its photographs lie")
    result: dict[str, Any] = {"benchmark": "jpeg_files", **about, "minutes": 0.0, "others_left_out": left_out}
    files: list[dict[str, Any]] = []
    were: list[dict[str, Any]] = []
    skipped: list[str] = []
    for number, sample in enumerate(samples):
        try:
            if sample.path.suffix.lower() in {".jpg", ".jpeg"}:
                files += of_file(sample, np.random.default_rng(number))
            else:
                were.append(before_and_after(sample, codecs))
        except PixcodecError as error:
            skipped.append(f"{sample.name}: {error}")
        result |= {"files": files, "pictures": were, "skipped": skipped, "minutes": (time.perf_counter() - began) / 60}
        # What there is, if a long run is cut short.
        target = pictures.save(result, options.results, options.name)
        print(f"{number + 1} of {len(samples)}: {sum(each['found'] for each in files)} of {len(files)}", flush=True)
    print("", *report(files, were), *skipped, f"{result['minutes']:.1f} minutes; results: {target}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
