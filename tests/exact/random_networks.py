"""Parameters, pictures and random networks for the tests of exactness; what the fast path computes from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec import codec
from pixcodec.exact import matmul
from pixcodec.exact.logistics import OUTPUTS
from pixcodec.exact.network import BOUND, Network, head_inputs, residual_classes
from pixcodec.exact.predict import Parameters, Predictors
from pixcodec.exact.steps import number_of_steps
from pixcodec.exact.wavefront import Wavefront

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixcodec.exact.network import Product

RECIPES = Path(codec.__file__).parent / "training" / "recipes"
FIRST_TAPS = ((0, -1), (0, -2), (1, -2), (1, -1), (1, 0), (1, 1), (2, -2), (2, -1), (2, 0), (2, 1), (2, 2))
TAPS = ((0, 0), (0, -1), (1, -1), (1, 0), (1, 1))
EDGES = (21, 24, 28, 34, 42, 54, 70, 92)


def recipe(name: str) -> Parameters:
    """The predictors of a recipe."""
    return Parameters.load(json.loads((RECIPES / f"{name}.json").read_text())["predictors"])


def card(channels: int, neighbours: Sequence[Sequence[int]], orders: Sequence[int], **rest: Any) -> Parameters:
    """Predictors by hand."""
    return Parameters.load({"channels": channels, "neighbours": neighbours, "orders": orders, **rest})


# Few unknowns, MED as the base and each kind of centre.
SMALL = card(
    3,
    [(0, -1), (1, 1)],
    [1, 2],
    memories=[[0.4, 0.5, 3], [0.2, 0.1, 0.5]],
    stack=[0.5, 0.45, 4],
    base=5,
    centre=[4, 5, 0],
)
SMALL_GRAY = card(1, [(0, -1)], [1], memories=[[0.49, 0.5, 1]], stack=[0.4, 0.5, 9], base=0, centre=[1])
SMALL_LUMA = card(
    1, [(0, -1), (1, 1)], [1, 2], memories=[[0.49, 0.5, 1]], stack=[0.4, 0.5, 9], base=0, centre=[2], known=2
)
SMALL_CHROMA = card(1, [(0, -1)], [1], memories=[[0.49, 0.5, 1]], stack=[0.4, 0.5, 9], base=0, centre=[1], known=1)
KNOWN_TAPS = ((0, 1), (-1, 0), (4, -4), (-2, 3))  # of pixels on all sides
# Neighbours at the end of the reach, memories that forget all, forget nothing above or left, have a ridge next to none.
FAR = card(
    1,
    [(3, -3), (3, 3), (2, 3), (1, 1), (0, -3)],
    [1, 2, 5],
    memories=[[0, 0, 1e-3], [0.999, 0, 1], [0, 0.999, 1], [0.5, 0.4999, 1e-6]],
    stack=[0.6, 0.39, 0.01],
    base=11,
    centre=[13],
)
FAR_COLOUR = card(
    3,
    [(3, 3), (0, -1), (3, -3)],
    [1, 3],
    memories=[[0.5, 0.4999, 1e-6]],
    stack=[0.6, 0.3, 1e-3],
    base=0,
    centre=[2, 3, 2],
)

KINDS = ("random", "smooth", "stripes", "checkers", "white", "black", "clipped")


def picture(kind: str, height: int, width: int, channels: int) -> np.ndarray:
    """uint8[H, W, C]."""
    random = np.random.default_rng([KINDS.index(kind), height, width, channels])
    y, x, c = np.ogrid[:height, :width, :channels]
    planes = {
        "random": lambda: random.integers(0, 256, (height, width, channels)),
        "smooth": lambda: (
            120 + 60 * np.sin(x / 5 + c) + 50 * np.cos(y / 7 - c) + random.normal(0, 2, (height, width, channels))
        ),
        "stripes": lambda: 255 * (x // 2 % 2) + 0 * (y + c),
        "checkers": lambda: 255 * ((x + y + c) % 2),
        "white": lambda: 255 + 0 * (x + y + c),
        "black": lambda: 0 * (x + y + c),
        "clipped": lambda: (
            255 * (x + y) / max(1, height + width - 2) * 2 - 128 + random.normal(0, 9, (height, width, 1)) + c
        ),
    }[kind]()
    return np.clip(planes, 0, 255).astype(np.uint8)


def _product(
    random: np.random.Generator, shape: tuple[int, int, int], size: float, *, extreme: bool
) -> dict[str, np.ndarray]:
    """Weights of a product whose rescaled sums are about `size`.

    The extreme ones are at the bound, 256 sum|w| + |bias| = 2^24 - 1, by weights as large as they may be: of random
    signs, or of one sign; some have scales that clamp.
    """
    taps, inputs, outputs = shape
    weight = np.clip(np.rint(random.normal(0, 20, (taps * inputs, outputs))), -127, 127)
    weight *= np.minimum(1, 60000 / np.maximum(1, np.abs(weight).sum(axis=0)))
    weight = np.trunc(weight).astype(np.int64)
    bias = random.integers(-20000, 20001, outputs)
    scale = size / (100 * np.sqrt((weight.astype(float) ** 2).sum(axis=0)) + 1)
    if extreme:
        kind = random.integers(0, 4, outputs)
        largest = np.zeros(taps * inputs, np.int64)
        dense = (BOUND - 1) // (256 * 127)
        largest[random.permutation(taps * inputs)[:dense]] = 127
        signs = random.choice([-1, 1], (taps * inputs, outputs))
        one = random.choice([-1, 1], outputs)
        weight = np.where(kind == 1, largest[:, None] * signs, np.where(kind == 2, largest[:, None] * one, weight))
        bound = BOUND - 1 - 256 * np.abs(weight).sum(axis=0)
        bias = np.where(kind == 0, bias, np.where(kind == 2, one * bound, random.choice([-1, 1], outputs) * bound))
        scale = np.where(kind == 1, size / 2**20, np.where(kind == 2, size / 2**23, scale))
        scale = np.where(kind == 3, scale * 300, scale)
    return {
        "weight": weight.reshape(shape).astype(np.int8),
        "bias": bias.astype(np.int32),
        "scale": scale.astype(np.float32),
    }


def random_card(
    parameters: Parameters,
    *,
    features: int = 12,
    blocks: int = 2,
    head: int = 16,
    first_taps: Sequence[tuple[int, int]] = FIRST_TAPS,
    taps: Sequence[tuple[int, int]] = TAPS,
    edges: Sequence[int] = EDGES,
    output: str = "residual",
    phases: int = 0,
    known_taps: Sequence[tuple[int, int]] = (),
    extreme: bool = False,
    seed: int = 0,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Card and tensors of a random network."""
    random = np.random.default_rng(seed)
    channels, count = parameters.channels, parameters.count
    form = {
        "features": features,
        "blocks": blocks,
        "head": head,
        "output": output,
        "edges": list(edges),
        "first_taps": [list(tap) for tap in first_taps],
        "taps": [list(tap) for tap in taps],
        "phases": phases,
    }
    if parameters.known:
        form["known_taps"] = [list(tap) for tap in known_taps]
    places = 2 * phases + parameters.known * (1 + len(known_taps))
    form["classes"] = classes = int(residual_classes(form).max()) + 1
    outputs = OUTPUTS if output == "logistics" else classes
    tensors: dict[str, np.ndarray] = {}

    def add(name: str, shape: tuple[int, int, int], size: float) -> None:
        parts = _product(random, shape, size, extreme=extreme)
        if shape[0] == 1:
            parts["weight"] = parts["weight"][0]
        tensors.update({f"{name}.{part}": array for part, array in parts.items()})

    add("first", (len(first_taps), channels * (1 + count) + places, features), 900)
    for i in range(blocks):
        tensors[f"blocks.{i}.alpha"] = np.array([0.1 + 0.05 * i], np.float32)
        add(f"blocks.{i}.conv", (len(taps), features, features), 120)
        add(f"blocks.{i}.pointwise", (1, features, features), 600)
    tensors["alpha"] = np.array([0.09], np.float32)
    for c in range(channels):
        add(f"heads.{c}.input", (1, features + head_inputs(count, c, places), head), 120)
        weight = tensors.pop(f"heads.{c}.input.weight")
        tensors[f"heads.{c}.input.features"], tensors[f"heads.{c}.input.codes"] = weight[:features], weight[features:]
        add(f"heads.{c}.hidden", (1, head, head), 120)
        add(f"heads.{c}.output", (1, head, outputs), 5000 if outputs == classes else 1000)
    return {"channels": channels, "network": form, "predictors": parameters.save()}, tensors


def random_network(parameters: Parameters, **options: Any) -> Network:
    """A network through `Network.build`, its bound proved there; options as of `random_card`."""
    return Network.build(*random_card(parameters, **options))


def back_end(name: str, network: Network) -> matmul.Backend:
    """A back end, proved for a network."""
    return matmul.choose(name, tuple({product.weight.shape for product in network.products().values()}))[0]


def wavefront_logits(network: Network, planes: np.ndarray, backend: matmul.Backend) -> tuple[np.ndarray, np.ndarray]:
    """What the fast path gives of [H, W, known + C]: predictions int16[H, W, C, P], logits int16[H, W, C, classes]."""
    (height, width), channels = planes.shape[:2], network.channels
    known, planes = np.split(planes, [network.known], axis=2)
    predictors = Predictors(network.parameters, height, width, known)
    wavefront = Wavefront(network, backend, height, width, known=known)
    predictions = np.empty((*planes.shape, network.parameters.count), np.int16)
    result = np.empty((*planes.shape, network.heads[0].output.bias.size), np.int16)
    for step in range(number_of_steps(height, width)):
        first, last = predictors.begin(step)
        wavefront.trunk(step, first, last)
        rows = np.arange(first, last + 1)
        columns = step - 2 * rows
        for c in range(channels if rows.size else 0):
            predictors.predict(c)
            predictions[rows, columns, c] = predictors.fixed[c, :, first + 1 : last + 2].T
            result[rows, columns, c], _ = wavefront.logits(c, predictors)
            predictors.know(c, planes[rows, columns, c])
            wavefront.know(c, predictors)
        predictors.learn()
    return predictions, result


def products_at_bound(network: Network) -> dict[str, Product]:
    """The products of a network whose bound is the largest that is allowed."""
    return {name: product for name, product in network.products().items() if product.bound() == BOUND - 1}


def symbol_counts(network: Network, rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Counts of all symbols, float32[n, 256], from what a network says."""
    result = np.empty((len(rows), 256), np.float32)
    network.rows.symbol_counts(rows, centres, network.classes, result)
    return result
