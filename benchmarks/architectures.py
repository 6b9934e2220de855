"""Which network is best at equal cost: python benchmarks/architectures.py --data DIR --cache DIR.

Variants of the photo network or of its training, each with one thing changed, all with as nearly the same number of
multiply-adds a pixel as their width can give, trained on the same crops in the same order; bits per sub-pixel of the
validation windows.  The first one is trained twice, with other seeds: differences below those of the two say nothing.
Some are made of layers that exact networks do not have: whether they should is the question.  JSON after every variant;
those that it holds already, of as many pixels, are not trained again.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pictures
import torch
from torch import nn
from torch.nn import functional

from pixcodec.nets import heads, photo
from pixcodec.nets.gated import PARTS, Gate
from pixcodec.nets.masked import TAPS, MaskedConv2d, Taps
from pixcodec.training import checkpoint, loop, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

RECIPE = Path(loop.__file__).parent / "recipes" / "photo.json"
SHAPE = {"features": 48, "blocks": 3, "head": 32, "output": "residual"}  # of the first variant: its cost is everybody's
STEP = 2  # of widths
RATE = 0.002  # of learning, at first
SHORT = {"crop": 64, "batch": 2}  # so that there are some thousand steps: with 27,648 pixels in each, order was chance
WIDE_TAPS: Taps = tuple((dy, dx) for dy in range(5) for dx in range(-4, 5) if (dy or dx <= 0) and 2 * dy >= dx)
FEW_TAPS: Taps = ((0, -1), (1, -1), (1, 0), (1, 1), (0, -2))


class GatedBlock(nn.Module):
    """x + pointwise(tanh(a) sigmoid(b)), a and b by one masked convolution."""

    def __init__(self, features: int, taps: Taps) -> None:
        super().__init__()
        self.conv, self.gate = MaskedConv2d(features, PARTS * features, taps), Gate()
        self.pointwise = nn.Conv2d(features, features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, features, H, W] to the same."""
        return x + self.pointwise(self.gate(self.conv(x)))


class DepthwiseBlock(nn.Module):
    """x + pointwise(relu(pointwise(own convolution of each feature))), twice as wide between the two."""

    def __init__(self, features: int, taps: Taps) -> None:
        super().__init__()
        self.conv = MaskedConv2d(1, features, taps)
        self.expand, self.pointwise = nn.Conv2d(features, 2 * features, 1), nn.Conv2d(2 * features, features, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, features, H, W] to the same."""
        rows, reach = self.conv.padding
        around = functional.pad(x, (reach, reach, rows, 0))
        own = functional.conv2d(around, self.conv.weight * self.conv.mask, self.conv.bias, groups=x.shape[1])
        return x + self.pointwise(functional.relu(self.expand(own)))


class SmoothClasses(heads.Residual):
    """Classes whose logits are sums of smooth functions of the residual: the same function, learned along other axes.

    What is added to a class's logit goes to its neighbours too, the less the farther; folded into the last product's
    weights it costs nothing.
    """

    def __init__(self) -> None:
        super().__init__(heads.EDGES)
        number = torch.bincount(self.classes)
        places = torch.bincount(self.classes, torch.arange(-255.0, 256.0)) / number  # mean residuals
        places = torch.asinh(places.float() / 2)
        apart = places[:, None] - places[None]
        kernels = [torch.exp(-((apart / width) ** 2) / 2) for width in (0.01, 0.25, 0.6, 1.5)]
        basis = sum((kernel / kernel.norm(dim=1, keepdim=True) for kernel in kernels), torch.zeros_like(apart))
        self.register_buffer("basis", basis / 2, persistent=False)

    def nats(self, logits: torch.Tensor, centre: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """As `heads.Residual.nats`."""
        return super().nats(logits.float() @ self.basis, centre, values)


@dataclass(frozen=True)
class Variant:
    """What is changed against the first one.

    Attributes:
        network: fields of `photo.Configuration`.
        block: makes block number i of a width.
        cost: multiply-adds of a block of a width; by default those of `photo.Block` with the configuration's taps.
        outputs: stands in for the configuration's.
        seen: of a channel's codes, the first so many the trunk sees.
        one_head: whether the last two layers of the three heads are the same.
        optimiser: what it is trained by, in place of what the recipe says.
        seed: added to that of weights and crops.
        frozen: whether exact networks have all of its layers.
    """

    network: Mapping[str, Any] = field(default_factory=dict)
    block: Callable[[int, int], nn.Module] | None = None
    cost: Callable[[int], int] | None = None
    outputs: Callable[[], Any] | None = None
    seen: int | None = None
    one_head: bool = False
    optimiser: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    frozen: bool = True


def _doubled(taps: Taps) -> Taps:
    return tuple((2 * dy, 2 * dx) for dy, dx in taps)


VARIANTS = {
    "3 blocks, heads of 32": Variant(),
    "the same, another seed": Variant(seed=1),
    "1 block": Variant({"blocks": 1}),
    "6 blocks": Variant({"blocks": 6}),
    "10 blocks": Variant({"blocks": 10}),
    "heads of 16": Variant({"head": 16}),
    "heads of 64": Variant({"head": 64}),
    "one head for three channels": Variant(one_head=True, frozen=False),
    "gated blocks": Variant(
        block=lambda h, _: GatedBlock(h, TAPS), cost=lambda h: (PARTS * len(TAPS) + 1) * h * h, frozen=False
    ),
    "depth-wise, 39 taps": Variant(
        block=lambda h, _: DepthwiseBlock(h, WIDE_TAPS),
        cost=lambda h: (4 * h + len(WIDE_TAPS)) * h,
        frozen=False,
    ),
    "taps twice as far in every other block": Variant(
        block=lambda h, i: photo.Block(h, _doubled(TAPS) if i % 2 else TAPS), frozen=False
    ),
    "blocks of 8 taps": Variant({"taps": [*TAPS, (0, -2), (2, 0), (2, -1)]}),
    "first layer of 5 taps": Variant({"first_taps": FEW_TAPS}),
    "no place modulo 8": Variant({"phases": 0}),
    "trunk sees values alone": Variant(seen=1, frozen=False),
    "trunk sees values and 4 predictors": Variant(seen=5, frozen=False),
    "256 logits, no centre": Variant({"output": "raw"}),
    "29 classes": Variant({"edges": [9, 11, 14, 18, 24, 36]}),
    "81 classes": Variant({"edges": [33, 36, 40, 46, 54, 66, 82, 104]}),
    "classes by a smooth basis": Variant(outputs=SmoothClasses),
    "3 logistics": Variant({"output": "logistics"}),
    "3 logistics, twice the rate": Variant({"output": "logistics"}, optimiser={"rate": 2 * RATE}),
    "3 logistics, Muon": Variant({"output": "logistics"}, optimiser={"name": "muon"}),
    "3 logistics, Muon at twice the rate": Variant(
        {"output": "logistics"}, optimiser={"name": "muon", "rate": 2 * RATE}
    ),
}


class Network(photo.PhotoNet):
    """A variant's network, of a configuration whose cost is right."""

    def __init__(self, configuration: photo.Configuration, variant: Variant) -> None:
        super().__init__(configuration)
        c = configuration
        if variant.outputs is not None:
            self.outputs = variant.outputs()
            self.heads = nn.ModuleList(
                heads.Head(c.features, codes, c.head, self.outputs.outputs) for codes in c.head_codes
            )
        if variant.block is not None:
            self.blocks = nn.ModuleList(variant.block(c.features, i) for i in range(c.blocks))
            with torch.no_grad():
                for block in self.blocks:
                    block.pointwise.weight *= c.blocks**-0.5
        self.seen = _seen(c, variant)
        self.first = MaskedConv2d(len(self.seen), c.features, c.first_taps)
        if variant.one_head:
            for head in self.heads[1:]:
                head.hidden, head.output = self.heads[0].hidden, self.heads[0].output

    def trunk(self, codes: torch.Tensor) -> torch.Tensor:
        """As `PhotoNet.trunk`, of the codes that are seen."""
        return super().trunk(codes if len(self.seen) == codes.shape[3] else codes[..., self.seen])


def _seen(c: photo.Configuration, variant: Variant) -> list[int]:
    """Which codes of earlier pixels the trunk sees."""
    each = 1 + c.predictions
    kept = each if variant.seen is None else variant.seen
    return [k for k in range(c.trunk_codes) if k >= c.channels * each or k % each < kept]


def multiply_adds(c: photo.Configuration, variant: Variant) -> int:
    """A variant's, a pixel, forward."""
    plain = (len(c.taps) + 1) * c.features**2
    block = variant.cost(c.features) if variant.cost else plain
    unseen = c.trunk_codes - len(_seen(c, variant))
    outputs = variant.outputs().outputs if variant.outputs else c.outputs.outputs
    fewer = (c.outputs.outputs - outputs) * c.channels * c.head
    return c.multiply_adds + c.blocks * (block - plain) - len(c.first_taps) * unseen * c.features - fewer


class Task(tasks.PhotoTask):
    """Training a variant."""

    def __init__(self, recipe: Mapping[str, Any], variant: Variant) -> None:
        super().__init__(recipe)
        self.variant, self.network = variant, Network(self.configuration, variant)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds a pixel, forward."""
        return multiply_adds(self.configuration, self.variant)


def _shaped(base: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    """The recipe of a variant, of the first one's width."""
    recipe = copy.deepcopy(dict(base))
    recipe["network"] |= SHAPE | dict(variant.network)
    recipe["optimiser"] |= variant.optimiser
    recipe["data"]["seed"] += variant.seed
    return recipe


def budget_of(base: Mapping[str, Any]) -> int:
    """Multiply-adds a pixel of the first variant, which all are to have."""
    first = next(iter(VARIANTS.values()))
    return multiply_adds(tasks.parts(_shaped(base, first))[1], first)


def recipe_of(base: Mapping[str, Any], variant: Variant) -> dict[str, Any]:
    """The recipe of a variant, of the width that comes nearest to the budget."""
    recipe, budget = _shaped(base, variant), budget_of(base)
    shape = tasks.parts(recipe)[1]

    def distance(features: int) -> int:
        return abs(multiply_adds(replace(shape, features=features), variant) - budget)

    recipe["network"]["features"] = min(range(STEP, 256, STEP), key=distance)
    return recipe


def train(recipe: dict[str, Any], variant: Variant, loaded: Any) -> dict[str, Any]:  # noqa: ANN401
    """A variant's figures."""
    trainer = loop.Trainer(recipe, torch.device("cpu"), make=lambda given: Task(given, variant))
    began, wall = time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bits = loop.Run(trainer, loaded, Path(folder), lambda _: None).go()
    return {
        "features": trainer.task.configuration.features,  # type: ignore[attr-defined]
        "multiply_adds_a_pixel": trainer.task.multiply_adds,
        "parameters": photo.parameter_count(trainer.network),
        "exact_networks_have_it": variant.frozen,
        "pixels": trainer.position.pixels,
        "processor_seconds": round(time.process_time() - began, 1),
        "seconds": round(time.monotonic() - wall, 1),
        "bits_per_dim": round(bits.total, 5),
        "sources": {name: round(each, 5) for name, each in bits.sources.items()},
    }


def _already(target: Path, pixels: float, batch: int) -> dict[str, Any]:
    """The figures of a results' file of variants that saw as many pixels, in whole batches."""
    found = json.loads(target.read_text(encoding="utf-8"))["variants"] if target.exists() else {}
    return {name: each for name, each in found.items() if 0 <= each["pixels"] - pixels < batch}


def draw(results: Mapping[str, Any], target: Path) -> str:
    """Draw bits against the first variant's; return a line that says where, or why not."""
    plt = pictures.pyplot()
    if plt is None:
        return pictures.NO_PICTURE
    names = sorted(results, key=lambda name: results[name]["bits_per_dim"], reverse=True)
    first = next(iter(results.values()))["bits_per_dim"]
    figure, axes = plt.subplots(figsize=(8, 0.3 * len(names) + 1.2), layout="constrained")
    colours = ["tab:blue" if results[name]["exact_networks_have_it"] else "tab:orange" for name in names]
    axes.barh(names, [100 * (results[name]["bits_per_dim"] / first - 1) for name in names], color=colours)
    axes.set_xlabel("validation bits, % of the first variant's; orange: not in exact networks")
    axes.grid(axis="x", alpha=0.3)
    return pictures.drawn(figure, target)


def main(arguments: Sequence[str]) -> int:
    """Train them all; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n", maxsplit=1)[0])
    parser.add_argument("--data", nargs="+", required=True, metavar="DIR", help="pictures, as for pixcodec train")
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR", help="of predictor planes")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="whose predictors and data (default: photo's)")
    parser.add_argument("--pixels", type=float, default=30e6, help="to train each on (default 30 million)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), metavar="NAME", help="default: all")
    parser.add_argument("--name", default="architectures", help="of the results' files")
    parser.add_argument("--results", type=Path, default=pictures.RESULTS, metavar="DIR")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    loop.keep_memory()
    base = checkpoint.load_recipe(options.recipe)
    base["pixels"] = options.pixels
    base["optimiser"] |= {"name": "adamw", "rate": RATE, "decay": 1.0, "warm_up": 200}
    base["data"] |= SHORT
    base["validate_minutes"] = base["checkpoint_minutes"] = 1e6
    budget = budget_of(base)
    target = options.results / f"{options.name}.json"
    done = _already(target, options.pixels, base["data"]["batch"] * base["data"]["crop"] ** 2)
    about = {"benchmark": "architectures", **pictures.circumstances("architectures.py", arguments), "budget": budget}
    loaded = tasks.PhotoTask(base).load(options.data, options.cache, options.threads, print)
    print(about["command"], about["machine"], f"{budget} multiply-adds a pixel", sep="\n", flush=True)
    for name in options.only or VARIANTS:
        if name not in done:
            done[name] = train(recipe_of(base, VARIANTS[name]), VARIANTS[name], loaded)
            pictures.save({**about, "variants": done}, options.results, options.name)
        each = done[name]
        print(
            f"{name:40}{each['features']:4} features{each['multiply_adds_a_pixel'] / 1e3:7.1f} K"
            f"{each['bits_per_dim']:9.4f} bits per sub-pixel{each['processor_seconds']:7.0f} s of a core",
            flush=True,
        )
    print(f"results: {target}", draw(done, target.with_suffix(".png")), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
