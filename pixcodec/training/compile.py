"""A float network of the paper to the integer operations of `exact.program`.

The network is plain PyTorch; torch.fx records what its forward pass does with masked convolutions, states, gates, ReLU
and sums, and each of these becomes an operation.  Every map has a *unit*, what a step of its integers is worth: of
codes one for each feature, of streams one for all that are added to each other, of gates and states fixed ones, which
the tables want.  Units come from what activations are on calibration images.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from pixcodec.exact.network import STREAM_LIMIT
from pixcodec.exact.operations import BYTE, GATES, HALVES, IMAGE, KNOWN, SIGNED
from pixcodec.exact.program import SMALL
from pixcodec.exact.tables import CELL_UNIT, GATE_UNIT
from pixcodec.nets.autoregressive import CODE_UNIT, Autoregressive, Configuration, codes
from pixcodec.nets.diagonal_bilstm import DiagonalStates
from pixcodec.nets.gated import Gate
from pixcodec.nets.heads import NATS_PER_LOGIT
from pixcodec.nets.masked import MaskedConv2d
from pixcodec.nets.mixture import Mixture
from pixcodec.nets.multiscale import FACTOR, known_codes
from pixcodec.nets.recurrence import Recurrence
from pixcodec.nets.row_lstm import RowStates
from pixcodec.training.quantise import LARGEST_CODE, QUANTILE, IntegerProduct, balanced, quantile_range, quantise

if TYPE_CHECKING:
    from pixcodec.exact.operations import Taps
    from pixcodec.nets.networks import Network

STATE_UNIT = 128  # states and gated units count 1/128
_STREAM_ROOM = 16000  # what a stream's quantile becomes: half of its clamp
_SAMPLES = 20000  # places that ranges are taken from


class _Tracer(fx.Tracer):
    """Leaves our own modules whole."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        """Whether a module is an operation."""
        return isinstance(module, nn.Conv2d | Recurrence | Gate) or super().is_leaf_module(module, name)


class _Recorder(fx.Interpreter):
    """Runs a graph and keeps samples [places, features] of every map."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.samples: dict[fx.Node, torch.Tensor] = {}
        self._generator = torch.Generator().manual_seed(0)

    def run_node(self, n: fx.Node) -> Any:  # noqa: ANN401 - fx's signature
        """Compute and remember."""
        result = super().run_node(n)
        if isinstance(result, torch.Tensor) and result.dim() == 4:
            flat = result.detach().permute(0, 2, 3, 1).flatten(0, 2)
            chosen = torch.randint(len(flat), (min(_SAMPLES, len(flat)),), generator=self._generator)
            self.samples[n] = flat[chosen]
        return result


@dataclass
class _Compiler:
    """Walks a graph and emits operations.

    Attributes:
        graph: of the network, with its modules.
        configuration: of the network.
        samples: what every node's map is on calibration images.
    """

    graph: fx.GraphModule
    configuration: Configuration
    samples: dict[fx.Node, torch.Tensor]
    program: list[dict[str, Any]] = field(default_factory=list)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    maps: dict[fx.Node, str] = field(default_factory=dict)
    rescaled: dict[fx.Node, str] = field(default_factory=dict)  # maps of signed codes beside streams
    units: dict[fx.Node, torch.Tensor] = field(default_factory=dict)  # of codes, one a feature
    streams: dict[fx.Node, float] = field(default_factory=dict)  # units of streams

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls."""
        return self.graph.get_submodule(str(node.target)) if node.op == "call_module" else None

    def run(self) -> None:
        """Emit all operations."""
        nodes = list(self.graph.graph.nodes)
        self._choose_streams(nodes)
        for node in nodes:
            module = self.module(node)
            if node.op == "placeholder" and node.users:
                name = KNOWN if self.maps else IMAGE
                self.maps[node] = name
                self.units[node] = torch.full((self.configuration.channels + (name == KNOWN),), 1 / CODE_UNIT)
            elif isinstance(module, nn.Conv2d):
                self._convolve(node, module)
            elif isinstance(module, RowStates):
                self._recur(node, node.args[0], "rows", module, 0)
            elif isinstance(module, DiagonalStates):
                self._both_ways(node, module)
            elif isinstance(module, Gate):
                self._emit(node, {"op": "gate", "source": self.maps[node.args[0]]}, node.name)
                self.units[node] = torch.full((self.samples[node].shape[1],), 1 / STATE_UNIT)
            elif node.target in {operator.add, torch.add}:
                first, second = (self.maps[argument] for argument in node.args)
                self._emit(node, {"op": "add", "sources": [first, second]}, node.name)
            elif node.target is functional.relu:
                self._relu(node)
            elif node.op not in {"output", "placeholder", "call_function"} or (
                node.op == "call_function" and node.users
            ):
                raise ValueError(f"no integer operation for {node.format_node()}")

    def _choose_streams(self, nodes: list[fx.Node]) -> None:
        """One unit for all streams that are added to each other."""
        group: dict[fx.Node, list[fx.Node]] = {}
        for node in nodes:
            if isinstance(self.module(node), nn.Conv2d):
                group[node] = [node]
            elif node.target in {operator.add, torch.add}:
                members = [node]
                for argument in node.args:
                    if argument not in group:
                        raise ValueError(f"no integer operation for {node.format_node()}: {argument} is no stream")
                    if group[argument] is not members:
                        members = group[argument] + members if members == [node] else members + group[argument]
                for member in members:
                    group[member] = members
        for members in {id(members): members for members in group.values()}.values():
            gates = any(isinstance(self.module(user), Gate | Recurrence) for member in members for user in member.users)
            if gates:
                unit = 1 / GATE_UNIT
            else:
                unit = max(quantile_range(self.samples[member].abs(), QUANTILE)[1] for member in members) / _STREAM_ROOM
            self.streams |= dict.fromkeys(members, unit)

    def _emit(self, node: fx.Node | None, step: dict[str, Any], name: str) -> str:
        self.program.append({**step, "target": name})
        if node is not None:
            self.maps[node] = name
        return name

    def _codes(self, node: fx.Node) -> str:
        """The map of 8 bits that a product sees for a node; streams are rescaled to signed codes, once."""
        if node in self.rescaled:
            return self.rescaled[node]
        if node in self.units:
            return self.maps[node]
        name = f"{node.name}_codes"
        unit = balanced(*quantile_range(self.samples[node].abs(), QUANTILE)) / SIGNED
        self.units[node] = unit
        self.tensors[f"{name}.scale"] = (self.streams[node] / unit).numpy().astype(np.float32)
        self.rescaled[node] = name
        step = {"op": "rescale", "source": self.maps[node], "low": -SIGNED, "high": SIGNED}
        return self._emit(None, step, name)

    def _relu(self, node: fx.Node) -> None:
        source = node.args[0]
        if node in self.units:  # its convolution made it
            return
        unit = balanced(*quantile_range(self.samples[node], QUANTILE)) / LARGEST_CODE
        self.units[node] = unit
        self.tensors[f"{node.name}.scale"] = (self.streams[source] / unit).numpy().astype(np.float32)
        self._emit(node, {"op": "rescale", "source": self.maps[source], "low": 0, "high": BYTE}, node.name)

    def _parts(self, node: fx.Node) -> int:
        """How many parts a convolution's features have: those of what it goes into through sums."""
        for user in node.users:
            module = self.module(user)
            if isinstance(module, Gate):
                return HALVES
            if isinstance(module, Recurrence):
                return GATES
            if user.target in {operator.add, torch.add}:
                return self._parts(user)
        return 1

    def _convolve(self, node: fx.Node, module: nn.Conv2d) -> None:
        source = self._codes(node.args[0])
        inputs = self.units[node.args[0]]
        weight = module.weight * module.mask if isinstance(module, MaskedConv2d) else module.weight
        bias = torch.zeros(module.out_channels) if module.bias is None else module.bias
        users = list(node.users)
        low, high, target = -STREAM_LIMIT, STREAM_LIMIT, node
        if len(users) == 1 and users[0].op == "output":
            weight, bias, outputs = self._output(weight, bias)
        elif len(users) == 1 and users[0].target is functional.relu:
            low, high, target = 0, BYTE, users[0]
            outputs = balanced(*quantile_range(self.samples[target], QUANTILE)) / LARGEST_CODE
            self.units[target] = outputs
        else:
            outputs = torch.full((module.out_channels,), self.streams[node])
        name = target.name
        step = {
            "op": "convolve",
            "source": source,
            "taps": [list(tap) for tap in _taps(module)],
            "outputs": module.out_channels,
            "low": low,
            "high": high,
            "parts": self._parts(target),
        }
        if source == IMAGE and target is node:
            self._twice(node, module, step, (weight, bias, outputs))
            return
        self._product(name, module, quantise(weight, bias, inputs, outputs))
        self._emit(target, step, name)

    def _twice(
        self,
        node: fx.Node,
        module: nn.Conv2d,
        step: dict[str, Any],
        form: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    ) -> None:
        """A convolution of the image in 15 bits: one product, and one of what rounding took from its weights.

        Features of the image are small differences of large codes, which 8 bits of weights say too coarsely: on
        CIFAR-10 one product costs 0.33 %, more than the rest of the network.
        """
        weight, bias, outputs = form
        inputs = self.units[node.args[0]]
        coarse = quantise(weight, bias, inputs, outputs)
        worth = coarse.weight * (coarse.scale * outputs).view(-1, 1, 1, 1)
        rest = weight - worth / inputs.view(1, -1, 1, 1)
        fine = quantise(rest, torch.zeros_like(bias), inputs, outputs)
        names = [f"{node.name}_coarse", f"{node.name}_fine"]
        for name, product in zip(names, (coarse, fine), strict=True):
            self._product(name, module, product)
            self._emit(None, step, name)
        self._emit(node, {"op": "add", "sources": names}, node.name)

    def _product(self, name: str, module: nn.Conv2d, product: IntegerProduct) -> None:
        """A convolution's tensors."""
        if isinstance(module, MaskedConv2d):
            kernel = module.at_taps(product.weight)
        else:
            kernel = product.weight.permute(2, 3, 1, 0).flatten(0, 1)
        self._put(name, kernel, product.bias, product.scale)

    def _put(self, name: str, weight: torch.Tensor, bias: torch.Tensor, scale: torch.Tensor) -> None:
        self.tensors[f"{name}.weight"] = np.ascontiguousarray(weight.numpy().astype(np.int8))
        self.tensors[f"{name}.bias"] = bias.numpy().astype(np.int32)
        self.tensors[f"{name}.scale"] = scale.numpy().astype(np.float32)

    def _output(self, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Weights, biases and units of the outputs; what all logits of a channel share takes range from the weights."""
        c = self.configuration
        if c.output == "mixture":
            return weight, bias, torch.tensor(Mixture(c.components, c.channels).units())
        if c.levels > 2:
            each = weight.unflatten(0, (c.channels, c.levels))
            weight = (each - each.mean(1, keepdim=True)).flatten(0, 1)
            logits = bias.unflatten(0, (c.channels, c.levels))
            bias = (logits - logits.mean(1, keepdim=True)).flatten()
        return weight, bias, torch.full((len(bias),), NATS_PER_LOGIT)

    def _recur(self, node: fx.Node | None, gates: fx.Node, direction: str, module: Recurrence, way: int) -> str:
        name = gates.name + "_states"
        matrix = module.weight[way]  # [places h, 4 h]
        states = torch.full((matrix.shape[0],), 1 / STATE_UNIT)
        outputs = torch.full((matrix.shape[1],), 1 / GATE_UNIT)
        product = quantise(matrix.T, torch.zeros(matrix.shape[1]), states, outputs)
        self._put(name, product.weight.T.unflatten(0, (-1, module.features)), product.bias, product.scale)
        state = (module.initial[0, way].tanh() * STATE_UNIT).round().clamp(-SIGNED, SIGNED)
        cell = (module.initial[1, way] * CELL_UNIT).round().clamp(-STREAM_LIMIT, STREAM_LIMIT)
        self.tensors[f"{name}.initial"] = torch.stack([state, cell]).numpy().astype(np.int32)
        step = {"op": "recur", "source": self.maps[gates], "direction": direction, "places": len(module.offsets)}
        if node is not None:
            self.units[node] = torch.full((module.features,), 1 / STATE_UNIT)
        return self._emit(node, step, name)

    def _both_ways(self, node: fx.Node, module: DiagonalStates) -> None:
        left = self._recur(None, node.args[0], "left", module, 0)
        right = self._recur(None, node.args[1], "right", module, 1)
        self._emit(node, {"op": "join", "sources": [left, right]}, node.name)
        self.units[node] = torch.full((module.features,), 1 / STATE_UNIT)


def _taps(layer: nn.Conv2d) -> Taps:
    """Where a convolution looks, in the order of its weights: all of a kernel that is not masked."""
    if isinstance(layer, MaskedConv2d):
        return layer.taps
    rows, columns = layer.kernel_size
    return tuple((rows // 2 - row, column - columns // 2) for row in range(rows) for column in range(columns))


def compile_network(network: Network, values: torch.Tensor) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The deciding part of a card, and the tensors, of a float network.

    Args:
        network: in binary32.
        values: uint8[N, C, H, W], calibration images.

    Raises:
        ValueError: the network does something that no integer operation does.
    """
    network.eval()
    if isinstance(network, Autoregressive):
        return _compile(network, network.configuration, codes(values, network.configuration.levels), None)
    c = network.configuration.full
    deciding, tensors = _compile(network.full, c, codes(values, c.levels), known_codes(values, c.levels))
    small, more = compile_network(network.small, values[:, :, ::FACTOR, ::FACTOR].contiguous())
    return {**deciding, SMALL: small}, tensors | {f"{SMALL}.{name}": tensor for name, tensor in more.items()}


def _compile(
    network: nn.Module, c: Configuration, image: torch.Tensor, known: torch.Tensor | None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Of one scale: `image` and `known` are what the network sees of calibration images."""
    graph = _Tracer().trace(network, concrete_args={"context": None} if known is None else None)
    module = fx.GraphModule(network, graph)
    recorder = _Recorder(module)
    with torch.no_grad():
        recorder.run(*((image,) if known is None else (image, known)))
        compiler = _Compiler(module, c, recorder.samples)
        compiler.run()
    output: dict[str, Any] = {"kind": c.output}
    if c.output == "mixture":
        output["components"] = c.components
    deciding = {
        "channels": c.channels,
        "levels": c.levels,
        "groups": c.groups,
        "output": output,
        "program": compiler.program,
    }
    return deciding, compiler.tensors
