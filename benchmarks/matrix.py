"""Which components go together: each with a plain, a conditional, a sequence and a table model.

    python benchmarks/matrix.py                     # every pair: about ten minutes of one core
    python benchmarks/matrix.py posterior planar    # the pairs of one component
    python benchmarks/matrix.py --record            # also writes docs/matrix.json

A pair is composed, trained for five steps, resumed for five more, sampled and evaluated. It works,
or is refused by an error in the spec that says why; anything else is a fault, and the command ends
with 1. ``tests/test_matrix.py`` repeats every ninth pair.
"""

from __future__ import annotations

import argparse
import copy
import csv
import json
import random
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import vaezoo
from vaezoo.plugins import discovery
from vaezoo.runs.report import page
from vaezoo.utils.errors import SpecError
from vaezoo.utils.files import write_text

KINDS = ("posterior", "prior", "latents", "objective", "regularizer")
BASES = ("plain", "conditional", "sequence", "table")
RECORD = Path(__file__).parents[1] / "docs/matrix.json"
SMALL = {"type": "mlp", "hidden": [16]}
SPHERE = {"prior": "uniform-sphere"}
NO_DENSITY = {"select": "distortion"}
COMPANIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("posterior", "von-mises-fisher"): {"model": SPHERE},
    ("posterior", "power-spherical"): {"model": SPHERE},
    ("posterior", "deterministic"): {"regularizers": ["code-norm"], "train": NO_DENSITY},
    ("posterior", "universal"): {"regularizers": ["adversarial"], "train": NO_DENSITY},
    ("prior", "uniform-sphere"): {"model": {"posterior": "power-spherical"}},
    ("prior", "ring"): {"model": {"latent_dim": 2}},
    ("prior", "swiss-roll"): {"model": {"latent_dim": 2}},
    ("prior", "vamp"): {"options": {"components": 20}},
    ("prior", "conditional-normal"): {"into": ["encoder", "prior", "decoder"]},
    ("prior", "real-nvp"): {"options": {"hidden": [16]}},
    ("prior", "masked-autoregressive"): {"options": {"hidden": [16]}},
    ("prior", "neural-spline"): {"options": {"hidden": [16]}},
    ("latents", "category-and-style"): {
        "options": {"classes": 3},
        "model": {"posterior": "deterministic"},
        "regularizers": ["adversarial"],
        "train": NO_DENSITY,
    },
    ("objective", "geco"): {"options": {"target": 20.0}},
    ("regularizer", "capacity-kl"): {"options": {"capacity": 2.0}},
    ("objective", "prior-nll"): {
        "model": {"prior": {"type": "mixture", "components": 4}},
        "regularizers": [],
    },
}
"""What a component needs beside it; ``options`` are its own, ``into`` where conditions go."""
WITH_RATE = ("iwae", "renyi", "miwae", "piwae", "ciwae")
"""Objectives whose loss includes the rate."""


@dataclass(frozen=True)
class Pair:
    """A component in a base model.

    Attributes:
        kind, name: of the component.
        base: of the model.
    """

    kind: str
    name: str
    base: str


def pairs() -> list[Pair]:
    """Every pair, in a fixed order."""
    shipped = {"vaezoo", *(path.name for path in (RECORD.parents[1] / "plugins").iterdir())}
    catalogue = discovery.catalogue()
    return [
        Pair(kind, entry.name, base)
        for kind in KINDS
        for entry in sorted(catalogue.all(kind), key=lambda entry: entry.name)
        if entry.plugin in shipped
        for base in BASES
    ]


def base_spec(base: str, folder: Path) -> tuple[dict[str, Any], Any]:
    """The spec of a base model, and the data that Python gives it, if it does."""
    model: dict[str, Any] = {"latent_dim": 3, "encoder": SMALL, "decoder": SMALL}
    data: dict[str, Any] = {"type": "digits", "binarize": "dynamic", "batch_size": 24}
    python_data = None
    model["likelihood"] = "bernoulli"
    if base == "conditional":
        model["condition"] = {"type": "label", "into": ["encoder", "decoder"]}
    if base == "sequence":
        data, python_data = {"type": "memory", "batch_size": 24}, _sequences()
        model["encoder"] = {"type": "recurrent", "units": 12}
        model["latents"] = {"type": "recurrent", "units": 12}
        model["decoder"] = {"type": "steps", "hidden": [12]}
    if base == "table":
        data = {"type": "table", "path": str(_table(folder)), "batch_size": 24}
        model |= {"encoder": {"type": "table", "body": SMALL}, "likelihood": "table"}
    train = {"steps": 5, "device": "cpu", "checkpoint_every": 0}
    spec = {"spec": "vaezoo/v2", "name": base, "data": data, "model": model, "train": train}
    return {**spec, "evaluate": ["distortion"]}, python_data


def _sequences() -> vaezoo.Batch:
    """Binary sequences of up to six steps."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(200, 6, 4, generator=generator) > 0.5).float()
    lengths = torch.randint(2, 7, (200, 1), generator=generator)
    return vaezoo.Batch(x, mask=torch.arange(6) < lengths)


def _table(folder: Path) -> Path:
    """A csv file with a number and a category in each row."""
    path, generator = folder / "rows.csv", random.Random(0)
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["height", "colour"])
        for _ in range(300):
            rows.writerow([f"{generator.gauss(170, 9):.1f}", generator.choice(("red", "blue"))])
    return path


def pair_spec(pair: Pair, folder: Path) -> tuple[dict[str, Any], Any]:
    """The spec of a pair, and the data that Python gives it."""
    spec, python_data = base_spec(pair.base, folder)
    extra = copy.deepcopy(COMPANIONS.get((pair.kind, pair.name), {}))
    spec["model"] |= extra.get("model", {})
    spec["train"] |= extra.get("train", {})
    if "regularizers" in extra:
        spec["regularizers"] = extra["regularizers"]
    component = {"type": pair.name, **extra.get("options", {})}
    if pair.kind == "objective":
        spec["objective"] = component
        if pair.name in WITH_RATE:
            spec["regularizers"] = []
    elif pair.kind == "regularizer":
        spec["regularizers"] = [component] if pair.name == "kl" else ["kl", component]
        if pair.name in ("beta-kl", "beta-tc", "capacity-kl", "free-bits"):
            spec["regularizers"] = [component]
    elif (
        pair.kind == "latents" and pair.base == "sequence" and pair.name in ("chain", "recurrent")
    ):
        spec["model"]["latents"] = {**component, "units": 12}
    else:
        spec["model"][pair.kind] = component
    if "into" in extra and "condition" in spec["model"]:
        spec["model"]["condition"]["into"] = extra["into"]
    return spec, python_data


def verdict(pair: Pair, folder: Path) -> str:
    """``works``, or why the pair is refused.

    Raises:
        Exception: a fault of vaezoo or of the component.
    """
    spec, python_data = pair_spec(pair, folder)
    try:
        vaezoo.load_spec(spec)
        run = vaezoo.run(spec, out=folder / "runs", data=python_data)
    except SpecError as error:
        return str(error).split("\n")[0].split(": ", 1)[1]
    run = vaezoo.resume(run.path, ["train.steps=10"], data=python_data)
    labels = {"condition": 1} if pair.base == "conditional" else {}
    drawn = run.model.sample(3, seed=0, **labels)
    if not bool(drawn.isfinite().all()):
        raise ValueError("samples are not finite")
    return "works"


def verdicts(chosen: list[Pair]) -> Iterator[tuple[Pair, str, bool]]:
    """Each pair with its verdict, and whether that is a fault."""
    page.write_report = lambda run: None  # which takes ten times as long as the training
    for pair in chosen:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
            try:
                yield pair, verdict(pair, Path(folder)), False
            except Exception as error:
                yield pair, f"{type(error).__name__}: {error}".split("\n")[0], True


def write_record(results: Mapping[Pair, str]) -> None:
    """Writes ``docs/matrix.json``, from which docs/matrix.md is made."""
    rows: dict[str, dict[str, dict[str, str]]] = {}
    for pair, text in results.items():
        rows.setdefault(pair.kind, {}).setdefault(pair.name, {})[pair.base] = text
    write_text(RECORD, json.dumps(rows, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", nargs="?", choices=KINDS)
    parser.add_argument("name", nargs="?")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    if options.record and options.kind is not None:
        parser.error("--record is for the whole matrix")
    chosen = [
        pair
        for pair in pairs()
        if options.kind in (None, pair.kind) and options.name in (None, pair.name)
    ]
    results, faults = {}, 0
    for pair, text, is_fault in verdicts(chosen):
        results[pair] = text
        faults += is_fault
        mark = "FAULT " if is_fault else ""
        print(f"{pair.kind:12s} {pair.name:24s} {pair.base:12s} {mark}{text}", flush=True)
    works = sum(text == "works" for text in results.values())
    refused = len(results) - works - faults
    print(f"{len(results)} pairs: {works} work, {refused} refused, {faults} faults")
    if options.record and not faults:
        write_record(results)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
