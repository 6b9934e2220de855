"""Experts that are switched off: what files say of it, what readers refuse, and what the most effort keeps."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
import reference_coder
from click.testing import CliRunner
from PIL import Image

from pixcodec import archive_codec, cli, codec, container, models
from pixcodec.errors import ContainerError, ModelError
from pixcodec.exact import expert_memory, experts
from pixcodec.expert_names import ALL, EXPERTS, mask_of

GOLDEN = Path(__file__).parent / "golden"
FEW = mask_of("match,upper")
PIXELS = np.random.default_rng(5).integers(0, 4, (9, 8, 3)).astype(np.uint8) * 60


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.ENVIRONMENT, str(GOLDEN))


def encode(mask: int | None = None, effort: int = 7) -> bytes:
    return codec.encode(PIXELS, "RGB", model="model_tiny_rgb", experts=mask, effort=effort, threads=1).data


def with_mask(data: bytes, mask: int) -> bytes:
    """A file of one tile that says another mask, its checksum made right."""
    head = data[:47] + mask.to_bytes(2, "little") + data[49:53]
    return head + zlib.crc32(head).to_bytes(4, "little") + data[57:]


def test_the_table_has_every_expert_once() -> None:
    assert len(EXPERTS) == experts.EXPERTS
    assert experts.ALL == ALL


@pytest.mark.parametrize("mask", [1, FEW, 0x1000, ALL - 1])
@pytest.mark.parametrize(("model", "settings"), [("model_tiny_rgb", 18), ("model_tiny_learning", 22)])
def test_a_mask_stands_behind_the_digest_and_is_what_the_reference_reads_and_writes(
    mask: int, model: str, settings: int
) -> None:
    data, network = codec.encode(PIXELS, "RGB", model=model, experts=mask).data, models.load(model)
    header = container.read_header(data)
    assert (data[10], data[47:49]) == (settings, mask.to_bytes(2, "little"))
    assert (header.settings, header.mask, header.experts) == (settings, mask, mask)
    np.testing.assert_array_equal(codec.decode(data).planes, PIXELS)
    part = PIXELS[:3, :4]
    small = codec.encode(part, "RGB", model=model, experts=mask).data
    assert reference_coder.encode(part, network, 1, 1, settings, mask) == small
    np.testing.assert_array_equal(reference_coder.decode(small, network), part)


@pytest.mark.parametrize(
    ("model", "settings"), [("model_tiny_gray", 2), ("model_tiny_rgb", 2), ("model_tiny_learning", 6)]
)
def test_a_picture_with_more_lanes_than_go_together_is_what_the_reference_writes(model: str, settings: int) -> None:
    network = models.load(model)
    planes = np.tile(PIXELS, (16, 1, 1))[: expert_memory.TOGETHER * 2 + 5, :6, : network.channels]
    mode = "RGB" if network.channels == 3 else "L"
    made = [
        codec.encode(planes, mode, model=model, origin="none", tile=144, threads=threads, effort=7).data
        for threads in (1, 2)
    ]
    assert made[0] == made[1] == reference_coder.encode(planes, network, 9, 1, settings)
    for threads in (1, 2):
        np.testing.assert_array_equal(codec.decode(made[0], threads=threads).planes, planes)


@pytest.mark.parametrize(("model", "settings"), [("model_tiny_rgb", 26), ("model_tiny_learning", 30)])
def test_pictures_of_several_groups_have_one_mask_before_their_record(
    model: str, settings: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "DEFAULTS", {"RGB": model, "L": "model_tiny_gray"})
    repeated = PIXELS.repeat(2, axis=0).repeat(2, axis=1)
    made = [codec.encode(repeated, "RGB", origin="enlarged", experts=mask).data for mask in (FEW, None, 0)]
    header = container.read_header(made[0])
    assert (made[0][10], header.mask, header.experts) == (settings, FEW, FEW)
    assert made[0][47:49] == FEW.to_bytes(2, "little")
    assert made[0][50 : 50 + len(header.record)] == header.record
    assert header.record == container.read_header(made[1]).record
    assert [each[10] for each in made[1:]] == [settings - 16, settings - 18]
    for data in made:
        np.testing.assert_array_equal(codec.decode(data).planes, repeated)
    most = codec.encode(repeated, "RGB", origin="enlarged", effort=9).data
    np.testing.assert_array_equal(codec.decode(most).planes, repeated)
    assert len(most) <= min(map(len, made[1:]))


def test_all_and_none_need_no_mask() -> None:
    assert encode(ALL) == encode()
    assert encode(0) == encode(effort=1)
    assert [encode(mask)[10] for mask in (0, ALL)] == [0, 2]


@pytest.mark.parametrize("mask", [0, ALL, ALL + 1, 0xFFFF])
def test_a_mask_that_no_writer_writes_is_refused(mask: int) -> None:
    assert with_mask(encode(FEW), FEW) == encode(FEW)
    with pytest.raises(ContainerError, match=f"settings 18 and experts {mask} is unknown"):
        container.read_header(with_mask(encode(FEW), mask))


def test_a_file_with_a_mask_may_be_cut_anywhere_and_is_refused() -> None:
    data = encode(FEW)
    for end in range(len(data)):
        with pytest.raises((ContainerError, container.DamagedTileError)):
            container.unpack(data[:end])


def test_archives_have_masks_too() -> None:
    images = [archive_codec.NamedImage(name, PIXELS, "RGB") for name in "ab"]
    data = archive_codec.encode(images, model="model_tiny_rgb", experts=FEW).data
    assert [each.planes.tobytes() for each in archive_codec.decode(data)] == [PIXELS.tobytes()] * 2
    plain = archive_codec.encode(images, model="model_tiny_rgb").data
    assert data != plain


def test_the_most_effort_keeps_the_smallest_file() -> None:
    network = models.load("model_tiny_learning")
    tried = codec._choices([network], (9, None))
    assert tried == [(6, 0), (2, 0), (4, 0), (0, 0)]
    assert codec._choices([network], (9, FEW)) == [(22, FEW), (18, FEW)]
    assert codec._choices([network, models.load("model_tiny_rgb")], (9, None)) == [(2, 0), (0, 0)]
    made = {
        effort: codec.encode(PIXELS, "RGB", model="model_tiny_learning", effort=effort).data for effort in range(1, 10)
    }
    heads_alone = codec.encode(PIXELS, "RGB", model="model_tiny_learning", experts=0).data
    assert [data[10] for data in (*made.values(), heads_alone)][:8] == [0] * 2 + [2] * 4 + [6] * 2
    assert len(made[9]) == min(map(len, (*made.values(), heads_alone)))
    for tile in (None, 16):
        planes = PIXELS.repeat(3, axis=0)
        most = codec.encode(planes, "RGB", model="model_tiny_learning", effort=9, tile=tile).data
        np.testing.assert_array_equal(codec.decode(most).planes, planes)


def test_models_without_experts_say_so() -> None:
    dots = np.zeros((5, 7, 1), np.uint8)
    with pytest.raises(ModelError, match="without experts"):
        codec.encode(dots, "1", model="model_tiny_bilevel", experts=FEW)


def test_the_command_takes_names_and_refuses_others(tmp_path: Path) -> None:
    source, target = tmp_path / "a.png", tmp_path / "a.pxc"
    Image.fromarray(PIXELS).save(source)
    options = ["--model", "model_tiny_rgb", "--origin", "none", "--experts"]
    runner = CliRunner()
    assert runner.invoke(cli.main, ["encode", str(source), *options, "match,upper"]).exit_code == 0
    assert target.read_bytes() == encode(FEW)
    assert "match,upper" in runner.invoke(cli.main, ["info", str(target)]).stdout
    refused = runner.invoke(cli.main, ["encode", str(source), "-f", *options, "match,trees"])
    assert refused.exit_code == 2
    assert "found 'trees'" in refused.stderr
