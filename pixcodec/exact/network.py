"""The frozen network: int8 weights, int32 biases, binary32 scales; its form, its bound, its identity.

What the numbers mean is drawn in `docs/format.md`; `reference/network.py` is the definition.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from pixcodec.errors import ModelError
from pixcodec.exact.expert_memory import BUCKETS, MAP_SIZE, NODES
from pixcodec.exact.frequencies import Classes, class_table
from pixcodec.exact.logistics import OUTPUTS
from pixcodec.exact.predict import COMPAND, LIMIT, REACH, UNIT, Parameters
from pixcodec.exact.rows import COUNTS, MIXTURES, Form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BOUND = 1 << 24  # sums stay below it, so that they are exact in binary32 in any order
STREAM_LIMIT = 32767  # of the residual stream and of logits
MOST_PHASES = 3  # bits of x and y that can be inputs: blocks of 8 are the largest that are common
PHASE = 32  # code of such a bit that is 1; of a 0 it is -32


@dataclass(frozen=True)
class Product:
    """One matrix product with its rescaling: clamp(rint((bias + sum over taps of x W) * scale)).

    weight: int8[taps, inputs, outputs]; bias: int32[outputs]; scale: float32[outputs].
    """

    weight: np.ndarray
    bias: np.ndarray
    scale: np.ndarray

    def bound(self) -> int:
        """Largest 256 * sum|w| + |bias| over the outputs; it must be below 2^24."""
        sums = 256 * np.abs(self.weight.astype(np.int64)).sum(axis=(0, 1)) + np.abs(self.bias.astype(np.int64))
        return int(sums.max())


@dataclass(frozen=True)
class Block:
    """A residual block: the stream to 8 bits by `alpha`, a masked convolution, a 1x1 product back to the stream."""

    alpha: np.float32
    conv: Product
    pointwise: Product


@dataclass(frozen=True)
class Head:
    """A channel's head: a product over (trunk features, input codes), a hidden one, and the outputs."""

    input: Product
    hidden: Product
    output: Product


@dataclass(frozen=True)
class Learning:
    """How heads learn: `network.learning` of a model's card.

    Attributes:
        rates: of the input, the hidden and the output product's weights, in steps of int8.
        betas: how much of the first and of the second moment is kept.
        epsilon: added to the root of the second moment.
    """

    rates: tuple[float, float, float]
    betas: tuple[float, float]
    epsilon: float

    @classmethod
    def load(cls, form: Mapping[str, Any]) -> Learning:
        """From its JSON form; `ValueError` where numbers are missing or out of bounds."""
        rates, betas = tuple(map(float, form["rates"])), tuple(map(float, form["betas"]))
        learning = cls(rates, betas, float(form["epsilon"]))  # type: ignore[arg-type]
        if len(rates) != 3 or len(betas) != 2:
            raise ValueError("learning needs three rates and two betas")
        if not (all(0 <= r <= 8 for r in rates) and all(0 <= b < 1 for b in betas) and 1e-6 <= learning.epsilon <= 1e6):
            raise ValueError(f"learning is out of bounds: {form}")
        return learning


@dataclass(frozen=True)
class Network:
    """A frozen PixelCNN and the predictors that it goes with.

    Attributes:
        card: the JSON card; "channels", "network" and "predictors" belong to the identity.
        parameters: of the predictors.
        first_taps, taps: (dy, dx) for the pixel at (y - dy, x + dx), of the first layer and of the blocks.
        first, blocks, alpha, heads: the products in order; alpha takes the last stream to 8 bits.
        identity: SHA-256 of all that decides a coded bit.
        experts: trained starting values of the experts' maps, see `exact.experts`; nothing where there are none.
    """

    card: dict[str, Any]
    parameters: Parameters
    first_taps: tuple[tuple[int, int], ...]
    taps: tuple[tuple[int, int], ...]
    first: Product
    blocks: tuple[Block, ...]
    alpha: np.float32
    heads: tuple[Head, ...]
    identity: bytes
    experts: tuple[np.ndarray, ...] = ()

    @property
    def channels(self) -> int:
        """Channels of the planes that it codes."""
        return self.parameters.channels

    @property
    def features(self) -> int:
        """Width of the trunk."""
        return int(self.first.bias.size)

    @property
    def raw(self) -> bool:
        """Whether logits are of values, as in the paper, and not of residuals around the centre."""
        return bool(self.card["network"]["output"] == "raw")

    @property
    def logistics(self) -> bool:
        """Whether the heads' outputs are those of `exact.logistics`, and not a logit for each class."""
        return bool(self.card["network"]["output"] == "logistics")

    @property
    def rows(self) -> Form:
        """What is made of the heads' outputs, and codes by it."""
        return MIXTURES if self.logistics else COUNTS

    @property
    def learns(self) -> bool:
        """Whether its heads can learn (`exact.learn`)."""
        return "learning" in self.card["network"]

    @property
    def phases(self) -> int:
        """How many bits of x and of y are inputs."""
        return int(self.card["network"].get("phases", 0))

    @property
    def known(self) -> int:
        """How many planes are known beforehand, of the same size."""
        return self.parameters.known

    @property
    def known_taps(self) -> tuple[tuple[int, int], ...]:
        """(dy, dx), for the pixel at (y - dy, x + dx) on any side, of what is seen of them besides the pixel itself."""
        return _known_taps(self.card["network"])

    @property
    def places(self) -> int:
        """Inputs of trunk and heads that are known beforehand: of the place, and of known planes."""
        return _places(self.card["network"], self.known)

    def class_of_residual(self) -> np.ndarray:
        """int16[511]: the class of the residual r = symbol - centre, at index r + 255."""
        return residual_classes(self.card["network"])

    @cached_property
    def classes(self) -> Classes:
        """The same for compiled functions."""
        return class_table(self.class_of_residual())

    @classmethod
    def build(cls, card: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> Network:
        """A network from its card and tensors; `ModelError` unless all is in place and the bound holds."""
        try:
            network = cls._assemble(card, tensors)
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise ModelError(
                f"the model's card and tensors do not fit together ({problem}); fetch the model anew"
            ) from None
        network.check()
        return network

    @classmethod
    def _assemble(cls, card: dict[str, Any], tensors: Mapping[str, np.ndarray]) -> Network:
        form = card["network"]
        parameters = Parameters.load(card["predictors"])
        if card["channels"] != parameters.channels:
            raise ValueError(f"{card['channels']} channels, predictors for {parameters.channels}")

        def tensor(name: str, dtype: type, *shape: int) -> np.ndarray:
            array = tensors[name]
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"{name}: expected {np.dtype(dtype)}{shape}, found {array.dtype}{array.shape}")
            return array

        def product(name: str, outputs: int, **weights: tuple[int, ...]) -> Product:
            parts = [tensor(f"{name}.{part}", np.int8, *shape, outputs) for part, shape in weights.items()]
            parts = [part if part.ndim == 3 else part[None] for part in parts]
            return Product(
                np.ascontiguousarray(np.concatenate(parts, axis=1)),
                tensor(f"{name}.bias", np.int32, outputs),
                tensor(f"{name}.scale", np.float32, outputs),
            )

        first_taps = tuple((int(dy), int(dx)) for dy, dx in form["first_taps"])
        taps = tuple((int(dy), int(dx)) for dy, dx in form["taps"])
        h, d, classes = int(form["features"]), int(form["head"]), int(form["classes"])
        if int(residual_classes(form).max()) + 1 != classes:
            raise ValueError(f"{classes} classes do not match the classes of the residuals")
        outputs = OUTPUTS if form["output"] == "logistics" else classes
        channels, count, phases = parameters.channels, parameters.count, int(form.get("phases", 0))
        places = _places(form, parameters.known)
        if not 0 <= phases <= MOST_PHASES:
            raise ValueError(f"phases must be 0 to {MOST_PHASES}, found {phases}")
        if "learning" in form:
            Learning.load(form["learning"])
        blocks = tuple(
            Block(
                tensor(f"blocks.{i}.alpha", np.float32, 1)[0],
                product(f"blocks.{i}.conv", h, weight=(len(taps), h)),
                product(f"blocks.{i}.pointwise", h, weight=(h,)),
            )
            for i in range(int(form["blocks"]))
        )
        heads = tuple(
            Head(
                product(f"heads.{c}.input", d, features=(h,), codes=(head_inputs(count, c, places),)),
                product(f"heads.{c}.hidden", d, weight=(d,)),
                product(f"heads.{c}.output", outputs, weight=(d,)),
            )
            for c in range(channels)
        )
        first = product("first", h, weight=(len(first_taps), channels * (1 + count) + places))
        return cls(
            card, parameters, first_taps, taps, first, blocks, tensor("alpha", np.float32, 1)[0], heads,
            identity(card, tensors), _expert_maps(tensors, channels),
        )  # fmt: skip

    @cached_property
    def shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(taps, inputs, outputs) of every product, each once: what back ends must prove."""
        return tuple(sorted({product.weight.shape for product in self.products().values()}))

    def products(self) -> dict[str, Product]:
        """All products by name."""
        named = {"first": self.first}
        for i, block in enumerate(self.blocks):
            named |= {f"blocks.{i}.conv": block.conv, f"blocks.{i}.pointwise": block.pointwise}
        for c, head in enumerate(self.heads):
            named |= {
                f"heads.{c}.input": head.input,
                f"heads.{c}.hidden": head.hidden,
                f"heads.{c}.output": head.output,
            }
        return named

    def check(self) -> None:
        """Prove the bound of every output; raise `ModelError` where it fails or a tap is not causal."""
        for taps, least in ((self.first_taps, 1), (self.taps, 0)):
            for dy, dx in taps:
                if not 0 <= dy <= REACH or 2 * dy - dx < least:
                    raise ModelError(f"tap ({dy}, {dx}) is out of reach or not known in time; fetch the model anew")
        if any(max(abs(dy), abs(dx)) > REACH for dy, dx in self.known_taps):
            raise ModelError(f"taps of known planes {self.known_taps} are out of reach; fetch the model anew")
        for name, product in self.products().items():
            if product.bound() >= BOUND or product.weight.min(initial=0) < -127:
                raise ModelError(f"sums of {name} may reach {product.bound()}, above {BOUND}; freeze the model anew")
            if not (np.isfinite(product.scale) & (product.scale > 0)).all():
                raise ModelError(f"scales of {name} must be finite and positive; freeze the model anew")
        alphas = [self.alpha, *(block.alpha for block in self.blocks)]
        if not (np.isfinite(alphas) & (np.array(alphas) > 0)).all():
            raise ModelError("scales of the stream must be finite and positive; freeze the model anew")


EXPERT_MAPS = ("experts.maps", "experts.last")  # tensors that a model may have


def _expert_maps(tensors: Mapping[str, np.ndarray], channels: int) -> tuple[np.ndarray, ...]:
    """Starting values for experts, both or none; `ValueError` where they are of another form."""
    if not any(name in tensors for name in EXPERT_MAPS):
        return ()
    found = tuple(tensors[name] for name in EXPERT_MAPS)
    for name, array, size in zip(EXPERT_MAPS, found, (MAP_SIZE, NODES * BUCKETS), strict=True):
        if array.dtype != np.uint32 or array.shape != (channels, size):
            raise ValueError(f"{name}: expected uint32{(channels, size)}, found {array.dtype}{array.shape}")
    return found


def _known_taps(form: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    return tuple((int(dy), int(dx)) for dy, dx in form.get("known_taps", ()))


def _places(form: Mapping[str, Any], known: int) -> int:
    return 2 * int(form.get("phases", 0)) + known * (1 + len(_known_taps(form)))


def head_inputs(count: int, channel: int, places: int = 0) -> int:
    """Input codes of a channel's head: differences to the centre, its fraction and level, residuals, `places`."""
    return (count - 1) + 2 + channel * count + places


def phase_codes(phases: int) -> np.ndarray:
    """int8[8, phases]: the codes of the lowest bits of a coordinate, by the coordinate modulo 8."""
    bits = np.arange(1 << MOST_PHASES)[:, None] >> np.arange(phases) & 1
    return np.where(bits == 1, PHASE, -PHASE).astype(np.int8)


def known_codes(planes: np.ndarray, taps: Sequence[tuple[int, int]]) -> np.ndarray:
    """What network inputs tell of known planes uint8[H, W, K]: int8[H, W, K (1 + taps)].

    Plane by plane the pixel's level, then by how much each tap's pixel, or the nearest inside, differs from it.
    """
    height, width, count = planes.shape
    codes = np.empty((height, width, count, 1 + len(taps)), np.int8)
    codes[..., 0] = np.maximum(planes.astype(np.int16) - 128, -127)
    for k, (dy, dx) in enumerate(taps, 1):
        rows, columns = np.clip(np.arange(height) - dy, 0, height - 1), np.clip(np.arange(width) + dx, 0, width - 1)
        codes[..., k] = COMPAND[(planes[rows][:, columns].astype(np.int64) - planes) * UNIT + LIMIT]
    return codes.reshape(height, width, -1)


def residual_classes(form: Mapping[str, Any]) -> np.ndarray:
    """int16[511]: class of each residual -255..255, ascending.

    With the outputs "residual" and "logistics" |r| below the first edge have one each and farther ones are in bins,
    each side; with the output "raw" the centre is 0 and each symbol has its own.
    """
    if form["output"] == "raw":
        return np.maximum(np.arange(-255, 256), 0).astype(np.int16)
    edges = [int(edge) for edge in form["edges"]]
    if (
        form["output"] not in ("residual", "logistics")
        or not edges
        or edges != sorted(set(edges))
        or not 1 <= edges[0] <= edges[-1] <= 255
    ):
        raise ValueError(
            f"output {form['output']!r} with edges {edges}: expected raw, or residual or logistics with edges in 1..255"
        )
    exact = edges[0] - 1
    middle = len(edges) + exact
    residuals = np.arange(-255, 256)
    bins = np.searchsorted(edges, np.abs(residuals), side="right")
    far = middle + np.sign(residuals) * (exact + bins)
    return np.where(bins > 0, far, middle + residuals).astype(np.int16)


def identity(card: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> bytes:
    """SHA-256 of the card's deciding parts and of all tensors, in little-endian order by name."""
    digest = hashlib.sha256()
    deciding = {key: card[key] for key in ("channels", "network", "predictors")}
    digest.update(json.dumps(deciding, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        little = array.astype(array.dtype.newbyteorder("<"))
        digest.update(f"{name} {array.dtype.name} {list(array.shape)}".encode())
        digest.update(little.tobytes())
    return digest.digest()
