"""Writes docs/components.md from the components' own docstrings and signatures, docs/gallery.md from registry.yaml.

python docs/generate.py            # write
python docs/generate.py --check    # fail where the page is out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from vaezoo.plugins import discovery
from vaezoo.plugins.kinds import KINDS
from vaezoo.pretrained.card import gallery
from vaezoo.pretrained.entry import entries
from vaezoo.spec.reference import describe

FOLDER = Path(__file__).parent
SHIPPED = ("vaezoo", *sorted(path.name for path in (FOLDER.parent / "plugins").iterdir()))


def page() -> str:
    """The reference of every component that comes with the repository."""
    lines = [
        "# Components",
        "",
        "Generated from the code by `make docs`. `vaezoo show KIND NAME` prints one of them.",
        "",
    ]
    catalogue = discovery.catalogue()
    for kind in KINDS:
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


def shown() -> str:
    """The gallery of the weights that come with the repository."""
    place = FOLDER.parent / "registry.yaml"
    known = entries(place.read_bytes(), str(place))
    pictures = {}
    for entry in known:
        picture = place.parent / Path(entry.spec.path or "").with_name("samples.png")
        if picture.is_file():
            pictures[entry.id] = f"../{picture.relative_to(place.parent).as_posix()}"
    return gallery(known, pictures)


def main() -> None:
    """Writes the pages, or checks them."""
    for name, text in (("components.md", page()), ("gallery.md", shown())):
        path = FOLDER / name
        if "--check" not in sys.argv:
            path.write_text(text, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != text:
            sys.exit(f"{path} is out of date: make docs")


if __name__ == "__main__":
    main()
