"""Writes the pages that are generated: components/, gallery.md, results.md and matrix.md.

python docs/generate.py            # write
python docs/generate.py --check    # fail where a page is out of date

The pages of components come from docstrings and signatures, the gallery from registry.yaml, and
the results from the records in docs/results, and the matrix of components from matrix.json.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matrix_page
import results_page

from vaezoo.plugins import discovery
from vaezoo.plugins.catalogue import ComponentEntry
from vaezoo.plugins.kinds import KINDS, kind_class
from vaezoo.pretrained.card import gallery
from vaezoo.pretrained.entry import parse_registry
from vaezoo.spec.options import summary
from vaezoo.spec.reference import describe

FOLDER = Path(__file__).parent
SHIPPED = ("vaezoo", *sorted(path.name for path in (FOLDER.parent / "plugins").iterdir()))


def component_pages() -> dict[str, str]:
    """The reference of every component that comes with the repository, by the name of the page.

    One page for each kind, and ``README.md``, which lists them all.
    """
    catalogue = discovery.catalogue()
    pages, rows = {}, []
    for kind in KINDS:
        entries = [entry for entry in catalogue.all(kind) if entry.plugin in SHIPPED]
        if not entries:
            continue
        sentence = _plain(summary(kind_class(kind))).partition(". ")[0].rstrip(".") + "."
        origin = "Generated from the code by `make docs`. [All kinds of component](README.md)"
        lines, links = [f"# Components: {kind}", "", sentence, "", origin, ""], []
        for entry in entries:
            lines += _component(kind, entry)
            links.append(f"[`{entry.name}`]({kind}.md#{entry.name})")
        pages[f"{kind}.md"] = "\n".join(lines).rstrip() + "\n"
        rows.append(f"| [{kind}]({kind}.md) | {_cell(sentence)} | {', '.join(links)} |")
    return pages | {"README.md": _component_index(rows)}


def _component(kind: str, entry: ComponentEntry) -> list[str]:
    description = describe(kind, entry.name)
    lines = [f"## `{entry.name}`", "", _plain(description["summary"]), ""]
    if entry.plugin != "vaezoo":
        lines += [f"From the plugin `{entry.plugin}`.", ""]
    if description["options"]:
        lines += ["| option | type | default | description |", "|---|---|---|---|"]
        lines += [_option(option) for option in description["options"]]
        lines.append("")
    return lines


def _option(option: dict[str, Any]) -> str:
    text = _cell(_plain(option["description"]))
    return f"| `{option['name']}` | {option['type']} | {option['default']} | {text} |"


def _component_index(rows: list[str]) -> str:
    lines = [
        "# Components",
        "",
        "Every part of a model, its training and its data is a component, which a spec names by",
        "its kind and name. A page for each kind lists the options of its components;",
        "`vaezoo show KIND NAME` prints the same. Generated from the code by `make docs`.",
        "",
        "| kind | what it is | components |",
        "|---|---|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    return text.replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def gallery_page() -> str:
    """The gallery of the weights that come with the repository."""
    place = FOLDER.parent / "registry.yaml"
    known = parse_registry(place.read_bytes(), str(place)).entries
    pictures = {}
    for entry in known:
        picture = place.parent / Path(entry.spec.path or "").with_name("samples.png")
        if picture.is_file():
            pictures[entry.id] = f"../{picture.relative_to(place.parent).as_posix()}"
    return gallery(known, pictures)


def results() -> str:
    """The page of the measured figures."""
    paths = sorted((FOLDER / "results").glob("*.json"))
    return results_page.page((path.stem, results_page.read(path)) for path in paths)


def main() -> None:
    """Writes the pages, or checks them."""
    pages = {FOLDER / "components" / name: text for name, text in component_pages().items()}
    pages |= {FOLDER / "gallery.md": gallery_page(), FOLDER / "results.md": results()}
    pages[FOLDER / "matrix.md"] = matrix_page.page(FOLDER / "matrix.json")
    stale = set((FOLDER / "components").glob("*.md")) - set(pages)
    if "--check" not in sys.argv:
        (FOLDER / "components").mkdir(exist_ok=True)
        for path in stale:
            path.unlink()
        for path, text in pages.items():
            path.write_text(text, "utf-8")
        return
    for path in sorted(stale):
        sys.exit(f"{path} describes no kind: make docs")
    for path, text in pages.items():
        if not path.exists() or path.read_text("utf-8") != text:
            sys.exit(f"{path} is out of date: make docs")


if __name__ == "__main__":
    main()
