"""Pictures, their predictor planes and a trained network, each made once for all tests of training."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import tiny_training as tiny
from click.testing import CliRunner

from pixcodec import cli
from pixcodec.training import data, sources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures to train on and one to validate with; not to be changed."""
    return tiny.make_pictures(tmp_path_factory.mktemp("data") / "pictures")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of predictor planes for all tests; not to be changed."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def items(pictures: Path, cache: Path) -> Sequence[data.Item]:
    """What `data.prepare` gives for the pictures, made by fresh processes as in training."""
    wanted = data.versions(sources.find([pictures]), tiny.RECIPE["data"])
    return data.prepare(wanted, tiny.PARAMETERS, cache)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Products this small are slower by several threads, many times so beside another busy process."""
    if find_spec("torch") is None:
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without what takes seconds or changes this process: processes, the products' rate, glibc's way."""
    pytest.importorskip("torch")
    from pixcodec.training import freeze, loop

    monkeypatch.setattr(data, "ProcessPoolExecutor", tiny.InThisProcess)
    monkeypatch.setattr(loop, "matmul_rate", lambda device: 1e9)  # noqa: ARG005
    for module in (loop, freeze):
        monkeypatch.setattr(module, "keep_memory", lambda: None)


@pytest.fixture(scope="session")
def trained(
    pictures: Path,
    items: Sequence[data.Item],  # noqa: ARG001 - so that the cache is filled
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder that the tiny recipe's training leaves, by the command line, with nothing replaced but glibc's way."""
    pytest.importorskip("torch")
    from pixcodec.training import loop

    folder = tmp_path_factory.mktemp("trained")
    recipe, out = tiny.written(folder / "recipe.json", tiny.RECIPE), folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "keep_memory", lambda: None)
        arguments = ["train", recipe, "--data", pictures, "--out", out, "--cache", cache, "--threads", 1]
        result = CliRunner().invoke(cli.main, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    (out / "said").write_text(result.stderr, encoding="utf-8")
    return out
