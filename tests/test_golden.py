"""Files that were written once: they decode to the same pixels, are written the same again, and bad ones are refused.

`golden/make.py` made them all.  Files of one picture lie beside a PNG with its pixels, an archive beside a folder.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import reference_coder
import reference_origins
from click.testing import CliRunner
from PIL import Image

from pixcodec import archive, archive_codec, cli, codec, container, errors, image, models
from pixcodec.exact.network import Network
from pixcodec.exact.program import Program
from pixcodec.origins import search
from pixcodec.origins import tree as trees

GOLDEN = Path(__file__).parent / "golden"
ERRORS = Path(__file__).parent / "golden_errors"
FILES = sorted(GOLDEN.glob("*.pxc"))
ORIGIN_FILES = sorted((GOLDEN / "origins").glob("*.pxc"))
MIXED = GOLDEN / "archives" / "mixed.pxc"
# By the settings.
EFFORTS = {0: 1, container.ONE_STREAM: 7, container.EXPERTS: 4, container.EXPERTS | container.LEARNING: 7}
EFFORTS[container.EXPERTS | container.MASKED] = 4
FEW = 50  # samples that the reference decodes soon enough
EXPECTED = json.loads((ERRORS / "expected.json").read_text(encoding="utf-8"))


KNOWING = {1: "model_tiny_chroma", 2: "model_tiny_luma"}


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.ENVIRONMENT, str(GOLDEN))
    monkeypatch.setattr(models, "KNOWING", KNOWING)


def pixels(path: Path) -> np.ndarray:
    """uint8[H, W, C] of the PNG file beside a .pxc file."""
    samples = np.asarray(Image.open(path.with_suffix(".png"))).astype(np.uint8)
    return samples.reshape(*samples.shape[:2], -1)


def name_of(model_id: bytes) -> str:
    """The name of a golden model."""
    (name,) = (each.name for each in models.available() if each.id.startswith(model_id.hex()))
    return name


def test_there_is_a_golden_file_of_each_kind() -> None:
    headers = {path.stem: container.read_header(path.read_bytes()) for path in FILES}
    assert {header.mode for header in headers.values()} == {"L", "RGB", "1"}
    by_model = {name_of(header.model_id): header for header in headers.values()}
    assert {path.parent.name for path in GOLDEN.glob("*/card.json")} == {*by_model, *KNOWING.values()}
    assert {name for name, header in by_model.items() if header.one_stream} == {
        "model_tiny_bilevel",
        "model_tiny_scales",
    }
    assert {name for name, header in headers.items() if header.experts} == {
        name for name in headers if name.endswith("_experts")
    }
    experts = [header for header in headers.values() if header.experts]
    assert {(header.mode, header.tile_count > 1) for header in experts} == {
        ("L", False), ("L", True), ("RGB", False), ("RGB", True),
    }  # fmt: skip
    assert [name for name, header in headers.items() if header.mask] == ["rgb_text_38x25_some_experts"]
    assert {name for name, header in headers.items() if header.learning} == {
        name for name in headers if name.endswith("_experts") and ("_learning_" in name or "_logistics_" in name)
    }
    for name in ("gray_1x1", "gray_1x1_experts", "scales_1x1", "rgb_learning_1x1_experts"):
        assert (headers[name].width, headers[name].height) == (1, 1)
    for name in ("rgb_37x21_tiles", "rgb_37x21_tiles_experts", "bilevel_37x21_tiles", "scales_37x21_tiles"):
        assert headers[name].tile_count == 6
    assert {0, 255} < set(pixels(GOLDEN / "rgb_clipped_24x13.pxc").ravel().tolist())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_file_decodes_to_its_pixels(path: Path) -> None:
    for backend in (None, "numpy"):
        np.testing.assert_array_equal(codec.decode(path.read_bytes(), backend=backend).planes, pixels(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_file_is_written_the_same_again(path: Path) -> None:
    data = path.read_bytes()
    header = container.read_header(data)
    options = {"tile": max(header.tile_width, header.tile_height), "effort": EFFORTS[header.settings]}
    options["experts"] = header.experts if header.mask else None
    assert codec.encode(pixels(path), header.mode, model=name_of(header.model_id), **options).data == data


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_reference_writes_a_golden_file_and_reads_a_small_one(path: Path) -> None:
    data, planes = path.read_bytes(), pixels(path)
    header = container.read_header(data)
    network = models.load_by_id(header.model_id)
    units = header.tile_height // 16, header.tile_width // 16
    assert reference_coder.encode(planes, network, *units, header.settings, header.mask or reference_coder.ALL) == data
    if planes.size < FEW:
        np.testing.assert_array_equal(reference_coder.decode(data, network), planes)


@pytest.mark.parametrize("path", [path for path in FILES if path.stem.endswith("_experts")], ids=lambda path: path.stem)
def test_experts_learn_something_else_than_the_network_alone_says(path: Path) -> None:
    plain = path.with_stem(path.stem.removesuffix("_experts"))
    if plain.exists():
        np.testing.assert_array_equal(pixels(path), pixels(plain))
        assert path.read_bytes() != plain.read_bytes()
    elif "text" in path.stem:
        header = container.read_header(path.read_bytes())
        alone = codec.encode(pixels(path), header.mode, model=name_of(header.model_id), effort=1).data
        assert len(path.read_bytes()) < 0.7 * len(alone)


def test_heads_that_learn_say_something_else_than_those_of_the_model() -> None:
    path = GOLDEN / "rgb_learning_24x13_experts.pxc"
    data = path.read_bytes()
    plain = codec.encode(pixels(path), "RGB", model="model_tiny_learning", effort=4).data
    assert container.unpack(plain)[1] != container.unpack(data)[1]
    assert reference_coder.encode(pixels(path), models.load("model_tiny_learning"), 2, 2, container.LEARNING) not in (
        data,
        plain,
    )


def test_experts_start_from_what_a_model_says() -> None:
    path = GOLDEN / "gray_taught_24x13_experts.pxc"
    _, (payload,) = container.unpack(path.read_bytes())
    gray, taught = models.load("model_tiny_gray"), models.load("model_tiny_taught")
    assert isinstance(taught, Network)
    assert [each.dtype for each in taught.experts] == [np.uint32, np.uint32]
    assert gray.identity != taught.identity
    names = "model_tiny_gray", "model_tiny_taught"
    for effort, same in ((1, True), (7, False)):
        made = [codec.encode(pixels(path), "L", model=name, effort=effort).data for name in names]
        assert (container.unpack(made[0])[1] == container.unpack(made[1])[1]) == same
    assert container.unpack(made[1])[1] == [payload]


def test_programs_of_golden_models_have_operations_of_every_kind_and_order() -> None:
    bilevel, scales = models.load("model_tiny_bilevel"), models.load("model_tiny_scales")
    assert isinstance(bilevel, Program)
    assert isinstance(scales, Program)
    assert scales.small is not None
    steps = [step for each in (bilevel, scales, scales.small) for step in each.card["program"]]
    assert {step["op"] for step in steps} == {"convolve", "rescale", "add", "gate", "recur", "join"}
    assert {step["direction"] for step in steps if step["op"] == "recur"} == {"rows", "left", "right"}
    assert [each.slope for each in (bilevel, scales, scales.small)] == [3, 0, 2]
    assert [each.groups for each in (bilevel, scales, scales.small)] == [1, 1, 3]
    assert any(dy < 0 for step in scales.card["program"] for dy, _ in step.get("taps", []))


def test_the_golden_archive_has_blocks_of_several_modes_sizes_and_models() -> None:
    header = archive.read_header(MIXED.read_bytes())
    blocks = [(name_of(each.model_id), each.mode, each.width, each.height, each.count) for each in header.blocks]
    assert blocks == [
        ("model_tiny_scales", "RGB", 7, 5, 2),
        ("model_tiny_bilevel", "1", 9, 9, 3),
        ("model_tiny_gray", "L", 7, 5, 2),
        ("model_tiny_bilevel", "1", 7, 5, 2),
        ("model_tiny_gray", "L", 12, 10, 2),
    ]
    assert [block.settings for block in header.blocks] == [1, 1, 0, 1, 2]


def test_the_golden_archive_decodes_to_its_pictures() -> None:
    modes = [mode for mode, count in (("RGB", 2), ("1", 3), ("L", 2), ("1", 2), ("L", 2)) for _ in range(count)]
    for backend in (None, "numpy"):
        decoded = list(archive_codec.decode(MIXED.read_bytes(), backend=backend))
        folder = MIXED.with_suffix("")
        assert [each.name for each in decoded] == sorted(
            path.relative_to(folder).as_posix() for path in folder.rglob("*.png")
        )
        assert [each.mode for each in decoded] == modes
        for each in decoded:
            np.testing.assert_array_equal(each.planes, pixels(folder / each.name))


def test_the_golden_archive_is_written_the_same_again_also_by_the_reference() -> None:
    header, payloads = archive.unpack(MIXED.read_bytes())
    images = iter(archive_codec.decode(MIXED.read_bytes()))
    for block, payload in zip(header.blocks, payloads, strict=True):
        own = [next(images) for _ in range(block.count)]
        again = archive_codec.encode(own, model=name_of(block.model_id), effort=EFFORTS[block.settings]).data
        assert archive.unpack(again)[0].blocks == (block,)
        assert archive.unpack(again)[1] == [payload]
        planes, network = np.stack([each.planes for each in own]), models.load_by_id(block.model_id)
        assert reference_coder.digest(planes, network) == block.digest
        units = block.tile_height // 16, block.tile_width // 16
        assert reference_coder.block(planes, network, *units, block.settings) == payload
    # The names are packed by zlib, of which there are several: only without it must all bytes be the same.
    packed = archive.pack(header.blocks, payloads, header.names)
    assert archive.unpack(packed) == (archive.read_header(packed), payloads)
    assert archive.read_header(packed).names == header.names


@pytest.mark.parametrize("path", ORIGIN_FILES, ids=lambda path: path.stem)
def test_a_golden_file_with_a_record_decodes_to_its_picture(path: Path) -> None:
    picture = image.read(path.with_suffix(".png"))
    for backend in (None, "numpy"):
        decoded = codec.decode(path.read_bytes(), backend=backend)
        assert (decoded.mode, decoded.colours) == (picture.mode, picture.colours)
        np.testing.assert_array_equal(decoded.planes, picture.planes)


@pytest.mark.parametrize("path", ORIGIN_FILES, ids=lambda path: path.stem)
def test_a_golden_file_with_a_record_is_written_the_same_again(path: Path) -> None:
    data, picture = path.read_bytes(), image.read(path.with_suffix(".png"))
    _, tree = codec.read_record(container.read_header(data))
    # What is below is found again by "auto" wherever one origin's name would not do.
    names = [origin.name for origin in trees.nodes(tree) if origin.name in search.NAMES]
    choice = "none" if not names else names[0] if len(names) == 1 else "auto"
    file = reference_origins.parse(data)
    model = name_of(file.models[0]) if file.models else "model_tiny_gray"
    options = {
        "model": None if model in KNOWING.values() else model,
        "tile": 32,
        "threads": 1,
        "colours": picture.colours,
        "origin": choice,
    }
    assert codec.encode(picture.planes, picture.mode, **options).data == data


def leaf_planes(file: reference_origins.File) -> list[np.ndarray]:
    """What the codec decodes of each group."""
    streams, coded = iter(container.split(file.payload)), []
    networks = map(models.load_by_id, file.models)

    def code(leaf: reference_origins.Tree, known: np.ndarray) -> np.ndarray:
        network = next(networks)
        own = [next(streams) for _ in range(codec.stream_count(network, leaf.shape, file.sides))]
        options = {"known": known[None]} if network.known else {}
        shape = 1, *leaf.shape
        images, _ = codec.decode_images(own, shape, network, file.sides, file.settings, 0, **options)
        coded.append(images[0])
        return images[0]

    reference_origins.render(file.tree, code)
    assert not [*streams]
    return coded


@pytest.mark.parametrize("path", ORIGIN_FILES, ids=lambda path: path.stem)
def test_the_reference_renders_a_golden_file_with_a_record_and_writes_its_payload(path: Path) -> None:
    data, picture = path.read_bytes(), image.read(path.with_suffix(".png"))
    file = reference_origins.parse(data)
    coded = leaf_planes(file)
    np.testing.assert_array_equal(reference_origins.render(file.tree, reference_origins.in_turn(coded)), picture.planes)
    assert reference_origins.is_of(file, picture.planes)
    assert container.Colours(file.palette, file.transparency) == picture.colours
    assert reference_origins.payload(file, coded, models.load_by_id) == file.payload
    if sum(planes.size for planes in coded) < FEW:
        np.testing.assert_array_equal(reference_origins.decode(data, models.load_by_id), picture.planes)


def test_the_golden_files_with_a_record_have_every_mode_and_origin() -> None:
    headers = [container.read_header(path.read_bytes()) for path in (GOLDEN / "origins").glob("*.pxc")]
    assert {header.mode for header in headers} == {*container.MODES}
    found = {type(each) for header in headers for each in trees.nodes(codec.read_record(header)[1])}
    assert found == {*search.NUMBERS.values()}


def test_every_bad_file_has_an_expectation() -> None:
    assert sorted(EXPECTED) == sorted(path.stem for path in ERRORS.glob("*.pxc"))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_bad_file_gives_its_error_and_no_pixels(name: str, tmp_path: Path) -> None:
    expected, path = EXPECTED[name], ERRORS / f"{name}.pxc"
    with pytest.raises(errors.PixcodecError) as caught:
        codec.decode(path.read_bytes())
    assert type(caught.value).__name__ == expected["error"]
    assert caught.value.exit_code == expected["exit_code"]
    assert expected["message"] in str(caught.value)
    if "tile" in expected:
        assert caught.value.tile == expected["tile"]
    target = tmp_path / "out.png"
    done = CliRunner().invoke(cli.main, ["decode", str(path), "-o", str(target)])
    assert done.exit_code == expected["exit_code"]
    assert not [*tmp_path.iterdir()]


def test_every_error_of_a_file_is_among_the_bad_files() -> None:
    assert {each["error"] for each in EXPECTED.values()} == {
        "ContainerError",
        "DamagedTileError",
        "DigestError",
        "ModelError",
    }
