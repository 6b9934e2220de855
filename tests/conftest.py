"""Fixtures for all tests: folders that `make check` may be given, and a small codec for what needs no network."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import stand_in_codec
import stand_in_stacks
from hypothesis import settings

import pixcodec

if TYPE_CHECKING:
    from types import ModuleType

# No deadline: compiling a kernel for the first time takes longer than any test. No database: nothing is left behind.
settings.register_profile("pixcodec", deadline=None, database=None, print_blob=True)
settings.load_profile("pixcodec")


def _folder(variable: str, make: str) -> Path:
    name = os.environ.get(variable, "")
    if not name:
        pytest.skip(f"needs a folder: make check {make}=folder")
    return Path(name)


@pytest.fixture(scope="session")
def kodak() -> Path:
    """The folder of Kodak's 24 PNG files; skips when `make check` was given none."""
    return _folder("PIXCODEC_KODAK", "KODAK")


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of the training photographs with its photos.txt; skips when `make check` was given none."""
    return _folder("PIXCODEC_PHOTOS", "PHOTOS")


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Put a codec without a network, in real containers, in the place of `pixcodec.codec`."""
    monkeypatch.setitem(sys.modules, "pixcodec.codec", stand_in_codec)
    monkeypatch.setattr(pixcodec, "codec", stand_in_codec, raising=False)
    return stand_in_codec


@pytest.fixture
def stacks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Put networks that are zlib in the place of all models and of `pixcodec.stacks`."""
    from pixcodec import models, regions

    monkeypatch.setattr(regions, "stacks", stand_in_stacks)
    for name in ("available", "load", "load_by_id"):
        monkeypatch.setattr(models, name, getattr(stand_in_stacks, name))
    return stand_in_stacks
