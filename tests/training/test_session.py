"""A session packs, trains for its minutes, delivers small files, and goes on from them: the dry run of a lent GPU."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import tiny_training as tiny

torch = pytest.importorskip("torch")

from pixcodec.errors import TrainingError  # noqa: E402 - after the skip
from pixcodec.training import checkpoint, data, loop, pack, session  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

MINUTES = 0.2
AVERAGED = tiny.recipe(optimiser={"average": 0.9})


@pytest.fixture(scope="module")
def carried(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pack and a recipe, as a call would take along."""
    folder = tmp_path_factory.mktemp("carried")
    pack.run([pictures], folder / "pack")
    tiny.written(folder / "recipe.json", AVERAGED)
    return folder


def go(carried: Path, out: Path, **options: Any) -> list[str]:
    """Run a session; what it said."""
    said: list[str] = []
    options = {"minutes": MINUTES, "device": "cpu", "batch": 4, "turns": 2} | options
    session.run(carried / "recipe.json", [carried / "pack"], out, say=said.append, **options)
    return said


def state(folder: Path, work: Path) -> dict[str, Any]:
    work.mkdir()
    session.collect(folder, work)
    return checkpoint.load_checkpoint(work)


@pytest.fixture(scope="module")
def delivered(
    carried: Path,
    items: object,  # noqa: ARG001 - so that everything is compiled
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What a session left behind; not to be changed."""
    out = tmp_path_factory.mktemp("delivered")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "ProcessPoolExecutor", tiny.InThisProcess)
        for name, stand_in in (("matmul_rate", lambda _: 1e9), ("keep_memory", lambda: None)):
            patch.setattr(loop, name, stand_in)
        began = time.monotonic()
        said = go(carried, out)
        assert 0.8 * 60 * MINUTES < time.monotonic() - began < 1.5 * 60 * MINUTES, said
    assert any("GB of planes after" in line for line in said)
    assert any(line.startswith("training for 0.") and "from step 0, rate 0.028" in line for line in said)
    return out


def test_few_small_files_come_back(delivered: Path) -> None:
    files = sorted(path.name for path in delivered.iterdir())
    assert files[:3] == [checkpoint.CARD, checkpoint.WEIGHTS, loop.LOG]
    (part,) = files[3:]
    step = state_of(delivered)["position"]["step"]
    assert part == f"step-{step}-0-of-1"
    assert step > 3
    card = json.loads((delivered / checkpoint.CARD).read_text())
    assert card["training"]["steps"] == step
    assert card["training"]["pixels"] == step * 4 * tiny.CROP**2
    assert card["training"]["recipe"] == AVERAGED, "not what it was made into for this device"


def state_of(folder: Path) -> dict[str, Any]:
    (part,) = folder.glob("step-*")
    whole: dict[str, Any] = torch.load(part, weights_only=True)
    return whole


def test_the_weights_are_the_running_mean(delivered: Path) -> None:
    kept = state_of(delivered)
    network, _ = checkpoint.load_network(delivered)
    assert len(kept["average"]) == len(list(network.parameters()))
    for parameter, mean in zip(network.parameters(), kept["average"], strict=True):
        assert torch.equal(parameter, mean.float())
    assert any(not torch.equal(p, kept["network"][name]) for name, p in network.named_parameters())


@pytest.mark.usefixtures("quick")
def test_a_session_resumes_with_other_pictures_and_the_whole_schedule(
    carried: Path, delivered: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    tiny.make_pictures(tmp_path / "photographs")
    pack.run([tmp_path / "photographs"], other / "pack", part=1, parts=2)
    shutil.copyfile(carried / "recipe.json", other / "recipe.json")
    said = go(other, tmp_path / "out", resume=delivered, minutes=MINUTES / 2)
    before, after = state_of(delivered), state_of(tmp_path / "out")
    assert any(f"from step {before['position']['step']}," in line for line in said)
    assert after["position"]["step"] > before["position"]["step"]
    assert after["position"]["seconds"] > before["position"]["seconds"]
    (average,) = {float(each["step"]) for each in after["optimiser"]["state"].values()}
    assert average == after["position"]["step"], "the optimiser went on"
    log = [json.loads(line) for line in (tmp_path / "out" / loop.LOG).read_text().splitlines()]
    assert len(log) > len((delivered / loop.LOG).read_text().splitlines())


@pytest.mark.usefixtures("quick")
def test_the_rate_of_a_resumed_session_begins_high_and_ends_at_nothing() -> None:
    trainer = loop.Trainer(tiny.recipe(optimiser={"decay": 0.5, "rate": 1.0}), torch.device("cpu"), minutes=1)
    trainer.position = loop.Position(50, 1000, 600.0)
    trainer.begun = 600.0
    assert trainer.progress == 0
    assert trainer.rate() == 1
    trainer.position.seconds = 645.0
    assert trainer.rate() == pytest.approx(0.5)
    trainer.position.seconds = 660.0
    assert trainer.progress == 1


@pytest.mark.usefixtures("quick")
def test_a_carried_checkpoint_keeps_weights_exactly_and_moments_nearly(trained: Path, tmp_path: Path) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    shutil.copytree(trained, work)
    session.deliver(work, out)
    before, after = checkpoint.load_checkpoint(work), state(out, tmp_path / "again")
    assert all(torch.equal(value, after["network"][name]) for name, value in before["network"].items())
    for number, each in before["optimiser"]["state"].items():
        for key, value in each.items():
            close = {"rtol": 2**-8, "atol": 0} if key != "step" else {"rtol": 0, "atol": 0}
            torch.testing.assert_close(after["optimiser"]["state"][number][key].float(), value, **close)
    trainer = loop.Trainer(tiny.RECIPE, torch.device("cpu"))
    trainer.restore(after)
    moments = [each["exp_avg"] for each in trainer.optimiser.state.values()]
    assert {moment.dtype for moment in moments} == {torch.float32}


def test_a_large_checkpoint_comes_in_parts_and_older_ones_go(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    shutil.copytree(trained, work)
    out.mkdir()
    (out / "step-3-0-of-1").write_bytes(b"older")
    whole = state_size(work, tmp_path)
    largest = whole // 3
    monkeypatch.setattr(session, "LARGEST_FILE", largest)
    session.deliver(work, out)
    parts = sorted(path.name for path in out.glob("step-*"))
    assert parts == [f"step-{tiny.STEPS}-{k}-of-{len(parts)}" for k in range(len(parts))]
    assert len(parts) in (3, 4)
    assert all(path.stat().st_size <= largest for path in out.iterdir())
    state(out, tmp_path / "again")


def state_size(work: Path, folder: Path) -> int:
    (folder / "small").mkdir()
    checkpoint.save_checkpoint(folder / "small", session.small(checkpoint.load_checkpoint(work)))
    return (folder / "small" / checkpoint.CHECKPOINT).stat().st_size


def test_what_cannot_be_carried_is_not_written(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(trained, tmp_path / "work")
    monkeypatch.setattr(session, "LARGEST_FILE", 100)
    with pytest.raises(TrainingError, match="must fit in 5 files"):
        session.deliver(tmp_path / "work", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_of_checkpoints_the_newest_whole_one_is_collected(delivered: Path, tmp_path: Path) -> None:
    shutil.copytree(delivered, tmp_path / "carried")
    (part,) = (tmp_path / "carried").glob("step-*")
    content = part.read_bytes()
    part.rename(part.with_name("step-7-1-of-3"))
    for k, piece in enumerate((content[:100], content[100:200], content[200:])):
        (tmp_path / "carried" / f"step-7-{k}-of-3").write_bytes(piece)
    (tmp_path / "carried" / "step-10-1-of-2").write_bytes(b"cut")
    (tmp_path / "carried" / "step-5-0-of-1").write_bytes(b"older")
    (tmp_path / "carried" / "step-x-0-of-1").write_bytes(b"no number")
    again = state(tmp_path / "carried", tmp_path / "again")
    assert again["position"] == state_of(delivered)["position"]


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_used_is_explained(carried: Path, delivered: Path, tmp_path: Path) -> None:
    shutil.copytree(delivered, tmp_path / "damaged")
    (part,) = (tmp_path / "damaged").glob("step-*")
    part.write_bytes(part.read_bytes()[:-500])
    (tmp_path / "paper").mkdir()
    tiny.written(tmp_path / "paper" / "recipe.json", tiny.SET_RECIPE)
    shutil.copytree(carried / "pack", tmp_path / "paper" / "pack")
    for folder, options, message in (
        (carried, {"resume": tmp_path}, "--resume needs a folder with all parts of a checkpoint, found none"),
        (carried, {"resume": tmp_path / "damaged"}, "--resume needs a checkpoint"),
        (carried, {"device": "cuda:77"}, "--device needs one that torch has here, found cuda:77"),
        (carried, {"minutes": 1e-4}, "--minutes must be more than what preparing takes"),
        (tmp_path / "paper", {}, "a photo network's recipe is needed, found pixelcnn"),
    ):
        with pytest.raises(TrainingError, match=message):
            go(folder, tmp_path / "out", **options)


@pytest.mark.usefixtures("quick")
def test_init_begins_from_weights_and_their_mean(carried: Path, trained: Path, tmp_path: Path) -> None:
    still = tiny.recipe(optimiser={"average": 0.9, "rate": 0.0})
    tiny.written(tmp_path / "recipe.json", still)
    shutil.copytree(carried / "pack", tmp_path / "pack")
    go(tmp_path, tmp_path / "out", init=trained, minutes=MINUTES / 2)
    networks = [checkpoint.load_network(folder)[0] for folder in (tmp_path / "out", trained)]
    for one, two in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(one, two)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("compiled", [True, False])
def test_a_network_is_compiled_if_it_is_wanted(
    carried: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, compiled: bool
) -> None:
    asked: list[object] = []

    def compiler(function: Any) -> Any:
        asked.append(function)
        return partial(function)

    monkeypatch.setattr(torch, "compile", compiler)
    said = go(carried, tmp_path / "out", compiled=compiled, minutes=MINUTES / 2)
    assert len(asked) == compiled
    assert any("M pixels a second forward and backward compiled" in line for line in said) == compiled


def without_what_is_not_there(script: str) -> subprocess.CompletedProcess[str]:
    """A lent machine has torch, numba, Pillow and safetensors; no range coder, and nothing of ours is installed."""
    begin = "import sys; sys.modules |= dict.fromkeys(['constriction', 'click', 'imagecodecs'])\n"
    return subprocess.run([sys.executable, "-c", begin + script], capture_output=True, text=True, check=False)


def test_a_session_needs_no_range_coder() -> None:
    done = without_what_is_not_there("import pixcodec.training.session")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_the_command_line_trains_from_the_checkout(carried: Path, tmp_path: Path) -> None:
    arguments = [
        carried / "recipe.json", "--data", carried / "pack", "--out", tmp_path / "out", "--minutes", "0.5",
        "--device", "cpu", "--batch", "2", "--turns", "1",
    ]  # fmt: skip
    done = without_what_is_not_there(
        "from pixcodec.training import session\n"
        f"if __name__ == '__main__': sys.exit(session.main({[str(each) for each in arguments]!r}))"
    )
    assert done.returncode == 0, done.stderr
    assert "done after" in done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_the_command_line_explains(carried: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(carried / "recipe.json"), "--data", "nowhere", "--out", "out", "--minutes", "1", "--device", "cpu"]
    assert session.main(arguments) == TrainingError.exit_code
    assert (
        capsys.readouterr().err == "error: --data needs folders of pictures, found none at nowhere; give another one\n"
    )
