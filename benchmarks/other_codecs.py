"""The codecs that pixcodec is compared with, each verified by decoding what it wrote."""

from __future__ import annotations

import io
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, features

from pixcodec import codec, image
from pixcodec.container import CHANNELS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Encode = Callable[[NDArray[np.uint8], str], bytes]
    Decode = Callable[[bytes, str], NDArray[np.uint8]]


@dataclass(frozen=True)
class Measured:
    """One codec on one picture; bits_per_dim are bits per sub-pixel of the whole file."""

    bytes: int
    bits_per_dim: float
    encode_seconds: float
    decode_seconds: float

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


class NotLosslessError(Exception):
    """A codec gave back other pixels than it was given."""


@dataclass(frozen=True)
class Codec:
    """A codec: bytes of planes, and planes uint8[H, W, C] of bytes."""

    name: str
    encode: Encode
    decode: Decode

    def measure(self, planes: NDArray[np.uint8], mode: str) -> Measured:
        """Encode, decode, compare.

        Raises:
            NotLosslessError: other pixels came back.
        """
        start = time.perf_counter()
        data = self.encode(planes, mode)
        middle = time.perf_counter()
        decoded = self.decode(data, mode)
        end = time.perf_counter()
        if not np.array_equal(decoded, planes):
            message = f"{self.name} gives other pixels back"
            raise NotLosslessError(message)
        return Measured(len(data), 8 * len(data) / planes.size, middle - start, end - middle)


def ours(name: str, threads: int | None = None, **options: Any) -> Codec:  # noqa: ANN401
    """Return pixcodec with these options of `codec.encode` as a codec like the others."""

    def encode(planes: NDArray[np.uint8], mode: str) -> bytes:
        return codec.encode(planes, mode, threads=threads, **options).data

    def decode(data: bytes, _: str) -> NDArray[np.uint8]:
        return codec.decode(data, threads=threads).planes

    return Codec(name, encode, decode)


def available() -> tuple[list[Codec], list[str]]:
    """Return the codecs that are installed here, and one line for each that is left out."""
    codecs, left_out = [Codec("PNG", partial(_pillow, "PNG", optimize=True), _unpillow)], []
    if features.check("webp"):
        # exact: colours under full transparency; without it, Pillow would still be lossless for opaque pixels.
        codecs.append(Codec("WebP", partial(_pillow, "WEBP", lossless=True, quality=100, method=6), _unpillow))
    else:
        left_out.append("WebP is left out: this Pillow was built without it")
    try:
        from imagecodecs import JPEGXL, jpegxl_decode, jpegxl_encode
    except ImportError:
        left_out.append("JPEG XL is left out: pip install 'pixcodec[bench]' brings imagecodecs")
        return codecs, left_out
    if not JPEGXL.available:
        left_out.append("JPEG XL is left out: this imagecodecs was built without it")
        return codecs, left_out

    def encode(planes: NDArray[np.uint8], _: str, *, effort: int) -> bytes:
        samples = planes if planes.shape[2] > 1 else planes[:, :, 0]
        return bytes(jpegxl_encode(np.ascontiguousarray(samples), lossless=True, effort=effort))

    def decode(data: bytes, _: str) -> NDArray[np.uint8]:
        decoded: NDArray[np.uint8] = jpegxl_decode(data)
        return decoded.reshape(*decoded.shape[:2], -1)

    codecs += [Codec(f"JXL {effort}", partial(encode, effort=effort), decode) for effort in (7, 9)]
    return codecs, left_out


def _pillow(kind: str, planes: NDArray[np.uint8], mode: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.to_pil(planes, mode).save(stream, kind, **options)
    return stream.getvalue()


def _unpillow(data: bytes, mode: str) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as opened:
        # WebP has no gray: it comes back as RGB with three equal channels. Nor has it an alpha that is opaque.
        samples = np.asarray(opened.convert(mode) if mode == "RGBA" else opened)
    return samples.reshape(*samples.shape[:2], -1)[:, :, : CHANNELS[mode]]
