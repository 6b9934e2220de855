"""Images in and out: what is kept comes back exactly, what would not is refused by name."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixcodec import image
from pixcodec.container import Colours
from pixcodec.errors import ImageReadError, UnsupportedImageError

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = np.random.default_rng(9)
SAMPLES = {
    "RGB": RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8),
    "L": RANDOM.integers(0, 256, (5, 7, 1), dtype=np.uint8),
    "1": RANDOM.integers(0, 2, (5, 7, 1), dtype=np.uint8),
    "LA": RANDOM.integers(0, 256, (5, 7, 2), dtype=np.uint8),
    "RGBA": RANDOM.integers(0, 256, (5, 7, 4), dtype=np.uint8),
}
# Smooth, so that JPEG and WebP have something to predict.
RAMP = np.add.outer(np.arange(40), np.arange(3 * 30)).reshape(40, 30, 3).astype(np.uint8)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *more: tuple[bytes, bytes]) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", kind) for kind in ("PNG", "WEBP", "BMP", "TIFF", "PPM")]
    + [(mode, kind) for mode in ("L", "1") for kind in ("PNG", "BMP", "TIFF", "PPM")]  # WebP has no gray
    + [("LA", "PNG"), ("LA", "TIFF"), ("RGBA", "PNG"), ("RGBA", "TIFF"), ("RGBA", "WEBP")],
)
def test_what_is_written_is_read(mode: str, kind: str) -> None:
    stream = io.BytesIO()
    image.write(SAMPLES[mode], mode, stream, kind)
    picture = image.read(io.BytesIO(stream.getvalue()))
    assert picture.mode == mode
    assert np.array_equal(picture.planes, SAMPLES[mode])


@given(st.sampled_from(["RGB", "L", "1"]), st.integers(1, 19), st.integers(1, 9), st.randoms())
def test_planes_and_pil_images_are_the_same(mode: str, width: int, height: int, random) -> None:  # noqa: ANN001
    channels = len(mode)
    planes = np.frombuffer(random.randbytes(width * height * channels), np.uint8).reshape(height, width, channels)
    planes = planes >> 7 if mode == "1" else planes
    picture = image.from_pil(image.to_pil(planes, mode))
    assert (picture.mode, picture.planes.shape, picture.planes.dtype) == (mode, planes.shape, np.uint8)
    assert picture.planes.flags.c_contiguous
    assert np.array_equal(picture.planes, planes)
    assert picture.dropped == ()


def test_planes_keep_the_order_of_rows_columns_and_colours() -> None:
    picture = Image.new("RGB", (3, 2))
    picture.putpixel((2, 1), (10, 20, 30))
    assert image.from_pil(picture).planes[1, 2].tolist() == [10, 20, 30]


def test_a_bilevel_image_is_planes_of_0_and_1_and_stays_bilevel() -> None:
    picture = Image.new("1", (9, 2))
    picture.putpixel((8, 1), 255)
    planes = image.read(io.BytesIO(saved(picture, "PNG"))).planes
    assert (planes.shape, planes.sum(), planes[1, 8, 0]) == ((2, 9, 1), 1, 1)
    stream = io.BytesIO()
    image.write(planes, "1", stream, "PNG")
    assert stream.getvalue() == saved(picture, "PNG", **image.WRITE_FORMATS[".png"][1])
    assert Image.open(stream).mode == "1"


def test_a_path_is_read_like_a_stream(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved(Image.fromarray(RAMP), "PNG"))
    assert np.array_equal(image.read(tmp_path / "a.png").planes, RAMP)
    assert np.array_equal(image.read(str(tmp_path / "a.png")).planes, RAMP)


@pytest.mark.parametrize("mode", ["PA", "RGBX", "RGBa", "CMYK", "YCbCr", "LAB", "HSV", "I", "F", "I;16"])
def test_every_other_mode_is_refused_by_name(mode: str) -> None:
    with pytest.raises(UnsupportedImageError, match=f"mode {mode} is not kept"):
        image.from_pil(Image.new(mode, (2, 2)))


@pytest.mark.parametrize(("mode", "kind"), [("CMYK", "JPEG"), ("CMYK", "TIFF"), ("LAB", "TIFF"), ("F", "TIFF")])
def test_files_of_other_modes_are_refused_by_name(mode: str, kind: str) -> None:
    with pytest.raises(UnsupportedImageError, match=f"mode {mode} is not kept"):
        image.read(io.BytesIO(saved(Image.new(mode, (2, 2)), kind)))


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_a_png_with_16_bit_channels_is_refused(colour: int, channels: int) -> None:
    rows = (b"\0" + RANDOM.bytes(4 * 2 * channels)) * 3
    with pytest.raises(UnsupportedImageError, match="16-bit"):
        image.read(io.BytesIO(png(4, 3, 16, colour, rows)))


def test_an_open_png_with_16_bit_channels_is_refused() -> None:
    with (
        Image.open(io.BytesIO(png(4, 3, 16, 2, (b"\0" + bytes(24)) * 3))) as picture,
        pytest.raises(UnsupportedImageError, match="16-bit"),
    ):
        image.from_pil(picture)


def test_a_tiff_with_16_bit_channels_is_refused() -> None:
    deep = bytearray(saved(Image.fromarray(RAMP), "TIFF"))
    at = deep.index(struct.pack("<HHH", 8, 8, 8))
    deep[at : at + 6] = struct.pack("<HHH", 16, 16, 16)
    with pytest.raises(UnsupportedImageError, match="16-bit"):
        image.read(io.BytesIO(bytes(deep)))


@pytest.mark.parametrize("largest", [100, 65535])
def test_a_ppm_whose_values_pillow_would_rescale_is_refused(largest: int) -> None:
    samples = bytes(6 if largest < 256 else 12)
    with pytest.raises(UnsupportedImageError, match=f"largest value {largest}"):
        image.read(io.BytesIO(b"P6 2 1 %d\n" % largest + samples))


@pytest.mark.parametrize(
    ("bits", "colour", "rows", "transparency", "kept"),
    [
        (8, 2, b"\0abcdef" * 2, b"\0a\0b\0c", b"\0a\0b\0c"),
        (8, 0, b"\0ab" * 2, b"\0b", b"\0b"),
        (2, 0, b"\0\xb0" * 2, b"\0\2", b"\0\xaa"),  # Pillow makes 170 of the sample, not of the transparent one
        (1, 0, b"\0\x80" * 2, b"\0\1", b"\0\1"),
        (8, 3, b"\0\0\2" * 2, b"\x10\xff\x20", b"\x10\xff\x20"),
        (8, 3, b"\0\0\2" * 2, b"\xff\0\xff", b"\xff\0"),  # what is left out is opaque
        (1, 3, b"\0\x80" * 2, b"\0", b"\0"),
    ],
)
def test_palette_and_transparency_are_kept_as_png_has_them(
    bits: int, colour: int, rows: bytes, transparency: bytes, kept: bytes
) -> None:
    palette = bytes(range(9)) if colour == 3 else b""
    more = [(b"PLTE", palette)] if palette else []
    picture = image.read(io.BytesIO(png(2, 2, bits, colour, rows, *more, (b"tRNS", transparency))))
    assert picture.colours == Colours(palette, kept)
    stream = io.BytesIO()
    image.write(picture.planes, picture.mode, stream, "PNG", picture.colours)
    again = image.read(io.BytesIO(stream.getvalue()))
    assert (again.mode, again.colours) == (picture.mode, picture.colours)
    assert np.array_equal(again.planes, picture.planes)
    with pytest.raises(UnsupportedImageError, match="TIFF does not keep"):
        image.write(picture.planes, picture.mode, io.BytesIO(), "TIFF", picture.colours)
    with pytest.raises(UnsupportedImageError, match="is not kept here"):
        picture.plain()


def test_a_palette_with_alpha_is_a_palette_and_transparency() -> None:
    picture = Image.fromarray(np.dstack([RAMP[:4], RAMP[:4, :, :1]]), "RGBA").quantize(6)
    kept = image.from_pil(picture)
    assert (kept.mode, len(kept.colours.palette), len(kept.colours.transparency)) == ("P", 18, 6)
    restored = image.to_pil(kept.planes, "P", kept.colours)
    assert restored.convert("RGBA").tobytes() == picture.convert("RGBA").tobytes()


def test_a_transparency_that_png_cannot_have_is_refused() -> None:
    picture = Image.fromarray(RAMP)
    picture.info["transparency"] = 3
    with pytest.raises(UnsupportedImageError, match="found 3"):
        image.from_pil(picture)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_several_pictures_in_one_file_are_refused(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), (shade, 0, 0)) for shade in (0, 200, 90)]
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(UnsupportedImageError, match="3 pictures"):
        image.read(io.BytesIO(data))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM"])
def test_a_cut_file_is_an_error_or_the_whole_picture(kind: str) -> None:
    data = saved(Image.fromarray(RAMP), kind, **({"lossless": True} if kind == "WEBP" else {}))
    whole = image.read(io.BytesIO(data)).planes
    errors = 0
    for length in range(len(data)):
        try:
            planes = image.read(io.BytesIO(data[:length])).planes
        except (ImageReadError, UnsupportedImageError):  # a PPM cut in "255" says that its largest value is 2
            errors += 1
        else:
            assert np.array_equal(planes, whole), f"cut at {length} of {len(data)}"
    assert errors > 0.9 * len(data)


def test_a_flipped_bit_in_a_png_never_gives_other_pixels() -> None:
    data = saved(Image.fromarray(RAMP), "PNG")
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1
        with pytest.raises(ImageReadError):
            image.read(io.BytesIO(bytes(damaged)))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", bytes(1000)])
def test_what_is_no_image_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ImageReadError):
        image.read(io.BytesIO(data))


@given(
    st.binary(max_size=60), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"P6 ", b"GIF89a", b"RIFF"])
)
def test_arbitrary_bytes_give_our_errors(junk: bytes, beginning: bytes) -> None:
    with pytest.raises((ImageReadError, UnsupportedImageError)):
        image.read(io.BytesIO(beginning + junk))


def test_a_missing_file_is_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ImageReadError, match="No such file"):
        image.read(tmp_path / "none.png")
    with pytest.raises(ImageReadError, match="directory"):
        image.read(tmp_path)


def test_a_picture_over_the_limit_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(UnsupportedImageError, match="65536x65536"):
        image.read(io.BytesIO(png(2**16, 2**16, 8, 2, b"")))


def test_pillows_own_limit_neither_warns_nor_stays_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image.read(io.BytesIO(saved(Image.fromarray(RAMP), "PNG"))).planes.shape == (40, 30, 3)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_metadata_that_is_not_kept_is_named() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(RAMP), "JPEG", exif=exif, icc_profile=b"profile", comment=b"hello", dpi=(72, 72))
    dropped = image.read(io.BytesIO(data)).dropped
    assert {"ICC profile", "EXIF", "comment", "resolution"} <= set(dropped)
    assert any("orientation 6" in name for name in dropped)
    assert image.read(io.BytesIO(saved(Image.fromarray(RAMP), "PNG"))).dropped == ()


def test_png_text_is_named_among_what_is_not_kept() -> None:
    data = png(2, 2, 8, 2, (b"\0" + bytes(6)) * 2, (b"tEXt", b"Author\0someone"))
    assert image.read(io.BytesIO(data)).dropped == ("text",)


def test_a_format_that_loses_pixels_is_not_written() -> None:
    with pytest.raises(UnsupportedImageError, match="JPEG does not keep"):
        image.write(RAMP, "RGB", io.BytesIO(), "JPEG")


def test_a_picture_too_wide_for_webp_is_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="WEBP cannot hold"):
        image.write(np.zeros((1, 20000, 3), np.uint8), "RGB", io.BytesIO(), "WEBP")


def test_photoshop_s_resources_are_metadata_too() -> None:
    made = io.BytesIO()
    Image.new("RGB", (9, 7), (10, 20, 30)).save(made, "JPEG")
    resource = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + (4).to_bytes(4, "big") + b"text"
    segment = b"\xff\xed" + (2 + len(resource)).to_bytes(2, "big") + resource
    data = made.getvalue()
    picture = image.read(io.BytesIO(data[:2] + segment + data[2:]))
    assert "IPTC" in picture.dropped
    assert image.read(io.BytesIO(data)).dropped == ()
