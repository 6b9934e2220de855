"""A second coder of .pxc files, from docs/format.md and the slow reference alone: no container, kernels, constriction.

It takes the network's dataclass from `Network.build` and shares nothing else with the codec.  The decoder evaluates the
whole picture, as far as it is known, for each step and channel, so it is for pictures of a few pixels.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from pixcodec.exact.reference import codec, range_coder

if TYPE_CHECKING:
    from pathlib import Path

    from pixcodec.exact.network import Network

FIXED = struct.Struct("<8sBBBIIHH8s16s")
SIGNATURE = b"\x89PXC\r\n\x1a\n"
BYTES = {"I8": ("int8", 1), "I32": ("int32", 4), "F32": ("float32", 4)}


def identity(folder: Path) -> str:
    """The id of a model, in hex, from the bytes of its two files."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    deciding = {key: card[key] for key in ("channels", "network", "predictors")}
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


def _digest(planes: np.ndarray) -> bytes:
    height, width, channels = planes.shape
    return hashlib.blake2b(
        struct.pack("<BII", channels // 3, width, height) + planes.tobytes(), digest_size=16
    ).digest()


def encode(planes: np.ndarray, network: Network, units_y: int, units_x: int) -> bytes:
    """The file of planes uint8[H, W, C] with tiles of so many times 16 pixels."""
    height, width, channels = planes.shape
    tiles = [_tile_of(planes[box], network) for box in _boxes(height, width, units_y, units_x)]
    head = FIXED.pack(
        SIGNATURE, 0, channels // 3, 0, width, height, units_x, units_y, network.identity[:8], _digest(planes)
    )
    head += struct.pack(f"<{2 * len(tiles) - 1}I", *map(len, tiles[:-1]), *map(zlib.crc32, tiles))
    return head + struct.pack("<I", zlib.crc32(head)) + b"".join(tiles)


def _tile_of(planes: np.ndarray, network: Network) -> bytes:
    counts, encoder = codec.counts(network, planes), range_coder.Encoder()
    for place in codec.order(*planes.shape):
        encoder.put(counts[place].tolist(), int(planes[place]))
    words = encoder.words()
    return struct.pack(f"<{len(words)}I", *words)


def decode(data: bytes, network: Network) -> np.ndarray:
    """Planes uint8[H, W, C] of a sound file of this network's; an assertion fails where docs/format.md is not kept."""
    signature, version, mode, settings, width, height, units_x, units_y, model, digest = FIXED.unpack_from(data)
    assert (signature, version, settings) == (SIGNATURE, 0, 0)
    assert model == network.identity[:8]
    boxes = _boxes(height, width, units_y, units_x)
    count = len(boxes)
    directory = struct.unpack_from(f"<{2 * count}I", data, 47)
    lengths, crcs, own = directory[: count - 1], directory[count - 1 : -1], directory[-1]
    start = 47 + 8 * count
    assert own == zlib.crc32(data[: start - 4])
    planes = np.zeros((height, width, {0: 1, 1: 3}[mode]), np.uint8)
    for box, length, crc in zip(boxes, (*lengths, len(data) - start - sum(lengths)), crcs, strict=True):
        payload = data[start : start + length]
        start += length
        assert zlib.crc32(payload) == crc
        planes[box] = _tile(payload, network, planes[box].shape)
    assert _digest(planes) == digest
    return planes


def _tile(payload: bytes, network: Network, shape: tuple[int, int, int]) -> np.ndarray:
    planes, counts = np.zeros(shape, np.uint8), np.zeros(())
    decoder = range_coder.Decoder(struct.unpack(f"<{len(payload) // 4}I", payload))
    known = None
    for y, x, channel in codec.order(*shape):
        if (x + 2 * y, channel) != known:  # one evaluation serves a channel of a step
            known, counts = (x + 2 * y, channel), codec.counts(network, planes)
        planes[y, x, channel] = decoder.get(counts[y, x, channel].tolist())
    decoder.finish()
    return planes
