"""Experts of repetition are left out of large pictures that hardly repeat themselves, and only of these."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixcodec import archive, archive_codec, codec, container, models
from pixcodec.expert_names import ALL, REPETITION, names_of
from pixcodec.repeats import share_of_repeats

GOLDEN = Path(__file__).parent / "golden"
RANDOM = np.random.default_rng(3)
NOISE = RANDOM.integers(0, 256, (260, 256, 3)).astype(np.uint8)
TILED = np.tile(NOISE[:64, :64], (5, 4, 1))[:260]
SIDES = (2048, 2048)


@pytest.fixture
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.ENVIRONMENT, str(GOLDEN))


def defined(image: np.ndarray, height: int, width: int) -> float:
    """The share, pixel by pixel."""
    seen = repeated = 0
    for top in range(0, image.shape[0], height):
        for left in range(0, image.shape[1], width):
            tile, known = image[top : top + height, left : left + width].tolist(), set()
            for y in range(1, len(tile)):
                for x in range(1, len(tile[0]) - 1):
                    near = str((tile[y][x - 1], tile[y - 1][x - 1 : x + 2]))
                    seen, repeated = seen + 1, repeated + (near in known)
                    known.add(near)
    return repeated / seen


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("sides", [(48, 32), (16, 16), (2048, 2048)])
def test_the_share_is_that_of_its_definition(channels: int, sides: tuple[int, int]) -> None:
    image = np.repeat(RANDOM.integers(0, 2, (37, 45, 1)).astype(np.uint8) * 90, channels, axis=2)
    image[:, 20:] = RANDOM.integers(0, 250, (37, 25, channels))
    assert 0.05 < defined(image, *sides) < 0.6
    assert share_of_repeats(image[None], sides) == pytest.approx(defined(image, *sides), abs=1e-12)


def test_shares_of_noise_and_of_what_is_repeated() -> None:
    assert share_of_repeats(NOISE[None], SIDES) == 0
    assert share_of_repeats(TILED[None], SIDES) > 0.9
    assert share_of_repeats(np.stack([NOISE, NOISE]), SIDES) == 0.5
    assert share_of_repeats(np.zeros((1, 1, 9, 3), np.uint8), SIDES) == 1  # nobody has four neighbours


def experts_of(planes: np.ndarray, model: str = "model_tiny_rgb", **options: int) -> int:
    made = codec.encode(planes, "RGB", model=model, **options).data
    header = container.read_header(made)
    np.testing.assert_array_equal(codec.decode(made).planes, planes)
    return header.experts


@pytest.mark.usefixtures("tiny_models")
def test_they_are_left_out_of_a_large_picture_without_repetition() -> None:
    others = ALL & ~REPETITION
    assert names_of(REPETITION) == "neighbourhood,match"
    smooth = np.clip(NOISE // 8 + np.arange(256, dtype=np.uint8)[None, :, None] // 2, 0, 255).astype(np.uint8)
    assert share_of_repeats(smooth[None], SIDES) < codec.REPEATED
    assert experts_of(smooth) == others
    assert experts_of(smooth, effort=4) == others
    assert experts_of(smooth, experts=ALL) == ALL
    assert experts_of(smooth, experts=REPETITION) == REPETITION
    assert experts_of(smooth, effort=1) == 0
    assert experts_of(smooth[:200]) == ALL  # it takes no time
    assert experts_of(TILED) == ALL


@pytest.mark.usefixtures("tiny_models")
def test_and_out_of_an_archive() -> None:
    smooth = NOISE[:250] // 8
    images = [archive_codec.NamedImage(str(k), part, "RGB") for k, part in enumerate([smooth[:130], smooth[120:]])]
    small = [archive_codec.NamedImage("small", TILED[:130, :128], "RGB")]
    data = archive_codec.encode(images + small, model="model_tiny_rgb").data
    masks = [container.experts_of(block.settings, block.mask) for block in archive.read_header(data).blocks]
    assert masks == [ALL & ~REPETITION, ALL]
    for image, decoded in zip(images + small, archive_codec.decode(data), strict=True):
        np.testing.assert_array_equal(decoded.planes, image.planes)
