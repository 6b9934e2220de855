"""What tiles cost: python benchmarks/tiles.py FILES: bytes against the longest side of a tile.

All that is learned starts anew in each tile, so small tiles cost bits. Each file is decoded and compared.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pictures

from pixcodec import codec

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDES = (256, 512, 1024, 2048, 4096)


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE or DIR")
    parser.add_argument("--photos-list", type=Path, metavar="PATH", help="a photos.txt; its validation split is taken")
    parser.add_argument("--at-least", type=float, default=1.5, metavar="MP", help="of its pictures (default 1.5)")
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    parser.add_argument(
        "--results", type=Path, default=pictures.RESULTS, metavar="DIR", help="default: benchmarks/results"
    )
    options = parser.parse_args(arguments)
    about = pictures.circumstances("tiles.py", arguments)
    print(about["command"], about["machine"], about["versions"], sep="\n")
    samples = list(pictures.from_paths(options.files))
    if options.photos_list is not None:
        samples += pictures.from_list(options.photos_list, "val", options.photos_list.parent)
    print(f"\n{'':26}{'size':>12}" + "".join(f"{side:>10}" for side in options.sides))
    records = []
    for sample in samples:
        planes, mode = sample.load()
        height, width = planes.shape[:2]
        if options.photos_list is not None and height * width < options.at_least * 1e6:
            continue
        sizes = {}
        for side in options.sides:
            data = codec.encode(planes, mode, tile=side).data
            if not np.array_equal(codec.decode(data).planes, planes):
                sys.exit(f"{sample.name}: other pixels came back")
            sizes[side] = len(data)
        records.append({"name": sample.name, "width": width, "height": height, "mode": mode, "bytes": sizes})
        print(
            f"{sample.name[:25]:26}{width:>7}x{height:<4}" + "".join(f"{size:>10}" for size in sizes.values()),
            flush=True,
        )
    if not records:
        sys.exit("no picture: name FILES, or --photos-list with large ones")
    totals = {side: sum(record["bytes"][side] for record in records) for side in options.sides}
    best = min(totals.values())
    print(f"{'total, over the best':38}" + "".join(f"{size / best - 1:>10.3%}" for size in totals.values()))
    record = {"benchmark": "tiles", **about, "total": totals, "pictures": records}
    target = pictures.save(record, options.results, "tiles")
    print(f"\nresults: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
