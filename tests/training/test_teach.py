"""Experts are taught by pictures with and without a past, and a model keeps what they learned."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from pixcodec import codec, models
from pixcodec.errors import ModelError, TrainingError
from pixcodec.exact import expert_memory
from pixcodec.exact.network import Network
from pixcodec.training import pasts, teach

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures large enough for every past, and one that is smaller than a crop."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(1)
    y, x, c = np.mgrid[:270, :330, :3]
    for number in range(20):
        waves = 128 + 60 * np.sin(x / (9 + number)) + 50 * np.cos(y / 17 + c) + random.normal(0, 2, y.shape)
        planes = np.clip(waves, 0, 255).astype(np.uint8)
        Image.fromarray(planes[:40, :50] if number == 3 else planes).save(folder / f"{number:02}.png")
    return folder


def test_pasts_keep_the_size_and_change_the_pixels(photographs: Path) -> None:
    planes = np.asarray(Image.open(photographs / "00.png"))[: teach.HEIGHT, : teach.WIDTH]
    for past in pasts.PASTS:
        made = past(planes, np.random.default_rng(2))
        assert (made.shape, made.dtype) == (planes.shape, np.uint8)
        assert (made != planes).any()
    few = pasts.palette(planes, np.random.default_rng(3))
    assert len(np.unique(few.reshape(-1, 3), axis=0)) <= 200
    assert len(np.unique(pasts.tone(planes, np.random.default_rng(4)))) <= len(np.unique(planes))


def test_pictures_are_the_same_again_and_of_the_channels_asked_for(photographs: Path) -> None:
    first = list(teach.pictures([photographs], 3, 17))
    again = list(teach.pictures([photographs], 3, 17))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert {each.shape for each in first} <= {(teach.HEIGHT, teach.WIDTH, 3), (40, 50, 3)}
    assert all(each.shape[2] == 1 for each in teach.pictures([photographs], 1, 3))


@pytest.mark.parametrize("name", ["model_tiny_rgb", "model_tiny_gray"])
def test_a_taught_model_codes_by_what_it_was_taught(name: str, photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "untaught"
    shutil.copytree(GOLDEN / name, folder)
    before = models.load(str(GOLDEN / name))
    card = json.loads((folder / models.CARD).read_text())
    (folder / models.CARD).write_text(json.dumps(card | {"training": {}}))
    assert teach.main([str(folder), "--data", str(photographs), "--pictures", "4"]) == 0
    folder = folder.rename(tmp_path / name)  # models are loaded once by folder
    after = models.load(str(folder))
    assert isinstance(after, Network)
    assert after.identity != before.identity
    maps, last = after.experts
    assert maps.shape == (after.channels, expert_memory.MAP_SIZE)
    assert last.shape == (after.channels, expert_memory.NODES * expert_memory.BUCKETS)
    assert {int((cells & 1023).max()) for cells in (maps, last)} == {teach.MOST}
    assert (maps.ravel() != expert_memory.starting_map(maps.size)).any()
    planes = np.asarray(Image.open(photographs / "07.png"))[:60, :70, : after.channels]
    mode = "RGB" if after.channels == 3 else "L"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(models.ENVIRONMENT, str(tmp_path))
        taught = codec.encode(planes, mode, model=str(folder)).data
        np.testing.assert_array_equal(codec.decode(taught).planes, planes)
    assert len(taught) < len(codec.encode(planes, mode, model=str(GOLDEN / name)).data)
    identity = after.identity
    assert teach.run(folder, [photographs], 4, lambda _: None) == identity.hex()  # from the beginning again


def test_what_cannot_be_taught_is_refused(photographs: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="photo model"):
        teach.run(GOLDEN / "model_tiny_bilevel", [photographs], 1, lambda _: None)
    arguments = [str(GOLDEN / "model_tiny_rgb"), "--data", str(tmp_path / "none")]
    assert teach.main(arguments) == TrainingError.exit_code


def test_starting_values_of_another_form_are_no_model() -> None:
    network = models.load(str(GOLDEN / "model_tiny_gray"))
    assert isinstance(network, Network)
    assert network.experts == ()
    from safetensors.numpy import load_file

    tensors = load_file(GOLDEN / "model_tiny_gray" / models.WEIGHTS)
    good = {
        "experts.maps": np.zeros((1, expert_memory.MAP_SIZE), np.uint32),
        "experts.last": np.zeros((1, expert_memory.NODES * expert_memory.BUCKETS), np.uint32),
    }
    assert len(Network.build(network.card, tensors | good).experts) == 2
    for name, wrong in (("experts.maps", np.zeros((1, 5), np.uint32)), ("experts.last", good["experts.last"][0])):
        with pytest.raises(ModelError, match="do not fit together"):
            Network.build(network.card, tensors | good | {name: wrong})
    with pytest.raises(ModelError, match="do not fit together"):
        Network.build(network.card, tensors | {"experts.maps": good["experts.maps"]})
