"""Random integer programs of each of the paper's networks, made by hand: no training, no PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np

from pixcodec.exact.program import Program

KINDS = ("pixelcnn", "row_lstm", "diagonal_bilstm", "gated_pixelcnn", "multi_scale", "multi_scale_diagonal_bilstm")
FORMS = {  # channels, levels, groups, output
    "bilevel": (1, 2, 1, "softmax"),
    "gray": (1, 256, 1, "softmax"),
    "colour": (3, 256, 3, "softmax"),
    "bilevel_colour": (3, 2, 3, "softmax"),
    "gray_mixture": (1, 256, 1, "mixture"),
    "mixture": (3, 256, 1, "mixture"),
}
COMPONENTS = 2
STREAM = 32767
MASK_7 = [(dy, dx) for dy in range(4) for dx in range(-3, 4) if dy > 0 or dx <= 0]
MASK_3 = [(dy, dx) for dy in range(2) for dx in range(-1, 2) if dy > 0 or dx <= 0]
HERE = [(0, 0)]
AROUND_5, AROUND_3 = ([(dy, dx) for dy in range(-r, r + 1) for dx in range(-r, r + 1)] for r in (2, 1))


class Maker:
    """Emits operations with random tensors; `card` and `tensors` are what `Program.build` takes."""

    def __init__(self, form: str, seed: int = 0, spread: int = 40) -> None:
        channels, levels, self.groups, kind = FORMS[form]
        output: dict[str, Any] = {"kind": kind}
        if kind == "mixture":
            output["components"] = COMPONENTS
        self.outputs = channels * (levels if levels > 2 else 1)
        if kind == "mixture":
            self.outputs = COMPONENTS * (1 + 2 * channels + (3 if channels == 3 else 0))
        self.card: dict[str, Any] = {
            "channels": channels,
            "levels": levels,
            "groups": self.groups,
            "output": output,
            "tile": 32,
            "program": [],
        }
        self.tensors: dict[str, np.ndarray] = {}
        self.form, self.seed = form, seed
        self.spread, self.random = spread, np.random.default_rng([seed, channels, levels, self.groups])
        self.widths, self.parts = {"image": channels}, {"image": 1}
        self.ahead: set[str] = set()

    def _emit(self, name: str, width: int, parts: int, step: dict[str, Any]) -> str:
        self.card["program"].append({**step, "target": name})
        self.widths[name], self.parts[name] = width, parts
        if step.get("source") in self.ahead:
            self.ahead.add(name)
        return name

    def smaller(self, maker: Maker) -> str:
        """A small image's program; what it tells."""
        self.card["small"] = {key: value for key, value in maker.card.items() if key != "tile"}
        self.tensors |= {f"small.{name}": tensor for name, tensor in maker.tensors.items()}
        self.widths["known"], self.parts["known"] = self.card["channels"] + 1, 1
        self.ahead.add("known")
        return "known"

    def _group(self, name: str) -> np.ndarray:
        width = self.widths[name] // self.parts[name]
        return np.tile(np.arange(width) * self.groups // width, self.parts[name])

    def _product(self, name: str, taps: int, inputs: int, outputs: int, size: float) -> None:
        weight = self.random.normal(0, self.spread, (taps, inputs, outputs)).round().clip(-127, 127)
        self.tensors[f"{name}.weight"] = weight.astype(np.int8)
        self.tensors[f"{name}.bias"] = self.random.integers(-5000, 5000, outputs).astype(np.int32)
        typical = self.spread * 70 * np.sqrt(taps * inputs)
        self.tensors[f"{name}.scale"] = (size / typical * self.random.uniform(0.5, 2, outputs)).astype(np.float32)

    def convolve(
        self, name: str, source: str, taps: list[tuple[int, int]], outputs: int, parts: int = 1, size: float = 1000
    ) -> str:
        """A masked convolution to a stream."""
        self._product(name, len(taps), self.widths[source], outputs, size)
        step = {"op": "convolve", "source": source, "taps": [list(tap) for tap in taps], "outputs": outputs}
        self._emit(name, outputs, parts, {**step, "low": -STREAM, "high": STREAM, "parts": parts})
        if (0, 0) in taps and source not in self.ahead:
            known = self._group(name)[None, :] - (source == "image")
            hidden = self._group(source)[:, None] > known
            self.tensors[f"{name}.weight"][taps.index((0, 0))][hidden] = 0
        return name

    def rescale(self, name: str, source: str, low: int = 0, high: int = 255, size: float = 0.1) -> str:
        """A stream to codes of 8 bits."""
        width = self.widths[source]
        self.tensors[f"{name}.scale"] = self.random.uniform(size / 2, size, width).astype(np.float32)
        step = {"op": "rescale", "source": source, "low": low, "high": high}
        return self._emit(name, width, self.parts[source], step)

    def add(self, name: str, first: str, second: str, op: str = "add") -> str:
        """A sum, or a join."""
        return self._emit(name, self.widths[first], self.parts[first], {"op": op, "sources": [first, second]})

    def gate(self, name: str, source: str) -> str:
        """A gated unit."""
        return self._emit(name, self.widths[source] // 2, 1, {"op": "gate", "source": source})

    def recur(self, name: str, source: str, direction: str, places: int) -> str:
        """An LSTM."""
        h = self.widths[source] // 4
        self._product(name, places, h, 4 * h, 400)
        state, cell = self.random.integers(-127, 128, h), self.random.integers(-4000, 4000, h)
        self.tensors[f"{name}.initial"] = np.stack([state, cell]).astype(np.int32)
        return self._emit(name, h, 1, {"op": "recur", "source": source, "direction": direction, "places": places})

    def build(self) -> Program:
        """The program."""
        return Program.build(self.card, self.tensors)


def _pixelcnn(m: Maker, width: int) -> str:
    first = m.convolve("first", "image", MASK_7, width)
    inside = m.convolve("inside", m.rescale("first_codes", first), MASK_3, width)
    both = m.add("both", first, inside)
    return m.rescale("both_codes", both, -127, 127)


def _row_lstm(m: Maker, width: int) -> str:
    first = m.convolve("first", "image", MASK_7, width)
    gates = m.convolve("gates", m.rescale("first_codes", first), [(0, -1), (0, 0)], 4 * width, 4)
    states = m.recur("states", gates, "rows", 3)
    return m.rescale("sum_codes", m.add("sum", first, m.convolve("up", states, HERE, width)), -127, 127)


def _diagonal_bilstm(m: Maker, width: int) -> str:
    codes = m.rescale("first_codes", m.convolve("first", "image", MASK_7, width))
    left = m.recur("left", m.convolve("left_gates", codes, HERE, 4 * width, 4), "left", 2)
    right = m.recur("right", m.convolve("right_gates", codes, HERE, 4 * width, 4), "right", 2)
    return m.add("joined", left, right, "join")


def _gated_pixelcnn(m: Maker, width: int) -> str:
    upper = [tap for tap in MASK_7 if tap[0] > 0]
    vertical = m.convolve("vertical", "image", upper, 2 * width, 2)
    across = m.convolve("across", m.rescale("vertical_codes", vertical, -127, 127), HERE, 2 * width, 2)
    horizontal = m.convolve("horizontal", "image", [(0, -3), (0, -2), (0, -1), (0, 0)], 2 * width, 2)
    state = m.gate("state", m.add("both", horizontal, across))
    second = m.convolve("second", m.gate("vertical_state", vertical), [(0, -1), (0, 0), (0, 1), (1, 0)], 2 * width, 2)
    across = m.convolve("second_across", m.rescale("second_codes", second, -127, 127), HERE, 2 * width, 2)
    horizontal = m.convolve("second_horizontal", state, [(0, -1), (0, 0)], 2 * width, 2)
    return m.gate("second_state", m.add("second_both", horizontal, across))


def _context(m: Maker, width: int) -> str:
    """Two products around the pixel, of what a small image tells."""
    small = m.convolve("spread", m.smaller(maker("row_lstm", m.form, seed=m.seed + 1, width=width)), AROUND_5, width)
    around = m.convolve("around", m.rescale("spread_codes", small), AROUND_3, width)
    return m.rescale("context", around, size=0.5)


def _multi_scale(m: Maker, width: int) -> str:
    condition = m.convolve("condition", _context(m, width), HERE, width)
    first = m.convolve("first", "image", MASK_7, width)
    inside = m.convolve("inside", m.rescale("first_codes", first), MASK_3, width)
    return m.rescale("both_codes", m.add("both", m.add("heard", inside, condition), first))


def _multi_scale_diagonal_bilstm(m: Maker, width: int) -> str:
    context = _context(m, width)
    codes = m.rescale("first_codes", m.convolve("first", "image", MASK_7, width))
    ways = []
    for way in ("left", "right"):
        own = m.convolve(f"{way}_own", codes, HERE, 4 * width, 4)
        condition = m.convolve(f"{way}_condition", context, HERE, 4 * width, 4)
        ways.append(m.recur(way, m.add(f"{way}_gates", own, condition), way, 2))
    return m.add("joined", *ways, "join")


_NETWORKS = dict(
    zip(
        KINDS,
        (_pixelcnn, _row_lstm, _diagonal_bilstm, _gated_pixelcnn, _multi_scale, _multi_scale_diagonal_bilstm),
        strict=True,
    )
)


def maker(kind: str, form: str, *, width: int = 4, seed: int = 0, spread: int = 40) -> Maker:
    """A network's operations; outputs are of ordinary size, streams reach their clamps where `spread` is large."""
    m = Maker(form, seed, spread)
    m.convolve("outputs", _NETWORKS[kind](m, width), HERE, m.outputs, size=spread * 25)
    return m


def program(kind: str, form: str, **how: Any) -> Program:
    """A random program."""
    return maker(kind, form, **how).build()


def images(of: Program, count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8[N, H, W, C]: the first one random, then the extremes, then random ones."""
    random = np.random.default_rng([seed, count, height, width])
    result = random.integers(0, of.levels, (count, height, width, of.channels)).astype(np.uint8)
    result[1:2], result[2:3] = 0, of.levels - 1
    return result
