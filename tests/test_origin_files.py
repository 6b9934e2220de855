"""Files of pictures with a past, and of the modes that need groups: they come back, small, and damage is an error."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import random_networks as nets
from click.testing import CliRunner
from PIL import Image
from test_codec import write_model

import pixcodec
from pixcodec import cli, codec, container, image, models
from pixcodec.container import Colours
from pixcodec.errors import ContainerError, PixcodecError, UnsupportedImageError

if TYPE_CHECKING:
    from pathlib import Path

GRAY = nets.picture("smooth", 24, 37, 1)
COLOUR = nets.picture("smooth", 24, 37, 3)
ALPHA = nets.picture("clipped", 24, 37, 1)
PALETTE = Colours(bytes(range(0, 180, 3)) * 3, bytes(range(100, 140)))


@pytest.fixture(scope="module", autouse=True)
def small_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_model(root / "photo", nets.SMALL, features=8, blocks=1, head=8)
    write_model(root / "photo_gray", nets.SMALL_GRAY, features=8, blocks=1, head=8)
    write_model(root / "photo_fast", nets.SMALL, features=8, blocks=0, head=8, seed=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(models.ENVIRONMENT, str(root))
        yield root


PICTURES: dict[str, tuple[np.ndarray, str, Colours]] = {
    "LA": (np.dstack([GRAY, ALPHA]), "LA", Colours()),
    "RGBA": (np.dstack([COLOUR, ALPHA]), "RGBA", Colours()),
    "opaque RGBA": (np.dstack([COLOUR, np.full_like(ALPHA, 255)]), "RGBA", Colours()),
    "RGBA of colour under alpha 0": (np.dstack([COLOUR, np.zeros_like(ALPHA)]), "RGBA", Colours()),
    "P": (GRAY // 5, "P", PALETTE),
    "P without a palette": (GRAY, "P", Colours()),
    "P of a colour": (np.full_like(GRAY, 3), "P", PALETTE),
    "L with a transparent one": (GRAY, "L", Colours(transparency=b"\0\7")),
    "RGB with a transparent one": (COLOUR, "RGB", Colours(transparency=b"\0\7\0\1\1\2")),
    "gray RGB": (GRAY.repeat(3, axis=2), "RGB", Colours()),
    "enlarged": (COLOUR.repeat(3, axis=0).repeat(2, axis=1)[2:], "RGB", Colours()),
    "a colour": (np.full_like(COLOUR, 7), "RGB", Colours()),
}


def whole(planes: np.ndarray, mode: str, colours: Colours, **options: object) -> bytes:
    """A file, proved to come back."""
    data = codec.encode(planes, mode, colours=colours, **options).data
    decoded = codec.decode(data)
    assert (decoded.mode, decoded.colours) == (mode, colours)
    np.testing.assert_array_equal(decoded.planes, planes)
    return data


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("effort", [1, 7])
def test_every_mode_and_past_comes_back(name: str, effort: int) -> None:
    for origin, tile in (("auto", None), ("none", 16)):
        data = whole(*PICTURES[name], effort=effort, origin=origin, tile=tile)
        header = container.read_header(data)
        needs = origin == "auto" or PICTURES[name][1] not in container.PLAIN_MODES or bool(PICTURES[name][2])
        assert header.has_origin == needs


def test_a_file_without_an_origin_is_what_it_was() -> None:
    for planes, mode in ((GRAY, "L"), (COLOUR, "RGB")):
        assert whole(planes, mode, Colours(), origin="auto") == whole(planes, mode, Colours(), origin="none")
        assert not container.read_header(codec.encode(planes, mode).data).has_origin


def test_what_is_simple_takes_few_bytes() -> None:
    assert len(whole(*PICTURES["a colour"], origin="auto")) == 61
    opaque, colour = whole(*PICTURES["opaque RGBA"], origin="auto"), whole(COLOUR, "RGB", Colours())
    assert len(opaque) <= len(colour) + 8
    gray, once = whole(*PICTURES["gray RGB"], origin="auto"), whole(GRAY, "L", Colours())
    assert len(gray) <= len(once) + 8
    large, small = whole(*PICTURES["enlarged"], origin="auto"), whole(COLOUR, "RGB", Colours())
    assert len(large) <= len(small) + 9


def test_groups_have_models_of_their_own_and_tiles_and_threads_change_no_pixel() -> None:
    data = whole(*PICTURES["RGBA"], tile=16)
    colours, tree = codec.read_record(container.read_header(data))
    assert not colours
    ids = [leaf.model_id for leaf in codec.origins.leaves(tree)]
    gray, photo = (models.load(name).identity[:8] for name in ("photo_gray", "photo"))
    assert (container.read_header(data).model_id, ids) == (gray, [b"", photo])
    assert whole(*PICTURES["RGBA"], tile=16, threads=2) == data
    assert codec.decode(data, backend="numpy", threads=3).planes.tobytes() == PICTURES["RGBA"][0].tobytes()


@pytest.mark.parametrize("name", ["RGBA", "P", "gray RGB", "a colour"])
def test_a_flipped_bit_or_a_cut_never_gives_other_pixels(name: str) -> None:
    planes, mode, colours = PICTURES[name]
    data = codec.encode(planes[:3, :5], mode, colours=colours, origin="auto").data
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PixcodecError):
            codec.decode(bytes(damaged))
    for length in range(len(data)):
        with pytest.raises(PixcodecError):
            codec.decode(data[:length])


def test_colours_that_a_mode_cannot_have_are_refused() -> None:
    for mode, colours in (("L", Colours(b"abc")), ("P", Colours(b"ab")), ("RGB", Colours(b"", b"ab"))):
        with pytest.raises(UnsupportedImageError, match=f"of mode {mode}"):
            codec.encode(COLOUR if mode == "RGB" else GRAY, mode, colours=colours)
    header = container.Header(5, 4, "RGB", bytes(8), 8, 16, 16, bytes(16), b"\2ab\4\1\2\3")
    with pytest.raises(ContainerError, match="colours that mode RGB"):
        codec.read_record(header)


def test_pil_images_of_all_modes_come_back() -> None:
    for planes, mode, colours in PICTURES.values():
        made = image.to_pil(planes, mode, colours)
        back = pixcodec.decode(pixcodec.encode(made, origin="auto"))
        assert (back.mode, back.tobytes(), back.getpalette()) == (made.mode, made.tobytes(), made.getpalette())
        assert back.info.get("transparency") == made.info.get("transparency")
        if mode not in container.PLAIN_MODES:
            with pytest.raises(UnsupportedImageError, match=f"mode {mode} is not kept here"):
                pixcodec.encode_archive({"a": made})


def run(*arguments: object) -> str:
    result = CliRunner().invoke(cli.main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_command_line_says_what_was_found(tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "a.pxc"
    planes, mode, _ = PICTURES["enlarged"]
    image.to_pil(planes, mode).save(source)
    assert "verified; enlarged 2x3 by replication" in run("encode", source)
    facts = json.loads(run("info", target, "--json"))
    assert (facts["origin"], facts["groups"]) == ("enlarged 2x3 by replication", ["37x24x3"])
    assert "origin         enlarged 2x3 by replication" in run("info", target)
    assert "holds exactly these pixels already" in run("decode", target)
    for origin in ("none", "palette"):
        run("encode", source, "-f", "--origin", origin)
        assert json.loads(run("info", target, "--json"))["origin"] == "none"
    refused = CliRunner().invoke(cli.main, ["encode", str(source), "--origin", "photoshop"])
    assert refused.exit_code == 2
    assert "expected one of auto, none, constant" in refused.output


@pytest.mark.parametrize("name", ["P", "LA", "RGBA", "RGB with a transparent one"])
def test_files_of_all_modes_come_back_by_the_command_line(name: str, tmp_path: Path) -> None:
    planes, mode, colours = PICTURES[name]
    stream = io.BytesIO()
    image.write(planes, mode, stream, "PNG", colours)
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    run("encode", tmp_path / "a.png")
    (tmp_path / "a.png").unlink()
    run("decode", tmp_path / "a.pxc")
    back = image.read(tmp_path / "a.png")
    assert (back.mode, back.colours) == (mode, colours)
    np.testing.assert_array_equal(back.planes, planes)
    assert "holds exactly these pixels already" in run("decode", tmp_path / "a.pxc")
    assert Image.open(tmp_path / "a.png").mode == mode


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{"quality": 75}, {"quality": 90, "subsampling": 0}, {"progressive": True}])
def test_a_jpeg_file_is_stored_by_its_coefficients(mode: str, options: dict[str, Any], tmp_path: Path) -> None:
    y, x = np.mgrid[:120, :152]
    waves = np.stack([128 + 90 * np.sin(x / 9 + k) * np.cos(y / (11 + k)) for k in range(3)], axis=2)
    random = np.random.default_rng(4)
    pixels = np.clip(waves + random.normal(0, 9, waves.shape), 0, 255).astype(np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(pixels).convert(mode).save(path, optimize=True, **options)
    picture = image.read(path)
    assert picture.jpeg == path.read_bytes()
    encoded = codec.encode(picture.planes, picture.mode, origin="auto", jpeg=picture.jpeg)
    assert encoded.origin.startswith("JPEG")
    assert "exceptions" not in encoded.origin
    assert len(encoded.data) < 0.9 * path.stat().st_size
    np.testing.assert_array_equal(codec.decode(encoded.data).planes, picture.planes)
    plain = codec.encode(picture.planes, picture.mode, origin="none", jpeg=picture.jpeg)
    assert not plain.origin
    np.testing.assert_array_equal(codec.decode(plain.data).planes, picture.planes)


def test_a_jpeg_file_that_the_pixels_are_not_of_changes_nothing() -> None:
    made = io.BytesIO()
    Image.new("RGB", (24, 16), (200, 30, 90)).save(made, "JPEG")
    random = np.random.default_rng(2)
    for shape in ((16, 24, 3), (16, 23, 3), (16, 24, 1)):
        planes, mode = random.integers(0, 256, shape, np.uint8), "RGB" if shape[2] == 3 else "L"
        without = codec.encode(planes, mode, origin="auto")
        np.testing.assert_array_equal(codec.decode(without.data).planes, planes)
        assert "JPEG" not in without.origin
        for jpeg in (made.getvalue(), made.getvalue()[:200], b"\xff\xd8\xff"):
            assert codec.encode(planes, mode, origin="auto", jpeg=jpeg).data == without.data


def test_a_model_for_gray_codes_what_is_gray_or_has_a_palette_whatever_its_size() -> None:
    black_and_red = np.where(GRAY > 100, 200, 0).astype(np.uint8) * np.array([1, 0, 0], np.uint8)
    for planes in (GRAY[:2, :2].repeat(3, axis=2), GRAY.repeat(3, axis=2), black_and_red):
        data = whole(planes, "RGB", Colours(), model="photo_gray", origin="auto")
        assert container.read_header(data).model_id == models.load("photo_gray").identity[:8]
    with pytest.raises(UnsupportedImageError, match="choose another model"):
        codec.encode(COLOUR, "RGB", model="photo_gray", origin="auto")
