"""Freezing gives integers that are proved, that say exactly what was fine-tuned, and that code pictures."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import random_networks as nets
import tiny_training as tiny

torch = pytest.importorskip("torch")

from pixcodec import codec, models  # noqa: E402 - after the skip
from pixcodec.errors import TrainingError  # noqa: E402
from pixcodec.exact import torch_backend  # noqa: E402
from pixcodec.exact.network import BOUND, STREAM_LIMIT, Network, identity  # noqa: E402
from pixcodec.exact.predict import predictions  # noqa: E402
from pixcodec.exact.reference import network as reference  # noqa: E402
from pixcodec.nets.heads import NATS_PER_LOGIT  # noqa: E402
from pixcodec.nets.photo import Configuration, PhotoNet  # noqa: E402
from pixcodec.training import checkpoint, data, evaluate, freeze  # noqa: E402
from pixcodec.training.evaluate import tensors  # noqa: E402
from pixcodec.training.quantise import Quantised, calibrate  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pixcodec.exact.predict import Parameters

KINDS = ("smooth", "random", "white")


def quantised(parameters: Parameters, size: float = 1.0, beyond: float = 1.0, **form: Any) -> Quantised:
    """An untrained network, its weights made `size` times as large, calibrated, made `beyond` times as large."""
    torch.manual_seed(7)
    form = {"features": 8, "head": 8, "known": parameters.known, **form}
    configuration = Configuration(parameters.channels, parameters.count, **form)
    network = PhotoNet(configuration)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(size)
    planes = nets.picture("smooth", 30, 30, parameters.planes)
    batch = data.codes(planes, predictions(planes, parameters), parameters, configuration)
    units = calibrate(network, [tensors(batch, "cpu")[:2]])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(beyond)
    return Quantised(network, units)


def frozen(model: Quantised, parameters: Parameters) -> Network:
    card = {
        "channels": parameters.channels,
        "predictors": parameters.save(),
        "network": model.network.configuration.save(),
    }
    return Network.build(card, freeze.integers(model))


def integers_of(model: Quantised, planes: np.ndarray, predicted: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Logits int[H, W, C, classes] in steps that the fake-quantised network gives in binary32."""
    batch = data.codes(planes, predicted, parameters, model.network.configuration)
    with torch.no_grad():
        nats = torch.stack(model(*tensors(batch, "cpu")[:2]), 3)[0]
    return (nats.double() / NATS_PER_LOGIT).round().long().numpy()


FORMS: dict[str, tuple[Parameters, dict[str, Any]]] = {
    "usual": (nets.SMALL, {"blocks": 2}),
    "gray": (nets.SMALL_GRAY, {"blocks": 1, "features": 7, "head": 5}),
    "raw": (nets.SMALL, {"blocks": 1, "output": "raw"}),
    "no blocks": (nets.SMALL_GRAY, {"blocks": 0}),
    "own step": (nets.SMALL, {"blocks": 2, "taps": ((0, 0), (1, 2), (0, -3))}),
    "large weights": (nets.SMALL, {"blocks": 2, "size": 9.0}),
    "clamped stream": (nets.SMALL, {"blocks": 2, "beyond": 30.0}),
    "known planes": (nets.SMALL_LUMA, {"blocks": 1, "phases": 1, "known_taps": nets.KNOWN_TAPS}),
    "wide": (nets.SMALL_GRAY, {"blocks": 1, "features": 104, "head": 16}),
}


@pytest.mark.parametrize("name", FORMS)
def test_the_integers_give_to_the_bit_what_fake_quantisation_gives(name: str) -> None:
    parameters, form = FORMS[name]
    model = quantised(parameters, **form)
    network = frozen(model, parameters)
    for kind in KINDS:
        planes = nets.picture(kind, 13, 11, parameters.planes)
        guesses = predictions(planes, parameters)
        expected = integers_of(model, planes, guesses, parameters)
        assert np.abs(expected).max() <= STREAM_LIMIT
        assert np.unique(expected).size > 20, "logits differ"
        result = torch_backend.logits(network, planes[None], guesses[None])[0].numpy()
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("name", ["usual", "raw"])
def test_the_wavefront_and_the_reference_give_it_too(name: str) -> None:
    parameters, form = FORMS[name]
    model = quantised(parameters, **form)
    network = frozen(model, parameters)
    planes = nets.picture("smooth", 7, 9, parameters.channels)
    guesses, logits = nets.wavefront_logits(network, planes, nets.back_end("numpy", network))
    expected = integers_of(model, planes, guesses, parameters)
    np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal(reference.logits(network, planes, guesses)[0], expected)


@pytest.mark.parametrize("kind", ["any sign", "one sign", "huge biases"])
def test_the_bound_is_proved_for_weights_that_would_break_it(kind: str) -> None:
    model = quantised(nets.SMALL_GRAY, features=104, blocks=1, head=16)
    conv = model.network.blocks[0].conv
    terms = len(model.network.configuration.taps) * conv.in_channels
    assert terms * 256 * 127 > BOUND, "what equal weights would give if the largest of them became 127"
    with torch.no_grad():
        if kind == "huge biases":
            for name, parameter in model.network.named_parameters():
                if name.endswith("bias"):
                    parameter.copy_(parameter.sign() * 1e6)
        else:
            units = (model.units.stream / model.units.alphas[0]).view(1, -1, 1, 1)
            conv.weight.copy_((conv.weight.sign() if kind == "any sign" else torch.ones_like(conv.weight)) / units)
    network = frozen(model, nets.SMALL_GRAY)
    bounds = {name: product.bound() for name, product in network.products().items()}
    assert max(bounds.values()) < BOUND
    assert bounds["first" if kind == "huge biases" else "blocks.0.conv"] > 0.95 * BOUND
    planes = nets.picture("random", 9, 8, 1)
    guesses = predictions(planes, nets.SMALL_GRAY)
    result = torch_backend.logits(network, planes[None], guesses[None])[0].numpy()
    np.testing.assert_array_equal(result, integers_of(model, planes, guesses, nets.SMALL_GRAY))


@pytest.fixture(scope="module")
def model_folder(trained: Path, pictures: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network, frozen by the module's command line without fine-tuning."""
    out = tmp_path_factory.mktemp("models") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "ProcessPoolExecutor", tiny.InThisProcess)
        patch.setattr(freeze, "keep_memory", lambda: None)
        arguments = [trained, "--data", pictures, "--out", out, "--cache", cache, "--threads", 1]
        assert freeze.main(list(map(str, arguments))) == 0
    return out


def test_a_models_folder_holds_its_card_and_its_integers(model_folder: Path, trained: Path) -> None:
    assert sorted(path.name for path in model_folder.iterdir()) == [models.CARD, models.WEIGHTS]
    network = models.load(str(model_folder))
    card = json.loads((model_folder / models.CARD).read_text())
    assert card["id"] == network.identity.hex()
    before = json.loads((trained / checkpoint.CARD).read_text())
    for part in ("name", "channels", "predictors"):
        assert card[part] == before[part]
    assert card["network"] == {**before["network"], "learning": freeze.LEARNING}
    assert max(product.bound() for product in network.products().values()) < BOUND


def test_the_card_says_what_freezing_cost(model_folder: Path, trained: Path, items: Sequence[data.Item]) -> None:
    training = json.loads((model_folder / models.CARD).read_text())["training"]
    cost = training.pop("freezing")
    assert training == json.loads((trained / checkpoint.CARD).read_text())["training"]
    assert set(cost) == {"float", "calibrated"}
    validation = [item for item in items if item.version.picture.validates]
    float_network = checkpoint.load_network(trained)[0]
    assert cost["float"] == pytest.approx(freeze.measure(float_network, validation, tiny.PARAMETERS).total, abs=1e-5)
    assert cost["calibrated"] == pytest.approx(cost["float"], rel=0.02)


def test_the_cost_is_that_of_the_exact_integers(model_folder: Path, items: Sequence[data.Item]) -> None:
    network = models.load(str(model_folder))
    (item,) = [item for item in items if item.version.picture.validates]
    planes, guesses = np.array(item.planes), np.array(item.predictions)
    logits = torch_backend.logits(network, planes[None], guesses[None])[0].double() * NATS_PER_LOGIT
    outputs = Configuration.load(network.card["network"], 3, tiny.PARAMETERS.count).outputs
    batch = data.codes(planes, guesses, tiny.PARAMETERS)

    def nats(_: data.Batch) -> np.ndarray:
        each = [
            outputs.nats(
                logits[:, :, c].flatten(0, 1),
                torch.from_numpy(batch.centre[0, :, :, c]).flatten(),
                torch.from_numpy(batch.values[0, :, :, c]).flatten(),
            ).reshape(1, *planes.shape[:2])
            for c in range(3)
        ]
        return torch.stack(each).numpy()

    bits = evaluate.summary([item], tiny.PARAMETERS, nats).total
    assert network.card["training"]["freezing"]["calibrated"] == pytest.approx(bits, abs=2e-5)


def test_a_frozen_model_codes_a_picture_and_decodes_it_exactly(
    model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(models.ENVIRONMENT, str(model_folder.parent))
    for kind in ("smooth", "random"):
        planes = nets.picture(kind, 25, 33, 3)
        encoded = codec.encode(planes, "RGB", model="tiny", threads=1)
        np.testing.assert_array_equal(codec.decode(encoded.data, threads=1).planes, planes)
        assert 8 * len(encoded.data) < encoded.ideal_bits + 8 * 64


@pytest.mark.usefixtures("quick")
def test_fine_tuning_changes_the_weights_and_keeps_them(
    trained: Path, pictures: Path, cache: Path, tmp_path: Path, model_folder: Path
) -> None:
    said: list[str] = []
    result = freeze.run(
        trained, [pictures], tmp_path, cache=cache, minutes=0.01, rate=0.002, threads=1, say=said.append
    )
    assert [line.split(":")[0] for line in said] == ["float", "calibrated", "fine-tuned"]
    cost = result.network.card["training"]["freezing"]
    assert cost["tuning_minutes"] == 0.01
    assert cost["tuning_pixels"] % tiny.PIXELS == 0
    assert cost["tuning_pixels"] > 0
    assert cost["tuned"] == round(result.after.total, 5)
    assert models.load(str(tmp_path)).identity == result.network.identity
    assert result.network.identity != models.load(str(model_folder)).identity
    network, card = checkpoint.load_network(tmp_path)
    assert card["training"]["freezing"] == cost
    old = checkpoint.load_network(trained)[0]
    assert not all(torch.equal(a, b) for a, b in zip(network.parameters(), old.parameters(), strict=True))


def test_freezing_again_gives_the_same_model_from_crops_that_training_has_not_seen(
    trained: Path, items: Sequence[data.Item], model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make = data.Batches.make

    def noted(batches: data.Batches, number: int) -> data.Batch:
        made.append(number)
        return make(batches, number)

    monkeypatch.setattr(data.Batches, "make", noted)
    network, card = checkpoint.load_network(trained)
    result, exact = freeze.freeze(network, card, items)
    assert result.network.identity == models.load(str(model_folder)).identity
    assert result.network.identity == identity(result.network.card, exact)
    assert min(made) == tiny.STEPS


def test_freezing_without_validation_pictures_ends_with_a_model_or_a_reason(
    trained: Path, items: Sequence[data.Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "_CALIBRATION_BATCHES", 1)
    training = [item for item in items if not item.version.picture.validates]
    with contextlib.suppress(TrainingError):
        freeze.freeze(*checkpoint.load_network(trained), training)


@pytest.mark.usefixtures("quick")
def test_a_folder_without_float_weights_is_refused_in_one_line(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert freeze.main([str(tmp_path), "--data", str(pictures), "--out", str(tmp_path)]) == TrainingError.exit_code
    line, *rest = capsys.readouterr().err.splitlines()
    assert rest == []
    assert line.startswith("error: ")
    assert "must be the card of float weights" in line


@pytest.mark.usefixtures("quick")
def test_a_model_that_cannot_be_written_is_explained(
    trained: Path, pictures: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freeze, "_CALIBRATION_BATCHES", 1)
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="room for a model"):
        freeze.run(trained, [pictures], tmp_path / "file", cache=cache)
