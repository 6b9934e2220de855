"""One of the paper's networks, from its recipe to a model that codes."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from pixcodec import models, stacks  # noqa: E402 - after the skip
from pixcodec.errors import TrainingError  # noqa: E402
from pixcodec.nets import multiscale, networks  # noqa: E402
from pixcodec.nets.autoregressive import KINDS, Configuration  # noqa: E402
from pixcodec.training import checkpoint, freeze, loop  # noqa: E402
from pixcodec.training.compile import compile_network  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

IMAGES, SIDE = 60, 8
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "network": {"kind": "row_lstm", "channels": 3, "features": 6, "layers": 1, "hidden": 8, "output": "softmax"},
    "data": {"set": "images", "batch": 8, "seed": 1},
    "optimiser": {"name": "adamw", "rate": 0.01},
    "pixels": 6 * 8 * SIDE * SIDE,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Smooth little pictures."""
    folder = tmp_path_factory.mktemp("images")
    y, x = np.mgrid[:SIDE, :SIDE]
    for n in range(IMAGES):
        planes = np.stack([(9 * n + 7 * x + c * y) % 256 for c in range(3)], axis=2).astype(np.uint8)
        Image.fromarray(planes).save(folder / f"{n:03}.png")
    return folder


@pytest.fixture(scope="module")
def model(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that training and freezing leave, by their command lines."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    with pytest.MonkeyPatch.context() as patch:
        for module in (loop, freeze):
            patch.setattr(module, "keep_memory", lambda: None)
        patch.setattr(loop, "matmul_rate", lambda device: 1e9)  # noqa: ARG005
        common = ["--data", str(images), "--threads", "1"]
        assert loop.main([str(folder / "recipe.json"), *common, "--out", str(folder / "run")]) == 0
        assert freeze.main([str(folder / "run"), *common, "--out", str(folder / "model")]) == 0
        assert freeze.main([str(folder / "run"), *common, "--out", "no", "--minutes", "1"]) == TrainingError.exit_code
    return folder / "model"


def test_a_models_folder_holds_its_integers_and_what_it_goes_on_from(model: Path) -> None:
    names = {models.CARD, models.WEIGHTS, checkpoint.WEIGHTS, checkpoint.CARD}
    assert {path.name for path in model.iterdir()} == names
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in model.iterdir())
    card = json.loads((model / models.CARD).read_text())
    assert card["size"] == [SIDE, SIDE]
    assert card["set"] == "images"
    assert card["training"]["pixels"] == RECIPE["pixels"]
    network, _ = checkpoint.load_network(model)
    assert network.configuration.kind == "row_lstm"


def test_freezing_into_the_weights_own_folder_leaves_the_weights(
    model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "keep_memory", lambda: None)
    weights = [(model / name).read_bytes() for name in (checkpoint.WEIGHTS, checkpoint.CARD)]
    for name, content in zip((checkpoint.WEIGHTS, checkpoint.CARD), weights, strict=True):
        (tmp_path / name).write_bytes(content)
    freeze.run(tmp_path, [images], tmp_path, threads=1)
    assert [(tmp_path / name).read_bytes() for name in (checkpoint.WEIGHTS, checkpoint.CARD)] == weights
    assert models.load(str(tmp_path)).identity == models.load(str(model)).identity


def test_copies_of_weights_are_for_everyone_to_read(model: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        freeze._copy(model, tmp_path)
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o644] * 2


def test_weights_that_cannot_be_copied_are_explained_in_one_line(
    model: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(freeze, "keep_memory", lambda: None)
    (tmp_path / checkpoint.WEIGHTS).mkdir()
    arguments = [str(model), "--data", str(images), "--threads", "1", "--out", str(tmp_path)]
    assert freeze.main(arguments) == TrainingError.exit_code
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"error: {tmp_path} must be a folder with room for float weights, found ")


def test_the_card_says_what_freezing_cost(model: Path) -> None:
    card = json.loads((model / models.CARD).read_text())
    about = card["training"]["freezing"]
    assert about["images"] == IMAGES // 20
    assert about["frozen"] == pytest.approx(about["float"], rel=0.05)


def test_the_frozen_model_codes_the_images(model: Path, images: Path) -> None:
    program: Any = models.load(str(model))
    planes = np.stack([np.asarray(Image.open(path)) for path in sorted(images.iterdir())[:5]])
    coded = stacks.encode(planes, program)
    assert np.array_equal(stacks.decode(coded.payload, planes.shape, program), planes)


def scales(kind: str, shape: dict[str, Any]) -> networks.Shape:
    """A small network of a kind, or one of two scales whose large image's is of the kind."""
    one = Configuration(kind.removeprefix(f"{multiscale.KIND} "), features=9, layers=2, hidden=12, **shape)
    return multiscale.Configuration(one, replace(one, context=6)) if multiscale.KIND in kind else one


@pytest.mark.parametrize("kind", [*KINDS, *(f"{multiscale.KIND} {kind}" for kind in KINDS)])
@pytest.mark.parametrize("form", ["bilevel", "gray", "colour", "mixture", "bare"])
def test_frozen_networks_cost_what_float_ones_do(kind: str, form: str) -> None:
    shape = {
        "bilevel": {"channels": 1, "levels": 2},
        "gray": {"channels": 1},
        "colour": {},
        "mixture": {"output": "mixture", "components": 3},
        "bare": {"residual": False, "skip": False},
    }[form]
    torch.manual_seed(2)
    network = networks.make(scales(kind, shape))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "initial" in name:
                parameter.normal_()
            elif "output" in name:
                parameter.mul_(4)  # as sharp as a trained one
    c = network.configuration
    values = torch.randint(0, c.levels, (12, c.channels, 7, 6), dtype=torch.uint8)
    if c.levels > 2:
        values = (values // 16 + 100).to(torch.uint8)
    deciding, tensors = compile_network(network, values)
    from pixcodec.exact.program import Program

    program = Program.build({**deciding, "tile": 16}, tensors)
    with torch.no_grad():
        floating = float(network.nats(values).sum()) / np.log(2)
    ideal = stacks.encode(values.permute(0, 2, 3, 1).numpy().copy(), program).ideal_bits
    assert ideal == pytest.approx(floating, rel=0.01)


def test_a_network_with_an_unknown_operation_is_refused() -> None:
    network = networks.make(Configuration("pixelcnn", features=6, layers=1, hidden=8))
    network.output = torch.nn.Sequential(network.output, torch.nn.Softplus())
    values = torch.zeros(2, 3, 5, 5, dtype=torch.uint8)
    with pytest.raises(ValueError, match="no integer operation"):
        compile_network(network, values)
