"""The cells of docs/notebook.md run one after the other, and print what the page shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "notebook.md").read_text("utf-8")
CELLS = re.findall(r"```python\n(.*?)```\n```\n(.*?)```", PAGE, re.DOTALL)
TIME = re.compile(r"\d{8}-\d{6}(-\d+)?")


def test_the_page_shows_what_its_cells_print(tmp_path, monkeypatch, no_report):
    monkeypatch.chdir(tmp_path)
    assert len(CELLS) == PAGE.count("```python") == 4
    names: dict[str, object] = {"__name__": "__main__"}
    for cell, shown in CELLS:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(cell, "docs/notebook.md", "exec", dont_inherit=True), names)
        assert TIME.sub("TIME", printed.getvalue()) == shown
