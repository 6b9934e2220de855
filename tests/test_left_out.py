"""Nothing to be learned, nothing lost: what costs more than it saves is left out of the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixcodec import archive, archive_codec, codec, container, models, tiles
from pixcodec.exact import learn
from pixcodec.expert_names import ALL

GOLDEN = Path(__file__).parent / "golden"
SHIPPED = Path(__file__).parent.parent / "models"
LEARNING = "model_tiny_learning"
LOST = 0.001  # of the smallest of the four files
WORD = 4

needs_models = pytest.mark.skipif(not (SHIPPED / "photo").is_dir(), reason="no shipped model in this checkout")


@pytest.fixture
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.ENVIRONMENT, str(GOLDEN))


def of_each_choice(planes: np.ndarray, model: str) -> dict[int, int]:
    """Bytes by settings: everything, no experts, heads that do not learn, neither."""
    found = {}
    for effort in (7, 4):
        for mask in (ALL, 0):
            made = codec.encode(planes, "RGB", model=model, experts=mask, effort=effort)
            found[made.data[10]] = len(made.data)
    assert sorted(found) == [0, 2, 4, 6]
    return found


def camera_noise(planes: np.ndarray) -> np.ndarray:
    """With a sensor's noise, more of it where there is more light."""
    grain = np.random.default_rng(1).normal(0, 1, planes.shape) * (1.5 + 3 * np.sqrt(planes / 255))
    return np.clip(np.rint(planes + grain), 0, 255).astype(np.uint8)


def slopes(height: int, width: int) -> np.ndarray:
    """Smooth shades, uint8[H, W, 3]."""
    y, x = np.mgrid[:height, :width]
    shades = [120 + 60 * np.sin(x / 31 + c) + 50 * np.cos(y / 23 - c) for c in range(3)]
    return np.clip(np.rint(np.stack(shades, axis=2)), 0, 255).astype(np.uint8)


@pytest.mark.usefixtures("tiny_models")
def test_a_picture_drawn_from_the_network_is_coded_by_the_network() -> None:
    planes = tiles.sample(models.load(LEARNING), 80, 96)
    sizes = of_each_choice(planes, LEARNING)
    assert sizes[6] > (1 + 2 * LOST) * min(sizes.values())
    made = codec.encode(planes, "RGB", model=LEARNING)
    assert len(made.data) <= (1 + LOST) * min(sizes.values())
    assert container.read_header(made.data).settings == 0
    np.testing.assert_array_equal(codec.decode(made.data).planes, planes)


@pytest.mark.usefixtures("tiny_models")
def test_what_was_asked_for_stays() -> None:
    planes = tiles.sample(models.load(LEARNING), 40, 48)
    assert codec.encode(planes, "RGB", model=LEARNING).data[10] == 0
    assert codec.encode(planes, "RGB", model=LEARNING, experts=ALL).data[10] == 6
    assert codec.encode(planes, "RGB", model=LEARNING, experts=0).data[10] == 4


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize(("effort", "settings"), [(4, 0), (6, 0), (7, 0), (8, 0)])
def test_at_every_effort_that_has_learners(effort: int, settings: int) -> None:
    planes = tiles.sample(models.load(LEARNING), 40, 48)
    assert codec.encode(planes, "RGB", model=LEARNING, effort=effort).data[10] == settings


@pytest.mark.usefixtures("tiny_models")
def test_the_same_of_the_groups_of_an_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "DEFAULTS", {"RGB": LEARNING, "L": "model_tiny_gray"})
    drawn = tiles.sample(models.load(LEARNING), 40, 48).repeat(2, axis=0).repeat(2, axis=1)
    made = codec.encode(drawn, "RGB", origin="enlarged")
    assert made.data[10] == container.ORIGIN
    np.testing.assert_array_equal(codec.decode(made.data).planes, drawn)
    assert codec.encode(drawn, "RGB", origin="enlarged", experts=ALL).data[10] == container.ORIGIN | 6


@pytest.mark.usefixtures("tiny_models")
def test_and_of_the_blocks_of_an_archive() -> None:
    drawn, flat = tiles.sample(models.load(LEARNING), 40, 48), np.full((30, 48, 3), 7, np.uint8)
    images = [archive_codec.NamedImage("drawn", drawn, "RGB"), archive_codec.NamedImage("flat", flat, "RGB")]
    data = archive_codec.encode(images, model=LEARNING).data
    assert len(archive_codec.encode(images, model=LEARNING, effort=9).data) <= len(data)
    assert [block.settings for block in archive.read_header(data).blocks] == [0, 6]
    for image, decoded in zip(images, archive_codec.decode(data), strict=True):
        np.testing.assert_array_equal(decoded.planes, image.planes)


@pytest.mark.usefixtures("tiny_models")
def test_a_few_colours_keep_what_learns_and_are_coded_once() -> None:
    planes = np.random.default_rng(5).integers(0, 4, (40, 48, 3)).astype(np.uint8) * 60
    told: list[tuple[int, int]] = []
    made = codec.encode(planes, "RGB", model=LEARNING, progress=lambda *now: told.append(now))
    assert made.data == codec.encode(planes, "RGB", model=LEARNING, experts=ALL).data
    assert {total for _, total in told} == {planes.size}


@pytest.mark.usefixtures("tiny_models")
def test_where_nothing_can_be_gained_by_it_nothing_is_coded_again() -> None:
    saved = codec.Coded(6, 0, [b""], 9e5, 1e6, 2e6)
    assert saved.useful() == (6, 0)
    assert saved._replace(bits=1e6 + 400, fixed_bits=1e6 - 400).useful() == (6, 0)
    assert saved._replace(bits=1e6 + 600).useful() == (4, 0)
    assert saved._replace(settings=22, mask=9, bits=1e6 + 600).useful() == (4, 0)
    assert saved._replace(bits=0.99e6, fixed_bits=0.999e6).useful() == (2, 0)
    assert saved._replace(bits=0.9e6, fixed_bits=0.999e6).useful() == (6, 0)  # experts put it right
    assert saved._replace(bits=10.0, network_bits=0.0, fixed_bits=0.0).useful() == (6, 0)  # less than a word


@pytest.mark.usefixtures("tiny_models")
@pytest.mark.parametrize("device", [None, "cpu"])
def test_what_heads_would_cost_without_learning_is_what_they_do_cost(
    device: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if device is not None:
        pytest.importorskip("torch")
    monkeypatch.setattr(learn, "COMPARED", 1)
    network, planes = models.load(LEARNING), slopes(33, 21)
    options = {"tiles": (16, 32), "masks": [ALL, 0], "device": device}
    (learned, alone), _ = tiles.encode_each(planes[None], network, learning=True, **options)  # type: ignore[arg-type]
    (fixed, _), _ = tiles.encode_each(planes[None], network, learning=False, **options)  # type: ignore[arg-type]
    assert learned.fixed_bits == pytest.approx(fixed.network_bits, rel=1e-9)
    assert learned.network_bits == pytest.approx(alone.ideal_bits, rel=1e-12)
    assert alone.network_bits == alone.ideal_bits
    assert fixed.fixed_bits == fixed.network_bits


@needs_models
def test_the_shipped_models_lose_nothing_to_camera_noise_and_to_what_they_draw() -> None:
    network = models.load("photo")
    drawn = tiles.sample(network, 64, 96)
    for planes, settings in ((drawn, 0), (camera_noise(slopes(64, 96)), None), (camera_noise(drawn), None)):
        smallest = min(of_each_choice(planes, "photo").values())
        made = codec.encode(planes, "RGB").data
        assert len(made) <= (1 + LOST) * smallest + WORD
        assert settings is None or made[10] == settings


@needs_models
def test_a_photograph_keeps_its_file() -> None:
    data = pytest.importorskip("skimage.data")
    planes = np.asarray(Image.open(Path(data.__file__).parent / "coffee.png"))[100:228, 200:360]
    made = codec.encode(planes, "RGB").data
    assert made == codec.encode(planes, "RGB", experts=ALL).data
    assert made[10] == 6


@pytest.mark.usefixtures("tiny_models")
def test_progress_grows_by_what_is_coded_again_and_knows_what_follows() -> None:
    drawn = tiles.sample(models.load(LEARNING), 40, 48)
    told: list[tuple[int, int]] = []
    codec.encode(drawn, "RGB", model=LEARNING, then=1, progress=lambda *now: told.append(now))
    once = drawn.size
    assert [told[0][1], told[-1]] == [2 * once, (2 * once, 3 * once)]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    told.clear()
    codec.encode(drawn, "RGB", model=LEARNING, effort=9, progress=lambda *now: told.append(now))
    assert told[-1] == (2 * once, 2 * once)  # with heads that learn and without
    told.clear()
    enlarged = drawn.repeat(2, axis=0)
    codec.encode(enlarged, "RGB", model=LEARNING, origin="enlarged", then=1, progress=lambda *now: told.append(now))
    assert [told[0][1], told[-1]] == [2 * once, (2 * once, 3 * once)]
