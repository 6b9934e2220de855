"""The shipped models: whole, exact by every path, better than PNG, and usable where torch is not installed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import random_networks as nets
from PIL import Image

from pixcodec import codec, container, models, tiles
from pixcodec.exact import learn, matmul, products
from pixcodec.exact.reference import codec as reference_codec
from pixcodec.exact.reference import network as reference
from pixcodec.exact.ring import Repeated
from pixcodec.origins.photo_cd import PhotoCD
from pixcodec.origins.ycbcr import YCbCr

if TYPE_CHECKING:
    from pixcodec.origins.luma_chroma import LumaChroma

FOLDER = Path(__file__).parent.parent / "models"
MODES = {"RGB": "coffee.png", "L": "camera.png"}
MODELS = [(mode, named[mode]) for named in (models.DEFAULTS, models.FAST) for mode in MODES if mode in named]

needs_models = pytest.mark.skipif(not (FOLDER / "photo").is_dir(), reason="no shipped model in this checkout")
pytestmark = needs_models


def photograph(mode: str, side: int) -> np.ndarray:
    """The middle of a photograph of scikit-image's, uint8[side, side, C]."""
    data = pytest.importorskip("skimage.data")
    planes = np.asarray(Image.open(Path(data.__file__).parent / MODES[mode]))
    planes = planes.reshape(*planes.shape[:2], -1)
    top, left = (planes.shape[0] - side) // 2, (planes.shape[1] - side) // 2
    return np.ascontiguousarray(planes[top : top + side, left : left + side])


@pytest.mark.parametrize(("mode", "name"), MODELS)
def test_the_models_of_each_mode_are_whole_and_small_enough(mode: str, name: str) -> None:
    folder = FOLDER / name
    network = models.load(str(folder))
    assert network.channels == container.CHANNELS[mode]
    card = json.loads((folder / models.CARD).read_text())
    assert card["id"] == network.identity.hex()
    assert card["training"]["pixels"] > 0
    assert (folder / "float.safetensors").stat().st_size < 6_000_000
    assert "/" not in card["name"]


@pytest.mark.parametrize(("mode", "name"), MODELS)
def test_errors_that_teach_heads_keep_within_their_limits(mode: str, name: str) -> None:
    """Those of surprises are the largest: heads learn badly where they are cut (decision 25)."""
    found = np.zeros(2)

    class Watched(learn.LearningHeads):
        def watching(self, *_: object) -> Repeated:
            return Repeated(self._watch, 2)

        def _watch(self, *_: int) -> None:
            for errors in self._errors[:2]:  # of the step before: one thread has made its call
                found[:] += (np.abs(errors) == products.ERROR - 1).sum(), np.count_nonzero(errors)

    planes = photograph(mode, 96)
    run = tiles._prepare(models.load(name), None, None, [planes], None, learning=Watched, threads=1)
    tiles._write_tile(run, planes, lambda *_: [])
    assert found[1] > 1e5
    assert found[0] < 1e-4 * found[1]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "name"), MODELS)
def test_the_shipped_models_agree_with_the_reference(mode: str, name: str) -> None:
    network = models.load(name)
    planes = photograph(mode, 14)
    for kind in matmul.NAMES:
        if kind.startswith("torch"):
            pytest.importorskip("torch")
        predictions, logits = nets.wavefront_logits(network, planes, nets.back_end(kind, network))
        np.testing.assert_array_equal(logits, reference.logits(network, planes, predictions)[0], err_msg=kind)
    counts = reference_codec.counts(network, planes[:6, :8])
    np.testing.assert_array_equal(counts.sum(axis=-1), (1 << 24) - 256)


@pytest.mark.slow
@pytest.mark.parametrize(("known", "name"), models.KNOWING.items())
def test_the_models_that_know_planes_are_whole_and_agree_with_the_reference(known: int, name: str) -> None:
    network = models.load(str(FOLDER / name))
    assert (network.channels, network.known, network.learns) == (1, known, True)
    assert json.loads((FOLDER / name / models.CARD).read_text())["training"]["pixels"] > 0
    planes = photograph("RGB", 14)[:, :, : known + 1]
    for kind in matmul.NAMES:
        if kind.startswith("torch"):
            pytest.importorskip("torch")
        predictions, logits = nets.wavefront_logits(network, planes, nets.back_end(kind, network))
        np.testing.assert_array_equal(logits, reference.logits(network, planes, predictions)[0], err_msg=kind)


@pytest.mark.parametrize("origin", [PhotoCD(0, (2, 2), (0, 1), False), YCbCr(1, (2, 2), (0, 0), True)])
def test_luma_and_chroma_take_fewer_bytes_where_they_know_each_other(origin: LumaChroma) -> None:
    coffee = photograph("RGB", 192)
    inverse, offsets = origin.CONVERSIONS[origin.conversion].inverse()
    values = np.clip(np.rint((coffee * 0.8 + 20 - offsets) @ inverse.T), 0, 255).astype(np.uint8)
    (down, across), (top, left) = origin.factors, origin.phases
    chroma = [values[top::down, left::across, k : k + 1].copy() for k in (1, 2)]
    planes = origin.render([*chroma, values[:, :, :1]], coffee.shape)
    sizes = []
    for model in (None, "photo_gray"):
        data = codec.encode(planes, "RGB", origin=origin.name, model=model).data
        np.testing.assert_array_equal(codec.decode(data).planes, planes)
        assert container.read_header(data).has_origin
        sizes.append(len(data))
    assert sizes[0] < 0.99 * sizes[1]
    assert (
        codec.encode(planes, "RGB", origin=origin.name, device="cpu").data
        == codec.encode(planes, "RGB", origin=origin.name).data
    )


@pytest.mark.parametrize("mode", MODES)
def test_a_photograph_comes_back_from_far_fewer_bytes_than_png_needs(mode: str) -> None:
    planes = photograph(mode, 160)
    data = codec.encode(planes, mode).data
    np.testing.assert_array_equal(codec.decode(data).planes, planes)
    png = io.BytesIO()
    Image.fromarray(planes if mode == "RGB" else planes[:, :, 0]).save(png, "PNG", optimize=True)
    assert len(data) < 0.85 * len(png.getvalue())


def test_whole_tiles_at_once_give_the_bytes_of_the_wavefront() -> None:
    pytest.importorskip("torch")
    planes = photograph("RGB", 96)
    assert codec.encode(planes, "RGB", device="cpu").data == codec.encode(planes, "RGB").data


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from pixcodec.cli import main
sys.argv = ["pixcodec", *sys.argv[1:]]
main()
"""


def test_the_command_line_needs_no_torch_and_says_so_where_it_would(tmp_path: Path) -> None:
    planes = photograph("RGB", 48)
    Image.fromarray(planes).save(tmp_path / "a.png")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run("encode", "a.png").returncode == 0
    assert run("decode", "a.pxc", "-o", "b.png").returncode == 0
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), planes)
    assert run("info", "a.pxc", "--json").returncode == 0
    for arguments in (
        ("encode", "a.png", "-f", "--device", "cpu"),
        ("train", "photo", "--data", ".", "--out", "out"),
    ):
        done = run(*arguments)
        assert done.returncode == 10
        assert "pip install 'pixcodec[train]'" in done.stderr
        assert done.stderr.count("\n") == 1


def test_neither_encoding_nor_info_imports_torch(tmp_path: Path) -> None:
    Image.fromarray(photograph("RGB", 24)).save(tmp_path / "a.png")
    script = "import sys; from pixcodec.cli import main\ntry: main()\nfinally: assert 'torch' not in sys.modules"
    for arguments in (("encode", "a.png"), ("decode", "a.pxc"), ("info", "a.pxc")):
        command = [sys.executable, "-c", script, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
