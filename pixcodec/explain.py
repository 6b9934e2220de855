"""A page about one file: where its bits are, by stage, channel, expert and pixel.

The picture is coded again by the file's own model, tiles and experts, by the network alone, and without each of the
experts, all in one pass; what an expert is worth is the size that the file has less than one without it.
"""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from pixcodec import codec, container, models, tiles
from pixcodec.errors import UnsupportedImageError
from pixcodec.expert_names import EXPERTS, names_of, without
from pixcodec.origins import Leaf, Node
from pixcodec.origins.turned import Turned
from pixcodec.progress import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from pixcodec.exact.network import Network
    from pixcodec.progress import Progress

CHANNEL_NAMES = {"RGB": ("red", "green", "blue"), "L": ("gray",)}
LONGEST_SIDE = 1024  # of an embedded picture; larger ones are made smaller by whole factors
SHOWN = 0.995  # quantile of bits a pixel that is white
STYLE = (
    "body{font:15px sans-serif;max-width:66em;margin:2em auto;color:#222}table{border-collapse:collapse}"
    "td,th{padding:.2em .8em;text-align:right}td:first-child,th:first-child{text-align:left}"
    "tr:nth-child(even){background:#f3f3f3}img{max-width:100%;image-rendering:pixelated}"
)


def network_of(header: container.Header) -> Network:
    """A file's model.

    Raises:
        UnsupportedImageError: its picture was made from something, or its network has neither stages nor experts.
    """
    turn_of(header)
    network = models.load_by_id(header.model_id)
    if codec.is_stacked(network):
        raise UnsupportedImageError("expected a file by a model with predictors to explain, found one of one stream")
    return network


def turn_of(header: container.Header) -> Turned:
    """How a file's picture was turned; `UnsupportedImageError` if it has another origin."""
    if not header.has_origin:
        return Turned(0)
    colours, tree = codec.read_record(header)
    if colours or not (isinstance(tree, Node) and isinstance(tree.origin, Turned) and isinstance(tree.groups[0], Leaf)):
        message = f"a file with an origin, or of mode {header.mode}, is not explained in this version; "
        raise UnsupportedImageError(message + "try --origin none")
    return tree.origin


def page(
    planes: NDArray[np.uint8],
    data: bytes,
    name: str,
    seconds: Mapping[str, float],
    *,
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401
) -> str:
    """An HTML page.

    Args:
        planes: uint8[H, W, C].
        data: their file.
        name: what the page calls it.
        seconds: by stage, of making the file.
        progress: see `codec.encode`, as of `options`: threads, backend and device.
        options: these.

    Raises:
        UnsupportedImageError: see `network_of`.
    """
    header, payloads = container.unpack(data)
    network = network_of(header)
    present = [e for e in range(len(EXPERTS)) if header.experts >> e & 1]
    masks = [header.experts, 0, *(without(header.experts, e) for e in present)]
    sides = header.tile_height, header.tile_width
    turn = turn_of(header)
    _, (group,) = turn.of(planes)
    images, costs = group[None], np.zeros((3, 1, *group.shape), np.float32)
    tally = Tally(progress, len(masks) + header.learning)  # as many files
    part = {"progress": tally.part(len(masks)), **options}
    trials, _ = tiles.encode_each(
        images, network, sides, masks, learning=header.learning, costs=tuple(costs[:2]), **part
    )
    sizes = [sum(map(len, trial.streams)) for trial in trials]
    streams = container.split(payloads[0]) if header.has_origin else payloads
    overhead = len(data) - sum(map(len, streams))
    file_costs, network_costs, fixed_costs = (turn.back(each) for each in costs[:, 0])
    stages = [["network alone", *_means(network_costs), sizes[1]]]
    if header.learning:
        part = {"progress": tally.part(1), **options}
        (fixed,), _ = tiles.encode_each(images, network, sides, [0], costs=(costs[2],), **part)
        stages[0][0] = "with heads that learn"
        stages.insert(0, ["network alone", *_means(fixed_costs), sum(map(len, fixed.streams))])
    bits = file_costs.sum(axis=2)
    worth = sorted(zip(sizes[2:], present, strict=True), reverse=True)
    pixels = planes.shape[0] * planes.shape[1]
    return _document(
        f"{name}: where its bits are",
        f"<p>{header.width}x{header.height} {header.mode}, {len(data)} bytes, "
        f"{8 * len(data) / planes.size:.3f} bits per sub-pixel; model {header.model_id.hex()}, "
        f"{header.tile_count} {'tile' if header.tile_count == 1 else 'tiles'}, "
        f"experts: {names_of(header.experts).replace(',', ', ')}.</p>",
        "<h2>By stage and channel</h2><p>Bits per sub-pixel, ideal; the file's are rounded up to its words.</p>",
        _table(
            ["", *CHANNEL_NAMES[header.mode], "all", "bytes"],
            [
                ["as it is", *["8.000"] * header.channels, "8.000", planes.size],
                *stages,
                ["with experts", *_means(file_costs), sizes[0]],
                ["header, checksums", *[""] * header.channels, f"{8 * overhead / planes.size:.3f}", overhead],
            ],
        ),
        "<h2>By pixel</h2>",
        _figure("The picture.", _picture(planes)),
        _figure(
            f"Bits a pixel: black 0, white {np.quantile(bits, SHOWN):.1f} and more, {bits.sum() / pixels:.2f} on "
            "average. What cannot be foretold is bright: edges, noise, what comes for the first time.",
            _heat(bits),
        ),
        _figure("What experts save (green) and lose (red).", _difference(network_costs.sum(axis=2) - bits)),
        "<h2>By expert</h2><p>By how much the file would be larger without this one alone. They share much of what "
        "they know, so the sum is less than what all of them save.</p>",
        _table(
            ["expert", "bytes", "of the file", "its context"],
            [
                [EXPERTS[e].name, f"{size - sizes[0]:+d}", f"{(size - sizes[0]) / len(data):+.2%}", EXPERTS[e].context]
                for size, e in worth
            ],
        ),
        "<h2>Time</h2><p>Seconds of making the file, summed over threads.</p>",
        _table(["stage", "seconds"], [[stage, f"{spent:.2f}"] for stage, spent in seconds.items()]),
    )


def _means(costs: NDArray[np.float32]) -> list[str]:
    """Mean bits per sub-pixel of each channel, and of all."""
    return [f"{mean:.3f}" for mean in (*costs.mean(axis=(0, 1), dtype=np.float64), costs.mean(dtype=np.float64))]


def _document(title: str, *parts: str) -> str:
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>'
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *parts])
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = ["".join(f"<th>{each}</th>" for each in heads)]
    lines += ["".join(f"<td>{html.escape(str(each))}</td>" for each in row) for row in rows]
    return "<table>" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "</table>"


def _figure(caption: str, picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    source = base64.b64encode(stream.getvalue()).decode("ascii")
    return f'<p>{caption}</p><img alt="{caption}" src="data:image/png;base64,{source}">'


def _smaller(samples: NDArray[Any]) -> NDArray[Any]:
    """Means of [H, W, ...] over squares, so that no side is longer than `LONGEST_SIDE`."""
    by = -(-max(samples.shape[:2]) // LONGEST_SIDE)
    if by == 1:
        return samples
    height, width = (max(side // by, 1) for side in samples.shape[:2])
    rows, columns = min(by, samples.shape[0]), min(by, samples.shape[1])
    whole = samples[: height * rows, : width * columns]
    squares = whole.reshape(height, rows, width, columns, *samples.shape[2:])
    means: NDArray[Any] = squares.mean(axis=(1, 3))
    return means


def _picture(planes: NDArray[np.uint8]) -> Image.Image:
    shown = _smaller(planes).astype(np.uint8)
    return Image.fromarray(shown[:, :, 0] if shown.shape[2] == 1 else shown)


def _heat(bits: NDArray[np.float32]) -> Image.Image:
    """Black, red, yellow, white by bits a pixel [H, W]."""
    level = _smaller(bits) / max(float(np.quantile(bits, SHOWN)), 1e-6)
    channels = [np.clip(3 * level - k, 0, 1) for k in range(3)]
    return Image.fromarray(np.rint(255 * np.stack(channels, axis=2)).astype(np.uint8))


def _difference(saved: NDArray[np.float32]) -> Image.Image:
    """Green where bits [H, W] were saved, red where lost, black where neither."""
    level = _smaller(saved) / max(float(np.quantile(np.abs(saved), SHOWN)), 1e-6)
    channels = [np.clip(-level, 0, 1), np.clip(level, 0, 1), np.zeros_like(level)]
    return Image.fromarray(np.rint(255 * np.stack(channels, axis=2)).astype(np.uint8))
