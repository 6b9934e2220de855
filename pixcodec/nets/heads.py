"""Heads: what turns features into logits, and the two meanings of logits.

`residual` (the default): classes of the residual v - q around the rounded centre prediction q.  Residuals below the
first edge in absolute value have a class each; farther ones share one with all of their bin, and each *symbol* of the
class has the class's logit.  The softmax runs over the symbols 0..255 that are possible, so far classes count as often
as they have possible symbols: a table of multiplicities by q.  `raw` is the paper's form: 256 free logits for v.
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
    """One channel's head: (features, codes) -> width -> width -> logits, ReLU between."""

    def __init__(self, features: int, codes: int, width: int, outputs: int) -> None:
        super().__init__()
        self.features = features
        self.input = nn.Linear(features + codes, width)
        self.hidden = nn.Linear(width, width)
        self.output = nn.Linear(width, outputs)

    def forward(self, features: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """[N, H, W, features] and codes / 32 [N, H, W, codes] to logits [N, H, W, outputs]."""
        weight = self.input.weight
        seen = functional.linear(features, weight[:, : self.features], self.input.bias)
        a = functional.relu(seen + functional.linear(codes, weight[:, self.features :]))
        b = functional.relu(self.hidden(a))
        return self.output(b)


class Residual(nn.Module):
    """Classes of the residual around the centre."""

    def __init__(self, edges: Sequence[int]) -> None:
        super().__init__()
        counts = multiplicities(edges)
        self.outputs = counts.shape[1]
        with np.errstate(divide="ignore"):
            table = np.maximum(np.log(counts), IMPOSSIBLE).astype(np.float32)
        self.register_buffer("classes", torch.from_numpy(residual_classes(edges)), persistent=False)
        self.register_buffer("log_counts", torch.from_numpy(table), persistent=False)

    def nats(self, logits: torch.Tensor, centre: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Code lengths in nats, float32[M], of values given logits [M, outputs]; centre and values are uint8[M]."""
        q = centre.long()
        target = self.classes[values.long() - q + 255]
        table = self.log_counts[q]
        lengths = functional.cross_entropy(logits.float() + table, target, reduction="none")
        return lengths + table.gather(1, target[:, None])[:, 0]

    def symbol_nats(self, logits: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
        """Code lengths in nats of all 256 symbols, float32[M, 256]."""
        q = centre.long()
        total = torch.logsumexp(logits.float() + self.log_counts[q], 1, keepdim=True)
        symbols = torch.arange(LEVELS, device=logits.device)
        return total - logits.float().gather(1, self.classes[symbols[None] - q[:, None] + 255])


class Raw(nn.Module):
    """The paper's form: 256 free logits for the value."""

    outputs = LEVELS

    def nats(self, logits: torch.Tensor, centre: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """As `Residual.nats`; the centre does not matter."""
        del centre
        return functional.cross_entropy(logits.float(), values.long(), reduction="none")

    def symbol_nats(self, logits: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
        """As `Residual.symbol_nats`."""
        del centre
        return -torch.log_softmax(logits.float(), 1)


BITS = 1 / math.log(2)  # bits a nat
