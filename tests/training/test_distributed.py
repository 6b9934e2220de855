"""`torchrun -m pixcodec train`: two processes learn from two batches what one learns from both, and stop together."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_training as tiny

torch = pytest.importorskip("torch")

import two_processes  # noqa: E402 - after the skip

from pixcodec.training import checkpoint, distributed, loop  # noqa: E402

BATCH = tiny.SET_RECIPE["data"]["batch"]
PIXELS = BATCH * 8 * 8


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Two processes on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False, env=environment
    )


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_set(tmp_path_factory.mktemp("set"))


@pytest.fixture(scope="module")
def two(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two processes leave."""
    folder = tmp_path_factory.mktemp("two")
    recipe = tiny.written(folder / "recipe.json", {**tiny.SET_RECIPE, "pixels": 2 * PIXELS})
    result = torchrun(Path(two_processes.__file__), recipe, pictures, folder)
    assert result.returncode == 0, result.stderr
    (folder / "said").write_text(result.stderr, encoding="utf-8")
    return folder


def test_a_step_of_two_processes_is_that_of_one_with_both_of_their_batches(
    two: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "autocast", two_processes.in_binary32())
    monkeypatch.setattr(loop, "keep_memory", lambda: None)
    monkeypatch.setattr(loop, "matmul_rate", lambda device: 1e9)  # noqa: ARG005
    changed = {**tiny.SET_RECIPE, "data": {**tiny.SET_RECIPE["data"], "batch": 2 * BATCH}, "pixels": 2 * PIXELS}
    two_processes.one_step(tiny.written(tmp_path / "recipe.json", changed), pictures, tmp_path)
    one = torch.load(tmp_path / "step0.pt")
    halves = [torch.load(two / f"step{rank}.pt") for rank in range(2)]
    assert torch.equal(torch.cat([half["batch"] for half in halves]), one["batch"])
    for half in halves:
        assert half["position"] | {"seconds": 0} == one["position"] | {"seconds": 0}
        torch.testing.assert_close(half["gradients"], one["gradients"], rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(half["weights"], one["weights"], rtol=0, atol=1e-4)
    for what in ("gradients", "weights"):
        assert all(torch.equal(value, halves[1][what][name]) for name, value in halves[0][what].items())
    assert max(float(gradient.abs().max()) for gradient in one["gradients"].values()) > 0.01


def test_only_the_first_process_talks_and_writes(two: Path) -> None:
    entries = [json.loads(line) for line in (two / "one" / loop.LOG).read_text().splitlines()]
    assert [(entry["step"], entry["pixels"]) for entry in entries] == [(1, 2 * PIXELS)]
    assert checkpoint.load_network(two / "one")[1]["training"]["pixels"] == 2 * PIXELS
    said = [line for line in (two / "said").read_text().splitlines() if "for validation" in line]
    assert said == ["23 images of 8x8x3; 1 for validation"] * 3, "once for each of the three runs"


def test_all_processes_stop_after_the_same_step_when_one_is_asked_to(two: Path) -> None:
    said = [json.loads((two / f"said{rank}.json").read_text()) for rank in range(2)]
    assert [each["interrupted"] for each in said] == ["interrupted"] * 2
    position = checkpoint.load_checkpoint(two / "interrupted")["position"]
    assert position["step"] == two_processes.INTERRUPTED_AT
    assert not (two / "interrupted" / checkpoint.WEIGHTS).exists()


def test_the_first_processs_clock_decides_when_the_time_is_over(two: Path) -> None:
    said = [json.loads((two / f"said{rank}.json").read_text()) for rank in range(2)]
    assert said[0]["bits"] == said[1]["bits"] > 0
    assert checkpoint.load_checkpoint(two / "clocks")["position"]["seconds"] >= 0.3


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")  # as some cluster sets it for its own ends
    device: Any = torch.device("cpu")
    assert distributed.begin(device) is device
    assert (distributed.rank(), distributed.world()) == (0, 1)
    assert distributed.agree(0.5) == 0.5
    assert [distributed.anyone(asked) for asked in (False, True)] == [False, True]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are read from Linux's /proc")
def test_no_thread_of_the_group_outlives_it(two: Path) -> None:
    for rank in range(2):
        assert "gloo" not in (two / f"threads{rank}").read_text(encoding="utf-8")
