"""What turns gradients into new weights: AdamW, Muon, or RMSProp as the paper has it (section 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from pixcodec.errors import TrainingError
from pixcodec.nets.recurrence import Recurrence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Muon:
    """Muon for the weights of products, AdamW for all else; what training asks of an optimiser.

    Each weight is a matrix [outputs, whatever is multiplied], and its update is the mean of its gradients with all
    singular values near one (Jordan and others 2024), as large as one of AdamW (Liu and others 2025, "Muon is scalable
    for LLM training"), so that one rate serves both.
    """

    def __init__(self, weights: Sequence[nn.Parameter], others: Sequence[nn.Parameter], **settings: Any) -> None:  # noqa: ANN401
        """Of `settings` lr, betas and weight_decay are as AdamW's, momentum is Muon's own."""
        self.weights = list(weights)
        self.matrices = [nn.Parameter(weight.detach().flatten(1).clone()) for weight in weights]
        rate, betas = settings["lr"], settings["betas"]
        own = {key: settings[key] for key in ("weight_decay", "momentum")}
        self.muon = torch.optim.Muon(self.matrices, lr=rate, adjust_lr_fn="match_rms_adamw", **own)
        self.adamw = torch.optim.AdamW(others, lr=rate, betas=betas, weight_decay=0.0, fused=True)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Of both."""
        return [*self.muon.param_groups, *self.adamw.param_groups]

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        self.adamw.zero_grad(set_to_none)
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change all weights."""
        for weight, matrix in zip(self.weights, self.matrices, strict=True):
            matrix.data = weight.detach().flatten(1).clone()
            matrix.grad = None if weight.grad is None else weight.grad.flatten(1)
        self.muon.step()
        self.adamw.step()
        for weight, matrix in zip(self.weights, self.matrices, strict=True):
            weight.copy_(matrix.view(weight.shape))

    def state_dict(self) -> dict[str, Any]:
        """Of both."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` gave; `KeyError` or `ValueError` where it is of something else."""
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])


def make(network: nn.Module, settings: Mapping[str, Any]) -> torch.optim.Optimizer | Muon:
    """A recipe's optimiser: weights of products decay, others do not; `TrainingError` where it cannot be made."""
    name, decay = settings["name"], float(settings.get("weight_decay", 0.0))
    states = {module.initial for module in network.modules() if isinstance(module, Recurrence)}
    products = {p for p in network.parameters() if p.dim() > 1} - states
    weights = [p for p in network.parameters() if p in products]
    others = [p for p in network.parameters() if p not in products]
    groups = [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    rate, betas = float(settings["rate"]), tuple(settings.get("betas", (0.9, 0.98)))
    try:
        if name == "adamw":
            return torch.optim.AdamW(groups, lr=rate, betas=betas, fused=True)
        if name == "muon":
            momentum = float(settings.get("momentum", 0.95))
            return Muon(weights, others, lr=rate, betas=betas, weight_decay=decay, momentum=momentum)
        if name == "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, alpha=float(settings.get("alpha", 0.95)))
    except (TypeError, ValueError) as problem:
        raise TrainingError(f"the recipe's optimiser cannot be made: {problem}; correct it") from None
    raise TrainingError(f'the optimiser must be "adamw", "muon" or "rmsprop", found {name!r}; correct the recipe')
