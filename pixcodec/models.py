"""Finding, loading, listing and proving model files.

A model is a folder with `card.json` and `model.safetensors`; its id is the SHA-256 of all that decides a coded bit
(`exact.network.identity`).  Folders are looked for in `$PIXCODEC_MODELS`, then among the shipped ones.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

from pixcodec.errors import BackendError, ModelError, PixcodecError
from pixcodec.exact import matmul
from pixcodec.exact.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixcodec.exact.program import Program

CARD, WEIGHTS = "card.json", "model.safetensors"
ID_BYTES = 8  # of the id, in a file's header
ENVIRONMENT = "PIXCODEC_MODELS"
DEFAULTS = {"RGB": "photo", "L": "photo_gray", "1": "mnist"}
KNOWING = {1: "photo_chroma", 2: "photo_luma"}  # for one plane, by how many are known
FAST = {"RGB": "photo_fast"}  # a quarter of the network, for low efforts
KINDS = {
    "pixelcnn": "PixelCNN",
    "row_lstm": "Row LSTM",
    "diagonal_bilstm": "Diagonal BiLSTM",
    "gated_pixelcnn": "gated PixelCNN",
    "multi_scale": "Multi-Scale",
}
_PACKAGE = Path(__file__).parent
_SHIPPED = (_PACKAGE / "shipped_models", _PACKAGE.parent / "models")  # installed; in a checkout


@dataclass(frozen=True)
class Listed:
    """A model that was found: its name, id (hex), channels, folder, levels of a sample, kind, planes that it knows."""

    name: str
    id: str
    channels: int
    folder: Path
    levels: int = 256
    kind: str = ""
    known: int = 0


def folders() -> Iterator[Path]:
    """Every folder with a model's card, by order of preference."""
    own = os.environ.get(ENVIRONMENT)
    for root in (*([Path(own)] if own else []), *_SHIPPED):
        if root.is_dir():
            yield from sorted(path.parent for path in root.glob(f"*/{CARD}"))


def available() -> list[Listed]:
    """All models that can be found, one for each id, as their cards describe them."""
    found: dict[str, Listed] = {}
    for folder in folders():
        card = _card(folder)
        identity = str(card.get("id", ""))
        channels, levels = int(card.get("channels", 0)), int(card.get("levels", 256))
        listed = Listed(folder.name, identity, channels, folder, levels, _kind(card), _known(card))
        found.setdefault(identity, listed)
    return list(found.values())


def _kind(card: dict[str, Any]) -> str:
    """What kind of network a card tells of; nothing where it does not say."""
    if "program" not in card:
        return "photo"
    network = card.get("network")
    kind = str(network.get("kind", "")) if isinstance(network, dict) else ""
    return KINDS.get(kind, kind)


def _known(card: dict[str, Any]) -> int:
    """How many planes of other groups a card's network wants to know."""
    predictors = card.get("predictors")
    return int(predictors.get("known", 0)) if isinstance(predictors, dict) else 0


def _card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise ModelError(f"{path} must be a model's card in JSON, found {problem}; fetch the model anew") from None
    if not isinstance(card, dict):
        raise ModelError(f"{path} must be a model's card, a JSON object; fetch the model anew")
    return card


@lru_cache
def _load(folder: Path) -> Network | Program:
    """The model in a folder, with its id and its bound proved."""
    card, path = _card(folder), folder / WEIGHTS
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as problem:
        raise ModelError(f"{path} must hold the model's integers, found {problem}; fetch the model anew") from None
    network: Network | Program
    if "program" in card:
        from pixcodec.exact.program import Program

        network = Program.build(card, tensors)
    else:
        network = Network.build(card, tensors)
    if card.get("id") != network.identity.hex():
        raise ModelError(
            f"{folder} must hold model {str(card.get('id'))[:16]}, found integers of {network.identity.hex()[:16]}; "
            "fetch the model anew"
        )
    return network


def load(name: str) -> Network | Program:
    """A model by name or folder; `ModelError` where there is none or it is not sound."""
    path = Path(name)
    if (path / CARD).is_file():
        return _load(path.resolve())
    for folder in folders():
        if folder.name == name:
            return _load(folder)
    known = ", ".join(sorted({folder.name for folder in folders()})) or "none"
    raise ModelError(f"no model is called {name!r} (found: {known}); give a name of these or a folder with {CARD}")


def load_by_id(prefix: bytes) -> Network | Program:
    """The model whose id begins with `prefix`; `ModelError` where it is not here."""
    for model in available():
        if model.id.startswith(prefix.hex()):
            network = _load(model.folder)
            if network.identity.startswith(prefix):
                return network
    raise ModelError(
        f"the file needs model {prefix.hex()}, which is not here; install the pixcodec version that wrote the file, "
        f"or put the model's folder into ${ENVIRONMENT}"
    )


def verify(name: str | None = None) -> Iterator[str]:
    """Load every model (or one), prove its bound, run every back end's known-answer test; a line for each finding.

    Raises:
        ModelError: a model is not sound.
        BackendError: no back end is exact on this machine.
    """
    names, exact = [name] if name else [str(model.folder) for model in available()], False
    for each in names:
        network = load(each)
        bound = max(product.bound() for product in network.products().values())
        yield f"{Path(each).name} {network.identity.hex()[:16]}: id matches, largest sum {bound} < 2^24"
        for candidate in matmul.NAMES:
            try:
                backend = matmul.backend(candidate)
            except PixcodecError as problem:  # a missing package is a finding here, not a failure
                yield f"  {candidate}: not available ({problem})"
                continue
            good = all(matmul.known_answer(backend, *shape) for shape in network.shapes)
            exact |= good
            yield f"  {candidate}: {'exact' if good else 'NOT exact on this machine, never used'}"
    if names and not exact:
        raise BackendError("no back end multiplies exactly on this machine")
