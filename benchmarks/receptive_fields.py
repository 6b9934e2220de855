"""What a pixel sees through each of the paper's networks: python benchmarks/receptive_fields.py: a picture for docs/.

Drawn from the configurations by `nets.receptive_field`, which tests/nets/test_causality.py holds against the networks.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pixcodec.nets.autoregressive import Configuration
from pixcodec.nets.receptive_field import receptive_field

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent
RADIUS = 11
TITLES = {
    "pixelcnn": "PixelCNN",
    "row_lstm": "Row LSTM",
    "diagonal_bilstm": "Diagonal BiLSTM",
    "gated_pixelcnn": "Gated PixelCNN",
}
NOT_KNOWN, UNSEEN, SEEN, PIXEL = range(4)
COLOURS = ("#ffffff", "#f2b8a2", "#3b6ea5", "#1a1a1a")
NAMES = ("not known yet", "known, not seen", "seen", "the pixel")


def panel(configuration: Configuration) -> np.ndarray:
    """int[R + 3, 2 R + 1]: what each pixel of the neighbourhood is, two rows of the future below."""
    field = receptive_field(configuration, RADIUS)
    grid = np.full((RADIUS + 3, 2 * RADIUS + 1), NOT_KNOWN)
    grid[:RADIUS] = UNSEEN
    grid[RADIUS, :RADIUS] = UNSEEN
    for dy, dx in field:
        grid[RADIUS - dy, RADIUS + dx] = SEEN
    grid[RADIUS, RADIUS] = PIXEL
    return grid


def main(arguments: Sequence[str]) -> int:
    """Draw the picture; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("--layers", type=int, default=4, help="of each network (default 4)")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "receptive_fields.png", metavar="PATH")
    options = parser.parse_args(arguments)
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    figure, axes = plt.subplots(1, len(TITLES), figsize=(13, 2.75), layout="constrained")
    for ax, (kind, title) in zip(axes, TITLES.items(), strict=True):
        grid = panel(Configuration(kind, channels=1, levels=2, features=1, hidden=1, layers=options.layers))
        height, width = grid.shape
        edges = np.arange(width + 1), np.arange(height + 1)
        ax.pcolormesh(*edges, grid, cmap=ListedColormap(COLOURS), vmin=0, vmax=3, edgecolors="#d8d8d8", linewidth=0.4)
        ax.set(title=title, aspect="equal", xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    legend = [Patch(facecolor=colour, edgecolor="#999999") for colour in COLOURS]
    figure.legend(legend, NAMES, loc="outside lower center", ncols=len(NAMES), frameon=False)
    figure.savefig(options.out, dpi=110)
    print(f"{options.out}: {options.layers} layers, mask A 7x7, kernels 3")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
