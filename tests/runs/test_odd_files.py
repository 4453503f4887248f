"""Odd files in the directory of a good run: it stays resumable, and leaves the same bits."""

from __future__ import annotations

import json
import math
import os
import shutil
import warnings

import numpy as np
import pytest

import vaezoo
from vaezoo.bench import pool
from vaezoo.runs.directory import RunDirectory
from vaezoo.runs.report.attempts import Attempts
from vaezoo.utils.digests import add_digest
from vaezoo.utils.errors import IntegrityError, VaezooError

BLOCK = {"checkpoint_every": 0, "callbacks": ["csv"]}
DEEP = b"[" * 100_000
WHOLE = b'"step": 4, "epoch": 1, "time": "2026-01-01T00:00:00+00:00"'
LINES = {
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "an empty object": b"{}",
    "without a step": b'{"split": "train", "epoch": 1}',
    "no step": b'{"step": null, "split": "train", "epoch": 1}',
    "a text as step": b'{"step": "4", "split": "train", "epoch": 1}',
    "a list as value": b"{" + WHOLE + b', "split": "train", "elbo": [1]}',
    "a text as value": b"{" + WHOLE + b', "split": "train", "elbo": "1"}',
    "a huge number": b"{" + WHOLE + b', "split": "train", "elbo": 1' + b"0" * 400 + b"}",
    "a number of many digits": b'{"step": ' + b"9" * 5000 + b"}",
    "bytes that are no text": b"\xff\xfe{",
    "nested deep": DEEP,
    "nothing": b"",
    "zeros": bytes(5000),
}
ENVIRONMENTS = {
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "empty": b"",
    "cut off": b"{",
    "bytes that are no text": b"\xff",
    "nested deep": DEEP,
    "a number as data": b'{"data": 3}',
    "data without a digest": b'{"data": {"kind": "array"}}',
    "an object as classes": b'{"registered": {"kind": 1}}',
    "a number as resumed": b'{"resumed": 3}',
    "a number as time of a resume": b'{"resumed": [{"created": 5}]}',
    "a resume without its time": b'{"resumed": [{}]}',
    "numbers as init": b'{"init": [3]}',
    "another split": b'{"evaluation_split": "train"}',
    "a number as version": b'{"torch": 2, "created": []}',
    "another text as time": b'{"created": "yesterday"}',
    "a time without a zone": b'{"created": "2026-01-01T00:00:00"}',
}


SEALED = {
    "without a time": {"time": None},
    "no time": {"time": "yesterday"},
    "a time without a zone": {"time": "2026-01-01T00:00:00"},
    "a number as time": {"time": 3},
    "a split that is no text": {"split": "\ud800"},
    "a key that is no text": {"\udcff": 1.0},
    "no epoch": {"epoch": None},
    "an infinite epoch": {"epoch": math.inf},
    "a truth as epoch": {"epoch": True},
    "an epoch beyond all numbers": {"epoch": 10**400},
    "a step below 0": {"step": -1},
    "a fraction as step": {"step": 1.5},
    "validation that does not say whether it is the best": {"split": "validation"},
    "validation with a number for it": {"split": "validation", "best": 1},
    "a stage without its step": {"stage": "one"},
    "a stage with a text as step": {"stage": "one", "stage_step": "1"},
}
"""Records whose digest is right, but which no run writes: changes of the first record."""


def link(path):
    path.symlink_to("nowhere")


STRAYS = {
    "step-latest.safetensors": lambda path: path.write_bytes(b"mine"),
    "step-.safetensors": lambda path: path.write_bytes(b""),
    "step-000000024 (copy).safetensors": lambda path: path.write_bytes(b"mine"),
    "step-00000002\N{ARABIC-INDIC DIGIT FOUR}.safetensors": lambda path: path.write_bytes(b"mine"),
    "step-000000099.safetensors": lambda path: path.mkdir(),
    "step-000000098.safetensors": link,
    "notes.txt": lambda path: path.write_text("mine"),
    ".tmp-mine": lambda path: path.mkdir(),
}


@pytest.fixture
def check(train, interrupted, again, stop_at, tmp_path):
    """Checks that a run that was stopped, and then changed, is resumed to the bits of a whole one:
    ``check(cases, change)``, where ``change(directory, case)`` may change its files."""

    def run(cases, change):
        complete = train(train=BLOCK)
        stopped = interrupted(train=BLOCK, callbacks=[stop_at(24)])
        for number, case in enumerate(cases):
            path = tmp_path / f"copy-{number}"
            shutil.copytree(stopped, path)
            change(RunDirectory(path), cases[case])
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                again(path)
            for name in ("model.safetensors", "validation.csv", "evaluation.json"):
                assert (path / name).read_bytes() == (complete.path / name).read_bytes(), case
            records = [(each["split"], each["step"]) for each in RunDirectory(path).records()]
            assert records == [(each["split"], each["step"]) for each in complete.records], case
            yield case, path, [str(each.message) for each in caught]

    return run


def test_odd_lines_of_metrics_are_left_out_with_a_warning(check):
    def change(directory, line):
        lines = directory.metrics.read_bytes().splitlines(keepends=True)
        directory.metrics.write_bytes(b"".join([*lines[:3], line + b"\n", *lines[3:]]))

    for case, path, messages in check(LINES, change):
        assert any(
            f"{path / 'metrics.jsonl'}: line 4 is damaged or no record" in each
            for each in messages
        ), case


def test_a_record_that_no_run_writes_is_left_out_whatever_its_digest(train):
    run = train(train=BLOCK)
    first, *lines = run.directory.metrics.read_text().splitlines(keepends=True)
    for case, change in SEALED.items():
        record = {k: v for k, v in {**json.loads(first), **change}.items() if k != "digest"}
        if case == "without a time":
            del record["time"]
        text = add_digest(json.dumps(record)) + "\n"
        run.directory.metrics.write_text(first + text + "".join(lines))
        with pytest.warns(UserWarning, match=r"line 2 is damaged or no record"):
            assert len(run.directory.records()) == len(lines) + 1, case


def test_a_number_beyond_all_numbers_is_nan_before_and_after_a_resume(train):
    run = train(train=BLOCK)
    first, *lines = run.directory.metrics.read_text().splitlines(keepends=True)
    record = {key: value for key, value in json.loads(first).items() if key != "digest"}
    text = add_digest(json.dumps({**record, "elbo": "HUGE"}).replace('"HUGE"', "1e999")) + "\n"
    run.directory.metrics.write_text(text + "".join(lines))
    assert math.isnan(run.directory.records()[0]["elbo"])
    run.directory.rewind(record["step"])
    assert math.isnan(run.directory.records()[0]["elbo"])


def test_an_environment_of_another_type_is_left_out_with_a_warning(check):
    def change(directory, text):
        directory.environment.write_bytes(text)

    for case, path, messages in check(ENVIRONMENTS, change):
        assert any(str(path / "environment.json") in each for each in messages), case
        assert RunDirectory(path).read_environment()["device"] == "cpu", case


def test_other_files_among_the_checkpoints_are_left_alone(check):
    def change(directory, name):
        STRAYS[name](directory.checkpoints / name)

    for case, path, messages in check({name: name for name in STRAYS}, change):
        assert messages == [], case
        assert (path / "checkpoint" / case).exists() or (path / "checkpoint" / case).is_symlink()


def test_a_checkpoint_of_another_run_is_passed_over_with_a_warning(check, interrupted, stop_at):
    """One with other weights of the same shapes, one with other shapes."""
    changes = {"seed": {"seed": 1}, "shapes": {"model": {"latent_dim": 3}}}
    others = {
        case: RunDirectory(interrupted(**change, train=BLOCK, callbacks=[stop_at(24)]))
        for case, change in changes.items()
    }

    def change(directory, other):
        shutil.copy(
            other.checkpoint_files()[-1], directory.checkpoints / "step-000000030.safetensors"
        )

    for case, path, messages in check(others, change):
        (message,) = messages
        assert "step-000000030.safetensors: is a checkpoint of another run" in message, case
        assert "step-000000024.safetensors is used instead" in message, case
        directory = RunDirectory(path)
        only = directory.checkpoints / "step-000000040.safetensors"
        shutil.copy(others[case].checkpoint_files()[-1], only)
        for each in directory.checkpoint_files():
            if each != only:
                each.unlink()
        with pytest.raises(IntegrityError, match=r"of another run; to train from the start"):
            directory.load_checkpoint()


def test_a_checkpoint_under_the_name_of_a_later_one_is_resumed_from_its_own_step(check):
    def change(directory, name):
        shutil.copy(directory.checkpoint_files()[0], directory.checkpoints / name)

    names = {"later": "step-000000999.safetensors"}
    for _, path, messages in check(names, change):
        assert messages == []
        assert not (path / "checkpoint" / names["later"]).exists()


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_pipes_and_devices_among_the_files_of_a_run_are_not_read(make, train, tmp_path):
    whole = train(train=BLOCK).path
    for name in ("metrics.jsonl", "environment.json", "evaluation.json"):
        path = tmp_path / name
        shutil.copytree(whole, path)
        (path / name).unlink()
        make(path / name)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                directory = RunDirectory(vaezoo.open_run(path, device="cpu").path)
                directory.records(), directory.read_environment()
                directory.read_evaluation("test")
                said = str(caught[0].message)
            except IntegrityError as error:
                said = str(error)
        assert f"{path / name}: " in said and "is a device, pipe or folder" in said


def test_numbers_that_are_too_large_to_be_drawn_are_no_warning(tmp_path):
    attempts = Attempts(tmp_path / "report.html")
    assert np.isinf(attempts.draw("curves", lambda: np.float64(1e308) * 10))
    assert attempts.failures == []


def second_name(path):
    path.hardlink_to(path.parent.parent / "mine.txt")


LOCKS = {
    "a link": lambda path: path.symlink_to("../mine.txt"),
    "a link to nothing": lambda path: path.symlink_to("../nothing.txt"),
    "a second name": second_name,
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("case", LOCKS)
def test_a_lock_that_leads_to_another_file_is_refused_and_that_file_left(case, tmp_path):
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    path = tmp_path / "run" / ".lock"
    path.parent.mkdir()
    LOCKS[case](path)
    with (
        pytest.raises(VaezooError, match=rf"cannot lock {path}: (is|has) a .*; remove it"),
        RunDirectory(path.parent).lock(),
    ):
        pass
    assert mine.read_text() == "mine" and not (tmp_path / "nothing.txt").exists()


def test_the_output_of_a_worker_is_not_appended_to_a_file_that_a_link_leads_to(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(pool.subprocess, "Popen", lambda *_, **options: options["stdout"].name)
    job = tmp_path / "run" / "job.json"
    job.parent.mkdir()
    (tmp_path / "mine.txt").write_text("mine")
    job.with_name("output.txt").symlink_to("../mine.txt")
    with pytest.raises(OSError, match="is a symbolic link"):
        pool._start_worker(job, 1, 0)
