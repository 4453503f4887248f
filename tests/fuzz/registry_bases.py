"""Good registries with weights of tiny models, and what they hold, for fuzzers to change."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import vaezoo
from tests.fuzz.spec_bases import bases, write_data
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.loading import load_entry
from vaezoo.runs import registry_file
from vaezoo.runs.publishing import PublicationInfo, publish

ABOUT = PublicationInfo(
    title="A small model",
    weights_licence="Apache-2.0",
    data_licence="BSD-3-Clause",
    citation="Kingma & Welling 2014",
)
NAMES = ("plain", "labels", "table", "text")
"""The tags of the entries, ``vae/plain@1`` and so on."""
_SPECS = (2, 1, 4, 5)


@dataclass(frozen=True)
class Registries:
    """Folders of registries with the same entries.

    Attributes:
        plain: their entries are in the registry file.
        indexed: their entries are in files of their own.
        states: the weights by the hash of their file.
    """

    plain: Path
    indexed: Path
    states: dict[str, dict[str, torch.Tensor]]


_folder: list[Any] = []
"""The temporary folder, which lasts as long as the process."""


def tiny_runs(folder: Path) -> list[Any]:
    """Trains the models; one a name."""
    write_data(folder)
    specs = bases(folder)
    with mock.patch("vaezoo.runs.report.page.write_report"):
        return [vaezoo.run({**specs[i], "evaluate": ["elbo"]}, out=folder) for i in _SPECS]


@cache
def registries() -> Registries:
    """The registries; made once by each process."""
    _folder.append(tempfile.TemporaryDirectory())
    folder = Path(_folder[-1].name)
    plain, indexed = folder / "plain", folder / "indexed"
    runs = tiny_runs(folder)
    for name, run in zip(NAMES, runs, strict=True):
        publish(run, f"vae/{name}@1", plain, ABOUT)
    shutil.copytree(plain, indexed)
    with mock.patch.object(registry_file, "MAX_ENTRIES", 1):
        publish(runs[0], "vae/plain@2", indexed, ABOUT)
    states = {}
    for name in NAMES:
        entry = find_entry(f"plain:vae/{name}@1", [str(plain)])
        states[entry.weights.files[0].sha256] = load_entry(entry)[1].model.state_dict()
    return Registries(plain, indexed, states)
