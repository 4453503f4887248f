"""Registries of many entries: an index, and each entry in a file of its own."""

from __future__ import annotations

import json
from types import SimpleNamespace
from unittest import mock

import huggingface_hub
import pytest
import yaml

import vaezoo
from vaezoo.cli.main import main
from vaezoo.pretrained import registries
from vaezoo.pretrained.entry import INDEX_BYTES, LIMITS, parse_registry
from vaezoo.pretrained.finding import find_entry
from vaezoo.pretrained.index import MAX_ROWS, Index, parse_index, summarize
from vaezoo.pretrained.registries import open_registries, read_entry
from vaezoo.runs import hub, registry_file
from vaezoo.runs.opening import open_run
from vaezoo.runs.publishing import publish
from vaezoo.runs.republishing import republish
from vaezoo.utils.errors import RegistryError, UnavailableError, UsageError

from .conftest import load

FIRST = b'{"index":"vaezoo/index/v1"}\n'


@pytest.fixture
def indexed(published, small_run, about, monkeypatch):
    """The registry of ``published`` after a second entry, more than its file may hold."""
    monkeypatch.setattr(registry_file, "MAX_ENTRIES", 1)
    publish(open_run(small_run), "vae/small@2", published, about)
    monkeypatch.undo()
    return published


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls the command; returns its exit code and what it printed."""

    def run(*words):
        monkeypatch.setenv("VAEZOO_REGISTRIES", "")
        with pytest.raises(SystemExit) as left:
            main([*map(str, words)])
        return left.value.code or 0, *capsys.readouterr()

    return run


def path_name(path):
    return path.rpartition("/")[2]


def content(folder):
    return parse_registry((folder / "registry.yaml").read_bytes(), "registry.yaml")


def index_path(folder):
    return folder / content(folder).index.path


def change_index(folder, change):
    """Rewrites the rows of the index, and its hash in the registry file."""
    path = index_path(folder)
    first, *lines = path.read_text("utf-8").splitlines()
    rows = {row["id"]: row for row in map(json.loads, lines)}
    change(rows)
    registry_text = (folder / "registry.yaml").read_text("utf-8")
    lines = [json.dumps({**row, "id": key}, separators=(",", ":")) for key, row in rows.items()]
    data = "\n".join([first, *lines]).encode()
    new = registry_file._write_index(folder, parse_index(data, "test"))
    path.unlink()
    old = content(folder).index
    for before, after in ((old.path, new.path), (old.sha256, new.sha256)):
        registry_text = registry_text.replace(before, after)
    registry_text = registry_text.replace(f"size: {old.size}", f"size: {new.size}")
    (folder / "registry.yaml").write_text(registry_text, "utf-8")


def test_one_entry_more_than_a_file_holds_makes_an_index(indexed):
    assert content(indexed).entries == []
    (registry,) = open_registries([str(indexed)], only_prefix="lab")
    assert registry.ids == ["vae/small@1", "vae/small@2"]
    for entry_id in registry.ids:
        assert read_entry(registry, entry_id).weights.id == entry_id
        assert load(indexed, f"lab:{entry_id}").latent_dim == 2
    assert find_entry("lab:vae-small", [str(indexed)]).weights.version == 2


@pytest.fixture
def measured(published):
    """Entries with a number of metrics, made from the published one."""
    (entry,) = content(published).entries
    metric = entry.metrics[0]

    def make(version, count):
        metrics = [metric.model_copy(update={"name": f"elbo_{i}"}) for i in range(count)]
        return entry.model_copy(update={"id": f"vae/small@{version}", "metrics": metrics})

    return make


def test_few_entries_of_many_keys_and_values_make_an_index(published, measured):
    last = 9
    for version in range(2, last + 1):
        registry_file.append_entry(published, measured(version, 100), None)
    size = sum(path.stat().st_size for path in published.glob("entries/vae/*"))
    assert 0 < size < LIMITS.bytes and not content(published).entries
    (registry,) = open_registries([str(published)], only_prefix="lab")
    assert registry.ids == [f"vae/small@{version}" for version in range(1, last + 1)]
    assert len(read_entry(registry, f"vae/small@{last}").weights.metrics) == 100


@pytest.mark.parametrize("count", [1500, 4000], ids=["nodes", "bytes"])
def test_an_entry_that_no_file_may_hold_is_refused(published, measured, count):
    before = (published / "registry.yaml").read_bytes()
    with pytest.raises(RegistryError, match=r"vae/small@2:.*; give the entry fewer"):
        registry_file.append_entry(published, measured(2, count), None)
    assert (published / "registry.yaml").read_bytes() == before


def test_an_index_grows_and_leaves_two_index_files(indexed, small_run, about):
    files = {path.name for path in indexed.glob("entries/vae/*")}
    for version in (5, 4, 3):
        before = index_path(indexed)
        publish(open_run(small_run), f"vae/small@{version}", indexed, about)
        assert {*indexed.glob("entries/index.*.jsonl")} == {before, index_path(indexed)}
    assert files < {path.name for path in indexed.glob("entries/vae/*")}, "old ones are untouched"
    with pytest.raises(UsageError, match="vae/small@3 already exists"):
        publish(open_run(small_run), "vae/small@3", indexed, about)


def test_an_entry_of_an_index_is_measured_again_and_its_figures_are_retracted(indexed):
    old = find_entry("lab:vae/small@1", [str(indexed)])
    added = republish(old, "vae/small@4", indexed, retract=["elbo"], reason="wrong")
    assert added.weights.files == old.weights.files
    changed = find_entry("lab:vae/small@1", [str(indexed)]).weights
    assert changed.status == "deprecated" and changed.successor == "vae/small@4"
    assert [row.retracted for row in changed.metrics if row.name == "elbo"] == ["wrong"]
    assert "elbo" not in summarize(changed).metrics
    assert "deprecated" in (indexed / "weights/vae-small-1/README.md").read_text("utf-8")


def test_who_read_the_registry_file_before_it_changed_finds_its_files(indexed, small_run, about):
    path = indexed / "registry.yaml"
    before = path.read_bytes()
    old = find_entry("lab:vae/small@1", [str(indexed)])
    republish(old, "vae/small@3", indexed, retract=["elbo"])
    after = path.read_bytes()
    path.write_bytes(before)
    assert find_entry("lab:vae/small@1", [str(indexed)]).weights == old.weights
    assert load(indexed, "lab:vae/small@2").latent_dim == 2
    path.write_bytes(after)
    changed = find_entry("lab:vae/small@1", [str(indexed)]).weights
    assert len([*indexed.glob("entries/vae/small-1.*")]) == 2
    publish(open_run(small_run), "vae/small@4", indexed, about)
    assert find_entry("lab:vae/small@1", [str(indexed)]).weights == changed != old.weights
    assert len([*indexed.glob("entries/vae/small-1.*")]) == 1, "as it was before is gone"
    path.write_bytes(after)
    assert find_entry("lab:vae-small", [str(indexed)]).weights.version == 3


@pytest.mark.parametrize(
    "path", ["weights/vae-small-1/model.safetensors", "entries/vae/{current}"]
)
def test_a_stray_index_removes_no_file_that_is_listed(indexed, small_run, about, path):
    row = json.loads(index_path(indexed).read_text("utf-8").splitlines()[1])
    path = path.format(current=row["path"].rpartition("/")[2])
    data = FIRST + json.dumps({**row, "path": path, "title": "x"}, separators=(",", ":")).encode()
    (indexed / "entries/index.000000000000.jsonl").write_bytes(data)
    (indexed / "entries/index.111111111111.jsonl").write_bytes(b"damaged")
    publish(open_run(small_run), "vae/small@3", indexed, about)
    assert len([*indexed.glob("entries/index.*.jsonl")]) == 2
    assert load(indexed, "lab:vae/small@1").latent_dim == 2


def test_a_kill_between_the_files_and_the_registry_file_leaves_the_old_one(
    indexed, small_run, about
):
    with (
        mock.patch.object(registry_file, "write_text", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        publish(open_run(small_run), "vae/small@3", indexed, about)
    assert find_entry("lab:vae-small", [str(indexed)]).weights.version == 2
    publish(open_run(small_run), "vae/small@3", indexed, about)
    assert find_entry("lab:vae-small", [str(indexed)]).weights.version == 3


def test_an_index_at_an_address_is_read_offline_once_it_was_read(indexed, site, home, monkeypatch):
    for path in indexed.rglob("*"):
        if path.is_file():
            site.pages["/" + path.relative_to(indexed).as_posix()] = path.read_bytes()
    address = f"{site.url}/registry.yaml"
    assert vaezoo.load("far:vae/small@1", registry=f"far={address}").latent_dim == 2
    assert not [path for path, *_ in site.requests if "small-2" in str(path)], "one entry is read"
    monkeypatch.setenv("VAEZOO_OFFLINE", "1")
    assert vaezoo.load("far:vae/small@1", registry=f"far={address}").latent_dim == 2
    with pytest.raises(
        UnavailableError, match=r"while online: vaezoo weights pull far:vae/small@2"
    ):
        vaezoo.load("far:vae/small@2", registry=f"far={address}")


def test_a_list_needs_no_entry_and_gc_keeps_what_an_index_lists(indexed, call, home):
    entry = find_entry("lab:vae/small@1", [str(indexed)])
    for path in indexed.glob("entries/vae/*"):
        path.unlink()
    _, output, _ = call("weights", "list", "--json", "--registry", indexed)
    rows = [row for row in json.loads(output)["weights"] if row["name"].startswith("lab:")]
    assert [row["id"] for row in rows] == ["vae/small@1", "vae/small@2"]
    assert rows[0]["metrics"]["elbo"] == entry.weights.metrics[0].value
    for sha256 in (entry.weights.files[0].sha256, "0" * 64):
        home.path(sha256).parent.mkdir(parents=True, exist_ok=True)
        home.path(sha256).touch()
    _, output, _ = call("weights", "gc", "--json", "--registry", indexed)
    assert [path.rpartition("/")[2] for path in json.loads(output)["files"]] == ["0" * 64]


def test_one_bad_row_keeps_no_other_entry_from_being_listed_and_verified(indexed, call):
    change_index(indexed, lambda rows: rows["vae/small@1"].update(size="3"))
    code, output, errors = call("weights", "list", "--registry", indexed)
    assert code == 4 and "lab:vae/small@2" in output
    assert "vae/small@1: size: must be an integer, not '3'" in errors
    names = ("lab:vae/small@1", "lab:vae/small@2")
    code, _, errors = call("weights", "verify", *names, "--registry", indexed)
    assert code == 4 and "lab:vae/small@2: 10," in errors
    assert "error: lab:vae/small@1: " in errors


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row.update(title="Another"), "describes another entry"),
        (lambda row: row.update(blobs=["0" * 64]), "describes another entry"),
        (lambda row: row.update(path="../out.yaml"), "path: must be a path below"),
        (lambda row: row.update(sha256="0" * 64), "expected sha256 0000"),
        (lambda row: row.pop("size"), "size: is required"),
        (lambda row: row.update({"a\nb": 1}), r"a\\nb: unknown key"),
        (lambda row: row.update({"x" * 70_000: 1}), r"xxx\.\.\.: unknown key"),
    ],
    ids=["title", "blobs", "path", "hash", "size", "line", "length"],
)
def test_a_row_that_is_wrong_is_refused_when_it_is_needed(indexed, change, says):
    change_index(indexed, lambda rows: change(rows["vae/small@1"]))
    assert find_entry("lab:vae/small@2", [str(indexed)]).weights.version == 2
    with pytest.raises(RegistryError, match=says) as caught:
        find_entry("lab:vae/small@1", [str(indexed)])
    assert len(str(caught.value)) < 1000 and str(caught.value).isprintable()


def test_each_byte_of_an_index_is_checked(indexed):
    path = index_path(indexed)
    path.write_bytes(path.read_bytes().replace(b"A small model", b"A large model"))
    with pytest.raises(RegistryError, match="expected sha256"):
        find_entry("lab:vae-small", [str(indexed)])


def test_an_id_in_the_file_and_in_the_index_is_refused(indexed, published):
    row = find_entry("lab:vae/small@1", [str(indexed)]).weights
    text = yaml.safe_load((indexed / "registry.yaml").read_text("utf-8"))
    text["entries"] = [row.model_dump(mode="json", exclude_defaults=True)]
    (indexed / "registry.yaml").write_text(yaml.safe_dump(text), "utf-8")
    with pytest.raises(RegistryError, match="vae/small@1 is listed in the index, too"):
        open_registries([str(indexed)], only_prefix="lab")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (b"", "1:1: the first line"),
        (b'{"index":"vaezoo/index/v2"}\n', "1:1: the first line"),
        (FIRST + b"{", "2:1: a row must begin"),
        (FIRST + b"[" * 1_000_000, "2:1: a row must begin"),
        (FIRST + b'{"title":"x"}\n', "2:1: a row must begin"),
        (FIRST + b'{"id":"small",}\n', "2:1: small must begin"),
        (FIRST + b'{"id":"a/b@1",}\n{"id":"a/b@1",}\n', "3:1: a/b@1 is listed twice"),
        (FIRST + b"\n" * (MAX_ROWS + 2), "more than 20,000 entries"),
        (FIRST + b"x" * INDEX_BYTES, "more than 20,000 entries or 8 MiB"),
    ],
    ids=range(9),
)
def test_other_files_are_no_index(rows, says):
    with pytest.raises(RegistryError, match=f"an-index:.*{says}"):
        parse_index(rows, "an-index")


@pytest.mark.parametrize(
    ("rest", "says"),
    [
        (b"", "line: Invalid JSON"),
        (b"[" * 100_000, "line: Invalid JSON"),
        (b'"size":1e999}', "is required"),
        (b'"size":\xff}', "line: Invalid JSON"),
        (b'"id":"c/d@1","title":"x"}', "is required|is also c/d@1"),
    ],
    ids=range(5),
)
def test_a_row_of_other_bytes_is_one_line_of_error(rest, says):
    index = parse_index(FIRST + b'{"id":"a/b@1",' + rest, "an-index")
    with pytest.raises(RegistryError, match=f"an-index: a/b@1: .*({says})") as caught:
        index.row("a/b@1")
    assert len(str(caught.value)) < 300 and str(caught.value).isprintable()


def test_ten_thousand_entries_are_opened_without_looking_at_each(indexed):
    """Neither the rows nor the entries are validated, and names are found without them."""

    def fill(rows):
        rows |= {f"vae/set-{number}@1": rows["vae/small@1"] for number in range(10_000)}

    change_index(indexed, fill)
    with (
        mock.patch.object(Index, "row", autospec=True, side_effect=Index.row) as rows,
        mock.patch.object(registries, "parse_entry", side_effect=registries.parse_entry) as parsed,
    ):
        (registry,) = open_registries([str(indexed)], only_prefix="lab")
        assert len(registry.ids) == 10_002 and rows.call_count == 0
        with pytest.raises(RegistryError, match="describes another entry"):
            find_entry("lab:vae-set-77", [str(indexed)])
    assert rows.call_count == 2 and parsed.call_count == 1


def test_an_index_is_not_written_larger_than_it_can_be_read():
    rows = {f"vae/set-{number}@1": b"" for number in range(MAX_ROWS + 1)}
    with pytest.raises(RegistryError, match="more than 20,000 entries or 8 MiB; begin another"):
        Index("", rows).dump()


def test_the_index_of_a_hub_grows_by_an_entry_that_changes_an_older_one(indexed, monkeypatch):
    """Only the registry file, its index and the entry that is changed are downloaded."""
    downloaded, uploaded = [], {}

    def download(repo, name, *, revision, local_dir):
        downloaded.append(name)
        target = local_dir / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((indexed / name).read_bytes())
        return str(target)

    class Api:
        def repo_info(self, repo):
            return SimpleNamespace(sha="b" * 40)

        def upload_folder(self, *, folder_path, **options):
            uploaded.update(options, registry=registry_file.open_folder(folder_path, new_id=""))
            ignored = {*map(path_name, options["ignore_patterns"])}
            uploaded["files"] = {
                path.name for path in folder_path.rglob("entries/**/*.*")
            } - ignored
            return SimpleNamespace(oid="c" * 40)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    old = find_entry("lab:vae/small@1", [str(indexed)])

    def add(folder):
        return republish(old, "vae/small@3", folder, retract=["elbo"], reason="wrong")

    address = hub.upload(add, "vae/small@3", "hf://me/zoo", changed="vae/small@1")
    assert address == f"hf://me/zoo@{'c' * 40}/registry.yaml"
    registry = uploaded["registry"]
    assert registry.ids == ["vae/small@1", "vae/small@2", "vae/small@3"]
    assert "elbo" not in registry.summary("vae/small@1").metrics
    assert registry.index.row("vae/small@2").path not in downloaded and len(downloaded) == 3
    assert len(uploaded["files"] - {*map(path_name, downloaded)}) == 3, (
        "the index, the new entry and the changed one"
    )
    assert path_name(content(indexed).index.path) not in uploaded["files"]
    assert uploaded["delete_patterns"] == ["entries/index.*.jsonl"]
