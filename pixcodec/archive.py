r"""An archive of many images in one ``.pxc`` file, version 0: bytes <-> blocks, names, checksums (docs/format.md).

::

    offset  size  field, little endian; "number" is LEB128, see varint.py
    0       8     signature 89 50 58 43 0D 0A 1A 0A ("\x89PXC\r\n\x1a\n")
    8       1     version, 0
    9       1     255: an archive
    10      B     directory, behind its length as a number
    10+B    4     CRC-32 of everything before it
    14+B    ...   a payload for each block, in their order

    directory:  number of models, and of each model the id, first 8 bytes
                number of blocks, and of each block
                    mode 1, settings 1 (see container.py), then as numbers: model (0 is the first), width, height, tile
                    width, tile height (in units of 16 pixels), images, bytes of the payload; CRC-32 of the payload 4,
                    digest of the pixels 16
                the names of all images, in the order of the blocks, see names.py

A block is images of one size and mode, coded by one model. As in container.py, nothing in the header is believed before
its checksum, and no memory is reserved by a number that was not compared with the file's length or a limit below.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pixcodec import names as packed_names
from pixcodec.container import (
    ARCHIVE,
    CHANNELS,
    DIGEST_BYTES,
    MASK,
    MASKED,
    MODE_NAMES,
    MODEL_ID_BYTES,
    MODES,
    ORIGIN,
    PLAIN_MODES,
    SIGNATURE,
    TILE_UNIT,
    VERSION,
    check_beginning,
    check_geometry,
    is_archive,
    is_known,
)
from pixcodec.errors import ContainerError, DamagedTileError, UnsupportedImageError
from pixcodec.varint import Reader, varint

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_IMAGES = 2**21
MAX_BLOCKS = 2**16
MAX_BLOCK_SAMPLES = 2**28  # sub-pixels of a block's images together: they are decoded as one array
MAX_DIRECTORY_BYTES = 2**24

_BEGINNING = SIGNATURE + bytes([VERSION, ARCHIVE])
_U32 = struct.Struct("<I")


@dataclass(frozen=True)
class Block:
    """Images of one size and mode, coded by one model into one payload.

    Args:
        model_id: the first 8 bytes of the model's SHA-256.
        mode: "L", "RGB" or "1".
        settings: as of a file of one image, but that a payload has the streams of all tiles always.
        width: of each image, in pixels.
        height: of each image, in pixels.
        tile_width: in pixels, a multiple of 16; may exceed the images.
        tile_height: in pixels, a multiple of 16; may exceed the images.
        count: how many images.
        digest: `container.digest` of all of them.
        mask: of experts, as of a file of one image.
    """

    model_id: bytes
    mode: str
    settings: int
    width: int
    height: int
    tile_width: int
    tile_height: int
    count: int
    digest: bytes
    mask: int = 0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The images as an array: [N, H, W, C]."""
        return self.count, self.height, self.width, CHANNELS[self.mode]

    @property
    def samples(self) -> int:
        """Sub-pixels of all images."""
        return self.count * self.height * self.width * CHANNELS[self.mode]


@dataclass(frozen=True)
class Stored:
    """Where one block's payload should lie in the file, and what its bytes should be."""

    start: int
    stop: int
    crc: int

    def is_in(self, data: bytes) -> bool:
        """Whether the file has these bytes, as they were written."""
        return self.stop <= len(data) and zlib.crc32(memoryview(data)[self.start : self.stop]) == self.crc


@dataclass(frozen=True)
class Archive:
    """What a file says about its images before any of them is decoded: `names` in the order of the blocks."""

    blocks: tuple[Block, ...]
    stored: tuple[Stored, ...]
    names: tuple[str, ...]

    @cached_property
    def samples(self) -> int:
        """Sub-pixels of all images."""
        return sum(block.samples for block in self.blocks)


def pack(blocks: Sequence[Block], payloads: Sequence[bytes], names: Sequence[str]) -> bytes:
    """Return the file of blocks, their payloads, and the names of all images in the order of the blocks.

    Raises:
        UnsupportedImageError: unsafe names, or more or larger images than the format allows.
        ValueError: what is given contradicts itself; the caller is wrong.
    """
    if len(blocks) != len(payloads) or sum(block.count for block in blocks) != len(names):
        message = f"{len(blocks)} blocks do not fit {len(payloads)} payloads or {len(names)} names"
        raise ValueError(message)
    _check(blocks, UnsupportedImageError)
    packed_names.check(names, UnsupportedImageError)
    models = sorted({block.model_id for block in blocks})
    parts = [varint(len(models)), *models, varint(len(blocks))]
    for block, payload in zip(blocks, payloads, strict=True):
        if len(block.model_id) != MODEL_ID_BYTES or len(block.digest) != DIGEST_BYTES:
            message = f"expected {MODEL_ID_BYTES} bytes of model id and {DIGEST_BYTES} of digest"
            raise ValueError(message)
        if not _is_known(block.settings, block.mask):
            message = (
                f"expected settings that archives have, with a mask that fits, found {block.settings}, {block.mask}"
            )
            raise ValueError(message)
        if block.tile_width % TILE_UNIT or block.tile_height % TILE_UNIT:
            message = f"tile sides must be multiples of {TILE_UNIT}, not {block.tile_width}x{block.tile_height}"
            raise ValueError(message)
        tile = block.tile_width // TILE_UNIT, block.tile_height // TILE_UNIT
        numbers = (models.index(block.model_id), block.width, block.height, *tile, block.count, len(payload))
        parts += [
            bytes([MODES[block.mode], block.settings]),
            *map(varint, numbers),
            _U32.pack(zlib.crc32(payload)),
            block.digest,
            MASK.pack(block.mask) if block.settings & MASKED else b"",
        ]
    directory = b"".join([*parts, packed_names.pack(names)])
    if len(directory) > MAX_DIRECTORY_BYTES:
        message = f"the names and blocks take {len(directory)} bytes, more than {MAX_DIRECTORY_BYTES}; "
        raise UnsupportedImageError(message + "make several archives")
    head = _BEGINNING + varint(len(directory)) + directory
    return b"".join([head, _U32.pack(zlib.crc32(head)), *payloads])


def unpack(data: bytes) -> tuple[Archive, list[bytes]]:
    """Return the archive's header and every block's payload, all checksums verified.

    Raises:
        ContainerError: no archive, an unknown version, a damaged or hostile header, a cut file, or bytes too many.
        DamagedTileError: a block's bytes are not those that were written; ``tile`` says which block.
    """
    archive = read_header(data)
    end = archive.stored[-1].stop
    if len(data) != end:
        what = "is cut" if len(data) < end else "has bytes too many"
        message = f"the file {what}: its blocks should end at byte {end}, the file has {len(data)}; fetch it anew"
        raise ContainerError(message)
    for index, stored in enumerate(archive.stored):
        if not stored.is_in(data):
            message = f"block {index} of {len(archive.blocks)} is damaged: its checksum does not match its bytes; "
            raise DamagedTileError(message + "fetch the file anew", index)
    return archive, [data[stored.start : stored.stop] for stored in archive.stored]


def read_header(data: bytes) -> Archive:
    """Return the header alone; ``data`` may be the whole file or any beginning that holds the directory.

    Raises:
        ContainerError: no archive, an unknown version, or a header that is damaged, contradicts itself, has unsafe
            names or exceeds a limit.
    """
    check_beginning(data)
    if len(data) >= len(_BEGINNING) and not is_archive(data):
        message = "expected an archive of many images, found a file of one; read it as an image"
        raise ContainerError(message)
    reader = Reader(data, ContainerError, "the header")
    reader.take(len(_BEGINNING))
    size = reader.number()
    if size > MAX_DIRECTORY_BYTES:
        message = f"the header is damaged: {size} bytes of directory exceed {MAX_DIRECTORY_BYTES}; fetch the file anew"
        raise ContainerError(message)
    directory, end = reader.take(size), reader.position
    if zlib.crc32(memoryview(data)[:end]) != _U32.unpack(reader.take(_U32.size))[0]:
        message = "the header is damaged: its checksum does not match its bytes; fetch the file anew"
        raise ContainerError(message)
    return _read_directory(directory, reader.position)


def _is_known(settings: int, mask: int) -> bool:
    """Whether a block may have these settings with this mask; none has an origin."""
    return is_known(settings, mask) and not settings & ORIGIN


def _read_directory(directory: bytes, start: int) -> Archive:
    reader = Reader(directory, ContainerError, "the directory")
    models = [reader.take(MODEL_ID_BYTES) for _ in range(_count(reader, MODEL_ID_BYTES))]
    blocks, stored = [], []
    for _ in range(_count(reader, _U32.size + DIGEST_BYTES)):
        mode, settings = reader.take(2)
        model, width, height, tile_width, tile_height, count, length = (reader.number() for _ in range(7))
        (crc,), digest = _U32.unpack(reader.take(_U32.size)), reader.take(DIGEST_BYTES)
        (mask,) = MASK.unpack(reader.take(MASK.size)) if settings & MASKED else (0,)
        if MODE_NAMES.get(mode) not in PLAIN_MODES or not _is_known(settings, mask) or model >= len(models):
            message = f"mode {mode} with settings {settings} and model {model} of {len(models)} is unknown to this "
            message += "pixcodec; update pixcodec"
            raise ContainerError(message)
        sides = width, height, tile_width * TILE_UNIT, tile_height * TILE_UNIT
        blocks.append(Block(models[model], MODE_NAMES[mode], settings, *sides, count, digest, mask))
        stored.append(Stored(start, start + length, crc))
        start += length
    _check(blocks, ContainerError)
    names = packed_names.unpack(reader.take(reader.left), sum(block.count for block in blocks))
    return Archive(tuple(blocks), tuple(stored), tuple(names))


def _count(reader: Reader, least: int) -> int:
    """A number of things that take `least` bytes each, so that a loop over them ends where the data does."""
    count = reader.number()
    if count * least > reader.left:
        message = f"the directory is damaged: {count} entries do not fit {reader.left} bytes; fetch the file anew"
        raise ContainerError(message)
    return count


def _check(blocks: Sequence[Block], error: type[ContainerError | UnsupportedImageError]) -> None:
    images = sum(block.count for block in blocks)
    if not (0 < images <= MAX_IMAGES and len(blocks) <= MAX_BLOCKS and all(block.count for block in blocks)):
        message = f"expected 1 to {MAX_IMAGES} images in at most {MAX_BLOCKS} blocks with an image or more each, "
        raise error(message + f"found {images} in {len(blocks)}; make several archives")
    for block in blocks:
        check_geometry(block.width, block.height, block.tile_width, block.tile_height, error)
        if block.samples > MAX_BLOCK_SAMPLES:
            message = f"expected blocks of at most {MAX_BLOCK_SAMPLES} sub-pixels, found {block.count} images of "
            raise error(message + f"{block.width}x{block.height} {block.mode}; encode large images alone")
