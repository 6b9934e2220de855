"""The training loop: `pixcodec train RECIPE --data DIR... --out DIR`, or `python -m pixcodec.training.loop`.

A recipe is JSON: predictors, network, data, optimiser, and how many pixels to see.  The rate is constant after a short
warm-up and falls to nothing as a cosine over the last part of the pixels or, with `minutes`, of the time, which counts
on through `resume`.  An optimiser's `average` has the weights' running mean validated and written, not the weights.
Under `torchrun` several processes train together (`distributed`).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import signal
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pixcodec.errors import TrainingError
from pixcodec.exact import torch_backend
from pixcodec.nets.heads import BITS
from pixcodec.training import checkpoint, distributed, optimisers, tasks, terminal
from pixcodec.training.evaluate import Bits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

LOG = "log.jsonl"
_REPORT_SECONDS = 30.0
# The product whose rate training is compared with: a GPU is not filled by one that a processor takes its time for.
_MATMUL = {"cpu": (4096, 4096, 512)}
_LARGE_MATMUL = (8192, 8192, 8192)


@dataclass
class Position:
    """How far training has come."""

    step: int = 0  # the number of the next batch
    pixels: int = 0
    seconds: float = 0.0


@dataclass
class Trainer:
    """A network, its optimiser, and where they stand.

    Attributes:
        recipe: as `checkpoint.load_recipe` gives it.
        device: where to compute.
        minutes: the schedule's length in time, or None: in pixels.
        position: how far this training has come.
        before: pixels and minutes of what the first weights had been trained by (`--init`).
        begun: seconds of this training that were over when the schedule of `minutes` began.
        make: gives the recipe's task.
        average: the running mean of all parameters; nothing where the recipe asks for none.
    """

    recipe: Mapping[str, Any]
    device: torch.device
    minutes: float | None = None
    position: Position = field(default_factory=Position)
    before: Mapping[str, Any] = field(default_factory=dict)
    begun: float = 0.0
    make: Callable[[Mapping[str, Any]], tasks.Task] = tasks.make
    average: list[torch.Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the network with the weights that the recipe's seed gives, and the optimiser."""
        torch.manual_seed(int(self.recipe["data"].get("seed", 0)))
        self.task = self.make(self.recipe)
        self.channels = int(self.task.card()["channels"])
        self.network = self.task.network.to(self.device).to(memory_format=torch.channels_last)
        self.settings: Mapping[str, Any] = self.recipe["optimiser"]
        self.optimiser = optimisers.make(self.network, self.settings)
        self.start_average()

    @property
    def progress(self) -> float:
        """The share of the schedule that is done, 0 to 1."""
        if self.minutes is not None:
            return min((self.position.seconds - self.begun) / (60 * self.minutes), 1.0)
        return min(self.position.pixels / float(self.recipe["pixels"]), 1.0)

    def rate(self) -> float:
        """The learning rate now."""
        warm = min((self.position.step + 1) / max(int(self.settings.get("warm_up", 1)), 1), 1.0)
        decay = float(self.settings.get("decay", 0.35))
        late = max(self.progress - (1 - decay), 0.0) / decay if decay > 0 else 0.0
        return float(self.settings["rate"]) * warm * 0.5 * (1 + math.cos(math.pi * min(late, 1.0)))

    def step(self, batch: Any) -> torch.Tensor:  # noqa: ANN401 - of the task
        """Learn from one batch; its mean bits per sub-pixel, not yet waited for."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate()
        with torch.autocast(self.device.type, torch.bfloat16):
            nats = self.task.nats(batch, self.device)
        loss = nats.mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        distributed.average_gradients(self.network)
        nn.utils.clip_grad_norm_(self.network.parameters(), float(self.settings.get("clip", 1.0)))
        self.optimiser.step()
        if self.average:
            keep = min(float(self.settings["average"]), (1 + self.position.step) / (10 + self.position.step))
            with torch.no_grad():
                torch._foreach_lerp_(self.average, list(self.network.parameters()), 1 - keep)
        self.position.step += 1
        self.position.pixels += nats.numel() // self.channels * distributed.world()
        return loss.detach() * BITS

    def start_average(self) -> None:
        """Begin the running mean, if the recipe wants one, with the weights as they are."""
        wanted = float(self.settings.get("average", 0.0)) > 0
        self.average = [p.detach().clone() for p in self.network.parameters()] if wanted else []

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with the running mean as its weights, if there is one."""
        own = [p.data for p in self.network.parameters()]
        for parameter, mean in zip(self.network.parameters(), self.average or own, strict=True):
            parameter.data = mean
        try:
            yield
        finally:
            for parameter, data in zip(self.network.parameters(), own, strict=True):
                parameter.data = data

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs to go on as if nothing had happened."""
        return {
            "recipe": json.dumps(self.recipe, sort_keys=True),
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": torch.get_rng_state(),
            "position": vars(self.position).copy(),
            "before": dict(self.before),
            "average": self.average,
        }

    def begin_from(self, weights: Path) -> None:
        """Begin with 16-bit weights, perhaps of a smaller network; `TrainingError` where they do not fit."""
        checkpoint.load_weights(weights, self.network, grow=True)
        self.before = checkpoint.trained_before(weights)
        self.start_average()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint.

        Raises:
            TrainingError: it is of another network or other data; a recipe's schedule may differ.
        """
        try:
            before = json.loads(state["recipe"])
            for part in ("predictors", "network", "data"):
                if before.get(part) != json.loads(json.dumps(self.recipe.get(part))):
                    raise TrainingError(
                        f"--resume needs the recipe that the checkpoint began with, found other {part}; start anew"
                    )
            if before["optimiser"]["name"] != self.settings["name"]:
                raise TrainingError("--resume needs the optimiser that the checkpoint began with; start anew")
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["generator"])
            self.position = Position(**state["position"])
            self.before = dict(state.get("before", {}))
            self.start_average()
            for mean, kept in zip(self.average, state.get("average", []), strict=False):
                mean.copy_(kept)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as problem:
            raise TrainingError(f"--resume needs a whole checkpoint, found {problem!r} in it; start anew") from None


def keep_memory() -> None:
    """Have glibc keep freed memory: handing it back and fetching it anew costs a tenth of a step's time."""
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_max = -1, -2, -4
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(top_pad, 500_000_000)


def matmul_rate(device: torch.device, seconds: float = 0.4) -> float:
    """Multiply-adds a second of a large bfloat16 product on this device, the best of a few."""
    m, k, n = _MATMUL.get(device.type, _LARGE_MATMUL)
    a, b = torch.ones(m, k, dtype=torch.bfloat16, device=device), torch.ones(k, n, dtype=torch.bfloat16, device=device)
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        begin = time.perf_counter()
        float((a @ b)[0, 0])
        best = min(best, time.perf_counter() - begin)
    return m * k * n / best


def run(
    recipe: str | Path,
    data_folders: Sequence[str | Path],
    out: str | Path,
    *,
    cache: str | Path | None = None,
    minutes: float | None = None,
    device: str = "cpu",
    resume: bool = False,
    init: str | Path | None = None,
    threads: int | None = None,
    say: Callable[[str], None] | None = None,
) -> Bits:
    """Train a recipe's network and write `float.safetensors` and `float.json` into `out`.

    Of processes that `torchrun` started each calls this; the first one talks and writes.

    Args:
        recipe: a recipe's JSON file.
        data_folders: pictures (`sources.find`).
        out: folder of checkpoints, log and result.
        cache: folder of predictor planes; by default `cache` in `out`.
        minutes: the schedule's length in time instead of the recipe's pixels; counts on through `resume`.
        device: "cpu", "cuda", ...
        resume: go on from the checkpoint in `out`.
        init: 16-bit weights to start from, perhaps of a smaller network (`checkpoint.load_weights`).
        threads: of torch and of preparing the data; all cores by default.
        say: takes lines about progress; standard error by default.

    Returns:
        Bits of the validation pictures at the end.

    Raises:
        TrainingError: recipe, data, checkpoint or weights cannot be used.
    """
    say = say or terminal.say
    keep_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    out = Path(out)
    trainer = Trainer(checkpoint.load_recipe(Path(recipe)), distributed.begin(device_called(device)), minutes)
    if distributed.rank() > 0:
        say = _keep_silent
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise TrainingError(f"--out needs a folder that can be written, found {problem}; give another") from None
    if resume:
        trainer.restore(checkpoint.load_checkpoint(out))
    elif init is not None:
        trainer.begin_from(Path(init))
    distributed.share_weights(trainer.network)
    cache = out / "cache" if cache is None else Path(cache)
    with distributed.first_goes_first():
        loaded = trainer.task.load(data_folders, cache, torch.get_num_threads(), say)
    return Run(trainer, loaded, out, say).go()


def device_called(name: str) -> torch.device:
    """The device called `name`; `TrainingError` where torch has none."""
    if reason := torch_backend.unavailable(name):
        raise TrainingError(f"--device needs one that torch has here, found {name} ({reason}); give another")
    return torch.device(name)


def _ask_on_signals() -> tuple[list[int], Callable[[], None]]:
    """A list that holds an entry once SIGINT or SIGTERM has come, and a function that ends this.

    Training stops between two steps then, never inside of one, so that it resumes exactly.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        return asked, lambda: None
    before = {number: signal.signal(number, lambda n, _: asked.append(n)) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return asked, restore


class Run:
    """One run of a trainer over its data, with reports, validation and checkpoints in their time."""

    def __init__(self, trainer: Trainer, loaded: Any, out: Path, say: Callable[[str], None]) -> None:  # noqa: ANN401
        """`loaded`: what the trainer's task loads."""
        self.trainer, self.loaded, self.out, self.say = trainer, loaded, out, say
        self.batches = trainer.task.batches(loaded, distributed.rank(), distributed.world())
        self.reports = distributed.rank() == 0
        if not self.reports:
            return
        say(trainer.task.about(loaded))
        self.matmul = matmul_rate(trainer.device)
        per_pixel = trainer.task.multiply_adds
        say(f"{per_pixel} multiply-adds a pixel forward; bfloat16 products {self.matmul / 1e9:.0f} G a second")

    def go(self) -> Bits:
        """Train to the schedule's end."""
        trainer, recipe = self.trainer, self.trainer.recipe
        before = trainer.position.seconds
        began = time.monotonic()
        reported, saved, validated = began, began, began
        sums, steps, busy = torch.zeros((), device=trainer.device), 0, began
        bits: Bits | None = None
        asked, restore_signals = _ask_on_signals()
        batches = self.batches.run(trainer.position.step)
        try:
            while trainer.progress < 1:
                sums += trainer.step(next(batches))
                steps += 1
                now = time.monotonic()
                trainer.position.seconds = distributed.agree(before + now - began)
                if self.reports and now - reported > _REPORT_SECONDS:
                    pixels = steps * self.batches.pixels * distributed.world()
                    self._report(float(sums) / steps, pixels / (now - busy))
                    reported = now
                    sums.zero_()
                    steps = 0
                    if now - validated > 60 * float(recipe.get("validate_minutes", 6)):
                        bits = self._validate()
                        validated = time.monotonic()
                    if now - saved > 60 * float(recipe.get("checkpoint_minutes", 5)):
                        self.save(bits)
                        saved = time.monotonic()
                    busy = time.monotonic()
                if distributed.anyone(bool(asked)):
                    if self.reports:
                        checkpoint.save_checkpoint(self.out, trainer.state())
                        self.say("interrupted; --resume goes on from here")
                    raise KeyboardInterrupt
        finally:
            batches.close()
            restore_signals()
        if not self.reports:
            return Bits(distributed.agree(0), {})
        bits = self._validate()
        self.save(bits)
        return replace(bits, total=distributed.agree(bits.total))

    def _report(self, bits: float, speed: float) -> None:
        trainer = self.trainer
        share = speed * trainer.task.training_multiply_adds / self.matmul
        if trainer.minutes is not None:
            left = 60 * trainer.minutes - trainer.position.seconds
        else:
            left = (float(trainer.recipe["pixels"]) - trainer.position.pixels) / speed
        self.say(
            f"{_clock(trainer.position.seconds)}  {trainer.position.pixels / 1e6:.1f} M pixels"
            f"  {bits:.4f} bits per sub-pixel"
            f"  rate {trainer.rate():.2g}  {speed / 1e3:.0f} K pixels a second ({share:.2f} of the products' rate)"
            f"  {_clock(left)} left"
        )
        self._log({"training": round(bits, 5), "pixels_per_second": round(speed), "rate": trainer.rate()})

    def _validate(self) -> Bits:
        self.trainer.network.eval()
        with self.trainer.averaged():
            bits = self.trainer.task.validate(self.loaded, self.trainer.device)
        self.trainer.network.train()
        self.say(f"validation {bits.line()}")
        self._log({"validation": round(bits.total, 5), "sources": {k: round(v, 5) for k, v in bits.sources.items()}})
        return bits

    def _log(self, entry: Mapping[str, Any]) -> None:
        position = self.trainer.position
        about = {"seconds": round(position.seconds, 1), "pixels": position.pixels, "step": position.step}
        with (self.out / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**about, **entry}) + "\n")

    def save(self, bits: Bits | None) -> None:
        """Write checkpoint, weights and card."""
        trainer = self.trainer
        checkpoint.save_checkpoint(self.out, trainer.state())
        training: dict[str, Any] = {
            "pixels": trainer.position.pixels,
            "steps": trainer.position.step,
            "minutes": round(trainer.position.seconds / 60, 1),
        }
        if trainer.before:
            training["before"] = dict(trainer.before)
        if bits is not None:
            training["validation"] = {"all": round(bits.total, 5), **{k: round(v, 5) for k, v in bits.sources.items()}}
        card = {
            "name": trainer.recipe.get("name", "unnamed"),
            **trainer.task.card(),
            "training": {**training, "recipe": dict(trainer.recipe)},
        }
        with trainer.averaged():
            checkpoint.save_weights(self.out, trainer.network, card)


def _clock(seconds: float) -> str:
    whole = max(int(seconds), 0)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _keep_silent(line: str) -> None:
    del line


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; an exit code."""
    parser = argparse.ArgumentParser(prog="python -m pixcodec.training.loop", description="Train a recipe's network.")
    parser.add_argument("recipe", type=Path, help="JSON file")
    parser.add_argument("--data", dest="data_folders", nargs="+", required=True, help="folders of pictures")
    parser.add_argument("--out", required=True, type=Path, help="folder for checkpoints, log and weights")
    parser.add_argument("--cache", type=Path, help="folder for predictor planes (default: cache in --out)")
    parser.add_argument("--minutes", type=float, help="length of the schedule (default: the recipe's pixels)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument("--init", type=Path, help="16-bit weights to start from")
    try:
        return terminal.ended(lambda: run(**vars(parser.parse_args(arguments))))
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
