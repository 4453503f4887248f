"""docs/testing.md: its example prints what the page shows, and its table has every promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vaezoo.plugins.kinds import KINDS
from vaezoo.testing import EXAMPLES, listing
from vaezoo.testing.passes import PASS_KINDS

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text("utf-8")
GROUPS = {"all": [*KINDS], "pass": [*PASS_KINDS]}


def test_the_example_prints_what_the_page_shows():
    (code,) = [
        text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "Attention" in text
    ]
    with pytest.raises(AssertionError) as caught:
        exec(compile(code, "docs/testing.md", "exec", dont_inherit=True), {"__name__": "page"})
    first = str(caught.value).splitlines()[0]
    assert f"```\nAssertionError: {first}\n" in PAGE


def test_the_table_has_every_promise_with_its_kinds():
    rows = re.findall(r"^\| ([^|]*(?:\\\|[^|]*)*) \| ([^|]*) \| .* \|$", PAGE, re.MULTILINE)
    table = {
        title.replace("\\|", "|"): {
            kind for group in kinds.split(", ") for kind in GROUPS.get(group, [group])
        }
        for title, kinds in rows
    }
    for rule in listing.RULES:
        assert table[rule.title] == {*rule.kinds}, rule.title
    titles = {title for title, kinds in table.items() if kinds != {"plugin"}}
    assert titles - {rule.title for rule in listing.RULES} == {"promise"}


def test_the_page_names_the_made_up_data():
    for name in EXAMPLES:
        assert f"`{name}`" in PAGE
