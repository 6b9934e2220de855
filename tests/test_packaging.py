"""What is installed is what is here: the version, the licence, and the shipped models inside the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pixcodec
from pixcodec.exact import store

ROOT = Path(__file__).parent.parent


def test_the_changelog_names_this_version() -> None:
    assert f"## {pixcodec.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "pixcodec").rglob("*.py")}
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is built here."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(command, check=True)
    (path,) = folder.glob("pixcodec-*.whl")
    return path


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_every_shipped_model(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"pixcodec/{path.relative_to(ROOT / 'pixcodec').as_posix()}" for path in ROOT.glob("pixcodec/**/*.py")}
    models = {
        f"pixcodec/shipped_models/{path.relative_to(ROOT / 'models').as_posix()}" for path in ROOT.glob("models/*/*")
    }
    assert modules <= inside
    assert models <= inside
    assert any(name.endswith(".safetensors") for name in models)
    assert any(name.endswith("licenses/LICENSE") for name in inside)


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
import numpy as np
import pixcodec
from PIL import Image
from pixcodec.exact import store
y, x = np.mgrid[:70, :90]
planes = np.dstack([60 + y + x // 3 + (7 * x * y % 5), 90 + x + (x * x + y) % 7, 200 - y + x * y % 3]).astype(np.uint8)
for image in (Image.fromarray(planes), Image.fromarray(planes[..., 0])):
    for effort in (1, 7):
        assert list(pixcodec.decode(pixcodec.encode(image, effort=effort)).getdata()) == list(image.getdata())
print(pixcodec.__file__, store.level())
"""


@pytest.mark.slow
@pytest.mark.skipif(not store.USABLE, reason="nothing is compiled ahead for this platform")
def test_what_was_installed_codes_at_once_and_without_numba(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    environment = {**clean, "PYTHONPATH": str(tmp_path / "installed"), store.ENVIRONMENT: str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMBA],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    place, level = done.stdout.split()
    assert Path(place).is_relative_to(tmp_path)
    assert level != "None"
