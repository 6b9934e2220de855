"""What docs/names.md names is there, in the file that it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES = (ROOT / "docs" / "names.md").read_text(encoding="utf-8").splitlines()
ROWS = [line.strip("| ").split(" | ")[-2:] for line in LINES if line.endswith(".py` |")]


@pytest.mark.parametrize(("names", "file"), ROWS, ids=[names for names, _ in ROWS])
def test_a_row_names_what_its_file_holds(names: str, file: str) -> None:
    source = (ROOT / file.strip("`")).read_text(encoding="utf-8")
    found = re.findall(r"`([A-Za-z_]\w*)[`\[(]", names)
    assert found
    assert [name for name in found if not re.search(rf"\b{name}\b", source)] == []
