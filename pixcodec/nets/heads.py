"""Heads: what turns features into outputs, and the three meanings of outputs.

`residual` (the default): logits of classes of the residual v - q around the rounded centre prediction q.  Residuals
below the first edge in absolute value have a class each; farther ones share one with all of their bin, and each
*symbol* of the class has the class's logit.  The softmax runs over the symbols 0..255 that are possible, so far classes
count as often as they have possible symbols: a table of multiplicities by q.  `logistics`: a mixture of three logistic
distributions of the residual (Salimans and others, *PixelCNN++*, 2017), in the same classes.  `raw` is the paper's
form: 256 free logits for v.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

LEVELS = 256
EDGES = (21, 24, 28, 34, 42, 54, 70, 92)
COMPONENTS = 3  # of "logistics"
OCTAVES = 7  # of their scales, either side of one level
NATS_PER_LOGIT = math.log(2) / 256  # a step of a logit in exact networks
MEAN_UNIT = 256  # such steps of a mean are a level
MEAN_LEVELS = 8  # that a mean of 1 stands for
IMPOSSIBLE = -1e4  # what stands for log 0: exp of it is 0 in binary32, and sums with it stay finite


def residual_classes(edges: Sequence[int] = EDGES) -> np.ndarray:
    """Class of each residual, int64[511], index r + 255, classes numbered by ascending residual.

    `edges` are the lower edges of the bins of |r|; the last bin reaches 255.
    """
    distance = np.arange(LEVELS)
    nearest = edges[0] - 1
    far = np.searchsorted(np.asarray(edges), distance, side="right")
    step = np.where(distance < edges[0], distance, nearest + far)
    middle = nearest + len(edges)
    return np.concatenate([middle - step[:0:-1], middle + step]).astype(np.int64)


def multiplicities(edges: Sequence[int] = EDGES) -> np.ndarray:
    """How many symbols 0..255 each class has when the centre is q: int64[256, classes]."""
    classes = residual_classes(edges)
    count = int(classes.max()) + 1
    rows = [np.bincount(classes[255 - q : 511 - q], minlength=count) for q in range(LEVELS)]
    return np.stack(rows)


class Head(nn.Module):
    """One channel's head: (features, codes) -> width -> width -> outputs, ReLU between."""

    def __init__(self, features: int, codes: int, width: int, outputs: int) -> None:
        super().__init__()
        self.features = features
        self.input = nn.Linear(features + codes, width)
        self.hidden = nn.Linear(width, width)
        self.output = nn.Linear(width, outputs)

    def forward(self, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """[N, H, W, features] and codes / 32 [N, H, W, codes] to outputs [N, H, W, outputs], these in binary32."""
        weight = self.input.weight
        seen = functional.linear(features, weight[:, : self.features], self.input.bias)
        a = functional.relu(seen + functional.linear(codes, weight[:, self.features :]))
        b = functional.relu(self.hidden(a))
        with torch.autocast(b.device.type, enabled=False):  # a mean of bfloat16 is a level off at a distance of 128
            output: torch.Tensor = self.output(b.to(self.output.weight.dtype))
        return output


class Outputs(nn.Module):
    """What the outputs of a head mean.

    Attributes:
        outputs: how many there are.
        number: of classes.
        logits: how many of them, the first ones, are logits of one softmax.
    """

    outputs: int
    number: int
    logits: int

    def units(self) -> list[float]:
        """What a step of each output's integer is worth."""
        return [NATS_PER_LOGIT] * self.outputs

    def needed(self, x: torch.Tensor) -> torch.Tensor:
        """[outputs, ...] without what all logits have in common, which does not matter."""
        return torch.cat([x[: self.logits] - x[: self.logits].mean(0, keepdim=True), x[self.logits :]])

    def nats(self, logits: torch.Tensor, centre: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Code lengths in nats, float32[M], of values given outputs [M, outputs]; centre and values are uint8[M]."""
        raise NotImplementedError

    def symbol_nats(self, logits: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
        """Code lengths in nats of all 256 symbols, float32[M, 256]."""
        raise NotImplementedError


class Residual(Outputs):
    """Classes of the residual around the centre."""

    def __init__(self, edges: Sequence[int]) -> None:
        super().__init__()
        counts = multiplicities(edges)
        self.outputs = self.number = self.logits = counts.shape[1]
        with np.errstate(divide="ignore"):
            table = np.maximum(np.log(counts), IMPOSSIBLE).astype(np.float32)
        self.register_buffer("classes", torch.from_numpy(residual_classes(edges)), persistent=False)
        self.register_buffer("log_counts", torch.from_numpy(table), persistent=False)

    def nats(self, logits: torch.Tensor, centre: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """See `Outputs`."""
        q = centre.long()
        target = self.classes[values.long() - q + 255]
        table = self.log_counts[q]
        lengths = functional.cross_entropy(logits.float() + table, target, reduction="none")
        return lengths + table.gather(1, target[:, None])[:, 0]

    def symbol_nats(self, logits: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
        """See `Outputs`."""
        q = centre.long()
        total = torch.logsumexp(logits.float() + self.log_counts[q], 1, keepdim=True)
        symbols = torch.arange(LEVELS, device=logits.device)
        return total - logits.float().gather(1, self.classes[symbols[None] - q[:, None] + 255])


class Logistics(Outputs):
    """Three logistic distributions around the centre: logits of weights, means / 8, logarithms of scales.

    A distribution of scale 1 has the weight 1 / (1 + 2^(m - e)) below e, a factor of two a level where it is small.  A
    symbol has what lies between its edges, the first and the last possible one all that is beyond, and 2^-24 besides.
    """

    outputs, logits = 3 * COMPONENTS, COMPONENTS

    def __init__(self, edges: Sequence[int]) -> None:
        """Edges matter to what the card says alone."""
        super().__init__()
        self.number = int(residual_classes(edges).max()) + 1

    def units(self) -> list[float]:
        """See `Outputs`."""
        kinds = NATS_PER_LOGIT, 1 / (MEAN_LEVELS * MEAN_UNIT), NATS_PER_LOGIT
        return [unit for unit in kinds for _ in range(COMPONENTS)]

    def nats(self, logits: torch.Tensor, centre: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """See `Outputs`."""
        weights, means, scales = logits.float().view(-1, 3, COMPONENTS).unbind(1)
        value = values.long()[:, None]
        edge = value - centre.long()[:, None] - 0.5
        limit = OCTAVES * math.log(2)
        sharp = math.log(2) * torch.exp(-scales.clamp(-limit, limit))
        lower, upper = ((edge + side - MEAN_LEVELS * means) * sharp for side in (0, 1))
        lower = torch.where(value > 0, lower, -math.inf)
        upper = torch.where(value < LEVELS - 1, upper, math.inf)
        above = lower > 0  # the mean is below: the other tail is small there, and as exact
        lower, upper = torch.where(above, -upper, lower), torch.where(above, -lower, upper)
        mass = (torch.softmax(weights, 1) * (torch.sigmoid(upper) - torch.sigmoid(lower))).sum(1)
        return -torch.log(mass * (1 - 2.0**-16) + 2.0**-24)

    def symbol_nats(self, logits: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
        """See `Outputs`."""
        rows = logits.repeat_interleave(LEVELS, 0), centre.repeat_interleave(LEVELS, 0)
        return self.nats(*rows, torch.arange(LEVELS, device=logits.device).repeat(len(logits))).view(-1, LEVELS)


class Raw(Outputs):
    """The paper's form: 256 free logits for the value."""

    outputs = number = logits = LEVELS

    def __init__(self, edges: Sequence[int] = ()) -> None:
        """Edges do not matter."""
        del edges
        super().__init__()

    def nats(self, logits: torch.Tensor, centre: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """See `Outputs`; the centre does not matter."""
        del centre
        return functional.cross_entropy(logits.float(), values.long(), reduction="none")

    def symbol_nats(self, logits: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
        """See `Outputs`."""
        del centre
        return -torch.log_softmax(logits.float(), 1)


BITS = 1 / math.log(2)  # bits a nat
