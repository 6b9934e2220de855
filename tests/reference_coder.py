"""A second coder of .pxc files, from docs/format.md and the slow reference alone: no container, kernels, constriction.

It takes the network's dataclass from `Network.build` and shares nothing else with the codec.  The decoder evaluates the
whole picture, as far as it is known, for each step and channel, so it is for pictures of a few pixels.  Streams of the
paper's networks are in `reference_stacks`.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import reference_stacks

from pixcodec.exact.program import Program
from pixcodec.exact.reference import codec, range_coder
from pixcodec.exact.reference.decisions import Reader, Writer
from pixcodec.exact.reference.experts import Experts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pixcodec.exact.network import Network

FIXED = struct.Struct("<8sBBBIIHH8s16s")
SIGNATURE = b"\x89PXC\r\n\x1a\n"
BYTES = {"I8": ("int8", 1), "I32": ("int32", 4), "U32": ("uint32", 4), "F32": ("float32", 4)}
ONE_STREAM, EXPERTS, LEARNING, MASKED = 1, 2, 4, 16
ALL = 2**13 - 1


def identity(folder: Path) -> str:
    """The id of a model, in hex, from the bytes of its two files."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    keys = ("channels", "network", "predictors")
    if "program" in card:
        keys = ("channels", "levels", "groups", "output", "tile", "program", *(["small"] if "small" in card else []))
    deciding = {key: card[key] for key in keys}
    state = hashlib.sha256(json.dumps(deciding, sort_keys=True, separators=(",", ":")).encode("ascii"))
    data = (folder / "model.safetensors").read_bytes()
    start = 8 + struct.unpack_from("<Q", data)[0]
    entries = json.loads(data[8:start])
    entries.pop("__metadata__", None)
    for name, entry in sorted(entries.items()):
        dtype, size = BYTES[entry["dtype"]]
        begin, end = entry["data_offsets"]
        assert end - begin == size * int(np.prod(entry["shape"]))
        state.update(f"{name} {dtype} [{', '.join(map(str, entry['shape']))}]".encode())
        state.update(data[start + begin : start + end])
    return state.hexdigest()


def _boxes(height: int, width: int, units_y: int, units_x: int) -> list[tuple[slice, slice]]:
    """Rows and columns of each tile."""
    return [
        (slice(y, min(y + 16 * units_y, height)), slice(x, min(x + 16 * units_x, width)))
        for y in range(0, height, 16 * units_y)
        for x in range(0, width, 16 * units_x)
    ]


def _mode(network: Network | Program) -> int:
    if isinstance(network, Program) and network.levels == 2:
        return 2
    return {1: 0, 3: 1}[network.channels]


def digest(images: np.ndarray, network: Network | Program) -> bytes:
    """Of images uint8[N, H, W, C]."""
    _, height, width, _ = images.shape
    return hashlib.blake2b(
        struct.pack("<BII", _mode(network), width, height) + images.tobytes(), digest_size=16
    ).digest()


def encode(
    planes: np.ndarray, network: Network | Program, units_y: int, units_x: int, settings: int, mask: int = ALL
) -> bytes:
    """The file of planes uint8[H, W, C] with tiles of so many times 16 pixels."""
    height, width, _ = planes.shape
    if isinstance(network, Program):
        assert settings == ONE_STREAM
        payloads = [reference_stacks.encode(planes[None], network, (16 * units_y, 16 * units_x))]
    else:
        payloads = tiles(planes[None], network, units_y, units_x, settings, mask)
    head = FIXED.pack(
        SIGNATURE, 0, _mode(network), settings, width, height, units_x, units_y, network.identity[:8],
        digest(planes[None], network),
    )  # fmt: skip
    head += struct.pack("<H", mask) if settings & MASKED else b""
    head += struct.pack(f"<{2 * len(payloads) - 1}I", *map(len, payloads[:-1]), *map(zlib.crc32, payloads))
    return head + struct.pack("<I", zlib.crc32(head)) + b"".join(payloads)


def block(images: np.ndarray, network: Network | Program, units_y: int, units_x: int, settings: int) -> bytes:
    """The payload of a block of an archive, or of a group, of images uint8[N, H, W, known + C]."""
    if isinstance(network, Program):
        return reference_stacks.encode(images, network, (16 * units_y, 16 * units_x))
    streams = tiles(images, network, units_y, units_x, settings)
    return b"".join(reference_stacks.leb128(len(stream)) + stream for stream in streams)


def tiles(
    images: np.ndarray, network: Network, units_y: int, units_x: int, settings: int, mask: int = ALL
) -> list[bytes]:
    """The words of each tile of images uint8[N, H, W, known + C]."""
    boxes = _boxes(*images.shape[1:3], units_y, units_x)
    cut = [planes[box] for planes in images for box in boxes]
    parts = [
        _words_by_experts(part, network, settings, mask) if settings & EXPERTS else _words(part, network, settings)
        for part in cut
    ]
    return [struct.pack(f"<{len(words)}I", *words) for words in parts]


def _counts(planes: np.ndarray, network: Network, settings: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts and centres by the heads that the settings ask for."""
    return codec.counts_and_centres(network, planes, learning=bool(settings & LEARNING))


def _words(planes: np.ndarray, network: Network, settings: int) -> list[int]:
    (counts, _), encoder = _counts(planes, network, settings), range_coder.Encoder()
    for y, x, c in codec.order(*counts.shape[:3]):
        encoder.put(counts[y, x, c].tolist(), int(planes[y, x, network.known + c]))
    return encoder.words()


def _steps(shape: tuple[int, ...]) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Step, channel, rows and columns of all that is coded together."""
    together = groupby(codec.order(*shape), lambda place: (place[1] + 2 * place[0], place[2]))
    for (step, channel), places in together:
        rows = np.array([y for y, _, _ in places])
        yield step, channel, rows, step - 2 * rows


def _sums(planes: np.ndarray, network: Network, settings: int) -> tuple[np.ndarray, np.ndarray]:
    """What experts ask, and centres."""
    return codec.sums_and_centres(network, planes, learning=bool(settings & LEARNING))


def _words_by_experts(planes: np.ndarray, network: Network, settings: int, mask: int) -> list[int]:
    (sums, centres), encoder = _sums(planes, network, settings), range_coder.Encoder()
    experts = Experts(*planes.shape, *network.experts, mask=mask, known=network.known)
    target = planes.copy()
    for step, channel, y, x in _steps(centres.shape):
        own = sums[y, x, channel], centres[y, x, channel]
        experts.code(network.known + channel, step, int(y[0]), *own, target, Writer(encoder))
    assert (target == planes).all()
    return encoder.words()


def decode(data: bytes, network: Network | Program) -> np.ndarray:
    """Planes uint8[H, W, C] of a sound file of this network's; an assertion fails where docs/format.md is not kept."""
    signature, version, mode, settings, width, height, units_x, units_y, model, expected = FIXED.unpack_from(data)
    mask, at = ALL, FIXED.size
    if settings & MASKED:
        (mask,), at = struct.unpack_from("<H", data, at), at + 2
        assert 0 < mask < ALL
    stacked = isinstance(network, Program)
    assert (signature, version, mode) == (SIGNATURE, 0, _mode(network))
    assert settings in ({ONE_STREAM} if stacked else {learns + e for learns in (0, LEARNING) for e in (0, 2, 18)})
    assert model == network.identity[:8]
    boxes = [(slice(0, height), slice(0, width))] if stacked else _boxes(height, width, units_y, units_x)
    count = len(boxes)
    directory = struct.unpack_from(f"<{2 * count}I", data, at)
    lengths, crcs, own = directory[: count - 1], directory[count - 1 : -1], directory[-1]
    start = at + 8 * count
    assert own == zlib.crc32(data[: start - 4])
    planes = np.zeros((height, width, network.channels), np.uint8)
    for box, length, crc in zip(boxes, (*lengths, len(data) - start - sum(lengths)), crcs, strict=True):
        payload = data[start : start + length]
        start += length
        assert zlib.crc32(payload) == crc
        if stacked:
            sides = 16 * units_y, 16 * units_x
            planes[box] = reference_stacks.decode(payload, (1, *planes.shape), network, sides)[0]
        else:
            planes[box] = tile(payload, network, planes[box].shape, settings, mask)
    assert digest(planes[None], network) == expected
    return planes


def tile(
    payload: bytes,
    network: Network,
    shape: tuple[int, int, int],
    settings: int,
    mask: int = ALL,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Samples uint8[H, W, C] of a tile's words; one evaluation of the network serves a channel of a step.

    `known` are planes uint8[H, W, K] that it was coded with.
    """
    planes = np.zeros((*shape[:2], network.known + shape[2]), np.uint8)
    planes[:, :, : network.known] = 0 if known is None else known
    experts = Experts(*planes.shape, *network.experts, mask=mask, known=network.known)
    decoder = range_coder.Decoder(struct.unpack(f"<{len(payload) // 4}I", payload))
    for step, channel, y, x in _steps(shape):
        if settings & EXPERTS:
            own = (each[y, x, channel] for each in _sums(planes, network, settings))
            experts.code(network.known + channel, step, int(y[0]), *own, planes, Reader(decoder))
        else:
            counts = _counts(planes, network, settings)[0][y, x, channel]
            planes[y, x, network.known + channel] = [decoder.get(row) for row in counts.tolist()]
    decoder.finish()
    return planes[:, :, network.known :]
