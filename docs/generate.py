"""Writes docs/components.md from the components' own docstrings and signatures.

python docs/generate.py            # write
python docs/generate.py --check    # fail where the page is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from vaezoo import plugins
from vaezoo.hookspecs import KIND_NAMES
from vaezoo.reference import describe

PAGE = Path(__file__).with_name("components.md")
SHIPPED = ("vaezoo", *sorted(path.name for path in (Path(__file__).parents[1] / "plugins").iterdir()))


def page() -> str:
    """The reference of every component that comes with the repository."""
    lines = [
        "# Components",
        "",
        "Generated from the code by `make docs`. `vaezoo show KIND NAME` prints one of them.",
        "",
    ]
    catalogue = plugins.catalogue()
    for kind in KIND_NAMES:
        entries = [entry for entry in catalogue.all(kind) if entry.plugin in SHIPPED]
        if not entries:
            continue
        lines += [f"## {kind}", ""]
        for entry in entries:
            found = describe(kind, entry.name)
            lines += [f"### {kind} `{entry.name}`", "", _plain(found["summary"]), ""]
            if entry.plugin != "vaezoo":
                lines += [f"Brought by the plugin `{entry.plugin}`.", ""]
            if found["options"]:
                lines += ["| option | type | default | what it does |", "|---|---|---|---|"]
                lines += [
                    f"| `{o['name']}` | {o['type']} | {o['default']} | {_plain(o['description'])} |".replace("\n", " ")
                    for o in found["options"]
                ]
                lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _plain(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")


def main() -> None:
    """Writes the page, or checks it."""
    text = page()
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text("utf-8") != text:
            sys.exit(f"{PAGE} is out of date: make docs")
        return
    PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
