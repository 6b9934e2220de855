"""What each of the processes in test_distributed.py does: torchrun two_processes.py RECIPE SET FOLDER."""

from __future__ import annotations

import atexit
import json
import os
import signal
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from pixcodec import cli
from pixcodec.training import distributed, loop

SECOND = os.environ.get("RANK") == "1"
INTERRUPTED_AT = 3


def in_binary32() -> Any:
    """Stands in for `torch.autocast`: bfloat16 rounds the sum over a batch otherwise than the sums over its halves."""
    return lambda *_: nullcontext()


def one_step(recipe: Path, pictures: Path, folder: Path) -> None:
    """Train for one step by the command line; what came of it goes to `step0.pt` and `step1.pt`."""
    step, seed = loop.Trainer.step, torch.manual_seed

    def noted(trainer: loop.Trainer, batch: Any) -> torch.Tensor:
        result = step(trainer, batch)
        about = {
            "batch": torch.from_numpy(batch),
            "gradients": {name: p.grad for name, p in trainer.network.named_parameters()},
            "weights": trainer.network.state_dict(),
            "position": vars(trainer.position),
        }
        torch.save(about, folder / f"step{distributed.rank()}.pt")
        return result

    loop.Trainer.step = noted
    torch.manual_seed = lambda number: seed(number + SECOND)  # weights are the first process's, not the seed's
    arguments = [recipe, "--data", pictures, "--out", folder / "one", "--threads", 1]
    cli.train.main(list(map(str, arguments)), standalone_mode=False)
    loop.Trainer.step, torch.manual_seed = step, seed


def an_interrupted_run(recipe: Path, pictures: Path, folder: Path) -> str:
    """Train until the second process alone is asked to end."""
    step = loop.Trainer.step

    def interrupted(trainer: loop.Trainer, batch: Any) -> torch.Tensor:
        if SECOND and trainer.position.step == INTERRUPTED_AT - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer, batch)

    loop.Trainer.step = interrupted
    try:
        loop.run(recipe, [pictures], folder / "interrupted", threads=1, minutes=60)
    except KeyboardInterrupt:
        return "interrupted"
    finally:
        loop.Trainer.step = step
    return "went on"


def a_run_by_two_clocks(recipe: Path, pictures: Path, folder: Path) -> float:
    """Train by time where the second process's clock stands still; what the run returns."""
    if SECOND:
        loop.time = SimpleNamespace(monotonic=lambda: 0.0)
    return loop.run(recipe, [pictures], folder / "clocks", threads=1, minutes=0.005).total


def main(recipe: Path, pictures: Path, folder: Path) -> None:
    """Do all of it and write `said0.json` and `said1.json`."""
    torch.autocast = in_binary32()
    loop.keep_memory = lambda: None
    loop.matmul_rate = lambda device: 1e9  # noqa: ARG005
    one_step(recipe, pictures, folder)
    said = {
        "interrupted": an_interrupted_run(recipe, pictures, folder),
        "bits": a_run_by_two_clocks(recipe, pictures, folder),
    }
    (folder / f"said{distributed.rank()}.json").write_text(json.dumps(said), encoding="utf-8")


def threads(folder: Path) -> None:
    """Write the names of the threads that run, Python's or not, to `threads0` and `threads1`."""
    names = [task.joinpath("comm").read_text("utf-8").strip() for task in Path("/proc/self/task").iterdir()]
    (folder / f"threads{os.environ['RANK']}").write_text("\n".join(names), encoding="utf-8")


if __name__ == "__main__":
    if Path("/proc/self/task").exists():
        atexit.register(threads, Path(sys.argv[-1]))  # before the group's own, so it is called after that
    main(*map(Path, sys.argv[1:]))
