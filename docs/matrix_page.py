"""The page about which components go together, from the record ``matrix.json``."""

from __future__ import annotations

import json
from pathlib import Path

BASES = ("plain", "conditional", "sequence", "table")
_INTRODUCTION = """# Which components go together

Each component with four small models: images; images with a condition; sequences with hidden
steps; and rows of a table. "yes" means that the pair was composed, trained for ten steps with a
resumption in between, sampled and evaluated. A number refers to the reason why a spec with this
pair is refused. Components that need others were given them, such as `uniform-sphere` for
posteriors on a sphere. Measured by `python benchmarks/matrix.py --record`; the tests repeat every
ninth pair.

The latents of the sequence model are `recurrent`: one latent vector for each sequence. With
`chain`, which has a latent variable at every step, `mmd`, `sliced-wasserstein`, `dip`, `beta-tc`,
`factor` and `piwae` are refused: they need one vector for each example, or samples that depend
on the encoder alone.
"""


def page(path: Path) -> str:
    """The page, from the record in a file."""
    record = json.loads(path.read_text("utf-8"))
    reasons: dict[str, int] = {}
    lines = [_INTRODUCTION]
    for kind, names in record.items():
        lines += [f"## {kind}", "", f"| component | {' | '.join(BASES)} |", "|---" * 5 + "|"]
        for name, verdicts in names.items():
            cells = []
            for base in BASES:
                reason = verdicts.get(base, "")
                works = reason == "works"
                cells.append("yes" if works else str(reasons.setdefault(reason, len(reasons) + 1)))
            lines.append(f"| `{name}` | {' | '.join(cells)} |")
        lines.append("")
    lines += ["## Reasons", ""]
    lines += [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join(lines) + "\n"
