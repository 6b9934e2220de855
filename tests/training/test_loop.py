"""Training writes what it should, goes on exactly where it stopped, and explains what it cannot use."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import random_networks as nets
import tiny_training as tiny
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from pixcodec import cli  # noqa: E402 - after the skip
from pixcodec.errors import TrainingError  # noqa: E402
from pixcodec.exact.predict import predictions  # noqa: E402
from pixcodec.nets.masked import FIRST_TAPS  # noqa: E402
from pixcodec.nets.photo import Configuration  # noqa: E402
from pixcodec.training import checkpoint, data, loop, tasks  # noqa: E402
from pixcodec.training.evaluate import tensors  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CPU = torch.device("cpu")
PARTS = ("recipe", "network", "optimiser", "generator", "position", "before")


def batches(items: Sequence[data.Item]) -> data.Batches:
    training = [item for item in items if not item.version.picture.validates]
    return data.Batches(training, tiny.PARAMETERS, tiny.RECIPE["data"])


def flat(state: Any, name: str = "") -> dict[str, Any]:
    """A nested state's leaves by path, without what is measured by the clock."""
    if isinstance(state, dict):
        pairs = [(key, value) for key, value in state.items() if key != "seconds"]
    elif isinstance(state, (list, tuple)):
        pairs = list(enumerate(state))
    else:
        return {name: state}
    return {path: leaf for key, value in pairs for path, leaf in flat(value, f"{name}/{key}").items()}


def differences(one: Any, other: Any) -> list[str]:
    """Paths of leaves that are not the same to the bit."""
    a, b = flat(one), flat(other)
    assert a.keys() == b.keys()
    return [
        name for name, x in a.items() if not (torch.equal(x, b[name]) if isinstance(x, torch.Tensor) else x == b[name])
    ]


def run(recipe: Any, pictures: Path, out: Path, cache: Path, **options: Any) -> Path:
    out.mkdir(exist_ok=True)
    path = tiny.written(out / "recipe.json", recipe)
    loop.run(path, [pictures], out, cache=cache, threads=1, say=lambda _: None, **options)
    return out


def test_a_run_writes_weights_their_card_a_checkpoint_and_a_log(trained: Path) -> None:
    card = json.loads((trained / checkpoint.CARD).read_text())
    assert (card["name"], card["channels"]) == ("tiny", 3)
    assert card["predictors"] == tiny.RECIPE["predictors"]
    assert card["network"] == Configuration.load(tiny.RECIPE["network"], 3, tiny.PARAMETERS.count).save()
    assert card["training"]["recipe"] == tiny.RECIPE
    assert (card["training"]["steps"], card["training"]["pixels"]) == (tiny.STEPS, tiny.RECIPE["pixels"])
    assert set(card["training"]["validation"]) == {"all", "source1"}
    state = checkpoint.load_checkpoint(trained)
    assert set(state) == {*PARTS, "average"}
    assert state["average"] == []
    assert state["position"]["step"] == tiny.STEPS
    entries = [json.loads(line) for line in (trained / loop.LOG).read_text().splitlines()]
    assert entries[-1]["step"] == tiny.STEPS
    assert entries[-1]["validation"] == card["training"]["validation"]["all"]
    network, again = checkpoint.load_network(trained)
    assert again == card
    for name, value in network.named_parameters():
        assert torch.equal(value, state["network"][name].to(torch.float16).float()), name
    left = {path.name for path in trained.iterdir()}
    assert left == {checkpoint.CARD, checkpoint.WEIGHTS, checkpoint.CHECKPOINT, loop.LOG, "said"}


def test_a_run_says_what_it_has_and_what_it_gave(trained: Path) -> None:
    said = (trained / "said").read_text()
    assert "6 pictures, 0.0 megapixels; 1 for validation" in said
    assert "multiply-adds a pixel forward" in said
    assert "validation " in said
    assert "source1" in said


@pytest.mark.usefixtures("quick")
def test_the_loss_falls(items: Sequence[data.Item]) -> None:
    trainer = loop.Trainer(tiny.recipe(pixels=30 * tiny.PIXELS), CPU)
    made = batches(items)
    bits = [float(trainer.step(made.make(n))) for n in range(30)]
    assert sum(bits[-5:]) < 0.75 * sum(bits[:5])


@pytest.mark.parametrize("optimiser", ["adamw", "muon", "rmsprop"])
@pytest.mark.usefixtures("quick")
def test_going_on_from_a_checkpoint_gives_the_weights_of_going_through(
    items: Sequence[data.Item], tmp_path: Path, optimiser: str
) -> None:
    recipe = tiny.recipe(optimiser={"name": optimiser, "rate": 0.005})
    made = batches(items)
    through = loop.Trainer(recipe, CPU)
    for n in range(tiny.STEPS):
        if n == tiny.STEPS // 2:
            checkpoint.save_checkpoint(tmp_path, through.state())
        through.step(made.make(n))
    again = loop.Trainer(recipe, CPU)
    torch.rand(7)  # whatever else draws numbers in between
    again.restore(checkpoint.load_checkpoint(tmp_path))
    assert again.position.step == tiny.STEPS // 2
    for batch, _ in zip(batches(items).run(again.position.step), range(tiny.STEPS // 2), strict=False):
        again.step(batch)
    assert differences(again.state(), through.state()) == []


@pytest.mark.usefixtures("quick")
def test_the_running_mean_is_validated_and_goes_through_a_checkpoint(
    items: Sequence[data.Item], tmp_path: Path
) -> None:
    recipe, made = tiny.recipe(optimiser={"average": 0.6}), batches(items)
    trainer, again = loop.Trainer(recipe, CPU), loop.Trainer(recipe, CPU)
    expected = [p.detach().clone() for p in trainer.network.parameters()]
    for step in range(6):
        trainer.step(made.make(step))
        keep = min(0.6, (1 + step) / (10 + step))
        expected = [
            keep * e + (1 - keep) * p.detach() for e, p in zip(expected, trainer.network.parameters(), strict=True)
        ]
        if step == 2:
            checkpoint.save_checkpoint(tmp_path, trainer.state())
            again.restore(checkpoint.load_checkpoint(tmp_path))
        elif step > 2:
            again.step(made.make(step))
    own = [p.detach().clone() for p in trainer.network.parameters()]
    for each in (trainer, again):
        with each.averaged():
            for parameter, mean in zip(each.network.parameters(), expected, strict=True):
                torch.testing.assert_close(parameter.detach(), mean)
        assert all(map(torch.equal, each.network.parameters(), own))
    assert not all(map(torch.equal, own, expected))


@pytest.mark.usefixtures("quick")
def test_a_run_that_is_interrupted_and_resumed_gives_the_weights_of_one_that_is_not(
    trained: Path, pictures: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = loop.Trainer.step

    def interrupted(trainer: loop.Trainer, batch: data.Batch) -> torch.Tensor:
        if trainer.position.step == 4:
            os.kill(os.getpid(), signal.SIGINT)
        return step(trainer, batch)

    handler = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr(loop.Trainer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tiny.RECIPE, pictures, tmp_path, cache)
    assert signal.getsignal(signal.SIGINT) is handler
    assert checkpoint.load_checkpoint(tmp_path)["position"]["step"] == 5, "the step is finished first"
    assert not (tmp_path / checkpoint.WEIGHTS).exists()
    run(tiny.RECIPE, pictures, tmp_path, cache, resume=True)
    assert differences(checkpoint.load_checkpoint(tmp_path), checkpoint.load_checkpoint(trained)) == []
    assert (tmp_path / checkpoint.WEIGHTS).read_bytes() == (trained / checkpoint.WEIGHTS).read_bytes()


@pytest.mark.usefixtures("quick")
def test_a_finished_run_may_be_made_longer(pictures: Path, cache: Path, tmp_path: Path) -> None:
    constant = {"optimiser": {"decay": 0.0}}
    long = tiny.recipe(**constant, pixels=8 * tiny.PIXELS)
    run(tiny.recipe(**constant, pixels=4 * tiny.PIXELS), pictures, tmp_path / "twice", cache)
    run(long, pictures, tmp_path / "twice", cache, resume=True)
    run(long, pictures, tmp_path / "once", cache)
    states = [checkpoint.load_checkpoint(tmp_path / name) for name in ("twice", "once")]
    assert differences(*states) == []
    assert states[0]["position"]["pixels"] == 8 * tiny.PIXELS


@pytest.mark.usefixtures("quick")
def test_a_seed_decides_the_first_weights() -> None:
    one, same = loop.Trainer(tiny.RECIPE, CPU), loop.Trainer(tiny.recipe(), CPU)
    other = loop.Trainer(tiny.recipe(data={"seed": 6}), CPU)
    assert differences(one.network.state_dict(), same.network.state_dict()) == []
    assert differences(one.network.state_dict(), other.network.state_dict()) != []


@pytest.mark.usefixtures("quick")
def test_the_rate_warms_up_stays_and_falls_to_nothing() -> None:
    trainer = loop.Trainer(tiny.recipe(optimiser={"rate": 1.0, "warm_up": 4, "decay": 0.5}, pixels=100), CPU)
    rates = []
    for step in range(100):
        trainer.position = loop.Position(step, step)
        rates.append(trainer.rate())
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert set(rates[4:51]) == {1.0}
    assert rates[50:] == sorted(rates[50:], reverse=True)
    assert rates[75] == pytest.approx(0.5)
    assert rates[99] < 0.01
    trainer.position = loop.Position(200, 300)
    assert trainer.progress == 1
    assert trainer.rate() == pytest.approx(0)


@pytest.mark.usefixtures("quick")
def test_with_minutes_the_schedule_follows_the_time() -> None:
    trainer = loop.Trainer(tiny.RECIPE, CPU, minutes=2)
    trainer.position = loop.Position(9, 10**9, 90.0)
    assert trainer.progress == 0.75
    assert trainer.rate() == pytest.approx(tiny.RECIPE["optimiser"]["rate"] / 2)


@pytest.mark.usefixtures("quick")
def test_with_minutes_a_run_ends_in_time(pictures: Path, cache: Path, tmp_path: Path) -> None:
    run(tiny.recipe(pixels=10**15), pictures, tmp_path, cache, minutes=0.005)
    position = checkpoint.load_checkpoint(tmp_path)["position"]
    assert position["seconds"] >= 0.3
    assert position["step"] >= 1


def test_training_costs_thrice_the_forward_pass_less_the_gradients_of_codes() -> None:
    task = tasks.make(tiny.RECIPE)
    count, features = tiny.PARAMETERS.count, 8
    heads = sum(count + 1 + c * count for c in range(3)) * 8
    inputs = len(FIRST_TAPS) * 3 * (1 + count) * features + heads
    assert task.training_multiply_adds == 3 * task.multiply_adds - inputs


@pytest.mark.usefixtures("quick")
def test_init_starts_from_weights_and_not_from_their_optimiser(
    trained: Path, pictures: Path, cache: Path, tmp_path: Path
) -> None:
    still = tiny.recipe(optimiser={"rate": 0.0}, pixels=tiny.PIXELS)
    for place in (trained, trained / checkpoint.WEIGHTS):
        run(still, pictures, tmp_path, cache, init=place)
        state = checkpoint.load_checkpoint(tmp_path)
        assert state["position"]["step"] == 1
        assert {float(each["step"]) for each in state["optimiser"]["state"].values()} == {1.0}
        assert (tmp_path / checkpoint.WEIGHTS).read_bytes() == (trained / checkpoint.WEIGHTS).read_bytes()


@pytest.mark.usefixtures("quick")
def test_without_validation_pictures_a_run_still_ends(items: Sequence[data.Item], tmp_path: Path) -> None:
    training = [item for item in items if not item.version.picture.validates]
    trainer = loop.Trainer(tiny.recipe(pixels=tiny.PIXELS), CPU)
    bits = loop.Run(trainer, training, tmp_path, lambda _: None).go()
    assert bits.sources == {}


def train(*arguments: object) -> Any:
    return CliRunner().invoke(cli.main, ["train", *map(str, arguments)])


def refused(result: Any) -> str:
    """The one line that a training error leaves on standard error."""
    assert result.exit_code == TrainingError.exit_code, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    line, *rest = result.stderr.splitlines()
    assert rest == []
    assert line.startswith("pixcodec: ")
    return line


BAD_RECIPES = {
    "no JSON": "{",
    "a list": [],
    "no predictors": tiny.recipe(predictors=None),
    "no network": tiny.recipe(network=None),
    "bad predictors": tiny.recipe(predictors={"orders": [2, 1]}),
    "bad memories": tiny.recipe(predictors={"memories": [[0.5, 0.5]]}),
    "no such output": tiny.recipe(network={"output": "mixture"}),
    "words for numbers": tiny.recipe(network={"features": "many"}),
    "taps of the future": tiny.recipe(network={"taps": [[0, 1]]}),
    "no edges": tiny.recipe(network={"edges": []}),
    "no data": tiny.recipe(data=None),
    "no optimiser": tiny.recipe(optimiser=None),
    "a mean of nothing new": tiny.recipe(optimiser={"average": 1.0}),
    "no rate": {**tiny.recipe(), "optimiser": {"name": "adamw"}},
    "no pixels": tiny.recipe(pixels=None),
    "0 pixels": tiny.recipe(pixels=0),
    "a crop of words": tiny.recipe(data={"crop": "large"}),
    "half a feature": tiny.recipe(network={"features": 8.5}),
    "no such kind": tiny.recipe(network={"kind": "transformer"}),
    "no such set": {**tiny.SET_RECIPE, "data": {"set": "pebbles"}},
    "no set": {**tiny.SET_RECIPE, "data": {}},
    "no images to validate": {**tiny.SET_RECIPE, "data": {"set": "images", "validate": 0}},
    "more features than memory": {**tiny.SET_RECIPE, "network": {"kind": "pixelcnn", "features": 10**9}},
}


@pytest.mark.parametrize(
    "content",
    [pytest.param(recipe, id=name) for name, recipe in BAD_RECIPES.items()],
)
@pytest.mark.usefixtures("quick")
def test_a_bad_recipe_is_refused_in_one_line(content: Any, pictures: Path, cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    line = refused(train(path, "--data", pictures, "--out", tmp_path / "out", "--cache", cache, "-q"))
    assert f"{path} must be a recipe in JSON" in line


@pytest.mark.usefixtures("quick")
def test_a_missing_recipe_is_refused_in_one_line(pictures: Path, tmp_path: Path) -> None:
    line = refused(train("no_such_recipe", "--data", pictures, "--out", tmp_path / "out"))
    assert "no_such_recipe must be a recipe in JSON" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick")
def test_an_unknown_optimiser_is_refused_in_one_line(pictures: Path, tmp_path: Path) -> None:
    path = tiny.written(tmp_path / "mine.json", tiny.recipe(optimiser={"name": "sgd"}))
    assert '"adamw", "muon" or "rmsprop"' in refused(train(path, "--data", pictures, "--out", tmp_path / "out"))


@pytest.mark.parametrize(
    ("part", "change"), [("optimiser", {"betas": [0.9, 1.5]}), ("network", {"taps": [[0, 0], [5, 0]]})]
)
@pytest.mark.usefixtures("quick")
def test_what_could_not_be_trained_or_frozen_is_refused_at_once(
    pictures: Path, tmp_path: Path, part: str, change: dict[str, Any]
) -> None:
    path = tiny.written(tmp_path / "mine.json", tiny.recipe(**{part: change}))
    refused(train(path, "--data", pictures, "--out", tmp_path / "out"))


@pytest.mark.usefixtures("quick")
def test_missing_pictures_are_refused_in_one_line(tmp_path: Path) -> None:
    path = tiny.written(tmp_path / "mine.json", tiny.RECIPE)
    assert "--data needs folders" in refused(train(path, "--data", tmp_path / "none", "--out", tmp_path / "out"))


@pytest.mark.usefixtures("quick")
def test_a_missing_or_damaged_checkpoint_is_refused_in_one_line(pictures: Path, tmp_path: Path, trained: Path) -> None:
    path = tiny.written(tmp_path / "mine.json", tiny.RECIPE)
    arguments = (path, "--data", pictures, "--out", tmp_path, "--resume")
    assert "--resume needs a checkpoint at" in refused(train(*arguments))
    whole = (trained / checkpoint.CHECKPOINT).read_bytes()
    (tmp_path / checkpoint.CHECKPOINT).write_bytes(whole[: len(whole) // 2])
    assert "--resume needs a checkpoint at" in refused(train(*arguments))


@pytest.mark.parametrize(
    "content",
    [
        {"recipe": "{}"},
        {},
        [1, 2],
        {"recipe": json.dumps(tiny.RECIPE)},
    ],
)
@pytest.mark.usefixtures("quick")
def test_a_checkpoint_of_something_else_is_refused_in_one_line(pictures: Path, tmp_path: Path, content: Any) -> None:
    path = tiny.written(tmp_path / "mine.json", tiny.RECIPE)
    torch.save(content, tmp_path / checkpoint.CHECKPOINT)
    refused(train(path, "--data", pictures, "--out", tmp_path, "--resume"))


@pytest.mark.parametrize(
    ("part", "change"), [("network", {"features": 9}), ("data", {"seed": 6}), ("predictors", {"base": 3})]
)
@pytest.mark.usefixtures("quick")
def test_a_checkpoint_of_another_recipe_is_refused_in_one_line(
    trained: Path, pictures: Path, tmp_path: Path, part: str, change: dict[str, Any]
) -> None:
    path = tiny.written(tmp_path / "mine.json", tiny.recipe(**{part: change}))
    line = refused(train(path, "--data", pictures, "--out", trained, "--resume"))
    assert f"found other {part}; start anew" in line


@pytest.mark.usefixtures("quick")
def test_a_checkpoint_of_another_optimiser_is_refused_in_one_line(
    trained: Path, pictures: Path, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / checkpoint.CHECKPOINT).write_bytes((trained / checkpoint.CHECKPOINT).read_bytes())
    recipe = tiny.recipe(optimiser={"name": "rmsprop"}, pixels=2 * tiny.RECIPE["pixels"])
    path = tiny.written(tmp_path / "mine.json", recipe)
    arguments = (path, "--data", pictures, "--out", tmp_path, "--cache", cache, "--threads", 1, "-q", "--resume")
    refused(train(*arguments))


@pytest.mark.usefixtures("quick")
def test_weights_that_are_missing_or_of_another_shape_are_refused_in_one_line(
    trained: Path, pictures: Path, tmp_path: Path
) -> None:
    path = tiny.written(tmp_path / "mine.json", tiny.recipe(network={"features": 7}))
    arguments = (path, "--data", pictures, "--out", tmp_path / "out", "--init")
    assert "must hold float weights" in refused(train(*arguments, tmp_path))
    assert "must hold float weights" in refused(train(*arguments, path))
    line = refused(train(*arguments, trained))
    assert "tensors that do not, blocks.0.conv.bias first" in line


def test_larger_networks_begin_as_the_function_that_their_first_weights_are(trained: Path) -> None:
    small, _ = checkpoint.load_network(trained)
    torch.manual_seed(1)
    large = tasks.make(tiny.recipe(network={"blocks": 3, "phases": 2, "features": 13})).network
    checkpoint.load_weights(trained, large, grow=True)
    planes = nets.picture("smooth", 12, 14, 3)
    predicted = predictions(planes, tiny.PARAMETERS)
    with torch.inference_mode():
        before = small.nats(*tensors(data.codes(planes, predicted, tiny.PARAMETERS), "cpu"))
        after = large.nats(*tensors(data.codes(planes, predicted, tiny.PARAMETERS, large.configuration, (3, 1)), "cpu"))
    np.testing.assert_allclose(after.numpy(), before.numpy(), atol=1e-5)
    with pytest.raises(TrainingError, match=r"blocks\.0"):
        checkpoint.load_weights(trained, tasks.make(tiny.recipe(network={"blocks": 0})).network, grow=True)


def test_another_kind_of_outputs_begins_anew_on_the_trunk_and_the_layers_that_are_there(trained: Path) -> None:
    before, _ = checkpoint.load_network(trained)
    other = tasks.make(tiny.recipe(network={"output": "logistics"})).network
    begun = {name: value.detach().clone() for name, value in other.named_parameters()}
    checkpoint.load_weights(trained, other, grow=True)
    kept = dict(before.named_parameters())
    for name, value in other.named_parameters():
        expected = begun if ".output." in name else kept
        assert torch.equal(value, expected[name]), name


@pytest.mark.usefixtures("quick")
def test_an_output_folder_that_cannot_be_made_is_refused_in_one_line(pictures: Path, tmp_path: Path) -> None:
    path = tiny.written(tmp_path / "mine.json", tiny.RECIPE)
    refused(train(path, "--data", pictures, "--out", path))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_in_one_line(pictures: Path, tmp_path: Path, device: str) -> None:
    path = tiny.written(tmp_path / "mine.json", tiny.RECIPE)
    result = train(path, "--data", pictures, "--out", tmp_path / "out", "--device", device)
    assert 3 <= result.exit_code <= TrainingError.exit_code


def test_the_modules_own_command_line_ends_alike(pictures: Path, tmp_path: Path, capsys: Any) -> None:
    arguments = [str(tmp_path / "none.json"), "--data", str(pictures), "--out", str(tmp_path)]
    assert loop.main(arguments) == TrainingError.exit_code
    line, *rest = capsys.readouterr().err.splitlines()
    assert rest == []
    assert line.startswith("error: ")


@pytest.mark.usefixtures("quick")
def test_weights_that_go_on_say_what_they_had_seen_before(
    trained: Path, pictures: Path, cache: Path, tmp_path: Path
) -> None:
    recipe = tiny.recipe(pixels=2 * tiny.PIXELS)
    for start, folder in ((trained, tmp_path / "one"), (tmp_path / "one", tmp_path / "two")):
        run(recipe, pictures, folder, cache, init=start)
    card = json.loads((tmp_path / "two" / checkpoint.CARD).read_text())
    assert card["training"]["pixels"] == 2 * tiny.PIXELS
    assert card["training"]["before"]["pixels"] == tiny.RECIPE["pixels"] + 2 * tiny.PIXELS
    assert checkpoint.total(card, "pixels") == tiny.RECIPE["pixels"] + 4 * tiny.PIXELS
