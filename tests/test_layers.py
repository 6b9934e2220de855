"""Imports point downwards only (architecture.md, Layout), read from the source, and torch stays where it belongs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pixcodec"

# What each layer may import of pixcodec. A layer is a module or a folder; all may import errors.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "varint": set(),
    "expert_names": set(),
    "container": {"expert_names", "varint"},
    "names": {"varint"},
    "archive": {"container", "names", "varint"},
    "image": {"container"},
    "files": {"names"},
    "progress": set(),
    "coding": set(),
    "jpeg_file": {"exact"},
    "exact": set(),
    "models": {"exact"},
    "origins": {"exact", "jpeg_file", "varint"},
    "stacks": {"exact", "coding"},
    "behind": {"exact"},
    "tiles": {"behind", "exact", "expert_names", "progress"},
    "regions": {"exact", "progress", "stacks"},
    "repeats": set(),
    "codec": {"container", "exact", "expert_names", "models", "origins", "progress", "regions", "repeats", "tiles"},
    "archive_codec": {"archive", "codec", "container", "exact", "models", "names", "progress"},
    "explain": {"codec", "container", "exact", "expert_names", "models", "origins", "progress", "tiles"},
    "nets": set(),
    "training": {"nets", "exact", "image", "models", "origins", "progress", "stacks", "tiles"},
    "archive_commands": {"archive", "archive_codec", "files", "image", "names", "progress"},
    "ahead": {"cli", "exact", "origins"},
    "image_commands": {"archive_commands", "codec", "container", "explain", "files", "image", "progress"},
    "network_commands": {"exact", "files", "image", "models", "progress", "stacks", "training"},
    "cli": {
        "archive_commands",
        "codec",
        "container",
        "expert_names",
        "files",
        "image",
        "image_commands",
        "models",
        "network_commands",
        "origins",
        "progress",
        "training",
    },
    "__main__": {"cli"},
    "": {"archive_codec", "codec", "expert_names", "image"},  # pixcodec/__init__.py
}
TORCH = ("nets/", "training/", "exact/torch_backend.py", "exact/torch_arrays.py")
CONSTRICTION = ("coding.py",)
RARE = ("torch", "constriction", "pixcodec.origins.search", "pixcodec.stacks", "pixcodec.exact.program")
CODE = "planes = numpy.zeros((4, 4, 3), numpy.uint8); codec.decode(codec.encode(planes, 'RGB').data)"
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def layer(name: str) -> str:
    """Return the layer of a file's path or of a dotted module name, both relative to the package."""
    first = name.replace(".py", "").replace("/", ".").split(".")[0]
    return "" if first == "__init__" else first


def imported(path: Path, package: str) -> set[str]:
    """Return every module that a file imports, at any depth, by its full name; `from a import b` gives a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base] if base else parents)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def package_of(module: str) -> str:
    return ".".join(["pixcodec", *module.split("/")[:-1]])


def layers_used(path: Path, package: str) -> set[str]:
    """Return the layers a file uses; `from pixcodec import __version__` uses none."""
    inside = {name.removeprefix("pixcodec.") for name in imported(path, package) if name.startswith("pixcodec.")}
    return {layer(name) for name in inside} & set(ALLOWED)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    own = layer(module)
    assert own in ALLOWED, f"{module} is in no layer: add it to ALLOWED, where the design says"
    upwards = layers_used(PACKAGE / module, package_of(module)) - ALLOWED[own] - {own, "errors"}
    assert not upwards, f"{module} must not import {sorted(upwards)}"


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(("library", "places"), [("torch", TORCH), ("constriction", CONSTRICTION)])
def test_libraries_stay_in_their_places(module: str, library: str, places: tuple[str, ...]) -> None:
    used = {name.split(".")[0] for name in imported(PACKAGE / module, package_of(module))}
    assert library not in used or module.startswith(places)


def test_the_layers_have_no_cycle() -> None:
    settled: set[str] = set()
    while rest := set(ALLOWED) - settled:
        lowest = {name for name in rest if ALLOWED[name] <= settled}
        assert lowest, f"a cycle among {sorted(rest)}"
        settled |= lowest


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("from pixcodec.nets import heads", {"nets"}),
        ("def f():\n    import pixcodec.training.loop", {"training"}),
        ("from ..nets.heads import Head", {"nets"}),
        ("from pixcodec import codec, __version__", {"codec"}),
        ("from . import kernels", {"exact"}),
        ("import numpy", set()),
    ],
)
def test_the_reader_of_imports_sees_every_form(tmp_path: Path, source: str, expected: set[str]) -> None:
    (tmp_path / "module.py").write_text(source)
    assert layers_used(tmp_path / "module.py", "pixcodec.exact") == expected


@pytest.mark.parametrize(
    ("modules", "absent"),
    [
        ("pixcodec", ("torch", "numba", "numpy", "PIL")),
        ("pixcodec.container, pixcodec.archive, pixcodec.image", ("torch", "numba", "constriction")),
        ("pixcodec.cli", ("torch", "numba", "constriction", "numpy", "PIL")),
        ("pixcodec.codec, pixcodec.models, pixcodec.coding, pixcodec.archive_codec", ("torch", "numba")),
        ("pixcodec.cli", ("pixcodec.container", "pixcodec.progress", "pixcodec.image_commands")),
    ],
)
def test_imports_stay_light(modules: str, absent: tuple[str, ...]) -> None:
    script = f"import sys, {modules}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_a_photograph_is_coded_without_what_only_others_need() -> None:
    script = f"import sys, numpy; from pixcodec import codec; {CODE}; print([n for n in {RARE!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
