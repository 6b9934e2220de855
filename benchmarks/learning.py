"""How a photo model learned: python benchmarks/learning.py RUN [RUN ...] --name NAME.

A run is a folder of `pixcodec train` with its log.  Draws validation bits per sub-pixel of the float network against
training pixels, those of its first weights included, of all pictures and of each source as a share of where it began;
writes both as JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pictures

if TYPE_CHECKING:
    from collections.abc import Sequence


def curve(run: Path) -> dict[str, Any]:
    """Return a run's validations: pixels, bits of all, and by source."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    found = [each for each in lines if "validation" in each]
    before = json.loads((run / "float.json").read_text(encoding="utf-8"))["training"].get("before", {})
    return {
        "run": run.name,
        "pixels": [before.get("pixels", 0) + each["pixels"] for each in found],
        "minutes": [each["seconds"] / 60 for each in found],
        "bits_per_dim": [each["validation"] for each in found],
        "sources": {name: [each["sources"][name] for each in found] for name in found[0]["sources"]},
    }


def draw(curves: Sequence[dict[str, Any]], target: Path) -> str:
    """Draw them; return a line that says where, or why not."""
    plt = pictures.pyplot()
    if plt is None:
        return pictures.NO_PICTURE
    figure, (whole, parts) = plt.subplots(1, 2, figsize=(12, 4.8), layout="constrained")
    for each in curves:
        pixels = [number / 1e6 for number in each["pixels"]]
        whole.plot(pixels, each["bits_per_dim"], "o-", label=each["run"])
        for name, bits in each["sources"].items():
            parts.plot(pixels, [100 * (one / bits[0] - 1) for one in bits], ".-", label=name, linewidth=1)
    whole.set_ylabel("validation, bits per sub-pixel, mean over pictures")
    parts.set_ylabel("by source, % of where it began")
    for axes in (whole, parts):
        axes.set_xlabel("million training pixels")
        axes.grid(alpha=0.3)
    whole.legend(fontsize=8)
    figure.legend(*parts.get_legend_handles_labels(), fontsize=7, loc="outside right upper")
    return pictures.drawn(figure, target)


def main(arguments: Sequence[str]) -> int:
    """Write and draw; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--name", required=True, help="of the results' files")
    parser.add_argument("--results", type=Path, default=pictures.RESULTS, metavar="DIR")
    options = parser.parse_args(arguments)
    curves = [curve(run) for run in options.runs]
    record = {"benchmark": "learning", **pictures.circumstances("learning.py", arguments), "runs": curves}
    target = pictures.save(record, options.results, f"learning_{options.name}")
    print(f"results: {target}", draw(curves, target.with_suffix(".png")), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
