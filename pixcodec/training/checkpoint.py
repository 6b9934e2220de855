"""What training keeps: checkpoints to go on from exactly, and float weights with their card to start anew from.

`checkpoint.pt` holds everything (weights, optimiser, generator, the number of the next batch); `float.safetensors`
holds the weights in 16 bits and `float.json` what they are: small enough to be committed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pixcodec.errors import TrainingError
from pixcodec.nets import networks, photo
from pixcodec.training import tasks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CHECKPOINT = "checkpoint.pt"
WEIGHTS, CARD = "float.safetensors", "float.json"


def load_recipe(path: Path) -> dict[str, Any]:
    """A recipe from its JSON file.

    Raises:
        TrainingError: it cannot be read, or does not describe predictors and a network that fit.
    """
    try:
        recipe: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        tasks.make(recipe)
        _check_schedule(recipe)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise TrainingError(
            f"{path} must be a recipe in JSON (predictors, network, data, optimiser, pixels), found {problem!r}; "
            "correct it"
        ) from None
    return recipe


def _check_schedule(recipe: Mapping[str, Any]) -> None:
    """`ValueError`, `KeyError` or `TypeError` unless pixels, optimiser and data of a recipe can be trained with."""
    if not float(recipe["pixels"]) > 0:
        raise ValueError(f"{recipe['pixels']} pixels to see")
    if not float(recipe["optimiser"]["rate"]) >= 0 or not isinstance(recipe["optimiser"]["name"], str):
        raise ValueError("the optimiser needs a name and a rate that is not negative")
    if not 0 <= float(recipe["optimiser"].get("average", 0.0)) < 1:
        raise ValueError("the optimiser's average must keep 0 or more of itself, and less than 1")
    if min(int(recipe["data"].get(key, 1)) for key in ("crop", "batch", "max_pixels", "validate")) < 1:
        raise ValueError("crop, batch, max_pixels and validate must be positive")


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the checkpoint whole or not at all; `TrainingError` where it cannot be written."""
    temporary = folder / f"{CHECKPOINT}.tmp"
    try:
        torch.save(dict(state), temporary)
        temporary.replace(folder / CHECKPOINT)
    except (OSError, RuntimeError) as problem:  # torch raises its own where a folder is missing
        raise TrainingError(f"{folder} must be a folder with room for checkpoints, found {problem}") from None


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """The checkpoint of a folder; `TrainingError` where there is none or it is damaged."""
    path = folder / CHECKPOINT
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # noqa: BLE001 - torch raises what its readers do: pickle, zip, runtime errors
        raise TrainingError(f"--resume needs a checkpoint at {path}, found {problem}; start without --resume") from None
    return state


def save_weights(folder: Path, network: nn.Module, card: Mapping[str, Any]) -> None:
    """Write the weights as float16, with their card; `TrainingError` where they cannot be written."""
    tensors = {name: value.detach().to("cpu", torch.float16).contiguous() for name, value in network.named_parameters()}
    temporary = folder / f"{WEIGHTS}.tmp"
    try:
        save_file(tensors, temporary)
        temporary.chmod(0o644)  # safetensors writes for the owner alone
        temporary.replace(folder / WEIGHTS)
        (folder / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as problem:
        raise TrainingError(f"{folder} must be a folder with room for weights, found {problem}") from None


def load_weights(path: Path, network: nn.Module, *, grow: bool = False) -> None:
    """Take over weights that `save_weights` wrote.

    Args:
        path: the safetensors file, or the folder with it.
        network: of the same shape, or with `grow` of one that has more blocks, more features or more inputs at the end:
            it then begins as the function that the weights are; last layers of other outputs begin anew.
        grow: whether it may be larger.

    Raises:
        TrainingError: the file is missing, damaged, or of another shape of network.
    """
    path = path / WEIGHTS if path.is_dir() else path
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as problem:
        raise TrainingError(f"{path} must hold float weights in safetensors, found {problem}; give another") from None
    own = dict(network.named_parameters())
    if grow:
        tensors = _with_features(tensors, network)
        tensors = {name: _grown(name, own[name].detach(), tensors.get(name)) for name in own} | {
            name: tensor for name, tensor in tensors.items() if name not in own
        }
    different = sorted(
        n for n in own.keys() | tensors.keys() if n not in own or n not in tensors or own[n].shape != tensors[n].shape
    )
    if different:
        raise TrainingError(
            f"{path} must fit the recipe's network, found {len(different)} tensors that do not, {different[0]} first; "
            "give weights that were trained with this recipe"
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name].to(parameter.dtype))


def _with_features(tensors: dict[str, torch.Tensor], network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights whose heads have room for the larger network's features, which come before a head's other inputs."""
    if not isinstance(network, photo.PhotoNet) or "first.weight" not in tensors:
        return tensors
    before = tensors["first.weight"].shape[0]
    more = max(network.configuration.features - before, 0)

    def widened(weight: torch.Tensor) -> torch.Tensor:
        return torch.cat([weight[:, :before], weight.new_zeros(weight.shape[0], more), weight[:, before:]], 1)

    return {name: widened(t) if name.endswith(".input.weight") else t for name, t in tensors.items()}


def _grown(name: str, own: torch.Tensor, found: torch.Tensor | None) -> torch.Tensor:
    """What a larger network's tensor begins with: new blocks add nothing yet, what was there sees nothing new."""
    if found is None:
        if not name.startswith("blocks."):
            return torch.empty(0)
        return torch.zeros_like(own) if ".pointwise." in name else own
    if name.startswith("heads.") and ".output." in name and found.shape[0] != own.shape[0]:
        return own
    if found.ndim != own.ndim or any(size > larger for size, larger in zip(found.shape, own.shape, strict=True)):
        return found
    grown = own.clone()
    grown[: found.shape[0]] = 0
    grown[tuple(slice(size) for size in found.shape)] = found.to(grown.dtype)
    return grown


def load_network(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Float network and card from a folder that `save_weights` wrote.

    Raises:
        TrainingError: the folder holds no such network.
    """
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        if tasks.is_of_the_paper(card):
            network = networks.make(networks.load_shape(card["network"]))
        else:
            network = photo.PhotoNet(tasks.parts(card)[1])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise TrainingError(
            f"{folder / CARD} must be the card of float weights, found {problem!r}; train first"
        ) from None
    load_weights(folder / WEIGHTS, network)
    return network, card


def trained_before(path: Path) -> dict[str, Any]:
    """What training 16-bit weights had seen, from the card beside them; nothing where there is none."""
    folder = path if path.is_dir() else path.parent
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        return {key: total(card, key) for key in ("pixels", "minutes")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def total(card: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - pixels are whole, minutes are not
    """Pixels or minutes of all training that a card tells of, with what went before `--init`."""
    training = card["training"]
    return round(training[key] + training.get("before", {}).get(key, 0), 1)
