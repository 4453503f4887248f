"""From a run to an entry, through the commands that people type."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch

import vaezoo
from tests.commands import run_forked
from vaezoo.cli.main import cli
from vaezoo.pretrained.entry import parse_registry
from vaezoo.pretrained.finding import find_entry
from vaezoo.runs import hub
from vaezoo.runs.publishing import publish
from vaezoo.runs.republishing import republish
from vaezoo.utils.digests import add_digest
from vaezoo.utils.errors import RegistryError, UnavailableError, UsageError
from vaezoo.utils.files import read_json, read_tensors, write_json


def vz(*words, code=0, **environment):
    done = run_forked(*words, **environment)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_publish_writes_the_entry_the_weights_and_a_card(published, small_run):
    (entry,) = parse_registry((published / "registry.yaml").read_bytes(), "registry.yaml").entries
    run = vaezoo.open_run(small_run)
    measured = run.evaluation["metrics"]
    assert {row.name: round(row.value, 3) for row in entry.metrics} == {
        name: round(row["value"], 3) for name, row in measured.items()
    }
    assert entry.metrics[0].error and entry.metrics[0].spec_sha256 == entry.spec.sha256
    assert entry.tensors.parameters == sum(
        value.numel() for value in run.model.state_dict().values()
    )
    assert entry.requires == [f"vaezoo>={vaezoo_version()}"] and entry.preprocessing.shape == [
        1,
        8,
        8,
    ]
    folder = published / "weights" / "vae-small-1"
    card = (folder / "README.md").read_text("utf-8")
    assert 'vaezoo.load("lab:vae-small").sample(16)' in card and "(samples.png)" in card
    assert (folder / "samples.png").is_file() and (
        folder / "spec.yaml"
    ).read_bytes() == run.directory.spec.read_bytes()


def test_the_plugins_of_every_component_are_required(tmp_path, about):
    small = {"type": "mlp", "hidden": [8]}
    spec = {
        "spec": "vaezoo/v1",
        "name": "plugged",
        "data": {"type": "digits", "batch_size": 256},
        "model": {
            "latent_dim": 2,
            "encoder": small,
            "decoder": small,
            "likelihood": "continuous-bernoulli",
        },
        "regularizers": [{"type": "beta-kl", "weight": {"type": "logistic"}}],
        "train": {"epochs": 1, "select": "last"},
        "evaluate": ["elbo", {"type": "next-step"}],
    }
    result = publish(
        vaezoo.run(spec, out=tmp_path / "runs"), "vae/plugged@1", tmp_path / "lab", about
    )
    names = [text.partition(">")[0] for text in result.weights.requires]
    assert names == ["vaezoo", "vaezoo-beta", "vaezoo-vrae"]


def vaezoo_version():
    from importlib import metadata

    return metadata.version("vaezoo")


def test_an_id_is_never_taken_twice(published, small_run, about):
    before = (published / "registry.yaml").read_bytes()
    with pytest.raises(UsageError, match="an id never changes; give it another version"):
        publish(vaezoo.open_run(small_run), "vae/small@1", published, about)
    (published / "weights" / "vae-small-2").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        publish(vaezoo.open_run(small_run), "vae/small@2", published, about)
    assert (published / "registry.yaml").read_bytes() == before


def test_what_fails_leaves_nothing_behind(small_run, tmp_path, about, monkeypatch):
    import vaezoo.runs.registry_folder as module

    monkeypatch.setattr(module, "card", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(vaezoo.open_run(small_run), "vae/small@1", tmp_path / "lab", about)
    assert not list((tmp_path / "lab").rglob("*.*"))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("late", ["the old card", "the lock"])
def test_what_fails_after_the_registry_lists_an_entry_keeps_its_files(
    published, monkeypatch, error, late
):
    """The old card is written, and the lock is released, after the entry is published."""
    import vaezoo.runs.registry_file as registry_file
    import vaezoo.runs.registry_folder as module

    write = module.write_text

    def fail(path, text):
        if path.parent.name == "vae-small-1":
            raise error
        write(path, text)

    class Lock(registry_file.FileLock):
        def release(self, force=False):
            super().release(force)
            if self.lock_counter == 0 and not force:
                raise error

    if late == "the old card":
        monkeypatch.setattr(module, "write_text", fail)
    else:
        monkeypatch.setattr(registry_file, "FileLock", Lock)
    old = find_entry("lab:vae/small@1", [str(published)])
    with pytest.raises(type(error)):
        republish(old, "vae/small@2", published)
    monkeypatch.undo()
    assert vaezoo.load("lab:vae/small@2", registry=published).latent_dim == 2


def test_a_run_without_an_evaluation_is_refused(small_run, tmp_path, about):
    import shutil

    shutil.copytree(small_run, tmp_path / "run")
    path = tmp_path / "run" / "evaluation.json"
    result = read_json(path)
    for row in result["metrics"].values():
        row["value"] = float("nan")
    path.write_text(add_digest(json.dumps(result)))  # NaN, as an earlier version wrote it
    for says in ("its evaluation has no finite value", "it has no evaluation"):
        with pytest.raises(UsageError, match=f"{says}; vaezoo evaluate"):
            publish(vaezoo.open_run(tmp_path / "run"), "vae/small@1", tmp_path / "lab", about)
        path.unlink(missing_ok=True)
    assert not list((tmp_path / "lab").rglob("*.*"))


def test_a_link_out_of_the_registry_takes_nothing(small_run, tmp_path, about):
    (tmp_path / "lab").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "lab" / "weights").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RegistryError, match="leads out of"):
        publish(vaezoo.open_run(small_run), "vae/small@1", tmp_path / "lab", about)
    assert (
        not list((tmp_path / "elsewhere").iterdir())
        and not (tmp_path / "lab" / "registry.yaml").exists()
    )


@pytest.mark.parametrize(
    ("typed", "reported"),
    [
        (
            ["/home/me/venv/bin/vaezoo", "run", "a b.yaml", "--out", "/secret", "-s", "seed=1"],
            "vaezoo run 'a b.yaml' -s seed=1",
        ),
        (["/x/vaezoo/__main__.py", "run", "a.yaml", "--out=/secret"], "vaezoo run a.yaml"),
        (["/x/vaezoo/__main__.py", "run", "/home/me/a.yaml"], "vaezoo run a.yaml"),
        (["/home/me/train.py", "--fast"], "python train.py --fast"),
        (["/x/other/__main__.py"], "python __main__.py"),
        ([""], "python"),
    ],
)
def test_the_command_is_told_without_the_places_of_this_machine(
    small_run, tmp_path, about, typed, reported
):
    import shutil

    shutil.copytree(small_run, tmp_path / "run")
    path = tmp_path / "run" / "environment.json"
    git = {"commit": "a" * 40, "changed": True}
    write_json(path, read_json(path) | {"command": typed, "git": git})
    training = publish(
        vaezoo.open_run(tmp_path / "run"), "vae/small@1", tmp_path / "lab", about
    ).weights.training
    assert (training.command, training.commit) == (reported, f"{'a' * 40} with changes")


@pytest.mark.parametrize("version", ["0.2.dev1", "0.1.0+local", "not-a-version"])
def test_a_run_whose_plugins_are_not_released_is_refused(
    small_run, tmp_path, about, version, monkeypatch
):
    monkeypatch.setattr("vaezoo.runs.entry_fields.metadata.version", lambda name: version)
    with pytest.raises(UsageError, match=f"vaezoo .*{version.replace('+', '.')} is not a release"):
        publish(vaezoo.open_run(small_run), "vae/small@1", tmp_path / "lab", about)


def test_half_precision_is_measured_as_it_is_stored(small_run, tmp_path, about):
    run = vaezoo.open_run(small_run)
    result = publish(run, "vae/half@1", tmp_path / "lab", about, half=True)
    tensors, _ = read_tensors(tmp_path / "lab" / "weights" / "vae-half-1" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    model = vaezoo.load("lab:vae-half", registry=tmp_path / "lab")
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    value = next(row.value for row in result.weights.metrics if row.name == "elbo")
    exact = run.evaluation["metrics"]["elbo"]["value"]
    assert value != float(f"{exact:.6g}") and abs(value - exact) < 0.05
    vz("weights", "verify", "lab:vae-half", "--metrics", "--registry", tmp_path / "lab")


def test_the_commands_from_run_to_reproduction(small_run, tmp_path):
    lab = tmp_path / "lab"
    vz(
        "publish",
        small_run,
        "--name",
        "vae/small@1",
        "--to",
        lab,
        "--title",
        "A model",
        "--data-licence",
        "BSD",
    )
    listed = vz("weights", "list", "--registry", lab).stdout
    assert "lab:vae/small@1" in listed and "A model" in listed
    reported = json.loads(
        vz("weights", "list", "--registry", lab, "--json", "--metric", "active-units").stdout
    )
    assert "lab:vae/small@1" in [row["name"] for row in reported["weights"]]
    other = json.loads(
        vz("weights", "list", "--registry", lab, "--json", "--data", "mnist").stdout
    )["weights"]
    assert other and "lab:vae/small@1" not in [row["name"] for row in other]
    displayed = json.loads(
        vz("weights", "show", "lab:vae-small", "--registry", lab, "--json").stdout
    )
    assert displayed["licence"] == {"weights": "Apache-2.0", "data": "BSD"}
    assert (
        "agrees" in vz("weights", "verify", "lab:vae-small", "--metrics", "--registry", lab).stdout
    )
    again = vz(
        "weights", "reproduce", "lab:vae-small", "--registry", lab, "--out", tmp_path / "runs"
    )
    assert again.stdout.count("agrees") == 2


def call(*words):
    """A command in this process; returns its exit code."""
    with patch.dict(os.environ):  # --registry adds to a variable
        return cli.main([*map(str, words)], prog_name="vaezoo", standalone_mode=False, obj={})


def listed(folder):
    """The entries of a registry by version."""
    entries = parse_registry((folder / "registry.yaml").read_bytes(), "registry.yaml").entries
    return {entry.version: entry for entry in entries}


def test_weights_are_measured_again_and_wrong_figures_retracted(published, capfd):
    path = published / "registry.yaml"
    before = listed(published)[1]
    true = before.metrics[0].value
    text = path.read_text("utf-8").replace(f"value: {true}", f"value: {true + 5}")
    path.write_text(text.replace("name: active_units", "name: gone_units"), "utf-8")
    lab = ("--registry", published)
    words = ("--name", "vae/small@2", "--to", published, "--reason", "counted wrongly")
    assert not call("publish", "lab:vae/small@1", *words, *lab)
    old, new = listed(published).values()
    assert [(row.name, row.value) for row in new.metrics] == [
        (row.name, row.value) for row in before.metrics
    ]
    for kept in ("files", "tensors", "training", "licence", "title", "citation", "classes"):
        assert getattr(new, kept) == getattr(before, kept) == getattr(old, kept)
    assert old.spec == before.spec and (old.status, old.successor) == ("deprecated", new.id)
    assert {row.retracted for row in old.metrics} == {"counted wrongly"}
    assert not (published / "weights" / "vae-small-2" / "model.safetensors").exists()
    card = (published / "weights" / "vae-small-1" / "README.md").read_text("utf-8")
    assert "retracted: counted wrongly" in card and f"{true + 5:.5g}" not in card
    assert "(samples.png)" in (published / "weights" / "vae-small-2" / "README.md").read_text()
    with pytest.warns(
        UserWarning, match="metrics retracted: counted wrongly; its successor is lab:vae/small@2"
    ):
        first = vaezoo.load("lab:vae/small@1", registry=published)
    newest = vaezoo.load("lab:vae-small", registry=published)  # does not warn
    assert torch.equal(*(next(each.parameters()) for each in (first, newest)))
    capfd.readouterr()
    with pytest.warns(UserWarning, match="deprecated"):
        assert call("weights", "verify", "lab:vae/small@1", "--metrics", *lab) == 0
    assert "metrics: 0, retracted: 2" in capfd.readouterr().err
    call("weights", "list", "--metric", "elbo", *lab)
    assert "lab:vae/small@1" not in capfd.readouterr().out


def test_weights_of_another_registry_are_copied(published, tmp_path):
    (entry,) = listed(published).values()
    mine = tmp_path / "mine"
    words = ("--name", "vae/other@1", "--to", mine, "--metric", "rate", "--licence", "MIT")
    before = (published / "registry.yaml").read_bytes()
    assert not call("publish", "lab:vae-small", *words, "--registry", published)
    (copy,) = listed(mine).values()
    assert [row.name for row in copy.metrics] == ["rate"] and copy.status == "active"
    assert "type: rate" in (mine / copy.spec.path).read_text() and copy.tensors == entry.tensors
    assert copy.licence.weights == "MIT" and copy.licence.data == entry.licence.data
    assert (published / "registry.yaml").read_bytes() == before
    assert vaezoo.load("mine:vae-other", registry=mine).data == load_data(published)


def test_figures_that_are_not_measured_again_stay_unless_they_are_named(published):
    words = ("--name", "vae/small@2", "--metric", "rate", "--retract", "active-units")
    call("publish", "lab:vae/small@1", *words, "--to", published, "--registry", published)
    assert [(row.name, row.retracted) for row in listed(published)[1].metrics] == [
        ("elbo", None),
        ("active_units", "not confirmed by vae/small@2"),
    ]


@pytest.mark.parametrize(("name", "prefix"), [("A=b", "a-b"), ("c=d", "c-d"), ("x y", "x-y")])
@pytest.mark.parametrize("is_relative", [True, False])
def test_the_folder_of_a_registry_may_have_any_name(
    small_run, tmp_path, about, monkeypatch, name, prefix, is_relative
):
    monkeypatch.chdir(tmp_path)
    folder = Path(name) if is_relative else tmp_path / name
    publish(vaezoo.open_run(small_run), "vae/small@1", folder, about)
    card = (folder / "weights" / "vae-small-1" / "README.md").read_text("utf-8")
    assert f'vaezoo.load("{prefix}:vae-small")' in card
    assert vaezoo.load(f"{prefix}:vae-small", registry=folder).latent_dim == 2


def load_data(folder):
    return vaezoo.load("lab:vae-small", registry=folder).data


def test_options_that_do_not_belong_to_what_is_published_are_refused(published, small_run):
    lab = ("--name", "vae/small@2", "--to", published, "--registry", published)
    before = (published / "registry.yaml").read_bytes()
    for words, says in (
        (("lab:vae-small", "--half"), "published already never change"),
        ((small_run, "--metric", "elbo"), "a run is published with its own evaluation"),
        (("lab:vae-smal",), "not a run, and no weights named"),
        (("lab:vae-small", "--reason", "two\nlines"), "reason: must be one line"),
        (("lab:vae-small", "--metric", "elbow"), "--metric:1:1: no metric named 'elbow'"),
        (("lab:vae-small", "--retract", "elbow"), "no metric 'elbow'; did you mean 'elbo'"),
    ):
        with pytest.raises(vaezoo.VaezooError, match=says):
            call("publish", *words, *lab)
    assert (published / "registry.yaml").read_bytes() == before
    assert not (published / "weights" / "vae-small-2").exists()


def test_weights_stand_where_a_run_may(published, tmp_path):
    out = tmp_path / "four.npz"
    vz("sample", "lab:vae-small", "-n", 4, "--out", out, "--registry", published)
    assert out.is_file()
    reported = json.loads(
        vz("evaluate", "lab:vae-small", "--registry", published, "--json").stdout
    )
    assert reported["evaluation"]["metrics"]["elbo"]["examples"] == 270
    failed = vz("sample", "lab:vae-smal", "--registry", published, code=2)
    assert (
        "lab:vae-smal: not a run, and no weights named" in failed.stderr
        and "did you mean" in failed.stderr
    )


def test_verify_fails_where_bytes_or_figures_differ(published):
    path = published / "registry.yaml"
    text = path.read_text("utf-8")
    value = next(
        row.value
        for row in parse_registry(text.encode(), "x").entries[0].metrics
        if row.name == "elbo"
    )
    path.write_text(text.replace(f"value: {value}", f"value: {value + 5}"), "utf-8")
    failed = vz("weights", "verify", "lab:vae-small", "--metrics", "--registry", published, code=4)
    assert "DIFFERS" in failed.stdout
    weights = published / "weights" / "vae-small-1" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert (
        "expected sha256"
        in vz("weights", "verify", "lab:vae-small", "--registry", published, code=4).stderr
    )
    vz("weights", "verify", code=2)


def test_pull_keeps_what_gc_then_spares(published, site, home, tmp_path):
    (file,) = parse_registry((published / "registry.yaml").read_bytes(), "x").entries[0].files
    site.pages["/model"] = (published / file.sources[0]).read_bytes()
    (published / file.sources[0]).unlink()
    path = published / "registry.yaml"
    path.write_text(
        path.read_text("utf-8").replace(f"[{file.sources[0]}]", f"[{site.url}/model]"), "utf-8"
    )
    assert "verified" in vz("weights", "pull", "lab:vae-small", "--registry", published).stderr
    assert home.path(file.sha256).is_file()
    (home.root / "quarantine").mkdir()
    (home.root / "quarantine" / "old").write_text("x")
    reported = vz("weights", "gc", "--dry-run", "--registry", published)
    assert "quarantine/old" in reported.stdout and (home.root / "quarantine" / "old").exists()
    vz("weights", "gc", "--registry", published)
    assert home.path(file.sha256).is_file() and not (home.root / "quarantine" / "old").exists()
    vz("weights", "gc")
    assert not home.path(file.sha256).exists()
    assert (
        vz(
            "sample", "lab:vae-small", "--registry", published, code=5, VAEZOO_OFFLINE="1"
        ).stderr.count("\n")
        == 1
    )


def test_publishing_to_a_hub_uploads_the_whole_folder(small_run, about, monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    observed = {}

    class Commit:
        oid = "c" * 40

    class Api:
        def repo_info(self, repo):
            return SimpleNamespace(sha="b" * 40)

        def upload_folder(
            self, *, repo_id, folder_path, commit_message, parent_commit, **patterns
        ):
            observed.update(repo=repo_id, message=commit_message, parent=parent_commit)
            observed["files"] = sorted(
                str(p.relative_to(folder_path)) for p in folder_path.rglob("*") if p.is_file()
            )
            return Commit()

    def absent(repo, name, *, revision, local_dir):
        raise EntryNotFoundError("no such file")

    def cut_off(repo, name, *, revision, local_dir):
        raise LocalEntryNotFoundError("no network, no copy")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    run = vaezoo.open_run(small_run)
    assert (
        hub.publish(run, "vae/small@1", "hf://me/zoo", about)
        == f"hf://me/zoo@{'c' * 40}/registry.yaml"
    )
    assert (
        observed["repo"] == "me/zoo"
        and observed["parent"] == "b" * 40
        and "registry.yaml" in observed["files"]
    )
    assert "weights/vae-small-1/model.safetensors" in observed["files"]
    with pytest.raises(UsageError, match="hf://owner/repo"):
        hub.publish(run, "vae/small@1", "hf://zoo", about)
    observed.clear()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", cut_off)
    with pytest.raises(UnavailableError, match="no network"):
        hub.publish(run, "vae/small@1", "hf://me/zoo", about)
    assert not observed, "a network that fails must not pass for an empty repository"

    def broken(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", absent)
    with pytest.raises(OSError, match="No space"):
        hub.upload(broken, "vae/small@1", "hf://me/zoo")
    assert not observed
    Api.upload_folder = lambda self, **options: broken(None)
    with pytest.raises(UnavailableError, match=r"hf://me/zoo: .*No space"):
        hub.publish(run, "vae/small@1", "hf://me/zoo", about)


@pytest.mark.parametrize("name", ["Small", "vae/small", "../x@1"])
def test_an_id_that_is_none_is_refused_before_anything_is_written(small_run, tmp_path, name):
    reported = vz("publish", small_run, "--name", name, "--to", tmp_path / "lab", code=2)
    assert "architecture/tag@version" in reported.stderr and not (tmp_path / "lab").exists()


def test_what_others_published_meanwhile_stays_listed(small_run, tmp_path, about, monkeypatch):
    from vaezoo.runs import publishing

    run, evaluate = vaezoo.open_run(small_run), publishing.evaluate

    def slow(*args, **options):
        publish(run, "vae/first@1", tmp_path, about)
        return evaluate(*args, **options)

    monkeypatch.setattr(publishing, "evaluate", slow)
    publish(run, "vae/second@1", tmp_path, about, half=True)
    listed = parse_registry((tmp_path / "registry.yaml").read_bytes(), "registry.yaml").entries
    assert [entry.id for entry in listed] == ["vae/first@1", "vae/second@1"]


def test_commands_say_of_revoked_weights_why(published):
    path = published / "registry.yaml"
    path.write_text(
        path.read_text().replace(
            "@1\n", "@1\n  status: revoked\n  reason: trained on the test set\n", 1
        )
    )
    displayed = vz("weights", "show", "lab:vae-small", "--registry", published).stdout
    assert "**revoked**: trained on the test set" in displayed and "vaezoo.load" not in displayed
    for command in ("pull", "reproduce", "verify"):
        reported = vz("weights", command, "lab:vae-small", "--registry", published, code=4)
        assert "revoked: trained on the test set" in reported.stderr


def test_a_registry_that_cannot_be_meant_is_one_line():
    assert (
        "a path must not contain a comma"
        in vz("weights", "list", "--registry", "a,b", code=2).stderr
    )
    assert (
        "nowhere: no such file or folder"
        in vz("weights", "list", "--registry", "a=nowhere", code=5).stderr
    )


def test_a_registry_that_cannot_be_reached_is_one_line(tmp_path):
    reported = vz("weights", "list", "--registry", "http://host/registry.yaml", code=2)
    assert "only https:// and hf://" in reported.stderr
    assert (
        "registry" in vz("weights", "list", "--registry", tmp_path / "absent.yaml", code=5).stderr
    )


def test_many_publish_at_once_and_all_are_listed(small_run, tmp_path, about):
    with ThreadPoolExecutor(8) as pool:
        runs = [vaezoo.open_run(small_run) for _ in range(8)]
        list(pool.map(lambda i: publish(runs[i], f"vae/n{i}@1", tmp_path, about), range(8)))
    listed = parse_registry((tmp_path / "registry.yaml").read_bytes(), "registry.yaml").entries
    assert sorted(entry.tag for entry in listed) == [f"n{i}" for i in range(8)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["registry.yaml", "weights"]


@pytest.mark.parametrize("title", ["", "x" * 2001, "\x1b[31mred"])
def test_a_title_that_is_no_line_is_refused(small_run, tmp_path, about, title):
    with pytest.raises(UsageError, match="title: must be one line"):
        publish(
            vaezoo.open_run(small_run),
            "vae/small@1",
            tmp_path / "lab",
            replace(about, title=title),
        )
    assert not (tmp_path / "lab").exists()
