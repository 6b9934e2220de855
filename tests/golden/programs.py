"""Tiny networks of the paper (docs/format.md, section 9): their programs, and tensors made of noise.

model_tiny_bilevel  a Row LSTM whose steps have the slope 3
model_tiny_scales   two scales: the small image by a gated PixelCNN in three colour groups with a softmax; the large one
                    row by row by a Diagonal BiLSTM with a mixture, conditioned through taps that look around
"""

from __future__ import annotations

from typing import Any

import numpy as np
from noise import noise, product

Step = dict[str, Any]

HERE = [[0, 0]]
BEFORE = [[0, -1], [0, 0]]
AROUND = [[dy, dx] for dy in (1, 0, -1) for dx in (-1, 0, 1)]
STREAM = 32767
COMPONENTS = 2
SIZES = {1: 900, 2: 400, 4: 400}  # of sums, by the parts of a map: streams, and gates in 1/256
OUTPUT_SIZE = 300
LOG_SCALE = 1280  # of a mixture, on average: 2^(1280 / 256) / 8 = 4 levels


def _convolve(target: str, source: str, taps: list[list[int]], outputs: int, parts: int = 1) -> Step:
    step = {"op": "convolve", "source": source, "taps": taps, "outputs": outputs}
    return {**step, "low": -STREAM, "high": STREAM, "parts": parts, "target": target}


def _rescale(target: str, source: str, low: int = 0, high: int = 255) -> Step:
    return {"op": "rescale", "source": source, "low": low, "high": high, "target": target}


def _recur(target: str, source: str, direction: str, places: int) -> Step:
    return {"op": "recur", "source": source, "direction": direction, "places": places, "target": target}


def _of_two(op: str, target: str, first: str, second: str) -> Step:
    return {"op": op, "sources": [first, second], "target": target}


def _gates(way: str) -> list[Step]:
    """An LSTM of a Diagonal BiLSTM, whose gates hear what the small image tells."""
    return [
        _convolve(f"{way}_own", "first_codes", HERE, 16, 4),
        _convolve(f"{way}_condition", "context", HERE, 16, 4),
        _of_two("add", f"{way}_gates", f"{way}_own", f"{way}_condition"),
        _recur(way, f"{way}_gates", way, 2),
    ]


ROW_LSTM = [
    _convolve("first", "image", [[0, -2], [0, -1], [1, -2], [1, -1], [1, 0], [1, 1], [1, 2], [2, 0]], 4),
    _rescale("first_codes", "first"),
    _convolve("gates", "first_codes", BEFORE, 16, 4),
    _recur("states", "gates", "rows", 3),
    _convolve("up", "states", HERE, 4),
    _of_two("add", "sum", "first", "up"),
    _rescale("sum_codes", "sum", -127, 127),
    _convolve("outputs", "sum_codes", HERE, 1),
]
GATED_PIXELCNN = [
    _convolve("vertical", "image", [[1, -1], [1, 0], [1, 1], [2, 0]], 12, 2),
    _rescale("vertical_codes", "vertical", -127, 127),
    _convolve("across", "vertical_codes", HERE, 12, 2),
    _convolve("horizontal", "image", [[0, -2], *BEFORE], 12, 2),
    _of_two("add", "both", "horizontal", "across"),
    {"op": "gate", "source": "both", "target": "state"},
    _convolve("outputs", "state", HERE, 3 * 256),
]
DIAGONAL_BILSTM = [
    _convolve("spread", "known", [*AROUND, [2, -2], [-2, 2], [-3, 0]], 4),
    _rescale("spread_codes", "spread"),
    _convolve("around", "spread_codes", AROUND, 4),
    _rescale("context", "around"),
    _convolve("first", "image", [[0, -2], [0, -1], [1, -1], [1, 0], [1, 1]], 4),
    _rescale("first_codes", "first"),
    *_gates("left"),
    *_gates("right"),
    _of_two("join", "joined", "left", "right"),
    _convolve("up", "joined", HERE, 4),
    _of_two("add", "sum", "first", "up"),
    _rescale("sum_codes", "sum", -127, 127),
    _convolve("outputs", "sum_codes", HERE, COMPONENTS * (1 + 2 * 3 + 3)),
]
CARDS: dict[str, dict[str, Any]] = {
    "model_tiny_bilevel": {
        "channels": 1,
        "levels": 2,
        "groups": 1,
        "output": {"kind": "softmax"},
        "tile": 16,
        "program": ROW_LSTM,
    },
    "model_tiny_scales": {
        "channels": 3,
        "levels": 256,
        "groups": 1,
        "output": {"kind": "mixture", "components": COMPONENTS},
        "tile": 16,
        "program": DIAGONAL_BILSTM,
        "small": {
            "channels": 3,
            "levels": 256,
            "groups": 3,
            "output": {"kind": "softmax"},
            "program": GATED_PIXELCNN,
        },
    },
}


def tensors(card: dict[str, Any], prefix: str = "") -> dict[str, np.ndarray]:
    """A program's tensors, and those of its small image's."""
    channels, made = card["channels"], dict[str, np.ndarray]()
    widths, parts = {"image": channels, "known": channels + 1}, {"image": 1, "known": 1}
    for step in card["program"]:
        op, target, name = step["op"], step["target"], prefix + step["target"]
        source = step["source"] if "source" in step else step["sources"][0]
        width, widths[target], parts[target] = widths[source], widths[source], parts[source]
        if op == "convolve":
            widths[target], parts[target] = step["outputs"], step["parts"]
            size = OUTPUT_SIZE if step is card["program"][-1] else SIZES[step["parts"]]
            made |= product(name, (len(step["taps"]), width, step["outputs"]), size)
            if [0, 0] in step["taps"]:
                seen = _group(widths[source], parts[source], card["groups"]) + (source == "image")
                hidden = seen[:, None] > _group(widths[target], parts[target], card["groups"])
                made[f"{name}.weight"][step["taps"].index([0, 0])][hidden] = 0
        elif op == "rescale":
            made[f"{name}.scale"] = (0.05 + noise(name, width) / 5120).astype(np.float32)
        elif op == "recur":
            widths[target], parts[target] = width // 4, 1
            made |= product(name, (step["places"], width // 4, width), SIZES[4])
            state, cell = noise(f"{name}.state", width // 4) % 255 - 127, noise(f"{name}.cell", width // 4) * 32 - 4080
            made[f"{name}.initial"] = np.stack([state, cell]).astype(np.int32)
        elif op == "gate":
            widths[target], parts[target] = width // 2, 1
    if card["output"]["kind"] == "mixture":
        log_scales = slice(COMPONENTS * (1 + channels), COMPONENTS * (1 + 2 * channels))
        scale = made[f"{prefix}outputs.scale"][log_scales].astype(np.float64)
        made[f"{prefix}outputs.bias"][log_scales] = np.rint(LOG_SCALE / scale).astype(np.int32)
    return made | (tensors(card["small"], "small.") if "small" in card else {})


def _group(width: int, parts: int, groups: int) -> np.ndarray:
    """The colour group of each feature of a map."""
    return np.tile(np.arange(width // parts) * groups // (width // parts), parts)
