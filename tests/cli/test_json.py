"""``--json``: one strict JSON document on stdout, and nothing else there."""

from __future__ import annotations

import importlib
import json

import click
import numpy as np
import pytest

from vaezoo.cli.main import _COMMANDS
from vaezoo.utils.packaged import ROOT

WITHOUT = {"schema": "prints JSON always"}
"""Commands without --json, and why."""

SWEEP = ["--param", "regularizers.0.weight=1,2", "--trials", 1, "-s", "train.steps=2"]

CALLS = {
    "run": ["run", "{spec}", "--out", "{tmp}/runs"],
    "run --dry-run": ["run", "{spec}", "--dry-run"],
    "resume": ["resume", "{run}"],
    "sweep": ["sweep", "{spec}", *SWEEP, "-s", "regularizers=[kl]", "--out", "{tmp}/sweep"],
    "runs": ["runs", "{tmp}"],
    "compare": ["compare", "{run}", "vae-mnist-conv", "--out", "{tmp}/page.html"],
    "evaluate": ["evaluate", "{run}"],
    "sample": ["sample", "{run}", "--condition", "a", "--out", "{tmp}/s.png"],
    "reconstruct": ["reconstruct", "{run}", "--out", "{tmp}/r.png"],
    "impute": ["impute", "{table}", "{holes}", "--out", "{tmp}/filled.csv"],
    "encode": ["encode", "{run}", "--out", "{tmp}/z.csv"],
    "interpolate": ["interpolate", "{run}", "--out", "{tmp}/i.png"],
    "traverse": ["traverse", "{run}", "--out", "{tmp}/t.png"],
    "classify": ["classify", "{run}", "--samples", 2],
    "score": ["score", "{run}", "--out", "{tmp}/s.csv"],
    "weights list": ["weights", "list"],
    "weights show": ["weights", "show", "vae-mnist-conv"],
    "weights pull": ["weights", "pull", "vae-mnist-conv"],
    "weights verify": ["weights", "verify", "vae-mnist-conv"],
    "weights gc": ["weights", "gc", "--dry-run"],
    "publish": ["publish", "{run}", "--name", "small/photos@1", "--to", "{tmp}/registry"],
    "export": ["export", "{run}", "--format", "torch-export", "--out", "{tmp}/exported"],
    "validate": ["validate", "{spec}"],
    "new spec": ["new", "spec", "{tmp}/new.yaml"],
    "list": ["list"],
    "show": ["show", "encoder", "mlp"],
    "plugins": ["plugins"],
    "plugins list": ["plugins", "list"],
    "plugins info": ["plugins", "info", "vaezoo-cvae"],
    "plugins doctor": ["plugins", "doctor"],
}
NOT_CALLED = {
    "weights reproduce": "trains for hours",
    "bench": "trains several runs; see tests/bench",
    "compare": "needs several runs; see tests/runs/test_comparison.py",
    "runs": "see tests/runs/test_finding.py",
}


def leaves(command: click.Command, name: str):
    """The names of all commands below a command, with the commands."""
    if isinstance(command, click.Group):
        for sub in command.commands.values():
            yield from leaves(sub, f"{name} {sub.name}")
    else:
        yield name, command


def every_command():
    for name, module in _COMMANDS.items():
        loaded = importlib.import_module(f"vaezoo.cli.{module}")
        yield from leaves(getattr(loaded, f"{name}_command"), name)


def test_every_command_has_json_and_is_called_here():
    commands = dict(every_command())
    with_json = {
        name
        for name, command in commands.items()
        if any("--json" in option.opts for option in command.params)
    }
    assert with_json == commands.keys() - WITHOUT.keys()
    assert with_json == {name for name in CALLS if "--dry" not in name and name != "plugins"} | {
        *NOT_CALLED
    }


def strict(text: str):
    """The document of a text; NaN and infinity, which JSON lacks, are errors."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("name", CALLS)
def test_stdout_is_one_json_document(name, call, photos, table, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    header, *_ = table.file.read_text("latin-1").splitlines()
    (tmp_path / "holes.csv").write_text(f"{header}\na;;Ulm;cat\n", "latin-1")
    places = {
        "tmp": tmp_path,
        "run": photos.run,
        "spec": photos.folder.parent / "spec.yaml",
        "table": table.run,
        "holes": tmp_path / "holes.csv",
    }
    arguments = [str(argument).format(**places) for argument in CALLS[name]]
    capsys.readouterr()
    assert call(*arguments, "--json") == 0
    document = strict(capsys.readouterr().out)
    assert document["schema_version"] == 1 and len(document) > 1


def test_numbers_that_are_not_finite_are_null(call, arrays, tmp_path, capsys, monkeypatch):
    from vaezoo.evaluation import anomaly

    monkeypatch.setattr(anomaly, "scores", lambda *_, **__: __import__("torch").tensor([np.nan]))
    arguments = ("score", arrays.run, arrays.folder / "7", "--out", tmp_path / "s.json", "--json")
    assert call(*arguments) == 1
    assert strict(capsys.readouterr().out)["scores"][0]["score"] is None
    assert strict((tmp_path / "s.json").read_text())["rows"][0]["score"] is None


def test_a_document_comes_also_where_files_differ(call, photos, capsys):
    """Where a spec is invalid, the problems are in the document, and the exit code says it."""
    assert call("validate", ROOT / "README.md", "--json") == 3
    assert strict(capsys.readouterr().out)["results"][0]["valid"] is False
