"""What is installed is what is here: the version, the licence, and the shipped models inside the wheel."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pixcodec

ROOT = Path(__file__).parent.parent


def test_the_changelog_names_this_version() -> None:
    assert f"## {pixcodec.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "pixcodec").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_every_shipped_model(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT],
        check=True,
    )
    (wheel,) = tmp_path.glob("pixcodec-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"pixcodec/{path.relative_to(ROOT / 'pixcodec').as_posix()}" for path in ROOT.glob("pixcodec/**/*.py")}
    models = {
        f"pixcodec/shipped_models/{path.relative_to(ROOT / 'models').as_posix()}" for path in ROOT.glob("models/*/*")
    }
    assert modules <= inside
    assert models <= inside
    assert any(name.endswith(".safetensors") for name in models)
    assert any(name.endswith("licenses/LICENSE") for name in inside)
