"""Chroma under clipped pixels: found where they say enough, possible where not, and always a chroma."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pixcodec.origins import hidden
from pixcodec.origins.kernels import UNKNOWN
from pixcodec.origins.photo_cd import PhotoCD
from pixcodec.origins.ycbcr import YCbCr

if TYPE_CHECKING:
    from pixcodec.origins.luma_chroma import LumaChroma

FORMS = [
    PhotoCD(0, (2, 2), (0, 0), replicated=False),
    PhotoCD(0, (2, 2), (1, 1), replicated=False),
    YCbCr(1, (2, 2), (0, 0), replicated=True),
    YCbCr(1, (1, 2), (0, 1), replicated=False),
    YCbCr(4, (1, 1), (0, 0), replicated=True),
]


def made(form: LumaChroma, height: int, width: int, bright: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A smooth picture with noise, so bright that much of it clips, and its groups."""
    draw = np.random.default_rng(bright)
    groups = []
    for shape, (middle, spread) in zip(
        form.shapes((height, width, 3)), ((128, 15), (150, 15), (bright, 25)), strict=True
    ):
        coarse = draw.normal(size=(shape[0] // 8 + 2, shape[1] // 8 + 2))
        rows, columns = (np.arange(length) / 8 for length in shape[:2])
        coarse = np.stack([np.interp(columns, np.arange(coarse.shape[1]), line) for line in coarse])
        smooth = np.stack([np.interp(rows, np.arange(coarse.shape[0]), line) for line in coarse.T], axis=1)
        plane = middle + spread * smooth + draw.normal(size=shape[:2])
        groups.append(np.clip(np.rint(plane), 0, 255).astype(np.uint8)[:, :, None])
    return form.render(groups, (height, width, 3)), groups


def revealed(form: LumaChroma, pixels: np.ndarray, c1: np.ndarray, c2: np.ndarray) -> int:
    """Find what is unknown; how many pixels then have no luma."""
    tables = form.CONVERSIONS[form.conversion].tables
    hidden.reveal(pixels, tables, form._layout, c1, c2)
    return int(hidden.without_luma(pixels, tables, form._layout, c1, c2, np.empty(pixels.shape[:2], np.bool_)))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.name}-{form.factors}-{form.phases}")
@pytest.mark.parametrize("bright", [100, 150, 180])
def test_what_clipping_hides_is_found_or_something_that_renders_alike(form: LumaChroma, bright: int) -> None:
    pixels, groups = made(form, 64, 96, bright)
    found = form.recover(pixels)
    assert found is not None
    recovered, planes = found
    assert recovered == form
    clipped = ((pixels == 0) | (pixels == 255)).any(axis=2)
    wrong = (recovered.render(planes, pixels.shape) != pixels).any(axis=2)
    assert wrong.sum() <= 0.01 * clipped.sum()
    right = (planes[0] == groups[0]) & (planes[1] == groups[1])
    assert 1 - right.mean() <= 0.7 * clipped.mean()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.name}-{form.factors}-{form.phases}")
def test_of_pixels_that_say_nothing_the_chroma_is_that_of_the_known_samples(form: LumaChroma) -> None:
    shape = form.shapes((12, 16, 3))[0]
    c1, c2 = np.full(shape[:2], UNKNOWN, np.int64), np.full(shape[:2], UNKNOWN, np.int64)
    c1[1, 2], c2[1, 2] = 140, 120
    white = np.full((12, 16, 3), 255, np.uint8)
    revealed(form, white, c1, c2)
    assert c1.min() == c1.max() == 140
    assert c2.min() == c2.max() == 120


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.name}-{form.factors}-{form.phases}")
def test_noise_leaves_exceptions_and_no_sample_without_a_value(form: LumaChroma) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (14, 18, 3), np.uint8)
    pixels[pixels > 128] = 255
    shape = form.shapes(pixels.shape)[0]
    c1, c2 = np.full(shape[:2], UNKNOWN, np.int64), np.full(shape[:2], UNKNOWN, np.int64)
    c1[0, 0] = c2[0, 0] = 128
    assert revealed(form, pixels, c1, c2) > 0
    assert min(c1.min(), c2.min()) >= 0
    assert max(c1.max(), c2.max()) <= 255
    assert c1[0, 0] == c2[0, 0] == 128


def test_annealing_mends_samples_that_are_off_and_tells_which_pixels_are_left() -> None:
    form = FORMS[0]
    pixels, groups = made(form, 64, 96, 215)
    c1, c2 = (group[:, :, 0].astype(np.int64) for group in groups[:2])
    tables = form.CONVERSIONS[0].tables
    clipped = ((pixels == 0) | (pixels == 255)).any(axis=2)
    free = clipped[::2, ::2].copy()
    off = free & (np.random.default_rng(1).random(free.shape) < 0.05)
    c1[off] = np.clip(c1[off] + 3, 0, 255)
    wrong = np.empty(clipped.shape, np.bool_)
    before = hidden.without_luma(pixels, tables, form._layout, c1, c2, wrong)
    kept = c1[~free].copy()
    hidden.anneal(pixels, tables, form._layout, free, wrong, hidden._odds(), c1, c2)
    again = np.empty_like(wrong)
    after = hidden.without_luma(pixels, tables, form._layout, c1, c2, again)
    assert after < before / 4
    assert np.array_equal(wrong, again)
    assert np.array_equal(c1[~free], kept)


def test_forgetting_leaves_what_was_seen() -> None:
    form, seen = FORMS[0], np.zeros((8, 8), np.bool_)
    seen[:, :4] = True
    wrong = np.zeros((16, 16), np.bool_)
    wrong[7, 7] = True
    known = np.ones_like(seen)
    hidden.forget(wrong, form._layout, 1, ~seen, known)
    assert np.array_equal(np.argwhere(~known), [[3, 4], [4, 4]])
