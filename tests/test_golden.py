"""Files that were written once: they decode to the same pixels, are written the same again, and bad ones are refused.

`golden/make.py` made them all.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import reference_coder
from click.testing import CliRunner
from PIL import Image

from pixcodec import cli, codec, container, errors, models

GOLDEN = Path(__file__).parent / "golden"
ERRORS = Path(__file__).parent / "golden_errors"
FILES = sorted(GOLDEN.glob("*.pxc"))
EXPECTED = json.loads((ERRORS / "expected.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.ENVIRONMENT, str(GOLDEN))


def pixels(path: Path) -> np.ndarray:
    """uint8[H, W, C] of the PNG file beside a .pxc file."""
    samples = np.asarray(Image.open(path.with_suffix(".png")))
    return samples.reshape(*samples.shape[:2], -1)


def test_there_is_a_golden_file_of_each_kind() -> None:
    headers = {path.stem: container.read_header(path.read_bytes()) for path in FILES}
    assert {header.mode for header in headers.values()} == {"L", "RGB"}
    assert (headers["gray_1x1"].width, headers["gray_1x1"].height) == (1, 1)
    assert headers["rgb_37x21_tiles"].tile_count == 6
    assert {0, 255} < set(pixels(GOLDEN / "rgb_clipped_24x13.pxc").ravel().tolist())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_file_decodes_to_its_pixels(path: Path) -> None:
    for backend in (None, "numpy"):
        np.testing.assert_array_equal(codec.decode(path.read_bytes(), backend=backend).planes, pixels(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_golden_file_is_written_the_same_again(path: Path) -> None:
    data = path.read_bytes()
    header = container.read_header(data)
    model = "model_tiny_rgb" if header.mode == "RGB" else "model_tiny_gray"
    tile = max(header.tile_width, header.tile_height)
    assert codec.encode(pixels(path), header.mode, model=model, tile=tile).data == data


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_reference_writes_a_golden_file_and_reads_a_small_one(path: Path) -> None:
    data, planes = path.read_bytes(), pixels(path)
    header = container.read_header(data)
    network = models.load_by_id(header.model_id)
    assert reference_coder.encode(planes, network, header.tile_height // 16, header.tile_width // 16) == data
    if planes.size < 50:
        np.testing.assert_array_equal(reference_coder.decode(data, network), planes)


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
