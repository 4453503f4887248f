"""Which run is meant by a path, ``latest`` or a prefix; what ``vaezoo runs`` lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vaezoo
from vaezoo.cli.main import main
from vaezoo.cli.shared import run_or_weights
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.finding import find_run
from vaezoo.runs.listing import list_runs
from vaezoo.utils.errors import UsageError

TIMES = ("20261101-101010", "20261102-101010", "20261102-111111")


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Runs that have a spec and nothing else: two of ``a``, and one of ``vae-mnist``."""
    monkeypatch.chdir(tmp_path)
    for name, time in zip(("a", "a", "vae-mnist"), TIMES, strict=True):
        (tmp_path / "runs" / name / time).mkdir(parents=True)
        (tmp_path / "runs" / name / time / "spec.yaml").write_text("spec: vaezoo/v2\n")
    return tmp_path


MEANT = {
    "latest": "vae-mnist/20261102-111111",
    "a/latest": "a/20261102-101010",
    "runs/a/latest": "a/20261102-101010",
    "runs/latest": "vae-mnist/20261102-111111",
    "20261101": "a/20261101-101010",
    "20261102-11": "vae-mnist/20261102-111111",
    "a/20261101": "a/20261101-101010",
    "runs/a/20261102": "a/20261102-101010",
    "vae-mn": "vae-mnist/20261102-111111",
}


@pytest.mark.parametrize("text", MEANT)
def test_a_run_is_meant_by(text, folders):
    assert find_run(text).as_posix() == f"runs/{MEANT[text]}"
    path = folders / "runs"
    assert find_run(path / "a" / "20261101") == path / "a" / "20261101-101010"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("20261102", "is ambiguous: it may be any of runs/vae-mnist/20261102-111111, runs/a/2026"),
        ("a", "is ambiguous: it may be any of runs/a/20261102-101010, runs/a/20261101-101010"),
        ("b", "b: not a run: there is no such folder, and none below runs begins so"),
        ("b/latest", "b/latest: not a run: there is none below b"),
    ],
)
def test_what_fits_no_run_or_several_is_one_line(text, message, folders):
    with pytest.raises(UsageError) as caught:
        find_run(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_many_candidates_are_counted(folders):
    for i in range(20):
        (folders / f"runs/b/2025{i:04d}-000000").mkdir(parents=True)
        (folders / f"runs/b/2025{i:04d}-000000/spec.yaml").write_text("a: 1\n")
    with pytest.raises(UsageError, match="and 15 more"):
        find_run("2025")


def test_a_path_that_exists_goes_before_all(folders):
    for name in ("latest", "20261101", "vae-mnist"):
        (folders / name).mkdir()
        assert find_run(name).as_posix() == name
        assert run_or_weights(folders / name) == folders / name


def test_names_of_pretrained_weights_go_before_prefixes(folders):
    assert run_or_weights(Path("vae-mnist-conv")).as_posix() == "vae-mnist-conv"
    assert run_or_weights(Path("vae-mn")).parts[:2] == ("runs", "vae-mnist")
    (folders / "runs/vae-mnist-conv/20261103-000000").mkdir(parents=True)
    (folders / "runs/vae-mnist-conv/20261103-000000/spec.yaml").write_text("a: 1\n")
    assert run_or_weights(Path("vae-mnist-conv")).as_posix() == "vae-mnist-conv"


def test_nothing_is_meant_where_there_are_no_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("latest", "2026", "a/latest", ""):
        with pytest.raises(UsageError):
            find_run(text or "x")


def call(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(each) for each in arguments])
    return ended.value.code


def test_commands_and_calls_take_them(train, tmp_path, monkeypatch, capsys):
    run = train(train={"epochs": 1})
    monkeypatch.chdir(tmp_path)
    assert vaezoo.open_run("latest", device="cpu").path.samefile(run.path)
    assert vaezoo.resume(f"tiny/{run.path.name[:8]}").path.samefile(run.path)
    assert call("evaluate", run.path.name[:9], "validation", "--device", "cpu", "--json") == 0
    assert json.loads(capsys.readouterr().out)["run"] == f"runs/tiny/{run.path.name}"
    assert call("-q", "resume", "tiny/latest", "--json") == 0
    assert json.loads(capsys.readouterr().out)["run"] == f"runs/tiny/{run.path.name}"


@pytest.fixture
def listed(tmp_path, capsys):
    """What ``vaezoo runs`` lists, by the last part of the path."""

    def read(*options):
        assert call("runs", tmp_path / "runs", "--json", *options) == 0
        rows = json.loads(capsys.readouterr().out)["runs"]
        return {row["path"].rpartition("/")[2]: row for row in rows}

    return read


def test_a_finished_run_is_listed_with_its_figures(train, listed):
    run = train(train={"epochs": 2}, evaluate=["elbo", "rate"])
    (row,) = listed().values()
    best = max((r for r in run.records if r["split"] == "validation"), key=lambda r: r["bound"])
    metric = run.evaluation["metrics"]["elbo"]
    assert (row["state"], row["steps"], row["fault"]) == ("finished", 20, "")
    assert row["validation"] == {"name": "bound", "value": best["bound"]}
    assert row["metric"]["value"] == metric["value"] and row["metric"]["name"] == "elbo"
    files = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    assert row["size"] == files and 0 <= row["age"] < 3600


def test_a_best_validation_far_from_the_end_is_found(train, listed):
    path = train(train={"epochs": 2}).path / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    best = max(i for i, line in enumerate(lines) if '"best": true' in line)
    others = [line for line in lines if '"best": true' not in line]
    path.write_text("".join([*lines[: best + 1], *others * 500]))
    (row,) = listed().values()
    assert row["validation"]["value"] == json.loads(lines[best])["bound"]
    assert row["steps"] == json.loads(others[-1])["step"]


def test_runs_that_are_not_finished_say_so(interrupted, stop_at, listed, tmp_path):
    path = interrupted(train={"checkpoint_every": 0}, callbacks=[stop_at(12)])
    assert listed()[path.name]["state"] == "interrupted"
    with RunDirectory(path).lock():
        assert listed()[path.name]["state"] == "running"
    for file in (path / "checkpoint").iterdir():
        file.unlink()
    assert listed()[path.name]["state"] == "started"


def test_damaged_runs_and_odd_folders_are_listed_with_what_is_wrong(train, listed, tmp_path):
    whole = train(train={"epochs": 1}).path
    root = whole.parents[1]
    huge = '{"metrics": {"elbo": {"value": VALUE, "standard_error": null}}}'.replace
    damaged = {
        "a": ("evaluation.json", "{"),
        "b": ("metrics.jsonl", "1\n"),
        "c": ("spec.yaml", ""),
        "d": ("evaluation.json", huge("VALUE", "1" + "0" * 400)),
        "e": ("evaluation.json", huge("VALUE", "true")),
        "f": ("evaluation.json", huge("VALUE", "[1]")),
        "g": ("metrics.jsonl", "[" * 100_000 + "\n"),
        "h": ("metrics.jsonl", f'{{"step": 1{"0" * 400}}}\n'),
        **{file: (file, None) for file in ("evaluation.json", "metrics.jsonl", "spec.yaml")},
    }
    for name, (file, text) in damaged.items():
        copy = root / "damaged" / name
        copy.mkdir(parents=True)
        for each in whole.iterdir():
            if each.is_file():
                (copy / each.name).write_bytes(each.read_bytes())
        (copy / file).unlink()
        os.mkfifo(copy / file) if text is None else (copy / file).write_text(text)
    (root / "odd/empty").mkdir(parents=True)
    (root / "odd/loop").symlink_to(root)
    (root / "odd/gone").symlink_to(root / "nowhere")
    (root / "a file").write_text("x")
    rows = listed()
    for name, (file, _) in damaged.items():
        assert rows[name]["state"] == "damaged" and rows[name]["fault"].startswith(file), name
    assert rows["empty"]["state"] == "no run" and "spec.yaml" in rows["empty"]["fault"]
    assert rows[whole.name]["state"] == "finished"
    assert len(rows) == len(damaged) + 2
    assert call("runs", root) == 0  # the table, too


def test_runs_are_sorted_and_filtered(folders, capsys):
    def names(*options):
        assert call("runs", "--json", *options) == 0
        rows = json.loads(capsys.readouterr().out)["runs"]
        return [row["path"].removeprefix("runs/") for row in rows]

    a, b, c = f"a/{TIMES[0]}", f"a/{TIMES[1]}", f"vae-mnist/{TIMES[2]}"
    assert names() == [c, b, a]
    assert names("--sort", "name") == [a, b, c]
    assert names("--name", "a") == [b, a]
    assert names("--name", "vae*") == [c]
    os.utime(folders / "runs" / a / "spec.yaml", (2e9, 2e9))
    assert names() == [c, b, a]  # the time in the name counts
    assert [each.name for each in list_runs(folders / "runs" / a)] == ["a"]


def test_runs_are_listed_without_torch(folders):
    script = (
        "import sys; from vaezoo.cli.main import main\n"
        "try: main(['runs'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1] == "False", run.stderr
