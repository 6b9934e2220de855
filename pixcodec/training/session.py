"""One short training on a lent GPU: `python -m pixcodec.training.session RECIPE --data PACK --out DIR --minutes M`.

The minutes are this call's whole time: predictor planes of the pack are made by all cores, go to the GPU, and training
takes what is left, its rate falling to nothing at the end.  What comes back is small: the checkpoint in files of at
most 16 MB, 16-bit weights with their card, and the log.  `--resume` goes on from such a folder, perhaps with other
pictures.  docs/gpu.md shows how to use it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pixcodec.errors import TrainingError
from pixcodec.progress import cores
from pixcodec.training import checkpoint, data, loop, resident, sources, tasks
from pixcodec.training.terminal import ended, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pixcodec.training.evaluate import Bits

MEGABYTE = 1_000_000
LARGEST_FILE = 16 * MEGABYTE
MOST_PARTS = 5  # of a checkpoint: with weights, card and log there are eight files
BATCH, TURNS = 32, 8
_MEMORY = Path("/dev/shm")  # noqa: S108 - the system's folder in memory, where planes are written fastest
_RESERVE = 20.0, 0.1  # seconds, or if less this share, for validation and writing at the end
_MOMENTS = frozenset({"exp_avg", "exp_avg_sq"})
_OTHERS = (checkpoint.WEIGHTS, checkpoint.CARD, loop.LOG)


def small(state: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint in half of its bytes: moments in bfloat16, the running mean in float16; weights are kept exactly."""
    optimiser = dict(state["optimiser"])
    optimiser["state"] = {
        number: {key: value.bfloat16() if key in _MOMENTS else value for key, value in each.items()}
        for number, each in optimiser["state"].items()
    }
    return {**state, "optimiser": optimiser, "average": [mean.half() for mean in state.get("average", [])]}


def deliver(work: Path, out: Path) -> None:
    """Copy what a run keeps in `work` to `out`, in at most eight files of at most 16 MB.

    A checkpoint's files are called by its step and by how many they are; older ones go when all are there.

    Raises:
        TrainingError: they do not fit, or cannot be written.
    """
    state = checkpoint.load_checkpoint(work)
    try:
        out.mkdir(parents=True, exist_ok=True)
        older = list(out.glob("step-*"))
        with tempfile.TemporaryDirectory() as folder:
            checkpoint.save_checkpoint(Path(folder), small(state))
            content = (Path(folder) / checkpoint.CHECKPOINT).read_bytes()
        parts = [content[first : first + LARGEST_FILE] for first in range(0, len(content), LARGEST_FILE)]
        if len(parts) > MOST_PARTS or any((work / name).stat().st_size > LARGEST_FILE for name in _OTHERS):
            raise TrainingError(
                f"a checkpoint must fit in {MOST_PARTS} files of {LARGEST_FILE // MEGABYTE} MB and weights in one, "
                f"found {len(content) / MEGABYTE:.0f} MB; train a smaller network"
            )
        for k, part in enumerate(parts):
            (out / f"step-{state['position']['step']}-{k}-of-{len(parts)}").write_bytes(part)
        for name in _OTHERS:
            shutil.copyfile(work / name, out / name)
        for path in older:
            if not path.name.startswith(f"step-{state['position']['step']}-"):
                path.unlink()
    except OSError as problem:
        raise TrainingError(f"--out needs a folder that can be written, found {problem}; give another") from None


def collect(folder: Path, work: Path) -> None:
    """Put the newest whole checkpoint that `deliver` wrote to `folder` together again in `work`.

    Raises:
        TrainingError: there is none.
    """
    found: dict[tuple[int, int], dict[int, Path]] = {}
    for path in folder.glob("step-*-*-of-*"):
        _, step, part, _, parts = path.name.split("-")
        if step.isdecimal() and part.isdecimal() and parts.isdecimal():
            found.setdefault((int(step), int(parts)), {})[int(part)] = path
    whole = [key for key, files in found.items() if sorted(files) == list(range(key[1]))]
    if not whole:
        raise TrainingError(f"--resume needs a folder with all parts of a checkpoint, found none in {folder}")
    try:
        with (work / checkpoint.CHECKPOINT).open("wb") as stream:
            for _, path in sorted(found[max(whole)].items()):
                stream.write(path.read_bytes())
        if (folder / loop.LOG).is_file():
            shutil.copyfile(folder / loop.LOG, work / loop.LOG)
    except OSError as problem:
        raise TrainingError(f"--resume needs a folder that can be read, found {problem}") from None


def large(recipe: Mapping[str, Any], batch: int, turns: int) -> dict[str, Any]:
    """A recipe whose batches have `batch` crops, of `turns` symmetries of each picture."""
    return {**recipe, "data": {**recipe["data"], "batch": batch, "versions": {"default": turns}}}


def _make(recipe: Mapping[str, Any], device: torch.device, batch: int, turns: int) -> resident.Task:
    if "kind" in recipe["network"]:
        raise TrainingError(
            f"a photo network's recipe is needed, found {recipe['network']['kind']}; use pixcodec train"
        )
    return resident.Task(large(recipe, batch, turns), device)


def _bytes(wanted: Sequence[data.Version], values: int) -> int:
    """What the planes of versions take where each pixel has so many values of one byte."""
    total = 0
    for version in wanted:
        height, width = sources.size(version.picture)
        total += min(height * width, version.pixels or height * width) * values
    return total


def _place(needed: int) -> Path:
    """The first folder for temporary files that has room, memory before disks."""
    places = [_MEMORY, Path(tempfile.gettempdir())]
    fitting = [place for place in places if place.is_dir() and shutil.disk_usage(place).free > 1.2 * needed]
    return (fitting or places[-1:])[0]


class _Run(loop.Run):
    """A run whose checkpoints are delivered as they are written: what a call leaves behind survives its being cut."""

    def __init__(self, trainer: loop.Trainer, loaded: Any, work: Path, out: Path, say: tasks.Say) -> None:  # noqa: ANN401
        super().__init__(trainer, loaded, work, say)
        self._delivered = out

    def save(self, bits: Bits | None) -> None:
        """Write checkpoint, weights and card, and deliver them."""
        super().save(bits)
        deliver(self.out, self._delivered)


def run(
    recipe: str | Path,
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    minutes: float,
    device: str = "cuda",
    resume: str | Path | None = None,
    init: str | Path | None = None,
    batch: int = BATCH,
    turns: int = TURNS,
    rate: float | None = None,
    compiled: bool | None = None,
    say: tasks.Say | None = None,
) -> Bits:
    """Train for a while; see this module's text.

    Args:
        recipe: a photo recipe's JSON file.
        folders: pictures (`sources.find`).
        out: folder for what comes back.
        minutes: from now until all is written.
        device: "cuda", "cpu", ...
        resume: a folder that an earlier call wrote, to go on from.
        init: 16-bit weights to start from, where nothing is resumed.
        batch: crops a step.
        turns: symmetries of each picture, 1 to 8.
        rate: of the optimiser; by default the recipe's, times the root of how much larger batches are.
        compiled: whether to compile the network and keep that if it is faster; by default not on a processor.
        say: takes lines about progress.

    Returns:
        Bits of the validation pictures at the end.

    Raises:
        TrainingError: recipe, pictures, checkpoint or weights cannot be used, or there is no time left to train.
    """
    began = time.monotonic()
    say, end = say or (lambda _: None), began + 60 * minutes - min(_RESERVE[0], _RESERVE[1] * 60 * minutes)
    loop.keep_memory()
    torch.backends.cudnn.benchmark = True
    where = loop.device_called(device)
    plain = checkpoint.load_recipe(Path(recipe))
    trainer = loop.Trainer(plain, where, make=partial(_make, device=where, batch=batch, turns=turns))
    task: resident.Task = trainer.task  # type: ignore[assignment]
    scaled = float(plain["optimiser"]["rate"]) * (batch / float(plain["data"].get("batch", batch))) ** 0.5
    trainer.settings = {**plain["optimiser"], "rate": scaled if rate is None else rate}
    wanted = data.versions(sources.find(folders), task.recipe["data"])
    needed = _bytes(wanted, task.parameters.channels * (1 + 2 * task.parameters.count))
    with tempfile.TemporaryDirectory(dir=_place(needed)) as folder:
        work = Path(folder)
        if resume is not None:
            collect(Path(resume), work)
            trainer.restore(checkpoint.load_checkpoint(work))
        elif init is not None:
            trainer.begin_from(Path(init))
        loaded = task.load(folders, work / "cache", cores(), say)
        say(f"{needed / 1e9:.1f} GB of planes after {time.monotonic() - began:.0f} s")
        training = _Run(trainer, loaded, work, Path(out), say)
        if where.type != "cpu" if compiled is None else compiled:
            task.compile(next(training.batches.run(trainer.position.step)), say)
        trainer.begun, trainer.minutes = trainer.position.seconds, (end - time.monotonic()) / 60
        if trainer.minutes <= 0:
            raise TrainingError(
                f"--minutes must be more than what preparing takes, found {minutes:g} with "
                f"{(time.monotonic() - began) / 60:.2g} gone; carry fewer pictures or give fewer --turns"
            )
        say(
            f"training for {trainer.minutes:.2f} minutes from step {trainer.position.step}, "
            f"rate {trainer.settings['rate']:.2g}"
        )
        bits = training.go()
    say(f"done after {time.monotonic() - began:.0f} s")
    return bits


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; an exit code."""
    parser = argparse.ArgumentParser(prog="python -m pixcodec.training.session", description="Train on a lent GPU.")
    parser.add_argument("recipe", type=Path, help="a photo recipe's JSON file")
    parser.add_argument("--data", dest="folders", nargs="+", required=True, help="folders of pictures")
    parser.add_argument("--out", required=True, type=Path, help="folder for checkpoint, weights and log")
    parser.add_argument("--minutes", required=True, type=float, help="from now until all is written")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--resume", type=Path, help="folder that an earlier call wrote")
    parser.add_argument("--init", type=Path, help="16-bit weights to start from")
    parser.add_argument("--batch", type=int, default=BATCH, help=f"crops a step (default {BATCH})")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"symmetries of each picture (default {TURNS})")
    parser.add_argument("--rate", type=float, help="of the optimiser (default: the recipe's, for larger batches)")
    parser.add_argument("--eager", dest="compiled", action="store_false", default=None, help="compile nothing")

    return ended(lambda: run(**vars(parser.parse_args(arguments)), say=say))


if __name__ == "__main__":
    sys.exit(main())
