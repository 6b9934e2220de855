"""Coefficients of JPEG files: those that Pillow's encoder made, in every kind of file, and nothing of damaged ones."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixcodec import jpeg_file

WIDTH, HEIGHT = 77, 45
LUMINANCE = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62 "
    "18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99"
)


def _picture(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Waves and noise: coefficients everywhere, and empty blocks in a corner."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: size[1], : size[0]]
    planes = np.stack([128 + 90 * np.sin(x / (5 + k) + y * y / 300) + rng.normal(0, 9, x.shape) for k in range(3)], -1)
    planes[: size[1] // 3, : size[0] // 3] = 90
    return Image.fromarray(planes.clip(0, 255).astype(np.uint8)).convert(mode)


def _file(picture: Image.Image, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", **options)
    return out.getvalue()


def _read(data: bytes) -> jpeg_file.JpegFile:
    found = jpeg_file.read(data)
    assert found is not None
    return found


def _same(a: jpeg_file.JpegFile, b: jpeg_file.JpegFile) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.components, b.components, strict=True))


def _dct(plane: np.ndarray) -> np.ndarray:
    """float[By, Bx, 64] of a plane whose sides are multiples of 8."""
    k = np.arange(8)
    basis = np.sqrt(np.where(k == 0, 1, 2) / 8)[:, None] * np.cos(np.pi * (2 * k + 1) * k[:, None] / 16)
    blocks = plane.reshape(plane.shape[0] // 8, 8, -1, 8).transpose(0, 2, 1, 3) - 128
    return np.einsum("vy,abyx,ux->abvu", basis, blocks, basis).reshape(*blocks.shape[:2], 64)


@pytest.mark.parametrize("quality", [50, 90, 100])
def test_coefficients_are_the_transformed_gray_pixels(quality: int) -> None:
    picture = _picture("L", (80, 48))
    found = _read(_file(picture, quality=quality))
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = np.array([max((int(n) * scale + 50) // 100, 1) for n in LUMINANCE.split()])
    assert found.tables[0].tolist() == steps.tolist()
    assert (found.width, found.height, found.transform, found.factors) == (80, 48, "gray", [(1, 1)])
    away = found.components[0] * steps - _dct(np.asarray(picture, np.float64))
    assert (np.abs(away) <= steps / 2 + 0.5).all()


def test_coefficients_are_the_transformed_luma_and_chroma() -> None:
    picture = _picture("RGB", (80, 48))
    found = _read(_file(picture, quality=90, subsampling=0))
    assert found.transform == "ycbcr"
    to_ycbcr = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
    planes = np.moveaxis(np.asarray(picture, np.float64) @ to_ycbcr.T + [0, 128, 128], -1, 0)
    for component, steps, plane in zip(found.components, found.tables, planes, strict=True):
        away = np.abs(component * steps.astype(np.int64) - _dct(plane))
        assert (away <= steps / 2 + 4).all()  # colours are rounded to whole numbers first
        assert away.mean() < steps.mean() / 3


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True},
        {"optimize": True},
        {"restart_marker_blocks": 3},
        {"restart_marker_rows": 1, "progressive": True},
    ],
)
def test_every_kind_of_file_holds_the_same_coefficients(mode: str, subsampling: int, options: dict[str, Any]) -> None:
    picture, common = _picture(mode), {"quality": 93, "subsampling": subsampling}
    plain, other = _read(_file(picture, **common)), _read(_file(picture, **common, **options))
    assert _same(plain, other)
    across, down = ((1, 1), (2, 1), (2, 2))[subsampling if mode == "RGB" else 0]
    shapes = [(6, 10)] + [(-(-HEIGHT // down) + 7 >> 3, -(-WIDTH // across) + 7 >> 3)] * (len(plain.components) - 1)
    assert [component.shape[:2] for component in plain.components] == shapes
    assert plain.factors == [(across, down)] + [(1, 1)] * (len(shapes) - 1)
    assert any(np.count_nonzero(component) for component in plain.components)


def test_tables_of_16_bits_are_read() -> None:
    plain = _file(_picture())
    at = plain.index(b"\xff\xdb")
    steps = plain[at + 5 : at + 69]
    wide = b"\xff\xdb\0\x83\x10" + b"".join(bytes([step, 1]) for step in steps)
    found = _read(plain[:at] + wide + plain[at + 69 :])
    zigzag = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5]
    assert found.tables[0][zigzag].tolist() == [256 * step + 1 for step in steps[:16]]
    assert _same(found, _read(plain))


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 17), (16, 16)])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_small_pictures(size: tuple[int, int], subsampling: int) -> None:
    picture = _picture("RGB", size)
    plain = _read(_file(picture, subsampling=subsampling))
    assert _same(plain, _read(_file(picture, subsampling=subsampling, progressive=True)))
    assert (plain.width, plain.height) == size


def test_the_colour_transform_is_libjpegs_choice() -> None:
    plain = _file(_picture(), subsampling=0)
    jfif = plain.index(b"JFIF\0")
    unmarked = plain[:2] + plain[jfif - 4 + 18 :]
    frame = unmarked.index(b"\xff\xc0")
    scan = unmarked.index(b"\xff\xda")

    def named(names: bytes, data: bytes = unmarked) -> bytes:
        changed = bytearray(data)
        for k in range(3):
            changed[frame + 10 + 3 * k] = changed[scan + 5 + 2 * k] = names[k]
        return bytes(changed)

    def adobe(transform: int, data: bytes = unmarked) -> bytes:
        return data[:2] + b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform]) + data[2:]

    expected = {
        plain: "ycbcr",
        unmarked: "ycbcr",
        named(b"RGB"): "rgb",
        named(b"xyz"): "ycbcr",
        adobe(0): "rgb",
        adobe(1): "ycbcr",
        adobe(1, named(b"RGB")): "ycbcr",
        adobe(0, plain): "ycbcr",
    }
    for data, transform in expected.items():
        assert _read(data).transform == transform
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int64)
        as_ycbcr = np.asarray(Image.open(io.BytesIO(plain)).convert("RGB"), np.int64)
        assert np.array_equal(pixels, as_ycbcr) == (transform == "ycbcr")
    assert _read(_file(_picture(), keep_rgb=True)).transform == "rgb"


def test_what_is_not_read_gives_none() -> None:
    plain = _file(_picture())
    frame = plain.index(b"\xff\xc0")
    for code in (0xC3, 0xC5, 0xC9, 0xCA, 0xCD):
        assert jpeg_file.read(plain[: frame + 1] + bytes([code]) + plain[frame + 2 :]) is None
    assert jpeg_file.read(plain[: frame + 4] + b"\x0c" + plain[frame + 5 :]) is None  # 12 bits
    assert jpeg_file.read(plain[: frame + 11] + b"\x41" + plain[frame + 12 :]) is None  # 4:1:1
    assert jpeg_file.read(_file(_picture("CMYK"))) is None
    assert jpeg_file.read(b"") is None
    assert jpeg_file.read(b"\x89PNG\r\n\x1a\n") is None


@pytest.mark.parametrize("progressive", [False, True])
def test_a_file_that_is_cut_gives_none(progressive: bool) -> None:  # noqa: FBT001
    data = _file(_picture(), progressive=progressive, restart_marker_blocks=4)
    assert all(jpeg_file.read(data[:size]) is None for size in range(len(data)))


def test_a_huge_frame_of_a_small_file_takes_no_memory() -> None:
    plain = bytearray(_file(_picture()))
    frame = plain.index(b"\xff\xc0")
    plain[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    assert jpeg_file.read(bytes(plain)) is None


_SOUND = [_file(_picture(), progressive=progressive, restart_marker_blocks=9) for progressive in (False, True)]


@given(
    st.sampled_from(_SOUND), st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=4)
)
def test_damage_gives_none_or_coefficients(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(data)] = value
    found = jpeg_file.read(bytes(damaged))
    if found is not None:
        for component in found.components:
            assert component.dtype == np.int16
            assert component.min() >= -2048
            assert component.max() <= 2047
