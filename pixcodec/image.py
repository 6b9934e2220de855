"""Image files and PIL images <-> planes of samples; whatever would not come back exactly is refused by name."""

from __future__ import annotations

import io
import threading
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from pixcodec.container import CHANNELS, MAX_PIXELS, NO_COLOURS, PLAIN_MODES, Colours
from pixcodec.errors import ImageReadError, UnsupportedImageError

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import NDArray

READ_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
# Formats that give back the pixels they are given, by suffix, with the options that make them do so.
WRITE_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {"compress_level": 3}),  # half the time of 6, the default; photographs smaller, drawings 5 % larger
    ".webp": ("WEBP", {"lossless": True, "exact": True}),
    ".bmp": ("BMP", {}),
    ".tif": ("TIFF", {}),
    ".tiff": ("TIFF", {}),
    ".ppm": ("PPM", {}),
    ".pgm": ("PPM", {}),
    ".pbm": ("PPM", {}),
}
# What formats keep beside RGB, L and 1; of WebP, gray comes back as three equal channels.
_MORE_MODES = {"PNG": ("P", "LA", "RGBA"), "TIFF": ("LA", "RGBA"), "WEBP": ("RGBA",)}
_SAMPLE_STEPS = {"L;2": 85, "L;4": 17}  # raw modes whose samples Pillow multiplies, but not their transparent one
_SUFFIX_OF = {"PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "TIFF": ".tif", "PPM": ".ppm"}
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112
# Keys of Image.info that carry something a viewer or a person may miss, and what we call it.
_METADATA = {
    "icc_profile": "ICC profile",
    "xmp": "XMP",
    "XML:com.adobe.xmp": "XMP",
    "comment": "comment",
    "photoshop": "IPTC",
    "gamma": "gamma",
    "chromaticity": "chromaticities",
    "srgb": "sRGB intent",
    "dpi": "resolution",
}
_pillow_globals = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """The samples of one image.

    Args:
        planes: uint8[H, W, C], C-contiguous, C as in `container.CHANNELS`; 0 and 1 (white) for mode "1", indices into
            the palette for "P"; alpha is the last channel.
        mode: of `container.MODES`.
        dropped: metadata that the source has and ``.pxc`` does not keep yet, by name.
        colours: palette and transparency.
        jpeg: the file that the planes were decoded from, if it is a JPEG.
    """

    planes: NDArray[np.uint8]
    mode: str
    dropped: tuple[str, ...] = ()
    colours: Colours = NO_COLOURS
    jpeg: bytes = b""

    def plain(self) -> NDArray[np.uint8]:
        """The planes, where they and one of `PLAIN_MODES` say everything.

        Raises:
            UnsupportedImageError: they do not.
        """
        if self.mode not in PLAIN_MODES or self.colours:
            what = f"mode {self.mode}" if self.mode not in PLAIN_MODES else "a transparent colour (tRNS)"
            message = f"{what} is not kept here in this version; expected an opaque image of mode "
            raise UnsupportedImageError(message + f"{', '.join(PLAIN_MODES)}, encode it alone or convert it")
        return self.planes


def read(source: str | PathLike[str] | IO[bytes]) -> Picture:
    """Read an image file.

    Args:
        source: a path or a binary stream, read to its end.

    Raises:
        ImageReadError: not there, not an image, damaged or cut.
        UnsupportedImageError: an image of a kind that would not come back exactly.
    """
    try:
        data = Path(source).read_bytes() if not hasattr(source, "read") else source.read()
    except OSError as error:
        message = f"cannot be read ({error.strerror or error})"
        raise ImageReadError(message) from error
    if not data:
        message = "expected an image, found no bytes at all"
        raise ImageReadError(message)
    if data.startswith(_PNG_SIGNATURE):
        _check_png(data)
    with _open(data) as image:
        picture = from_pil(image)
    return replace(picture, jpeg=data) if data.startswith(_JPEG_SIGNATURE) else picture


def pixels_of(source: str | PathLike[str]) -> int:
    """How many pixels an image file says that it has, without decoding it; 0 where it is none."""
    try:
        with Path(source).open("rb") as stream, _open(stream) as image:
            return image.width * image.height
    except (OSError, ImageReadError):
        return 0


def from_pil(image: Image.Image) -> Picture:
    """Take the samples of an open PIL image.

    Raises:
        ImageReadError: the file behind it is damaged or cut.
        UnsupportedImageError: an image of a kind that would not come back exactly.
    """
    if image.width < 1 or image.height < 1 or image.width * image.height > MAX_PIXELS:
        message = f"expected an image of 1 to {MAX_PIXELS} pixels, found {image.width}x{image.height}"
        raise UnsupportedImageError(message)
    # Before anything is loaded: once it is, Pillow no longer says that it reduced the samples.
    _refuse_reduced(image)
    if image.mode not in CHANNELS:
        message = f"mode {image.mode} is not kept in this version; expected one of {', '.join(CHANNELS)}, convert it"
        raise UnsupportedImageError(message)
    step = _sample_step(image)
    try:
        frames = getattr(image, "n_frames", 1)
        image.load()
    # Pillow's decoders raise nearly anything on damaged files, struct.error and SyntaxError among others.
    except Exception as error:
        message = f"the image is damaged or cut ({str(error).strip() or type(error).__name__})"
        raise ImageReadError(message) from error
    if frames > 1:
        message = f"{frames} pictures in one file are not kept in this version; expected one, extract them first"
        raise UnsupportedImageError(message)
    planes = np.array(image, dtype=np.uint8, order="C").reshape(image.height, image.width, CHANNELS[image.mode])
    return Picture(planes, image.mode, _metadata(image), _colours(image, step))


def _sample_step(image: Image.Image) -> int:
    """What Pillow multiplies the samples of a gray file with few bits by; must be asked before it is loaded."""
    arguments = [tile[3] for tile in getattr(image, "tile", ())]
    return _SAMPLE_STEPS.get(arguments[0], 1) if arguments and isinstance(arguments[0], str) else 1


def _colours(image: Image.Image, step: int) -> Colours:
    """Palette and transparency of a loaded image."""
    transparent = image.info.get("transparency")
    palette = b""
    if image.mode == "P":
        palette = bytes(image.getpalette("RGB") or [])[:768]
        if transparent is None and image.palette is not None and image.palette.mode == "RGBA":
            transparent = bytes((image.getpalette("RGBA") or [])[3::4])
        if isinstance(transparent, int):
            transparent = b"\xff" * transparent + b"\0"
    elif image.mode == "1" and transparent is not None:
        transparent = _shorts(min(transparent, 1))
    elif image.mode in {"L", "RGB"} and transparent is not None:
        numbers = transparent if isinstance(transparent, tuple) else (transparent * step,)
        transparent = _shorts(*numbers)
    colours = Colours(palette, transparent if isinstance(transparent, bytes) else b"")
    if not colours.fits(image.mode):
        message = f"expected a transparency as PNG has it, found {image.info.get('transparency')!r}; remove it"
        raise UnsupportedImageError(message)
    return colours


def _shorts(*numbers: int) -> bytes:
    return b"".join(int(number & 0xFFFF).to_bytes(2, "big") for number in numbers)


def to_pil(planes: NDArray[np.uint8], mode: str, colours: Colours = NO_COLOURS) -> Image.Image:
    """Return the PIL image of planes uint8[H, W, C]."""
    height, width, channels = planes.shape
    samples = np.packbits(planes[:, :, 0], axis=1) if mode == "1" else planes
    image = Image.frombytes(mode, (width, height), samples.tobytes())
    if mode == "P":
        image.putpalette(colours.palette)
    if colours.transparency:
        numbers = [int.from_bytes(colours.transparency[at : at + 2], "big") for at in range(0, 2 * channels, 2)]
        alphas = colours.transparency
        if mode == "P":  # one transparent colour is a number in Pillow
            image.info["transparency"] = len(alphas) - 1 if alphas == b"\xff" * (len(alphas) - 1) + b"\0" else alphas
        else:
            image.info["transparency"] = tuple(numbers) if mode == "RGB" else numbers[0]
    return image


def write(
    planes: NDArray[np.uint8],
    mode: str,
    target: IO[bytes],
    format: str = "PNG",  # noqa: A002
    colours: Colours = NO_COLOURS,
) -> None:
    """Write planes to a binary stream in a format that keeps every pixel: PNG, WEBP, BMP, TIFF or PPM.

    Raises:
        UnsupportedImageError: the format is none of these, or cannot hold an image of this size or mode.
    """
    if format not in _SUFFIX_OF:
        message = f"{format} does not keep every pixel; expected one of {', '.join(_SUFFIX_OF)}"
        raise UnsupportedImageError(message)
    if mode not in (*PLAIN_MODES, *_MORE_MODES.get(format, ())) or (colours.transparency and format != "PNG"):
        what = "a transparent colour" if mode in PLAIN_MODES else f"mode {mode}"
        message = f"{format} does not keep {what}; choose .png"
        raise UnsupportedImageError(message)
    options = WRITE_FORMATS[_SUFFIX_OF[format]][1]
    try:
        to_pil(planes, mode, colours).save(target, format, **options)
    except (ValueError, OverflowError) as error:
        message = f"{format} cannot hold this image ({str(error).strip()}); choose .png"
        raise UnsupportedImageError(message) from error


def _check_png(data: bytes) -> None:
    """Check what Pillow does not: 16-bit samples, every critical chunk's checksum, and that the file has an end."""
    position = len(_PNG_SIGNATURE)
    while True:
        length, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        stop = position + 8 + length
        if len(name) < 4 or stop + 4 > len(data):
            message = f"the PNG is cut: it ends after {len(data)} bytes without its IEND chunk"
            raise ImageReadError(message)
        # Lower case marks ancillary chunks, whose damage does not touch the pixels.
        if name[:1].isupper() and zlib.crc32(data[position + 4 : stop]) != int.from_bytes(data[stop : stop + 4], "big"):
            message = f"the PNG is damaged: the checksum of a {name.decode('latin-1')!r} chunk is wrong"
            raise ImageReadError(message)
        if name == b"IHDR" and data[position + 16 : position + 17] == b"\x10":
            message = "a PNG with 16-bit channels is not kept in this version; expected 8 bits a channel, convert it"
            raise UnsupportedImageError(message)
        if name == b"IEND":
            return
        position = stop + 4


def _refuse_reduced(image: Image.Image) -> None:
    """Refuse files whose samples Pillow would rescale to 8 bits without a word.

    The raw mode says so: "RGB;16B" in a PNG, "RGB;16L" in a TIFF, and for PPM the largest value beside it.
    """
    for tile in getattr(image, "tile", ()):
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        for argument in arguments:
            if isinstance(argument, str) and ";16" in argument and image.format != "BMP":
                message = f"a {image.format} with 16-bit channels is not kept in this version; convert it to 8 bits"
                raise UnsupportedImageError(message)
        if tile[0] in {"ppm", "ppm_plain"} and arguments[-1] != 255 and image.mode != "1":
            message = f"a PPM with the largest value {arguments[-1]} is not kept in this version; expected 255"
            raise UnsupportedImageError(message)


def _metadata(image: Image.Image) -> tuple[str, ...]:
    # Some are numbers that may be 0, IPTC's resources are a dictionary.
    names = [name for key, name in _METADATA.items() if all(image.info.get(key) != none for none in (None, b"", ""))]
    if getattr(image, "text", None):
        names.append("text")
    try:
        with _pillow_globals, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A TIFF's EXIF holds its layout too, so that it is never empty.
            exif = image.getexif() if "exif" in image.info else {}
        if exif:
            names.append("EXIF")
            if exif.get(_ORIENTATION, 1) != 1:
                names.append(f"orientation {exif[_ORIENTATION]} (viewers turned the picture by it)")
    # Damaged EXIF must not stop an image whose pixels are sound.
    except Exception:  # noqa: BLE001
        names.append("EXIF")
    return tuple(dict.fromkeys(names))


def _open(data: bytes | IO[bytes]) -> Image.Image:
    # Pillow's decompression-bomb limit is lower than ours and a warning; ours is checked in `from_pil`, before
    # anything is loaded. The limit is a global of Pillow, hence the lock.
    with _pillow_globals, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=READ_FORMATS)
        except UnidentifiedImageError as error:
            message = f"expected an image ({', '.join(READ_FORMATS)}), found something else or a damaged beginning"
            raise ImageReadError(message) from error
        except Exception as error:
            message = f"the image is damaged or cut ({str(error).strip() or type(error).__name__})"
            raise ImageReadError(message) from error
        finally:
            Image.MAX_IMAGE_PIXELS = before
