"""Models are found by name, folder and id; one that is not what it says is refused."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import random_networks as nets
from click.testing import CliRunner
from safetensors.numpy import load_file, save_file

from pixcodec import cli, models
from pixcodec.errors import ModelError
from pixcodec.exact import matmul

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    card, tensors = nets.random_card(nets.SMALL_GRAY, features=8, blocks=1, head=8)
    network = nets.Network.build(card, tensors)
    path = tmp_path / "mine"
    path.mkdir()
    save_file(tensors, path / models.WEIGHTS)
    (path / models.CARD).write_text(json.dumps({**card, "id": network.identity.hex()}))
    monkeypatch.setenv(models.ENVIRONMENT, str(tmp_path))
    return path


def test_a_model_is_found_by_name_folder_and_id(folder: Path) -> None:
    network = models.load("mine")
    assert models.load(str(folder)).identity == network.identity
    assert models.load_by_id(network.identity[:8]).identity == network.identity
    assert network.identity.hex() in {each.id for each in models.available()}


def test_the_id_depends_on_every_number_and_on_what_decides_in_the_card(folder: Path) -> None:
    card, tensors = json.loads((folder / models.CARD).read_text()), load_file(folder / models.WEIGHTS)
    before = models.load("mine").identity
    for name, array in tensors.items():
        changed = array.copy()
        changed.flat[0] = changed.flat[0] / 2 if changed.dtype == np.float32 else 1 if changed.flat[0] != 1 else 2
        assert nets.Network.build(card, {**tensors, name: changed}).identity != before, name
    card["predictors"]["stack"][2] += 1
    assert nets.Network.build(card, tensors).identity != before
    assert nets.Network.build({**card, "training": "another story"}, tensors).identity != before
    card["predictors"]["stack"][2] -= 1
    assert nets.Network.build({**card, "training": "another story"}, tensors).identity == before


def damage_weight(folder: Path) -> None:
    tensors = load_file(folder / models.WEIGHTS)
    tensors["first.bias"][0] += 1
    save_file(tensors, folder / models.WEIGHTS)


def cut(folder: Path) -> None:
    path = folder / models.WEIGHTS
    path.write_bytes(path.read_bytes()[:-9])


def break_bound(folder: Path) -> None:
    tensors = load_file(folder / models.WEIGHTS)
    tensors["first.bias"][0] = 1 << 24
    save_file(tensors, folder / models.WEIGHTS)


def edit_card(folder: Path, **changes: object) -> None:
    path = folder / models.CARD
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_weight, "must hold model"),
        (cut, "must hold the model's integers"),
        (break_bound, "above 16777216"),
        (lambda folder: (folder / models.WEIGHTS).unlink(), "must hold the model's integers"),
        (lambda folder: (folder / models.CARD).write_text("{"), "must be a model's card"),
        (lambda folder: (folder / models.CARD).write_text("[]"), "must be a model's card"),
        (lambda folder: edit_card(folder, network={}), "do not fit together"),
        (lambda folder: edit_card(folder, channels=3), "do not fit together"),
        (lambda folder: edit_card(folder, id="00"), "must hold model 00"),
    ],
)
def test_a_damaged_model_is_refused_with_a_reason(folder: Path, damage: object, words: str) -> None:
    damage(folder)  # type: ignore[operator]
    with pytest.raises(ModelError, match=words) as caught:
        models.load("mine")
    assert "\n" not in str(caught.value)


def test_a_file_is_not_decoded_by_a_model_that_only_claims_its_id(folder: Path) -> None:
    identity = models.load("mine").identity
    models._load.cache_clear()
    damage_weight(folder)
    with pytest.raises(ModelError):
        models.load_by_id(identity[:8])


def test_a_missing_model_is_named_with_those_that_are_here(folder: Path) -> None:
    del folder
    with pytest.raises(ModelError, match=r"'other' .*found: .*mine"):
        models.load("other")
    with pytest.raises(ModelError, match="needs model 0102030405060708"):
        models.load_by_id(bytes(range(1, 9)))


def test_verify_reports_every_back_end_and_fails_when_none_is_exact(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = CliRunner().invoke(cli.main, ["models", "verify", str(folder)])
    assert result.exit_code == 0
    assert "id matches" in result.output
    for name in ("vector", "numpy"):
        assert f"  {name}: exact" in result.output
    monkeypatch.setattr(matmul, "known_answer", lambda *_: False)
    result = CliRunner().invoke(cli.main, ["models", "verify", str(folder)])
    assert result.exit_code == 9
    assert "NOT exact" in result.output


def test_list_names_every_model(folder: Path) -> None:
    result = CliRunner().invoke(cli.main, ["models", "list"])
    assert result.exit_code == 0
    assert any(line.startswith("mine ") and str(folder) in line for line in result.output.splitlines())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "  photo            1 channel, 256 levels "),
        ({"channels": 3}, " 3 channels, 256 levels "),
        ({"program": [], "levels": 2, "network": {"kind": "row_lstm"}}, "  Row LSTM         1 channel, bilevel "),
        ({"program": [], "network": {"kind": "other"}}, "  other            1 channel, 256 levels "),
        ({"program": [], "network": None}, "                   1 channel, 256 levels "),
    ],
)
def test_list_says_what_images_a_model_is_for_and_its_kind(folder: Path, changes: dict[str, Any], words: str) -> None:
    edit_card(folder, **changes)
    result = CliRunner().invoke(cli.main, ["models", "list"])
    (line,) = (line for line in result.output.splitlines() if line.endswith(str(folder)))
    assert words in line


def test_a_copy_of_a_model_is_listed_once(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "copy")
    identity = models.load("mine").identity.hex()
    assert [each.id for each in models.available()].count(identity) == 1
