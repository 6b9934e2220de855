"""Coefficients of JPEG blocks: what comes back, the same words as by the definition, and what they cost."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixcodec import jpeg_file
from pixcodec.errors import DamagedTileError
from pixcodec.exact import coefficients
from pixcodec.exact.reference import coefficients as reference

Components = list[np.ndarray]
KINDS = ("picture", "noise", "extreme", "flat", "one", "sparse")


def tables(kind: str, count: int) -> Components:
    """Steps of one or three components."""
    if kind == "extreme":
        return [np.full(64, step, np.uint16) for step in (65535, 1, 255)[:count]]
    return [(np.arange(64) // 2 + 3 * k + 1).astype(np.uint16) for k in range(count)]


def blocks(kind: str, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """int16[By, Bx, 64]."""
    random = np.random.default_rng([seed, *shape])
    if kind == "noise":
        return random.integers(-2048, 2048, (*shape, 64)).astype(np.int16)
    if kind == "extreme":
        return random.choice(np.array([-2048, 0, 2047], np.int16), (*shape, 64))
    if kind == "flat":
        return np.zeros((*shape, 64), np.int16)
    if kind == "one":
        return np.full((*shape, 64), -1, np.int16)
    if kind == "sparse":
        return (random.integers(-3, 4, (*shape, 64)) * (random.random((*shape, 64)) < 0.03)).astype(np.int16)
    widths = 60 / (1 + np.add.outer(np.arange(8), np.arange(8)).ravel()) ** 1.5
    drawn = random.laplace(0, widths, (*shape, 64))
    drawn[..., 0] += 300 * np.sin(np.add.outer(np.arange(shape[0]), np.arange(shape[1])) / 4)
    return np.rint(drawn).clip(-2048, 2047).astype(np.int16)


def file(quality: int, subsampling: int, size: tuple[int, int] = (128, 96)) -> tuple[bytes, jpeg_file.JpegFile]:
    """A JPEG file of curves, shades and noise, and what it holds."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[: size[1], : size[0]]
    shade = np.where((x - 50) ** 2 + (y - 40) ** 2 < 900, 170, 60 + x / 2)
    planes = np.stack([shade + 12 * k * np.sin(y / 9 + k) + random.normal(0, 4, x.shape) for k in range(3)], -1)
    out = io.BytesIO()
    picture = Image.fromarray(planes.clip(0, 255).astype(np.uint8))
    picture.save(out, "JPEG", quality=quality, subsampling=subsampling, optimize=True)
    found = jpeg_file.read(out.getvalue())
    assert found is not None
    return out.getvalue(), found


def assert_same(found: Components, expected: Components) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == np.int16
        assert np.array_equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shapes", [[(1, 1)], [(3, 2)], [(2, 2)] * 3, [(2, 3), (1, 2), (1, 2)], [(1, 3), (1, 2), (1, 3)]]
)
def test_compiled_and_by_definition_the_same_words(kind: str, shapes: list[tuple[int, int]]) -> None:
    components = [blocks(kind, shape, seed) for seed, shape in enumerate(shapes)]
    steps = tables(kind, len(shapes))
    payload = coefficients.encode(components, steps)
    words = np.array(reference.encode(components, steps), "<u4").tobytes()
    assert payload == words
    assert_same(coefficients.decode(payload, shapes, steps), components)


def test_the_definition_decodes() -> None:
    components, steps = [blocks("picture", (2, 3)), *[blocks("sparse", (1, 2))] * 2], tables("picture", 3)
    shapes = [(2, 3), (1, 2), (1, 2)]
    words = reference.encode(components, steps)
    assert_same(reference.decode(words, shapes, steps), components)


def test_the_same_words_of_a_real_file() -> None:
    _, found = file(85, 2, (64, 48))
    words = np.array(reference.encode(found.components, found.tables), "<u4").tobytes()
    assert coefficients.encode(found.components, found.tables) == words


@pytest.mark.parametrize(("quality", "subsampling"), [(50, 2), (90, 2), (90, 0), (98, 0)])
def test_a_file_comes_back_in_less_than_it_took(quality: int, subsampling: int) -> None:
    data, found = file(quality, subsampling, (512, 384))
    payload = coefficients.encode(found.components, found.tables)
    shapes = [component.shape[:2] for component in found.components]
    assert_same(coefficients.decode(payload, shapes, found.tables), found.components)
    assert len(payload) < 0.95 * (len(data) - data.index(b"\xff\xda"))


def test_flat_blocks_cost_next_to_nothing() -> None:
    flat = [np.zeros((200, 300, 64), np.int16)]
    payload = coefficients.encode(flat, tables("flat", 1))
    assert len(payload) < 120
    assert_same(coefficients.decode(payload, [(200, 300)], tables("flat", 1)), flat)


SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 4))


@given(st.sampled_from(KINDS), st.lists(SHAPES, min_size=1, max_size=3), st.integers(0, 99))
@settings(max_examples=40)
def test_any_blocks_come_back(kind: str, shapes: list[tuple[int, int]], seed: int) -> None:
    shapes = shapes if len(shapes) == 3 else shapes[:1]
    components = [blocks(kind, shape, seed) for shape in shapes]
    steps = tables(kind, len(shapes))
    assert_same(coefficients.decode(coefficients.encode(components, steps), shapes, steps), components)


@given(st.data())
@settings(max_examples=60)
def test_damage_gives_its_error_or_other_coefficients(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    shapes = [(4, 5), (2, 3), (2, 3)]
    components, steps = [blocks(kind, shape) for shape in shapes], tables(kind, 3)
    payload = bytearray(coefficients.encode(components, steps))
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1)):
        payload[place % len(payload)] ^= value
    cut = data.draw(st.integers(0, len(payload)))
    for damaged in (bytes(payload), bytes(payload[:cut]), bytes(payload) + b"\1\2\3\4"):
        try:
            found = coefficients.decode(damaged, shapes, steps)
        except DamagedTileError:
            continue
        assert [component.shape for component in found] == [(*shape, 64) for shape in shapes]
        assert all(component.min() >= -2048 and component.max() <= 2047 for component in found)


@given(st.binary(max_size=400))
@settings(max_examples=40)
def test_any_bytes_give_its_error_or_coefficients(payload: bytes) -> None:
    shapes, steps = [(6, 6), (3, 3), (3, 3)], tables("picture", 3)
    try:
        found = coefficients.decode(payload, shapes, steps)
    except DamagedTileError:
        return
    assert all(component.min() >= -2048 and component.max() <= 2047 for component in found)


def test_words_that_are_left_over_are_refused() -> None:
    components, steps = [blocks("picture", (3, 3))], tables("picture", 1)
    payload = coefficients.encode(components, steps)
    with pytest.raises(DamagedTileError, match="more words"):
        coefficients.decode(payload + bytes(12), [(3, 3)], steps)


def test_a_huge_shape_of_a_small_payload_takes_no_memory() -> None:
    with pytest.raises(DamagedTileError, match="cannot hold"):
        coefficients.decode(bytes(40), [(60_000, 60_000)], tables("flat", 1))


def test_no_block_is_cheaper_than_the_limit_says() -> None:
    flat = [np.zeros((400, 500, 64), np.int16)] * 3
    size = len(coefficients.encode(flat, tables("flat", 3)))
    assert coefficients.MAX_BLOCKS_PER_BYTE * size > 600_000


@pytest.mark.parametrize(
    ("components", "steps", "message"),
    [
        ([blocks("flat", (1, 1))] * 2, tables("flat", 3)[:2], "1 or 3"),
        ([blocks("flat", (1, 1))], tables("flat", 3), "a table each"),
        ([blocks("flat", (1, 1)).astype(np.int32)], tables("flat", 1), "int16"),
        ([blocks("flat", (1, 1))[..., :63]], tables("flat", 1), "64"),
        ([blocks("flat", (1, 1)) + np.int16(2048)], tables("flat", 1), "-2048..2047"),
        ([blocks("flat", (1, 1)) - np.int16(2049)], tables("flat", 1), "-2048..2047"),
        ([blocks("flat", (0, 1))], tables("flat", 1), "1 at least"),
        ([blocks("flat", (1, 1))], [np.zeros(64, np.uint16)], "above 0"),
        ([blocks("flat", (1, 1))], [np.ones(64, np.int64)], "uint16"),
    ],
)
def test_what_is_no_component_is_refused(components: Any, steps: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coefficients.encode(components, steps)
