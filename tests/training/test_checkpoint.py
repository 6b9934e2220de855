"""Checkpoints and weights are written whole, read back to the bit, and refused with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_training as tiny

torch = pytest.importorskip("torch")

from pixcodec.errors import TrainingError  # noqa: E402 - after the skip
from pixcodec.nets.photo import Configuration, PhotoNet  # noqa: E402
from pixcodec.training import checkpoint, optimisers, tasks  # noqa: E402

SHIPPED = sorted((Path(checkpoint.__file__).parent / "recipes").glob("*.json"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_recipes_that_come_with_pixcodec_can_be_used(path: Path) -> None:
    recipe = checkpoint.load_recipe(path)
    task = tasks.make(recipe)
    assert recipe["name"] == path.stem
    assert float(recipe["pixels"]) > 0
    assert 0 < task.multiply_adds < task.training_multiply_adds <= 3 * task.multiply_adds
    optimisers.make(task.network, recipe["optimiser"])


def test_weights_come_back_as_they_were_in_16_bits(tmp_path: Path) -> None:
    configuration = Configuration(1, 3, 6, 1, 5)
    torch.manual_seed(1)
    network, other = PhotoNet(configuration), PhotoNet(configuration)
    checkpoint.save_weights(tmp_path, network, {"name": "x"})
    assert json.loads((tmp_path / checkpoint.CARD).read_text()) == {"name": "x"}
    for path in (tmp_path, tmp_path / checkpoint.WEIGHTS):
        checkpoint.load_weights(path, other)
        for a, b in zip(network.parameters(), other.parameters(), strict=True):
            assert torch.equal(a.to(torch.float16).float(), b)
    assert sorted(path.name for path in tmp_path.iterdir()) == [checkpoint.CARD, checkpoint.WEIGHTS]


def test_a_network_comes_from_its_folder_alone(trained: Path, tmp_path: Path) -> None:
    for name in (checkpoint.CARD, checkpoint.WEIGHTS):
        shutil.copy(trained / name, tmp_path)
    network, card = checkpoint.load_network(tmp_path)
    assert network.configuration == tasks.parts(tiny.RECIPE)[1]
    assert card["name"] == "tiny"


def test_a_network_of_the_paper_comes_from_its_folder_alone(tmp_path: Path) -> None:
    task = tasks.make(tiny.SET_RECIPE)
    checkpoint.save_weights(tmp_path, task.network, task.card())
    network, card = checkpoint.load_network(tmp_path)
    assert type(network) is type(task.network)
    assert card == {"channels": 3, "network": network.configuration.save(), "set": "images"}
    for name, value in task.network.named_parameters():
        assert torch.equal(network.get_parameter(name), value.to(torch.float16).float()), name


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"predictors": {}, "network": {}}', '{"network": {"kind": "pixelcnn", "layers": -1}}']
)
def test_a_card_that_is_none_is_refused(trained: Path, tmp_path: Path, content: str) -> None:
    shutil.copy(trained / checkpoint.WEIGHTS, tmp_path)
    (tmp_path / checkpoint.CARD).write_text(content)
    with pytest.raises(TrainingError, match="must be the card of float weights"):
        checkpoint.load_network(tmp_path)


def test_folders_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="must be the card of float weights"):
        checkpoint.load_network(tmp_path)
    with pytest.raises(TrainingError, match="--resume needs a checkpoint"):
        checkpoint.load_checkpoint(tmp_path)
    with pytest.raises(TrainingError, match="must hold float weights"):
        checkpoint.load_weights(tmp_path, PhotoNet(Configuration(1, 3, 4, 0, 4)))


def test_a_folder_without_room_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingError, match=r"room for checkpoints, found .*No space left"):
        checkpoint.save_checkpoint(tmp_path, {})
    with pytest.raises(TrainingError, match=r"room for weights, found .*No space left"):
        checkpoint.save_weights(tmp_path, PhotoNet(Configuration(1, 3, 4, 0, 4)), {})


@pytest.mark.parametrize("what", ["checkpoint", "weights"])
def test_a_folder_that_has_gone_is_explained(tmp_path: Path, what: str) -> None:
    save = {
        "checkpoint": lambda folder: checkpoint.save_checkpoint(folder, {}),
        "weights": lambda folder: checkpoint.save_weights(folder, PhotoNet(Configuration(1, 3, 4, 0, 4)), {}),
    }[what]
    with pytest.raises(TrainingError):
        save(tmp_path / "gone")


def test_a_checkpoint_that_cannot_be_finished_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save_checkpoint(tmp_path, {"step": 1})

    def half(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.torch, "save", half)
    with pytest.raises(TrainingError):
        checkpoint.save_checkpoint(tmp_path, {"step": 2})
    assert checkpoint.load_checkpoint(tmp_path) == {"step": 1}
