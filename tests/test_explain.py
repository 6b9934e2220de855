"""`encode --explain`: a page whose figures are those of the file."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from pixcodec import cli, codec, explain, models
from pixcodec.errors import UnsupportedImageError
from pixcodec.expert_names import NAMES, mask_of

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(autouse=True)
def tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(models.ENVIRONMENT, str(GOLDEN))


def half_noise(channels: int) -> np.ndarray:
    """uint8[24, 40, C]: the left half of one value, the right of any."""
    planes = np.full((24, 40, channels), 90, np.uint8)
    planes[:, 20:] = np.random.default_rng(1).integers(0, 256, (24, 20, channels))
    return planes


def cells(page: str) -> list[list[str]]:
    """The table's rows."""
    rows: list[list[str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            del attrs
            if tag == "tr":
                rows.append([])
            if tag in {"td", "th"}:
                rows[-1].append("")

        def handle_data(self, data: str) -> None:
            if rows and rows[-1]:
                rows[-1][-1] += data.strip()

    Reader().feed(page)
    return rows


@pytest.mark.parametrize(("channels", "mode", "model"), [(3, "RGB", "model_tiny_rgb"), (1, "L", "model_tiny_gray")])
def test_the_page_s_bytes_are_the_files(channels: int, mode: str, model: str) -> None:
    planes = half_noise(channels)
    made = {
        name: codec.encode(planes, mode, model=model, experts=mask)
        for name, mask in (("all", None), ("none", 0), ("some", mask_of("known,match")))
    }
    page = explain.page(planes, made["all"].data, "a <b> & c", made["all"].seconds)
    rows = {row[0]: row for row in cells(page) if row}
    assert rows["with experts"][-1] == str(len(made["all"].data) - 55)
    assert rows["network alone"][-1] == str(len(made["none"].data) - 55)
    assert rows["with experts"][-2] == f"{made['all'].ideal_bits / planes.size:.3f}"
    assert set(NAMES) <= set(rows)
    assert {"predict", "trunk", "code"} <= set(rows)
    assert "a &lt;b&gt; &amp; c" in page
    assert len(re.findall("data:image/png", page)) == 3
    some = {row[0]: row for row in cells(explain.page(planes, made["some"].data, "some", {})) if row}
    assert set(NAMES) & set(some) == {"known", "match"}
    alone = codec.encode(planes, mode, model=model, experts=1).data
    assert some["match"][1] == f"{len(alone) - len(made['some'].data):+d}"


def test_heads_that_learn_are_a_stage() -> None:
    planes = half_noise(3)
    made = [
        codec.encode(planes, "RGB", model="model_tiny_learning", effort=e, experts=m) for e, m in ((7, None), (7, 0))
    ]
    fixed = codec.encode(planes, "RGB", model="model_tiny_learning", effort=1)
    rows = {row[0]: row for row in cells(explain.page(planes, made[0].data, "a", {})) if row}
    stages = rows["with experts"], rows["with heads that learn"], rows["network alone"]
    assert [stage[-1] for stage in stages] == [str(len(each.data) - 55) for each in (*made, fixed)]


def test_files_with_an_origin_are_not_explained_nor_written(tmp_path: Path) -> None:
    source, page = tmp_path / "a.png", tmp_path / "a.html"
    Image.fromarray(np.full((24, 40, 3), 90, np.uint8)).save(source)
    command = ["encode", str(source), "--model", "model_tiny_rgb", "--explain", str(page)]
    refused = CliRunner().invoke(cli.main, command)
    assert refused.exit_code == 3
    assert "try --origin none" in refused.stderr
    assert [*tmp_path.iterdir()] == [source]
    assert CliRunner().invoke(cli.main, [*command, "--origin", "none"]).exit_code == 0


def test_noise_costs_and_what_is_flat_does_not() -> None:
    planes = half_noise(3)
    costs = np.zeros((1, *planes.shape), np.float32)
    network = models.load("model_tiny_rgb")
    (trial,), _ = codec.tiles.encode_each(planes[None], network, (32, 48), [mask_of("all")], costs=[costs])
    assert costs.sum() == pytest.approx(trial.ideal_bits, rel=1e-4)
    assert costs[0, 4:, 22:].mean() > 5 * costs[0, 4:, 2:18].mean()
    heat = np.asarray(explain._heat(costs[0].sum(axis=2))).astype(int)
    assert heat.shape == (24, 40, 3)
    assert heat[4:, 22:].mean() > 5 * heat[4:, 2:18].mean()


def test_large_pictures_are_shown_smaller() -> None:
    assert explain._smaller(np.ones((3000, 10, 3))).shape == (1000, 3, 3)
    assert explain._smaller(np.ones((9000, 1))).shape == (1000, 1)


def test_the_command_writes_the_page_and_overwrites_nothing(tmp_path: Path) -> None:
    source, page = tmp_path / "a.png", tmp_path / "a.html"
    Image.fromarray(half_noise(3)).save(source)
    command = ["encode", str(source), "--model", "model_tiny_rgb", "--explain", str(page)]
    assert CliRunner().invoke(cli.main, command).exit_code == 0
    assert "a.png: where its bits are" in page.read_text()
    (tmp_path / "a.pxc").unlink()
    assert CliRunner().invoke(cli.main, command).exit_code == 11
    assert not (tmp_path / "a.pxc").exists()
    assert CliRunner().invoke(cli.main, [*command, "--archive"]).exit_code == 2


def test_files_of_one_stream_are_not_explained() -> None:
    dots = np.zeros((5, 7, 1), np.uint8)
    data = codec.encode(dots, "1", model="model_tiny_bilevel").data
    with pytest.raises(UnsupportedImageError, match="one stream"):
        explain.page(dots, data, "dots", {})
