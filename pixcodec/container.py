r"""The ``.pxc`` file, version 0: bytes <-> header, tiles, checksums. No torch, no numba (docs/format.md).

::

    offset size            field, little endian
    0      8               signature 89 50 58 43 0D 0A 1A 0A ("\x89PXC\r\n\x1a\n")
    8      1               version, 0
    9      1               mode: 0 = L, 1 = RGB, 2 = 1, 3 = P, 4 = LA, 5 = RGBA; 255 is an archive, see archive.py
    10     1               settings: bit 0 = one stream, 1 = experts, 2 = heads that learn, 3 = origin, 4 = mask
    11     4               width in pixels
    15     4               height in pixels
    19     2               tile width in units of 16 pixels
    21     2               tile height in units of 16 pixels
    23     8               model id, first 8 bytes
    31     16              digest of the decoded pixels
    47     4 (n - 1)       length of every tile but the last, whose length is the rest of the file
    43+4n  4 n             CRC-32 of each tile's bytes
    43+8n  4               CRC-32 of everything before it
    47+8n  ...             the tiles, in raster order

n is the number of tiles, and 1 in a file of one stream, whose only payload has all of them. One tile costs 55 bytes
over its payload. With a mask of experts its two bytes are at 47, and all after it lies so much later. With an origin a
record follows, behind its length as LEB128; n is 1, and the payload has the streams of all tiles of all groups of
planes (docs/format.md, section 12; what the record says is the business of `origins`). A reader MUST check the header
before it believes a number in it, and MUST NOT reserve memory by a number it has not compared with the file's length.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pixcodec.errors import ContainerError, DamagedTileError, UnsupportedImageError
from pixcodec.expert_names import ALL
from pixcodec.varint import Reader, varint

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

SIGNATURE = b"\x89PXC\r\n\x1a\n"
VERSION = 0
MODES = {"L": 0, "RGB": 1, "1": 2, "P": 3, "LA": 4, "RGBA": 5}
CHANNELS = {"L": 1, "RGB": 3, "1": 1, "P": 1, "LA": 2, "RGBA": 4}
LEVELS = {"L": 256, "RGB": 256, "1": 2, "P": 256, "LA": 256, "RGBA": 256}
PLAIN_MODES = ("L", "RGB", "1")  # that one model codes whole, without a record
ARCHIVE = 255  # in the place of the mode: many images under one header
# Bits of the settings. One stream goes with none but an origin, a mask only with experts.
ONE_STREAM, EXPERTS, LEARNING = 1, 2, 4
ORIGIN = 8  # there is a record, of what the picture was made from
MASKED = 16  # there is a mask, of the experts that take part
TILE_UNIT = 16
MAX_TILE_UNITS = 2**16 - 1
MAX_PIXELS = 2**31
MODEL_ID_BYTES = 8
DIGEST_BYTES = 16

_FIXED = struct.Struct(f"<8sBBBIIHH{MODEL_ID_BYTES}s{DIGEST_BYTES}s")
_SETTINGS_AT = 10
_U32, MASK = struct.Struct("<I"), struct.Struct("<H")
_MAX_U32 = 2**32 - 1
MODE_NAMES = {code: name for name, code in MODES.items()}


@dataclass(frozen=True)
class Colours:
    """What samples mean beside their mode: the contents of a PNG's PLTE and tRNS chunks.

    Args:
        palette: of mode "P", three bytes for each of at most 256 colours.
        transparency: none; of mode "P" the alphas of the first colours; of "RGB" three, of "L" and "1" one number of
            two bytes, big endian: the samples of the pixels that are transparent.
    """

    palette: bytes = b""
    transparency: bytes = b""

    def fits(self, mode: str) -> bool:
        """Whether a picture of the mode can have these."""
        length = len(self.transparency)
        if mode == "P":
            return len(self.palette) % 3 == 0 and len(self.palette) <= 768 and length <= 256
        return not self.palette and length in {"RGB": (0, 6), "L": (0, 2), "1": (0, 2)}.get(mode, (0,))

    def __bool__(self) -> bool:
        """Whether there is anything beside the mode."""
        return bool(self.palette or self.transparency)


NO_COLOURS = Colours()


@dataclass(frozen=True)
class Header:
    """What a file says about its image before any tile is read.

    Args:
        width: image width in pixels.
        height: image height in pixels.
        mode: of `MODES`: 8 bits a channel, or "1", one bit.
        model_id: the first 8 bytes of the model's SHA-256.
        settings: 0; `ONE_STREAM`: one payload holds the symbols of all tiles; `EXPERTS`, `LEARNING` or both: experts,
            and the network's heads, learn while a tile is coded; `MASKED`: there is a mask; `ORIGIN`: a record.
        tile_width: in pixels, a multiple of 16; the last tile of a row may be narrower. May exceed the image.
        tile_height: in pixels, a multiple of 16; the last row of tiles may be lower.
        digest: of the decoded pixels, see `digest`.
        record: of `origins`, empty without an origin.
        mask: with `MASKED` which experts take part, see `expert_names`, neither all nor none; else 0.
    """

    width: int
    height: int
    mode: str
    model_id: bytes
    settings: int
    tile_width: int
    tile_height: int
    digest: bytes
    record: bytes = b""
    mask: int = 0

    @property
    def channels(self) -> int:
        """Planes an image of this mode has: 1 to 4."""
        return CHANNELS[self.mode]

    @property
    def columns(self) -> int:
        """Tiles side by side."""
        return -(-self.width // self.tile_width)

    @property
    def rows(self) -> int:
        """Tiles one above the other."""
        return -(-self.height // self.tile_height)

    @property
    def tile_count(self) -> int:
        """Tiles of the image."""
        return self.columns * self.rows

    @property
    def one_stream(self) -> bool:
        """Whether one payload holds the symbols of all tiles."""
        return bool(self.settings & ONE_STREAM)

    @property
    def experts(self) -> int:
        """The mask of the experts that learn while a tile is coded, 0 for none."""
        return experts_of(self.settings, self.mask)

    @property
    def learning(self) -> bool:
        """Whether the network's heads learn while a tile is coded."""
        return bool(self.settings & LEARNING)

    @property
    def has_origin(self) -> bool:
        """Whether there is a record."""
        return bool(self.settings & ORIGIN)

    @property
    def payload_count(self) -> int:
        """Payloads in the file: one a tile, or one for all."""
        return 1 if self.one_stream or self.has_origin else self.tile_count

    def tile_box(self, index: int) -> tuple[int, int, int, int]:
        """Return (left, top, right, bottom) of a tile in pixels; ``planes[top:bottom, left:right]`` are its samples."""
        row, column = divmod(index, self.columns)
        left, top = column * self.tile_width, row * self.tile_height
        return left, top, min(left + self.tile_width, self.width), min(top + self.tile_height, self.height)


@dataclass(frozen=True)
class Tile:
    """Where one payload lies in the file and whether its bytes are what was written."""

    start: int
    stop: int
    crc: int
    sound: bool


def experts_of(settings: int, mask: int) -> int:
    """The experts that take part by a file's settings and, where it has one, its mask."""
    return mask if settings & MASKED else ALL if settings & EXPERTS else 0


def settings_of(experts: int) -> tuple[int, int]:
    """Inverse of `experts_of`: settings and mask; `ValueError` where there is no such expert."""
    if not 0 <= experts <= ALL:
        raise ValueError(f"expected a mask of experts of 0 to {ALL}, found {experts}")
    return (EXPERTS | MASKED, experts) if 0 < experts < ALL else (EXPERTS if experts else 0, 0)


def is_known(settings: int, mask: int) -> bool:
    """Whether a file of this version may have these settings with this mask."""
    learners = settings & ~ORIGIN
    if learners & ONE_STREAM or learners & ~(EXPERTS | LEARNING | MASKED):
        return learners == ONE_STREAM and mask == 0
    return (bool(learners & EXPERTS) and 0 < mask < ALL) if learners & MASKED else mask == 0


def digest(planes: NDArray[np.uint8], mode: str, colours: Colours = NO_COLOURS) -> bytes:
    """Return the 16 byte BLAKE2b of (mode u8, width u32, height u32, samples, palette, transparency).

    Args:
        planes: uint8[H, W, C], or several images of one size, uint8[N, H, W, C].
        mode: theirs.
        colours: theirs.
    """
    from hashlib import blake2b

    height, width, _ = planes.shape[-3:]
    state = blake2b(struct.pack("<BII", MODES[mode], width, height), digest_size=DIGEST_BYTES)
    state.update((planes if planes.flags.c_contiguous else planes.copy(order="C")).data)
    if mode == "P":  # where the palette ends must not be in doubt
        state.update(varint(len(colours.palette) // 3))
    state.update(colours.palette + colours.transparency)
    return state.digest()


def pack(header: Header, tiles: Sequence[bytes]) -> bytes:
    """Return the file of a header and its payloads: of the tiles in raster order, or the only one.

    Raises:
        UnsupportedImageError: the image or a tile is larger than the format can say.
        ValueError: the header contradicts itself or the number of tiles; the caller is wrong, not the file.
    """
    check_geometry(header.width, header.height, header.tile_width, header.tile_height, UnsupportedImageError)
    if len(header.model_id) != MODEL_ID_BYTES or len(header.digest) != DIGEST_BYTES:
        message = f"expected {MODEL_ID_BYTES} bytes of model id and {DIGEST_BYTES} of digest"
        raise ValueError(message)
    if header.tile_width % TILE_UNIT or header.tile_height % TILE_UNIT:
        message = f"tile sides must be multiples of {TILE_UNIT}, not {header.tile_width}x{header.tile_height}"
        raise ValueError(message)
    if not is_known(header.settings, header.mask) or bool(header.record) != header.has_origin:
        message = "expected settings that this version knows, with the mask and the record that they speak of, "
        message += f"found {header.settings}, {header.mask} and {len(header.record)} bytes"
        raise ValueError(message)
    if len(tiles) != header.payload_count:
        message = f"expected {header.payload_count} payloads, found {len(tiles)}"
        raise ValueError(message)
    if max(map(len, tiles)) > _MAX_U32:
        message = f"a tile's payload exceeds {_MAX_U32} bytes; use smaller tiles"
        raise UnsupportedImageError(message)
    parts = [
        _FIXED.pack(
            SIGNATURE,
            VERSION,
            MODES[header.mode],
            header.settings,
            header.width,
            header.height,
            header.tile_width // TILE_UNIT,
            header.tile_height // TILE_UNIT,
            header.model_id,
            header.digest,
        ),
        MASK.pack(header.mask) if header.settings & MASKED else b"",
        varint(len(header.record)) + header.record if header.has_origin else b"",
    ]
    parts += [_U32.pack(len(tile)) for tile in tiles[:-1]]
    parts += [_U32.pack(zlib.crc32(tile)) for tile in tiles]
    head = b"".join(parts)
    return b"".join([head, _U32.pack(zlib.crc32(head)), *tiles])


def unpack(data: bytes) -> tuple[Header, list[bytes]]:
    """Return the header and every tile's payload, all checksums verified.

    Raises:
        ContainerError: no ``.pxc``, an unknown version, a damaged header, or a file cut before its last tile.
        DamagedTileError: a tile's bytes are not those that were written; ``tile`` says which.
    """
    header, tiles = inspect(data)
    for index, tile in enumerate(tiles):
        if tile.stop > len(data):
            message = (
                f"the file is cut: tile {index} should end at byte {tile.stop}, the file has {len(data)}; fetch it anew"
            )
            raise ContainerError(message)
        if not tile.sound:
            message = (
                f"tile {index} of {len(tiles)} is damaged: its checksum does not match its bytes; fetch the file anew"
            )
            raise DamagedTileError(message, index)
    return header, [bytes(data[tile.start : tile.stop]) for tile in tiles]


def inspect(data: bytes) -> tuple[Header, list[Tile]]:
    """Return the header and the place and state of every tile, also of a file whose tiles are damaged or cut.

    Raises:
        ContainerError: the header cannot be believed.
    """
    header = read_header(data)
    count = header.payload_count
    begin = _optional_fields(data)[2]
    end = begin + 4 * (2 * count - 1)
    lengths = _U32.iter_unpack(data[begin : begin + 4 * (count - 1)])
    crcs = _U32.iter_unpack(data[begin + 4 * (count - 1) : end])
    tiles = []
    start = end + 4
    view = memoryview(data)
    for index, (crc,) in enumerate(crcs):
        stop = start + next(lengths)[0] if index < count - 1 else max(len(data), start)
        tiles.append(Tile(start, stop, crc, stop <= len(data) and zlib.crc32(view[start:stop]) == crc))
        start = stop
    return header, tiles


def read_header(data: bytes) -> Header:
    """Return the header alone; ``data`` may be the whole file or any beginning that holds the tile directory.

    Raises:
        ContainerError: no ``.pxc``, an unknown version, or a header whose checksum or numbers are wrong.
    """
    check_beginning(data)
    if is_archive(data):
        message = "expected a file of one image, found an archive of many; read it as an archive"
        raise ContainerError(message)
    if len(data) < _FIXED.size:
        message = f"the file is cut: a header has {_FIXED.size} bytes, the file {len(data)}; fetch it anew"
        raise ContainerError(message)
    _, _, mode, settings, width, height, units_x, units_y, model_id, pixels = _FIXED.unpack_from(data)
    check_geometry(width, height, units_x * TILE_UNIT, units_y * TILE_UNIT, ContainerError)
    header = Header(
        width, height, MODE_NAMES.get(mode, "L"), model_id, settings, units_x * TILE_UNIT, units_y * TILE_UNIT, pixels
    )
    mask, record, begin = _optional_fields(data)
    end = begin + 4 * (2 * header.payload_count - 1)
    if len(data) < end + 4:
        message = (
            f"the file is cut or its header damaged: {header.payload_count} tiles need a header of {end + 4} bytes, "
        )
        raise ContainerError(message + f"the file has {len(data)}; fetch it anew")
    if zlib.crc32(memoryview(data)[:end]) != _U32.unpack_from(data, end)[0]:
        message = "the header is damaged: its checksum does not match its bytes; fetch the file anew"
        raise ContainerError(message)
    if mode not in MODE_NAMES or not is_known(settings, mask):
        shown = f"settings {settings}" + (f" and experts {mask}" if settings & MASKED else "")
        message = f"mode {mode} with {shown} is unknown to this pixcodec; update pixcodec"
        raise ContainerError(message)
    if header.mode not in PLAIN_MODES and not header.has_origin:
        message = f"a picture of mode {header.mode} must have a record, found settings {settings}; fetch the file anew"
        raise ContainerError(message)
    return replace(header, record=record, mask=mask)


def _optional_fields(data: bytes) -> tuple[int, bytes, int]:
    """Mask and record of a header of at least the fixed size, where it has them, and where the directory begins."""
    reader, settings = Reader(data, ContainerError, "the header"), data[_SETTINGS_AT]
    reader.position = _FIXED.size
    mask = MASK.unpack(reader.take(MASK.size))[0] if settings & MASKED else 0
    record = bytes(reader.take(reader.number())) if settings & ORIGIN else b""
    return mask, record, reader.position


def join(streams: Sequence[bytes]) -> bytes:
    """Return the payload of several streams: each behind its length as LEB128."""
    return b"".join(part for stream in streams for part in (varint(len(stream)), stream))


def split(payload: bytes) -> list[bytes]:
    """Return the streams of a payload; `DamagedTileError` if the last one is cut."""
    reader, streams = Reader(payload, DamagedTileError, "the payload"), []
    while reader.left:
        streams.append(reader.take(reader.number()))
    return streams


def is_archive(data: bytes) -> bool:
    """Tell whether the bytes begin as those of an archive of this version do."""
    return data[: len(SIGNATURE) + 2] == SIGNATURE + bytes([VERSION, ARCHIVE])


def check_beginning(data: bytes) -> None:
    """Raise `ContainerError` unless the signature is there and the version, where there is one, is ours."""
    if data[: len(SIGNATURE)] != SIGNATURE:
        raise ContainerError(_wrong_signature(data))
    for version in data[len(SIGNATURE) : len(SIGNATURE) + 1]:
        if version != VERSION:
            message = (
                f"version {version} of the format is unknown to this pixcodec (it reads {VERSION}); update pixcodec"
            )
            raise ContainerError(message)


def _wrong_signature(data: bytes) -> str:
    if not data:
        return "expected a .pxc file, found no bytes at all"
    if SIGNATURE.startswith(data):
        return f"the file is cut: it ends after {len(data)} bytes, inside the signature; fetch it anew"
    if data[1:4] == SIGNATURE[1:4]:
        # PNG's trick: the signature holds a byte above 127 and both line ends, which a text-mode transfer changes.
        return "the signature is damaged, as by a transfer in text mode; copy the file again as binary"
    return "expected a .pxc file, found something else (the signature is not there)"


def check_geometry(
    width: int, height: int, tile_width: int, tile_height: int, error: type[ContainerError | UnsupportedImageError]
) -> None:
    """Raise `error` unless the format can say an image of this size in tiles of this size, all in pixels."""
    if not (width > 0 and height > 0 and width * height <= MAX_PIXELS):
        message = f"expected an image of 1 to {MAX_PIXELS} pixels, found {width}x{height}"
        raise error(message)
    limit = MAX_TILE_UNITS * TILE_UNIT
    if not (0 < tile_width <= limit and 0 < tile_height <= limit):
        message = f"expected tiles of {TILE_UNIT} to {limit} pixels a side, found {tile_width}x{tile_height}"
        raise error(message)
